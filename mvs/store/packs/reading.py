"""Plain bytes of objects that lie in packs."""

import io
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterator
from itertools import accumulate
from threading import Lock
from typing import NamedTuple

from blake3 import blake3

from mvs.backends.directory import Directory
from mvs.backends.failures import storage
from mvs.codecs import blocks, ways
from mvs.errors import CorruptObject, CorruptPack
from mvs.format.ids import ObjectId
from mvs.format.layout import object_path
from mvs.format.pack import CONCAT, MAX_RECORD, Record, Span
from mvs.running.parallel import ordered
from mvs.store.packs.files import Pack, Packs

Buffer = bytes | memoryview

# Records decoded last, by size: neighbours are read after one another, and share bases.
_KEPT_BYTES = 64 << 20
# Refs lead from record to record; a chain this long is damage, or a circle.
_LONGEST_CHAIN = 64
# What may be decoded for one record, in bytes: each of a short chain may need two others, again and again.
_MOST_WORK = 16 << 30


class Piece(NamedTuple):
    """A run of an object and the record it comes from: `offset` is where in the record it begins."""

    record: Record
    pack: Pack
    offset: int
    length: int


class Packed:
    """Objects in packs, decoded as they are asked for. Safe to share between threads."""

    def __init__(self, disk: Directory, packs: Packs) -> None:
        self._disk = disk
        self._packs = packs
        self._kept: OrderedDict[ObjectId, Buffer] = OrderedDict()
        self._kept_bytes = 0
        self._lock = Lock()
        self._last: tuple[Record, list[int]] | None = None

    def size(self, id: ObjectId) -> int | None:
        """Return the size of an object, None when no pack has it."""
        found = self._packs.find(id)
        return found[1].size if found else None

    def takes(self, pack: Pack, record: Record) -> bool:
        """Tell whether this is the record that an object is read from."""
        found = self._packs.find(record.id)
        return found is not None and found[0] is pack

    def pieces(self, span: Span) -> Iterator[Piece | Span]:
        """Yield the runs of records that a run of an object consists of; a `Span` lies in a loose object.

        Raises:
            MissingObject: nothing has it.
        """
        return self._pieces(span, 0)

    def read(self, span: Span) -> bytes:
        """Return a run of an object, each record that it comes from verified.

        Raises:
            Corrupt: that cannot be done.
        """
        return bytes(self.view(span))

    def plain(self, pack: Pack, record: Record) -> Buffer:
        """Return the plain bytes of one record, verified, be it the one that readers take or not.

        Raises:
            Corrupt: that cannot be done.
        """
        return self._whole(record, pack, 0, verify=True, work=None)

    def view(self, span: Span) -> Buffer:
        """Return what `read` does, not copied where a record is in memory."""
        return self._read(span, 0, verify=True)

    def beginning(self, span: Span) -> Buffer:
        """Return the beginning of a run of an object: as much as lies in one record, verified."""
        return self._piece(next(self._pieces(span, 0)), 0, verify=True)

    def blocks(self, id: ObjectId, size: int) -> Iterator[Buffer]:
        """Yield the bytes of an object in order, decoded on all cores; the caller verifies the whole.

        Raises:
            Corrupt: they cannot be decoded.
        """
        # What is much is worth loading the compiled loops for at once.
        ways.note(size // 2)
        yield from ordered(lambda piece: self._piece(piece, 0, verify=False), self._pieces(Span(id, 0, size), 0))

    def run(self, span: Span) -> Iterator[Buffer]:
        """Yield a run of an object in order, decoded on all cores, each record that it comes from verified.

        Raises:
            Corrupt: it cannot be decoded.
        """
        yield from ordered(lambda piece: self._piece(piece, 0, verify=True), self._pieces(span, 0))

    def _pieces(self, span: Span, chain: int) -> Iterator[Piece | Span]:
        # What a record refers to is best read from its own file: that leans on nothing, whatever packs may say.
        found = self._packs.find(span.id) if chain == 0 else None
        if found is None:
            size = self._disk.size(object_path(span.id))
            if size is not None:
                if span.offset + span.length > size:
                    raise CorruptObject(f"object {span.id} is shorter than what is referred to")
                for at in range(0, span.length, MAX_RECORD):
                    yield Span(span.id, span.offset + at, min(MAX_RECORD, span.length - at))
                return
            found = self._packs.find(span.id) or self._packs.look_again(span.id)
            if found is None:
                raise self._packs.missing(span.id)
        pack, record = found
        if span.offset + span.length > record.size or chain > _LONGEST_CHAIN:
            raise CorruptObject(f"object {span.id} is referred to beyond its end, or by itself")
        if record.encoding != CONCAT:
            yield Piece(record, pack, span.offset, span.length)
            return
        start, stop = span.offset, span.offset + span.length
        ends = self._ends(record)
        for number in range(bisect_right(ends, start), len(ends)):
            part, at = record.refs[number], ends[number] - record.refs[number].length
            first, last = max(start, at), min(stop, ends[number])
            if first >= stop:
                break
            if first < last:
                yield from self._pieces(Span(part.id, part.offset + first - at, last - first), chain + 1)

    def _ends(self, record: Record) -> list[int]:
        """Return where the parts of a record end; kept for the last one, as its neighbours are asked for next."""
        kept = self._last
        if kept is None or kept[0] is not record:
            kept = self._last = (record, list(accumulate(part.length for part in record.refs)))
        return kept[1]

    def _read(self, span: Span, chain: int, *, verify: bool, work: list[int] | None = None) -> Buffer:
        parts = [self._piece(piece, chain, verify=verify, work=work) for piece in self._pieces(span, chain)]
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _piece(self, piece: Piece | Span, chain: int, *, verify: bool, work: list[int] | None = None) -> Buffer:
        if isinstance(piece, Span):
            path = self._disk.path(object_path(piece.id))
            try:
                with storage(path), open(path, "rb", buffering=0) as file:
                    file.seek(piece.offset)
                    data: Buffer = file.read(piece.length)
            except FileNotFoundError:
                # A dedup has moved it since.
                self._packs.forget()
                return self._read(piece, chain + 1, verify=verify, work=work)
            if len(data) != piece.length:
                raise CorruptObject(f"object {piece.id} is shorter than what is referred to")
            return data
        whole = self._whole(piece.record, piece.pack, chain, verify=verify, work=work)
        if piece.length == len(whole):
            return whole
        return memoryview(whole)[piece.offset : piece.offset + piece.length]

    def _whole(self, record: Record, pack: Pack, chain: int, *, verify: bool, work: list[int] | None) -> Buffer:
        """Return the plain bytes of a record; `work` is what has been decoded so far for the one asked for."""
        with self._lock:
            if (kept := self._kept.get(record.id)) is not None:
                self._kept.move_to_end(record.id)
                return kept
        work = work or [0]
        work[0] += record.size
        if work[0] > _MOST_WORK:
            raise CorruptObject(f"object {record.id} is needed too often to decode what stands on it")
        stored = pack.stored(record)
        refs = [self._read(ref, chain + 1, verify=False, work=work) for ref in record.refs]
        try:
            plain = blocks.decode(record.encoding, stored, record.size, refs)
        except ValueError as error:
            raise CorruptPack(f"object {record.id} cannot be decoded: {error}") from error
        if not verify:
            return plain
        if blake3(plain).digest() != record.id.raw:
            raise CorruptObject(f"object {record.id} does not decode to the bytes it is named after")
        with self._lock:
            if record.id not in self._kept:
                self._kept[record.id] = plain
                self._kept_bytes += len(plain)
            while self._kept_bytes > _KEPT_BYTES:
                self._kept_bytes -= len(self._kept.popitem(last=False)[1])
        return plain


class PackedFile(io.RawIOBase):
    """An object in packs as a file to read, at any offset; what is read is verified."""

    def __init__(self, packed: Packed, id: ObjectId, size: int) -> None:
        self._packed = packed
        self._id = id
        self._size = size
        self._at = 0

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def tell(self) -> int:
        """Return the offset of the next byte."""
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move to an offset, as files do."""
        if whence not in (io.SEEK_SET, io.SEEK_CUR, io.SEEK_END):
            raise ValueError(f"invalid whence {whence}")
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        if start + offset < 0:
            raise ValueError(f"negative seek position {start + offset}")
        self._at = start + offset
        return self._at

    def readinto(self, buffer: "memoryview | bytearray") -> int:  # type: ignore[override]
        """Fill a buffer from the current offset; return how many bytes there were."""
        view = memoryview(buffer).cast("B")
        count = max(0, min(len(view), self._size - self._at))
        if count:
            # No more than one record: the next one may not be wanted, and may be far away.
            found = self._packed.beginning(Span(self._id, self._at, count))
            count = len(found)
            view[:count] = found
        self._at += count
        return count

    def readall(self) -> bytes:
        """Return all bytes from the current offset on."""
        count = max(0, self._size - self._at)
        data = self._packed.read(Span(self._id, self._at, count)) if count else b""
        self._at += count
        return data
