"""Single values one can check by hand, where libraries differ or a shortcut would go wrong."""

import numpy as np
import pytest

from mvs.codecs.derive import FUNCTIONS, Recipe, derive


def _cast(function: str, bits: int) -> int:
    size = FUNCTIONS[function].size
    return int.from_bytes(derive(Recipe(function, "F32"), bits.to_bytes(4, "little"), 0, size), "little")


def _block(function: str, values: list[float]) -> bytes:
    full = np.zeros(32, "<f4")
    full[: len(values)] = values
    return derive(Recipe(function, "F32"), full.tobytes(), 0, FUNCTIONS[function].size)


@pytest.mark.parametrize(
    ("function", "bits", "expected"),
    [
        ("bf16", 0x3F80_8000, 0x3F80),
        ("bf16", 0x3F81_8000, 0x3F82),
        ("bf16", 0x3F80_8001, 0x3F81),
        ("bf16", 0x7F7F_FFFF, 0x7F80),
        ("bf16", 0x0000_8001, 0x0001),
        ("bf16", 0xFF80_0001, 0xFFC0),
        ("bf16.flushed", 0x807F_FFFF, 0x8000),
        ("bf16.flushed", 0x0080_0000, 0x0080),
        ("bf16.torch", 0xFFC1_0000, 0x7FC0),
        ("bf16.torch-vector", 0x7FC0_0000, 0xFFFF),
        ("bf16.truncated", 0x3F80_FFFF, 0x3F80),
        ("f16", 0x3F80_1000, 0x3C00),
        ("f16", 0x3F80_3000, 0x3C02),
        ("f16", 0x477F_EFFF, 0x7BFF),
        ("f16", 0x477F_F000, 0x7C00),
        ("f16", 0x3300_0000, 0x0000),
        ("f16", 0x3300_0001, 0x0001),
        ("f16", 0xFFFF_FFFF, 0xFE00),
    ],
)
def test_a_cast_rounds_to_the_nearest_and_keeps_what_is_no_number(function: str, bits: int, expected: int) -> None:
    assert _cast(function, bits) == expected


def test_a_signalling_nan_of_f16_becomes_quiet() -> None:
    """Half of the processors say so, half of the libraries do not; a file must not depend on either."""
    assert derive(Recipe("f32", "F16"), b"\x01\xfc", 0, 4) == bytes.fromhex("0020c0ff")


def test_ties_of_q8_0_go_away_from_zero() -> None:
    just_below = float(np.nextafter(np.float32(0.5), np.float32(0)))
    codes = _block("q8_0", [127, 0.5, -0.5, 2.5, -2.5, 1.5, just_below, -just_below])[2:10]
    assert list(np.frombuffer(codes, np.int8)) == [127, 1, -1, 3, -3, 2, 0, 0]


def test_of_two_furthest_elements_the_first_gives_its_sign() -> None:
    assert _block("q4_0", [1, -1])[:2] != _block("q4_0", [-1, 1])[:2]
    assert _block("q4_0", [0.5, -1, 1])[:2] == bytes.fromhex("0030")


@pytest.mark.parametrize(("kind", "values"), [("q4_0", [48, 27]), ("q5_0", [96, 51])])
def test_one_rounding_is_told_from_two(kind: str, values: list[float]) -> None:
    """llama.cpp built with FMA makes other files than llama.cpp built without."""
    assert _block(kind, values) != _block(f"{kind}.fused", values)
    assert _block(kind, values) == _block(f"{kind}.gguf-py", values)
    assert _block(f"{kind}.fused", values) == _block(f"{kind}.gguf-py-fused", values)


@pytest.mark.parametrize(("function", "scale"), [("q4_0", "0080"), ("q4_0.gguf-py", "0000"), ("q5_0", "0080")])
def test_a_block_of_negative_zeros_has_the_sign_its_writer_gave_it(function: str, scale: str) -> None:
    assert _block(function, [-0.0] * 32)[:2] == bytes.fromhex(scale)


@pytest.mark.parametrize(("zeros", "minimum"), [([0.0, -0.0, 1.0], "0000"), ([-0.0, 0.0, 1.0], "0080")])
def test_a_minimum_of_zero_has_the_sign_of_the_first_zero(zeros: list[float], minimum: str) -> None:
    assert _block("q4_1", zeros)[2:4] == bytes.fromhex(minimum)


def test_a_scale_too_small_to_invert_gives_codes_of_zero() -> None:
    assert _block("q8_0", [1e-40, -1e-40]) == bytes(34)
