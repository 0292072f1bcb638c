"""A directory as a backend: keys are relative paths, writes are atomic and durable.

Knows nothing of ids or hashing; the store above decides what a key means. A name under
this directory belongs to a whole file from the moment it exists: bytes are written
elsewhere, fsynced, and only then linked or renamed to their key.
"""

import contextlib
import errno
import os
import stat
import sys
from collections.abc import Iterable, Iterator

from mvs.backends.failures import failure, storage
from mvs.errors import StorageFailed, SyncFailed, command

_READ_BLOCK = 1 << 13
# What link(2) answers where there are no hard links, or no more of them (ext4: 65,000 a file).
NO_LINKS = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EXDEV}


class Directory:
    """One directory. With `durable` false nothing is fsynced: a power cut may lose what was written."""

    def __init__(self, root: str, *, durable: bool, temps: str) -> None:
        self.root = root
        self.durable = durable
        self._temps = temps

    def path(self, key: str) -> str:
        """Return the path of a key."""
        return f"{self.root}/{key}"

    def read(self, key: str) -> bytes:
        """Return the bytes under a key.

        Raises:
            FileNotFoundError: there is none.
        """
        # No context manager here: listing a store comes by thousands of times.
        try:
            fd = os.open(f"{self.root}/{key}", os.O_RDONLY | os.O_CLOEXEC)
            try:
                # One call for most files: refs and manifests are small.
                data = os.read(fd, _READ_BLOCK)
                if len(data) == _READ_BLOCK:
                    parts = [data]
                    while part := os.read(fd, 1 << 20):
                        parts.append(part)
                    data = b"".join(parts)
                return data
            finally:
                os.close(fd)
        except OSError as error:
            meant = failure(error, self.root)
            if meant is error:
                raise
            raise meant from error

    def size(self, key: str) -> int | None:
        """Return the size of the regular file under a key, None where there is none."""
        try:
            found = os.stat(self.path(key), follow_symlinks=False)
        except (FileNotFoundError, NotADirectoryError):
            return None
        return found.st_size if stat.S_ISREG(found.st_mode) else None

    def entries(self, key: str) -> Iterator["os.DirEntry[str]"]:
        """Yield what lies in a folder, in no order; nothing where there is no such folder."""
        try:
            with storage(self.root), os.scandir(self.path(key)) as found:
                yield from found
        except (FileNotFoundError, NotADirectoryError):
            return

    def below(self, key: str) -> Iterator[os.stat_result]:
        """Yield the facts of every file below a folder, in no order; what goes meanwhile is left out."""
        for parent, _, names in os.walk(self.path(key)):
            for name in names:
                try:
                    found = os.lstat(os.path.join(parent, name))
                except FileNotFoundError:
                    continue
                yield found

    def ensure(self, key: str) -> None:
        """Make a folder and those above it, durably."""
        path = self.path(key)
        if os.path.isdir(path):
            return
        parent = os.path.dirname(key)
        if parent:
            self.ensure(parent)
        with storage(self.root):
            try:
                os.mkdir(path)
            except FileExistsError:
                if not os.path.isdir(path):
                    raise StorageFailed(f"'{path}' is no folder", hint=command("ls", "-ld", path)) from None
                return
        self.sync([parent])

    def is_own(self, key: str) -> bool:
        """Tell whether neither a folder nor one above it is a link: what lies behind one is not ours to remove."""
        return not any(map(os.path.islink, self._places(key)))

    def own(self, key: str) -> None:
        """Take a link away that stands for a folder, or for one above it; what it leads to stays as it is."""
        with storage(self.root):
            for place in self._places(key):
                if os.path.islink(place):
                    os.unlink(place)

    def _places(self, key: str) -> list[str]:
        """Return the paths of a key and of all folders above it, the uppermost first."""
        parts = key.split("/")
        return [self.path("/".join(parts[: number + 1])) for number in range(len(parts))]

    def temp(self, data: bytes) -> str:
        """Write a durable file outside every key and return its path.

        Only for whoever holds the lock of the store, which is why nobody else takes it for rubbish.
        """
        self.ensure(self._temps)
        path = self.temp_name()
        with storage(self.root):
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
            try:
                try:
                    view = memoryview(data)
                    while view:
                        view = view[os.write(fd, view) :]
                    self.sync_file(fd, path)
                finally:
                    os.close(fd)
            except BaseException:
                self.discard(path)
                raise
        return path

    def put(self, key: str, data: bytes) -> None:
        """Write or replace what is under a key, atomically and durably; the rights stay, whatever the umask."""
        self.ensure(os.path.dirname(key))
        temp = self.temp(data)
        with storage(self.root):
            try:
                with contextlib.suppress(FileNotFoundError):
                    os.chmod(temp, os.stat(self.path(key)).st_mode & 0o777)
                os.rename(temp, self.path(key))
            except IsADirectoryError:
                self.discard(temp)
                path = self.path(key)
                raise StorageFailed(f"'{path}' is a folder", hint=command("ls", "-ld", path)) from None
            except BaseException:
                self.discard(temp)
                raise
        self.sync([os.path.dirname(key)])

    def cache(self, key: str, data: bytes) -> None:
        """Write or replace what is under a key, atomically and not durably; what cannot be written is left out.

        For what is derived: no lock is needed, and a reader must not believe what it finds.
        """
        path = self.path(key)
        # Among those of whoever holds the lock: a gc may take it away, and then it is left out.
        temp = self.temp_name()
        with contextlib.suppress(OSError):
            for folder in (os.path.dirname(temp), os.path.dirname(path)):
                os.makedirs(folder, exist_ok=True)
            try:
                with open(temp, "xb") as file:
                    file.write(data)
                os.rename(temp, path)
            except BaseException:
                self.discard(temp)
                raise

    def adopt(self, path: str, key: str) -> bool:
        """Give a durable file a key, unless the key exists; tell whether it was new.

        The file keeps its old name where the file system has hard links; the folder of
        the key is not synced yet. Without hard links it is renamed, and then only the
        lock of the store keeps two writers apart.
        """
        target = self.path(key)
        with storage(self.root):
            self.ensure(os.path.dirname(key))
            try:
                os.link(path, target, follow_symlinks=False)
            except FileExistsError:
                return False
            except OSError as error:
                if error.errno not in NO_LINKS:
                    raise
                if os.path.lexists(target):
                    return False
                os.rename(path, target)
        return True

    def replace(self, path: str, key: str) -> str | None:
        """Let a durable file take the place of what is under a key, atomically; the file keeps its old name.

        Return where what was there is kept until `discard`; None, and nothing done,
        where the file system has no hard links to do it with.
        """
        beside, kept = self.temp_name(), self.temp_name()
        with storage(self.root):
            try:
                os.link(path, beside, follow_symlinks=False)
                os.link(self.path(key), kept, follow_symlinks=False)
                os.rename(beside, self.path(key))
                # Renaming one name of a file to another of its names does nothing.
                self.discard(beside)
            except OSError as error:
                self.discard(beside)
                self.discard(kept)
                if error.errno in NO_LINKS:
                    return None
                raise
        return kept

    def discard(self, path: str) -> None:
        """Remove a file that is of no more use; where that fails it is rubbish in staging."""
        with contextlib.suppress(OSError):
            os.unlink(path)

    def disown(self, path: str, key: str) -> None:
        """Undo `adopt`: the key goes, the file has its old name."""
        if os.path.lexists(path):
            self.remove(key)
        else:
            os.rename(self.path(key), path)

    def append(self, key: str, data: bytes, *, start: bytes) -> None:
        """Append to the file under a key, durably; a new file begins with `start`.

        A file that does not end with a newline (an append was cut off) gets one first.
        What cannot be written whole is taken back.
        """
        self.ensure(os.path.dirname(key))
        path = self.path(key)
        with storage(self.root):
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
            try:
                size = os.fstat(fd).st_size
                if size == 0:
                    # Before the write: who dies after it leaves a file that is not empty.
                    self.sync([os.path.dirname(key)])
                    self.sync_above(key)
                    data = start + data
                elif os.pread(fd, 1, size - 1) != b"\n":
                    data = b"\n" + data
                try:
                    view = memoryview(data)
                    while view:
                        view = view[os.write(fd, view) :]
                except BaseException:
                    os.ftruncate(fd, size)
                    raise
                self.sync_file(fd, path)
            finally:
                os.close(fd)

    def tell(self, key: str, data: bytes) -> None:
        """Append to the file under a key for other processes that are there now, where there is one.

        A power cut may lose it. What cannot be appended makes the file go, so that nobody misses it unawares.
        """
        try:
            fd = os.open(self.path(key), os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
            try:
                whole = os.write(fd, data) == len(data)
            finally:
                os.close(fd)
        except FileNotFoundError:
            return
        except OSError:
            whole = False
        if not whole:
            with contextlib.suppress(FileNotFoundError):
                self.remove(key)

    def empty(self, key: str) -> None:
        """Let the file under a key be there, and empty."""
        with storage(self.root):
            os.close(os.open(self.path(key), os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644))

    def remove(self, key: str) -> None:
        """Remove the file under a key; its folder is not synced yet."""
        with storage(self.root):
            os.unlink(self.path(key))

    def sync(self, keys: Iterable[str]) -> None:
        """Make what happened to the names in these folders durable.

        Raises:
            SyncFailed: the disk did not say so.
        """
        if not self.durable:
            return
        for key in keys:
            path = self.path(key)
            with storage(self.root):
                fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
                try:
                    self.sync_file(fd, path)
                finally:
                    os.close(fd)

    def sync_above(self, key: str) -> None:
        """Make the names of all folders above a key durable: whoever made one may have died before."""
        while key := os.path.dirname(key):
            self.sync([os.path.dirname(key)])

    def sync_file(self, fd: int, path: str) -> None:
        """Make the content of an open file durable.

        Raises:
            SyncFailed: the disk did not say so. The pages may be marked clean all the
                same, so trying again proves nothing (https://lwn.net/Articles/752063/).
        """
        if not self.durable:
            return
        try:
            if sys.platform == "darwin":
                import fcntl  # noqa: PLC0415 - not on every platform

                # fsync on macOS stops at the drive's cache (fsync(2) there).
                fcntl.fcntl(fd, fcntl.F_FULLFSYNC)
            else:
                os.fsync(fd)
        except OSError as error:
            raise SyncFailed(f"could not make '{path}' durable: {error.strerror}", hint="dmesg | tail") from error

    def temp_name(self) -> str:
        """Return a path for a file on its way to its key; gc removes what is left there."""
        return self.path(f"{self._temps}/{os.urandom(8).hex()}.tmp")
