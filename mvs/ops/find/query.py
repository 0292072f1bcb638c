"""Finding versions: what a spec stands for, and lists."""

import fnmatch
import re
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
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
from mvs.format.manifest import Manifest
from mvs.format.names import Spec, Tag, parse_name
from mvs.format.refs import Ref
from mvs.store.store import Store

# As many as fit a message; `mvs list` shows the rest.
_SHOWN = 8


class Stored(NamedTuple):
    """One version as it is stored: its ref and its manifest."""

    ref: Ref
    manifest: Manifest


def resolve(store: Store, spec: Spec) -> Ref:
    """Return the ref of the one version a spec stands for.

    Raises:
        NameNotFound, VersionNotFound, AliasNotFound: there is none.
        AmbiguousSpec: there are several.
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
        return Stored(ref, store.manifest(ref))
    except Corrupt:
        if store.refs.read(ref.tag) == ref:
            raise
    # Deleted and collected between the two reads: the spec may stand for another by now.
    ref = resolve(store, spec)
    return Stored(ref, store.manifest(ref))


def chosen(store: Store, spec: Spec) -> list[Ref]:
    """Return the ref of the version a spec stands for; for a bare name, those of all its versions.

    Raises:
        NotFound, CorruptRef: as `resolve`.
    """
    ref = resolve(store, spec)
    return store.refs.of_name(spec.name) if spec.bare else [ref]


def listing(
    store: Store,
    pattern: str | None,
    labels: Mapping[str, str],
    limit: int | None,
    damaged: Callable[[str], None],
) -> Iterator[Stored]:
    """Return versions, most recently saved first: of all names, of one, or of those that match a glob.

    A version that cannot be read is told to `damaged` and left out.

    Raises:
        NameNotFound: `pattern` is a name, not a glob, and has no version.
    """
    found = _matching(store, _names(store, pattern), labels, damaged)
    return islice(found, None if limit is None else max(limit, 0))


def _matching(
    store: Store, names: list[str], labels: Mapping[str, str], damaged: Callable[[str], None]
) -> Iterator[Stored]:
    refs = [ref for name in names for ref in store.refs.readable(name, damaged)]
    for ref in sorted(refs, key=_age, reverse=True):
        try:
            manifest = store.manifest(ref)
        except UNREADABLE as error:
            # A version deleted since it was listed is no damage.
            if store.refs.exists(ref.tag):
                damaged(error.message)
            continue
        if all(manifest.labels.get(key) == value for key, value in labels.items()):
            yield Stored(ref, manifest)


def _is_glob(pattern: str) -> bool:
    """Tell whether a name to list is a pattern."""
    return any(character in pattern for character in "*?[")


def _age(ref: Ref) -> tuple[int, Tag]:
    return ref.created, ref.tag


def _names(store: Store, pattern: str | None) -> list[str]:
    if pattern is None:
        return store.refs.names()
    if not isinstance(pattern, str):
        raise InvalidTag(f"a name is a string, not {type(pattern).__name__}")
    if re.search("[:@#]", pattern):
        raise InvalidTag(
            f"'{pattern}' is not a name, and versions are listed by name", hint=command("mvs", "show", pattern)
        )
    if _is_glob(pattern):
        matches = re.compile(fnmatch.translate(pattern.lower())).match
        return [name for name in store.refs.names() if matches(name)]
    name = parse_name(pattern)
    if next(store.refs.versions(name), None) is None:
        raise _no_name(store, name)
    return [name]


def _latest(store: Store, spec: Spec) -> Ref | None:
    if not spec.back:
        return store.refs.latest(spec.name)
    refs = store.refs.of_name(spec.name)
    return refs[spec.back] if spec.back < len(refs) else None


def _alias(store: Store, spec: Spec) -> Ref | None:
    pointed = store.refs.alias(spec.name, spec.value)
    if pointed is None:
        raise AliasNotFound(f"no alias '{spec}'", hint=f"mvs list {spec.name}")
    ref = store.refs.read(pointed.tag)
    if ref is None or ref.id != pointed.id:
        raise VersionNotFound(
            f"the alias '{spec}' points at '{pointed.tag}', which was deleted", hint=f"mvs restore {pointed.tag}"
        )
    return ref


def _only(store: Store, spec: Spec) -> Ref | None:
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
    if spec.kind == "version" and store.journal.last_deletion(spec.name, spec.value):
        return VersionNotFound(f"version '{spec}' was deleted", hint=f"mvs restore {spec}")
    if next(store.refs.versions(spec.name), None) is None:
        return _no_name(store, spec.name)
    return VersionNotFound(f"no version '{spec}'", hint=f"mvs list {spec.name}")


def _no_name(store: Store, name: str) -> NameNotFound:
    import difflib  # noqa: PLC0415 - only on the way to an error

    if next(store.journal.events(name), None):
        return NameNotFound(f"no model '{name}': its versions were deleted", hint=f"mvs log {name}")
    names = store.refs.names()
    if any(other.startswith(f"{name}/") for other in names):
        return NameNotFound(f"no model '{name}', only some below it", hint=f"mvs list '{name}/*'")
    near = difflib.get_close_matches(name, names, n=1)
    return NameNotFound(f"no model '{name}'", hint=f"mvs list {near[0]}" if near else "mvs list")
