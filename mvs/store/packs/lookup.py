"""A lookup table over all packs: which of them has an object, told from the first bytes of its id.

Derived, kept under `cache/packs/`: sorted columns in files that are mapped, never loaded. New packs
get a file of their own; files are merged when there are many, the small ones first, so that each entry
is written again only a few times, however large the store becomes. A file that is not exactly what was written is
as good as none: each begins with a checksum, because one wrong byte could hide an object from a reader,
and what needs it from whoever removes objects.
"""

import contextlib
import os
import struct
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import msgpack
import numpy as np
from blake3 import blake3
from numpy.typing import NDArray

from mvs.backends.directory import Directory
from mvs.errors import MvsError
from mvs.format.ids import ObjectId
from mvs.format.layout import CACHE
from mvs.format.pack import Index

_FOLDER = f"{CACHE}/packs"
_LINE = b"mvs-lookup 1\n"
_DIGEST = 32
_LENGTH = struct.Struct("<I")
# More files than this are merged: each one costs a search.
_MANY = 8

Column = NDArray[Any]
Indexes = Callable[[Iterable[ObjectId]], Iterator[tuple[ObjectId, Index]]]


class Table(NamedTuple):
    """Entries of some packs: the first 8 bytes of ids in order, and for each the number of its pack in `packs`.

    `outside` are the same bytes of the objects that these packs need and do not hold.
    """

    packs: tuple[ObjectId, ...]
    prefixes: Column
    numbers: Column
    outside: Column

    @classmethod
    def of(cls, indexes: Iterable[tuple[ObjectId, Index]]) -> "Table":
        """Return the table of these packs."""
        packs, prefixes, numbers, outside = [], [], [], []
        for number, (name, index) in enumerate(indexes):
            packs.append(name)
            prefixes.append(_prefixes(index.records))
            numbers.append(np.full(len(index.records), number, "<u4"))
            outside.append(_prefixes(index.outside))
        return _sorted(tuple(packs), prefixes, numbers, outside)

    @classmethod
    def merged(cls, tables: "list[Table]") -> "Table":
        """Return one table for several, with each pack once."""
        packs: dict[ObjectId, None] = {}
        prefixes, numbers, outside = [], [], []
        for table in tables:
            fresh = np.array([name not in packs for name in table.packs], bool)
            if not fresh.any():
                continue
            renumbered = np.uint32(len(packs)) + np.cumsum(fresh, dtype="<u4") - np.uint32(1)
            chosen = fresh[table.numbers]
            prefixes.append(table.prefixes[chosen])
            numbers.append(renumbered[table.numbers[chosen]])
            outside.append(table.outside)
            packs.update(dict.fromkeys(table.packs))
        return _sorted(tuple(packs), prefixes, numbers, outside)

    @classmethod
    def mapped(cls, path: str) -> "Table":
        """Return the table in a file, mapped.

        Raises:
            ValueError, OSError: it is none.
        """
        data = np.memmap(path, np.uint8, "r")
        body = len(_LINE) + _DIGEST
        start = body + _LENGTH.size
        if len(data) < start or bytes(data[: len(_LINE)]) != _LINE:
            raise ValueError("not a lookup table")
        if blake3(data.data[body:]).digest() != bytes(data[len(_LINE) : body]):
            raise ValueError("a damaged table")
        (length,) = _LENGTH.unpack(bytes(data[body:start]))
        names, entries, outside = msgpack.unpackb(bytes(data[start : start + length]))
        begin = _aligned(start + length)
        middle = begin + 8 * entries
        end = middle + 8 * outside
        if len(data) != end + 4 * entries:
            raise ValueError("a table that is cut off")
        return cls(
            tuple(ObjectId(name) for name in names),
            data[begin:middle].view("<u8"),
            data[end:].view("<u4"),
            data[middle:end].view("<u8"),
        )

    def write(self, path: str) -> None:
        """Write the table to a file that is not there yet."""
        header = msgpack.packb([[name.raw for name in self.packs], len(self.prefixes), len(self.outside)])
        start = _LENGTH.pack(len(header)) + header
        before = len(_LINE) + _DIGEST
        parts = [start.ljust(_aligned(before + len(start)) - before, b"\0")]
        parts += [np.ascontiguousarray(column).data.cast("B") for column in self._columns() if len(column)]
        hasher = blake3()
        for part in parts:
            hasher.update(part)
        with open(path, "xb") as file:
            file.write(_LINE + hasher.digest())
            for part in parts:
                file.write(part)

    def _columns(self) -> tuple[Column, ...]:
        return self.prefixes, self.outside, self.numbers


