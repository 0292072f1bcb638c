"""safetensors: what the header says, and what it must not get away with."""

from typing import Any

import pytest

from mvs.codecs.cut import Tensor, tensors_of
from tests.codecs.cut.samples import Bytes, Zeros, entry, found, safetensors

DATA = bytes(range(64))


def test_tensors_come_with_what_the_header_says_sorted_by_offset() -> None:
    data = safetensors(
        {
            "__metadata__": {"format": "pt"},
            "b": entry("BF16", (2, 4), 24, 40),
            "a": entry("F32", (2, 3), 0, 24),
            "s": entry("F64", (), 40, 48),
            "é/ü": entry("I8", (16,), 48, 64),
        },
        DATA,
    )
    start = len(data) - 64
    assert found(data) == (
        Tensor("a", "F32", (2, 3), start, 24),
        Tensor("b", "BF16", (2, 4), start + 24, 16),
        Tensor("s", "F64", (), start + 40, 8),
        Tensor("é/ü", "I8", (16,), start + 48, 16),
    )


@pytest.mark.parametrize("pad", range(8))
def test_tensors_are_found_wherever_the_header_ends(pad: int) -> None:
    """Headers of odd length are allowed, and make every tensor unaligned."""
    data = safetensors({"a": entry("F32", (16,), 0, 64)}, DATA, pad=pad)
    assert [data[t.offset : t.offset + t.size] for t in found(data)] == [DATA]


@pytest.mark.parametrize(
    ("dtype", "shape", "size"),
    [("F4", (4, 4), 8), ("F6_E2M3", (4, 4), 12), ("F6_E3M2", (8,), 6), ("F8_E4M3", (7,), 7), ("C64", (3,), 24)],
)
def test_types_narrower_than_a_byte_are_packed(dtype: str, shape: tuple[int, ...], size: int) -> None:
    data = safetensors({"a": entry(dtype, shape, 0, size)}, DATA[:size])
    assert [(t.dtype, t.shape, t.size) for t in found(data)] == [(dtype, shape, size)]


def test_a_type_of_tomorrow_is_cut_all_the_same() -> None:
    data = safetensors({"a": entry("F3_NEW", (5,), 0, 10), "b": entry("U8", (54,), 10, 64)}, DATA)
    assert [(t.dtype, t.shape, t.size) for t in found(data)] == [("", (5,), 10), ("U8", (54,), 54)]


def test_gaps_and_empty_tensors_are_no_lie() -> None:
    data = safetensors({"a": entry("U8", (4,), 8, 12), "e": entry("F32", (0, 3), 12, 12)}, DATA)
    assert [t.name for t in found(data)] == ["a"]


LIES: dict[str, Any] = {
    "overlap": {"a": entry("U8", (8,), 0, 8), "b": entry("U8", (8,), 7, 15)},
    "the same bytes twice": {"a": entry("U8", (8,), 0, 8), "b": entry("U8", (8,), 0, 8)},
    "behind the file": {"a": entry("U8", (65,), 0, 65)},
    "far behind the file": {"a": entry("U8", (1,), 2**62, 2**62 + 1)},
    "an offset of 2^63": {"a": entry("U8", (2**63,), 0, 2**63)},
    "an offset of 2^64": {"a": entry("U8", (1,), 2**64, 2**64 + 1)},
    "backwards": {"a": entry("U8", (0,), 8, 0)},
    "before the file": {"a": entry("U8", (8,), -8, 0)},
    "too small for the shape": {"a": entry("F32", (4,), 0, 15)},
    "half a byte": {"a": entry("F4", (3,), 0, 2)},
    "a negative length": {"a": entry("U8", (-2, -4), 0, 8)},
    "a length that is none": {"a": {"dtype": "U8", "shape": [True], "data_offsets": [0, 1]}},
    "lengths that are texts": {"a": {"dtype": "U8", "shape": ["8"], "data_offsets": [0, 8]}},
    "offsets that are fractions": {"a": {"dtype": "U8", "shape": [8], "data_offsets": [0.0, 8.0]}},
    "three offsets": {"a": {"dtype": "U8", "shape": [8], "data_offsets": [0, 8, 8]}},
    "no offsets": {"a": {"dtype": "U8", "shape": [8]}},
    "no type": {"a": {"shape": [8], "data_offsets": [0, 8]}},
    "no tensor": {"a": 7},
    "a thousand dimensions": {"a": entry("U8", [1] * 1000, 0, 1)},
    "huge dimensions": {"a": entry("U8", [2**62] * 64, 0, 8)},
    "a name that is no Unicode": '{"\\ud800": {"dtype": "U8", "shape": [8], "data_offsets": [0, 8]}}',
    "a name that is endless": {"a" * 70_000: entry("U8", (8,), 0, 8)},
    "a name twice": '{"a": {"dtype": "U8", "shape": [8], "data_offsets": [0, 8]}, "a": '
    '{"dtype": "U8", "shape": [8], "data_offsets": [8, 16]}}',
    "a key twice": '{"a": {"dtype": "U8", "dtype": "I8", "shape": [8], "data_offsets": [0, 8]}}',
    "no JSON": '{"a": }',
    "two objects": "{}{}",
    "deep nesting": '{"a":' * 50_000,
    "deep nesting of lists": '{"a":' + "[" * 50_000,
    "a number of many digits": '{"a": {"dtype": "U8", "shape": [' + "9" * 5000 + '], "data_offsets": [0, 8]}}',
    "values without end": '{"a": [' + "1," * 2_000_000 + "1]}",
}


@pytest.mark.parametrize("lie", LIES)
def test_a_header_that_lies_leaves_the_file_opaque(lie: str) -> None:
    assert found(safetensors(LIES[lie], DATA)) == ()


def test_every_truncation_leaves_the_file_opaque() -> None:
    """Half a download would be taken for the model."""
    data = safetensors({"a": entry("F32", (2, 3), 0, 24), "b": entry("BF16", (5,), 24, 34)}, DATA[:34])
    assert found(data) != ()
    assert [length for length in range(len(data)) if found(data[:length]) != ()] == []


@pytest.mark.parametrize("length", [100_000_001, 2**31, 2**40, 2**63, 2**64 - 1])
def test_a_header_of_gigabytes_is_not_read(length: int) -> None:
    source = Zeros(length.to_bytes(8, "little") + b"{", 2**50)
    assert tensors_of(source) == ()
    assert source.asked < 100


def test_a_header_longer_than_the_file_is_not_read() -> None:
    assert tensors_of(Bytes((1 << 20).to_bytes(8, "little") + b'{"a":')) == ()
