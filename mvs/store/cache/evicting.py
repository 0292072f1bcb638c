"""Objects and packs that can be had again make room for others."""

import contextlib
import os
from collections.abc import Callable, Container
from operator import itemgetter

from mvs.backends.directory import Directory
from mvs.backends.locks import is_held
from mvs.format.ids import ObjectId
from mvs.format.layout import LOCK, PACKS, STAGING, object_path, pack_path
from mvs.format.manifest import MAGIC
from mvs.store.objects import Objects
from mvs.store.packs.files import Pack


def evict(
    disk: Directory, objects: Objects, most: int, wanted: int, elsewhere: Callable[[], Container[ObjectId]]
) -> int:
    """Remove blobs and packs, those used least recently first, until they and `wanted` bytes fit; return what went.

    For whoever knows that nobody makes packs or changes a name meanwhile. Manifests stay. While some session is open
    only what is `elsewhere` goes: a pull may have brought the rest, and be about to use it.
    """
    found = []
    for ids, key_of in ((map(itemgetter(0), objects.loose()), object_path), (objects.packs.names(), pack_path)):
        for id in ids:
            with contextlib.suppress(OSError):
                status = os.stat(disk.path(key_of(id)))
                found.append((status.st_mtime_ns, key_of(id), id, status.st_size))
    excess = wanted + sum(size for *_, size in found) - most
    if excess <= 0:
        return 0
    sent = elsewhere() if _is_at_work(disk) else None
    freed = 0
    for _, key, id, size in sorted(found):
        if freed >= excess:
            break
        with contextlib.suppress(FileNotFoundError):
            held = Pack(disk.path(key)).index.records if key.startswith(PACKS) else (id,)
            if (sent is None or all(each in sent for each in held)) and not _is_manifest(disk, key):
                disk.remove(key)
                freed += size
    objects.packs.forget()
    return freed


def _is_at_work(disk: Directory) -> bool:
    return any(
        is_held(disk.path(f"{STAGING}/{entry.name}/{LOCK}")) for entry in disk.entries(STAGING) if entry.is_dir()
    )


def _is_manifest(disk: Directory, key: str) -> bool:
    with open(disk.path(key), "rb") as file:
        return file.read(len(MAGIC)) == MAGIC
