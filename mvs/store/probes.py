"""A guess, before a large file is copied, whether the store has its content already.

A probe is a hash of the size and a few samples of the bytes. It only decides what is
tried first: the whole file is hashed before the guess is believed.
"""

import os

from blake3 import blake3

from mvs.backends.directory import Directory
from mvs.errors import MvsError
from mvs.format.ids import ObjectId
from mvs.format.layout import CACHE
from mvs.store.objects import Objects

# Below this a file is copied and hashed in less time than a second look would take.
MIN_SIZE = 1 << 20
_SAMPLES = 8
_SAMPLE_BYTES = 4096


class Probes:
    """What the large objects of the store look like from afar."""

    def __init__(self, disk: Directory, objects: Objects) -> None:
        self._disk = disk
        self._objects = objects

    def likely(self, path: str) -> bool:
        """Tell whether hashing the file at `path` before copying it is likely to pay."""
        try:
            size = os.stat(path).st_size
            if size < MIN_SIZE:
                return True
            key = _probe(path)
            id = ObjectId.from_hex(self._disk.read(key).decode("ascii"))
        except (OSError, ValueError):
            return False
        return self._objects.has(id, size)

    def learn(self, id: ObjectId, size: int) -> None:
        """Remember what a large object looks like; whatever goes wrong only costs a guess."""
        if size < MIN_SIZE:
            return
        try:
            key = _probe(self._objects.path(id))
        except (OSError, MvsError):
            return
        self._disk.cache(key, str(id).encode("ascii"))


def _probe(path: str) -> str:
    with open(path, "rb", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        hasher = blake3(size.to_bytes(8, "little"))
        for index in range(_SAMPLES):
            offset = (size - _SAMPLE_BYTES) * index // (_SAMPLES - 1)
            hasher.update(os.pread(file.fileno(), _SAMPLE_BYTES, max(0, offset)))
    text = hasher.hexdigest(16)
    return f"{CACHE}/probes/{text[:2]}/{text[2:]}"
