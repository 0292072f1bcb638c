"""Packs from elsewhere on their way into a store: nothing in them is believed before it was decoded."""

from typing import NamedTuple

from blake3 import blake3

from mvs.backends.directory import Directory
from mvs.errors import CorruptPack
from mvs.format.ids import ObjectId
from mvs.format.pack import CONCAT, Record, Span
from mvs.store.packs.files import Pack, Packs
from mvs.store.packs.lookup import Lookup, Table
from mvs.store.packs.reading import Packed
from mvs.store.packs.writing import PackWriter


class Arrival(NamedTuple):
    """A finished pack outside the store: its file, its name, and what is in it."""

    path: str
    name: ObjectId
    records: dict[ObjectId, Record]


class _Beside(Packs):
    """The packs of a store, and others."""

    def __init__(self, disk: Directory, arrivals: list[Arrival]) -> None:
        super().__init__(disk)
        self._arrivals = {arrival.name: Pack(arrival.path) for arrival in arrivals}

    def pack(self, name: ObjectId) -> Pack:
        """Open a pack."""
        return self._arrivals.get(name) or super().pack(name)

    def _known(self) -> Lookup:
        known = self._lookup is not None
        lookup = super()._known()
        if not known:
            lookup.hold(Table.of((name, pack.index) for name, pack in self._arrivals.items()))
        return lookup


def bases_first(arrivals: list[Arrival]) -> tuple[list[Arrival], list[Arrival]]:
    """Return packs so that what a record refers to comes before it, or with it; and those that refer to one another."""
    ordered: list[Arrival] = []
    pending = list(arrivals)
    while pending:
        coming = {id for arrival in pending for id in arrival.records}
        ready = [arrival for arrival in pending if not _outside(arrival) & coming]
        if not ready:
            break
        ordered += ready
        pending = [arrival for arrival in pending if arrival not in ready]
    return ordered, pending


def merged(arrivals: list[Arrival], writer: PackWriter) -> Arrival:
    """Return one pack with the records of some, as they are."""
    for arrival in arrivals:
        pack = Pack(arrival.path)
        for record in sorted(arrival.records.values(), key=lambda record: record.offset):
            writer.add(record.id, record.size, record.encoding, pack.stored(record), record.refs, depth=record.depth)
    return Arrival(writer.path, writer.finish(), writer.records)


def _outside(arrival: Arrival) -> set[ObjectId]:
    return {ref.id for record in arrival.records.values() for ref in record.refs} - arrival.records.keys()


def check(disk: Directory, arrivals: list[Arrival]) -> None:
    """Decode every record of some packs, with the store's own at hand.

    Raises:
        Corrupt: one does not decode to the bytes that it is named after.
    """
    packed = Packed(disk, _Beside(disk, arrivals))
    for arrival in arrivals:
        for record in sorted(arrival.records.values(), key=lambda record: record.offset):
            if record.encoding == CONCAT:
                whole = blake3()
                for block in packed.run(Span(record.id, 0, record.size)):
                    whole.update(block)
                if whole.digest() != record.id.raw:
                    raise CorruptPack(f"object {record.id} is not what came under its name")
            else:
                packed.view(Span(record.id, 0, record.size))
