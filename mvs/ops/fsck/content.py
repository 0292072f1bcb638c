"""Checking content: loose objects hashed, packs hashed, records decoded, on all cores, in bounded memory."""

import os
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from operator import eq
from typing import NamedTuple, TypeVar

from mvs.backends.directory import Directory
from mvs.backends.failures import storage
from mvs.errors import CorruptObject, CorruptPack, MvsError
from mvs.format.ids import ObjectId
from mvs.format.layout import object_path, pack_path
from mvs.format.pack import CONCAT, Record
from mvs.ops.fsck import report
from mvs.ops.fsck.suspects import FAILURES, Suspect, reason
from mvs.running.parallel import Advance, each
from mvs.running.progress import Progress, Silent
from mvs.store.hashing import hash_open
from mvs.store.packs.checking import LeansOnDamage, Unkept, verify
from mvs.store.packs.files import Pack
from mvs.store.packs.reading import Packed, Piece

# A file of this size is hashed on all cores by itself, smaller ones side by side.
_LARGE = 64 << 20
# So many at once: each has a place in a list.
_BATCH = 2048

Wanted = Callable[[ObjectId], bool]
Item = TypeVar("Item")
Result = TypeVar("Result")


class Loose(NamedTuple):
    """An object with a file of its own."""

    id: ObjectId
    size: int


