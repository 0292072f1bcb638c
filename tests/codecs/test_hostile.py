"""Payloads that lie: a ValueError or other bytes of the recorded size, and nothing else."""

import random
import struct
import tracemalloc
from collections.abc import Iterator
from typing import Any

import msgpack
import numpy as np
import pytest

from mvs.codecs import blocks
from mvs.codecs.derive import Recipe
from mvs.codecs.numbers import KINDS, Kind, decode_delta, decode_planes, encode_delta, encode_planes
from mvs.codecs.streams import WINDOW_LOG, expand, squeeze
from tests.codecs.numbers_made import tuned, weights

BF16, F32 = KINDS["BF16"], KINDS["F32"]
BASE = weights("base", 600, BF16)
DATA = tuned(BASE, "tuned", BF16, by_column=True)
WIDE = weights("base", 530, F32)
SOURCE = weights("source", 64 * 8, F32)
# Encoding, payload, plain size, refs.
SMALL: dict[str, tuple[str, bytes, int, list[bytes]]] = {
    "fill": ("fill", b"abcd", 40, []),
    "zstd": ("zstd", squeeze(b"so much of a text, so much of a text, so much" * 3, matches=True), 135, []),
    "planes": ("planes", encode_planes(DATA, BF16), len(DATA), []),
    "guided": ("planes", encode_planes(WIDE, F32, WIDE[::-1]), len(WIDE), [WIDE[::-1]]),
    "few": ("delta", encode_delta(DATA[:100], [BASE[:100]], BF16), 100, [BASE[:100]]),
    "delta": ("delta", encode_delta(DATA, [BASE], BF16, columns=64), len(DATA), [BASE]),
    "two": ("delta", encode_delta(DATA, [BASE, DATA], BF16, columns=64), len(DATA), [BASE, DATA]),
    "wide": ("delta", encode_delta(WIDE, [WIDE[::-1]], F32), len(WIDE), [WIDE[::-1]]),
    "derive": ("derive", blocks.pack_recipe(Recipe("f16", "F32"), 0, len(SOURCE) // 2), len(SOURCE) // 2, [SOURCE]),
}


def survives(encoding: str, payload: bytes, size: int, refs: list[bytes]) -> bool:
    """Return whether the payload is decoded; if it is, to as many bytes as it should be."""
    try:
        plain = blocks.decode(encoding, payload, size, refs)
    except ValueError:
        return False
    assert len(plain) == size
    return True


def damaged(payload: bytes) -> Iterator[bytes]:
    """Yield every truncation, and every byte flipped in one bit and in all."""
    random.seed(1)
    for end in range(len(payload)):
        yield payload[:end]
        for flip in (0xFF, 1 << random.randrange(8)):
            yield payload[:end] + bytes([payload[end] ^ flip]) + payload[end + 1 :]
    yield payload + b"\0"


@pytest.mark.parametrize("name", SMALL)
def test_a_damaged_payload_is_refused_or_gives_as_many_bytes(name: str, way: str) -> None:
    encoding, payload, size, refs = SMALL[name]
    assert survives(encoding, payload, size, refs)
    refused = sum(not survives(encoding, other, size, refs) for other in damaged(payload))
    assert refused or encoding == "fill"


@pytest.mark.parametrize("name", SMALL)
def test_refs_of_another_number_or_length_are_refused(name: str) -> None:
    encoding, payload, size, refs = SMALL[name]
    assert not survives(encoding, payload, size, [*refs, b"", b""])
    for count in (1, 2):
        assert (
            encoding in ("planes", "delta")
            or count == len(refs)
            or not survives(encoding, payload, size, [b""] * count)
        )
    for index, ref in enumerate(refs):
        for other in (ref[:-1], ref + b"\0", ref[:-4], ref + ref, b""):
            assert not survives(encoding, payload, size, [*refs[:index], other, *refs[index + 1 :]])
    for wrong in (0, size - 1, size + 1, 2 * size):
        assert encoding == "fill" or not survives(encoding, payload, wrong, refs)


def test_an_unknown_encoding_is_named() -> None:
    with pytest.raises(ValueError, match="an unknown encoding 'zip'"):
        blocks.decode("zip", b"", 0, [])


def headed(payload: bytes, header: Any) -> bytes:
    """Return the payload with another header."""
    (length,) = struct.unpack("<I", payload[:4])
    packed = header if isinstance(header, bytes) else msgpack.packb(header)
    return struct.pack("<I", len(packed)) + packed + payload[4 + length :]


STRANGE: list[Any] = [
    -1, 1, 3, 5, 16, 255, 256, 2**31, 2**32, 2**62, 2**63, 2**64 - 1, -(2**63), True, False, None, 0.0, 1.0, 2.0,
    float("nan"), "", "x", b"", [], [[]], {}, {"a": 1}, [1] * 256, [[1, 0, 0, [0]]] * 256, msgpack.Timestamp(1),
]  # fmt: skip


def replaced(value: Any, path: list[int], strange: Any) -> Any:
    if not path:
        return strange
    copy = list(value)
    copy[path[0]] = replaced(copy[path[0]], path[1:], strange)
    return copy


def paths(value: Any, at: list[int]) -> Iterator[list[int]]:
    yield at
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from paths(item, [*at, index])


@pytest.mark.parametrize("name", ["planes", "guided", "few", "delta", "two", "wide"])
def test_a_header_with_anything_in_it_is_refused_or_gives_as_many_bytes(name: str) -> None:
    encoding, payload, size, refs = SMALL[name]
    (length,) = struct.unpack("<I", payload[:4])
    header = msgpack.unpackb(payload[4 : 4 + length])
    tracemalloc.start()
    for path in paths(header, []):
        for strange in STRANGE:
            survives(encoding, headed(payload, replaced(header, path, strange)), size, refs)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8 << 20


def test_a_recipe_with_anything_in_it_is_refused_or_gives_as_many_bytes() -> None:
    encoding, payload, size, refs = SMALL["derive"]
    recipe = msgpack.unpackb(payload)
    for path in paths(recipe, []):
        for strange in [*STRANGE, "q8_0", "BF16", "copy", 64, 512]:
            survives(encoding, msgpack.packb(replaced(recipe, path, strange)), size, refs)


@pytest.mark.parametrize(
    "header",
    [
        b"\x91" * 5000,
        b"\xdd\xff\xff\xff\xff" * 1000,
        b"\xdc\x01\x00" * 900,
        b"\xdf\xff\xff\xff\xff",
        b"\xc6\xff\xff\xff\xff",
        b"\xc1",
        b"",
        msgpack.packb([2, 6, 254, [[1, 0, 0, [0]]] * 100_000]),
    ],
    ids=["deep", "arrays of arrays", "short arrays of arrays", "map", "bytes", "unused", "nothing", "groups"],
)
@pytest.mark.parametrize("name", ["planes", "delta"])
def test_a_header_that_claims_much_takes_no_memory(name: str, header: bytes) -> None:
    encoding, payload, size, refs = SMALL[name]
    tracemalloc.start()
    assert not survives(encoding, headed(payload, header), size, refs)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8 << 20


def test_a_header_longer_than_the_payload_is_refused() -> None:
    for length in (1, 2**31, 2**32 - 1):
        assert not survives("planes", struct.pack("<I", length), 0, [])


def test_a_stream_makes_no_more_than_its_size() -> None:
    """A kilobyte of zstd may stand for gigabytes."""
    bomb = squeeze(bytes(1 << 26), matches=True)
    assert len(bomb) < 1 << 13
    tracemalloc.start()
    for size in (0, 1, 1000, 1 << 16):
        with pytest.raises(ValueError, match="another length"):
            expand(bomb, size)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1 << 20


def test_a_stream_that_needs_a_large_window_is_refused() -> None:
    """Decoders hold the window in memory before the first byte comes out."""
    # No content size, a window of 2 ** (10 + 15) bytes, and one last block of 3 bytes as they are.
    frame = bytes.fromhex("28b52ffd0078190000") + b"abc"
    with pytest.raises(ValueError, match="a damaged stream"):
        expand(frame, 3)
    smaller = frame.replace(b"\x78", bytes([(WINDOW_LOG - 10) << 3]))
    assert expand(smaller, 3).tobytes() == b"abc"


@pytest.mark.parametrize(
    "stored", [b"", b"\0", squeeze(b"ab" * 500)[:-1], squeeze(b"ab" * 500) + b"\0", squeeze(b"ab" * 500) * 2]
)
def test_a_stream_is_one_whole_frame(stored: bytes) -> None:
    with pytest.raises(ValueError, match="stream"):
        expand(stored, 1000)


def test_numbers_of_no_known_kind_have_no_mean() -> None:
    with pytest.raises(ValueError, match="no mean"):
        encode_delta(bytes(8), [bytes(8), bytes(8)], Kind(8))


@pytest.mark.parametrize("other", [BASE[:-2], BASE + b"ab", b""])
def test_what_is_encoded_against_another_length_is_refused(other: bytes, way: str) -> None:
    """A compiled loop would read behind the end."""
    with pytest.raises(ValueError, match="another length"):
        encode_planes(DATA, BF16, other)
    for bases in ([other], [BASE, other]):
        with pytest.raises(ValueError, match="another length"):
            encode_delta(DATA, bases, BF16)


def test_what_is_decoded_is_nobody_elses(way: str) -> None:
    """Memory is used again from one block to the next; a result must not be."""
    kept = [decode_planes(SMALL["planes"][1], len(DATA)), decode_delta(SMALL["delta"][1], [BASE])]
    before = [bytes(plain) for plain in kept]
    for name in ("guided", "delta", "wide", "planes", "few"):
        encoding, payload, size, refs = SMALL[name]
        survives(encoding, payload, size, refs)
    decode_delta(encode_delta(bytes(len(BASE)), [BASE], BF16), [BASE])
    assert [bytes(plain) for plain in kept] == before
    assert np.frombuffer(kept[1], np.uint8).flags.writeable
