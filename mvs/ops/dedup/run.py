"""Packing what a plan says: cut, encode, check, publish, and only then take the loose files away."""

import contextlib
import os
from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from blake3 import blake3

from mvs.codecs import ways
from mvs.codecs.blocks import PLANES, Encoded, Trial
from mvs.errors import UNREADABLE, Corrupt, CorruptObject
from mvs.format.ids import ObjectId
from mvs.format.manifest import Manifest
from mvs.format.pack import CONCAT, Record, Span
from mvs.ops.dedup.bases import Match
from mvs.ops.dedup.pieces import BLOCK, SAME, Piece, Whole, cut_blob, encode_piece
from mvs.ops.dedup.plan import Item, Plan
from mvs.running.parallel import cores
from mvs.running.progress import Progress
from mvs.store.cache.sketches import FileSource
from mvs.store.packs.writing import PackWriter
from mvs.store.store import Store

# A pack is finished when it is so large, or when what went into it was: an interrupted dedup
# has lost at most that much work.
_PACK_BYTES = 256 << 20
_PLAIN_BYTES = 1 << 30
# What a unit of work needs at its peak, in blocks: its data, its bases, and room to work on them.
_UNIT_BLOCKS = 12


class Unit(NamedTuple):
    """One piece to be encoded, wherever that is done: it can be pickled and needs no lock.

    `given` is the last of its refs, where that is not in the store yet.
    """

    store: str
    piece: Piece
    data: bytes
    given: bytes = b""


@dataclass(slots=True)
class Result:
    """What a dedup did, in bytes: plain bytes packed, what they take, and what came back by removing loose files.

    `encodings` has, for each encoding, the plain bytes and the stored bytes of its records.
    """

    packed: int = 0
    stored: int = 0
    freed: int = 0
    blobs: int = 0
    skipped: list[str] = field(default_factory=list)
    encodings: dict[str, list[int]] = field(default_factory=dict)


def work(unit: Unit) -> Encoded:
    """Encode one unit, its bases read from the store. Pure: the same unit, the same result."""
    packed = _opened(unit.store).objects.packed
    stored = unit.piece.refs[:-1] if unit.given else unit.piece.refs
    refs = [packed.view(ref) for ref in stored]
    return encode_piece(unit.piece, unit.data, [*refs, unit.given] if unit.given else refs)


