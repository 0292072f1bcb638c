"""The functions of `arrange`, compiled by numba: several times as fast, and they release the GIL.

Imported by `ways` alone, and only when there is much to do: loading takes half a second.
"""

from collections.abc import Callable
from importlib import import_module
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from mvs.codecs.arrange import CONTEXTS, SAMPLE, Bytes, Contexts, Counts, Ends, Shapes, Values

_Loop = TypeVar("_Loop", bound=Callable[..., object])
# Not an import statement: numba is an extra, and types are checked with and without it.
_njit = import_module("numba").njit
_TILE = 1 << 12
_FEW = 1 << 7


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


# A run is first asked whether any of it exceeds a symbol, in a loop that is vectorised. Where some do, nobody can
# tell which: so what is done for those is done for all, and counts for those alone.
@_compiled
def _beyond(values: Values, limit: int, low: int) -> Values:
    """Return what elements from `limit` on have beyond it, `low` bits dropped."""
    kind = values.dtype.type
    found, much = np.empty(len(values) + 1, values.dtype), 0
    by, less = kind(low), kind(limit >> low)
    for start in range(0, len(values), _FEW):
        part = values[start : start + _FEW]
        largest = kind(0)
        for index in range(len(part)):
            largest = max(largest, part[index])
        if largest >= limit:
            for index in range(len(part)):
                found[much] = kind(part[index] >> by) - less
                much += part[index] >= limit
    return found[:much]


@_compiled
def _exceed(values: Values, bits: int, low: int, beyond: Values) -> None:
    """Add what exceeds a symbol to the elements that are the largest symbol, then shift all up."""
    kind = values.dtype.type
    escape, by = kind((1 << bits) - 1), kind(low)
    places, found = np.empty(len(beyond) + 1, np.uint32), 0
    for start in range(0, len(values), _FEW):
        part = values[start : start + _FEW]
        largest = kind(0)
        for index in range(len(part)):
            largest = max(largest, part[index])
        if largest == escape:
            for index in range(len(part)):
                places[found] = start + index
                found += part[index] == escape
    for index in range(len(beyond)):
        values[places[index]] += beyond[index]
    if low:
        for index in range(len(values)):
            values[index] <<= by


