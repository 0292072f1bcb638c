"""What is said about versions after they were saved: aliases and labels; and lineage.

Part of the Python API: `Repository` has these verbs besides those that save and find.
"""

from abc import abstractmethod
from collections.abc import Mapping
from typing import Literal, cast

from mvs import ops
from mvs.errors import Protected
from mvs.format.names import Alias, Spec
from mvs.format.values import labels_of
from mvs.handles.version import AliasInfo, Relative, SpecLike, Version, moment
from mvs.repository.upkeep import Upkeep


class Beside(Upkeep):
    """The verbs of a repository that change what is said about versions, and never the versions."""

    @abstractmethod
    def _actor(self) -> str:
        """Return who is at work."""

    @abstractmethod
    def _protects(self, alias: Alias) -> bool:
        """Tell whether the settings protect an alias."""

    def alias(self, alias: str, spec: SpecLike, *, expect: SpecLike | None = None, force: bool = False) -> Version:
        """Let `name@alias` point at a version of that name, and return the version.

        Made when there is none. With `expect` it only moves from there: the loser of two that move it at once
        is told; with `""` it must not be there. It is durable, and noted in the journal, with who and when.

        Raises:
            AliasMoved: it does not point at what is expected; nothing was moved.
            Protected: the setting `alias.protected` names it, and not `force`.
            NotFound: `spec` stands for nothing.
            InvalidTag: the alias is `latest`, or `spec` a version of another name.
        """
        parsed = self._alias(alias, force=force)
        stored = ops.aliases.move(
            self._store, parsed, self._spec(spec), expected=self._expected(expect), now=self._now, by=self._actor()
        )
        return self._moved(parsed, Version(self._store, stored, self._progress))

    def aliases(self, name: str | None = None) -> list[AliasInfo]:
        """Return the aliases of a name, of all without one, sorted.

        Raises:
            NameNotFound: there is neither a version nor an alias of that name.
        """
        parsed = None if name is None else self._spec(name).name
        self._store.look()
        return [
            AliasInfo(
                str(alias),
                ref.tag,
                str(ref.id),
                deleted,
                self._protects(alias),
                moment(move.at) if move else None,
                move.by if move else None,
            )
            for alias, ref, deleted, move in ops.aliases.listing(self._store, parsed)
        ]

    def delete_alias(self, alias: str, *, expect: SpecLike | None = None, force: bool = False) -> None:
        """Delete an alias, not what it points at; `rollback_alias` brings it back.

        Raises:
            AliasNotFound: there is none.
            AliasMoved, Protected: as `alias`.
        """
        parsed = self._alias(alias, force=force)
        ops.aliases.delete(self._store, parsed, expected=self._expected(expect), now=self._now, by=self._actor())
        self._events.after("post-alias", lambda: {"alias": str(parsed), "tag": None, "id": None})

    def rollback_alias(self, alias: str, *, expect: SpecLike | None = None, force: bool = False) -> Version:
        """Let an alias point at what it pointed at before its last move, and return that version.

        Done twice it goes back two moves; `expect` keeps two people from doing that who both mean the last one.

        Raises:
            AliasNotFound: there is no such alias, and never was.
            VersionNotFound: it never pointed at anything before, or that was deleted.
            AliasMoved, Protected: as `alias`.
        """
        parsed = self._alias(alias, force=force)
        stored = ops.aliases.rollback(
            self._store, parsed, expected=self._expected(expect), now=self._now, by=self._actor()
        )
        return self._moved(parsed, Version(self._store, stored, self._progress))

    def _moved(self, alias: Alias, version: Version) -> Version:
        self._events.after("post-alias", lambda: {"alias": str(alias), "tag": str(version.tag), "id": version.id})
        return version

    def label(self, spec: SpecLike, labels: Mapping[str, str | None]) -> Version:
        """Set labels of a version that was saved before, remove those that are empty or None, and return it.

        They stand beside the labels it was saved with, which never change, and decide where both have one. Each
        change is durable, and noted in the journal, with who and when. A version that is deleted and restored has
        them again.

        Raises:
            NotFound: `spec` stands for nothing.
            InvalidMetadata: a key or value cannot be stored, or one to be removed was saved with the version.
        """
        if isinstance(labels, Mapping):
            labels = {key: "" if value is None else value for key, value in labels.items()}
        given = labels_of(cast("Mapping[str, str]", labels))
        stored = ops.labels.label(self._store, self._spec(spec), given, now=self._now, by=self._actor())
        return Version(self._store, stored, self._progress)

    def ancestors(self, spec: SpecLike) -> list[Version]:
        """Return the versions that one was made from, and those that they were made from, nearest first.

        Deleted ones are left out, and what they were made from is not, as long as that is known.

        Raises:
            NotFound, Corrupt: `spec` stands for nothing, or is damaged.
        """
        self._store.look()
        found = ops.lineage.ancestors(self._store, self._spec(spec))
        return [Version(self._store, stored, self._progress) for stored in found]

    def descendants(self, spec: SpecLike) -> list[Version]:
        """Return the versions that were made from one, and those made from them, nearest first; of any name.

        Raises:
            NotFound, Corrupt: `spec` stands for nothing, or is damaged.
        """
        self._store.look()
        found = ops.lineage.descendants(self._store, self._spec(spec), self._progress.notice)
        return [Version(self._store, stored, self._progress) for stored in found]

    def lineage(self, spec: SpecLike) -> list[Relative]:
        """Return a version with its ancestors and descendants, for a bare name all its versions; parents come first.

        Ancestors that were deleted, or are not in this store, are in it.

        Raises:
            NotFound, Corrupt: `spec` stands for nothing, or is damaged.
        """
        self._store.look()
        return [
            Relative(
                str(kin.id),
                kin.tag,
                kin.state,
                moment(kin.created) if kin.tag else None,
                tuple(map(str, kin.parents)),
                kin.aliases,
            )
            for kin in ops.lineage.lineage(self._store, self._spec(spec), self._progress.notice)
        ]

    def _alias(self, alias: str, *, force: bool) -> Alias:
        parsed = Alias.parse(alias)
        self._notice_lowered(alias, str(parsed))
        if self._protects(parsed) and not force:
            raise Protected(
                f"the alias '{parsed}' is protected here; pass --force (force=True) to move it all the same",
                hint="mvs config get alias.protected",
            )
        return parsed

    def _expected(self, expect: SpecLike | None) -> Spec | Literal[""] | None:
        if expect is None:
            return None
        return "" if expect == "" else self._spec(expect)
