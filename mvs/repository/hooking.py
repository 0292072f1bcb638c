"""What a repository does when git does something: hooks, what they push, and what they stop.

Part of the Python API: `Repository` is a `Hooking` that also saves and finds.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from mvs import ops
from mvs.format.names import Tag
from mvs.repository import workspace
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

    def staged(self, *, max_size: int = LARGE) -> "list[Staged]":
        """Return the files that are staged in git and belong into the store.

        Those are new to git and models by their name, or larger than `max_size` bytes, or of a pin; pointers of
        git-lfs are not.

        Raises:
            NotARepository: the repository is in no work tree of git.
        """
        return ops.staged.staged(self._root, ops.lockfile.needed(self._root), max_size, workspace.environment())
