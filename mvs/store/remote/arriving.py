"""What is on its way here, in files that outlive whoever was bringing it: the next one goes on at their length.

For whoever holds `packing`. Nothing in these files is believed: they are verified when they are whole.
"""

import os
import shutil

from mvs.backends.directory import Directory
from mvs.backends.failures import storage
from mvs.format.layout import ARRIVING
from mvs.store.hashing import hash_open


class Arriving:
    """The files under `cache/arriving`."""

    def __init__(self, disk: Directory) -> None:
        self._disk = disk

    def part(self, name: str) -> "Part":
        """Return the file of a name, as far as it has come."""
        with storage(self._disk.root):
            os.makedirs(self._disk.path(ARRIVING), exist_ok=True)
        return Part(self._disk, self._disk.path(f"{ARRIVING}/{name}"))

    def clear(self) -> int:
        """Remove all of it; return the bytes that come back."""
        freed = sum(entry.stat(follow_symlinks=False).st_size for entry in self._disk.entries(ARRIVING))
        shutil.rmtree(self._disk.path(ARRIVING), ignore_errors=True)
        return freed


class Part:
    """A file that grows at its end."""

    def __init__(self, disk: Directory, path: str) -> None:
        self._disk = disk
        self.path = path
        self._fd: int | None = None

    @property
    def size(self) -> int:
        """How much of it is here."""
        try:
            return os.stat(self.path).st_size
        except FileNotFoundError:
            return 0

    def append(self, data: bytes) -> None:
        """Write further bytes to its end."""
        with storage(self.path):
            if self._fd is None:
                self._fd = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
            view = memoryview(data)
            while view:
                view = view[os.write(self._fd, view) :]

    def close(self) -> None:
        """Write no further bytes for now."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def finish(self) -> bytes:
        """Make it durable, let nobody write to it again, and return its hash.

        Raises:
            FileNotFoundError: somebody has removed it.
        """
        self.close()
        with storage(self.path):
            fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.fchmod(fd, 0o444)
                id, _ = hash_open(fd, lambda _: None, wide=True)
                self._disk.sync_file(fd, self.path)
            finally:
                os.close(fd)
        return id.raw

    def discard(self) -> None:
        """Begin it anew."""
        self.close()
        self._disk.discard(self.path)
