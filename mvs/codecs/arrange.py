"""The hot loops of the encodings, in numpy.

`kernels` has the same functions compiled, with the same results; `ways` chooses. Values are
unsigned integers of 1, 2, 4 or 8 bytes, contexts are bytes. Every function fills arrays that it is given.
"""

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

Values = NDArray[Any]
Bytes = NDArray[np.uint8]
Contexts = NDArray[np.uint8]
Counts = NDArray[np.int64]
Ends = NDArray[np.int64]
Shapes = NDArray[np.int64]

CONTEXTS = 256
# Elements of a group that its mean is taken from.
SAMPLE = 1 << 10
# numpy sorts a run of this length within the cache, and stitching costs little.
_SORTED = 1 << 17
# Several passes over a run of this length stay in the fastest cache.
_RUN = 1 << 15


def difference(target: Values, origin: Values, out: Values) -> None:
    """Fill `out` with target - origin, folded: 0, -1, 1, -2 and so on become 0, 1, 2, 3."""
    top = 8 * target.itemsize - 1
    for run in _runs(len(out)):
        signed = np.subtract(target[run], origin[run], out=out[run]).view(f"<i{target.itemsize}")
        sign = signed >> top
        signed <<= 1
        signed ^= sign


def add(values: Values, origin: Values) -> None:
    """Undo `difference` in place."""
    for run in _runs(len(values)):
        part = values[run]
        sign = part & part.dtype.type(1)
        np.negative(sign, out=sign)
        part >>= 1
        part ^= sign
        part += origin[run]


def lower(contexts: Contexts, values: Values, shift: int, mask: int) -> None:
    """Subtract `values >> shift & mask` from each context, modulo 256."""
    for run in _runs(len(contexts)):
        part = (values[run] >> shift).astype(np.uint8)
        part &= np.uint8(mask)
        contexts[run] -= part


def count(contexts: Contexts, counts: Counts) -> None:
    """Fill `counts`, two rows of 256, with how many elements of either half have each context."""
    half = len(contexts) // 2
    counts[0] = np.bincount(contexts[:half], minlength=CONTEXTS)
    counts[1] = np.bincount(contexts[half:], minlength=CONTEXTS)


def sort(values: Values, contexts: Contexts, counts: Counts, ordered: Values) -> None:
    """Fill `ordered` with `values`, in a stable sort by context."""
    for run, order, moves in _orders(contexts, counts):
        taken = values[run].take(order)
        for begin, end, place in moves:
            ordered[place : place + end - begin] = taken[begin:end]


def unsort(ordered: Values, contexts: Contexts, counts: Counts, values: Values) -> None:
    """Undo `sort`: fill `values`."""
    for run, order, moves in _orders(contexts, counts):
        taken = np.empty(len(order), ordered.dtype)
        for begin, end, place in moves:
            taken[begin:end] = ordered[place : place + end - begin]
        values[run][order] = taken


def turn(numbers: Values, top: int, values: Values) -> None:
    """Fill `values` with `top` minus the numbers, whose sign is rotated to the lowest bit."""
    sign = 8 * numbers.itemsize - 1
    for run in _runs(len(values)):
        part = np.left_shift(numbers[run], 1, out=values[run])
        part |= numbers[run] >> sign
        np.subtract(top, part, out=part)


def unturn(values: Values, top: int) -> None:
    """Undo `turn` in place."""
    sign = 8 * values.itemsize - 1
    for run in _runs(len(values)):
        part = np.subtract(top, values[run], out=values[run])
        low = part << sign
        part >>= 1
        part |= low


def pack(values: Values, ends: Ends, low: int, packed: Bytes, shapes: Shapes) -> None:
    """Fill `packed` with the streams of each group, one after the other, and `shapes` with what they are.

    A shape is the bits of a symbol, the number of low bits beside it, the bytes of what exceeds it, and of how many
    elements something does. `low` is the number of low bits beside symbols of 8 bits; -1: what fits the mean.
    """
    begin = at = 0
    for number, end in enumerate(ends.tolist()):
        group = values[begin:end]
        bits, kept = _fitting(group) if low < 0 else (8, low)
        escape = (1 << bits) - 1
        # Few are escaped. To find and visit those alone is several times as fast as to ask of each.
        beyond = group.take(np.flatnonzero(group >= group.dtype.type(escape << kept)))
        beyond >>= kept
        beyond -= group.dtype.type(escape)
        planes = (int(beyond.max(initial=0)).bit_length() + 7) // 8
        shapes[number] = bits, kept, planes, len(beyond)
        at = _put(group, kept, bits, packed, at, capped=True)
        for index in range(planes):
            at = _put(beyond, 8 * index, 8, packed, at)
        for shift, width in rest(kept):
            at = _put(group, shift, width, packed, at)
        begin = end


