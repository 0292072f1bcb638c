"""A folder as a bucket: on a disk, or a mounted share."""

import contextlib
import os
from collections.abc import Iterable, Iterator

from mvs.backends.buckets.bucket import UPLOADS, Advance, Found
from mvs.backends.directory import Directory
from mvs.backends.failures import storage
from mvs.errors import RemoteFailed

_BLOCK = 4 << 20


class FolderBucket:
    """A folder; keys are paths in it."""

    def __init__(self, root: str) -> None:
        self._root = root
        self._disk = Directory(root, durable=True, temps=UPLOADS)

    def read(self, key: str) -> bytes:
        """Return the value of a key."""
        try:
            return self._disk.read(key)
        except NotADirectoryError as error:
            raise FileNotFoundError(error.filename) from None

    def read_range(self, key: str, start: int, length: int) -> bytes:
        """Return a run of the value of a key; less of it at its end."""
        with storage(self._disk.root), open(self._disk.path(key), "rb", buffering=0) as file:
            return os.pread(file.fileno(), length, start)

    def size(self, key: str) -> int | None:
        """Return the size of the value of a key, None where it has none."""
        return self._disk.size(key)

    def create(self, key: str, data: bytes) -> bool:
        """Give a key its value, durably, unless it has one; tell whether it had none."""
        self._make()
        temp = self._disk.temp(data)
        try:
            return self._adopt(temp, key)
        finally:
            self._disk.discard(temp)

    def write(self, key: str, data: bytes) -> None:
        """Give a key a value, whatever it had."""
        self._make()
        try:
            self._disk.put(key, data)
        except FileNotFoundError as error:
            raise self._removed(key) from error

    def upload(self, key: str, path: str, advance: Advance, *, parts: int = 1) -> None:
        """Copy a file to a key."""
        self._make()
        self._disk.ensure(UPLOADS)
        temp = self._disk.path(f"{UPLOADS}/{os.urandom(8).hex()}.tmp")
        try:
            with (
                storage(self._disk.root),
                open(path, "rb", buffering=0) as source,
                open(temp, "xb", buffering=0) as file,
            ):
                while block := source.read(_BLOCK):
                    view = memoryview(block)
                    while view:
                        view = view[file.write(view) :]
                    advance(len(block))
                self._disk.sync_file(file.fileno(), temp)
            self._adopt(temp, key)
        finally:
            self._disk.discard(temp)

    def keys(self, prefix: str) -> Iterator[Found]:
        """Yield the keys that begin with a prefix that ends with `/`, in no order."""
        for entry in self._disk.entries(prefix.rstrip("/")):
            key = f"{prefix}{entry.name}"
            if entry.is_dir(follow_symlinks=False):
                yield from self.keys(f"{key}/")
            elif entry.is_file(follow_symlinks=False):
                with contextlib.suppress(FileNotFoundError):
                    found = entry.stat(follow_symlinks=False)
                    yield Found(key, found.st_size, int(found.st_mtime))

    def remove(self, keys: Iterable[str]) -> None:
        """Remove keys; one that has no value is passed over."""
        for key in keys:
            with contextlib.suppress(FileNotFoundError):
                self._disk.remove(key)

    def _make(self) -> None:
        with storage(self._root):
            try:
                os.makedirs(self._root, exist_ok=True)
            except (FileExistsError, NotADirectoryError):
                raise RemoteFailed(f"cannot make '{self._root}': a file is in the way") from None

    def _adopt(self, temp: str, key: str) -> bool:
        try:
            new = self._disk.adopt(temp, key)
        except FileNotFoundError as error:
            raise self._removed(key) from error
        self._disk.sync([os.path.dirname(key)])
        return new

    def _removed(self, key: str) -> RemoteFailed:
        """Return the error for who was so slow that a collection took what it wrote for left behind."""
        return RemoteFailed(f"'{self._disk.path(key)}' was removed while it was written; try again")
