"""Which packs hold what, and what else is needed to decode it."""

import os
from collections.abc import Callable, Container, Iterable, Mapping
from contextlib import suppress
from typing import NamedTuple

from mvs.backends.directory import Directory
from mvs.format.ids import ObjectId
from mvs.format.layout import pack_path
from mvs.format.pack import Index, Record
from mvs.store.objects import Objects


class Held(NamedTuple):
    """A record, and the name of its pack."""

    pack: ObjectId
    record: Record


class Holdings:
    """The records of some packs, by id: of several one of the least depth, as readers take them."""

    def __init__(self, indexes: Mapping[ObjectId, Index]) -> None:
        self._records: dict[ObjectId, Held] = {}
        for name, index in indexes.items():
            for record in index.records.values():
                known = self._records.get(record.id)
                if known is None or record.rank < known.record.rank:
                    self._records[record.id] = Held(name, record)

    def find(self, id: ObjectId) -> Held | None:
        """Return the record of an object, None where there is none."""
        return self._records.get(id)


def closure(
    wanted: Iterable[ObjectId],
    find: Callable[[ObjectId], Held | None],
    known: Container[ObjectId] = frozenset(),
) -> tuple[dict[ObjectId, Held], set[ObjectId]]:
    """Return the records that objects come from, by id, and the ids of those that have none.

    What is `known` is passed over.
    The bases of deltas and the parts of what was cut are objects too.
    """
    found: dict[ObjectId, Held] = {}
    missing: set[ObjectId] = set()
    pending = list(wanted)
    while pending:
        id = pending.pop()
        if id in found or id in missing or id in known:
            continue
        held = find(id)
        if held is None:
            missing.add(id)
            continue
        found[id] = held
        pending += [ref.id for ref in held.record.refs]
    return found, missing


def by_pack(found: Mapping[ObjectId, Held]) -> dict[ObjectId, list[Record]]:
    """Return records by their packs, in order of where they lie."""
    packs: dict[ObjectId, list[Record]] = {}
    for held in found.values():
        packs.setdefault(held.pack, []).append(held.record)
    return {name: sorted(records, key=lambda record: record.offset) for name, records in sorted(packs.items())}


class Whole:
    """The objects that can be read without the remote."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects
        self._packs: set[ObjectId] = set()

    def __contains__(self, id: object) -> bool:
        if not isinstance(id, ObjectId):
            return False
        found, missing = closure([id], self._find, _Loose(self._objects))
        if not missing:
            self._packs.update(held.pack for held in found.values())
        return not missing

    def touch(self, disk: Directory) -> None:
        """Note that what was found is used: what is not goes first."""
        for name in self._packs:
            with suppress(OSError):
                os.utime(disk.path(pack_path(name)))

    def _find(self, id: ObjectId) -> Held | None:
        place = self._objects.packs.place(id)
        return Held(*place) if place else None


class _Loose:
    """The objects that have a file of their own."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects

    def __contains__(self, id: object) -> bool:
        return isinstance(id, ObjectId) and self._objects.is_loose(id)
