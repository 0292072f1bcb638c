"""Any range of a derived tensor is made from no more than its span, and is that range of the whole."""

import tracemalloc
from itertools import pairwise

import numpy as np
import pytest
from blake3 import blake3
from hypothesis import given, settings
from hypothesis import strategies as st

from mvs.codecs.derive import FUNCTIONS, Recipe, derive, source_span
from mvs.codecs.derive.recipe import SOURCES

ELEMENTS = 12 * 64
DATA = blake3(b"ranges").digest(ELEMENTS * 4)


def _size(recipe: Recipe) -> int:
    function = FUNCTIONS[recipe.function]
    return ELEMENTS // function.items * (function.size or SOURCES[recipe.source])


def _part(recipe: Recipe, source: bytes, start: int, stop: int) -> bytes:
    low, high = source_span(recipe, start, stop)
    assert 0 <= low <= high <= len(source)
    return derive(recipe, memoryview(source)[low:high], start, stop)


@st.composite
def _recipes(draw: st.DrawFn) -> Recipe:
    function = draw(st.sampled_from(sorted(FUNCTIONS)))
    source = draw(st.sampled_from(FUNCTIONS[function].sources))
    if draw(st.booleans()):
        return Recipe(function, source)
    return Recipe(function, source, head=draw(st.sampled_from([2, 4, 6, 12])), columns=64)


@settings(max_examples=150)
@given(recipe=_recipes(), data=st.data())
def test_parts_cut_anywhere_make_the_whole(recipe: Recipe, data: st.DataObject) -> None:
    """A tensor is stored in blocks, and read from the middle."""
    source = DATA[: ELEMENTS * SOURCES[recipe.source]]
    size = _size(recipe)
    whole = derive(recipe, source, 0, size)
    cuts = sorted(data.draw(st.lists(st.integers(0, size), max_size=6)))
    bounds = [0, *cuts, size]
    assert b"".join(_part(recipe, source, *pair) for pair in pairwise(bounds)) == whole


def test_a_span_is_whole_blocks_and_whole_heads() -> None:
    assert source_span(Recipe("q8_0", "BF16"), 33, 35) == (0, 128)
    assert source_span(Recipe("f16", "F32"), 3, 4) == (4, 8)
    assert source_span(Recipe("copy", "BF16", head=4, columns=10), 79, 81) == (0, 160)
    assert source_span(Recipe("copy", "F32"), 5, 5) == (4, 4)


@pytest.mark.parametrize("function", ["copy", "f16", "bf16.truncated", "q8_0", "q5_1"])
def test_rows_are_permuted_as_a_conversion_to_gguf_does(function: str) -> None:
    """Permuting commutes with casts and with blocks, which never cross a row."""
    heads, head, columns = 3, 4, 64
    rows = np.frombuffer(DATA, "<f4").reshape(heads, 2, head // 2, columns)
    moved = np.ascontiguousarray(rows.swapaxes(1, 2)).tobytes()
    permuted = Recipe(function, "F32", head, columns)
    size = _size(permuted)
    assert derive(permuted, DATA, 0, size) == derive(Recipe(function, "F32"), moved, 0, size)


def test_a_source_may_start_at_an_odd_address() -> None:
    shifted = memoryview(b"x" + DATA)[1:]
    recipe = Recipe("q4_0", "F32")
    assert derive(recipe, shifted, 0, _size(recipe)) == derive(recipe, DATA, 0, _size(recipe))


@pytest.mark.parametrize("recipe", [Recipe("q8_0", "BF16"), Recipe("q4_0.fused", "F32", 128, 4096)])
def test_memory_stays_within_a_few_times_the_source(recipe: Recipe) -> None:
    source = bytes(8 << 20)
    size = len(source) // SOURCES[recipe.source] // 32 * FUNCTIONS[recipe.function].size
    derive(recipe, source, 0, size)
    tracemalloc.start()
    try:
        derive(recipe, source, 0, size)
        assert tracemalloc.get_traced_memory()[1] < 3 * len(source)
    finally:
        tracemalloc.stop()
