"""Packs for whoever checks them: found without the tables that are kept, nothing written, each record on its own."""

from collections.abc import Iterable, Iterator, Mapping

from blake3 import blake3

from mvs.backends.directory import Directory
from mvs.codecs import blocks
from mvs.errors import Corrupt, CorruptObject, MvsError, StorageFailed, UnsupportedFormat
from mvs.format.ids import ObjectId
from mvs.format.pack import CONCAT, Index, Record, Span
from mvs.store.packs.files import Pack, Packs
from mvs.store.packs.lookup import Lookup, Table
from mvs.store.packs.reading import Packed


class Unkept(Packs):
    """All packs of a store, by their own indexes alone. Looking anew reads only those that are new."""

    def __init__(self, disk: Directory) -> None:
        super().__init__(disk)
        self._tables: list[Table] = []

    @property
    def unreadable(self) -> Mapping[ObjectId, MvsError]:
        """The packs whose content cannot be told, and why."""
        self._known()
        return self._unreadable

    @property
    def tables(self) -> list[Table]:
        """What is in the packs that can be read."""
        self._known()
        return self._tables

    def read(self, names: Iterable[ObjectId]) -> Iterator[tuple[ObjectId, Index]]:
        """Yield those of some packs that can be read, and what is in them."""
        for name in names:
            try:
                yield name, self.pack(name).index
            except FileNotFoundError:
                continue
            except (Corrupt, UnsupportedFormat, StorageFailed) as error:
                self._unreadable[name] = error

    def indexes(self) -> Iterator[tuple[ObjectId, Index]]:
        """Yield every pack that can be read, and what is in it."""
        yield from self.read(sorted(self.names()))

    def _known(self) -> Lookup:
        lookup = self._lookup
        if lookup is None:
            covered = {name for table in self._tables for name in table.packs}
            fresh = Table.of(self.read(name for name in sorted(self.names()) if name not in covered))
            if fresh.packs:
                self._tables.append(fresh)
            lookup = Lookup(self._disk)
            for table in self._tables:
                lookup.hold(table)
            self._lookup = lookup
        return lookup


class LeansOnDamage(Exception):
    """A record stores what it should and does not decode: something that it refers to is at fault, or its writer."""


def verify(packed: Packed, pack: Pack, record: Record) -> None:
    """Decode a record, be it the one that readers take or not, and compare it with its id.

    One that readers take is kept for a while, for what stands on it.
    A `concat` stores nothing: its parts are records of their own.

    Raises:
        Corrupt: what it stores is damaged.
        LeansOnDamage: what it stores is not.
    """
    if record.encoding == CONCAT:
        return
    if packed.takes(pack, record):
        try:
            packed.view(Span(record.id, 0, record.size))
        except Corrupt:
            # Whose fault that is, is told below.
            pass
        else:
            return
    stored = pack.stored(record)
    try:
        plain = blocks.decode(record.encoding, stored, record.size, [packed.view(ref) for ref in record.refs])
        if blake3(plain).digest() != record.id.raw:
            raise CorruptObject(f"object {record.id} does not decode to the bytes it is named after")
    except ValueError as error:
        raise LeansOnDamage(f"object {record.id} cannot be decoded: {error}") from error
    except Corrupt as error:
        raise LeansOnDamage(error.message) from error
