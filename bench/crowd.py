"""Stores with many versions, written file by file: saving them would take hours."""

import os
import random
from pathlib import Path

import mvs
from bench.place import command, remove
from mvs.format.ids import ObjectId
from mvs.format.layout import EVENTS, JOURNAL, TAGS, object_path
from mvs.format.lines.journal import MAGIC as JOURNAL_MAGIC
from mvs.format.lines.journal import Event
from mvs.format.lines.refs import Ref
from mvs.format.manifest import FileEntry, Manifest, Tree
from mvs.format.names import Tag
from mvs.format.pack import Span
from mvs.store.packs.writing import PackWriter
from mvs.store.store import Store

# Objects of a version: its manifest, files of its own, and one file in a pack, made of so many chunks.
_LOOSE = 5
_CHUNKS = 3
OBJECTS = 1 + _LOOSE + 1 + _CHUNKS
_OF_A_NAME = 100
_IN_A_PACK = 200
_BEGAN = 1_700_000_000 * 10**9
_SECOND = 10**9


def crowd(folder: Path, versions: int, *, deleted: int, seed: int = 1) -> None:
    """Make a repository with so many versions, and others that were deleted long ago; each has `OBJECTS` objects."""
    remove(folder)
    mvs.init(folder)
    command(folder, "config", "set", "store.durable", "false")
    crowd = _Crowd(Store(folder / ".mvs", durable=False), seed)
    crowd.add("kept", versions, delete=False)
    crowd.add("gone", deleted, delete=True)


class _Crowd:
    def __init__(self, store: Store, seed: int) -> None:
        self._store = store
        self._root = store.root
        self._bytes = random.Random(seed)
        for number in range(256):
            os.makedirs(self._root / f"objects/{number:02x}", exist_ok=True)
        os.makedirs(self._root / "staging", exist_ok=True)

    def add(self, kind: str, versions: int, *, delete: bool) -> None:
        for first in range(0, versions, _IN_A_PACK):
            self._pack(kind, range(first, min(versions, first + _IN_A_PACK)), delete=delete)

    def _pack(self, kind: str, numbers: range, *, delete: bool) -> None:
        writer = self._store.pack_writer(str(self._root / "staging" / "pack"))
        for number in numbers:
            self._version(writer, f"{kind}/{number // _OF_A_NAME:05}", number, delete=delete)
        name = writer.finish()
        with self._store.exclusive():
            self._store.publisher().publish(writer, name)
        writer.discard()

    def _version(self, writer: PackWriter, name: str, number: int, *, delete: bool) -> None:
        entries = [FileEntry(f"{count}.bin", 16, self._object(self._bytes.randbytes(16))) for count in range(_LOOSE)]
        chunks = [self._bytes.randbytes(16) for _ in range(_CHUNKS)]
        for chunk in chunks:
            writer.add(ObjectId.of(chunk), len(chunk), "raw", chunk)
        whole = b"".join(chunks)
        writer.add(
            ObjectId.of(whole),
            len(whole),
            "concat",
            b"",
            tuple(Span(ObjectId.of(chunk), 0, len(chunk)) for chunk in chunks),
        )
        entries.append(FileEntry("model.bin", len(whole), ObjectId.of(whole)))
        tag = Tag(name, f"v{number}")
        created = _BEGAN + number * _SECOND
        tree = Tree.of(entries, [])
        context = {"mvs": "0", "python": "3.12.4", "platform": "linux", "git": {"commit": "0" * 40, "dirty": False}}
        labels, metadata = {"stage": "candidate"}, {"accuracy": number / 1e6}
        manifest = Manifest(tag, created, tree, tree.id, labels, metadata, context, (), "")
        id = self._object(manifest.encode())
        by = "bench@here"
        events = [Event("save", tag.version, None, id, manifest.tree_id, created, created, by)]
        if delete:
            events.append(Event("delete", tag.version, id, None, manifest.tree_id, created, created + 1, by))
        else:
            self._write(f"{TAGS}/{name}/@{tag.version}", Ref(tag, id, created).encode())
        self._append(f"{JOURNAL}/{name}/{EVENTS}", b"".join(event.encode() for event in events))

    def _object(self, data: bytes) -> ObjectId:
        id = ObjectId.of(data)
        fd = os.open(self._root / object_path(id), os.O_WRONLY | os.O_CREAT, 0o444)
        os.write(fd, data)
        os.close(fd)
        return id

    def _write(self, key: str, data: bytes) -> None:
        path = self._root / key
        os.makedirs(path.parent, exist_ok=True)
        path.write_bytes(data)

    def _append(self, key: str, data: bytes) -> None:
        path = self._root / key
        os.makedirs(path.parent, exist_ok=True)
        with open(path, "ab") as file:
            if not file.tell():
                file.write(JOURNAL_MAGIC)
            file.write(data)
