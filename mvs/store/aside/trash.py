"""What gc takes out: renamed under the lock of the store, unlinked when the lock is free again."""

import contextlib
import os
import shutil
from collections.abc import Iterable

from mvs.backends.directory import Directory
from mvs.backends.failures import storage
from mvs.backends.locks import exclusive
from mvs.errors import MvsError, StorageFull
from mvs.format.ids import ObjectId
from mvs.format.layout import LOCK, STAGING, TRASH, object_path, pack_path


class Trash:
    """The trash of a store, for whoever holds `packing`."""

    def __init__(self, disk: Directory) -> None:
        self._disk = disk

    def take_object(self, id: ObjectId) -> None:
        """Take a loose object out of the store. Under the lock."""
        self.take(object_path(id))

    def settle(self, ids: Iterable[ObjectId]) -> None:
        """Make durable that these objects were taken: what they refer to may go next."""
        self._disk.sync(sorted({os.path.dirname(object_path(id)) for id in ids}))

    def take_pack(self, name: ObjectId) -> None:
        """Take a pack out of the store, durably: what it refers to may go next. Under the lock."""
        key = pack_path(name)
        self.take(key)
        self._disk.sync([os.path.dirname(key)])

    def take(self, key: str) -> None:
        """Take whatever is under a key out of the store. Under the lock."""
        path = self._disk.path(key)
        with contextlib.suppress(FileNotFoundError):
            try:
                self._disk.own(TRASH)
                self._disk.ensure(TRASH)
                with storage(self._disk.root):
                    os.rename(path, self._disk.path(f"{TRASH}/{os.urandom(8).hex()}"))
            except StorageFull:
                # A full disk may have no room for another name; it has room for one less.
                if os.path.isdir(path):
                    raise
                with storage(self._disk.root):
                    os.unlink(path)

    def sweep_temps(self) -> int:
        """Take out what a writer left that died under the lock, which we hold; return the bytes."""
        freed = 0
        for entry in self._staged():
            if entry.name.endswith(".tmp") and entry.is_file(follow_symlinks=False):
                freed += entry.stat(follow_symlinks=False).st_size
                self.take(f"{STAGING}/{entry.name}")
        return freed

    def sweep_staging(self, *, now: int, since: int) -> int:
        """Take out sessions of dead processes; a draft only when it was left before `since`. Return the bytes."""
        freed = 0
        for entry in self._staged():
            with contextlib.suppress(OSError, MvsError):
                if not _is_session(entry):
                    continue
                key, tree = f"{STAGING}/{entry.name}", f"{entry.path}/tree"
                if os.path.isdir(tree) and min(now, _newest(tree)) > since:
                    continue
                # Held until it has moved: a session that is just being opened finds out then (`new_session`).
                with exclusive(f"{entry.path}/{LOCK}", patience=0):
                    size = sum(found.st_size for found in self._disk.below(key))
                    self.take(key)
                freed += size
        return freed

    def empty(self) -> None:
        """Remove everything that was taken out, now or by a gc that was cut off; of a link only the link."""
        self._disk.own(TRASH)
        for entry in list(self._disk.entries(TRASH)):
            with contextlib.suppress(OSError):
                if entry.is_dir(follow_symlinks=False):
                    _make_writable(entry.path)
                    shutil.rmtree(entry.path)
                else:
                    os.unlink(entry.path)

    def _staged(self) -> "list[os.DirEntry[str]]":
        return list(self._disk.entries(STAGING)) if self._disk.is_own(STAGING) else []


def _is_session(entry: "os.DirEntry[str]") -> bool:
    try:
        return len(bytes.fromhex(entry.name)) == 8 and entry.is_dir(follow_symlinks=False)
    except ValueError:
        return False


def _newest(folder: str) -> int:
    """Return when something in a folder was last written, in nanoseconds."""
    found = [folder, *(os.path.join(parent, name) for parent, dirs, files in os.walk(folder) for name in dirs + files)]
    return max(os.lstat(path).st_mtime_ns for path in found)


def _make_writable(folder: str) -> None:
    for parent, _, _ in os.walk(folder):
        os.chmod(parent, 0o755)
