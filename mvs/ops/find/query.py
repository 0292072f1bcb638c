"""Finding versions: what a spec stands for, and lists."""

import re
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

from mvs.errors import (
    UNREADABLE,
    AliasNotFound,
    AmbiguousSpec,
    Corrupt,
    InvalidTag,
    NameNotFound,
    NotFound,
    VersionNotFound,
    command,
)
from mvs.format.ids import ObjectId
from mvs.format.lines.refs import Ref
from mvs.format.manifest import Manifest
from mvs.format.names import Alias, Spec, Tag, parse_name
from mvs.query.facts import Facts, matches, sort
from mvs.query.tree import And, Compare, Expression, Field, Like, Sort
from mvs.store.cache.catalog.moving import Moving, Movings, facts, moving
from mvs.store.store import Store

# As many as fit a message; `mvs list` shows the rest.
_SHOWN = 8
# How often the catalog is asked for more because some of what it found cannot be read.
_GAPS = 5
_NOTHING = Facts("", "", 0, 0, 0, "", (), (), {}, {}, {})


class Stored(NamedTuple):
    """One version as it is stored: its ref, its manifest, and what may change about it."""

    ref: Ref
    manifest: Manifest
    moving: Moving = Moving()

    @property
    def labels(self) -> dict[str, str]:
        """The labels of the manifest and the notes; where both have a key, the notes decide."""
        return {**self.manifest.labels, **dict(self.moving.notes)}


def resolve(store: Store, spec: Spec) -> Ref:
    """Return the ref of the one version a spec stands for.

    Raises:
        NameNotFound, VersionNotFound, AliasNotFound: there is none.
        AmbiguousSpec: there are several.
        InvalidTag: it has a range that is none.
        CorruptRef: its ref is damaged.
    """
    if spec.kind == "version":
        ref = store.refs.read(Tag(spec.name, spec.value))
    elif spec.kind == "latest":
        ref = _latest(store, spec)
    elif spec.kind == "alias":
        ref = _alias(store, spec)
    else:
        ref = _only(store, spec)
    if ref is None:
        raise _not_found(store, spec)
    return ref


def load(store: Store, spec: Spec) -> Stored:
    """Return the version a spec stands for, its manifest verified.

    Raises:
        NotFound: none, or several, answer to it.
        Corrupt: it is damaged.
    """
    ref = resolve(store, spec)
    try:
        return stored(store, ref)
    except Corrupt:
        if store.refs.read(ref.tag) == ref:
            raise
    # Deleted and collected between the two reads: the spec may stand for another by now.
    return stored(store, resolve(store, spec))


def stored(store: Store, ref: Ref, manifest: Manifest | None = None) -> Stored:
    """Return a version with all that belongs to it; its manifest is read unless it is given.

    Raises:
        Corrupt: the manifest is damaged. Notes and aliases that are damaged are left out.
    """
    read = store.manifest(ref) if manifest is None else manifest
    return Stored(ref, read, moving(store.refs, store.notes, ref))


