"""Casts between F32, F16 and BF16, defined for every bit pattern.

Roundings are to the nearest, ties to even (IEEE 754, 4.3.1), unless named otherwise. What
processors and libraries disagree about, the bits of a NaN, is set here by integer arithmetic, so
that every machine makes the same bytes.
"""

from collections.abc import Callable
from functools import cache, partial
from typing import Any

import numpy as np
import numpy.typing as npt

Words = npt.NDArray[np.uint16]
Floats = npt.NDArray[np.float32]

_SIGN = np.uint32(0x8000_0000)
_INFINITY = np.uint32(0x7F80_0000)
_MAGNITUDE = np.uint32(0x7FFF_FFFF)


def widen(source: str, items: npt.NDArray[Any]) -> Floats:
    """Return elements of type `source` as F32; exact, a signalling NaN becomes a quiet one of F16."""
    if source == "F32":
        return items.astype(np.float32, copy=False)
    if source == "BF16":
        bits = items.astype(np.uint32)
        bits <<= np.uint32(16)
        return bits.view(np.float32)
    wide: Floats = np.take(_halves(), items)
    return wide


def cast(function: str, source: str, items: npt.NDArray[Any], out: npt.NDArray[Any]) -> None:
    """Write elements of type `source` to `out`, cast to F32 or to the bits of F16 or BF16."""
    if function == "f32":
        out[:] = widen(source, items)
    elif source == "F32":
        out[:] = _NARROW[function](items.astype(np.float32, copy=False))
    else:
        np.take(_table(function, source), items, out=out, mode="clip")


def half(values: Floats) -> Words:
    """Return F32 as the bits of F16; a NaN keeps its sign alone (7E00, as ggml and c10::Half)."""
    out = values.astype(np.float16).view(np.uint16)
    strange = np.isnan(values)
    if strange.any():
        out[strange] = np.where(np.signbit(values[strange]), np.uint16(0xFE00), np.uint16(0x7E00))
    return out


def _brain(values: Floats, *, nan: int | None = None, flush: bool = False) -> Words:
    """Round F32 to BF16; a NaN becomes `nan`, or else keeps its upper bits and turns quiet."""
    bits = values.view(np.uint32)
    magnitude = bits & _MAGNITUDE
    rounded = bits >> np.uint32(16)
    rounded &= np.uint32(1)
    rounded += np.uint32(0x7FFF)
    rounded += bits
    rounded >>= np.uint32(16)
    out = rounded.astype(np.uint16)
    if flush:
        tiny = magnitude < np.uint32(0x0080_0000)
        out[tiny] = (bits[tiny] & _SIGN) >> np.uint32(16)
    strange = magnitude > _INFINITY
    if strange.any():
        out[strange] = (bits[strange] >> np.uint32(16)) | np.uint32(0x40) if nan is None else nan
    return out


def _truncated(values: Floats) -> Words:
    return (values.view(np.uint32) >> np.uint32(16)).astype(np.uint16)


_NARROW: dict[str, Callable[[Floats], Words]] = {
    "f16": half,
    "bf16": _brain,
    "bf16.truncated": _truncated,
    "bf16.flushed": partial(_brain, flush=True),
    "bf16.torch": partial(_brain, nan=0x7FC0),
    "bf16.torch-vector": partial(_brain, nan=0xFFFF),
}


@cache
def _halves() -> Floats:
    """Return F32 of every F16: four times as fast as the cast, and NaN the same everywhere."""
    table = np.arange(1 << 16, dtype=np.uint16).view(np.float16).astype(np.float32)
    bits = table.view(np.uint32)
    bits[np.isnan(table)] |= np.uint32(0x0040_0000)
    return table


@cache
def _table(function: str, source: str) -> Words:
    """Return what `function` makes of every 16-bit pattern of `source`."""
    return _NARROW[function](widen(source, np.arange(1 << 16, dtype=np.uint16)))
