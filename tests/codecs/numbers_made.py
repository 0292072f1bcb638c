"""Numbers that look like weights and their updates, the same on every machine and with every numpy."""

import numpy as np
from blake3 import blake3
from numpy.typing import NDArray

from mvs.codecs.numbers import Kind

# Of which kind which bits are the exponent, and which exponent is usual.
_EXPONENT = {2: (7, 120), 4: (23, 120)}


def noise(seed: str, size: int) -> NDArray[np.uint8]:
    return np.frombuffer(blake3(seed.encode()).digest(length=size), np.uint8)


def weights(seed: str, count: int, kind: Kind, *, half: bool = False) -> bytes:
    """Return numbers with exponents as weights have them, each half as frequent as the next."""
    width = kind.width
    plain = np.frombuffer(blake3(seed.encode()).digest(length=count * width), f"<u{width}").copy()
    if kind.mask:
        bits, usual = (10, 14) if half else _EXPONENT[width]
        lower = np.log2(noise(seed + "e", count).astype(np.float64) + 1).astype(np.int64)
        exponents = (usual - 8 + lower).astype(plain.dtype)
        sign = plain & plain.dtype.type(1 << (8 * width - 1))
        plain &= plain.dtype.type((1 << bits) - 1)
        plain |= sign | exponents << bits
    return plain.tobytes()


def tuned(base: bytes, seed: str, kind: Kind, *, row: int = 96, by_column: bool = False) -> bytes:
    """Return numbers that differ from those of `base` by a few units, more in some rows (and columns)."""
    origin = np.frombuffer(base, f"<u{kind.width}")
    index = np.arange(len(origin))
    steps = noise(seed, len(origin)).astype(np.int64) - 128
    steps >>= (index // row) % 5 + 1
    if by_column:
        steps *= np.where(index % row % 7 == 0, 16, 1)
    made: bytes = (origin + steps.astype(origin.dtype)).tobytes()
    return made
