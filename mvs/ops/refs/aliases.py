"""Aliases: names that move from version to version, by compare and swap.

The journal is written first: whatever happens then, it says from where an alias may have moved.
"""

from collections.abc import Callable, Iterator
from typing import Literal, NamedTuple

from mvs.errors import UNREADABLE, AliasMoved, CorruptRef, InvalidTag, Protected, VersionNotFound
from mvs.format.lines.journal import Moved, Target
from mvs.format.lines.refs import Ref
from mvs.format.names import Alias, Spec, Tag
from mvs.ops.find import query
from mvs.ops.refs import history
from mvs.store.store import Store

# What an alias must point at to be moved: "" stands for no such alias, None for anything.
Expected = Spec | Literal[""] | None


class Pointed(NamedTuple):
    """An alias and what it points at, be that deleted or not; its last move is None where nobody noted it."""

    alias: Alias
    ref: Ref
    deleted: bool
    move: Moved | None


def move(
    store: Store, alias: Alias, target: Spec, *, expected: Expected = None, now: Callable[[], int], by: str
) -> query.Stored:
    """Let an alias point at what `target` stands for, and return that; it may point at that already.

    Raises:
        AliasMoved: it does not point at what is expected.
        NotFound: `target` stands for nothing.
        InvalidTag: `target` is a version of another name.
    """
    with store.exclusive():
        before = _before(store, alias, expected)
        ref = query.resolve(store, target)
        if ref.tag.name != alias.name:
            raise InvalidTag(f"an alias of '{alias.name}' cannot point at '{ref.tag}'", hint=f"mvs list {alias.name}")
        if before != ref:
            _note(store, alias, before, ref, now=now, by=by)
            store.refs.point(alias, ref)
    return query.stored(store, ref)


def delete(store: Store, alias: Alias, *, expected: Expected = None, now: Callable[[], int], by: str) -> None:
    """Remove an alias.

    Raises:
        AliasNotFound: there is none.
        AliasMoved: it does not point at what is expected.
    """
    with store.exclusive():
        before = _before(store, alias, expected)
        if not store.refs.has_alias(alias):
            raise query.no_alias(alias)
        _note(store, alias, before, None, now=now, by=by)
        store.refs.unpoint(alias)


def rollback(store: Store, alias: Alias, *, expected: Expected = None, now: Callable[[], int], by: str) -> query.Stored:
    """Let an alias point at what it pointed at before its last move, and return that; twice goes back two moves.

    Raises:
        AliasNotFound: there is no such alias, and never was.
        AliasMoved: it does not point at what is expected.
        VersionNotFound: it never pointed at anything else, or what it pointed at was deleted.
    """
    with store.exclusive():
        before = _before(store, alias, expected)
        way = _way(history.moves(store, alias))
        if len(way) < 2 and not store.refs.has_alias(alias):
            raise query.no_alias(alias)
        if len(way) < 2 or (target := way[-2]) is None:
            raise VersionNotFound(f"the alias '{alias}' never pointed at anything before", hint=f"mvs log {alias}")
        tag = Tag(alias.name, target.version)
        ref = store.refs.read(tag)
        if ref is None or ref.id != target.id:
            raise VersionNotFound(
                f"the alias '{alias}' pointed at '{tag}' before, which was deleted", hint=f"mvs restore {tag}"
            )
        _note(store, alias, before, ref, now=now, by=by, back=True)
        store.refs.point(alias, ref)
    return query.stored(store, ref)


def listing(store: Store, name: str | None) -> Iterator[Pointed]:
    """Yield the aliases of a name, of all without one, sorted.

    Raises:
        NameNotFound: there is neither a version nor an alias of that name.
    """
    if name is not None and next(store.refs.aliases_of(name), None) is None:
        query.check_name(store, name)
    for each in store.refs.aliased_names() if name is None else [name]:
        found = sorted(store.refs.aliases_of(each))
        last = {move.alias: move for move in store.journal.entries(each) if isinstance(move, Moved)}
        for alias, ref in found:
            move = last.get(alias)
            noted = move if move is not None and move.new == history.target_of(ref) else None
            yield Pointed(Alias(each, alias), ref, not is_there(store, ref), noted)


def check_unaliased(store: Store, refs: list[Ref]) -> None:
    """Refuse to let versions go that aliases point at.

    Raises:
        Protected: one does.
    """
    aliases = {name: sorted(store.refs.aliases_of(name)) for name in dict.fromkeys(ref.tag.name for ref in refs)}
    for ref in refs:
        for alias, pointed in aliases[ref.tag.name]:
            if pointed == ref:
                raise Protected(
                    f"the alias '{ref.tag.name}@{alias}' points at '{ref.tag}': move it first, "
                    "or pass --force (force=True), which leaves it pointing at what is no longer there",
                    hint=f"mvs alias list {ref.tag.name}",
                )


def is_there(store: Store, ref: Ref) -> bool:
    """Tell whether the version that an alias points at is there."""
    try:
        return store.refs.read(ref.tag) == ref
    except UNREADABLE:
        return False


def _before(store: Store, alias: Alias, expected: Expected) -> Ref | None:
    """Return what an alias points at, None where it is damaged: setting it anew is how that is mended.

    Raises:
        AliasMoved: it is not what is expected.
    """
    try:
        before = store.refs.alias(alias.name, alias.alias)
    except CorruptRef:
        if expected is not None:
            raise
        return None
    if expected is not None and not _is(store, before, expected):
        told = f"the alias '{alias}' points at '{before.tag}'" if before else f"there is no alias '{alias}'"
        wanted = f"not at '{expected}'" if expected else "and none was expected"
        raise AliasMoved(f"{told}, {wanted}; nothing was moved", hint=f"mvs log {alias}")
    return before


def _is(store: Store, ref: Ref | None, expected: Spec | Literal[""]) -> bool:
    if ref is None or expected == "":
        return ref is None and expected == ""
    if expected.kind == "version":
        # Also when that was deleted: the alias points at it all the same.
        return ref.tag == Tag(expected.name, expected.value)
    return query.resolve(store, expected) == ref


def _note(
    store: Store,
    alias: Alias,
    before: Ref | None,
    after: Ref | None,
    *,
    now: Callable[[], int],
    by: str,
    back: bool = False,
) -> None:
    # Where a damaged one pointed, the journal knows.
    old = history.target_of(before) or next((move.new for move in reversed(history.moves(store, alias))), None)
    at = store.next_time(alias.name, now())
    store.journal.append(alias.name, [Moved(alias.alias, old, history.target_of(after), at, by, back)])


def _way(moves: list[Moved]) -> list[Target | None]:
    """Return the way of an alias to where it is, without what was taken back; `moves` are oldest first."""
    way: list[Target | None] = [moves[0].old] if moves else []
    for each in moves:
        if each.back and len(way) > 1 and way[-2] == each.new:
            way.pop()
        else:
            way.append(each.new)
    return way
