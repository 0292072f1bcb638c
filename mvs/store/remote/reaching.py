"""Objects of a remote as if they were here: records are fetched when they are decoded, and nothing else is."""

from collections.abc import Callable, Iterable, Sequence
from functools import cached_property

from mvs.backends.directory import Directory
from mvs.errors import CorruptPack
from mvs.format.ids import ObjectId
from mvs.format.pack import Index, Record, check_of
from mvs.format.remote import PackPlace
from mvs.store.packs.files import Pack, Packs
from mvs.store.remote.packs import RemotePacks


class _FarPack(Pack):
    """A pack of a remote; only what is asked for of it is read."""

    def __init__(self, packs: RemotePacks, place: PackPlace) -> None:
        self._packs = packs
        self._place = place

    @cached_property
    def index(self) -> Index:
        """What is in it."""
        return self._packs.index(self._place)

    def stored(self, record: Record) -> bytes:
        """Return what a record stores, its checksum verified."""
        data = self._packs.stored(self._place, [record]) if record.length else b""
        if check_of(data) != record.check:
            raise CorruptPack(f"object {record.id} in pack {self._place.name} of the remote is damaged")
        return data


class ReachingPacks(Packs):
    """The packs of a store, and behind them some of a remote.

    These are in groups, each of which has all that its records refer to; the first one that has an object is it.
    """

    def __init__(
        self, disk: Directory, packs: RemotePacks, groups: Callable[[], Iterable[Sequence[PackPlace]]]
    ) -> None:
        """Look behind the packs under `disk` into `groups`, which are asked for each time."""
        super().__init__(disk)
        self._packs = packs
        self._groups = groups
        self._far: dict[PackPlace, _FarPack] = {}

    def find(self, id: ObjectId) -> tuple[Pack, Record] | None:
        """Return the record of an object and its pack, from here if it is here."""
        found = super().find(id)
        if found is not None:
            return found
        for places in self._groups():
            there = [(pack, pack.index.records[id]) for pack in self._opened(places) if id in pack.index.records]
            if there:
                return min(there, key=lambda held: (held[1].depth, bool(held[1].refs)))
        return None

    def _opened(self, places: Sequence[PackPlace]) -> list[_FarPack]:
        unknown = [place for place in places if place not in self._far]
        # Read now, several at once.
        self._packs.indexes(unknown)
        self._far.update((place, _FarPack(self._packs, place)) for place in unknown)
        return [self._far[place] for place in places]
