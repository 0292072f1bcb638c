"""The quantised blocks of ggml: Q8_0, Q4_0, Q4_1, Q5_0 and Q5_1, 32 elements each.

The layouts and roundings are those of `quantize_row_*_ref` in ggml-quants.c: little-endian F16
scale, F16 minimum (Q*_1), the fifth bits (Q5_*), then codes, element i beside element i + 16.

Blocks come as columns of F32, element by element in the rows, so that every step is one run over
contiguous memory. C leaves the conversion of what does not fit an integer undefined; here it
gives what x86-64 gives. ggml refuses such blocks, other writers do not.
"""

import numpy as np
import numpy.typing as npt

from mvs.codecs.derive.casts import Floats, half

Bytes = npt.NDArray[np.uint8]
Flags = npt.NDArray[np.bool_]

ITEMS = 32
_SIGN = np.uint32(0x8000_0000)
# Where in its byte the fifth bit of a code lies; four times as fast as packbits on columns.
_PLACES = np.tile(np.arange(8, dtype=np.uint8), 4)[:, np.newaxis]
_LARGEST = np.finfo(np.float32).max
# Adding this leaves every value as it is, except that -0 becomes +0.
_ZERO = np.float32(0)
# The largest F32 below one half: x + this, cut to an integer, is x rounded with ties away from
# zero (C's roundf); adding one half itself would round 0.49999997 up.
_ALMOST_HALF = np.float32(0.49999997)


def quantize(function: str, columns: Floats, out: Bytes) -> None:
    """Write the blocks that are the columns of a (32, n) array to `out`, of shape (n, block size)."""
    kind, _, variant = function.partition(".")
    if kind == "q8_0":
        _symmetric_bytes(columns, out)
    elif kind in ("q4_0", "q5_0"):
        _symmetric(columns, out, bits=int(kind[1]), variant=variant)
    else:
        _affine(columns, out, bits=int(kind[1]))


def _symmetric_bytes(columns: Floats, out: Bytes) -> None:
    magnitudes = np.abs(columns)
    peak = magnitudes.max(axis=0)
    finite = np.isfinite(peak)
    strange = np.flatnonzero(np.isnan(peak))
    if strange.size:
        peak[strange] = _forgetful(magnitudes[:, strange])
    scale = peak / np.float32(127)
    inverse = _inverse(scale)
    scaled = columns * inverse
    # The same as copysign, twice as fast.
    away = np.bitwise_and(scaled.view(np.uint32), _SIGN, out=magnitudes.view(np.uint32))
    away |= _ALMOST_HALF.view(np.uint32)
    scaled += away.view(np.float32)
    out[:, :2] = _halves(scale)
    out[:, 2:] = _codes(scaled, finite & np.isfinite(inverse)).T


def _symmetric(columns: Floats, out: Bytes, *, bits: int, variant: str) -> None:
    """Q4_0 and Q5_0: the element furthest from zero becomes the lowest code."""
    steps = 1 << (bits - 1)
    furthest, finite = _furthest(columns, keep="gguf-py" in variant)
    scale = furthest / np.float32(-steps)
    inverse = _inverse(scale)
    scaled = _scaled(columns, inverse, np.float32(steps + 0.5), fused="fused" in variant)
    codes = _codes(scaled, finite & np.isfinite(inverse))
    np.minimum(codes, np.uint8(2 * steps - 1), out=codes)
    out[:, :2] = _halves(scale)
    _pack(codes, out[:, 2:], bits)


def _affine(columns: Floats, out: Bytes, *, bits: int) -> None:
    """Q4_1 and Q5_1: the smallest element becomes code 0, the largest the highest."""
    low, high, finite = _range(columns)
    scale = (high - low + _ZERO) / np.float32((1 << bits) - 1)
    inverse = _inverse(scale)
    scaled = _scaled(columns - low, inverse, np.float32(0.5), fused=False)
    codes = _codes(scaled, finite & np.isfinite(scale) & np.isfinite(inverse))
    np.minimum(codes, np.uint8((1 << bits) - 1), out=codes)
    out[:, :2] = _halves(scale)
    out[:, 2:4] = _halves(low)
    _pack(codes, out[:, 4:], bits)


