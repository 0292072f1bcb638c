"""Another decoder of `planes` and `delta`, written from docs/format.md alone: slow, and without numpy."""

import math
import struct
import sys
from collections.abc import Sequence
from typing import Any

import msgpack

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd


class Streams:
    """What follows the header, taken from the front."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def take(self, length: int, plain: int) -> bytes:
        stored, self.data = self.data[:length], self.data[length:]
        return stored if length == plain else zstd.decompress(stored)


def parse(payload: bytes) -> tuple[Any, Streams]:
    (length,) = struct.unpack_from("<I", payload)
    return msgpack.unpackb(payload[4 : 4 + length]), Streams(payload[4 + length :])


def integers(data: bytes, width: int) -> list[int]:
    return [int.from_bytes(data[at : at + width], "little") for at in range(0, len(data), width)]


def grouped(contexts: list[int] | None, count: int) -> list[list[int]]:
    """Return the elements of each group, in their order."""
    if contexts is None:
        return [list(range(count))]
    groups: list[list[int]] = [[]]
    left = count
    for context in range(256):
        members = [index for index in range(count) if contexts[index] == context]
        groups[-1] += members
        left -= len(members)
        if len(groups[-1]) >= 4096 and (left >= 4096 or left == 0):
            groups.append([])
    return [group for group in groups if group]


def unpacked(data: bytes, bits: int, count: int) -> list[int]:
    whole = int.from_bytes(data, "little")
    return [whole >> (bits * index) & ((1 << bits) - 1) for index in range(count)] if bits < 8 else list(data)


def values(described: list[Any], streams: Streams, contexts: list[int] | None, count: int) -> list[int]:
    found = [0] * count
    for (bits, low, planes, lengths), group in zip(described, grouped(contexts, count), strict=True):
        todo = iter(lengths)
        size = len(group)
        symbols = unpacked(streams.take(next(todo), -(-size * bits // 8)), bits, size)
        escaped = [place for place in range(size) if symbols[place] == (1 << bits) - 1]
        for plane in range(planes):
            for place, byte in zip(escaped, streams.take(next(todo), len(escaped)), strict=True):
                symbols[place] += byte << 8 * plane
        rest = [0] * size
        for plane in range(low // 8):
            rest = [a + (b << 8 * plane) for a, b in zip(rest, streams.take(next(todo), size), strict=True)]
        if low % 8 in (4, 6):
            four = unpacked(streams.take(next(todo), -(-size // 2)), 4, size)
            rest = [a + (b << low // 8 * 8) for a, b in zip(rest, four, strict=True)]
        if low % 4 == 2:
            two = unpacked(streams.take(next(todo), -(-size // 4)), 2, size)
            rest = [a + (b << low - 2) for a, b in zip(rest, two, strict=True)]
        for place, index in enumerate(group):
            found[index] = (symbols[place] << low) + rest[place]
    assert not streams.data
    return found


def planes(payload: bytes, size: int, refs: Sequence[bytes]) -> bytes:
    (width, shift, mask, top, described), streams = parse(payload)
    contexts = [number >> shift & mask for number in integers(refs[0], width)] if refs else None
    bits = 8 * width
    plain = b""
    for value in values(described, streams, contexts, size // width):
        rotated = (top - value) % (1 << bits)
        number = rotated >> 1 | (rotated & 1) << bits - 1 if mask else value
        plain += number.to_bytes(width, "little")
    return plain


def delta(payload: bytes, size: int, refs: Sequence[bytes]) -> bytes:
    (width, shift, mask, (row, phase, first, second, both), described), streams = parse(payload)
    base, count = integers(refs[0], width), size // width
    if len(refs) == 2:
        base = [mean(a, b, (width, shift)) for a, b in zip(base, integers(refs[1], width), strict=True)]
    contexts = None
    if row:
        rows = streams.take(first, -(-(phase + count) // row))
        columns = streams.take(second, row) if both else bytes(row)
        contexts = [
            (rows[(phase + index) // row] + columns[(phase + index) % row] - (base[index] >> shift & mask)) % 256
            for index in range(count)
        ]
    plain = b""
    for origin, value in zip(base, values(described, streams, contexts, count), strict=True):
        number = (origin + (value >> 1 ^ -(value & 1))) % (1 << 8 * width)
        plain += number.to_bytes(width, "little")
    return plain


def mean(a: int, b: int, kind: tuple[int, int]) -> int:
    """Return the mean of two bit patterns; Python's floats are wide enough to round but once or harmlessly."""
    x, y = (widened(pattern, kind) for pattern in (a, b))
    whole = x / 2 + y / 2
    if math.isnan(whole):
        return a
    if kind == (2, 9):
        return int(struct.unpack("<H", struct.pack("<e", whole))[0])
    bits = int(struct.unpack("<I", struct.pack("<f", whole))[0])
    return bits if kind == (4, 22) else (bits + 0x7FFF + (bits >> 16 & 1)) >> 16


def widened(pattern: int, kind: tuple[int, int]) -> float:
    if kind == (2, 9):
        return float(struct.unpack("<e", pattern.to_bytes(2, "little"))[0])
    shifted = pattern << 16 if kind == (2, 6) else pattern
    return float(struct.unpack("<f", shifted.to_bytes(4, "little"))[0])
