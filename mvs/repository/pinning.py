"""What a repository pins: the versions that it needs, in `mvs.lock`, for git to keep.

Part of the Python API: `Repository` is a `Pinning` that git also calls, and that saves and finds.
"""

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from mvs import ops
from mvs.errors import (
    Conflict,
    InvalidPath,
    NotARepository,
    NotFound,
    RemoteNotFound,
    SyncFailed,
    VersionNotFound,
    command,
)
from mvs.format.names import Tag
from mvs.handles.version import SpecLike
from mvs.repository import workspace
from mvs.repository.sharing import Sharing

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mvs.format.lines.pins import Pin
    from mvs.ops.pins.looking import Memory

Prefer = Literal["newest", "ours", "theirs"]


class Pinned(NamedTuple):
    """One version that a repository needs.

    Attributes:
        tag: the version.
        id: the id of its manifest, 64 hex digits.
        path: the folder it is checked out to, relative to that of `mvs.lock`, separated by `/`.
        follows: what an update goes by: an alias, or "latest".
    """

    tag: Tag
    id: str
    path: str
    follows: str

    def to_dict(self) -> dict[str, str]:
        """Return the facts as JSON holds them, the form `--json` prints."""
        facts = {"tag": str(self.tag), "name": self.tag.name, "version": self.tag.version}
        return {**facts, "id": self.id, "path": self.path, "follows": self.follows}


class PinStatus(NamedTuple):
    """How one pin stands.

    Attributes:
        pinned: the pin.
        edited: the paths of its files that are not as they were saved.
        missing: the paths of its files that are not there.
        checked_out: whether its folder is there.
        here: whether the store has the version.
        behind: what an update would pin, None where that is the same.
        pushed: whether the default remote had it when it was last looked at; None without one, or for a version that is
            neither here nor there.
        problem: why something of this could not be told.
    """

    pinned: Pinned
    edited: tuple[str, ...]
    missing: tuple[str, ...]
    checked_out: bool
    here: bool
    behind: Tag | None
    pushed: bool | None
    problem: str

    @property
    def clean(self) -> bool:
        """Whether nothing differs."""
        differs = self.edited or self.missing or self.behind or self.pushed is False or self.problem
        return self.checked_out and self.here and not differs

    def to_dict(self) -> dict[str, Any]:
        """Return the facts as JSON holds them, the form `--json` prints."""
        facts = {**self.pinned.to_dict(), **self._asdict(), "behind": str(self.behind) if self.behind else None}
        del facts["pinned"]
        return {**facts, "clean": self.clean}


