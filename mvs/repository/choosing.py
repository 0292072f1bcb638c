"""Which versions are meant: by specs, by an expression, or both.

Part of the Python API: `Repository` is a `Choosing` that also does something with them.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from mvs import ops
from mvs.format.lines.refs import Ref
from mvs.format.names import Spec
from mvs.format.values import labels_of
from mvs.handles.version import SpecLike, Version
from mvs.repository.events import Events
from mvs.repository.workspace import Workspace
from mvs.running.progress import Progress
from mvs.store.store import Store

if TYPE_CHECKING:
    from mvs.ops.find.query import Stored
    from mvs.query.tree import Expression


class Choosing(ABC):
    """What all verbs stand on: a store, and ways to find versions in it."""

    _store: Store
    _progress: Progress
    _space: Workspace
    _events: Events

    @abstractmethod
    def _now(self) -> int:
        """Return the time in nanoseconds since the epoch."""

    def _chosen(self, specs: Iterable[SpecLike], where: str | None = None) -> list[Ref]:
        """Return the refs of some versions, each once, and of them those for which `where` is true.

        Without `specs` all versions; a bare name stands for all its versions.
        """
        specs = list(specs)
        found = [stored.ref for stored in self._found(where=where)] if where is not None or not specs else []
        if not specs:
            return found
        if where is None:
            self._store.look()
        given = dict.fromkeys(ref for spec in specs for ref in ops.query.chosen(self._store, self._spec(spec)))
        kept = set(found)
        return [ref for ref in given if where is None or ref in kept]

    def _found(
        self,
        name: str | None = None,
        labels: Mapping[str, str] | None = None,
        where: str | None = None,
        sort: str | None = None,
        limit: int | None = None,
        offset: int = 0,
    ) -> "list[Stored]":
        """Return the versions that `Repository.list` returns for the same arguments."""
        self._store.look()
        wanted = ops.query.Wanted(
            name,
            ops.query.labelled(labels_of(labels), self._expression(where)),
            ops.query.order(sort),
            limit,
            offset,
        )
        return ops.query.listing(self._store, wanted, self._progress.notice, self._progress.notice)

    def _expression(self, where: str | None) -> "Expression | None":
        return None if where is None else ops.query.expression(self._store, where, self._now())

    def _spec(self, spec: SpecLike) -> Spec:
        parsed = self._parsed(spec)
        self._notice_lowered(spec, str(parsed))
        return parsed

    def _parsed(self, spec: SpecLike) -> Spec:
        return Spec.parse(spec.tag if isinstance(spec, Version) else spec)

    def _notice_lowered(self, given: object, lowered: str) -> None:
        if isinstance(given, str) and given != lowered and given.lower() == lowered:
            self._progress.notice(f"'{given}' is written '{lowered}': names are in lower case")
