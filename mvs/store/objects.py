"""Objects: ids to plain bytes, each in a file of its own."""

import os
from typing import BinaryIO

from mvs.backends.directory import Directory
from mvs.errors import CorruptObject, MissingObject
from mvs.format.ids import ObjectId
from mvs.format.layout import OBJECTS, object_path


class Objects:
    """The loose objects of a store."""

    def __init__(self, disk: Directory) -> None:
        self._disk = disk

    def has(self, id: ObjectId, size: int) -> bool:
        """Tell whether the object is there with this size in bytes; its content is not read."""
        return self._disk.size(object_path(id)) == size

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
        if ObjectId.of(data) != id:
            raise CorruptObject(f"object {id} does not hold the bytes it is named after")
        return data


class Adding:
    """Objects on their way into the store, under its lock: all stay, or `undo` takes them out again."""

    def __init__(self, disk: Directory) -> None:
        self._disk = disk
        self._adopted: list[tuple[str, str]] = []
        self._written: list[str] = []
        self._modes: list[tuple[str, int]] = []
        self._folders = {OBJECTS}

    def adopt(self, path: str, id: ObjectId, size: int) -> None:
        """Let the durable file at `path` be the object `id`, unless the store has it.

        An object of another size under that id is damaged, and is replaced.
        """
        self._modes.append((path, os.stat(path).st_mode & 0o777))
        os.chmod(path, 0o444)
        key = object_path(id)
        if self._add(path, key, size):
            self._adopted.append((path, key))

    def put(self, data: bytes) -> ObjectId:
        """Let `data` be an object and return its id."""
        id = ObjectId.of(data)
        temp = self._disk.temp(data)
        try:
            os.chmod(temp, 0o444)
            if self._add(temp, object_path(id), len(data)):
                self._written.append(object_path(id))
        finally:
            if os.path.lexists(temp):
                os.unlink(temp)
        return id

    def rely(self, id: ObjectId) -> None:
        """Count on an object that is there: whoever added it may have died before its name was durable."""
        key = object_path(id)
        path = self._disk.path(key)
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            self._disk.sync_file(fd, path)
        finally:
            os.close(fd)
        self._folders.add(os.path.dirname(key))

    def sync(self) -> None:
        """Make the names of all added objects durable."""
        self._disk.sync(sorted(self._folders))

    def undo(self) -> None:
        """Take the added objects out again and give files their rights back; no ref may name them yet."""
        for key in self._written:
            self._disk.remove(key)
        for path, key in reversed(self._adopted):
            self._disk.disown(path, key)
        for path, mode in self._modes:
            os.chmod(path, mode)
        for done in (self._written, self._adopted, self._modes):
            done.clear()

    def _add(self, path: str, key: str, size: int) -> bool:
        self._folders.add(os.path.dirname(key))
        if self._disk.adopt(path, key):
            return True
        if self._disk.size(key) == size:
            return False
        self._disk.remove(key)
        return self._disk.adopt(path, key)


def missing(id: ObjectId) -> MissingObject:
    """Return the error that says an object is not there."""
    return MissingObject(f"object {id} is not in the store")
