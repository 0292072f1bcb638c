"""What is told of a version beside its manifest, and may change: the one place where the two are joined."""

import json
from collections import defaultdict
from typing import NamedTuple

from mvs.format.lines.refs import Ref
from mvs.format.manifest import Said
from mvs.query.facts import Facts
from mvs.store.names.notes import NoteBook
from mvs.store.names.refs import Refs


class Moving(NamedTuple):
    """What may change about a version."""

    aliases: tuple[str, ...] = ()
    notes: tuple[tuple[str, str], ...] = ()

    def encode(self) -> str:
        """Return it as a text, the same for the same."""
        return json.dumps(self) if any(self) else ""


class Movings:
    """What may change about the versions of one name, as it is now."""

    def __init__(self, refs: Refs, notes: NoteBook, name: str) -> None:
        self._notes = notes
        self._noted = notes.noted(name)
        self._aliases: dict[Ref, list[str]] = defaultdict(list)
        for alias, ref in refs.aliases_of(name):
            self._aliases[ref].append(alias)

    def of(self, ref: Ref) -> Moving:
        """Return what is so for one version."""
        notes = self._notes.of(ref) if ref.tag.version in self._noted else {}
        return Moving(tuple(sorted(self._aliases.get(ref, ()))), tuple(sorted(notes.items())))


def moving(refs: Refs, notes: NoteBook, ref: Ref) -> Moving:
    """Return what may change about one version, as it is now."""
    aliases = [alias for alias, pointed in refs.aliases_of(ref.tag.name) if pointed == ref]
    return Moving(tuple(sorted(aliases)), tuple(sorted(notes.of(ref).items())))


def facts(said: Said, moving: Moving) -> Facts:
    """Return what a query sees of a version."""
    return Facts(
        name=said.name,
        version=said.version,
        created=said.created,
        size=sum(said.sizes),
        files=len(said.sizes),
        message=said.message,
        parents=tuple(parent.hex() for parent in said.parents),
        aliases=moving.aliases,
        labels={**said.labels, **dict(moving.notes)},
        metadata=said.metadata,
        context=said.context,
    )
