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


def pack(symbols: Bytes, bits: int, packed: Bytes) -> None:
    """Fill `packed` with symbols of 1, 2 or 4 bits side by side in bytes, the first in the lowest bits.

    There are enough symbols to fill all the bits, or more.
    """
    each = 8 // bits
    if each == 8:
        packed[:] = np.packbits(symbols[: 8 * len(packed)], bitorder="little")
        return
    # A word of `each` bytes, folded: every byte moves down to where its symbol goes.
    words = symbols[: each * len(packed)].view(f"<u{each}")
    folded = words.copy()
    for index in range(1, each):
        folded |= words >> ((8 - bits) * index)
    np.copyto(packed, folded, casting="unsafe")


def unpack(packed: Bytes, bits: int, symbols: Bytes) -> None:
    """Undo `pack`: fill `symbols`, as many as all the bits hold."""
    each = 8 // bits
    if each == 8:
        symbols[:] = np.unpackbits(packed, bitorder="little")
        return
    words: NDArray[Any] = packed.astype(f"<u{each}")
    spread = symbols.view(words.dtype)
    spread[:] = words
    for index in range(1, each):
        spread |= words << ((8 - bits) * index)
    spread &= words.dtype.type(int.from_bytes(bytes([(1 << bits) - 1]) * each, "little"))


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
