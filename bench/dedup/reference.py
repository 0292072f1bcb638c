"""The published ways to store a fine-tune, in memory, as what mvs is measured against.

TensorX is the one of the bounds: XOR with the base, one plane for each byte of an item,
zstd level 1 on each plane (TensorDex, SOSP '26). With no base it is planes and zstd alone.
"""

import sys
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

BLOCK = 4 << 20
_LEVEL = 1
# ZipLLM's own choice.
_BITX_LEVEL = 3

Bytes = NDArray[np.uint8]


@dataclass(frozen=True)
class Block:
    """Bytes of one tensor, the bytes of the base in the same place if it has any, and the width of an item."""

    data: Bytes
    base: Bytes | None
    width: int


@dataclass(frozen=True)
class Encoded:
    """A block as stored: its planes. A file would have a few bytes more for each, which are not counted."""

    planes: tuple[bytes, ...]
    base: Bytes | None
    size: int


class _Contexts(threading.local):
    """The compressor of a thread: made once, as a program that wants to be fast does it."""

    def __init__(self) -> None:
        self.compressor = zstd.ZstdCompressor(level=_LEVEL)


_contexts = _Contexts()


def blocks(data: Bytes, base: Bytes | None, width: int) -> list[Block]:
    """Return the blocks of a tensor; those that lie beyond the end of the base have none.

    A base that is shorter is a tensor that has grown by rows, the rest of which is where it was.
    """
    known = 0 if base is None else min(len(base), len(data))
    cuts = sorted({*range(0, len(data), BLOCK), known, len(data)})
    return [
        Block(data[start:end], base[start:end] if base is not None and end <= known else None, width)
        for start, end in pairwise(cuts)
    ]


def encode(given: Sequence[Block], threads: int) -> list[Encoded]:
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(_encode, given))


def decode(given: Sequence[Encoded], threads: int) -> None:
    """Decode everything and let go of it at once, as something that writes it to a file would."""
    with ThreadPoolExecutor(threads) as pool:
        for _ in pool.map(_decode, given):
            pass


def decoded(encoded: Encoded) -> Bytes:
    """Return the bytes of a block."""
    bits = np.empty(encoded.size, np.uint8)
    for index, plane in enumerate(encoded.planes):
        bits[index :: len(encoded.planes)] = np.frombuffer(zstd.decompress(plane), np.uint8)
    if encoded.base is not None:
        np.bitwise_xor(bits, encoded.base, out=bits)
    return bits


def stored(given: Sequence[Block]) -> int:
    """Return how many bytes TensorX stores."""
    return sum(sum(len(plane) for plane in _encode(block).planes) for block in given)


def bitx(given: Sequence[Block]) -> int:
    """Return how many bytes ZipLLM's BitX stores of bf16: XOR, exponents apart from signs and mantissas, zstd-3."""
    total = 0
    for block in given:
        items = _items(block.data)
        bits = items if block.base is None else items ^ _items(block.base)
        exponents = (bits >> 7 & 0xFF).astype(np.uint8)
        rest = (bits & 0x7F | bits >> 8 & 0x80).astype(np.uint8)
        total += sum(len(zstd.compress(plane.tobytes(), level=_BITX_LEVEL)) for plane in (exponents, rest))
    return total


def difference(given: Sequence[Block]) -> int:
    """Return how many bytes TensorX stores of bf16 with an integer difference, as FM-Delta has it, for XOR."""
    return stored([Block(_difference(block).view(np.uint8), None, 2) for block in given])


def _encode(block: Block) -> Encoded:
    bits = block.data if block.base is None else np.bitwise_xor(block.data, block.base)
    planes = (np.ascontiguousarray(bits[index :: block.width]) for index in range(block.width))
    compressor = _contexts.compressor
    made = tuple(compressor.compress(plane.data, compressor.FLUSH_FRAME) for plane in planes)
    return Encoded(made, block.base, len(block.data))


def _decode(encoded: Encoded) -> None:
    decoded(encoded)


def _difference(block: Block) -> NDArray[np.uint16]:
    """Return by how many representable numbers each item differs from the base; 0, -1, 1, -2 are 0, 1, 2, 3."""
    if block.base is None:
        return _items(block.data)
    steps = _ordered(block.data) - _ordered(block.base)
    return (steps << np.uint16(1)) ^ _sign(steps)


def _ordered(data: Bytes) -> NDArray[np.uint16]:
    """Return integers in the order of the numbers that bf16 or fp16 bits stand for."""
    items = _items(data)
    return items ^ (_sign(items) | np.uint16(0x8000))


def _sign(items: NDArray[np.uint16]) -> NDArray[np.uint16]:
    """Return all ones where the highest bit is set, else none."""
    return (items.view(np.int16) >> 15).view(np.uint16)


def _items(data: Bytes) -> NDArray[np.uint16]:
    return data.view(np.uint16)
