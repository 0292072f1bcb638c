"""Objects: ids to plain bytes, each in a file of its own."""

import contextlib
import os
from collections.abc import Callable
from functools import partial
from typing import BinaryIO

from blake3 import blake3

from mvs.backends.directory import Directory
from mvs.backends.failures import storage
from mvs.errors import CorruptObject, MissingObject, StorageFailed
from mvs.format.ids import ObjectId
from mvs.format.layout import OBJECTS, object_path


class Objects:
    """The loose objects of a store."""

    def __init__(self, disk: Directory) -> None:
        self._disk = disk

    def has(self, id: ObjectId, size: int) -> bool:
        """Tell whether the object is there with this size in bytes; its content is not read."""
        return self._disk.size(object_path(id)) == size

    def is_file(self, id: ObjectId, path: str) -> bool:
        """Tell whether a file is the very one that holds the object: writing to it would change both."""
        try:
            return os.path.samefile(self._disk.path(object_path(id)), path)
        except OSError:
            return False

    def path(self, id: ObjectId) -> str:
        """Return where the object's plain bytes lie.

        Raises:
            MissingObject: it is not in the store.
        """
        path = self._disk.path(object_path(id))
        if not os.path.exists(path):
            raise missing(id)
        return path

    def open(self, id: ObjectId) -> BinaryIO:
        """Open the plain bytes of an object; they are not verified.

        Raises:
            MissingObject: it is not in the store.
        """
        try:
            return open(self._disk.path(object_path(id)), "rb")
        except FileNotFoundError:
            raise missing(id) from None

    def read(self, id: ObjectId) -> bytes:
        """Return the verified bytes of an object.

        Raises:
            MissingObject: it is not in the store.
            CorruptObject: its bytes have another id.
        """
        try:
            data = self._disk.read(object_path(id))
        except FileNotFoundError:
            raise missing(id) from None
        if blake3(data).digest() != id.raw:
            raise CorruptObject(f"object {id} does not hold the bytes it is named after")
        return data


class Adding:
    """Objects on their way into the store, under its lock, as a context: an error takes them out again."""

    def __init__(self, disk: Directory) -> None:
        self._disk = disk
        self._undo: list[Callable[[], None]] = []
        self._kept: list[str] = []
        self._folders = {OBJECTS}

    def adopt(self, path: str, id: ObjectId) -> None:
        """Let the durable file at `path`, whose bytes were hashed just now, be the object `id`.

        What is there under that id is replaced: it may be damaged, and a source that is
        moved is removed in the belief that the store has its bytes.
        """
        key = object_path(id)
        with storage(self._disk.root):
            self._undo.append(partial(os.chmod, path, os.stat(path).st_mode & 0o777))
            os.chmod(path, 0o444)
        self._folders.add(os.path.dirname(key))
        if self._disk.adopt(path, key):
            self._undo.append(partial(self._disk.disown, path, key))
        elif kept := self._disk.replace(path, key):
            self._undo.append(partial(os.rename, kept, self._disk.path(key)))
            self._kept.append(kept)
        else:
            self._check(id)

    def put(self, data: bytes) -> ObjectId:
        """Let `data` be an object and return its id."""
        id = ObjectId.of(data)
        key = object_path(id)
        self._folders.add(os.path.dirname(key))
        temp = self._disk.temp(data)
        try:
            with storage(self._disk.root):
                os.chmod(temp, 0o444)
            if self._disk.adopt(temp, key):
                self._undo.append(partial(self._disk.remove, key))
        finally:
            self._disk.discard(temp)
        return id

    def rely(self, id: ObjectId) -> None:
        """Count on an object that is there: whoever added it may have died before its name was durable."""
        key = object_path(id)
        path = self._disk.path(key)
        with storage(path):
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                self._disk.sync_file(fd, path)
            finally:
                os.close(fd)
        self._folders.add(os.path.dirname(key))

    def sync(self) -> None:
        """Make the names of all objects added so far durable."""
        self._disk.sync(sorted(self._folders))
        self._folders.clear()

    def _check(self, id: ObjectId) -> None:
        """Read an object that cannot be replaced: its source may be removed, so it must be good."""
        hasher = blake3()
        with storage(self._disk.root), open(self._disk.path(object_path(id)), "rb") as file:
            while block := file.read(1 << 20):
                hasher.update(block)
        if hasher.digest() != id.raw:
            raise CorruptObject(f"object {id} is damaged, and this file system has no links to replace it with")

    def __enter__(self) -> "Adding":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            self.undo()
            return
        for kept in self._kept:
            self._disk.discard(kept)

    def undo(self) -> None:
        """Take the added objects out again and give files their rights back; no ref may name them yet.

        What cannot be undone is left, as rubbish: the error that led here matters more.
        """
        while self._undo:
            with contextlib.suppress(OSError, StorageFailed):
                self._undo.pop()()


def missing(id: ObjectId) -> MissingObject:
    """Return the error that says an object is not there."""
    return MissingObject(f"object {id} is not in the store")
