"""Blocks of numbers: alone (`planes`), or as differences from a base (`delta`).

A difference is taken between the bit patterns, as integers: neighbouring floats are neighbouring
integers. An update has about the same absolute size throughout a row, so its size in units of the last place
is known from the exponent of the weight it is added to, and one byte a row: that is the context
(docs/design/0006-encodings.md has what it is worth).
"""

import struct
from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import msgpack
import numpy as np
from numpy.typing import NDArray

from mvs.codecs import groups
from mvs.codecs.arrange import Contexts, Values
from mvs.codecs.levels import LONGEST_ROW, NO_LEVELS, SHORTEST_ROW, Levels, levels_of
from mvs.codecs.streams import expand, squeeze
from mvs.codecs.ways import note, scratch, way_for

Buffer = bytes | memoryview


class Kind(NamedTuple):
    """What the coder must know of a type: `width` in bytes; `shift` and `mask` make twice the exponent of it.

    A number without an exponent has a `mask` of 0.
    """

    width: int
    shift: int = 0
    mask: int = 0


KINDS = {
    "BF16": Kind(2, 6, 0xFE),
    "F16": Kind(2, 9, 0x3E),
    "F32": Kind(4, 22, 0xFE),
    "F64": Kind(8),
}

# Fewer differences than this are not worth contexts.
_FEWEST = 512
# Of the exponents of 8 bits, these many from the largest one down have room for two bits of the mantissa in a symbol.
# Where most have, that takes 0.9 % off a bf16 model (docs/design/0006-encodings.md).
_EIGHT_BITS = 0xFE
_ROOM = 63
_MOSTLY = 0.99
_SAMPLE = 1 << 14
_LENGTH = struct.Struct("<I")
# Headers hold integers and arrays, one for each group at most. What is nested deep in another
# would take memory, so that a damaged one must not claim much for each level.
_MODEST = {"max_array_len": 256, "max_map_len": 0, "max_str_len": 0, "max_bin_len": 0, "max_ext_len": 0}


