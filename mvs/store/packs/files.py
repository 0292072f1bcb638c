"""Packs: which object lies in which pack, and where.

Packs never change, so what is known of one stays true until its file is gone.
"""

import contextlib
import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from typing import TYPE_CHECKING

from mvs.backends.directory import Directory
from mvs.backends.failures import storage
from mvs.errors import UNREADABLE, CorruptPack, MissingObject, MvsError, UnsupportedFormat
from mvs.format.ids import ObjectId
from mvs.format.layout import PACKS, pack_path
from mvs.format.pack import (
    PACK_LINE,
    TRAILER_SIZE,
    Index,
    Record,
    check_of,
    check_start,
    decode_index,
    index_place,
)

if TYPE_CHECKING:
    from mvs.store.packs.lookup import Lookup

# Indexes kept in memory: of a large model about 10 MB each.
_KEPT = 16


class Pack:
    """One pack, opened: it can be read even when its name is gone."""

    def __init__(self, path: str) -> None:
        self._path = path
        with storage(path):
            self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def __del__(self, close: Callable[[int], None] = os.close) -> None:
        """Close the file; when Python ends, `os` may be gone before."""
        if hasattr(self, "_fd"):
            close(self._fd)

    @cached_property
    def index(self) -> Index:
        """What is in it.

        Raises:
            CorruptPack: that cannot be told.
            UnsupportedFormat: a later release wrote it.
        """
        try:
            with storage(self._path):
                size = os.fstat(self._fd).st_size
                check_start(os.pread(self._fd, len(PACK_LINE), 0))
                trailer = os.pread(self._fd, TRAILER_SIZE, max(0, size - TRAILER_SIZE))
                offset, length, digest = index_place(trailer, size)
                return decode_index(os.pread(self._fd, length, offset), offset, digest)
        except CorruptPack as error:
            raise CorruptPack(f"pack '{self._path}' is damaged: {error.message}") from None
        except UnsupportedFormat as error:
            raise UnsupportedFormat(f"pack '{self._path}' is of a later release: {error.message}") from None

    def end(self) -> bytes:
        """Return its bytes from the index on, as they are."""
        with storage(self._path):
            size = os.fstat(self._fd).st_size
            offset, length, _ = index_place(os.pread(self._fd, TRAILER_SIZE, max(0, size - TRAILER_SIZE)), size)
            return os.pread(self._fd, length + TRAILER_SIZE, offset)

    def stored(self, record: Record) -> bytes:
        """Return what a record stores, its checksum verified.

        Raises:
            CorruptPack: it is damaged.
        """
        with storage(self._path):
            data = os.pread(self._fd, record.length, record.offset)
        if len(data) != record.length or check_of(data) != record.check:
            raise CorruptPack(f"pack '{self._path}' is damaged: object {record.id} in it does not hold what it should")
        return data


class Packs:
    """All packs of a store."""

    def __init__(self, disk: Directory) -> None:
        self._disk = disk
        self._lookup: Lookup | None = None
        # An ordered dict is no longer one when two threads change it at once.
        self._lock = threading.Lock()
        self._open: OrderedDict[ObjectId, Pack] = OrderedDict()
        self._unreadable: dict[ObjectId, MvsError] = {}

    def names(self) -> Iterator[ObjectId]:
        """Yield the names of the packs that are there, in no order."""
        for folder in self._disk.entries(PACKS):
            if len(folder.name) != 2:
                continue
            for entry in self._disk.entries(f"{PACKS}/{folder.name}"):
                digits, dot, rest = entry.name.partition(".")
                try:
                    if (dot, rest) == (".", "pack") and entry.is_file():
                        yield ObjectId.from_hex(folder.name + digits)
                except ValueError:
                    continue

    def find(self, id: ObjectId) -> tuple[Pack, Record] | None:
        """Return the record of an object and its pack: of several one of the least depth, without refs if there is."""
        found = self._best(id)
        return found[1:] if found else None

    def place(self, id: ObjectId) -> tuple[ObjectId, Record] | None:
        """Return the same record, and the name of its pack."""
        found = self._best(id)
        return (found[0], found[2]) if found else None

    def _best(self, id: ObjectId) -> tuple[ObjectId, Pack, Record] | None:
        return min(self.every(id), key=lambda found: found[2].rank, default=None)

    def every(self, id: ObjectId) -> Iterator[tuple[ObjectId, Pack, Record]]:
        """Yield every record of an object, with its pack and the name of that."""
        for name in self._known().places(id):
            try:
                pack = self.pack(name)
                record = pack.index.records.get(id)
            except FileNotFoundError:
                continue
            except UNREADABLE as error:
                self._unreadable[name] = error
                continue
            if record:
                yield name, pack, record

    def missing(self, id: ObjectId) -> MvsError:
        """Return the error that says an object is not there, or that a pack is damaged which may have had it."""
        for error in self._unreadable.values():
            return type(error)(f"object {id} is not in the store, but {error.message}", hint=error.hint)
        return MissingObject(f"object {id} is not in the store")

    def look_again(self, id: ObjectId) -> tuple[Pack, Record] | None:
        """Return what `find` does, after looking for packs that were not there before."""
        self.forget()
        return self.find(id)

    def holds(self) -> Callable[[ObjectId], bool]:
        """Return what tells whether some pack that is there has an object; it may err, rarely, by saying yes."""
        there = set(self.names())
        known = self._known()
        return lambda object_id: any(name in there for name in known.places(object_id))

    def readable(self) -> dict[ObjectId, Index]:
        """Return the index of every pack.

        Raises:
            CorruptPack, UnsupportedFormat: one cannot be read.
        """
        found = {}
        for name in self.names():
            with contextlib.suppress(FileNotFoundError):
                found[name] = Pack(self._disk.path(pack_path(name))).index
        return found

    def size(self, name: ObjectId) -> int:
        """Return the bytes of a pack, 0 when it is gone."""
        return self._disk.size(pack_path(name)) or 0

    def is_needed(self, id: ObjectId) -> bool:
        """Tell whether a record of some pack may refer to this object without having it in the same pack."""
        # What a damaged pack needs cannot be told, and it may yet be mended from a copy.
        return self._known().is_outside(id) or bool(self._unreadable)

    def forget(self) -> None:
        """Look for packs anew when next asked."""
        self._lookup = None
        self._unreadable = {}

    def pack(self, name: ObjectId) -> Pack:
        """Open a pack.

        Raises:
            FileNotFoundError: it is gone.
        """
        path = self._disk.path(pack_path(name))
        pack = self._open.get(name)
        if pack is not None and not os.path.exists(path):
            # It can still be read, but a save must not count on it.
            with self._lock:
                self._open.pop(name, None)
            raise FileNotFoundError(path)
        if pack is None:
            pack = Pack(path)
            with self._lock:
                self._open[name] = pack
                while len(self._open) > _KEPT:
                    self._open.popitem(last=False)
        return pack

    def _known(self) -> "Lookup":
        lookup = self._lookup
        if lookup is None:
            from mvs.store.packs.lookup import Lookup  # noqa: PLC0415 - numpy, which one pack by its name needs not

            lookup = Lookup(self._disk)
            lookup.cover(sorted(self.names()), self._indexes)
            self._lookup = lookup
        return lookup

    def _indexes(self, names: Iterable[ObjectId]) -> Iterator[tuple[ObjectId, Index]]:
        for name in names:
            try:
                yield name, Pack(self._disk.path(pack_path(name))).index
            except FileNotFoundError:
                continue
            except UNREADABLE as error:
                # The others can be read all the same.
                self._unreadable[name] = error
