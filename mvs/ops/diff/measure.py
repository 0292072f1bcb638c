"""How far two runs of numbers are apart. Pure; knows nothing of versions or files."""

from functools import cache
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from mvs.codecs.cut.dtypes import NUMPY
from mvs.ops.diff.facts import Difference

Floats: TypeAlias = NDArray[np.float64]

# 512 KiB an array of float64: smaller and the calls cost more than the numbers, larger and they leave the cache.
_RUN = 1 << 16

# Types whose numbers numpy can read as they lie. A complex number is two.
_PLAIN = {**NUMPY, "BOOL": "u1", "C64": "<f4", "C128": "<f8"}
# Exponent bits, bias, and the codes that are no number (Micikevicius et al. 2022, "FP8 formats for deep learning";
# OCP MX 1.0 for E8M0; the FNUZ kinds as LLVM's APFloat has them). E5M2 has the infinities of IEEE 754.
_EIGHT_BITS = {
    "F8_E4M3": (4, 7, (0x7F, 0xFF)),
    "F8_E5M2": (5, 15, (0x7C, 0x7D, 0x7E, 0x7F, 0xFC, 0xFD, 0xFE, 0xFF)),
    "F8_E4M3FNUZ": (4, 8, (0x80,)),
    "F8_E5M2FNUZ": (5, 16, (0x80,)),
}


def width(dtype: str) -> int | None:
    """Return the bytes of a number of a type; None where its numbers cannot be read, as when quantised."""
    if dtype in _PLAIN:
        return np.dtype(_PLAIN[dtype]).itemsize
    if dtype == "BF16":
        return 2
    return 1 if dtype in _EIGHT_BITS or dtype == "F8_E8M0" else None


def by_value(before: bytes, after: bytes, dtypes: tuple[str, str]) -> Difference:
    """Return how far as many numbers of two types, both of which have a `width`, are apart."""
    ours, theirs = _codes(before, dtypes[0]), _codes(after, dtypes[1])
    if len(ours) != len(theirs):
        raise ValueError("runs of different lengths")
    total = Difference()
    room = np.empty((3, min(_RUN, len(ours))))
    # Signalling NaN, and sums of what is very large: counted, and no reason to warn.
    with np.errstate(all="ignore"):
        for start in range(0, len(ours), _RUN):
            some = slice(start, start + _RUN)
            total += _run(ours[some], theirs[some], dtypes, room)
    return total


def by_byte(before: bytes, after: bytes) -> Difference:
    """Return how many bytes of two runs of the same length differ."""
    different = np.frombuffer(before, np.uint8) != np.frombuffer(after, np.uint8)
    return Difference(items=len(different), changed=int(np.count_nonzero(different)))


def _run(
    ours: NDArray[np.unsignedinteger], theirs: NDArray[np.unsignedinteger], dtypes: tuple[str, str], room: Floats
) -> Difference:
    a, b, apart = room[:, : len(ours)]
    _read(ours, dtypes[0], a)
    _read(theirs, dtypes[1], b)
    changed = int(np.count_nonzero(ours != theirs if dtypes[0] == dtypes[1] else a != b))
    # einsum, unlike dot, stays in this thread: all cores have runs of their own.
    squares = float(np.einsum("i,i->", a, a)), float(np.einsum("i,i->", b, b))
    finite, odd = len(a), (0, 0)
    if not np.isfinite(squares).all():
        good = np.isfinite(a), np.isfinite(b)
        odd = len(a) - int(np.count_nonzero(good[0])), len(a) - int(np.count_nonzero(good[1]))
        bad = ~(good[0] & good[1])
        finite -= int(np.count_nonzero(bad))
        a[bad] = b[bad] = 0
        squares = float(np.einsum("i,i->", a, a)), float(np.einsum("i,i->", b, b))
    products = float(np.einsum("i,i->", a, b))
    np.subtract(b, a, out=apart)
    apart_squares = float(np.einsum("i,i->", apart, apart))
    np.abs(apart, out=apart)
    return Difference(
        items=len(a),
        changed=changed,
        finite=finite,
        nonfinite_before=odd[0],
        nonfinite_after=odd[1],
        absolute=float(apart.sum()),
        largest=float(apart.max()),
        squares_before=squares[0],
        squares_after=squares[1],
        products=products,
        squares=apart_squares,
    )


def _codes(data: bytes, dtype: str) -> NDArray[np.unsignedinteger]:
    return np.frombuffer(data, f"<u{width(dtype)}")


def _read(codes: NDArray[np.unsignedinteger], dtype: str, out: Floats) -> None:
    if dtype == "BF16":
        wide = codes.astype(np.uint32)
        wide <<= 16
        out[:] = wide.view(np.float32)
    elif dtype in _PLAIN:
        out[:] = codes.view(_PLAIN[dtype])
    else:
        out[:] = _table(dtype)[codes]


@cache
def _table(dtype: str) -> Floats:
    """Return the number that each byte of an 8-bit float stands for."""
    codes = np.arange(256)
    if dtype == "F8_E8M0":
        return np.where(codes == 255, np.nan, np.ldexp(1.0, codes - 127))
    bits, bias, none = _EIGHT_BITS[dtype]
    fraction = 7 - bits
    exponents, mantissas = codes >> fraction & (1 << bits) - 1, codes & (1 << fraction) - 1
    # The exponent 0 is that of the numbers below the smallest normal one, which have no hidden bit.
    hidden = np.where(exponents > 0, 1 << fraction, 0)
    values: Floats = np.ldexp((mantissas + hidden).astype(float), np.maximum(exponents, 1) - bias - fraction)
    values[codes >= 128] *= -1
    values[list(none)] = np.nan
    return values
