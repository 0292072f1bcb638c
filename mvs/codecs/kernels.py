"""The functions of `arrange`, compiled by numba: several times as fast, and they release the GIL.

Imported by `ways` alone, and only when there is much to do: loading takes half a second.
"""

from collections.abc import Callable
from importlib import import_module
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from mvs.codecs.arrange import CONTEXTS, Bytes, Contexts, Counts, Values

_Loop = TypeVar("_Loop", bound=Callable[..., object])
# Not an import statement: numba is an extra, and types are checked with and without it.
_njit = import_module("numba").njit


def _compiled(loop: _Loop) -> _Loop:
    compiled: _Loop = _njit(cache=True, nogil=True)(loop)
    return compiled


@_compiled
def _places(counts: Counts) -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
    """Return where the elements of either half begin, by context."""
    total = counts[0] + counts[1]
    first = np.cumsum(total) - total
    return first.astype(np.uint32), (first + counts[0]).astype(np.uint32)


@_compiled
def difference(target: Values, origin: Values, out: Values) -> None:
    """Fill `out` with target - origin, folded."""
    kind = out.dtype.type
    top = kind(8 * out.itemsize - 1)
    for index in range(len(out)):
        plain = kind(target[index] - origin[index])
        out[index] = kind(plain << kind(1)) ^ kind(-(plain >> top))


@_compiled
def add(values: Values, origin: Values) -> None:
    """Undo `difference` in place."""
    kind = values.dtype.type
    for index in range(len(values)):
        folded = values[index]
        values[index] = kind(kind(folded >> kind(1)) ^ kind(-(folded & kind(1)))) + origin[index]


@_compiled
def lower(contexts: Contexts, values: Values, shift: int, mask: int) -> None:
    """Subtract `values >> shift & mask` from each context."""
    by, of = values.dtype.type(shift), values.dtype.type(mask)
    for index in range(len(contexts)):
        contexts[index] -= np.uint8((values[index] >> by) & of)


# The two halves by turns: neighbours are often alike, and would wait for one another. Places are
# kept in 32 bits without a sign, which are the quickest to count up.
@_compiled
def count(contexts: Contexts, counts: Counts) -> None:
    """Fill `counts` with how many elements of either half have each context."""
    half, one = len(contexts) // 2, np.uint32(1)
    front, back = contexts[:half], contexts[half:]
    first, second = np.zeros(CONTEXTS, np.uint32), np.zeros(CONTEXTS, np.uint32)
    for index in range(half):
        first[front[index]] += one
        second[back[index]] += one
    for index in range(half, len(back)):
        second[back[index]] += one
    counts[0] = first
    counts[1] = second


@_compiled
def sort(values: Values, contexts: Contexts, counts: Counts, ordered: Values) -> None:
    """Fill `ordered` with `values`, in a stable sort by context."""
    half, one = len(values) // 2, np.uint32(1)
    front, back = contexts[:half], contexts[half:]
    first, second = _places(counts)
    for index in range(half):
        place = first[front[index]]
        first[front[index]] = place + one
        ordered[place] = values[index]
        place = second[back[index]]
        second[back[index]] = place + one
        ordered[place] = values[half + index]
    for index in range(half, len(back)):
        ordered[second[back[index]]] = values[half + index]


@_compiled
def unsort(ordered: Values, contexts: Contexts, counts: Counts, values: Values) -> None:
    """Undo `sort`: fill `values`."""
    half, one = len(values) // 2, np.uint32(1)
    front, back = contexts[:half], contexts[half:]
    first, second = _places(counts)
    for index in range(half):
        place = first[front[index]]
        first[front[index]] = place + one
        values[index] = ordered[place]
        place = second[back[index]]
        second[back[index]] = place + one
        values[half + index] = ordered[place]
    for index in range(half, len(back)):
        values[half + index] = ordered[second[back[index]]]


@_compiled
def pack(symbols: Bytes, bits: int, packed: Bytes) -> None:
    """Fill `packed` with symbols of 1, 2 or 4 bits."""
    if bits == 4:
        for index in range(len(packed)):
            packed[index] = symbols[2 * index] | symbols[2 * index + 1] << 4
    elif bits == 2:
        for index in range(len(packed)):
            byte = symbols[4 * index] | symbols[4 * index + 1] << 2
            packed[index] = byte | symbols[4 * index + 2] << 4 | symbols[4 * index + 3] << 6
    else:
        for index in range(len(packed)):
            byte = 0
            for place in range(8):
                byte |= symbols[8 * index + place] << place
            packed[index] = byte


@_compiled
def unpack(packed: Bytes, bits: int, symbols: Bytes) -> None:
    """Undo `pack`: fill `symbols`."""
    if bits == 4:
        for index in range(len(packed)):
            symbols[2 * index] = packed[index] & 15
            symbols[2 * index + 1] = packed[index] >> 4
    elif bits == 2:
        for index in range(len(packed)):
            for place in range(4):
                symbols[4 * index + place] = packed[index] >> (2 * place) & 3
    else:
        for index in range(len(packed)):
            for place in range(8):
                symbols[8 * index + place] = packed[index] >> place & 1


def try_out() -> None:
    """Load or compile everything, so that what fails does so now."""
    for width in (2, 4):
        values = np.zeros(3, f"<u{width}")
        values.flags.writeable = False
        out, ordered = np.empty_like(values), np.empty_like(values)
        contexts, counts = np.zeros(3, np.uint8), np.zeros((2, CONTEXTS), np.int64)
        difference(values, values, out)
        lower(contexts, values, 0, 0)
        count(contexts, counts)
        sort(out, contexts, counts, ordered)
        unsort(ordered, contexts, counts, out)
        add(out, values)
    symbols, packed = np.zeros(8, np.uint8), np.zeros(1, np.uint8)
    pack(symbols, 1, packed)
    packed.flags.writeable = False
    unpack(packed, 1, symbols)
