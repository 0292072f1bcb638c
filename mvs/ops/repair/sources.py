"""Where the bytes of a damaged object may still be: packs, its own file, a folder of the user's, other stores.

Nothing here is believed: whoever takes bytes hashes them.
"""

import contextlib
import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property, partial
from io import FileIO
from typing import BinaryIO, NamedTuple

from blake3 import blake3

from mvs.backends.directory import Directory
from mvs.format.ids import ObjectId
from mvs.format.layout import QUARANTINE, STAGING, object_path
from mvs.format.pack import CONCAT, Record, Span
from mvs.ops.repair import bits
from mvs.store.hashing import hash_open
from mvs.store.packs.checking import Unkept
from mvs.store.packs.files import Pack, Packs
from mvs.store.packs.reading import Packed
from mvs.store.staging import Buffer
from mvs.store.store import Store

_BLOCK = 4 << 20
# Objects lie in objects, those in others: files, tensors, blocks. More is damage.
_DEEPEST = 4


class Candidate(NamedTuple):
    """Where an object may be had from: in words, and its bytes."""

    how: str
    blocks: Callable[[], Iterable[Buffer]]


class Place(NamedTuple):
    """Where in another object one lies."""

    whole: ObjectId
    offset: int


class Everywhere(Unkept):
    """The packs of a store, and those that lie in quarantine: of what is lost in one, another record may stand."""

    def __init__(self, disk: Directory) -> None:
        super().__init__(disk)
        self._kept = Packs(Directory(disk.path(QUARANTINE), durable=False, temps=STAGING))

    def names(self) -> Iterator[ObjectId]:
        """Yield the names of all of them, each once."""
        yield from {*super().names(), *self._kept.names()}

    def pack(self, name: ObjectId) -> Pack:
        """Open a pack, that of the store where both have it."""
        try:
            return super().pack(name)
        except FileNotFoundError:
            return self._kept.pack(name)