def kept_tables(disk: Directory) -> Iterator[tuple[str, Table | None]]:
    """Yield the path of every table that is kept, and the table; None for one that is not what was written."""
    for entry in disk.entries(_FOLDER):
        if entry.name.endswith(".table"):
            try:
                yield entry.path, Table.mapped(entry.path)
            except FileNotFoundError:
                continue
            except (OSError, ValueError, TypeError):
                yield entry.path, None


class Lookup:
    """The tables that cover the packs of a store."""

    def __init__(self, disk: Directory) -> None:
        self._disk = disk
        self._tables: dict[str, Table] = {}

    def cover(self, packs: list[ObjectId], indexes: Indexes) -> None:
        """Load the tables that are there, and make one for the packs that are in none."""
        for entry in self._disk.entries(_FOLDER):
            if entry.name.endswith(".table"):
                with contextlib.suppress(OSError, ValueError, TypeError):
                    self._tables[entry.path] = Table.mapped(entry.path)
        covered = {name for table in self._tables.values() for name in table.packs}
        missing = [name for name in packs if name not in covered]
        if missing and (table := Table.of(indexes(missing))).packs:
            self._add(table)
        stale = sum(len(table.packs) for table in self._tables.values()) - len(packs)
        if stale > len(packs):
            # Most of it is of packs that are gone, or there twice: it is made anew from what is left.
            self._replace(list(self._tables), Table.of(indexes(packs)))
        elif len(self._tables) > _MANY:
            self._merge()

    def hold(self, table: Table) -> None:
        """Search one table more, which no file keeps."""
        self._tables[f"{len(self._tables)}"] = table

    def places(self, id: ObjectId) -> Iterator[ObjectId]:
        """Yield the packs that may have an object: one whose id begins with the same 8 bytes."""
        prefix = np.uint64(prefix_of(id))
        for table in self._tables.values():
            first, last = table.prefixes.searchsorted(prefix), table.prefixes.searchsorted(prefix, "right")
            for number in table.numbers[first:last].tolist():
                if number < len(table.packs):
                    yield table.packs[number]

    def is_outside(self, id: ObjectId) -> bool:
        """Tell whether some pack may need an object that it does not hold."""
        prefix = np.uint64(prefix_of(id))
        for table in self._tables.values():
            place = table.outside.searchsorted(prefix)
            if place < len(table.outside) and table.outside[place] == prefix:
                return True
        return False

    def _add(self, table: Table) -> None:
        path = self._disk.path(f"{_FOLDER}/{os.urandom(8).hex()}")
        self._tables[path] = table
        # A store that cannot be written to is searched all the same.
        with contextlib.suppress(OSError, MvsError):
            os.makedirs(os.path.dirname(path), exist_ok=True)
            temp = self._disk.temp_name()
            try:
                table.write(temp)
                os.rename(temp, f"{path}.table")
            except BaseException:
                self._disk.discard(temp)
                raise
            self._tables[f"{path}.table"] = self._tables.pop(path)

    def _merge(self) -> None:
        """Merge the smaller half of the tables into one."""
        ordered = sorted(self._tables, key=lambda path: len(self._tables[path].prefixes))
        chosen = ordered[: max(2, (len(ordered) + 1) // 2)]
        self._replace(chosen, Table.merged([self._tables[path] for path in chosen]))

    def _replace(self, paths: list[str], table: Table) -> None:
        for path in paths:
            del self._tables[path]
        if table.packs:
            self._add(table)
        for path in paths:
            self._disk.discard(path)


def _aligned(offset: int) -> int:
    """Return where a column may begin: numpy searches mapped numbers only at multiples of their width."""
    return -(-offset // 8) * 8


def prefix_of(id: ObjectId) -> int:
    """Return the first bytes of an id as the number that tables have of it."""
    return int.from_bytes(id.raw[:8], "big")


def _prefixes(ids: Iterable[ObjectId]) -> Column:
    return np.frombuffer(b"".join(id.raw[:8] for id in ids), ">u8").astype("<u8")


def _sorted(packs: tuple[ObjectId, ...], prefixes: list[Column], numbers: list[Column], outside: list[Column]) -> Table:
    empty = np.zeros(0, "<u8")
    keys = np.concatenate([empty, *prefixes])
    order = np.argsort(keys, kind="stable")
    return Table(
        packs,
        keys[order],
        np.concatenate([empty.astype("<u4"), *numbers])[order],
        np.unique(np.concatenate([empty, *outside])),
    )
