"""Blocks: a run of plain bytes as the smallest of the encodings, and back.

| encoding | refs | what is stored |
|---|---|---|
| raw | | the bytes |
| fill | | the item that the bytes repeat |
| zstd | | a zstd frame |
| planes | a guide, or none | numbers, entropy-coded |
| delta | a base, or two whose mean is the base | numbers, as differences |
| derive | a source | the recipe |
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgpack
import numpy as np

from mvs.codecs import derive, numbers
from mvs.codecs.numbers import KINDS, Buffer, Kind
from mvs.codecs.streams import expand, squeeze

RAW, FILL, ZSTD, PLANES, DELTA, DERIVE = "raw", "fill", "zstd", "planes", "delta", "derive"

# What saves less than this is not worth decoding.
_WORTH = 0.98
# No numbers alone get so small.
_AS_HOPED = 0.5
# Of what has no known type, so much is needed to guess one, and it has to save so much against text.
_LEAST_GUESSED = 1 << 16
_CLEARLY = 0.95
# A ref more has to save this share: it is one thing more to keep and to read.
_EACH_REF = 0.01
# Elements that the encodings are tried on.
_SAMPLE = 1 << 15
# An item that is repeated is at most so long.
_LONGEST_FILL = 16
# Neither a row nor a tensor is so long.
_TOO_MUCH = 1 << 48


class Encoded(NamedTuple):
    """How a block is stored: `refs` are the numbers of those that were offered and are needed to decode it."""

    encoding: str
    payload: bytes
    refs: tuple[int, ...] = ()


class Trial(NamedTuple):
    """One way to encode numbers: an encoding, and the refs it needs, by number."""

    encoding: str
    refs: tuple[int, ...]


def encode(
    data: Buffer,
    kind: Kind | None,
    refs: Sequence[Buffer] = (),
    trials: Sequence[Trial] = (),
    *,
    columns: int = 0,
    at: int = 0,
) -> Encoded:
    """Return the smallest encoding of `data`.

    Without a `kind` it is taken for text, unless a sample looks like floats. `trials` are the
    ways that need some of `refs`, each as long as `data`; what needs none is tried as well. `columns` is the length
    of a row, in elements, `at` the number of the first element in its tensor.
    """
    if item := _repeated(data):
        return Encoded(FILL, item)
    if kind is None:
        kind = _guessed(data)
    if kind is None or len(data) % kind.width:
        packed = squeeze(data, matches=True)
        return Encoded(ZSTD, packed) if len(packed) < _WORTH * len(data) else Encoded(RAW, bytes(data))
    if len(trials) == 1:
        # Nearly always what was hoped for; trying the others on a sample would take a tenth of the time.
        payload = _encode(trials[0], data, kind, refs, columns, at)
        if len(payload) < _AS_HOPED * len(data):
            return Encoded(trials[0].encoding, payload, trials[0].refs)
    ways = [Trial(PLANES, ()), *trials]
    if not kind.mask:
        ways.append(Trial(ZSTD, ()))
    if len(ways) > 1:
        ways = [
            min(ways, key=lambda way: _sampled(way, data, kind, refs, columns, at) * (1 + _EACH_REF * len(way.refs)))
        ]
    payload = _encode(ways[0], data, kind, refs, columns, at)
    if len(payload) < _WORTH * len(data):
        return Encoded(ways[0].encoding, payload, ways[0].refs)
    return Encoded(RAW, bytes(data))


def decode(encoding: str, payload: Buffer, size: int, refs: Sequence[Buffer]) -> Buffer:
    """Return the `size` plain bytes of a block. They are not verified here.

    Raises:
        ValueError: `payload` or `refs` are not those of such a block.
    """
    wanted = {RAW: (0,), FILL: (0,), ZSTD: (0,), PLANES: (0, 1), DELTA: (1, 2), DERIVE: (1,)}.get(encoding)
    if wanted is None:
        raise ValueError(f"an unknown encoding '{encoding}'")
    if len(refs) not in wanted:
        raise ValueError(f"another number of refs than '{encoding}' has")
    if encoding == RAW:
        plain: Buffer = payload
    elif encoding == FILL:
        if not 1 <= len(payload) <= _LONGEST_FILL:
            raise ValueError("an item of no known length")
        plain = (bytes(payload) * -(-size // len(payload)))[:size]
    elif encoding == ZSTD:
        plain = expand(payload, size).data
    elif encoding == PLANES:
        plain = numbers.decode_planes(payload, size, *refs)
    elif encoding == DELTA:
        plain = numbers.decode_delta(payload, refs)
    else:
        plain = _derived(payload, refs[0])
    if len(plain) != size:
        raise ValueError("a block of another length than recorded")
    return plain


def pack_recipe(recipe: derive.Recipe, start: int, stop: int) -> bytes:
    """Return the payload of a `derive` block: bytes `start` to `stop` of what the recipe makes."""
    packed: bytes = msgpack.packb([recipe.function, recipe.source, recipe.head, recipe.columns, start, stop])
    return packed


def _derived(payload: Buffer, source: Buffer) -> Buffer:
    try:
        function, kind, *counts = msgpack.unpackb(payload, max_array_len=6, max_map_len=0, max_ext_len=0)
    except (ValueError, TypeError, msgpack.UnpackException) as error:
        raise ValueError(f"a damaged recipe: {error}") from error
    if type(function) is not str or type(kind) is not str or len(counts) != 4:
        raise ValueError("a recipe of no known shape")
    if not all(type(number) is int and 0 <= number < _TOO_MUCH for number in counts):
        raise ValueError("a recipe with impossible numbers")
    head, columns, start, stop = counts
    return derive.derive(derive.Recipe(function, kind, head, columns), source, start, stop)


def _guessed(data: Buffer) -> Kind | None:
    """Return the kind of floats that `data` looks like: where coding exponents saves more than zstd does."""
    if len(data) < _LEAST_GUESSED:
        return None
    middle = len(data) // 2 // 8 * 8
    some = memoryview(data)[middle : middle + _LEAST_GUESSED // 2]
    sizes = {kind: len(numbers.encode_planes(some, kind)) for kind in (KINDS["BF16"], KINDS["F32"], KINDS["F16"])}
    best = min(sizes, key=lambda kind: sizes[kind])
    return best if sizes[best] < _CLEARLY * len(squeeze(some, matches=True)) else None


def _sampled(way: Trial, data: Buffer, kind: Kind, refs: Sequence[Buffer], columns: int, at: int) -> int:
    """Return the size of a run from the middle, encoded in one way."""
    count = len(data) // kind.width
    start = max(0, (count - _SAMPLE) // 2)
    part = slice(start * kind.width, (start + _SAMPLE) * kind.width)
    some = [memoryview(ref)[part] if index in way.refs else b"" for index, ref in enumerate(refs)]
    return len(_encode(way, memoryview(data)[part], kind, some, columns, at + start))


def _encode(way: Trial, data: Buffer, kind: Kind, refs: Sequence[Buffer], columns: int, at: int) -> bytes:
    chosen: Any = [refs[index] for index in way.refs]
    if way.encoding == ZSTD:
        return squeeze(data, matches=True)
    if way.encoding == PLANES:
        return numbers.encode_planes(data, kind, *chosen)
    return numbers.encode_delta(data, chosen, kind, columns=columns, at=at)


def _repeated(data: Buffer) -> bytes | None:
    """Return the item that `data` consists of, or None."""
    for length in (1, 2, 4, 8, _LONGEST_FILL):
        item = bytes(data[:length])
        if len(data) < 2 * length or data[length : 2 * length] != item:
            continue
        plain = np.frombuffer(data, np.uint8)
        if len(data) % length == 0 and np.array_equal(plain[length:], plain[:-length]):
            return item
    return None
