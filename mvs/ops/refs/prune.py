"""Pruning: deleting the versions that no rule keeps.

It goes the way of `mvs delete`, so `mvs restore` takes it back as long as gc keeps what was deleted.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from mvs.errors import UNREADABLE, Corrupt, MvsError
from mvs.format.ids import ObjectId
from mvs.format.lines.refs import Ref
from mvs.ops.find import exclusive, query
from mvs.ops.refs import delete
from mvs.ops.refs.keeping import Best, Reason, Rules, kept
from mvs.query.tree import And, Compare, Sort
from mvs.store.store import Store

_DOOMED = ("doomed",)


class Kept(NamedTuple):
    """A version that is kept: by rules, and for other reasons."""

    ref: Ref
    rules: tuple[Reason, ...]
    others: tuple[Reason, ...]

    @property
    def why(self) -> tuple[Reason, ...]:
        """All reasons."""
        return self.rules + self.others


@dataclass(frozen=True, slots=True)
class Plan:
    """What would go, and why the rest is kept.

    Attributes:
        doomed: the versions that no rule keeps, by name, the most recently saved first.
        kept: the others that were looked at.
        exclusive: stored bytes that nothing but the doomed needs, neither another version nor what is pinned.
    """

    doomed: tuple[Ref, ...]
    kept: tuple[Kept, ...]
    exclusive: int

    def to_dict(self) -> dict[str, Any]:
        """Return the facts as JSON holds them."""
        return {
            "doomed": [str(ref.tag) for ref in self.doomed],
            "kept": [{"tag": str(each.ref.tag), "why": [str(reason) for reason in each.why]} for each in self.kept],
            "exclusive": self.exclusive,
        }


def plan(
    store: Store,
    wanted: query.Wanted,
    rules: Rules,
    *,
    pinned: Collection[ObjectId],
    pushed: Collection[ObjectId] | None = None,
    keep_parents: bool = False,
    notice: Callable[[str], None],
) -> Plan:
    """Return what would go of the versions that are `wanted`; all others are left alone, and count for nothing.

    Whatever the rules say, what an alias points at is kept, what is `pinned`, where `pushed` is given whatever
    is not there, and with `keep_parents` the parents of all that stays in the store, whatever its name. What is
    damaged is told to `notice` and stays.

    Raises:
        NameNotFound: the pattern is a name, not a glob, and has no version.
        Corrupt: an alias cannot be read, or with `keep_parents` a version.
    """
    found: dict[str, list[Ref]] = defaultdict(list)
    for ref in query.refs(store, wanted, notice, notice):
        found[ref.tag.name].append(ref)
    ranked = {best: _ranked(store, wanted, best) for best in rules.best}
    ruled: dict[Ref, list[Reason]] = {}
    others: dict[Ref, list[Reason]] = defaultdict(list)
    for name, versions in sorted(found.items()):
        ruled |= _ruled(store, rules, versions, {best: by_name[name] for best, by_name in ranked.items()}, notice)
        for alias, ref in sorted(store.refs.aliases_of(name, strict=True)):
            others[ref].append(Reason("alias", alias))
        for ref in versions:
            if ref.id in pinned:
                others[ref].append(Reason("pin"))
            if pushed is not None and ref.id not in pushed:
                others[ref].append(Reason("unpushed"))
    refs = [ref for _, versions in sorted(found.items()) for ref in versions]
    if keep_parents:
        _keep_parents(store, refs, ruled, others)
    doomed = [ref for ref in refs if ref not in ruled and ref not in others]
    taken, damaged = _exclusive(store, doomed, pinned, notice)
    return Plan(
        tuple(ref for ref in doomed if ref.id not in damaged),
        tuple(
            Kept(ref, tuple(ruled.get(ref, ())), tuple(others.get(ref, ())))
            for ref in refs
            if ref in ruled or ref in others
        ),
        taken,
    )


def run(
    store: Store,
    planned: Plan,
    *,
    pinned: Collection[ObjectId],
    now: Callable[[], int],
    by: str,
    notice: Callable[[str], None],
) -> list[Ref]:
    """Delete what was planned and return what was there to be deleted.

    What is `pinned` or what an alias points at by now stays. So does all of a name of which a version is gone
    that the rules keep: of two prunes with different rules at once, each could take what the other one keeps.
    """
    keeping: dict[str, list[Ref]] = defaultdict(list)
    for each in planned.kept:
        if each.rules:
            keeping[each.ref.tag.name].append(each.ref)

    def still(there: list[Ref]) -> list[Ref]:
        name = there[0].tag.name
        if not all(map(store.refs.stands, keeping[name])):
            notice(f"versions of '{name}' went meanwhile that were to be kept: nothing more of it was pruned")
            return []
        aliased = {ref for _, ref in store.refs.aliases_of(name, strict=True)}
        return [ref for ref in there if ref not in aliased and ref.id not in pinned]

    gone = delete.delete(store, list(planned.doomed), now=now, by=by, still=still)
    for ref in set(planned.doomed).difference(gone):
        try:
            store.refs.read(ref.tag)
        except UNREADABLE as error:
            notice(_told(ref, error))
    return gone


def _ranked(store: Store, wanted: query.Wanted, best: Best) -> dict[str, list[Ref]]:
    """Return, by name, the versions that have a number there, the best first, of equal ones the last one saved."""
    number = Compare(best.field, ">=", -math.inf)
    where = number if wanted.where is None else And((wanted.where, number))
    order = (Sort(best.field, descending=not best.lowest),)
    found: dict[str, list[Ref]] = defaultdict(list)
    for ref in query.refs(store, replace(wanted, where=where, order=order), lambda _: None):
        found[ref.tag.name].append(ref)
    return found


def _ruled(
    store: Store, rules: Rules, versions: list[Ref], ranked: Mapping[Best, list[Ref]], notice: Callable[[str], None]
) -> dict[Ref, list[Reason]]:
    """Return what rules keep of one name. What of it is damaged does not count and is taken out of `versions`."""
    sound: set[Ref] = set()
    while True:
        # Whatever was saved since they were listed is another prune's.
        there = set(versions)
        why = kept(rules, versions, {best: [ref for ref in refs if ref in there] for best, refs in ranked.items()})
        for ref in why:
            try:
                if ref not in sound:
                    store.said(ref)
                sound.add(ref)
            except UNREADABLE as error:
                versions.remove(ref)
                if store.refs.exists(ref.tag):
                    notice(_told(ref, error))
        if sound.issuperset(why):
            return why


def _keep_parents(store: Store, refs: Iterable[Ref], ruled: Collection[Ref], others: dict[Ref, list[Reason]]) -> None:
    """Keep the parents of whatever stays, and theirs."""
    problems: list[str] = []
    everything = query.refs(store, query.Wanted(), problems.append)
    parents: dict[Ref, list[bytes]] = {}
    for ref in everything:
        try:
            parents[ref] = store.said(ref).parents
        except UNREADABLE as error:
            # A version deleted since it was listed is no damage.
            if store.refs.exists(ref.tag):
                problems.append(error.message)
    if problems:
        raise Corrupt(f"what a damaged version was made from cannot be told: {problems[0]}", hint="mvs fsck")
    candidates = {ref.id.raw: ref for ref in refs if ref not in ruled and ref not in others}
    pending = [ref for ref in parents if ref.id.raw not in candidates]
    while pending:
        child = pending.pop()
        for raw in dict.fromkeys(parents.get(child, ())):
            if raw in candidates:
                others[candidates[raw]].append(Reason("parent", str(child.tag)))
                if len(others[candidates[raw]]) == 1:
                    pending.append(candidates[raw])


def _exclusive(
    store: Store, doomed: Iterable[Ref], pinned: Collection[ObjectId], notice: Callable[[str], None]
) -> tuple[int, set[ObjectId]]:
    """Return the bytes that nothing but the doomed needs, and which of them are damaged, having told that."""
    gone = {ref.id: ref for ref in doomed}
    damaged: set[ObjectId] = set()

    def passed_over(id: ObjectId, error: MvsError) -> None:
        if id in gone:
            damaged.add(id)
            if store.refs.exists(gone[id].tag):
                notice(_told(gone[id], error))

    if not gone:
        return 0, damaged
    owners = {id: _DOOMED if id in gone else () for id in exclusive.standing(store, pinned)}
    return exclusive.owned(store, owners, passed_over).get(_DOOMED, 0), damaged


def _told(ref: Ref, error: MvsError) -> str:
    tag = str(ref.tag)
    return error.message if tag in error.message else f"version '{tag}': {error.message}"