def run(
    store: Store,
    plan: Plan,
    *,
    progress: Progress,
    jobs: int | None = None,
    memory: int = 1 << 30,
    executor: Executor | None = None,
    keep_loose: bool = False,
) -> Result:
    """Pack what the plan says and return what was done. Whatever interrupts it, finished packs stay.

    With `keep_loose` the files of their own stay as well.

    Raises:
        StoreBusy: another process makes packs.
        StorageFailed: the disk is full, read-only or failing.
    """
    jobs = jobs or cores()
    window = max(1, min(jobs + 2, memory // (_UNIT_BLOCKS * BLOCK)))
    pool = executor or ThreadPoolExecutor(min(jobs, window), thread_name_prefix="mvs")
    with store.packing(), store.session() as session:
        # What is much is worth loading the compiled loops for at once.
        ways.note(plan.size // 2)
        packing = _Packing(store, session.path, pool, window, progress, keep_loose=keep_loose)
        progress.start("packing", plan.size)
        try:
            for item in plan.items:
                packing.add(item)
            packing.publish()
            return packing.result
        except KeyboardInterrupt:
            # What is encoded need not be encoded again.
            if packing.is_sound:
                packing.publish()
            raise
        finally:
            progress.finish()
            packing.close()
            if executor is None:
                pool.shutdown(cancel_futures=True)


class _Packing:
    """A dedup under way: one pack is being written, and blobs wait for it to be published."""

    def __init__(
        self, store: Store, folder: str, executor: Executor, window: int, progress: Progress, *, keep_loose: bool
    ) -> None:
        self.result = Result()
        self._keep_loose = keep_loose
        self._store = store
        self._folder = folder
        self._executor = executor
        self._window = window
        self._progress = progress
        self._writer: PackWriter | None = None
        self._plain = 0
        self._done = 0
        self._ready: list[Item] = []
        # What the pack being written refers to, and whether blobs that were read have their ids.
        self._relied: set[ObjectId] = set()
        self._hashed: dict[ObjectId, bool] = {}

    @property
    def is_sound(self) -> bool:
        """Whether what was written so far can be published: no interrupt came in the middle of a write."""
        return self._writer is None or self._writer.is_sound

    def add(self, item: Item) -> None:
        """Pack one blob; one that is damaged or gone is left as it is, with a notice."""
        try:
            self._pack(item)
        except (Corrupt, FileNotFoundError) as error:
            message = f"'{item.path}' of '{item.tag}' stays as it is: {error}"
            self.result.skipped.append(message)
            self._progress.notice(message)
        if self._plain > _PLAIN_BYTES:
            self.publish()

    def publish(self) -> None:
        """Give the pack its name, and take the loose files of its blobs away."""
        writer, ready = self._writer, self._ready
        self._writer, self._ready, self._plain = None, [], 0
        if writer is None and not ready:
            return
        try:
            name = writer.finish() if writer and writer.records else None
            if not self._keep_loose:
                self._drop_views({item.blob for item in ready})
            with self._store.exclusive():
                publisher = self._store.publisher()
                if writer and name:
                    publisher.publish(writer, name)
                    self.result.stored += writer.size
                for item in ready:
                    if not self._keep_loose:
                        self.result.freed += publisher.unloose(item.blob)
                    self.result.packed += item.size
                    self.result.blobs += 1
            # Outside the lock: to unlink a file of gigabytes takes the better part of a second.
            self._store.trash.empty()
        finally:
            if writer:
                writer.discard()

    def close(self) -> None:
        """Give up the pack that was begun and not published."""
        if self._writer:
            self._writer.discard()

    def _drop_views(self, packed: set[ObjectId]) -> None:
        """Remove the views of what was packed, before its loose files: their links would keep the bytes."""
        for id in self._store.views.ids():
            with contextlib.suppress(*UNREADABLE):
                manifest = Manifest.decode(self._store.objects.read(id))
                if any(entry.blob in packed for entry in manifest.tree.files):
                    # A view of another user's stays: its links keep the bytes until he removes it.
                    with contextlib.suppress(OSError):
                        self._store.views.drop(id)

    def _pack(self, item: Item) -> None:
        if self._store.objects.packs.find(item.blob) is not None:
            # An earlier run was cut off between the pack and the removal, or it was undone.
            self._check_packed(item)
            self._ready.append(item)
            return
        # What others stand on stands on nothing: so no circle can come about (docs/format.md).
        alone = self._is_needed(item.blob)
        if alone:
            # A pack has one record of an object, and those that this blob has by now may have refs.
            self.publish()
        with self._store.objects.open(item.blob) as file:
            source = FileSource(file, item.size)
            sketch = self._store.sketches.of(item.blob, item.size)
            blob = _Blob(source, item.depth, alone)
            self._first_pass(blob, cut_blob(source, sketch, {} if alone else self._sound(item.matches)))
            if blob.hasher.digest() != item.blob.raw:
                raise CorruptObject(f"object {item.blob} does not hold the bytes it is named after")
            self._second_pass(blob)
        self._hashed[item.blob] = True
        parts = tuple(part for offset in sorted(blob.parts) for part in blob.parts[offset])
        if [part.id for part in parts] != [item.blob]:
            self._record(item.blob, item.size, Encoded(CONCAT, b""), parts)
        self._plain += item.size
        self._ready.append(item)

    def _check_packed(self, item: Item) -> None:
        """Read a blob from its packs: nobody has, since they were written, and its loose file is to go."""
        hasher = blake3()
        for block in self._store.objects.packed.blocks(item.blob, item.size):
            hasher.update(block)
            self._progress.advance(len(block))
        if hasher.digest() != item.blob.raw:
            raise CorruptObject(f"object {item.blob} does not hold the bytes it is named after")

    def _sound(self, matches: Mapping[int, Match]) -> Mapping[int, Match]:
        """Return the matches whose bases are not damaged: a difference from damage is of use until that is mended."""
        return {
            number: match for number, match in matches.items() if all(self._is_sound(base.id) for base in match.bases)
        }

    def _is_sound(self, id: ObjectId) -> bool:
        """Tell whether a base may be relied on; records are verified whenever they are read, a loose file is here."""
        if self._store.objects.packs.find(id) is not None:
            return True
        if id not in self._hashed:
            try:
                self._store.objects.read_through(id)
                self._hashed[id] = True
            except Corrupt:
                self._hashed[id] = False
        return self._hashed[id]

    def _first_pass(self, blob: "_Blob", wholes: Iterator[Whole]) -> None:
        """Read and hash the blob in order, and encode all of it but for the pieces that have a guide."""
        for whole in wholes:
            hasher = blake3()
            pending = _Pending(whole)
            for piece in whole.pieces:
                data = blob.source.read(piece.offset, piece.length)
                if len(data) != piece.length:
                    raise CorruptObject("it is shorter than it was saved")
                blob.hasher.update(data)
                id = ObjectId.of(data)
                pending.ids.append(id)
                if len(whole.pieces) > 1:
                    hasher.update(data)
                if piece is whole.pieces[-1]:
                    pending.id = ObjectId(hasher.digest()) if len(whole.pieces) > 1 else id
                if whole.is_guided and not blob.alone:
                    continue
                self._begin(blob, pending, piece, id, data)
            if whole.is_guided and not blob.alone:
                blob.guided.append(pending)
        self._settle(blob, 0)

    def _second_pass(self, blob: "_Blob") -> None:
        """Encode the pieces that have a guide, whose id and record there are by now."""
        for pending in blob.guided:
            for unguided, id in zip(pending.whole.pieces, pending.ids, strict=True):
                piece, given = unguided, b""
                guide = blob.records.get(piece.guide)
                if guide is not None and guide.length == piece.length and self._depth(guide) < blob.depth:
                    given = blob.source.read(piece.guide, piece.length)
                    trial = Trial(PLANES, (len(piece.refs),))
                    piece = piece._replace(refs=(*piece.refs, guide), trials=(*piece.trials, trial))
                data = blob.source.read(piece.offset, piece.length)
                if ObjectId.of(data) != id:
                    raise CorruptObject("it changed while it was packed")
                self._begin(blob, pending, piece, id, data, given)
        self._settle(blob, 0)

    def _begin(
        self, blob: "_Blob", pending: "_Pending", piece: Piece, id: ObjectId, data: bytes, given: bytes = b""
    ) -> None:
        """Have a piece encoded, unless a pack has it; wait when too many are."""
        future = None
        if self._writer is None or not self._may_serve(self._writer.records.get(id), alone=blob.alone):
            found = self._store.objects.packs.find(id)
            if found and self._may_serve(found[1], alone=blob.alone):
                # It is read and compared before anything relies on it.
                piece, given = Piece(piece.offset, piece.length, refs=(Span(id, 0, piece.length),)), b""
            elif self._is_needed(id):
                piece, given = piece._replace(refs=(), trials=(), recipe=b""), b""
            future = self._executor.submit(work, Unit(str(self._store.root), piece, data, given))
        blob.jobs.append(_Job(pending, piece, id, future))
        self._settle(blob, self._window)

    def _settle(self, blob: "_Blob", most: int) -> None:
        """Record what is encoded, in order, until at most so many jobs are under way."""
        while len(blob.jobs) > most:
            pending, piece, id, future = blob.jobs.popleft()
            span = Span(id, 0, piece.length)
            if future is not None:
                encoded = future.result()
                refs = tuple(piece.refs[number] for number in encoded.refs)
                if encoded.encoding == SAME:
                    span = refs[0]
                else:
                    self._record(id, piece.length, encoded, refs)
            if span.id == id:
                blob.records[piece.offset] = span
            pending.spans.append(span)
            self._tell(piece.length)
            if len(pending.spans) == len(pending.whole.pieces):
                blob.parts[pending.whole.offset] = self._joined(pending, alone=blob.alone)
            if self._writer and self._writer.size > _PACK_BYTES:
                self.publish()

    def _tell(self, length: int) -> None:
        self._progress.advance(length)
        self._done += length
        stored = self.result.stored + (self._writer.size if self._writer else 0)
        self._progress.remark(f"({stored / max(1, self._done):.0%} of its size)")

    def _joined(self, pending: "_Pending", *, alone: bool) -> tuple[Span, ...]:
        """Return a whole as parts of its blob: one where a record joins its pieces, or may."""
        spans = tuple(pending.spans)
        if len(spans) == 1 or alone:
            return spans
        record = self._record_of(pending.id)
        if record is None and not self._is_needed(pending.id):
            record = self._record(pending.id, pending.whole.length, Encoded(CONCAT, b""), spans)
        if record is None or record.refs != spans:
            return spans
        return (Span(pending.id, 0, pending.whole.length),)

    def _record(self, id: ObjectId, size: int, encoded: Encoded, refs: tuple[Span, ...]) -> Record:
        if self._writer is None:
            self._writer = self._store.pack_writer(os.path.join(self._folder, os.urandom(8).hex()))
            self._relied.clear()
        if id in self._writer.records:
            return self._writer.records[id]
        depth = max((self._depth(ref) for ref in refs), default=-1)
        if encoded.encoding != CONCAT or not refs:
            depth += 1
        self._relied.update(ref.id for ref in refs)
        figures = self.result.encodings.setdefault(encoded.encoding, [0, 0])
        if encoded.encoding != CONCAT:
            figures[0] += size
        figures[1] += len(encoded.payload)
        return self._writer.add(id, size, encoded.encoding, encoded.payload, refs, depth=depth)

    def _record_of(self, id: ObjectId) -> Record | None:
        """Return the record of an object in the pack that is being written, else in any."""
        record = self._writer.records.get(id) if self._writer else None
        if record is None and (found := self._store.objects.packs.find(id)):
            record = found[1]
        return record

    def _may_serve(self, record: Record | None, *, alone: bool) -> bool:
        return record is not None and (not alone or not record.refs)

    def _is_needed(self, id: ObjectId) -> bool:
        """Tell whether something in a pack, or in the one being written, stands on an object without a record."""
        inside = self._writer is not None and id in self._relied and id not in self._writer.records
        return inside or self._store.objects.packs.is_needed(id)

    def _depth(self, span: Span) -> int:
        """Return how many decodings a run of an object takes, one upon the other, beyond the first."""
        record = self._record_of(span.id)
        if record is None or record.encoding != CONCAT or not record.refs:
            return record.depth if record else 0
        depth = at = 0
        for part in record.refs:
            if at < span.offset + span.length and span.offset < at + part.length:
                first = max(span.offset - at, 0)
                last = min(span.offset + span.length - at, part.length)
                depth = max(depth, self._depth(Span(part.id, part.offset + first, last - first)))
            at += part.length
        return depth


class _Pending:
    """A whole whose pieces are being encoded."""

    def __init__(self, whole: Whole) -> None:
        self.whole = whole
        self.ids: list[ObjectId] = []
        self.spans: list[Span] = []
        self.id = ObjectId(b"")


class _Job(NamedTuple):
    """A piece, its id, and its encoding under way; None where it needs none."""

    pending: _Pending
    piece: Piece
    id: ObjectId
    future: "Future[Encoded] | None"


class _Blob:
    """A blob being packed: `parts` and `records` are by offset, `records` being the pieces that have one."""

    def __init__(self, source: FileSource, depth: int, alone: bool) -> None:
        self.source = source
        self.depth = depth
        self.alone = alone
        self.hasher = blake3()
        self.jobs: deque[_Job] = deque()
        self.guided: list[_Pending] = []
        self.parts: dict[int, tuple[Span, ...]] = {}
        self.records: dict[int, Span] = {}


@lru_cache(maxsize=4)
def _opened(root: str) -> Store:
    """Return the store at `root`, opened once in each process."""
    return Store(Path(root))
