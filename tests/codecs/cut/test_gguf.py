"""GGUF: types, alignment, metadata that is walked over, and headers that lie."""

from struct import pack
from typing import Any

import pytest

from mvs.codecs.cut import ITEM_WIDTH, Tensor, tensors_of
from mvs.codecs.cut.dtypes import GGML
from tests.codecs.cut.samples import Zeros, everything, found, gguf, text

U32, STRING, ARRAY, U64 = 4, 8, 9, 10


@pytest.mark.parametrize("version", [2, 3])
def test_tensors_come_with_shapes_as_numpy_says_them(version: int) -> None:
    data = gguf([("a", (64, 3, 2), 8, 0), ("b", (5,), 0, 416), ("s", (), 1, 448)], bytes(450), version=version)
    start = len(data) - 450
    assert found(data) == (
        Tensor("a", "Q8_0", (2, 3, 64), start, 2 * 3 * 2 * 34),
        Tensor("b", "F32", (5,), start + 416, 20),
        Tensor("s", "F16", (), start + 448, 2),
    )


@pytest.mark.parametrize(("kind", "block"), GGML.items())
def test_each_type_has_the_size_that_ggml_gives_it(kind: int, block: Any) -> None:
    size = 3 * 2 * block.size
    (tensor,) = found(gguf([("a", (2 * block.items, 3), kind, 0)], bytes(size)))
    assert (tensor.dtype, tensor.size) == (block.name, size)
    assert tensor.size % ITEM_WIDTH[tensor.dtype] == 0


