"""What every function makes, frozen.

The hashes were made by other programs: C written from ggml's reference and compiled with and
without FMA, and the package gguf (whose blocks with a NaN differ between machines: there the
scale is 7E00 or FE00 and the codes 0). Never update one: give the new behaviour a new name.
"""

import numpy as np
import numpy.typing as npt
import pytest
from blake3 import blake3

from mvs.codecs.derive import FUNCTIONS, Recipe, derive

GOLDEN = {
    ("copy", "F32"): "421e6a9aafb8d5112611e6b84abeedf7",
    ("copy", "F16"): "49225aa8e1291c5bc7ec7d399cbbd7cb",
    ("copy", "BF16"): "e4aa70fcf86fd89ac959cc71f7b900ab",
    ("f32", "F16"): "765b19686e108cfcdeaef2a8f1e7a446",
    ("f32", "BF16"): "09dcc883f7bfe326d7461a7e37757446",
    ("f16", "F32"): "f9b6e59bc087e0ae637a6206846ff45e",
    ("f16", "BF16"): "287968745c77845183144f3f9dd0e5d5",
    ("bf16", "F32"): "4502e1a41b05b3fd20f4bac6a82a2dbd",
    ("bf16", "F16"): "6d0f3e6841f0e8514c4f9bee699e4c38",
    ("bf16.truncated", "F32"): "6930215dec11e921a98a0effdf848d22",
    ("bf16.truncated", "F16"): "3b4d9edcd1fdc6d899dd6f1dc14e88d0",
    ("bf16.flushed", "F32"): "4958f805dae34abaef50551b5058c06c",
    ("bf16.torch", "F32"): "5758f1c84502bb07c35d14e99252f817",
    ("bf16.torch", "F16"): "dcf1951a032344384da6a1822700592e",
    ("bf16.torch-vector", "F32"): "bc2cb10b8b43a91ce31a30c43acfd127",
    ("bf16.torch-vector", "F16"): "ae0db4b2c6913880daa76618e1f5f38b",
    ("q8_0", "F32"): "7ec59dfc09d1c27569272581cc5c87ce",
    ("q8_0", "F16"): "ca654ef152420176c620321fb937c263",
    ("q8_0", "BF16"): "71a6ef48a8aebaa89a8ec96a843dcbac",
    ("q4_0", "F32"): "4919907a6b8ec975efb4c7761a0d1a7b",
    ("q4_0", "F16"): "075e363fb35b4621ae12604528ab6ff6",
    ("q4_0", "BF16"): "318c781bd7d523acd3c29288c0d036b4",
    ("q4_0.fused", "F32"): "1cc54fb1d0688df432521218c65f6aa4",
    ("q4_0.fused", "F16"): "8bd3533ba07e48cc96b2e7942278a557",
    ("q4_0.fused", "BF16"): "92a5b0e283c451829bcf5f6bb75626b5",
    ("q4_0.gguf-py", "F32"): "c97282b3876e90a4b75439f051e1bf28",
    ("q4_0.gguf-py", "F16"): "da1eb3a6e4946db36abb7a14e4d3afa3",
    ("q4_0.gguf-py", "BF16"): "7a3083c110269e56a236b5a1ba6b7e8b",
    ("q4_0.gguf-py-fused", "F32"): "a180ee007642377f47507fc85e2dc4b0",
    ("q4_0.gguf-py-fused", "F16"): "641fe8edd663afa9b553645a3e7a117c",
    ("q4_0.gguf-py-fused", "BF16"): "4dec423d633bd4ac2d2f867ae76cb4a2",
    ("q4_1", "F32"): "ad4303fa325a098823f58a2f359a6ef4",
    ("q4_1", "F16"): "0d118597931e0bf0f53325ca81582376",
    ("q4_1", "BF16"): "d986497124815f637b28500c80122402",
    ("q5_0", "F32"): "9a46e1801e7f4022c08ed0d10ab6f74a",
    ("q5_0", "F16"): "d11e3f5f4c634bc2b83ea6709f479ee6",
    ("q5_0", "BF16"): "3bc8be8807a142378434cdc5b41ab28a",
    ("q5_0.fused", "F32"): "4796f3fab490bdcc59fea0e32b8599d1",
    ("q5_0.fused", "F16"): "d11e3f5f4c634bc2b83ea6709f479ee6",
    ("q5_0.fused", "BF16"): "d8021ca316b3ac29982eed09857d64e9",
    ("q5_0.gguf-py", "F32"): "4980ba7d8a035b63d1038d9c33291ec6",
    ("q5_0.gguf-py", "F16"): "8ac1e8969da40491df8e6808403ee48d",
    ("q5_0.gguf-py", "BF16"): "1d0b79b0c22c1d6f514b0a924f97dc15",
    ("q5_0.gguf-py-fused", "F32"): "5d7da7d16edee9280c0f6568a9da3071",
    ("q5_0.gguf-py-fused", "F16"): "8ac1e8969da40491df8e6808403ee48d",
    ("q5_0.gguf-py-fused", "BF16"): "8dce375fdba7762934d291a69b550d93",
    ("q5_1", "F32"): "4da0d12a8a7c6250e642227248466726",
    ("q5_1", "F16"): "e72afd11cfecdb2c6da5dc79e348577d",
    ("q5_1", "BF16"): "9e46785da5821c450ed4e8fae0762a04",
}