class Sources:
    """All that may have the bytes of objects. `sizes` are those of the blobs of versions."""

    def __init__(
        self, disk: Directory, packs: Unkept, sizes: dict[ObjectId, int], folder: str | None, stores: Iterable[Store]
    ) -> None:
        self._disk = disk
        self._packs = packs
        self._packed = Packed(disk, packs)
        self._everywhere = Everywhere(disk)
        self._sizes = sizes
        self._folder = folder
        self._stores = list(stores)
        self._ids: dict[str, ObjectId | None] = {}
        self._wanted: set[ObjectId] = set()
        self._places: dict[ObjectId, set[Place]] = {}

    def want(self, ids: Iterable[ObjectId]) -> None:
        """Find out in one go, for all that will be asked for, what they are parts of."""
        self._wanted = set(ids)
        self._places = defaultdict(set)
        fresh = self._wanted
        for _ in range(_DEEPEST):
            above: set[ObjectId] = set()
            for _, index in self._packs.indexes():
                for record in index.records.values():
                    at = 0
                    for part in record.refs if record.encoding == CONCAT else ():
                        if part.id in fresh and part.offset == 0:
                            self._places[part.id].add(Place(record.id, at))
                            self._sizes.setdefault(part.id, part.length)
                            above.add(record.id)
                        at += part.length
                    if record.id in fresh or record.id in above:
                        self._sizes[record.id] = record.size
            fresh = above - self._places.keys()

    def candidates(self, id: ObjectId) -> Iterator[Candidate]:
        """Yield where an object may be had from, what is nearest first."""
        for name, pack, record in list(self._packs.every(id)):
            if record.encoding != CONCAT:
                yield Candidate(f"pack {name}", partial(self._plain, pack, record))
            else:
                yield Candidate(f"pack {name}", partial(self._packed.run, Span(id, 0, record.size)))
        yield Candidate("its own file, in which one bit was wrong", partial(self._unflipped, id))
        for store in self._stores:
            yield Candidate(f"the store '{store.root}'", partial(store.objects.verified, id))
        for path in self._of_size(self._sizes.get(id)):
            if self._id(path) == id:
                yield Candidate(f"'{path}'", partial(_run, path, 0, self._sizes[id]))
        for place in self._all_places(id):
            yield from self._cuts(id, place)
        # Last: what is damaged in them must not stand before what is whole elsewhere.
        packed = Packed(self._disk, self._everywhere)
        for name, _, record in list(self._everywhere.every(id)):
            yield Candidate(f"pack {name} in quarantine", partial(packed.run, Span(id, 0, record.size)))

    def _cuts(self, id: ObjectId, place: Place) -> Iterator[Candidate]:
        """Yield where it may be cut out of another object that it is a part of."""
        size, total = self._sizes[id], self._sizes.get(place.whole)
        own = self._disk.path(object_path(place.whole))
        for path in (own, *self._of_size(total)):
            hasher = blake3()
            for block in _run(path, place.offset, size):
                hasher.update(block)
            if hasher.digest() == id.raw:
                how = f"object {place.whole}" if path == own else f"'{path}'"
                yield Candidate(how, partial(_run, path, place.offset, size))
        for store in self._stores:
            yield Candidate(f"the store '{store.root}'", partial(_cut, store, place, size))

    def _all_places(self, id: ObjectId) -> Iterator[Place]:
        """Yield what an object is a part of, and what that is a part of."""
        pending = [(place, 1) for place in sorted(self._places.get(id, ()))]
        while pending:
            place, depth = pending.pop()
            yield place
            if depth < _DEEPEST:
                above = sorted(self._places.get(place.whole, ()))
                pending += [(Place(wider.whole, wider.offset + place.offset), depth + 1) for wider in above]

    def _plain(self, pack: Pack, record: Record) -> list[Buffer]:
        return [self._packed.plain(pack, record)]

    def _unflipped(self, id: ObjectId) -> Iterable[Buffer]:
        key = object_path(id)
        if (self._disk.size(key) or 0) <= bits.LONGEST:
            data = bits.unflipped(self._disk.read(key), lambda tried: blake3(tried).digest() == id.raw)
            return [data] if data is not None else []
        return []

    @cached_property
    def _files(self) -> dict[int, list[str]]:
        """The files of the folder by size. Links to files are followed, links to folders are not."""
        found: dict[int, list[str]] = defaultdict(list)
        for parent, folders, names in os.walk(self._folder) if self._folder else ():
            folders.sort()
            for name in sorted(names):
                path = os.path.join(parent, name)
                with contextlib.suppress(OSError):
                    if os.path.isfile(path):
                        found[os.path.getsize(path)].append(path)
        return found

    def _of_size(self, size: int | None) -> list[str]:
        return [] if size is None else self._files.get(size, [])

    def _id(self, path: str) -> ObjectId | None:
        """Return the id of a file of the folder, None where it cannot be read."""
        if path not in self._ids:
            self._ids[path] = file_id(path)
        return self._ids[path]


def file_id(path: str) -> ObjectId | None:
    """Return the BLAKE3 of a file, None where it cannot be read."""
    try:
        with open(path, "rb", buffering=0) as file:
            return hash_open(file.fileno(), lambda amount: None, wide=True)[0]
    except OSError:
        return None


def _run(path: str, offset: int, size: int) -> Iterator[bytes]:
    """Yield a run of a file; less where it is shorter, nothing where it cannot be read."""
    try:
        with open(path, "rb", buffering=0) as file:
            yield from _blocks(file, offset, size)
    except OSError:
        return


def _cut(store: Store, place: Place, size: int) -> Iterator[bytes]:
    """Yield a run of an object of another store; less where it is shorter."""
    with store.objects.open(place.whole) as file:
        yield from _blocks(file, place.offset, size)


def _blocks(file: BinaryIO | FileIO, offset: int, size: int) -> Iterator[bytes]:
    file.seek(offset)
    while size and (block := file.read(min(size, _BLOCK))):
        size -= len(block)
        yield block
