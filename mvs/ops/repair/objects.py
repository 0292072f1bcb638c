"""Mending objects: what can be had from anywhere gets a good file of its own, what cannot goes into quarantine.

Packs are written again without what is damaged in them, and without what stands on something that is lost.
Nothing is taken away before what replaces it is durable, so it may be cut off anywhere, and begun again.
"""

import os
from collections import defaultdict
from collections.abc import Iterable, Iterator

from mvs.backends.directory import Directory
from mvs.errors import UnsupportedFormat
from mvs.format.ids import ObjectId
from mvs.format.layout import object_path, pack_path
from mvs.format.manifest import Manifest
from mvs.format.pack import CONCAT, Record, Span
from mvs.ops.fsck.suspects import FAILURES, reason
from mvs.ops.repair.report import Mended
from mvs.ops.repair.sources import Candidate, Sources, file_id
from mvs.running.progress import Progress
from mvs.store.packs.checking import Unkept
from mvs.store.packs.files import Pack
from mvs.store.packs.reading import Packed
from mvs.store.packs.writing import PackWriter
from mvs.store.staging import Buffer, Session
from mvs.store.store import Store


class Mending:
    """One go at the objects and packs of a store, for whoever holds `packing`."""

    def __init__(
        self, store: Store, disk: Directory, packs: Unkept, sources: Sources, session: Session, progress: Progress
    ) -> None:
        self._store = store
        self._disk = disk
        self._packs = packs
        self._sources = sources
        self._session = session
        self._progress = progress
        self._bad: set[tuple[ObjectId, ObjectId]] = set()
        self._lost: set[ObjectId] = set()
        self._known: dict[ObjectId, bool] = {}
        # Of packs that are to be written again, the objects that are left out.
        self._leave: dict[ObjectId, set[ObjectId]] = defaultdict(set)
        self.mended: list[Mended] = []
        self.quarantined: list[str] = []
        self.touched: set[ObjectId] = set()

    def run(self, ids: Iterable[ObjectId], packs: Iterable[ObjectId]) -> None:
        """Mend these objects, and packs, as far as that can be done; of the others nothing is left in the way."""
        suspected = set(ids)
        wanted = {id for id in suspected if not self._is_loose(id)}
        self._sources.want(wanted)
        self._mend(wanted)
        for id in suspected:
            self._bad |= {(name, id) for name, pack, record in list(self._packs.every(id)) if self._fails(pack, record)}
        for name, id in self._bad:
            self._leave[name].add(id)
        unreadable = []
        for name in packs:
            error = self._packs.unreadable.get(name)
            if error is None:
                self._leave[name] |= set()
            elif not isinstance(error, UnsupportedFormat) or file_id(self._disk.path(pack_path(name))) != name:
                unreadable.append(name)
            else:
                self._progress.notice(f"left alone: {reason(error)}")
        if self._lost:
            for _, index in self._packs.indexes():
                for id in index.records:
                    self._stands(id)
        self._write_packs()
        with self._store.exclusive():
            for id in sorted(self._lost):
                # Before it goes: without a file or a mark, a deleted version is one that gc took.
                self._store.quarantine.mark(id)
            for key in [*map(pack_path, unreadable), *map(object_path, sorted(self._lost))]:
                self._quarantine(key)
        self._packs.forget()
        self._store.objects.packs.forget()

    def _mend(self, wanted: set[ObjectId]) -> None:
        """Have every object that can be had; one may stand on another, which is then had before it."""
        left = set(wanted)
        while left:
            had = {id for id in sorted(left) if self._obtain(id)}
            left -= had
            if not had:
                break
        self._lost = left
        self.touched |= wanted

    def _obtain(self, id: ObjectId) -> bool:
        """Give an object a good file of its own, from wherever it can be had."""
        for candidate in self._sources.candidates(id):
            try:
                found, path = self._session.write(_read(candidate))
            except _NoSource:
                continue
            if found != id:
                self._session.drop(path)
                continue
            with self._store.exclusive(), self._store.adding() as adding:
                key = object_path(id)
                if self._disk.size(key) is None or not self._store.traits.links:
                    # A folder stands there, or it cannot be replaced in one step.
                    self._quarantine(key)
                adding.adopt(path, id)
                adding.sync()
            self._session.drop(path)
            self.mended.append(Mended(str(id), f"made again from {candidate.how}"))
            return True
        return False

    def _is_loose(self, id: ObjectId) -> bool:
        return file_id(self._disk.path(object_path(id))) == id

    def _fails(self, pack: Pack, record: Record) -> bool:
        """Tell whether a record does not give its bytes, although what can be had of what it refers to is there."""
        packed = Packed(self._disk, self._packs)
        try:
            if record.encoding != CONCAT:
                packed.plain(pack, record)
            else:
                for _ in packed.run(Span(record.id, 0, record.size)):
                    pass
        except FAILURES:
            return True
        return False

    def _stands(self, id: ObjectId) -> bool:
        """Tell whether an object can be had; records that refer to one that cannot are left out of their packs."""
        if id in self._known:
            return self._known[id]
        # Until it is known: what refers to itself cannot be had.
        self._known[id] = False
        stands = id not in self._lost and self._disk.size(object_path(id)) is not None
        for name, _, record in list(self._packs.every(id)):
            if (name, id) in self._bad:
                continue
            if all(self._stands(ref.id) for ref in record.refs):
                stands = True
            else:
                self._leave[name].add(id)
                # It may need only runs that are whole.
                stands = stands or self._obtain(id)
        self._known[id] = stands
        if not stands:
            self._lost.add(id)
        return stands

    def _write_packs(self) -> None:
        """Write packs again without what is left out of them, and take the old ones out of the store."""
        writers: dict[ObjectId, PackWriter] = {}
        try:
            for name, ids in self._leave.items():
                if kept := self._packs.pack(name).index.records.keys() - ids:
                    path = os.path.join(self._session.path, os.urandom(8).hex())
                    writers[name] = self._store.rewritten({name: kept}, path)
            names = {old: writer.finish() for old, writer in writers.items()}
            with self._store.exclusive():
                publisher = self._store.publisher()
                for old, writer in writers.items():
                    publisher.publish(writer, names[old])
                for old, ids in self._leave.items():
                    if names.get(old) == old:
                        continue
                    if ids & self._lost:
                        self._quarantine(pack_path(old))
                    else:
                        self._store.trash.take_pack(old)
                    self.mended.append(Mended(pack_path(old), "written again without what is damaged in it"))
        finally:
            for writer in writers.values():
                writer.discard()

    def _quarantine(self, key: str) -> None:
        if moved := self._store.quarantine.move(key):
            self.quarantined.append(moved)


class _NoSource(Exception):
    """What was thought to have the bytes of an object cannot be read; what cannot be written is another matter."""


def _read(candidate: Candidate) -> Iterator[Buffer]:
    try:
        yield from candidate.blocks()
    except FAILURES as error:
        raise _NoSource from error


def drop_derived(store: Store, touched: set[ObjectId]) -> None:
    """Drop what was derived from the damaged bytes of some objects; links to their old files above all."""
    for id in list(store.views.ids()):
        try:
            blobs = {entry.blob for entry in Manifest.decode(store.objects.read(id)).tree.files}
        except FAILURES:
            blobs = set(touched)
        if blobs & touched:
            store.views.drop(id)
    for id in touched:
        store.sketches.forget(id)
        store.tensors.forget(id)