SPECIAL = (0x0000_0000, 0x7F80_0000, 0x7FC0_0000, 0x7F80_0001, 0x0000_0001, 0x007F_FFFF, 0x7F7F_FFFF, 0x3F80_8000)


def _noise(size: int) -> npt.NDArray[np.uint32]:
    return np.frombuffer(blake3(b"derive").digest(4 * size), "<u4").copy()


def single() -> bytes:
    """F32: any bits, weights, exact ties, tiny and huge blocks, zeros of both signs, specials among weights."""
    noise = _noise(1 << 15)
    weights = (noise & 0x807F_FFFF) | ((noise >> 7 & 7) + 118 << 23)
    ties = ((noise % 509).astype(np.float32) - 254) / np.float32(254)
    grid = ((noise % 61).astype(np.float32) - 30) * np.float32(0.25)
    exponents = np.repeat(np.arange(1 << 10, dtype=np.uint32) % 255, 32) << 23
    signs = noise & 0x8000_0000
    special = np.array(SPECIAL, np.uint32)[noise >> 8 & 7] ^ signs
    lone = np.where(noise >> 16 & 63, weights, special)
    parts = [noise, weights, weights & 0xFFFF_0000, ties.view(np.uint32), grid.view(np.uint32)]
    parts += [exponents | (noise & 0x807F_FFFF), noise & 0x80FF_FFFF, signs, special, lone]
    return np.concatenate(parts).astype("<u4").tobytes()


def double_byte(source: str) -> bytes:
    """F16 or BF16: all patterns in order and in other places, then weights."""
    every = np.arange(1 << 16, dtype=np.uint32)
    mixed = [every * factor + (every >> 11) & 0xFFFF for factor in (1, 40503, 25717)]
    noise = _noise(1 << 16)
    top, low = (7, 118) if source == "BF16" else (10, 7)
    weights = (noise & (0x8000 | (1 << top) - 1)) | ((noise >> 16 & 7) + low << top)
    return np.concatenate([every, *mixed, weights]).astype("<u2").tobytes()


def sample(source: str) -> bytes:
    return single() if source == "F32" else double_byte(source)


def made(function: str, source: str) -> bytes:
    data = sample(source)
    width = 4 if source == "F32" else 2
    kind = FUNCTIONS[function]
    return derive(Recipe(function, source), data, 0, len(data) // width // kind.items * (kind.size or width))


def test_the_sample_is_the_one_the_hashes_were_made_of() -> None:
    assert [blake3(sample(source)).hexdigest()[:32] for source in ("F32", "F16", "BF16")] == [
        "421e6a9aafb8d5112611e6b84abeedf7",
        "49225aa8e1291c5bc7ec7d399cbbd7cb",
        "e4aa70fcf86fd89ac959cc71f7b900ab",
    ]


@pytest.mark.parametrize(("function", "source"), [(n, s) for n, f in FUNCTIONS.items() for s in f.sources])
def test_what_a_function_makes_never_changes(function: str, source: str) -> None:
    """Every file stored as a recipe would be lost."""
    assert blake3(made(function, source)).hexdigest()[:32] == GOLDEN[function, source]


def test_no_function_was_taken_away() -> None:
    """A store written by an earlier release names it."""
    assert {(n, s) for n, f in FUNCTIONS.items() for s in f.sources} == set(GOLDEN)