class Content:
    """The bytes of objects. What looks wrong is told to `suspects`."""

    def __init__(self, disk: Directory, packs: Unkept, suspects: list[Suspect], progress: Progress) -> None:
        self._disk = disk
        self._packs = packs
        self._packed = Packed(disk, packs)
        self._suspects = suspects
        self._progress = progress
        self.count = 0
        self.size = 0

    def check_loose(self, items: Iterable[Loose]) -> None:
        """Hash objects that have files of their own."""
        small = (item for item in items if not self._is_large(item))
        for some in _batches(small):
            self._tell(some, self._each(self._loose_fails, some))

    def _is_large(self, item: Loose) -> bool:
        if item.size < _LARGE:
            return False
        self._tell([item], self._each(lambda one, advance: self._loose_fails(one, advance, wide=True), [item]))
        return True

    def check_pack(self, name: ObjectId, wanted: Wanted, *, whole: bool) -> None:
        """Decode the records of a pack, each once; with `whole` compare the file with its name as well."""
        try:
            pack = self._packs.pack(name)
            records = sorted(
                (record for record in pack.index.records.values() if record.encoding != CONCAT and wanted(record.id)),
                key=partial(self._near_its_base, name),
            )
        except FileNotFoundError:
            return
        except FAILURES:
            # Told where packs are listed.
            return
        failed: list[Record] = []
        for some in _batches(records):
            failures = self._each(lambda record, advance: self._record_fails(pack, record, advance), some)
            for record, failure in zip(some, failures, strict=True):
                self.count += 1
                self.size += record.size
                if failure is not None:
                    failed.append(record)
                    self._suspect_record(name, record, failure)
        if whole and (said := self._pack_fails(name)):
            places = {record.id: self._packs.place(record.id) for record in failed}
            self._suspects.append(
                Suspect(
                    report.PACK_DAMAGED,
                    pack_path(name),
                    said if failed else f"{said}; every record in it is whole",
                    still=partial(self._is_there, pack_path(name)),
                    ids=[id for id, place in places.items() if place and place[0] == name],
                )
            )

    def _near_its_base(self, name: ObjectId, record: Record) -> tuple[int, int, int]:
        """Return where in the order of work a record is: behind what it stands on, while that is in memory."""
        first = record.offset
        for ref in record.refs[:1]:
            try:
                piece = next(self._packed.pieces(ref), None)
            except FAILURES:
                continue
            if isinstance(piece, Piece) and piece.record.id in self._packs.pack(name).index.records:
                first = piece.record.offset
        return first, record.depth, record.offset

    def verify_ids(self, ids: Iterable[ObjectId]) -> None:
        """Check some objects wherever they lie."""
        for id in ids:
            size = self._disk.size(object_path(id))
            if size is not None:
                self.check_loose([Loose(id, size)])
            if place := self._packs.place(id):
                self.check_pack(place[0], partial(eq, id), whole=False)

    def _loose_fails(self, item: Loose, advance: Advance, *, wide: bool = False) -> str | None:
        found = self._hashed(object_path(item.id), os.O_NOFOLLOW, advance, wide=wide)
        if not isinstance(found, tuple):
            return found
        id, size = found
        if id == item.id:
            return None
        return "its file does not hold the bytes it is named after" + (
            f": {size} bytes are there, {item.size} were" if size != item.size else ""
        )

    def _tell(self, items: list[Loose], failures: list[str | None]) -> None:
        for item, failure in zip(items, failures, strict=True):
            self.count += 1
            self.size += item.size
            if failure is not None:
                self._suspects.append(
                    Suspect(
                        report.OBJECT_DAMAGED,
                        str(item.id),
                        failure,
                        still=partial(self._is_there, object_path(item.id)),
                        again=partial(self._is_bad, item),
                        ids=[item.id],
                        loose=True,
                    )
                )

    def _is_bad(self, item: Loose) -> bool:
        return self._loose_fails(item, _ignore, wide=True) is not None

    def _is_there(self, key: str) -> bool:
        return self._disk.size(key) is not None

    def _record_fails(self, pack: Pack, record: Record, advance: Advance) -> Exception | None:
        try:
            verify(self._packed, pack, record)
        except (MvsError, LeansOnDamage) as error:
            return error
        except OSError as error:
            return CorruptObject(reason(error))
        advance(record.size)
        return None

    def _suspect_record(self, name: ObjectId, record: Record, failure: Exception) -> None:
        def again() -> bool:
            try:
                pack = self._packs.pack(name)
            except FileNotFoundError:
                return False
            return self._record_fails(pack, record, _ignore) is not None

        place = self._packs.place(record.id)
        self._suspects.append(
            Suspect(
                report.RECORD_DAMAGED,
                str(record.id),
                f"its record in pack {name} is damaged" if isinstance(failure, CorruptPack) else reason(failure),
                still=partial(self._is_there, pack_path(name)),
                again=again,
                ids=[record.id] if place and place[0] == name else [],
                leans=isinstance(failure, LeansOnDamage) and bool(record.refs),
            )
        )

    def _pack_fails(self, name: ObjectId) -> str | None:
        found = self._hashed(pack_path(name), 0, _ignore, wide=True)
        if not isinstance(found, tuple):
            return found
        return None if found[0] == name else "it does not hold the bytes it is named after"

    def _hashed(self, key: str, flags: int, advance: Advance, *, wide: bool) -> tuple[ObjectId, int] | str | None:
        """Return id and size of what a file holds; why it cannot be read, or None where it is gone."""
        path = self._disk.path(key)
        try:
            with storage(path):
                fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | flags)
                try:
                    return hash_open(fd, advance, wide=wide)
                finally:
                    os.close(fd)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (MvsError, OSError) as error:
            return f"it cannot be read: {reason(error)}"

    def _each(self, work: Callable[[Item, Advance], Result], items: list[Item]) -> list[Result]:
        return each(work, items, label="", total=0, progress=_Within(self._progress))


class _Within(Silent):
    """Part of some work that was started before."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    def advance(self, amount: int) -> None:
        """Count bytes."""
        self._progress.advance(amount)


def _ignore(_: int) -> None:
    """Count nothing: it was counted."""


def _batches(items: Iterable[Item]) -> Iterator[list[Item]]:
    some: list[Item] = []
    for item in items:
        some.append(item)
        if len(some) == _BATCH:
            yield some
            some = []
    if some:
        yield some
