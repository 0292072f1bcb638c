"""Objects: ids to plain bytes, each in a file of its own or in a pack."""

import contextlib
import io
import os
from collections.abc import Callable, Iterator
from functools import partial
from io import FileIO
from typing import TYPE_CHECKING, BinaryIO

from blake3 import blake3

from mvs.backends.directory import Directory
from mvs.backends.failures import storage
from mvs.errors import CorruptObject, MissingObject, MvsError, StorageFailed
from mvs.format.ids import ObjectId
from mvs.format.layout import OBJECTS, PACKS, lost_path, object_path

if TYPE_CHECKING:
    from mvs.store.packs.files import Packs
    from mvs.store.packs.reading import Packed

_BLOCK = 1 << 20
# Records are decoded whole: small reads of a file in packs would decode the same one again and again.
_READ_AHEAD = 1 << 20


class Objects:
    """The objects of a store, loose or in packs."""

    def __init__(self, disk: Directory, packs: "Packs | None" = None) -> None:
        self._disk = disk
        self._packs = packs
        self._packed: Packed | None = None

    @property
    def packs(self) -> "Packs":
        """The packs of the store."""
        if self._packs is None:
            from mvs.store.packs.files import Packs  # noqa: PLC0415 - numpy, which most commands never need

            self._packs = Packs(self._disk)
        return self._packs

    @property
    def packed(self) -> "Packed":
        """What lies in packs, decoded."""
        if self._packed is None:
            from mvs.store.packs.reading import Packed  # noqa: PLC0415 - as `packs`

            self._packed = Packed(self._disk, self.packs)
        return self._packed

    def has(self, id: ObjectId, size: int) -> bool:
        """Tell whether the object is there with this size in bytes; its content is not read."""
        found = self._disk.size(object_path(id))
        return found == size if found is not None else self._packed_size(id) == size

    def is_loose(self, id: ObjectId) -> bool:
        """Tell whether the object has a file of its own."""
        return self._disk.size(object_path(id)) is not None

    def is_here(self, id: ObjectId) -> bool:
        """Tell whether the object is there, loose or in a pack as far as packs are known; nothing of it is read."""
        return self.is_loose(id) or self._packed_size(id) is not None

    def is_lost(self, id: ObjectId) -> bool:
        """Tell whether an object has no file of its own because of damage: a repair says so, or it is no file."""
        if self.is_loose(id):
            return False
        return os.path.lexists(self._disk.path(object_path(id))) or self._disk.size(lost_path(id)) is not None

    def size(self, id: ObjectId) -> int:
        """Return the bytes of an object.

        Raises:
            MissingObject: it is not in the store.
        """
        found = self._disk.size(object_path(id))
        if found is None:
            found = self._packed_size(id, again=True)
        if found is None:
            raise missing(id)
        return found

    def is_file(self, id: ObjectId, path: str) -> bool:
        """Tell whether a file is the very one that holds the object: writing to it would change both."""
        try:
            return os.path.samefile(self._disk.path(object_path(id)), path)
        except OSError:
            return False

    def loose(self) -> Iterator[tuple[ObjectId, int]]:
        """Yield id and size of every object that has a file of its own, in no order; other files are passed over."""
        for folder in self._disk.entries(OBJECTS):
            for entry in self._disk.entries(f"{OBJECTS}/{folder.name}"):
                with contextlib.suppress(ValueError, FileNotFoundError):
                    if len(folder.name) == 2 and entry.is_file(follow_symlinks=False):
                        yield ObjectId.from_hex(folder.name + entry.name), entry.stat(follow_symlinks=False).st_size

    def path(self, id: ObjectId) -> str:
        """Return where the object's plain bytes lie.

        Raises:
            MissingObject: it has no file of its own.
        """
        path = self._disk.path(object_path(id))
        if not os.path.exists(path):
            raise missing(id)
        return path

    def open(self, id: ObjectId) -> BinaryIO:
        """Open the plain bytes of an object; of a loose one they are not verified.

        Raises:
            MissingObject: it is not in the store.
        """
        try:
            return open(self._disk.path(object_path(id)), "rb")
        except FileNotFoundError:
            size = self._packed_size(id, again=True)
            if size is None:
                return io.BufferedReader(self._open_again(id))
            from mvs.store.packs.reading import PackedFile  # noqa: PLC0415 - as `packs`

            return io.BufferedReader(PackedFile(self.packed, id, size), _READ_AHEAD)

    def open_loose(self, id: ObjectId) -> FileIO | None:
        """Open the file of an object that has one of its own, unbuffered, else return None: a dedup may be at work."""
        try:
            return open(self._disk.path(object_path(id)), "rb", buffering=0)
        except FileNotFoundError:
            return None

    def read(self, id: ObjectId) -> bytes:
        """Return the verified bytes of an object.

        Raises:
            MissingObject: it is not in the store.
            CorruptObject: its bytes have another id.
        """
        try:
            data = self._disk.read(object_path(id))
        except FileNotFoundError:
            data = b"".join(self.blocks(id))
        except IsADirectoryError:
            raise CorruptObject(f"object {id} is a folder") from None
        if blake3(data).digest() != id.raw:
            raise CorruptObject(f"object {id} does not hold the bytes it is named after")
        return data

    def read_through(self, id: ObjectId) -> None:
        """Read an object in blocks, to see that it is whole.

        Raises:
            MissingObject: it is not in the store.
            CorruptObject: its bytes have another id.
        """
        for _ in self.verified(id):
            pass

    def verified(self, id: ObjectId) -> "Iterator[bytes | memoryview]":
        """Yield the plain bytes of an object in blocks; after the last one they are verified.

        Raises:
            MissingObject: it is not in the store.
            CorruptObject: what was yielded has another id.
        """
        hasher = blake3()
        for block in self.blocks(id):
            hasher.update(block)
            yield block
        if hasher.digest() != id.raw:
            raise CorruptObject(f"object {id} does not hold the bytes it is named after")

    def blocks(self, id: ObjectId) -> "Iterator[bytes | memoryview]":
        """Yield the plain bytes of an object in blocks. They are not verified: the caller hashes the whole.

        Raises:
            MissingObject: it is not in the store.
            Corrupt: it cannot be decoded.
        """
        file = self.open_loose(id)
        if file is None:
            if (size := self._packed_size(id, again=True)) is not None:
                yield from self.packed.blocks(id, size)
                return
            file = self._open_again(id)
        with file:
            while block := file.read(_BLOCK):
                yield block

    def _open_again(self, id: ObjectId) -> FileIO:
        try:
            return open(self._disk.path(object_path(id)), "rb", buffering=0)
        except FileNotFoundError:
            raise self._missing(id) from None

    def _missing(self, id: ObjectId) -> MvsError:
        if self._disk.size(lost_path(id)) is not None:
            return MissingObject(
                f"object {id} was damaged and could not be mended", hint="mvs fsck --repair --from FOLDER"
            )
        return missing(id) if self._packs is None else self._packs.missing(id)

    def _packed_size(self, id: ObjectId, *, again: bool = False) -> int | None:
        if self._packs is None and not os.path.isdir(self._disk.path(PACKS)):
            return None
        size = self.packed.size(id)
        if size is None and again:
            # A dedup may have moved it a moment ago.
            self.packs.forget()
            size = self.packed.size(id)
        return size


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
            try:
                fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                # In a pack, then, which has its name only when that is durable.
                return
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
            while block := file.read(_BLOCK):
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
