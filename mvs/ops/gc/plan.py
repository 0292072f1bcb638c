"""What gc would remove, and what of it is held back; nothing is removed until `run`."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from mvs.format.ids import MAX_TIME, ObjectId
from mvs.format.names import Tag
from mvs.format.pack import Index
from mvs.format.refs import Ref
from mvs.ops.gc.marking import Needed, named, roots
from mvs.store.store import Store

# A pack of which a larger share is rubbish is written again without it.
MOST_RUBBISH = 0.5


@dataclass(frozen=True, slots=True)
class Gone:
    """A deleted version that can no longer be restored afterwards; `at` is when it was deleted, in nanoseconds."""

    tag: Tag
    id: ObjectId
    at: int


@dataclass(frozen=True, slots=True)
class Plan:
    """What would be removed.

    Attributes:
        since: what was deleted after this moment, in nanoseconds, is kept.
        roots: the manifests that everything needed was found from.
        versions: the deleted versions that go.
        manifests: of the objects that go, those that a journal names.
        loose: the objects with files of their own that go, and their sizes.
        packs: the packs that go whole, or are written again, and the bytes that come back of each. One that refers to
            what another one holds comes before that one.
        kept: of a pack that is written again, the objects that stay.
        relied: objects with files of their own that are needed, and of which a pack goes that has them as well.
        held: bytes that would come back as well if nothing deleted were kept.
    """

    since: int
    roots: frozenset[ObjectId]
    versions: tuple[Gone, ...]
    manifests: frozenset[ObjectId]
    loose: Mapping[ObjectId, int]
    packs: Mapping[ObjectId, int]
    kept: Mapping[ObjectId, frozenset[ObjectId]]
    relied: frozenset[ObjectId]
    held: int

    @property
    def freed(self) -> int:
        """Bytes that come back."""
        return sum(self.loose.values()) + sum(self.packs.values())


def plan(store: Store, since: int, *, rewrite: bool = True) -> Plan:
    """Return what could be removed: all that no version needs which is there, or was deleted after `since`.

    Without `rewrite`, for a disk that is full, no pack is written again: it stays whole, with all that it needs.

    Raises:
        Corrupt, UnsupportedFormat: something that is needed cannot be read; nothing must be removed then.
    """
    store.objects.packs.forget()
    indexes = store.objects.packs.readable()
    # Before the refs are read: what is saved from here on is not in the list.
    there = dict(store.objects.loose())
    found = roots(store, since)
    needed = Needed(store)
    needed.add(found.values())
    loose, packs, kept = _rubbish(store, there, needed, indexes, rewrite=rewrite)
    held = 0
    if since < MAX_TIME:
        bare = Needed(store)
        bare.add(roots(store, MAX_TIME).values())
        more_loose, more_packs, _ = _rubbish(store, there, bare, indexes, rewrite=rewrite)
        held = sum(more_loose.values()) + sum(more_packs.values()) - sum(loose.values()) - sum(packs.values())
    return Plan(
        since,
        frozenset(found),
        tuple(_gone(store, found, loose)),
        frozenset(named(store) & loose.keys()),
        loose,
        packs,
        kept,
        frozenset(id for name in packs for id in indexes[name].records if id in needed.loose and id in there),
        max(0, held),
    )


def _rubbish(
    store: Store,
    there: Mapping[ObjectId, int],
    needed: Needed,
    indexes: Mapping[ObjectId, Index],
    *,
    rewrite: bool,
) -> tuple[dict[ObjectId, int], dict[ObjectId, int], dict[ObjectId, frozenset[ObjectId]]]:
    live: dict[ObjectId, set[ObjectId]] = defaultdict(set)
    for id, name in needed.packed.items():
        live[name].add(id)
    kept: dict[ObjectId, frozenset[ObjectId]] = {}
    for name, index in indexes.items():
        total = sum(record.length for record in index.records.values())
        dead = total - sum(index.records[id].length for id in live[name])
        mostly = len(live[name]) < len(index.records) and dead > MOST_RUBBISH * total
        if not live[name] or (rewrite and mostly):
            kept[name] = frozenset(live[name])
    spared: set[ObjectId] = set()
    if rewrite:
        _settle(needed, indexes, live, kept)
    else:
        spared = _spare(indexes, kept)
    packs = {}
    for name in _referrers_first({name: indexes[name] for name in kept}):
        ids = kept[name]
        size = store.objects.packs.size(name)
        entries = len(ids) / max(1, len(indexes[name].records))
        stored = sum(indexes[name].records[id].length for id in ids)
        overhead = size - sum(record.length for record in indexes[name].records.values())
        packs[name] = size - (stored + round(overhead * entries) if ids else 0)
    loose = {id: size for id, size in there.items() if id not in needed.loose and id not in spared}
    return loose, packs, {name: ids for name, ids in kept.items() if ids}


def _settle(
    needed: Needed,
    indexes: Mapping[ObjectId, Index],
    live: Mapping[ObjectId, set[ObjectId]],
    kept: dict[ObjectId, frozenset[ObjectId]],
) -> None:
    """Have written again every pack that would be left with a record which lacks what it refers to.

    A save or a dedup that finds such a record would count on it.
    """
    while True:
        there = set(needed.loose)
        for name, index in indexes.items():
            there.update(kept.get(name, index.records))
        lacking = [
            name
            for name, index in indexes.items()
            if name not in kept and any(ref.id not in there for record in index.records.values() for ref in record.refs)
        ]
        if not lacking:
            return
        for name in lacking:
            kept[name] = frozenset(live[name])


def _spare(indexes: Mapping[ObjectId, Index], kept: dict[ObjectId, frozenset[ObjectId]]) -> set[ObjectId]:
    """Let stay whatever a pack that stays refers to, for the reason that `_settle` has; return the objects."""
    homes: dict[ObjectId, list[ObjectId]] = defaultdict(list)
    for name in kept:
        for id in indexes[name].records:
            homes[id].append(name)
    spared: set[ObjectId] = set()
    pending = [name for name in indexes if name not in kept]
    while pending:
        for id in indexes[pending.pop()].outside:
            spared.add(id)
            pending += [home for home in homes[id] if kept.pop(home, None) is not None]
    return spared


def _referrers_first(indexes: Mapping[ObjectId, Index]) -> list[ObjectId]:
    """Return packs in an order in which one that refers to what another holds comes before that one.

    Cut off after any of them, no record is left that lacks what it refers to, unless two packs need each other.
    """
    homes: dict[ObjectId, list[ObjectId]] = defaultdict(list)
    for name, index in indexes.items():
        for id in index.records:
            homes[id].append(name)
    done: dict[ObjectId, None] = {}
    entered: set[ObjectId] = set()
    for start in indexes:
        pending = [(start, False)]
        while pending:
            name, left = pending.pop()
            if left:
                done[name] = None
            elif name not in entered:
                entered.add(name)
                pending.append((name, True))
                pending += [(home, False) for id in indexes[name].outside for home in homes[id]]
    return list(reversed(done))


def _gone(store: Store, found: Mapping[ObjectId, Ref], loose: Iterable[ObjectId]) -> Iterable[Gone]:
    doomed = set(loose)
    for name in store.journal.names():
        last: dict[str, Gone] = {}
        for event in store.journal.events(name):
            if event.event == "delete" and event.old in doomed and event.old not in found:
                last[event.version] = Gone(Tag(name, event.version), event.old, event.at)
        yield from last.values()
