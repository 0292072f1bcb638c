"""What an ONNX model says of tensors that are kept in other files.

A walk over the few fields of the protobuf that matter: graph, initializers, external data.
Everything else is jumped over, weights within the model included.
Source of the format: onnx.proto3 and docs/ExternalData.md in https://github.com/onnx/onnx
"""

import posixpath
from collections.abc import Iterator
from typing import NamedTuple

from mvs.codecs.cut.dtypes import BITS, items_of
from mvs.codecs.cut.source import MAX_NAME, Cursor, Opaque, Source, Tensor, check_name, settled

_GRAPH = 7
_INITIALIZER = 5
_DIMS, _DATA_TYPE, _NAME, _EXTERNAL_DATA = 1, 2, 8, 13
_KEY, _VALUE = 1, 2
_VARINT, _I64, _BYTES, _I32 = 0, 1, 2, 5

_DTYPES = {
    1: "F32",
    2: "U8",
    3: "I8",
    4: "U16",
    5: "I16",
    6: "I32",
    7: "I64",
    9: "BOOL",
    10: "F16",
    11: "F64",
    12: "U32",
    13: "U64",
    14: "C64",
    15: "C128",
    16: "BF16",
    17: "F8_E4M3",
    18: "F8_E4M3FNUZ",
    19: "F8_E5M2",
    20: "F8_E5M2FNUZ",
    21: "U4",
    22: "I4",
    23: "F4",
    24: "F8_E8M0",
    25: "U2",
    26: "I2",
}
# Every field costs a few microseconds, and two bytes are a field. Large models have
# some hundred thousand nodes and initializers.
_MAX_FIELDS = 1 << 21
_MAX_TENSORS = 1 << 18
# Of any file, wherever it is.
_MAX_OFFSET = 1 << 63


def external(model: Source) -> dict[str, tuple[Tensor, ...]]:
    """Return the external tensors by the file they lie in, relative to the model.

    Raises:
        Opaque: it does not parse or contradicts itself, or a file is not beside the model.
    """
    places: dict[str, dict[tuple[int, int], Tensor]] = {}
    names: set[str] = set()
    walk = _Walk(Cursor(model, 0, model.size))
    for number, end in walk.messages(model.size):
        if number != _GRAPH:
            continue
        for inner, stop in walk.messages(end):
            placed = _tensor(walk, stop) if inner == _INITIALIZER else None
            if placed is not None:
                location, tensor = placed
                if tensor.name in names or len(names) == _MAX_TENSORS:
                    raise Opaque("a name occurs twice, or there are too many tensors")
                names.add(tensor.name)
                # Two names for the same bytes are tied weights, not a lie; the first one counts.
                places.setdefault(location, {}).setdefault((tensor.offset, tensor.size), tensor)
    found = {location: settled(tensors.values(), _MAX_OFFSET) for location, tensors in places.items()}
    return {location: tensors for location, tensors in found.items() if tensors}


class _Field(NamedTuple):
    """A field: a number in `value` (0 for those of fixed width), or bytes that end at `end`."""

    number: int
    value: int | None
    end: int


class _Walk:
    """Goes over the fields of a message, and of messages within it, forward only."""

    def __init__(self, cursor: Cursor) -> None:
        self.cursor = cursor
        self._left = _MAX_FIELDS

    def fields(self, stop: int) -> Iterator[_Field]:
        """Yield the fields up to `stop`, going on behind each one, whatever was read of it."""
        cursor = self.cursor
        while cursor.at < stop:
            self._left -= 1
            if self._left < 0:
                raise Opaque("there are too many fields")
            tag = self.varint()
            number, kind = tag >> 3, tag & 7
            value, end = None, cursor.at
            if kind == _VARINT:
                value = self.varint()
                end = cursor.at
            elif kind == _BYTES:
                length = self.varint()
                end = cursor.at + length
            elif kind in (_I64, _I32):
                value = 0
                end += 8 if kind == _I64 else 4
            else:
                raise Opaque("a field is of no known kind")
            if end > stop or number == 0:
                raise Opaque("a field ends behind its message")
            yield _Field(number, value, end)
            cursor.skip(end - cursor.at)

    def messages(self, stop: int) -> Iterator[tuple[int, int]]:
        """Yield number and end of the fields that hold bytes."""
        return ((field.number, field.end) for field in self.fields(stop) if field.value is None)

    def varint(self) -> int:
        """Return a number of 64 bits."""
        value = 0
        for shift in range(0, 70, 7):
            byte = self.cursor.byte()
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
        raise Opaque("a number does not end")

    def text(self, end: int) -> str:
        """Return the bytes up to `end` as text."""
        return self.cursor.text(end - self.cursor.at)


def _tensor(walk: _Walk, stop: int) -> tuple[str, Tensor] | None:
    """Return where an initializer lies, or None when it lies in the model or is empty."""
    name, kind = "", 0
    shape: list[int] = []
    said: dict[str, str] = {}
    for field in walk.fields(stop):
        if field.number == _DIMS:
            shape.extend([field.value] if field.value is not None else _packed(walk, field.end))
        elif field.number == _DATA_TYPE and field.value is not None:
            kind = field.value
        elif field.number == _NAME and field.value is None:
            name = walk.text(field.end)
        elif field.number == _EXTERNAL_DATA and field.value is None:
            key, value = _entry(walk, field.end)
            said[key] = value
    if "location" not in said:
        return None
    dtype, items = _DTYPES.get(kind, ""), items_of(shape)
    size = -(-items * BITS[dtype] // 8) if dtype else None
    length = _number(said["length"]) if "length" in said else size
    if size is not None and length != size:
        raise Opaque("shape and type do not make the size")
    if not length:
        return None
    return _location(said["location"]), Tensor(name, dtype, tuple(shape), _number(said.get("offset", "0")), length)


def _packed(walk: _Walk, end: int) -> Iterator[int]:
    # A rank of 64 is refused soon enough; a packed field may hold a billion lengths.
    if end - walk.cursor.at > MAX_NAME:
        raise Opaque("a shape has too many dimensions")
    while walk.cursor.at < end:
        yield walk.varint()


def _entry(walk: _Walk, end: int) -> tuple[str, str]:
    key = value = ""
    for field in walk.fields(end):
        if field.number == _KEY and field.value is None:
            key = walk.text(field.end)
        elif field.number == _VALUE and field.value is None:
            value = walk.text(field.end)
    return key, value


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or len(text) > 19:
        raise Opaque("an offset or length is no number")
    return int(text)


def _location(text: str) -> str:
    check_name(text)
    path = posixpath.normpath(text)
    if "\0" in path or path in (".", "..") or path.startswith(("/", "../")):
        raise Opaque("a file is not beside the model")
    return path
