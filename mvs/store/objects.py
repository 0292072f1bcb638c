"""Objects: ids to plain bytes, each in a file of its own."""

import os
from typing import BinaryIO

from mvs.backends.directory import Directory
from mvs.errors import CorruptObject, MissingObject
from mvs.format.ids import ObjectId
from mvs.format.layout import object_path


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
        self._added: list[tuple[str, str, int]] = []
        self._folders: set[str] = set()

    def adopt(self, path: str, id: ObjectId, size: int) -> None:
        """Let the durable file at `path` be the object `id`, unless the store has it.

        An object of another size under that id is damaged, and is replaced.
        """
        key = object_path(id)
        mode = os.stat(path).st_mode
        os.chmod(path, 0o444)
        new = self._disk.adopt(path, key)
        if not new and self._disk.size(key) != size:
            self._disk.remove(key)
            new = self._disk.adopt(path, key)
        if new:
            self._added.append((path, key, mode))
        self._folders.add(os.path.dirname(key))

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

    def put(self, data: bytes) -> ObjectId:
        """Let `data` be an object and return its id."""
        id = ObjectId.of(data)
        temp = self._disk.temp(data)
        try:
            self.adopt(temp, id, len(data))
        finally:
            if os.path.lexists(temp):
                os.unlink(temp)
        return id

    def sync(self) -> None:
        """Make the names of all added objects durable."""
        self._disk.sync(sorted(self._folders))

    def undo(self) -> None:
        """Take the added objects out again; no ref may name them yet."""
        for path, key, mode in reversed(self._added):
            self._disk.disown(path, key)
            if os.path.lexists(path):
                os.chmod(path, mode & 0o777)
        self._added.clear()


def missing(id: ObjectId) -> MissingObject:
    """Return the error that says an object is not there."""
    return MissingObject(f"object {id} is not in the store")