def _forgetful(magnitudes: Floats) -> Floats:
    """Return the largest after the last NaN, or NaN when that is the last element.

    C's MAX(a, b) is a > b ? a : b, which forgets at a NaN what was before it.
    """
    last = ITEMS - 1 - np.isnan(magnitudes[::-1]).argmax(axis=0)
    after = np.arange(ITEMS)[:, np.newaxis] > last
    largest = np.where(after, magnitudes, _ZERO).max(axis=0)
    return np.where(last == ITEMS - 1, np.float32(np.nan), largest)


def _furthest(columns: Floats, *, keep: bool) -> tuple[Floats, Flags]:
    """Return of each column the element of the largest magnitude, and whether all are finite.

    That is the first of several; of zeros +0, or with `keep` the first. A NaN counts as +0, or
    with `keep` as the largest.
    """
    low, high = columns.min(axis=0), columns.max(axis=0)
    finite = np.isfinite(low) & np.isfinite(high)
    positive, negative = high > -low, high < -low
    furthest = np.where(positive, high, low)
    # Equal magnitudes, zeros, NaN (which compares with nothing).
    unsure = np.flatnonzero(~(positive | negative))
    if unsure.size:
        some = columns[:, unsure]
        if not keep:
            some[np.isnan(some)] = _ZERO
        first = np.abs(some).argmax(axis=0, keepdims=True)
        furthest[unsure] = np.take_along_axis(some, first, axis=0)[0]
    return (furthest if keep else furthest + _ZERO), finite


def _range(columns: Floats) -> tuple[Floats, Floats, Flags]:
    """Return the smallest and the largest of each column, NaN apart, and whether all are finite.

    Of zeros the smallest is the first.
    """
    low, high = columns.min(axis=0), columns.max(axis=0)
    finite = np.isfinite(low) & np.isfinite(high)
    strange = np.flatnonzero(~finite)
    if strange.size:
        # C starts from the largest finite values, which infinities do not displace.
        some = columns[:, strange]
        low[strange] = np.fmin.reduce(some, axis=0, initial=_LARGEST)
        high[strange] = np.fmax.reduce(some, axis=0, initial=-_LARGEST)
    zeros = np.flatnonzero(low == 0)
    if zeros.size:
        some = columns[:, zeros]
        first = (some == 0).argmax(axis=0, keepdims=True)
        low[zeros] = np.take_along_axis(some, first, axis=0)[0]
    return low, high, finite


def _inverse(scale: Floats) -> Floats:
    """Return 1 / scale, and 0 for 0; a subnormal scale may give infinity."""
    inverse = np.zeros_like(scale)
    np.divide(np.float32(1), scale, out=inverse, where=scale != 0)
    return inverse


def _scaled(values: Floats, inverse: Floats, offset: np.float32, *, fused: bool) -> Floats:
    """Return values * inverse + offset, rounded twice or, fused, once.

    The product of two F32 is exact in F64, and so is the sum wherever it is close enough to an
    integer for its rounding to F32 to change the code.
    """
    if fused:
        exact = np.multiply(values, inverse, dtype=np.float64)
        exact += np.float64(offset)
        return exact.astype(np.float32)
    scaled = values * inverse
    scaled += offset
    return scaled


def _codes(scaled: Floats, tame: Flags) -> Bytes:
    """Cut to integers towards zero.

    Columns that are not `tame` may hold what no code stands for; they get the low byte of what
    x86-64 makes of it: 0 of NaN and of all that is no 32-bit integer.
    """
    if not tame.all():
        wild = np.flatnonzero(~tame)
        some = scaled[:, wild]
        whole = np.where(np.abs(some) < np.float32(1 << 31), some, _ZERO).astype(np.int32)
        scaled[:, wild] = whole.astype(np.int8)
    return scaled.astype(np.int8).view(np.uint8)


def _halves(values: Floats) -> Bytes:
    """Return F16 in little-endian bytes, one row of two for each value."""
    return half(values).astype("<u2", copy=False).view(np.uint8).reshape(-1, 2)


def _pack(codes: Bytes, out: Bytes, bits: int) -> None:
    """Write the fifth bits, if any, 32 in a row, then the low four bits of i beside those of i + 16."""
    if bits == 5:
        fifth = codes >> np.uint8(4)
        fifth <<= _PLACES
        out[:, :4] = np.bitwise_or.reduce(fifth.reshape(4, 8, -1), axis=1).T
    low = codes[: ITEMS // 2] & np.uint8(15)
    low |= codes[ITEMS // 2 :] << np.uint8(4)
    out[:, bits - 4 << 2 :] = low.T
