"""Packs: many objects in one file, told apart by an index at its end."""

import struct
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from blake3 import blake3

from mvs.errors import CorruptPack, UnsupportedFormat
from mvs.format.canonical import decode, encode
from mvs.format.ids import ObjectId

PACK_LINE = b"mvs-pack 1\n"
PACK_FAMILY = b"mvs-pack "
PACK_END = b"mvs-pack"
CONCAT = "concat"
CHECK = 8
# What one record may expand to, so that a reader knows how much memory it needs.
MAX_RECORD = 64 << 20
# So many bytes of index a reader is ready to hold: a pack of 1 GiB of plain bytes has about 1 MB.
MAX_INDEX = 1 << 30
# What file offsets can hold.
_MAX_NUMBER = 2**63 - 1

_TRAILER = struct.Struct("<QQ32s8s")
TRAILER_SIZE = _TRAILER.size


class Span(NamedTuple):
    """A run of an object's plain bytes."""

    id: ObjectId
    offset: int
    length: int


class Record(NamedTuple):
    """An object as it is stored in a pack; docs/format.md has the meaning of each."""

    id: ObjectId
    size: int
    encoding: str
    depth: int
    offset: int
    length: int
    check: bytes
    refs: tuple[Span, ...]

    @property
    def rank(self) -> tuple[int, bool]:
        """By what one of several records of an object is chosen: the least of it."""
        return self.depth, bool(self.refs)


class Index(NamedTuple):
    """What a pack holds, by id, and what it needs that it does not hold."""

    records: dict[ObjectId, Record]
    outside: tuple[ObjectId, ...]


def check_of(stored: bytes | memoryview) -> bytes:
    """Return the checksum of what a record stores."""
    return blake3(stored).digest(CHECK)


def encode_end(records: Iterable[Record], offset: int) -> bytes:
    """Return index and trailer of a pack whose index begins at `offset`."""
    ordered = sorted(records)
    outside = _outside({record.id: record for record in ordered})
    index = encode(
        {
            "outside": [id.raw for id in outside],
            "records": [
                [
                    record.id.raw,
                    record.size,
                    record.encoding,
                    record.depth,
                    record.offset,
                    record.length,
                    record.check,
                    [[ref.id.raw, ref.offset, ref.length] for ref in record.refs],
                ]
                for record in ordered
            ],
        }
    )
    return index + _TRAILER.pack(offset, len(index), blake3(index).digest(), PACK_END)


def check_start(start: bytes) -> None:
    """Check the first bytes of a pack, as many as `PACK_LINE` has.

    Raises:
        UnsupportedFormat: a later release wrote it.
        CorruptPack: they are not those of a pack.
    """
    if start == PACK_LINE:
        return
    line, known = start.partition(b"\n")[0], PACK_LINE.rstrip()
    if line.startswith(PACK_FAMILY) and line[len(PACK_FAMILY) :].isdigit() and line != known:
        raise UnsupportedFormat(f"it begins with '{line.decode()}'; this release knows '{known.decode()}'")
    raise CorruptPack("it does not begin as a pack")


def index_place(trailer: bytes, size: int) -> tuple[int, int, bytes]:
    """Return offset, length and BLAKE3 of the index of a pack of `size` bytes.

    Raises:
        CorruptPack: `trailer` is not the last `TRAILER_SIZE` bytes of such a pack.
    """
    if len(trailer) != TRAILER_SIZE:
        raise CorruptPack("it is too short")
    offset, length, digest, end = _TRAILER.unpack(trailer)
    if end != PACK_END or offset < len(PACK_LINE) or offset + length + TRAILER_SIZE != size:
        raise CorruptPack("its trailer is damaged, or it is cut off")
    if length > MAX_INDEX:
        raise CorruptPack("its index is too large")
    return offset, length, digest


def decode_index(data: bytes, offset: int, digest: bytes) -> Index:
    """Return the index whose bytes begin at `offset` of the pack.

    Raises:
        CorruptPack: the bytes are not those of an index.
    """
    if blake3(data).digest() != digest:
        raise CorruptPack("its index is damaged")
    try:
        found = decode(data)
        records = {}
        last = b""
        for row in _array(found["records"]):
            record = _record(row, offset)
            if record.id.raw <= last:
                raise ValueError("records out of order")
            last = record.id.raw
            records[record.id] = record
        outside = tuple(_id(raw) for raw in _array(found["outside"]))
        if outside != _outside(records):
            raise ValueError("it does not tell what the pack needs")
        return Index(records, outside)
    except (ValueError, TypeError, KeyError) as error:
        raise CorruptPack(f"its index is not in form: {error}") from error


def _outside(records: Mapping[ObjectId, Record]) -> tuple[ObjectId, ...]:
    """Return what records refer to without being there, in order."""
    return tuple(sorted({ref.id for record in records.values() for ref in record.refs} - records.keys()))


def _array(value: Any) -> list[Any]:
    if type(value) is not list:
        raise ValueError("something else where an array must be")
    return value


def _record(row: Any, end: int) -> Record:
    id, size, encoding, depth, offset, length, check, refs = _array(row)
    numbers = (size, depth, offset, length)
    if not all(type(number) is int and 0 <= number <= _MAX_NUMBER for number in numbers) or type(encoding) is not str:
        raise ValueError("a record of no known form")
    if type(check) is not bytes or len(check) != CHECK:
        raise ValueError("a record without a checksum")
    if offset < len(PACK_LINE) or offset + length > end:
        raise ValueError("a record that does not lie in its pack")
    if encoding != CONCAT and max(size, length) > MAX_RECORD:
        raise ValueError("a record that is too large")
    spans = tuple(_span(ref) for ref in _array(refs))
    if encoding == CONCAT and length:
        raise ValueError("parts that store something of their own")
    if encoding == CONCAT and sum(span.length for span in spans) != size:
        raise ValueError("parts of another length than the whole")
    return Record(_id(id), size, encoding, depth, offset, length, check, spans)


def _span(ref: Any) -> Span:
    id, offset, length = _array(ref)
    if type(offset) is not int or type(length) is not int or offset < 0 or length < 0 or offset + length > _MAX_NUMBER:
        raise ValueError("a ref of no known form")
    return Span(_id(id), offset, length)


def _id(raw: Any) -> ObjectId:
    if type(raw) is not bytes or len(raw) != 32:
        raise ValueError("an id of no known form")
    return ObjectId(raw)
