"""Hooks: what a repository does when git does something, and what is called when something happens in it.

Part of the Python API: `Repository` is a `Hooking` that also saves and finds.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mvs import ops
from mvs.errors import InvalidInput
from mvs.format.names import Tag
from mvs.handles.version import SpecLike, Version
from mvs.repository import workspace
from mvs.repository.events import Hook
from mvs.repository.pinning import Pinning

if TYPE_CHECKING:
    from mvs.ops.pins.staged import Staged

# Ten times what a text that somebody wrote has, and a tenth of what GitHub takes.
LARGE = 10_000_000


class Hooking(Pinning):
    """The verbs of a repository that git calls."""

    def install_hooks(self) -> list[Path]:
        """Let git check pins out after a checkout and a merge, push them before a push, and keep models out of commits.

        Hooks that are there stay, and run first. Return the hooks that were written.

        Raises:
            NotARepository: the repository is in no work tree of git.
            Conflict: git takes its hooks from a place that other repositories share.
        """
        ops.lockfile.ignore(self._root, ops.lockfile.read(self._root))
        return ops.githooks.install(self._root, workspace.environment())

    def uninstall_hooks(self) -> list[Path]:
        """Take out the hooks that `install_hooks` wrote, and return them; those that were there before are back.

        Raises:
            NotARepository, Conflict: as `install_hooks`.
        """
        return ops.githooks.uninstall(self._root, workspace.environment())

    def unpushed_pins(self, *revisions: str, remote: str | None = None) -> list[Tag]:
        """Return what is pinned, in `mvs.lock` or at revisions of git, that a remote had not when it was last seen.

        What is pinned and not in this store is somebody else's to push.

        Raises:
            NotFound: git does not know a revision.
            RemoteNotFound: there is no such remote.
            CorruptPins, UnsupportedFormat: what is pinned cannot be read.
        """
        sides = [self._pinned_at(revision) for revision in revisions] if revisions else [ops.lockfile.read(self._root)]
        there = {version.id for version in self._remote(remote).last_seen().versions.values()}
        pins = {pin for side in sides for pin in side if pin.id not in there}
        return sorted({pin.tag for pin in pins if self._store.objects.is_loose(pin.id)})

    def hooks(self) -> list[Hook]:
        """Return what is called when something happens in this repository, and whether it may run here."""
        return self._events.hooks()

    def allow_hooks(self, *events: str) -> list[Hook]:
        """Let the files in `.mvs/hooks` run, those of some events or all, as they are now; return them.

        It holds for this user, on this machine, in this folder, for these very bytes.

        Raises:
            InvalidInput: there is no such event, or no file for it.
        """
        return self._events.allow(events)

    def deny_hooks(self, *events: str) -> list[Hook]:
        """Let the files in `.mvs/hooks` not run any more, those of some events or all; return them.

        Raises:
            InvalidInput: there is no such event.
        """
        return self._events.deny(events)

    def call_hooks(self, event: str, spec: SpecLike, *, remote: str = "", alias: str = "") -> None:
        """Call the hooks of an event as if it happened to a version; nothing happens to it.

        Raises:
            InvalidInput: there is no such event, or no hook of it that may run.
            NotFound: `spec` stands for nothing.
            HookRefused: a hook refused.
        """
        ready = [hook for hook in self.hooks() if hook.event == event and hook.state == "allowed"]
        if not ready:
            raise InvalidInput(f"no hook of '{event}' may run here", hint="mvs hook list")
        version = Version(self._store, ops.query.load(self._store, self._spec(spec)), self._progress)
        self._events.call(event, _facts(event, version, remote, alias))

    def staged(self, *, max_size: int = LARGE) -> "list[Staged]":
        """Return the files that are staged in git and belong into the store.

        Those are new to git and models by their name, or larger than `max_size` bytes, or of a pin; pointers of
        git-lfs are not.

        Raises:
            NotARepository: the repository is in no work tree of git.
        """
        return ops.staged.staged(self._root, ops.lockfile.needed(self._root), max_size, workspace.environment())


def _facts(event: str, version: Version, remote: str, alias: str) -> Mapping[str, Any]:
    """Return what the hooks of an event would be told of a version."""
    told = version.to_dict()
    one = {"tag": told["tag"], "id": told["id"]}
    if event == "pre-save":
        keys = ("name", "version", "files", "labels", "metadata", "parents", "message")
        return {**{key: told[key] for key in keys}, "path": str(version.path)}
    if event == "post-save":
        return {"version": told}
    if event == "post-alias":
        return {"alias": alias or f"{version.name}@alias", **one}
    if event == "post-gc":
        return {"freed": 0, "versions": 0, "objects": 0, "packs": 0}
    return {"versions": [one], **({"remote": remote or "origin"} if event.endswith("push") else {})}
