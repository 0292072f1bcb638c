"""What is told of a version beside its manifest, and may change: the one place where the two are joined."""

import json
from collections import defaultdict
from collections.abc import Mapping
from typing import NamedTuple

from mvs.format.ids import ObjectId
from mvs.format.manifest import Said
from mvs.format.refs import Ref
from mvs.query.facts import Facts
from mvs.store.refs import Refs


class Moving(NamedTuple):
    """What may change about a version."""

    aliases: tuple[str, ...] = ()

    def encode(self) -> str:
        """Return it as a text, the same for the same."""
        return json.dumps(self) if any(self) else ""


class Movings:
    """What may change about the versions of one name, as it is now."""

    def __init__(self, refs: Refs, name: str) -> None:
        self._aliases: Mapping[tuple[str, ObjectId], list[str]] = defaultdict(list)
        for alias, ref in refs.aliases_of(name):
            self._aliases[ref.tag.version, ref.id].append(alias)

    def of(self, ref: Ref) -> Moving:
        """Return what is so for one version."""
        return Moving(tuple(sorted(self._aliases.get((ref.tag.version, ref.id), ()))))


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
        labels=said.labels,
        metadata=said.metadata,
        context=said.context,
    )
