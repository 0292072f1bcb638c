"""Numbers as symbols, grouped by context: the coder under `planes` and `delta`.

A context is a byte that encoder and decoder both know of an element before they know its value,
such as the exponent of the weight it is added to. Elements with like contexts have like values, so
each group of them gets a symbol width, and a table of its own, that fit.

An element is `symbol << low | rest`: symbols of 1, 2, 4 or 8 bits packed into bytes and
entropy-coded, the `low` lowest bits as planes beside them. The largest symbol is an escape; what
exceeds it follows in planes of its own. docs/format.md has the layout.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from mvs.codecs.arrange import CONTEXTS, Bytes, Contexts, Counts, Values
from mvs.codecs.streams import expand, squeeze
from mvs.codecs.ways import scratch, way, way_for

# A group pays for its tables from about here on.
_SMALLEST = 4096
# Elements of a group that its mean is taken from.
_SAMPLE = 1 << 10

Description = list[Any]


def encode(values: Values, contexts: Contexts | None, *, low: int | None = None) -> tuple[Description, list[bytes]]:
    """Return how unsigned `values` are described, and their streams.

    `low` is the number of low bits, even, that are kept apart from an 8-bit symbol;
    without it each group gets what fits its mean.
    """
    if contexts is None:
        groups = [values]
    else:
        numbers = way_for(values)
        counts, ordered = np.empty((2, CONTEXTS), np.int64), scratch("ordered", len(values), values.dtype)
        numbers.count(contexts, counts)
        numbers.sort(values, contexts, counts, ordered)
        groups = [ordered[begin:end] for begin, end in _spans(counts)]
    description: Description = []
    streams: list[bytes] = []
    for group in groups:
        shape = _fitting(group) if low is None else (8, low)
        described, found = _encode_group(group, *shape)
        description.append(described)
        streams += found
    return description, streams


def decode(description: Any, data: memoryview, count: int, dtype: "np.dtype[Any]", contexts: Contexts | None) -> Values:
    """Return the `count` values that `description` and the streams in `data` stand for.

    Raises:
        ValueError: they stand for nothing, or for another number of values.
    """
    ordered = np.empty(count, dtype) if contexts is None else scratch("ordered", count, dtype)
    numbers = way_for(ordered)
    spans = [(0, count)]
    counts = np.empty((2, CONTEXTS), np.int64)
    if contexts is not None:
        numbers.count(contexts, counts)
        spans = list(_spans(counts))
    if not isinstance(description, list) or len(description) != len(spans):
        raise ValueError("another number of groups than the contexts make")
    for described, (begin, end) in zip(description, spans, strict=True):
        data = _decode_group(described, data, ordered[begin:end])
    if len(data):
        raise ValueError("bytes behind the last stream")
    if contexts is None:
        return ordered
    values = np.empty(count, dtype)
    numbers.unsort(ordered, contexts, counts, values)
    return values


def _spans(counts: Counts) -> Iterator[tuple[int, int]]:
    """Yield where groups begin and end: contexts in rising order, until there are enough elements."""
    ends = np.cumsum(counts.sum(0)).tolist()
    begin, last = 0, ends[CONTEXTS - 1]
    for end in ends:
        if end - begin >= _SMALLEST and (last - end >= _SMALLEST or end == last):
            yield begin, end
            begin = end
    if begin < last:
        yield begin, last


def _fitting(values: Values) -> tuple[int, int]:
    """Return the symbol width and the number of low bits that fit the mean of a group."""
    some = values[:: max(1, len(values) // _SAMPLE)]
    mean = float(some.sum(dtype=np.float64)) / max(1, len(some))
    for bits, most in ((1, 0.1), (2, 0.5), (4, 14.0)):
        if mean < most:
            return bits, 0
    low = 0
    while mean / (1 << low) > 60 and low + 8 < values.itemsize * 8:
        low += 4
    return 8, low


def _encode_group(values: Values, bits: int, low: int) -> tuple[list[Any], list[bytes]]:
    count, escape = len(values), (1 << bits) - 1
    high = values >> low if low else values
    # Few are escaped. To find and visit those alone is several times as fast as a minimum.
    escaped = np.flatnonzero(high >= values.dtype.type(escape))
    beyond = high.take(escaped)
    beyond -= values.dtype.type(escape)
    symbols = _padded(count)
    np.copyto(symbols[:count], high, casting="unsafe")
    symbols[escaped] = escape
    streams = [squeeze(_packed(symbols, bits, count))]
    planes = (int(beyond.max()).bit_length() + 7) // 8 if len(beyond) else 0
    streams += [squeeze(_plane(beyond, index)) for index in range(planes)]
    streams += [squeeze(_plane(values, index)) for index in range(low // 8)]
    for shift, width in _crumbs(low):
        crumbs = _padded(count)
        np.bitwise_and((values >> shift).astype(np.uint8), np.uint8((1 << width) - 1), out=crumbs[:count])
        streams.append(squeeze(_packed(crumbs, width, count)))
    return [bits, low, planes, [len(stream) for stream in streams]], streams


def _decode_group(described: Any, data: memoryview, out: Values) -> memoryview:
    """Fill `out` and return what of `data` is behind the group."""
    bits, low, planes, lengths = _shape(described, out.itemsize)
    streams = []
    for length in lengths:
        if type(length) is not int or not 0 <= length <= len(data):
            raise ValueError("a stream ends behind its record")
        streams.append(data[:length])
        data = data[length:]
    count = len(out)
    escape = (1 << bits) - 1
    symbols = _unpacked(expand(streams[0], -(-count * bits // 8)), bits, count)
    out[:] = symbols
    if planes:
        escaped = np.flatnonzero(symbols == escape)
        beyond = np.full(len(escaped), escape, out.dtype)
        for index, stream in enumerate(streams[1 : 1 + planes]):
            beyond += expand(stream, len(escaped)).astype(out.dtype) << (8 * index)
        out[escaped] = beyond
    if low:
        out <<= low
    rest = streams[1 + planes :]
    for index in range(low // 8):
        out |= expand(rest[index], count).astype(out.dtype) << (8 * index)
    for (shift, width), stream in zip(_crumbs(low), rest[low // 8 :], strict=True):
        crumbs = _unpacked(expand(stream, -(-count * width // 8)), width, count)
        out |= crumbs.astype(out.dtype) << shift
    return data


def _crumbs(low: int) -> list[tuple[int, int]]:
    """Return where the low bits above the whole bytes lie, and how many they are: four, two, or both."""
    crumbs = [(low // 8 * 8, 4)] if low % 8 >= 4 else []
    return [*crumbs, (low - 2, 2)] if low % 4 else crumbs


def _shape(described: Any, width: int) -> tuple[int, int, int, list[Any]]:
    """Return the parts of the description of a group, checked."""
    if not (isinstance(described, list) and len(described) == 4):
        raise ValueError("not the description of a group")
    bits, low, planes, lengths = described
    if not all(type(number) is int for number in (bits, low, planes)):
        raise ValueError("a group of no known shape")
    if bits not in (1, 2, 4, 8) or low not in range(0, 8 * width, 2) or planes not in range(width + 1):
        raise ValueError("a group of no known shape")
    if not isinstance(lengths, list) or len(lengths) != 1 + planes + low // 8 + len(_crumbs(low)):
        raise ValueError("another number of streams than the group has")
    return bits, low, planes, lengths


def _plane(values: Values, index: int) -> Bytes:
    return (values >> (8 * index) if index else values).astype(np.uint8)


def _packed(symbols: Bytes, bits: int, count: int) -> Bytes:
    """Return `count` symbols side by side in bytes, the first in the lowest bits; behind them are seven zeros."""
    if bits == 8:
        return symbols[:count]
    packed = scratch("packed", -(-count * bits // 8), np.dtype(np.uint8))
    way().pack(symbols, bits, packed)
    return packed


def _unpacked(packed: Bytes, bits: int, count: int) -> Bytes:
    """Undo `_packed`."""
    if bits == 8:
        return packed
    symbols = scratch("symbols", len(packed) * 8 // bits, np.dtype(np.uint8))
    way().unpack(packed, bits, symbols)
    return symbols[:count]


def _padded(count: int) -> Bytes:
    """Return an array for symbols that are to be packed: `count`, and seven zeros."""
    symbols = scratch("symbols", count + 7, np.dtype(np.uint8))
    symbols[count:] = 0
    return symbols