def chosen(store: Store, spec: Spec) -> list[Ref]:
    """Return the ref of the version a spec stands for; for a bare name, those of all its versions.

    Raises:
        NotFound, CorruptRef: as `resolve`.
    """
    ref = resolve(store, spec)
    return store.refs.of_name(spec.name) if spec.bare else [ref]


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which versions are wanted, of all or of a name or glob, in which order; without one, newest first."""

    pattern: str | None = None
    where: Expression | None = None
    order: tuple[Sort, ...] = ()
    limit: int | None = None
    offset: int = 0


def expression(store: Store, text: str, now: int) -> Expression:
    """Return what an expression says; the parents it names are looked up.

    Raises:
        QueryError: it is not understood, or names a version that there never was.
    """
    from mvs.query.parse import parse  # noqa: PLC0415 - most lists have none

    return parse(text, now=now, parent=lambda spec: _parent(store, spec))


def order(text: str | None) -> tuple[Sort, ...]:
    """Return the order that `metadata.val_loss:asc,created:desc` says.

    Raises:
        QueryError: it is not understood.
    """
    if text is None:
        return ()
    from mvs.query.parse import parse_sort  # noqa: PLC0415 - most lists have none

    return parse_sort(text)


def labelled(labels: Mapping[str, str], where: Expression | None) -> Expression | None:
    """Return the expression that all these labels are there, and `where` is true."""
    parts: list[Expression] = [Compare(Field("labels", (key,)), "=", value) for key, value in labels.items()]
    if where is not None:
        parts.append(where)
    return And(tuple(parts)) if parts else None


def listing(
    store: Store, wanted: Wanted, damaged: Callable[[str], None], unknown: Callable[[str], None] = lambda _: None
) -> list[Stored]:
    """Return versions. One that cannot be read is told to `damaged` and left out.

    A key that no version has is told to `unknown`, where another one was probably meant.

    The catalog says which, and what it says is looked at: each ref, each manifest. Where it does not
    fit, or cannot be had, all manifests are read instead.

    Raises:
        NameNotFound: the pattern is a name, not a glob, and has no version.
    """
    name, where = _scope(store, wanted)
    limit = None if wanted.limit is None else max(wanted.limit, 0)
    start = max(wanted.offset, 0)
    if limit == 0:
        return []
    told: list[str] = []
    misspelt: list[str] = []
    # Where all of a name, or of the store, is wanted, everything is read anyway.
    everything = limit is None and not wanted.order and where == (None if name is None else _named(name))
    versions = None if everything else _catalogued(store, wanted.order, where, limit, start, name, told, misspelt)
    if versions is None:
        told.clear()
        versions = _filtered(store, name, None if everything else where, wanted.order, told.append)
        versions = versions[start:] if limit is None else versions[start : start + limit]
    for message in told:
        damaged(message)
    for message in misspelt:
        unknown(message)
    return versions


def every(store: Store, known: Container[ObjectId], damaged: Callable[[str], None]) -> list[Ref]:
    """Return the refs of all versions, newest first; manifests that are `known` are not read.

    A version that cannot be read is told to `damaged` and left out.
    """
    found = []
    for name in store.refs.names():
        for ref in store.refs.readable(name, damaged):
            try:
                if ref.id not in known:
                    store.manifest(ref)
                found.append(ref)
            except UNREADABLE as error:
                # A version deleted since it was listed is no damage.
                if store.refs.exists(ref.tag):
                    damaged(error.message)
    return sorted(found, key=_age, reverse=True)


def refs(
    store: Store, wanted: Wanted, damaged: Callable[[str], None], unknown: Callable[[str], None] = lambda _: None
) -> list[Ref]:
    """Return the refs of versions, without a limit, as the catalog has them; where there is none, manifests are read.

    Unlike those of `listing` they are not looked at: what was damaged in its place lately is among them.

    Raises:
        NameNotFound: as `listing`.
    """
    name, where = _scope(store, wanted)
    found = store.catalog.find(
        where,
        damaged,
        order=wanted.order,
        name=name,
        unknown=lambda key, meant: unknown(_unknown(key, meant)),
    )
    return [stored.ref for stored in listing(store, wanted, damaged)] if found is None else found


def _catalogued(
    store: Store,
    order: tuple[Sort, ...],
    where: Expression | None,
    limit: int | None,
    offset: int,
    name: str | None,
    told: list[str],
    misspelt: list[str],
) -> list[Stored] | None:
    """Return what is wanted with the help of the catalog, each looked at; None where it cannot help, or was wrong."""
    more = 0
    for _ in range(_GAPS):
        told.clear()
        misspelt.clear()
        asked = None if limit is None else limit + more
        found = store.catalog.find(
            where,
            told.append,
            order=order,
            limit=asked,
            offset=offset,
            name=name,
            unknown=lambda key, meant: misspelt.append(_unknown(key, meant)),
        )
        versions = None if found is None else _looked_at(store, found, told.append)
        if found is None or versions is None:
            return None
        if asked is None or len(versions) >= asked - more or len(found) < asked:
            return versions[:limit]
        # Some were damaged, or deleted meanwhile: the next ones take their places.
        more = 2 * more + len(found) - len(versions)
    return None


def _scope(store: Store, wanted: Wanted) -> tuple[str | None, Expression | None]:
    """Return the one name that is wanted, None for several, and the expression for it and all else."""
    pattern = wanted.pattern
    if pattern is None:
        return None, wanted.where
    if not isinstance(pattern, str):
        raise InvalidTag(f"a name is a string, not {type(pattern).__name__}")
    if re.search("[:@#]", pattern):
        raise InvalidTag(
            f"'{pattern}' is not a name, and versions are listed by name", hint=command("mvs", "show", pattern)
        )
    if _is_glob(pattern):
        name, test = None, _globbed(pattern)
    else:
        name = parse_name(pattern)
        test = _named(name)
        check_name(store, name)
    return name, test if wanted.where is None else And((test, wanted.where))


def _looked_at(store: Store, found: list[Ref], damaged: Callable[[str], None]) -> list[Stored] | None:
    """Return the versions that the catalog found, as they are; None where it was wrong."""
    versions = []
    movings: dict[str, Movings] = {}
    for ref in found:
        try:
            now = store.refs.read(ref.tag)
            if now is not None and now != ref:
                return None
            if now is not None:
                if ref.tag.name not in movings:
                    movings[ref.tag.name] = Movings(store.refs, store.notes, ref.tag.name)
                versions.append(Stored(ref, store.manifest(ref), movings[ref.tag.name].of(ref)))
        except UNREADABLE as error:
            # A version deleted since it was found is no damage.
            if store.refs.exists(ref.tag):
                damaged(error.message)
    return versions


def _filtered(
    store: Store, name: str | None, where: Expression | None, order: tuple[Sort, ...], damaged: Callable[[str], None]
) -> list[Stored]:
    """Return versions without the help of the catalog, by reading every manifest."""
    found: list[tuple[Facts, Stored]] = []
    # Else nobody looks at the facts.
    asked = where is not None or bool(order)
    for each in [name] if name is not None else store.refs.names():
        movings = Movings(store.refs, store.notes, each)
        for ref in store.refs.readable(each, damaged):
            try:
                manifest = store.manifest(ref)
            except UNREADABLE as error:
                # A version deleted since it was listed is no damage.
                if store.refs.exists(ref.tag):
                    damaged(error.message)
                continue
            now = movings.of(ref)
            told = facts(manifest.said(), now) if asked else _NOTHING
            if where is None or matches(where, told):
                found.append((told, Stored(ref, manifest, now)))
    found.sort(key=lambda pair: _age(pair[1].ref), reverse=True)
    sort(found, order)
    return [stored for _, stored in found]


def _named(name: str) -> Expression:
    return Compare(Field("name"), "=", name)


def _globbed(pattern: str) -> Expression:
    return Like(Field("name"), "glob", pattern.lower(), negated=False)


def _parent(store: Store, text: str) -> str:
    """Return the id of the version that a spec stands for, or stood for before it was deleted."""
    spec = Spec.parse(text)
    try:
        return str(resolve(store, spec).id)
    except VersionNotFound:
        gone = store.journal.last_deletion(spec.name, spec.value) if spec.kind == "version" else None
        if gone is None or gone.old is None:
            raise
        return str(gone.old)


def _unknown(key: str, meant: str) -> str:
    from mvs.query.words import shown  # noqa: PLC0415 - only for a slip of the finger

    return f"no version has '{shown(key)}'; did you mean '{shown(meant)}'?"


def _is_glob(pattern: str) -> bool:
    """Tell whether a name to list is a pattern."""
    return any(character in pattern for character in "*?[")


def _age(ref: Ref) -> tuple[int, Tag]:
    return ref.created, ref.tag


def check_name(store: Store, name: str) -> None:
    """Check that there is a version of a name.

    Raises:
        NameNotFound: there is none.
    """
    if next(store.refs.versions(name), None) is None:
        raise _no_name(store, name)


def was_deleted(tag: Tag) -> VersionNotFound:
    """Return the error that says that a version was deleted."""
    return VersionNotFound(f"version '{tag}' was deleted", hint=f"mvs restore {tag}")


@contextmanager
def telling_deleted(store: Store, refs: Iterable[Ref]) -> Iterator[None]:
    """Take what is found unreadable of versions for damage only where they are still there.

    Raises:
        VersionNotFound: one was deleted meanwhile, and its files are gone.
    """
    try:
        yield
    except UNREADABLE as error:
        for ref in refs:
            if not store.refs.exists(ref.tag):
                raise was_deleted(ref.tag) from error
        raise


def no_alias(alias: Alias) -> AliasNotFound:
    """Return the error that says that there is no such alias."""
    return AliasNotFound(f"no alias '{alias}'", hint="mvs alias list")


def _latest(store: Store, spec: Spec) -> Ref | None:
    if not spec.back:
        return store.refs.latest(spec.name)
    refs = store.refs.of_name(spec.name)
    return refs[spec.back] if spec.back < len(refs) else None


def _alias(store: Store, spec: Spec) -> Ref | None:
    pointed = store.refs.alias(spec.name, spec.value)
    if pointed is None:
        raise no_alias(Alias(spec.name, spec.value))
    ref = store.refs.read(pointed.tag)
    if ref is None or ref.id != pointed.id:
        raise VersionNotFound(
            f"the alias '{spec}' points at '{pointed.tag}', which was deleted", hint=f"mvs restore {pointed.tag}"
        )
    return ref


def _only(store: Store, spec: Spec) -> Ref | None:
    if spec.kind == "range":
        from mvs.ops.find.ranges import best  # noqa: PLC0415 - few ask for one

        # Versions that are the same number, as 1.0 and 1.0.0: the one saved last.
        numbers = best(spec.value, store.refs.versions(spec.name))
        return max(
            (ref for version in numbers if (ref := store.refs.read(Tag(spec.name, version)))), key=_age, default=None
        )
    if spec.kind == "prefix":
        versions = [version for version in store.refs.versions(spec.name) if version.startswith(spec.value)]
        found = [ref for version in versions if (ref := store.refs.read(Tag(spec.name, version)))]
    else:
        found = [ref for ref in store.refs.of_name(spec.name) if str(ref.id).startswith(spec.value)]
    if len(found) > 1:
        tags = [f"'{ref.tag}'" for ref in sorted(found, key=_age, reverse=True)]
        more = f" and {len(tags) - _SHOWN} more" if len(tags) > _SHOWN else ""
        raise AmbiguousSpec(f"'{spec}' may be {', '.join(tags[:_SHOWN])}{more}", hint=f"mvs list {spec.name}")
    return found[0] if found else None


def _not_found(store: Store, spec: Spec) -> NotFound:
    if spec.kind == "version" and (event := next(store.journal.backwards(spec.name, spec.value), None)):
        was = "was deleted" if event.event == "delete" else "has no ref: it is lost, or its save was cut off"
        return VersionNotFound(f"version '{spec}' {was}", hint=f"mvs restore {spec}")
    if next(store.refs.versions(spec.name), None) is None:
        return _no_name(store, spec.name)
    return VersionNotFound(f"no version '{spec}'", hint=f"mvs list {spec.name}")


def _no_name(store: Store, name: str) -> NameNotFound:
    import difflib  # noqa: PLC0415 - only on the way to an error

    if next(store.journal.events(name), None):
        return NameNotFound(f"no model '{name}': none of its versions is there", hint=f"mvs log {name}")
    names = store.refs.names()
    if any(other.startswith(f"{name}/") for other in names):
        return NameNotFound(f"no model '{name}', only some below it", hint=f"mvs list '{name}/*'")
    near = difflib.get_close_matches(name, names, n=1)
    return NameNotFound(f"no model '{name}'", hint=f"mvs list {near[0]}" if near else "mvs list")