def encode_planes(data: Buffer, kind: Kind, guide: Buffer | None = None) -> bytes:
    """Return `data`, numbers of one kind, as entropy-coded planes.

    The exponents of `guide`, as many numbers of the same kind, serve as contexts: where one
    tensor tells the scale of another (the second moment of an optimizer that of the first).
    """
    values = _numbers(data, kind)
    note(len(values) if guide is not None else 0)
    low, top = 8 * (kind.width - 1), 0
    if kind.mask:
        # The sign goes to the lowest bit, so that the exponent begins with the highest. Counted down from the largest
        # one, exponents are small numbers, and most leave room in a byte for two bits of the mantissa.
        top = _largest(values) | ((1 << low) - 1)
        numbers, values = values, scratch("turned", len(values), values.dtype)
        way_for(values).turn(numbers, top, values)
        some = values[:: max(1, len(values) // _SAMPLE)]
        if kind.mask == _EIGHT_BITS and np.count_nonzero(some >> low < _ROOM) > _MOSTLY * len(some):
            low -= 2
    else:
        # Kernels are compiled for values that may be written.
        values = values.copy()
    contexts = None if guide is None else _exponents(_numbers(_sized(guide, len(data)), kind), kind)
    description, streams = groups.encode(values, contexts, low=low)
    return _record([kind.width, kind.shift, kind.mask, top, description], streams)


def decode_planes(stored: Buffer, size: int, guide: Buffer | None = None) -> memoryview:
    """Return the `size` bytes that `encode_planes` was given.

    Raises:
        ValueError: `stored` or `guide` is not what it gave, or was given.
    """
    (width, shift, mask, top, description), data = _parsed(stored, 5)
    kind = _kind(width, shift, mask)
    count = _count(size, kind)
    if type(top) is not int or not 0 <= top < 1 << (8 * kind.width):
        raise ValueError("numbers that are counted from nowhere")
    contexts = None if guide is None else _exponents(_numbers(_sized(guide, size), kind), kind)
    values = groups.decode(description, data, count, _dtype(kind), contexts)
    if kind.mask:
        way_for(values).unturn(values, top)
    return values.data.cast("B")


def encode_delta(data: Buffer, bases: Sequence[Buffer], kind: Kind, *, columns: int = 0, at: int = 0) -> bytes:
    """Return `data` as differences from a base of the same length, or from the mean of two.

    `columns` is the length of a row in elements, 0 where it is not known; `at` is the number of the first
    element in its tensor.
    """
    base = _base(bases, kind)
    target, origin = _numbers(data, kind), _numbers(_sized(base, len(data)), kind)
    note(len(target))
    levels = NO_LEVELS
    contexts = None
    if kind.mask and len(target) >= _FEWEST:
        highest = int(_exponents(origin[::8], kind).max())
        levels = levels_of(target, origin, partial(_floats, kind=kind), highest, columns, at)
        contexts = _contexts(origin, kind, levels)
    differences = scratch("differences", len(target), target.dtype)
    way_for(target).difference(target, origin, differences)
    description, streams = groups.encode(differences, contexts)
    kept = [squeeze(levels.rows), squeeze(levels.columns)]
    shape = [levels.row, levels.phase, *map(len, kept), int(len(levels.columns) > 0)]
    return _record([kind.width, kind.shift, kind.mask, shape, description], [*kept, *streams])


def decode_delta(stored: Buffer, bases: Sequence[Buffer]) -> memoryview:
    """Return the bytes that `encode_delta` was given with these bases.

    Raises:
        ValueError: `stored` or `bases` are not what it gave, or was given.
    """
    (width, shift, mask, shape, description), data = _parsed(stored, 5)
    kind = _kind(width, shift, mask)
    base = _base(bases, kind)
    count = _count(len(base), kind)
    levels, data = _stored_levels(shape, data, count)
    origin = _numbers(base, kind)
    note(count)
    contexts = _contexts(origin, kind, levels) if levels.row else None
    values = groups.decode(description, data, count, _dtype(kind), contexts)
    way_for(values).add(values, origin)
    return values.data.cast("B")


def _stored_levels(shape: Any, data: memoryview, count: int) -> tuple[Levels, memoryview]:
    if not (isinstance(shape, list) and len(shape) == 5 and all(type(number) is int for number in shape)):
        raise ValueError("levels of no known shape")
    row, phase, first, second, both = shape
    if not (0 <= first <= len(data) and 0 <= second <= len(data) - first):
        raise ValueError("levels that end behind their record")
    if not row:
        return NO_LEVELS, data[first + second :]
    if not (SHORTEST_ROW <= row <= LONGEST_ROW and 0 <= phase < row):
        raise ValueError("rows of no known length")
    rows = expand(data[:first], -(-(phase + count) // row))
    columns = expand(data[first : first + second], row if both else 0)
    return Levels(row, phase, rows, columns), data[first + second :]


def _base(bases: Sequence[Buffer], kind: Kind) -> Buffer:
    """Return the base that differences are taken from: the only one, or the mean of two."""
    if len(bases) == 1:
        return bases[0]
    first, second = (_numbers(_sized(base, len(bases[0])), kind) for base in bases)
    if kind not in (KINDS["F32"], KINDS["F16"], KINDS["BF16"]):
        raise ValueError("numbers of this kind have no mean")
    with np.errstate(all="ignore"):
        if kind.width == 4:
            # Halved first, as the sum may be too large.
            mean = np.divide(first.view("<f4"), 2, dtype=np.float32)
            mean += np.divide(second.view("<f4"), 2, dtype=np.float32)
        else:
            mean = np.divide(_floats(first, kind) + _floats(second, kind), 2, dtype=np.float32)
        bits = _narrowed(mean, kind)
    # Processors disagree about the bits of a NaN that they make.
    strange = np.flatnonzero(np.isnan(mean))
    bits[strange] = first[strange]
    return bits.data.cast("B")


def _narrowed(mean: NDArray[np.float32], kind: Kind) -> Values:
    """Return the bits of F32 as another kind, rounded to the nearest, ties to even."""
    if kind.width == 4:
        return mean.view("<u4")
    if kind == KINDS["F16"]:
        return mean.astype("<f2").view("<u2")
    bits = mean.view("<u4")
    return ((bits + np.uint32(0x7FFF) + ((bits >> 16) & np.uint32(1))) >> 16).astype("<u2")


def _largest(values: Values) -> int:
    """Return the largest of some numbers with the sign rotated to the lowest bit."""
    sign = 8 * values.itemsize - 1
    # Of the numbers with either sign, the largest as unsigned and as signed integers.
    found = [values.max(initial=0), values.view(f"<i{values.itemsize}").max(initial=0)]
    return max((int(number) << 1 & (2 << sign) - 1) | int(number) >> sign for number in found)


def _exponents(values: Values, kind: Kind) -> Contexts:
    """Return twice the exponent of each number, in a byte."""
    exponents: Contexts = (values >> kind.shift).astype(np.uint8)
    exponents &= np.uint8(kind.mask)
    return exponents


def _contexts(origin: Values, kind: Kind, levels: Levels) -> Contexts:
    """Return the context of each element: the levels of its row and column minus twice the exponent of its base."""
    contexts = levels.spread(len(origin))
    way_for(origin).lower(contexts, origin, kind.shift, kind.mask)
    return contexts


def _floats(values: Values, kind: Kind) -> NDArray[np.float32]:
    if kind.width == 4:
        return values.view("<f4")
    if kind == KINDS["F16"]:
        return values.view("<f2").astype(np.float32)
    widened = values.astype(np.uint32)
    widened <<= 16
    return widened.view(np.float32)


def _dtype(kind: Kind) -> "np.dtype[Any]":
    return np.dtype(f"<u{kind.width}")


def _numbers(data: Buffer, kind: Kind) -> Values:
    # Read-only and aligned wherever it lies: kernels are compiled for one sort of array.
    values = np.frombuffer(memoryview(data).toreadonly(), _dtype(kind))
    if not values.flags.aligned:
        values = values.copy()
        values.flags.writeable = False
    return values


def _kind(width: Any, shift: Any, mask: Any) -> Kind:
    if not all(type(number) is int for number in (width, shift, mask)):
        raise ValueError("numbers of no known kind")
    if width not in (1, 2, 4, 8) or not (0 <= shift < 8 * width and 0 <= mask < 256):
        raise ValueError("numbers of no known kind")
    return Kind(width, shift, mask)


def _count(size: int, kind: Kind) -> int:
    if size % kind.width:
        raise ValueError("a length that is no multiple of the width")
    return size // kind.width


def _sized(data: Buffer, size: int) -> Buffer:
    if len(data) != size:
        raise ValueError("a base or a guide of another length")
    return data


def _record(header: list[Any], streams: list[bytes]) -> bytes:
    packed: bytes = msgpack.packb(header)
    return b"".join([_LENGTH.pack(len(packed)), packed, *streams])


def _parsed(stored: Buffer, fields: int) -> tuple[list[Any], memoryview]:
    data = memoryview(stored)
    if len(data) < _LENGTH.size:
        raise ValueError("a record without a header")
    (length,) = _LENGTH.unpack(data[: _LENGTH.size])
    if length > len(data) - _LENGTH.size:
        raise ValueError("a header longer than its record")
    try:
        header = msgpack.unpackb(data[_LENGTH.size : _LENGTH.size + length], **_MODEST)
    except (ValueError, msgpack.UnpackException) as error:
        raise ValueError(f"a damaged header: {error}") from error
    if not isinstance(header, list) or len(header) != fields:
        raise ValueError("a header of another length")
    return header, data[_LENGTH.size + length :]