class Pinning(Sharing):
    """The verbs of a repository that git knows of."""

    def pins(self) -> list[Pinned]:
        """Return what is pinned, sorted by name and path.

        Raises:
            CorruptPins, UnsupportedFormat: `mvs.lock` cannot be read.
        """
        found = ops.lockfile.read(self._root)
        self._register()
        return [_shown(pin) for pin in found]

    def pin(self, spec: SpecLike, *, to: str | os.PathLike[str] | None = None) -> Pinned:
        """Pin a version: note it in `mvs.lock` with the folder `to` that it is checked out to, and return the pin.

        `to` is relative to the repository. Without it, it is where another version of the name is pinned, else a
        folder of the model's name. `pins` are updated along the alias of `spec`, or else along `latest`.
        No file but `mvs.lock` and `.gitignore` is written; `checkout_pins` does the rest.

        Raises:
            NotFound: no version answers to `spec`.
            InvalidPath: `to` is not in the repository.
            DestinationExists: another name is pinned there.
            CorruptPins, UnsupportedFormat: `mvs.lock` cannot be read.
        """
        root = self._root
        wanted = self._spec(spec)
        self._store.look()
        ref = ops.query.resolve(self._store, wanted)
        given = None if to is None else ops.pinning.relative(root, os.fspath(to))
        with ops.lockfile.changing(self._space.control):
            path = ops.pinning.place(ops.lockfile.read(root), ref.tag.name, given)
            new = ops.pinning.pinned(ref, ops.pinning.relative(root, path), wanted)
            ops.lockfile.changed(root, lambda pins: ops.pinning.replaced(pins, new), self._tell)
            self._registered()
        return _shown(new)

    def unpin(self, *names: str) -> list[Pinned]:
        """Take pins out of `mvs.lock`, by name, tag or path, and return them; their files stay where they are.

        Raises:
            NotFound: nothing of the kind is pinned; nothing was changed.
            CorruptPins, UnsupportedFormat: `mvs.lock` cannot be read.
        """
        root = self._root
        with ops.lockfile.changing(self._space.control):
            pins = ops.lockfile.read(root)
            gone = [pin for name in names for pin in ops.pinning.chosen(pins, name)]
            ops.lockfile.changed(root, lambda pins: [pin for pin in pins if pin not in gone], self._tell)
            self._register()
        return [_shown(pin) for pin in pins if pin in gone]

    def update_pins(self, *names: str) -> list[tuple[Pinned, Pinned]]:
        """Pin what aliases and `latest` stand for now, of all pins or some names; return those that moved, as pairs.

        Raises:
            NotFound: a name is not pinned, or what a pin follows is gone; nothing was changed.
            CorruptPins, UnsupportedFormat: `mvs.lock` cannot be read.
        """
        root = self._root
        with ops.lockfile.changing(self._space.control):
            pins = ops.lockfile.read(root)
            given = [pin for name in names for pin in ops.pinning.chosen(pins, name)] if names else pins
            self._store.look()
            fresh = {pin.key: ops.pinning.updated(self._store, pin) for pin in given}
            ops.lockfile.changed(root, lambda pins: [fresh.get(pin.key, pin) for pin in pins], self._tell)
            self._registered()
        moved = [(pin, fresh[pin.key]) for pin in pins if pin.key in fresh and fresh[pin.key] != pin]
        return [(_shown(before), _shown(after)) for before, after in moved]

    def resolve_pins(self, *, prefer: Prefer | None = None) -> list[Pinned]:
        """Resolve a merge conflict of git in `mvs.lock`, and return what is pinned then.

        A pin that is the same on both sides, or that only one of them has or changed, is taken. For others `prefer`
        decides: the version that was saved later ("newest"), or the one of a side ("ours", "theirs").

        Raises:
            Conflict: without `prefer`, both sides changed a pin; nothing was written.
            CorruptPins, UnsupportedFormat: a side of it cannot be read.
        """
        root = self._root
        with ops.lockfile.changing(self._space.control):
            merging = ops.lockfile.merging(root, workspace.environment())
            if merging is None:
                return self.pins()
            found = ops.pinning.merged(*merging, prefer)
            self._tell(found)
            try:
                ops.lockfile.resolved(root, found)
            except InvalidPath as error:
                raise Conflict(
                    f"both sides together cannot be checked out: {error.message}",
                    hint="mvs pin --resolve --prefer ours",
                ) from None
            self._registered()
        return [_shown(pin) for pin in sorted(found, key=lambda pin: pin.key)]

    def checkout_pins(self, *, link: bool = False, force: bool = False) -> list[Pinned]:
        """Let everything that is pinned be where it is pinned to, exactly; return the pins whose files were changed.

        Versions that are not in the store are pulled from the default remote. Files of the version that was there
        before go. Whatever is in no version of the name is only overwritten with `force`; files beside them stay.

        Raises:
            DestinationExists: without `force`, an edited file would be lost; nothing was changed.
            VersionNotFound: a version is neither here nor at the remote.
            RemoteFailed: the remote cannot be reached.
            CorruptPins, UnsupportedFormat: `mvs.lock` cannot be read.
        """
        root = self._root
        pins = ops.lockfile.read(root)
        self._register()
        self._store.look()
        memory = self._memory()
        missing = ops.restoring.lacking(self._store, pins)
        missing += ops.restoring.unfinished(self._store, root, pins, memory, self._now())
        if missing:
            self._bring(missing)
        ops.lockfile.ignore(root, pins)
        try:
            planned = ops.restoring.plan(self._store, root, pins, memory, self._now(), force=force)
            for one in planned:
                ops.restoring.run(self._store, one, memory, link=link, progress=self._progress)
                ops.looking.written(self._store, root, one.pin, memory, self._now())
        finally:
            memory.keep()
        return [_shown(one.pin) for one in planned]

    def status(self) -> list[PinStatus]:
        """Return how everything that is pinned stands: on the disk, in the store, and at the default remote.

        The remote is not asked; `fetch` does that. Files are only read that changed since they were last seen.

        Raises:
            CorruptPins, UnsupportedFormat: `mvs.lock` cannot be read.
        """
        root = self._root
        pins = ops.lockfile.read(root)
        self._register()
        self._store.look()
        memory = self._memory()
        remote = self._remote(None).last_seen() if self.remotes else None
        found = ops.status.status(self._store, root, pins, memory, remote, self._now())
        memory.keep()
        return [
            PinStatus(
                _shown(facts.pin),
                facts.look.edited,
                facts.look.missing,
                facts.look.is_there,
                facts.here,
                facts.behind,
                facts.pushed,
                facts.problem,
            )
            for facts in found
        ]

    def diff_pins(self, before: str, after: str | None = None) -> list[tuple[Pinned | None, Pinned | None]]:
        """Return the pins that differ between two revisions of git, or from one to `mvs.lock` as it is, as pairs.

        Raises:
            NotFound: git does not know one of them.
            CorruptPins, UnsupportedFormat: what was pinned cannot be read.
        """
        sides = [self._pinned_at(before), self._pinned_at(after) if after else ops.lockfile.read(self._root)]
        moved = ops.pinning.compared(*sides)
        return [(_shown(old) if old else None, _shown(new) if new else None) for old, new in moved]

    def _tell(self, adding: "Iterable[Pin]" = ()) -> bool:
        """Let the store know what is pinned, where it does not; tell whether it does.

        Raises:
            SyncFailed: the disk failed, so that it may have forgotten after a power cut.
        """
        return ops.sharing.register(self._store, self._space.control, workspace.host(), adding=adding)

    def _register(self) -> None:
        """Let the store know what is pinned, for whoever changes nothing of that."""
        with suppress(SyncFailed):
            self._tell()

    def _registered(self) -> None:
        """Let the store know what is pinned; where it cannot, say what that means."""
        if not self._tell():
            self._progress.notice(
                f"the store '{self._store.root}' cannot be told what is pinned here: a gc there removes it once its "
                "tags are deleted"
            )

    def _pinned_at(self, revision: str) -> "tuple[Pin, ...]":
        found = ops.lockfile.committed(self._root, revision, workspace.environment())
        if found is None:
            raise NotFound(f"'{revision}' is no revision of git here", hint=command("git", "log", "--oneline"))
        return found

    def _bring(self, missing: "list[Pin]") -> None:
        tags = list(dict.fromkeys(str(pin.tag) for pin in missing))
        try:
            self.pull(*tags)
        except RemoteNotFound as error:
            raise VersionNotFound(
                f"{_listed(tags)} is pinned and not in the store, and there is no remote to ask", hint=error.hint
            ) from error
        if others := ops.restoring.lacking(self._store, missing):
            pin = others[0]
            raise VersionNotFound(
                f"'{pin.tag}' is another version at the remote than the one that is pinned, {str(pin.id)[:12]}",
                hint=command("mvs", "pin", pin.tag),
            )

    def _memory(self) -> "Memory":
        return ops.looking.Memory(self._store, self._root)

    @property
    def _root(self) -> Path:
        """The folder that paths of pins are relative to."""
        control = self._space.control
        if control.name != workspace.CONTROL:
            raise NotARepository(
                f"'{control}' is no repository in a folder of its own, and only those pin versions", hint="mvs init"
            )
        return control.parent


def _shown(pin: "Pin") -> Pinned:
    return Pinned(pin.tag, str(pin.id), pin.path, pin.follows)


def _listed(tags: list[str]) -> str:
    return ", ".join(f"'{tag}'" for tag in tags[:5]) + (f" and {len(tags) - 5} more" if len(tags) > 5 else "")
