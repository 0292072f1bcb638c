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

CONTEXTS = 256
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


def pack(values: Values, shift: int, bits: int, capped: bool, packed: Bytes) -> None:
    """Fill `packed` with 1, 2, 4 or 8 bits of each of `values >> shift`, the first in the lowest bits of a byte.

    These are the lowest bits, or with `capped` all of them, and all set for what is too large; behind them are zeros.
    """
    most = values.dtype.type((1 << bits) - 1)
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
        out = packed[run.start * bits // 8 : run.stop * bits // 8]
        out[:] = symbols[: len(out)]


def lay(packed: Bytes, bits: int, shift: int, values: Values) -> None:
    """Set the bits of `values` that are set in what was packed, shifted up."""
    for run in _runs(len(values)):
        part = values[run]
        symbols = packed[run.start * bits // 8 : run.stop * bits // 8]
        width = 8
        while width > bits:
            width //= 2
            words = symbols.astype("<u2")
            words |= words << (8 - width)
            words &= 0x101 * ((1 << width) - 1)
            symbols = words.view(np.uint8)
        part |= symbols[: len(part)].astype(part.dtype) << shift


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