# From the layout of the blocks in ggml-common.h: scales, then the bits of 256 (or 32, 64, 128) items.
@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("Q4_0", 2 + 32 * 4 // 8),
        ("Q4_1", 2 + 2 + 32 * 4 // 8),
        ("Q5_0", 2 + 4 + 32 * 4 // 8),
        ("Q5_1", 2 + 2 + 4 + 32 * 4 // 8),
        ("Q8_0", 2 + 32),
        ("Q8_1", 2 + 2 + 32),
        ("Q2_K", 2 + 2 + 256 // 16 + 256 // 4),
        ("Q3_K", 2 + 256 // 4 + 256 // 8 + 12),
        ("Q4_K", 2 + 2 + 12 + 256 // 2),
        ("Q5_K", 2 + 2 + 12 + 256 // 2 + 256 // 8),
        ("Q6_K", 2 + 256 // 2 + 256 // 4 + 256 // 16),
        ("Q8_K", 4 + 256 + 256 // 16 * 2),
        ("IQ2_XXS", 2 + 256 // 8 * 2),
        ("IQ2_XS", 2 + 256 // 8 * 2 + 256 // 32),
        ("IQ2_S", 2 + 256 // 4 + 256 // 16),
        ("IQ3_XXS", 2 + 256 // 4 + 256 // 8),
        ("IQ3_S", 2 + 256 // 4 + 256 // 8 + 256 // 32 + 4),
        ("IQ1_S", 2 + 256 // 8 + 256 // 16),
        ("IQ1_M", 256 // 8 + 256 // 16 + 256 // 32),
        ("IQ4_NL", 2 + 32 // 2),
        ("IQ4_XS", 2 + 2 + 256 // 2 + 256 // 64),
        ("TQ1_0", 2 + 4 * 13),
        ("TQ2_0", 2 + 64),
        ("MXFP4", 1 + 16),
        ("NVFP4", 4 + 32),
        ("Q1_0", 2 + 128 // 8),
        ("Q2_0", 2 + 64 // 4),
    ],
)
def test_a_block_is_its_scales_and_its_bits(name: str, size: int) -> None:
    """A wrong width shifts every block after the first."""
    assert ITEM_WIDTH[name] == size


@pytest.mark.parametrize("alignment", [1, 8, 64, 4096])
def test_the_alignment_is_the_one_that_the_file_asks_for(alignment: int) -> None:
    value = text("general.alignment") + pack("<II", U32, alignment)
    data = gguf([("a", (8,), 24, 0)], b"weights!", values=[value], alignment=alignment)
    assert [data[t.offset :] for t in found(data)] == [b"weights!"]


def test_metadata_of_every_type_is_walked_over() -> None:
    scalars = [(0, 1), (1, 1), (2, 2), (3, 2), (4, 4), (5, 4), (6, 4), (7, 1), (10, 8), (11, 8), (12, 8)]
    values = [
        *(text(f"k{kind}") + pack("<I", kind) + b"\1" * width for kind, width in scalars),
        *(text(f"a{kind}") + pack("<IIQ", ARRAY, kind, 5) + b"\1" * 5 * width for kind, width in scalars),
        text("long") + pack("<I", STRING) + text(b"\xff" * 3_000_000),
        text("words") + pack("<IIQ", ARRAY, STRING, 1000) + b"".join(text("w" * (n * n % 977)) for n in range(1000)),
        text("none") + pack("<IIQ", ARRAY, STRING, 0),
    ]
    data = gguf([("a", (8,), 24, 0)], b"weights!", values=values)
    assert [data[t.offset :] for t in found(data)] == [b"weights!"]


def test_a_tensor_of_an_unknown_type_is_left_out() -> None:
    """A new type must not cost the dedup of all the others."""
    assert [t.name for t in found(gguf([("a", (32,), 99, 0), ("b", (32,), 0, 64)], bytes(192)))] == ["b"]


def words(count: int) -> bytes:
    return text("words") + pack("<IIQ", ARRAY, STRING, count)


ONE = ("a", (8,), 24, 0)
LIES = {
    "another version": gguf([ONE], bytes(8), version=4),
    "version one": gguf([ONE], bytes(8), version=1),
    "the other byte order": gguf([ONE], bytes(8), version=3 << 24),
    "overlap": gguf([("a", (40,), 24, 0), ("b", (8,), 24, 32)], bytes(64)),
    "the same bytes twice": gguf([ONE, ("b", (8,), 24, 0)], bytes(64)),
    "behind the file": gguf([("a", (9,), 24, 0)], bytes(8)),
    "far behind the file": gguf([("a", (8,), 24, 2**63)], bytes(8)),
    "a length of 2^63": gguf([("a", (2**63,), 24, 0)], bytes(8)),
    "lengths that wrap around": gguf([("a", (2**62, 4), 24, 0)], bytes(8)),
    "not aligned": gguf([("a", (8,), 24, 8)], bytes(64)),
    "half a block": gguf([("a", (48,), 8, 0)], bytes(64)),
    "rows of half a block": gguf([("a", (16, 2), 8, 0)], bytes(64)),
    "a name twice": gguf([ONE, ("a", (8,), 24, 32)], bytes(64)),
    "a name that is no Unicode": gguf([ONE], bytes(8)).replace(text("a"), text(b"\xff")),
    "too many dimensions": gguf([("a", (1,) * 9, 24, 0)], bytes(8)),
    "tensors without end": gguf([ONE], bytes(8), count=2**60),
    "more tensors than there are": gguf([ONE], bytes(8), count=2),
    "strings without end": gguf([ONE], bytes(8), values=[words(2**60)]),
    "strings to the end of numbers": gguf([ONE], bytes(8), values=[words(2**64 - 1)]),
    "a string without end": gguf([ONE], bytes(8), values=[text("k") + pack("<IQ", STRING, 2**63)]),
    "numbers without end": gguf([ONE], bytes(8), values=[text("k") + pack("<IIQ", ARRAY, U64, 2**61)]),
    "an array of arrays": gguf([ONE], bytes(8), values=[text("k") + pack("<IIQ", ARRAY, ARRAY, 1)]),
    "a value of no type": gguf([ONE], bytes(8), values=[text("k") + pack("<I", 13)]),
    "no alignment": gguf([ONE], bytes(8), values=[text("general.alignment") + pack("<II", U32, 0)]),
    "an odd alignment": gguf([ONE], bytes(8), values=[text("general.alignment") + pack("<II", U32, 48)]),
    "an alignment that is text": gguf(
        [ONE], bytes(8), values=[text("general.alignment") + pack("<I", STRING) + text("x")]
    ),
    "two alignments": gguf([ONE], bytes(8), values=[text("general.alignment") + pack("<II", U32, 32)] * 2),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_header_that_lies_leaves_the_file_opaque(lie: str) -> None:
    assert found(LIES[lie]) == ()


def test_every_truncation_leaves_the_file_opaque() -> None:
    data = everything()["gguf"]
    assert len(found(data)) == 2
    assert [length for length in range(len(data)) if found(data[:length]) != ()] == []


def test_a_file_of_empty_strings_is_given_up_soon() -> None:
    """An endless vocabulary is a night's work for one file."""
    source = Zeros(b"GGUF" + pack("<IQQ", 3, 1, 1) + words(2**40), 2**50)
    assert tensors_of(source) == ()
    assert source.asked < 1 << 20


def test_a_file_of_zeros_behind_the_magic_is_given_up_soon() -> None:
    source = Zeros(b"GGUF" + pack("<IQQ", 3, 60_000, 60_000), 2**50)
    assert tensors_of(source) == ()
    assert source.asked < 16 << 20
