"""A new catalog on its way to its name, and what the time is where it is written."""

import contextlib
import os
from typing import NamedTuple

from mvs.backends.directory import Directory

_NAME = "catalog"
# What another process is writing is younger than this, in nanoseconds; older ones were left by one that was killed.
_ABANDONED = 3600 * 1_000_000_000


class Draft(NamedTuple):
    """A folder of our own with an empty file; `now` is the time of the file system, in nanoseconds."""

    folder: str
    path: str
    now: int

    def publish(self, disk: Directory, target: str) -> None:
        """Give the file its name, in the place of what has it: on disk first, so that it is never there in part.

        Raises:
            OSError, SyncFailed: it cannot be done.
        """
        fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            disk.sync_file(fd, self.path)
        finally:
            os.close(fd)
        os.replace(self.path, target)

    def discard(self) -> None:
        """Remove what is left of it."""
        _remove(self.folder)


def new_draft(disk: Directory, key: str) -> Draft | None:
    """Begin a draft in a folder of the cache; None where that cannot be, or where times of folders tell nothing."""
    place = disk.path(key)
    folder = f"{place}/{os.urandom(8).hex()}"
    path = f"{folder}/{_NAME}"
    with contextlib.suppress(OSError):
        os.makedirs(folder)
        try:
            # On some network file systems a folder does not change when a file is put in.
            os.utime(folder, ns=(0, 0))
            with open(path, "xb"):
                now = os.stat(folder).st_mtime_ns
            if now:
                _tidy(place, now)
                return Draft(folder, path, now)
        except BaseException:
            _remove(folder)
            raise
        _remove(folder)
    return None


def _tidy(place: str, now: int) -> None:
    with contextlib.suppress(OSError), os.scandir(place) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False) and entry.stat().st_mtime_ns < now - _ABANDONED:
                _remove(entry.path)


def _remove(folder: str) -> None:
    """Remove the folder of a draft; what is not ours in it is left."""
    with contextlib.suppress(OSError):
        os.unlink(f"{folder}/{_NAME}")
    with contextlib.suppress(OSError):
        os.rmdir(folder)