def escapes(packed: Bytes, bits: int, count: int) -> int:
    """Return how many of the first `count` symbols of so many bits are the largest one."""
    return int(np.count_nonzero(_spread(packed, bits)[:count] == (1 << bits) - 1))


def lay(packed: Bytes, ends: Ends, shapes: Shapes, values: Values) -> None:
    """Undo `pack`: fill `values`."""
    begin = at = 0
    values.fill(0)
    for end, (bits, low, planes, escaped) in zip(ends.tolist(), shapes.tolist(), strict=True):
        group = values[begin:end]
        at = _take(packed, at, bits, 0 if planes else low, group)
        if planes:
            beyond = np.zeros(escaped, values.dtype)
            places = np.flatnonzero(group == (1 << bits) - 1)
            for index in range(planes):
                at = _take(packed, at, 8, 8 * index, beyond)
            group[places] += beyond
            if low:
                group <<= low
        for shift, width in rest(low):
            at = _take(packed, at, width, shift, group)
        begin = end


def rest(low: int) -> list[tuple[int, int]]:
    """Return where the low bits of each stream lie, and how many they are: bytes, then four, two, or both."""
    found = [(8 * index, 8) for index in range(low // 8)]
    if low % 8 >= 4:
        found.append((low // 8 * 8, 4))
    return [*found, (low - 2, 2)] if low % 4 else found


def _fitting(values: Values) -> tuple[int, int]:
    """Return the symbol width and the number of low bits that fit the mean of a group."""
    some = values[:: max(1, len(values) // SAMPLE)]
    mean = float(some.sum(dtype=np.float64)) / max(1, len(some))
    for bits, most in ((1, 0.1), (2, 0.5), (4, 14.0)):
        if mean < most:
            return bits, 0
    low = 0
    while mean / (1 << low) > 60 and low + 8 < values.itemsize * 8:
        low += 4
    return 8, low


def _put(values: Values, shift: int, bits: int, packed: Bytes, at: int, *, capped: bool = False) -> int:
    """Put 1, 2, 4 or 8 bits of each of `values >> shift` at `at`, the first in the lowest bits of a byte; return where.

    These are the lowest bits, or with `capped` all of them, and all set for what is too large; behind them are zeros.
    """
    most = values.dtype.type((1 << bits) - 1)
    size = -(-len(values) * bits // 8)
    for run in _runs(len(values)):
        part = values[run] >> shift
        symbols = np.zeros(len(part) + -len(part) % 8, np.uint8)
        (np.minimum if capped else np.bitwise_and)(part, most, out=part)
        symbols[: len(part)] = part
        # Two bytes that are half empty make a full one.
        width = bits
        while width < 8:
            words = symbols.view("<u2")
            symbols = (words | words >> (8 - width)).astype(np.uint8)
            width *= 2
        out = packed[at : at + size][run.start * bits // 8 : run.stop * bits // 8]
        out[:] = symbols[: len(out)]
    return at + size


def _take(packed: Bytes, at: int, bits: int, shift: int, values: Values) -> int:
    """Set the bits of `values` that are set in what was put at `at`, shifted up; return where that ends."""
    size = -(-len(values) * bits // 8)
    for run in _runs(len(values)):
        part = values[run]
        symbols = _spread(packed[at : at + size][run.start * bits // 8 : run.stop * bits // 8], bits)
        part |= symbols[: len(part)].astype(part.dtype) << shift
    return at + size


def _spread(packed: Bytes, bits: int) -> Bytes:
    """Return symbols of 1, 2, 4 or 8 bits, each in a byte of its own."""
    width = 8
    while width > bits:
        width //= 2
        words = packed.astype("<u2")
        words |= words << (8 - width)
        words &= 0x101 * ((1 << width) - 1)
        packed = words.view(np.uint8)
    return packed


def _runs(length: int) -> Iterator[slice]:
    return (slice(start, start + _RUN) for start in range(0, length, _RUN))


def _orders(
    contexts: Contexts, counts: Counts
) -> Iterator[tuple[slice, NDArray[np.int64], list[tuple[int, int, int]]]]:
    """Yield runs, their stable order, and where in all that is ordered each context of a run goes."""
    total = counts.sum(0)
    places = (np.cumsum(total) - total).tolist()
    for start in range(0, len(contexts), _SORTED):
        run = slice(start, start + _SORTED)
        order = np.argsort(contexts[run], kind="stable")
        begins = np.searchsorted(contexts[run].take(order), np.arange(CONTEXTS, dtype=np.uint8))
        moves = []
        for context, (begin, end) in enumerate(pairwise([*begins.tolist(), len(order)])):
            if begin < end:
                moves.append((begin, end, places[context]))
                places[context] += end - begin
        yield run, order, moves
