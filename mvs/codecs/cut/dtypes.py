"""How wide the items of each type are.

Names and widths are those of safetensors (`Dtype` in its tensor.rs) and of ggml (`ggml_type` in
ggml.h, block layouts in ggml-common.h); the few that only ONNX or numpy have are named alike.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from mvs.codecs.cut.source import Opaque

# What numpy calls the types that it has.
NUMPY: Mapping[str, str] = {
    "F64": "<f8",
    "F32": "<f4",
    "F16": "<f2",
    "I64": "<i8",
    "I32": "<i4",
    "I16": "<i2",
    "I8": "i1",
    "U64": "<u8",
    "U32": "<u4",
    "U16": "<u2",
    "U8": "u1",
    "BOOL": "?",
    "C64": "<c8",
    "C128": "<c16",
}

BITS: Mapping[str, int] = {
    "BOOL": 8,
    "U2": 2,
    "I2": 2,
    "U4": 4,
    "I4": 4,
    "F4": 4,
    "F6_E2M3": 6,
    "F6_E3M2": 6,
    "U8": 8,
    "I8": 8,
    "F8_E5M2": 8,
    "F8_E4M3": 8,
    "F8_E8M0": 8,
    "F8_E4M3FNUZ": 8,
    "F8_E5M2FNUZ": 8,
    "U16": 16,
    "I16": 16,
    "F16": 16,
    "BF16": 16,
    "U32": 32,
    "I32": 32,
    "F32": 32,
    "U64": 64,
    "I64": 64,
    "F64": 64,
    "C64": 64,
    "C128": 128,
}


class Block(NamedTuple):
    """A type of ggml: so many items are kept in so many bytes."""

    name: str
    items: int
    size: int


GGML: Mapping[int, Block] = {
    0: Block("F32", 1, 4),
    1: Block("F16", 1, 2),
    2: Block("Q4_0", 32, 18),
    3: Block("Q4_1", 32, 20),
    6: Block("Q5_0", 32, 22),
    7: Block("Q5_1", 32, 24),
    8: Block("Q8_0", 32, 34),
    9: Block("Q8_1", 32, 36),
    10: Block("Q2_K", 256, 84),
    11: Block("Q3_K", 256, 110),
    12: Block("Q4_K", 256, 144),
    13: Block("Q5_K", 256, 176),
    14: Block("Q6_K", 256, 210),
    15: Block("Q8_K", 256, 292),
    16: Block("IQ2_XXS", 256, 66),
    17: Block("IQ2_XS", 256, 74),
    18: Block("IQ3_XXS", 256, 98),
    19: Block("IQ1_S", 256, 50),
    20: Block("IQ4_NL", 32, 18),
    21: Block("IQ3_S", 256, 110),
    22: Block("IQ2_S", 256, 82),
    23: Block("IQ4_XS", 256, 136),
    24: Block("I8", 1, 1),
    25: Block("I16", 1, 2),
    26: Block("I32", 1, 4),
    27: Block("I64", 1, 8),
    28: Block("F64", 1, 8),
    29: Block("IQ1_M", 256, 56),
    30: Block("BF16", 1, 2),
    # 31 to 33 and 36 to 38 are gone from ggml; files of their time are still around.
    31: Block("Q4_0_4_4", 32, 18),
    32: Block("Q4_0_4_8", 32, 18),
    33: Block("Q4_0_8_8", 32, 18),
    34: Block("TQ1_0", 256, 54),
    35: Block("TQ2_0", 256, 66),
    36: Block("IQ4_NL_4_4", 32, 18),
    37: Block("IQ4_NL_4_8", 32, 18),
    38: Block("IQ4_NL_8_8", 32, 18),
    39: Block("MXFP4", 32, 17),
    40: Block("NVFP4", 64, 36),
    41: Block("Q1_0", 128, 18),
    42: Block("Q2_0", 64, 18),
}

# Bytes an item; 1 for items narrower than a byte, which are packed; for quantised types of ggml, bytes a block.
ITEM_WIDTH: Mapping[str, int] = {
    **{name: max(1, bits // 8) for name, bits in BITS.items()},
    **{block.name: block.size for block in GGML.values() if block.items > 1},
}

# More than any framework has (torch 64, numpy 64, ggml 4); a shape is multiplied out, which must stay cheap.
_MAX_RANK = 64
_MAX_DIMENSION = 1 << 63


def items_of(shape: Sequence[object]) -> int:
    """Return how many items a shape holds.

    Raises:
        Opaque: it is no shape: not integers, negative, or too many or too large.
    """
    if len(shape) > _MAX_RANK:
        raise Opaque("a shape has too many dimensions")
    items = 1
    for length in shape:
        # bool is an int, and no length.
        if type(length) is not int or not 0 <= length < _MAX_DIMENSION:
            raise Opaque("a shape is not made of lengths")
        items *= length
    return items
