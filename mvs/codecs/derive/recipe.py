"""Recipes: which function makes a tensor, from which bytes of its source.

Arithmetic on sizes only; no value of a tensor is looked at here.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from math import prod
from types import MappingProxyType

# Bytes of one element of what a function can start from; names as safetensors spells them.
SOURCES = MappingProxyType({"F32": 4, "F16": 2, "BF16": 2})

# Rows of an attention head, the common ones first: each is a try on every q and k projection.
HEADS = (128, 64, 80, 96, 256, 32, 112, 160, 40, 48, 72)


@dataclass(frozen=True, slots=True)
class Function:
    """What a function makes: blocks of `items` elements in `size` bytes.

    `copy` has no type of its own: its target is "" and its size 0, both those of the source.
    """

    target: str
    items: int
    size: int
    sources: tuple[str, ...]


_ALL = ("F32", "F16", "BF16")

# A plain name is what a tensor is made with most often: rounding to the nearest, ties to even,
# and for blocks the reference C of ggml (quantize_row_*_ref, ggml-quants.c) on x86-64 without
# FMA. Suffixes:
#   truncated     the low half is cut off
#   flushed       subnormals of F32 become zeros (earlier ggml, AVX512-BF16)
#   torch         NaN becomes 7FC0 (c10::BFloat16, one element at a time)
#   torch-vector  NaN becomes FFFF (PyTorch's vectorised cast on the CPU)
#   fused         the same C, multiplication and addition contracted to one rounding (FMA); the
#                 types with a minimum have none: there it changes next to nothing
#   gguf-py       a block of zeros keeps the sign of the first (gguf-py/quants.py, 0.19)
#   gguf-py-fused the same with one rounding (gguf-py up to 0.17)
# Where gguf-py has no name of its own it makes the bytes of the plain function from finite
# values, but for the sign of a minimum of zero in Q4_1 and Q5_1, which numpy leaves open.
FUNCTIONS = MappingProxyType(
    {
        "copy": Function("", 1, 0, _ALL),
        "f32": Function("F32", 1, 4, ("F16", "BF16")),
        "f16": Function("F16", 1, 2, ("F32", "BF16")),
        "bf16": Function("BF16", 1, 2, ("F32", "F16")),
        "bf16.truncated": Function("BF16", 1, 2, ("F32", "F16")),
        "bf16.flushed": Function("BF16", 1, 2, ("F32",)),
        "bf16.torch": Function("BF16", 1, 2, ("F32", "F16")),
        "bf16.torch-vector": Function("BF16", 1, 2, ("F32", "F16")),
        "q8_0": Function("Q8_0", 32, 34, _ALL),
        "q4_0": Function("Q4_0", 32, 18, _ALL),
        "q4_0.fused": Function("Q4_0", 32, 18, _ALL),
        "q4_0.gguf-py": Function("Q4_0", 32, 18, _ALL),
        "q4_0.gguf-py-fused": Function("Q4_0", 32, 18, _ALL),
        "q4_1": Function("Q4_1", 32, 20, _ALL),
        "q5_0": Function("Q5_0", 32, 22, _ALL),
        "q5_0.fused": Function("Q5_0", 32, 22, _ALL),
        "q5_0.gguf-py": Function("Q5_0", 32, 22, _ALL),
        "q5_0.gguf-py-fused": Function("Q5_0", 32, 22, _ALL),
        "q5_1": Function("Q5_1", 32, 24, _ALL),
    }
)


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a tensor is made from another one of the same shape; elements row by row.

    `head` rows at a time, the two halves of a head are interleaved, row 0 of the first, row 0 of
    the second and so on (the permutation of q and k in llama.cpp's conversion from Hugging Face
    models); 0 leaves rows where they are. `columns` is the length of a row, needed with `head`.

    A recipe may come from a damaged file: making one checks nothing, using one does.
    """

    function: str
    source: str
    head: int = 0
    columns: int = 0


@dataclass(frozen=True, slots=True)
class Unit:
    """The least a recipe can make: bytes it needs, bytes it gives."""

    needs: int
    gives: int


def unit_of(recipe: Recipe) -> Unit:
    """Return the unit of a recipe: a block, or a head of rows when they are permuted.

    Raises:
        ValueError: there is no such function, it has no such source, or rows and blocks do not
            fit together.
    """
    function = FUNCTIONS.get(recipe.function)
    if function is None or recipe.source not in function.sources:
        raise ValueError(f"no function '{recipe.function}' of a tensor of type '{recipe.source}'")
    head, columns = recipe.head, recipe.columns
    if head < 0 or columns < 0 or head % 2:
        raise ValueError(f"a head of {head} rows of {columns} cannot be permuted")
    if head and (columns == 0 or columns % function.items):
        raise ValueError(f"rows of {columns} are no whole blocks of '{recipe.function}'")
    width = SOURCES[recipe.source]
    blocks = head * columns // function.items or 1
    return Unit(needs=blocks * function.items * width, gives=blocks * (function.size or width))


def source_span(recipe: Recipe, start: int, stop: int) -> tuple[int, int]:
    """Return which bytes of the source are needed to make bytes [start, stop) of the target.

    Raises:
        ValueError: a recipe or a range that makes no sense.
    """
    if not 0 <= start <= stop:
        raise ValueError(f"bytes {start} to {stop} are no range")
    unit = unit_of(recipe)
    first = start // unit.gives
    last = -(-stop // unit.gives) if stop > start else first
    return first * unit.needs, last * unit.needs


def recipes(source_dtype: str, target_dtype: str, shape: tuple[int, ...]) -> Iterator[Recipe]:
    """Yield every recipe worth a try for a target and a source of these types and this shape.

    The likelier ones come first: rows in place before permuted ones, plain functions before their
    variants. Nothing is yielded for what no function makes, nor for a plain copy.
    """
    rows, columns = (shape[0], prod(shape[1:])) if shape else (1, 1)
    heads = [head for head in HEADS if 1 <= len(shape) <= 2 and rows and columns and rows % head == 0]
    functions = [
        (name, function.items)
        for name, function in FUNCTIONS.items()
        if source_dtype in function.sources and target_dtype == (function.target or source_dtype)
    ]
    for name, items in functions:
        if name != "copy" and (shape[-1] if shape else 1) % items == 0:
            yield Recipe(name, source_dtype)
    for head, (name, items) in product(heads, functions):
        if columns % items == 0:
            yield Recipe(name, source_dtype, head, columns)
