"""What gc takes out: renamed under the lock of the store, unlinked when the lock is free again."""

import contextlib
import os
import shutil

from mvs.backends.directory import Directory
from mvs.backends.failures import storage
from mvs.backends.locks import is_held
from mvs.errors import MvsError
from mvs.format.ids import ObjectId
from mvs.format.layout import LOCK, STAGING, TRASH, object_path, pack_path

# Nanoseconds. Between making its folder and locking it a session looks as if it were dead.
_YOUNG = 60 * 10**9


class Trash:
    """The trash of a store, for whoever holds `packing`."""

    def __init__(self, disk: Directory) -> None:
        self._disk = disk

    def take_object(self, id: ObjectId) -> None:
        """Take a loose object out of the store. Under the lock."""
        self._take(object_path(id))

    def take_pack(self, name: ObjectId) -> None:
        """Take a pack out of the store. Under the lock."""
        self._take(pack_path(name))

    def sweep_temps(self) -> int:
        """Take out what a writer left that died under the lock, which we hold; return the bytes."""
        freed = 0
        for entry in list(self._disk.entries(STAGING)):
            if entry.name.endswith(".tmp") and entry.is_file(follow_symlinks=False):
                freed += entry.stat(follow_symlinks=False).st_size
                self._take(f"{STAGING}/{entry.name}")
        return freed

    def sweep_staging(self, *, now: int, since: int) -> int:
        """Take out sessions of dead processes; a draft only when it was left before `since`. Return the bytes."""
        freed = 0
        for entry in list(self._disk.entries(STAGING)):
            with contextlib.suppress(OSError, MvsError):
                found = entry.stat(follow_symlinks=False)
                if not entry.is_dir(follow_symlinks=False) or now - found.st_mtime_ns < _YOUNG:
                    continue
                if is_held(f"{entry.path}/{LOCK}"):
                    continue
                if os.path.isdir(f"{entry.path}/tree") and found.st_mtime_ns > since:
                    continue
                freed += _size(entry.path)
                self._take(f"{STAGING}/{entry.name}")
        return freed

    def empty(self) -> None:
        """Remove everything that was taken out, now or by a gc that was cut off."""
        for entry in list(self._disk.entries(TRASH)):
            with contextlib.suppress(OSError):
                if entry.is_dir(follow_symlinks=False):
                    _make_writable(entry.path)
                    shutil.rmtree(entry.path)
                else:
                    os.unlink(entry.path)

    def _take(self, key: str) -> None:
        self._disk.ensure(TRASH)
        with storage(self._disk.root), contextlib.suppress(FileNotFoundError):
            os.rename(self._disk.path(key), self._disk.path(f"{TRASH}/{os.urandom(8).hex()}"))


def _make_writable(folder: str) -> None:
    for parent, _, _ in os.walk(folder):
        os.chmod(parent, 0o755)


def _size(folder: str) -> int:
    return sum(os.lstat(os.path.join(parent, name)).st_size for parent, _, names in os.walk(folder) for name in names)