@_compiled
def _fitting(values: Values) -> tuple[int, int]:
    """Return the symbol width and the number of low bits that fit the mean of a group."""
    step = max(1, len(values) // SAMPLE)
    total, some = 0.0, 0
    for index in range(0, len(values), step):
        total += values[index]
        some += 1
    mean = total / max(1, some)
    if mean < 0.1:
        return 1, 0
    if mean < 0.5:
        return 2, 0
    if mean < 14.0:
        return 4, 0
    low = 0
    while mean / (1 << low) > 60 and low + 8 < values.itemsize * 8:
        low += 4
    return 8, low


# Symbols lie unpacked only in a tile, within the fastest cache; every loop over one is vectorised.
@_compiled
def _put(values: Values, shift: int, bits: int, capped: bool, packed: Bytes, at: int) -> int:
    """Put so many bits of each of `values >> shift` at `at`, as `arrange` does; return where they end."""
    kind = values.dtype.type
    by, most = kind(shift), kind((1 << bits) - 1)
    symbols, folded = np.zeros(_TILE, np.uint8), np.zeros(_TILE, np.uint8)
    stop = at + (len(values) * bits + 7) // 8
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
        out = packed[at + start * bits // 8 : min(stop, at + (start + _TILE) * bits // 8)]
        for index in range(len(out)):
            out[index] = symbols[index]
    return stop


@_compiled
def _spread(packed: Bytes, bits: int, symbols: Bytes, spread: Bytes) -> Bytes:
    """Return the symbols of a tile, each in a byte of its own, in one of the two arrays given."""
    for index in range(len(packed)):
        symbols[index] = packed[index]
    width, size = 8, len(packed)
    while width > bits:
        width //= 2
        words, grow, mask = spread.view(np.uint16), np.uint16(8 - width), np.uint16(0x101 * ((1 << width) - 1))
        for index in range(size):
            words[index] = (np.uint16(symbols[index]) | np.uint16(symbols[index]) << grow) & mask
        size *= 2
        symbols, spread = spread, symbols
    return symbols


@_compiled
def _take(packed: Bytes, at: int, bits: int, shift: int, values: Values) -> int:
    """Set the bits of `values` that are set in what was put at `at`, shifted up; return where that ends."""
    kind = values.dtype.type
    by = kind(shift)
    one, two = np.empty(_TILE, np.uint8), np.empty(_TILE, np.uint8)
    stop = at + (len(values) * bits + 7) // 8
    for start in range(0, len(values), _TILE):
        part = values[start : start + _TILE]
        symbols = _spread(packed[at + start * bits // 8 : min(stop, at + (start + _TILE) * bits // 8)], bits, one, two)
        for index in range(len(part)):
            part[index] |= kind(symbols[index]) << by
    return stop


@_compiled
def pack(values: Values, ends: Ends, low: int, packed: Bytes, shapes: Shapes) -> None:
    """Fill `packed` with the streams of each group, and `shapes` with what they are."""
    kind = values.dtype.type
    begin = at = 0
    for number in range(len(ends)):
        group = values[begin : ends[number]]
        bits, kept = _fitting(group) if low < 0 else (8, low)
        beyond = _beyond(group, kind(((1 << bits) - 1) << kept), kept)
        planes, largest = 0, beyond.max() if len(beyond) else kind(0)
        while largest >> (8 * planes):
            planes += 1
        shapes[number, 0], shapes[number, 1], shapes[number, 2], shapes[number, 3] = bits, kept, planes, len(beyond)
        at = _put(group, kept, bits, True, packed, at)
        for index in range(planes):
            at = _put(beyond, 8 * index, 8, False, packed, at)
        for index in range(kept // 8):
            at = _put(group, 8 * index, 8, False, packed, at)
        if kept % 8 >= 4:
            at = _put(group, kept // 8 * 8, 4, False, packed, at)
        if kept % 4:
            at = _put(group, kept - 2, 2, False, packed, at)
        begin = ends[number]


@_compiled
def escapes(packed: Bytes, bits: int, count: int) -> int:
    """Return how many of the first `count` symbols of so many bits are the largest one."""
    found, escape = 0, (1 << bits) - 1
    one, two = np.empty(_TILE, np.uint8), np.empty(_TILE, np.uint8)
    for start in range(0, count, _TILE):
        symbols = _spread(packed[start * bits // 8 : (start + _TILE) * bits // 8], bits, one, two)
        for index in range(min(_TILE, count - start)):
            found += symbols[index] == escape
    return found


@_compiled
def lay(packed: Bytes, ends: Ends, shapes: Shapes, values: Values) -> None:
    """Undo `pack`: fill `values`."""
    begin = at = 0
    values[:] = 0
    for number in range(len(ends)):
        group = values[begin : ends[number]]
        bits, low, planes, escaped = shapes[number, 0], shapes[number, 1], shapes[number, 2], shapes[number, 3]
        at = _take(packed, at, bits, 0 if planes else low, group)
        if planes:
            beyond = np.zeros(escaped, values.dtype)
            for index in range(planes):
                at = _take(packed, at, 8, 8 * index, beyond)
            _exceed(group, bits, low, beyond)
        for index in range(low // 8):
            at = _take(packed, at, 8, 8 * index, group)
        if low % 8 >= 4:
            at = _take(packed, at, 4, low // 8 * 8, group)
        if low % 4:
            at = _take(packed, at, 2, low - 2, group)
        begin = ends[number]


def try_out() -> None:
    """Load or compile everything, so that what fails does so now."""
    packed, seen, shapes = np.zeros(40, np.uint8), np.zeros(4, np.uint8), np.zeros((1, 4), np.int64)
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
        pack(out, np.array([3]), -1, packed, shapes)
        escapes(seen, 8, 3)
        lay(packed, np.array([3]), shapes, out)
