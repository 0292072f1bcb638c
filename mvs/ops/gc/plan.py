"""What gc would remove, and what of it is held back; nothing is removed until `run`."""

from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import NamedTuple

from mvs.format.ids import MAX_TIME, ObjectId
from mvs.format.lines.refs import Ref
from mvs.format.pack import Index
from mvs.ops.gc.marking import Gone, Needed, check_told, lacking, present, told
from mvs.ops.sharing import Shared, pinned, shared, vanished
from mvs.running.progress import Progress
from mvs.store.store import Store

# A pack of which a larger share is rubbish is written again without it.
MOST_RUBBISH = 0.5


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
        bridges: for the last one of several packs that need each other, what is written to a pack of its own, by the
            pack it comes from, and goes right after them: cut off between them, none lacks what it refers to.
        relied: objects with files of their own that are needed, and of which a pack goes that has them as well.
        held: bytes that would come back as well if nothing deleted were kept.
        lost: manifests that were said to be lost, and that nothing asks for any more.
        repositories: those that share the store; what they pin is kept.
        vanished: those of them that are gone; what they pinned is kept until they are forgotten.
    """

    since: int
    roots: frozenset[ObjectId]
    versions: tuple[Gone, ...]
    manifests: frozenset[ObjectId]
    loose: Mapping[ObjectId, int]
    packs: Mapping[ObjectId, int]
    kept: Mapping[ObjectId, frozenset[ObjectId]]
    bridges: Mapping[ObjectId, Mapping[ObjectId, frozenset[ObjectId]]]
    relied: frozenset[ObjectId]
    held: int
    lost: frozenset[ObjectId]
    repositories: tuple[Shared, ...]
    vanished: tuple[str, ...]

    @property
    def freed(self) -> int:
        """Bytes that come back."""
        return sum(self.loose.values()) + sum(self.packs.values())


def plan(
    store: Store, since: int, *, host: str, progress: Progress, purge: Collection[str] = (), rewrite: bool = True
) -> Plan:
    """Return what could be removed: all that no version needs which is there, or was deleted after `since`.

    Of the names in `purge` what was deleted goes at once.
    `host` is the machine this is, on which repositories can be asked what they pin.
    Without `rewrite`, for a disk that is full, no pack is written again: it stays whole, with all that it needs.

    Raises:
        Corrupt, UnsupportedFormat: something that is needed cannot be read; nothing must be removed then.
    """
    store.objects.packs.forget()
    indexes = store.objects.packs.readable()
    # Before the refs are read: what is saved from here on is not in the list.
    there = dict(store.objects.loose())
    found = present(store)
    known = shared(store, host)
    history = told(store, since, purge, strict=since < MAX_TIME)
    if since < MAX_TIME:
        check_told(found.values(), history)
    found |= pinned(store, known)
    found |= {ref.id: ref for ref in lacking(store, known, history, since) if ref.id not in found}
    # However short the window: nobody asked for them to go.
    found |= {id: ref for id, ref in history.saved.items() if id not in found}
    needed = Needed(store, there, indexes, known)
    _mark(needed, found.values(), there, progress)
    rubbish = _rubbish(store, there, needed, indexes, rewrite=rewrite)
    held = 0
    if later := {id: ref for id, ref in history.held.items() if id not in found}:
        held = rubbish.freed
        _mark(needed, later.values(), there, progress)
        found |= later
        rubbish = _rubbish(store, there, needed, indexes, rewrite=rewrite)
        held -= rubbish.freed
    loose, packs = rubbish.loose, rubbish.packs
    return Plan(
        since,
        frozenset(found),
        tuple({gone.tag: gone for gone in history.deleted if gone.id in loose}.values()),
        frozenset(history.named.keys() & loose.keys()),
        loose,
        packs,
        rubbish.kept,
        rubbish.bridges,
        frozenset(id for name in packs for id in indexes[name].records if id in needed.loose and id in there),
        max(0, held),
        frozenset(id for id in store.quarantine.lost() if id in history.named and id not in found),
        tuple(known),
        vanished(store, known),
    )


def _mark(needed: Needed, found: Collection[Ref], there: Mapping[ObjectId, int], progress: Progress) -> None:
    progress.start("marking", sum(there.get(ref.id, 0) for ref in found))
    try:
        for ref in found:
            needed.add([ref])
            progress.advance(there.get(ref.id, 0))
    finally:
        progress.finish()


class _Rubbish(NamedTuple):
    """What goes, as `Plan` has it."""

    loose: dict[ObjectId, int]
    packs: dict[ObjectId, int]
    kept: dict[ObjectId, frozenset[ObjectId]]
    bridges: dict[ObjectId, dict[ObjectId, frozenset[ObjectId]]]

    @property
    def freed(self) -> int:
        return sum(self.loose.values()) + sum(self.packs.values())


def _rubbish(
    store: Store,
    there: Mapping[ObjectId, int],
    needed: Needed,
    indexes: Mapping[ObjectId, Index],
    *,
    rewrite: bool,
) -> _Rubbish:
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
        for group in _referrers_first({name: indexes[name] for name in kept}):
            if len(group) > 1:
                # They can only go by a pack that is written for it.
                for name in group:
                    del kept[name]
        spared = _spare(indexes, kept)
    packs = {}
    groups = _referrers_first({name: indexes[name] for name in kept})
    for name in chain.from_iterable(groups):
        ids = kept[name]
        size = store.objects.packs.size(name)
        entries = len(ids) / max(1, len(indexes[name].records))
        stored = sum(indexes[name].records[id].length for id in ids)
        overhead = size - sum(record.length for record in indexes[name].records.values())
        packs[name] = size - (stored + round(overhead * entries) if ids else 0)
    loose = {id: size for id, size in there.items() if id not in needed.loose and id not in spared}
    bridges = {group[-1]: _bridge(indexes, group) for group in groups if len(group) > 1}
    return _Rubbish(loose, packs, {name: ids for name, ids in kept.items() if ids}, bridges)


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


def _referrers_first(indexes: Mapping[ObjectId, Index]) -> list[list[ObjectId]]:
    """Return packs in an order in which one that refers to what another holds comes before that one.

    Packs that need each other are in one list. (Kosaraju's strongly connected components, which come out sorted.)
    """
    homes: dict[ObjectId, list[ObjectId]] = defaultdict(list)
    for name, index in indexes.items():
        for id in index.records:
            homes[id].append(name)
    needs = {name: [home for id in index.outside for home in homes[id]] for name, index in indexes.items()}
    needed_by: dict[ObjectId, list[ObjectId]] = defaultdict(list)
    for name, others in needs.items():
        for other in others:
            needed_by[other].append(name)
    seen: set[ObjectId] = set()
    groups: list[list[ObjectId]] = []
    for start in reversed(_after_what_they_need(needs)):
        group, pending = [], [start]
        while pending:
            name = pending.pop()
            if name not in seen:
                seen.add(name)
                group.append(name)
                pending += needed_by[name]
        if group:
            groups.append(group)
    return groups


def _after_what_they_need(needs: Mapping[ObjectId, list[ObjectId]]) -> list[ObjectId]:
    done: dict[ObjectId, None] = {}
    entered: set[ObjectId] = set()
    for start in needs:
        pending = [(start, False)]
        while pending:
            name, left = pending.pop()
            if left:
                done[name] = None
            elif name not in entered:
                entered.add(name)
                pending.append((name, True))
                pending += [(other, False) for other in needs[name]]
    return list(done)


def _bridge(indexes: Mapping[ObjectId, Index], group: list[ObjectId]) -> dict[ObjectId, frozenset[ObjectId]]:
    """Return, by pack, the records of packs that need each other which others of these need, and all those need.

    In a pack of their own they let the packs go one after another: none is left that lacks something.
    """
    homes = {id: name for name in group for id in indexes[name].records}
    pending = [id for name in group for id in indexes[name].outside if id in homes]
    found: dict[ObjectId, set[ObjectId]] = defaultdict(set)
    while pending:
        id = pending.pop()
        name = homes.get(id)
        if name is not None and id not in found[name]:
            found[name].add(id)
            pending += [ref.id for ref in indexes[name].records[id].refs]
    return {name: frozenset(ids) for name, ids in found.items() if ids}
