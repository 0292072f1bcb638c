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
_TILE = 1 << 12


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
    even = half // 2
    parts = contexts[:even], contexts[even : 2 * even], contexts[half : half + even], contexts[half + even :]
    found = np.zeros((4, CONTEXTS), np.uint32)
    first, second, third, fourth = found[0], found[1], found[2], found[3]
    for index in range(even):
        first[parts[0][index]] += one
        second[parts[1][index]] += one
        third[parts[2][index]] += one
        fourth[parts[3][index]] += one
    for context in contexts[2 * even : half]:
        second[context] += one
    for context in parts[3][even:]:
        fourth[context] += one
    counts[0] = first + second
    counts[1] = third + fourth


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
def turn(numbers: Values, top: int, values: Values) -> None:
    """Fill `values` with `top` minus the numbers, whose sign is rotated to the lowest bit."""
    kind = values.dtype.type
    start, sign = kind(top), kind(8 * values.itemsize - 1)
    for index in range(len(values)):
        number = numbers[index]
        values[index] = start - (kind(number << kind(1)) | kind(number >> sign))


@_compiled
def unturn(values: Values, top: int) -> None:
    """Undo `turn` in place."""
    kind = values.dtype.type
    start, sign = kind(top), kind(8 * values.itemsize - 1)
    for index in range(len(values)):
        turned = kind(start - values[index])
        values[index] = kind(turned >> kind(1)) | kind(turned << sign)


# Symbols lie unpacked only in a tile, within the fastest cache; every loop over one is vectorised.
@_compiled
def pack(values: Values, shift: int, bits: int, capped: bool, packed: Bytes) -> None:
    """Fill `packed` with 1, 2, 4 or 8 bits of each of `values >> shift`."""
    kind = values.dtype.type
    by, most = kind(shift), kind((1 << bits) - 1)
    symbols, folded = np.zeros(_TILE, np.uint8), np.zeros(_TILE, np.uint8)
    for start in range(0, len(values), _TILE):
        part = values[start : start + _TILE]
        if capped:
            for index in range(len(part)):
                symbols[index] = min(kind(part[index] >> by), most)
        else:
            for index in range(len(part)):
                symbols[index] = kind(part[index] >> by) & most
        for index in range(len(part), _TILE):
            symbols[index] = 0
        width, size = bits, _TILE
        while width < 8:
            size //= 2
            words, shrink = symbols.view(np.uint16), np.uint16(8 - width)
            for index in range(size):
                folded[index] = words[index] | words[index] >> shrink
            symbols, folded = folded, symbols
            width *= 2
        out = packed[start * bits // 8 : (start + _TILE) * bits // 8]
        for index in range(len(out)):
            out[index] = symbols[index]


@_compiled
def lay(packed: Bytes, bits: int, shift: int, values: Values) -> None:
    """Set the bits of `values` that are set in what was packed, shifted up."""
    kind = values.dtype.type
    by = kind(shift)
    symbols, spread = np.zeros(_TILE, np.uint8), np.zeros(_TILE, np.uint8)
    for start in range(0, len(values), _TILE):
        part = values[start : start + _TILE]
        some = packed[start * bits // 8 : (start + _TILE) * bits // 8]
        for index in range(len(some)):
            symbols[index] = some[index]
        width, size = 8, len(some)
        while width > bits:
            width //= 2
            words, grow, mask = spread.view(np.uint16), np.uint16(8 - width), np.uint16(0x101 * ((1 << width) - 1))
            for index in range(size):
                words[index] = (np.uint16(symbols[index]) | np.uint16(symbols[index]) << grow) & mask
            size *= 2
            symbols, spread = spread, symbols
        for index in range(len(part)):
            part[index] |= kind(symbols[index]) << by


def try_out() -> None:
    """Load or compile everything, so that what fails does so now."""
    packed, seen = np.zeros(4, np.uint8), np.zeros(4, np.uint8)
    seen.flags.writeable = False
    for width in (2, 4):
        values = np.zeros(3, f"<u{width}")
        values.flags.writeable = False
        out, ordered = np.zeros_like(values), np.zeros_like(values)
        contexts, counts = np.zeros(3, np.uint8), np.zeros((2, CONTEXTS), np.int64)
        difference(values, values, out)
        turn(values, 0, out)
        unturn(out, 0)
        lower(contexts, values, 0, 0)
        count(contexts, counts)
        sort(out, contexts, counts, ordered)
        unsort(ordered, contexts, counts, out)
        add(out, values)
        pack(out, 0, 8, True, packed)
        lay(seen, 8, 0, out)
