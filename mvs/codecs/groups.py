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
from mvs.codecs.ways import scratch, way_for

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
    ordered.fill(0)
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
    escape = (1 << bits) - 1
    # Few are escaped. To find and visit those alone is several times as fast as to ask of each.
    beyond = values.take(np.flatnonzero(values >= values.dtype.type(escape << low)))
    beyond >>= low
    beyond -= values.dtype.type(escape)
    planes = (int(beyond.max(initial=0)).bit_length() + 7) // 8
    streams = [squeeze(_packed(values, low, bits, capped=True))]
    streams += [squeeze(_packed(beyond, 8 * index, 8)) for index in range(planes)]
    streams += [squeeze(_packed(values, shift, width)) for shift, width in _rest(low)]
    return [bits, low, planes, [len(stream) for stream in streams]], streams


def _decode_group(described: Any, data: memoryview, out: Values) -> memoryview:
    """Fill `out`, which holds zeros, and return what of `data` is behind the group."""
    bits, low, planes, lengths = _shape(described, out.itemsize)
    streams = []
    for length in lengths:
        if type(length) is not int or not 0 <= length <= len(data):
            raise ValueError("a stream ends behind its record")
        streams.append(data[:length])
        data = data[length:]
    count, way, escape = len(out), way_for(out), (1 << bits) - 1
    way.lay(expand(streams[0], -(-count * bits // 8)), bits, 0 if planes else low, out)
    if planes:
        escaped = np.flatnonzero(out == escape)
        beyond = np.zeros(len(escaped), out.dtype)
        for index, stream in enumerate(streams[1 : 1 + planes]):
            way.lay(expand(stream, len(beyond)), 8, 8 * index, beyond)
        out[escaped] += beyond
        if low:
            out <<= low
    for (shift, width), stream in zip(_rest(low), streams[1 + planes :], strict=True):
        way.lay(expand(stream, -(-count * width // 8)), width, shift, out)
    return data


def _rest(low: int) -> list[tuple[int, int]]:
    """Return where the low bits of each stream lie, and how many they are: bytes, then four, two, or both."""
    rest = [(8 * index, 8) for index in range(low // 8)]
    if low % 8 >= 4:
        rest.append((low // 8 * 8, 4))
    return [*rest, (low - 2, 2)] if low % 4 else rest


def _shape(described: Any, width: int) -> tuple[int, int, int, list[Any]]:
    """Return the parts of the description of a group, checked."""
    if not (isinstance(described, list) and len(described) == 4):
        raise ValueError("not the description of a group")
    bits, low, planes, lengths = described
    if not all(type(number) is int for number in (bits, low, planes)):
        raise ValueError("a group of no known shape")
    if bits not in (1, 2, 4, 8) or low not in range(0, 8 * width, 2) or planes not in range(width + 1):
        raise ValueError("a group of no known shape")
    if not isinstance(lengths, list) or len(lengths) != 1 + planes + len(_rest(low)):
        raise ValueError("another number of streams than the group has")
    return bits, low, planes, lengths


def _packed(values: Values, shift: int, bits: int, *, capped: bool = False) -> Bytes:
    """Return so many bits of each of `values >> shift`, as `Way.pack` packs them."""
    packed = scratch("packed", -(-len(values) * bits // 8), np.dtype(np.uint8))
    way_for(values).pack(values, shift, bits, capped, packed)
    return packed
