"""Lineage: what a version was made from, and what was made from it.

Manifests name their parents by id, so no circle can be saved; nothing here trusts that.
"""

import heapq
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Literal, NamedTuple

from mvs.errors import UNREADABLE
from mvs.format.ids import ObjectId
from mvs.format.manifest import MAGIC, Manifest
from mvs.format.names import Spec, Tag
from mvs.ops.find import query
from mvs.store.store import Store

State = Literal["there", "deleted", "missing"]


class Kin(NamedTuple):
    """A version as its children name it; of a missing one nothing is known but the id."""

    id: ObjectId
    state: State
    tag: Tag | None
    created: int
    parents: tuple[ObjectId, ...]
    aliases: tuple[str, ...]


Family = Mapping[ObjectId, Kin]


def ancestors(store: Store, spec: Spec) -> list[query.Stored]:
    """Return the versions that one was made from, and those that they were made from, nearest first.

    Deleted ones are left out, and what they were made from is not, as long as that is known.

    Raises:
        NotFound, Corrupt: as `query.load`.
    """
    first = query.load(store, spec)
    found: dict[ObjectId, Kin] = {}
    _follow(store, found, first.manifest.parents)
    ways = {**_parents(found), first.ref.id: first.manifest.parents}
    return _loaded(store, _reached([first.ref.id], ways), found)


def descendants(store: Store, spec: Spec, damaged: Callable[[str], None]) -> list[query.Stored]:
    """Return the versions that were made from one, and those made from them, nearest first; all manifests are read.

    Raises:
        NotFound, Corrupt: as `query.load`.
    """
    first = query.load(store, spec)
    family = _all(store, damaged)
    return _loaded(store, _reached([first.ref.id], _children(family)), family)


def lineage(store: Store, spec: Spec, damaged: Callable[[str], None]) -> list[Kin]:
    """Return a version with its ancestors and descendants, for a bare name all its versions; parents come first.

    Raises:
        NotFound, CorruptRef: as `query.resolve`.
    """
    chosen = {ref.id for ref in query.chosen(store, spec)}
    family = _all(store, damaged)
    related = chosen | {id for ways in (_parents(family), _children(family)) for id in _reached(chosen, ways)}
    return _in_order({id: family[id] for id in family if id in related})


def _all(store: Store, damaged: Callable[[str], None]) -> dict[ObjectId, Kin]:
    """Return every version and all that they were made from."""
    found = {
        each.ref.id: Kin(
            each.ref.id, "there", each.ref.tag, each.ref.created, each.manifest.parents, each.moving.aliases
        )
        for each in query.listing(store, query.Wanted(), damaged)
    }
    _follow(store, found, [parent for kin in found.values() for parent in kin.parents])
    return found


def _follow(store: Store, found: dict[ObjectId, Kin], ids: Iterable[ObjectId]) -> None:
    """Add versions, and all that they were made from."""
    pending = list(ids)
    while pending:
        id = pending.pop()
        if id not in found:
            found[id] = _kin(store, id)
            pending += found[id].parents


def _kin(store: Store, id: ObjectId) -> Kin:
    try:
        with store.objects.open(id) as file:
            # Any object may be named a parent, also a blob that fills the memory.
            if file.read(len(MAGIC)) != MAGIC:
                return Kin(id, "missing", None, 0, (), ())
        manifest = Manifest.decode(store.objects.read(id))
    except UNREADABLE:
        return Kin(id, "missing", None, 0, (), ())
    try:
        ref = store.refs.read(manifest.tag)
    except UNREADABLE:
        ref = None
    state: State = "there" if ref is not None and ref.id == id else "deleted"
    return Kin(id, state, manifest.tag, manifest.created, manifest.parents, ())


def _parents(family: Family) -> dict[ObjectId, tuple[ObjectId, ...]]:
    return {id: kin.parents for id, kin in family.items()}


def _children(family: Family) -> dict[ObjectId, list[ObjectId]]:
    found: dict[ObjectId, list[ObjectId]] = defaultdict(list)
    for kin in sorted(family.values(), key=lambda kin: kin.created):
        for parent in dict.fromkeys(kin.parents):
            found[parent].append(kin.id)
    return found


def _reached(starts: Iterable[ObjectId], ways: Mapping[ObjectId, Iterable[ObjectId]]) -> list[ObjectId]:
    """Return what can be reached from some ids, without those, nearest first."""
    order = list(starts)
    count, known = len(order), set(order)
    for id in order:
        for other in ways.get(id, ()):
            if other not in known:
                known.add(other)
                order.append(other)
    return order[count:]


def _loaded(store: Store, ids: Iterable[ObjectId], family: Family) -> list[query.Stored]:
    """Return the versions with these ids; one that was deleted, or is damaged, is left out."""
    found = []
    for id in ids:
        kin = family[id]
        if kin.state == "there" and kin.tag:
            try:
                ref = store.refs.read(kin.tag)
                if ref is not None and ref.id == id:
                    found.append(query.stored(store, ref))
            except UNREADABLE:
                continue
    return found


def _in_order(family: Family) -> list[Kin]:
    """Return a family with parents before their children, else the older before the younger."""
    waiting = {id: sum(parent in family for parent in set(kin.parents)) for id, kin in family.items()}
    children = _children(family)
    ready = [(kin.created, id) for id, kin in family.items() if not waiting[id]]
    heapq.heapify(ready)
    order: list[Kin] = []
    while ready:
        _, id = heapq.heappop(ready)
        order.append(family[id])
        for child in children.get(id, ()):
            waiting[child] -= 1
            if not waiting[child]:
                heapq.heappush(ready, (family[child].created, child))
    return order
