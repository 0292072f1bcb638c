"""Packs on their way into a store: written in a session, published under the lock."""

import contextlib
import os
from typing import Protocol

from blake3 import blake3

from mvs.backends.directory import Directory
from mvs.backends.failures import storage
from mvs.errors import MissingObject
from mvs.format.ids import ObjectId
from mvs.format.layout import FORMAT_FILE, object_path, pack_path, with_packs
from mvs.format.pack import PACK_LINE, Record, Span, check_of, encode_end
from mvs.store.aside.trash import Trash
from mvs.store.objects import Objects


class PackWriter:
    """One pack that is being written, to a file that nobody else knows of."""

    def __init__(self, disk: Directory, path: str) -> None:
        self._disk = disk
        self.path: str = path
        self.records: dict[ObjectId, Record] = {}
        self._hasher = blake3()
        self._offset = 0
        # False while a write is under way: an interrupt there leaves bytes that neither offset nor hash know of.
        self.is_sound = True
        with storage(path):
            self._file = open(path, "xb", buffering=1 << 20)  # noqa: SIM115 - `finish` and `discard` close it
        self._write(PACK_LINE)

    @property
    def size(self) -> int:
        """Bytes written so far."""
        return self._offset

    def add(
        self, id: ObjectId, size: int, encoding: str, stored: bytes, refs: tuple[Span, ...] = (), *, depth: int = 0
    ) -> Record:
        """Append a record, unless the pack has the object; return the one it has then."""
        if id not in self.records:
            record = Record(id, size, encoding, depth, self._offset, len(stored), check_of(stored), refs)
            self._write(stored)
            self.records[id] = record
        return self.records[id]

    def finish(self) -> ObjectId:
        """Write the index, make the file durable, and return the name of the pack."""
        self._write(encode_end(self.records.values(), self._offset))
        with storage(self.path):
            self._file.flush()
            os.fchmod(self._file.fileno(), 0o444)
            self._disk.sync_file(self._file.fileno(), self.path)
            self._file.close()
        return ObjectId(self._hasher.digest())

    def discard(self) -> None:
        """Remove the file."""
        with contextlib.suppress(OSError):
            # It writes what it has not written, perhaps to a disk that is full.
            self._file.close()
        self._disk.discard(self.path)

    def _write(self, data: bytes) -> None:
        self.is_sound = False
        with storage(self.path):
            self._file.write(data)
        self._hasher.update(data)
        self._offset += len(data)
        self.is_sound = True


class Finished(Protocol):
    """A pack outside the store, whole and durable."""

    @property
    def path(self) -> str:
        """Its file."""

    @property
    def records(self) -> dict[ObjectId, Record]:
        """What is in it."""


class Publisher:
    """Gives packs their names, and takes away the loose files of what they hold. Under the lock of the store."""

    def __init__(self, disk: Directory, objects: Objects, trash: Trash) -> None:
        self._disk = disk
        self._objects = objects
        self._trash = trash

    def publish(self, pack: Finished, name: ObjectId) -> None:
        """Let a finished pack be part of the store.

        Raises:
            MissingObject: something that it needs is gone.
        """
        inside = pack.records
        # Many refs are to runs of one blob; it is looked for once, while others wait for the lock.
        for id in {ref.id for record in inside.values() for ref in record.refs} - inside.keys():
            if not self._has(id):
                raise MissingObject(f"object {id} is gone, and a pack was to rely on it", hint="mvs dedup")
        data = self._disk.read(FORMAT_FILE)
        if with_packs(data) != data:
            self._disk.put(FORMAT_FILE, with_packs(data))
        key = pack_path(name)
        self._disk.adopt(pack.path, key)
        self._disk.sync([os.path.dirname(key)])
        self._disk.sync_above(key)
        self._objects.packs.forget()

    def unloose(self, id: ObjectId) -> int:
        """Take out the loose file of an object that a pack has as well; return the bytes that come back."""
        size = self._disk.size(object_path(id))
        if size is None or self._objects.packs.find(id) is None:
            return 0
        self._trash.take_object(id)
        return size

    def _has(self, id: ObjectId) -> bool:
        return self._objects.is_loose(id) or self._objects.packs.find(id) is not None
