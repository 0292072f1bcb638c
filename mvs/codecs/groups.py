"""Numbers as symbols, grouped by context: the coder under `planes` and `delta`.

A context is a byte that encoder and decoder both know of an element before they know its value,
such as the exponent of the weight it is added to. Elements with like contexts have like values, so
each group of them gets a symbol width, and a table of its own, that fit.

An element is `symbol << low | rest`: symbols of 1, 2, 4 or 8 bits packed into bytes and
entropy-coded, the `low` lowest bits as planes beside them. The largest symbol is an escape; what
exceeds it follows in planes of its own. docs/format.md has the layout.
"""

from typing import Any

import numpy as np

from mvs.codecs.arrange import CONTEXTS, Bytes, Contexts, Counts, Ends, Values, rest
from mvs.codecs.streams import expand, squeeze
from mvs.codecs.ways import scratch, way_for

# A group pays for its tables from about here on.
_SMALLEST = 4096

Description = list[Any]


def encode(values: Values, contexts: Contexts | None, *, low: int | None = None) -> tuple[Description, list[bytes]]:
    """Return how unsigned `values` are described, and their streams.

    `low` is the number of low bits, even, that are kept apart from an 8-bit symbol;
    without it each group gets what fits its mean.
    """
    way = way_for(values)
    ends = np.array([len(values)])
    if contexts is not None:
        counts, ordered = np.empty((2, CONTEXTS), np.int64), scratch("ordered", len(values), values.dtype)
        way.count(contexts, counts)
        way.sort(values, contexts, counts, ordered)
        values, ends = ordered, _ends(counts)
    shapes = np.empty((len(ends), 4), np.int64)
    # A symbol, the low bits and what is beyond a symbol; what is not needed is never touched.
    most = len(values) * (1 + 2 * values.itemsize) + len(ends) * 8 * values.itemsize
    packed = scratch("packed", most, np.dtype(np.uint8))
    way.pack(values, ends, -1 if low is None else low, packed, shapes)
    description: Description = []
    streams: list[bytes] = []
    begin = at = 0
    for end, (bits, kept, planes, escaped) in zip(ends.tolist(), shapes.tolist(), strict=True):
        lengths = []
        for size in _sizes(end - begin, bits, kept, planes, escaped):
            streams.append(squeeze(packed[at : at + size]))
            lengths.append(len(streams[-1]))
            at += size
        description.append([bits, kept, planes, lengths])
        begin = end
    return description, streams


def decode(description: Any, data: memoryview, count: int, dtype: "np.dtype[Any]", contexts: Contexts | None) -> Values:
    """Return the `count` values that `description` and the streams in `data` stand for.

    Raises:
        ValueError: they stand for nothing, or for another number of values.
    """
    ordered = np.empty(count, dtype) if contexts is None else scratch("ordered", count, dtype)
    way = way_for(ordered)
    ends = np.array([count])
    counts = np.empty((2, CONTEXTS), np.int64)
    if contexts is not None:
        way.count(contexts, counts)
        ends = _ends(counts)
    if not isinstance(description, list) or len(description) != len(ends):
        raise ValueError("another number of groups than the contexts make")
    shapes = np.empty((len(ends), 4), np.int64)
    packed: list[Bytes] = []
    begin = 0
    for number, end in enumerate(ends.tolist()):
        bits, low, planes, lengths = _shape(description[number], dtype.itemsize)
        frames = []
        for length in lengths:
            if type(length) is not int or not 0 <= length <= len(data):
                raise ValueError("a stream ends behind its record")
            frames.append(data[:length])
            data = data[length:]
        symbols = expand(frames[0], -(-(end - begin) * bits // 8))
        escaped = way.escapes(symbols, bits, end - begin) if planes else 0
        shapes[number] = bits, low, planes, escaped
        packed.append(symbols)
        packed += map(expand, frames[1:], _sizes(end - begin, bits, low, planes, escaped)[1:])
        begin = end
    if len(data):
        raise ValueError("bytes behind the last stream")
    way.lay(np.concatenate(packed) if packed else np.zeros(0, np.uint8), ends, shapes, ordered)
    if contexts is None:
        return ordered
    values = np.empty(count, dtype)
    way.unsort(ordered, contexts, counts, values)
    return values


def _ends(counts: Counts) -> Ends:
    """Return where groups end: contexts in rising order, until there are enough elements."""
    ends = np.cumsum(counts.sum(0)).tolist()
    found: list[int] = []
    begin, last = 0, ends[CONTEXTS - 1]
    for end in ends:
        if end - begin >= _SMALLEST and (last - end >= _SMALLEST or end == last):
            found.append(end)
            begin = end
    if begin < last:
        found.append(last)
    return np.array(found, np.int64)


def _sizes(count: int, bits: int, low: int, planes: int, escaped: int) -> list[int]:
    """Return how many bytes each stream of a group has: the symbols, what exceeds them, the low bits."""
    return [-(-count * bits // 8), *[escaped] * planes, *(-(-count * width // 8) for _, width in rest(low))]


def _shape(described: Any, width: int) -> tuple[int, int, int, list[Any]]:
    """Return the parts of the description of a group, checked."""
    if not (isinstance(described, list) and len(described) == 4):
        raise ValueError("not the description of a group")
    bits, low, planes, lengths = described
    if not all(type(number) is int for number in (bits, low, planes)):
        raise ValueError("a group of no known shape")
    if bits not in (1, 2, 4, 8) or low not in range(0, 8 * width, 2) or planes not in range(width + 1):
        raise ValueError("a group of no known shape")
    if not isinstance(lengths, list) or len(lengths) != 1 + planes + len(rest(low)):
        raise ValueError("another number of streams than the group has")
    return bits, low, planes, lengths
