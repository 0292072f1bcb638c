"""Pruning: deleting the versions that no rule keeps.

It goes the way of `mvs delete`, so `mvs restore` takes it back as long as gc keeps what was deleted.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

from mvs.errors import Corrupt
from mvs.format.ids import ObjectId
from mvs.format.lines.refs import Ref
from mvs.ops.find import exclusive, query
from mvs.ops.refs import delete
from mvs.ops.refs.keeping import Reason, Rules, kept
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
    found: dict[str, list[query.Stored]] = defaultdict(list)
    for stored in query.listing(store, wanted, notice, notice):
        found[stored.ref.tag.name].append(stored)
    ruled: dict[Ref, list[Reason]] = {}
    others: dict[Ref, list[Reason]] = defaultdict(list)
    for name, versions in sorted(found.items()):
        versions.sort(key=lambda stored: (stored.ref.created, stored.ref.tag), reverse=True)
        ruled |= kept(rules, versions)
        for alias, ref in sorted(store.refs.aliases_of(name, strict=True)):
            others[ref].append(Reason("alias", alias))
        for stored in versions:
            if stored.ref.id in pinned:
                others[stored.ref].append(Reason("pin"))
            if pushed is not None and stored.ref.id not in pushed:
                others[stored.ref].append(Reason("unpushed"))
    refs = [stored.ref for _, versions in sorted(found.items()) for stored in versions]
    if keep_parents:
        _keep_parents(store, refs, ruled, others)
    doomed = [ref for ref in refs if ref not in ruled and ref not in others]
    return Plan(
        tuple(doomed),
        tuple(
            Kept(ref, tuple(ruled.get(ref, ())), tuple(others.get(ref, ())))
            for ref in refs
            if ref in ruled or ref in others
        ),
        _exclusive(store, doomed, pinned) if doomed else 0,
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
        if any(store.refs.read(ref.tag) != ref for ref in keeping[name]):
            notice(f"versions of '{name}' went meanwhile that were to be kept: nothing more of it was pruned")
            return []
        aliased = {ref for _, ref in store.refs.aliases_of(name, strict=True)}
        return [ref for ref in there if ref not in aliased and ref.id not in pinned]

    return delete.delete(store, list(planned.doomed), now=now, by=by, still=still)


def _keep_parents(store: Store, refs: Iterable[Ref], ruled: Collection[Ref], others: dict[Ref, list[Reason]]) -> None:
    """Keep the parents of whatever stays, and theirs."""
    problems: list[str] = []
    everything = query.listing(store, query.Wanted(), problems.append)
    if problems:
        raise Corrupt(f"what a damaged version was made from cannot be told: {problems[0]}", hint="mvs fsck")
    candidates = {ref.id: ref for ref in refs if ref not in ruled and ref not in others}
    pending = [stored for stored in everything if stored.ref.id not in candidates]
    parents = {stored.ref.id: stored for stored in everything}
    while pending:
        child = pending.pop()
        for id in dict.fromkeys(child.manifest.parents):
            if id in candidates:
                others[candidates[id]].append(Reason("parent", str(child.ref.tag)))
                if len(others[candidates[id]]) == 1:
                    pending.append(parents[id])


def _exclusive(store: Store, doomed: Iterable[Ref], pinned: Collection[ObjectId]) -> int:
    gone = {ref.id for ref in doomed}
    owners = {id: _DOOMED if id in gone else () for id in exclusive.standing(store, pinned)}
    return exclusive.owned(store, owners).get(_DOOMED, 0)
