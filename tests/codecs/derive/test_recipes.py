"""Which recipes there are for a pair of tensors, and which are refused."""

import pytest

from mvs.codecs.derive import FUNCTIONS, Recipe, derive, recipes, source_span

TYPES = ("F32", "F16", "BF16", "Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1")


def test_rows_in_place_are_tried_before_permuted_ones() -> None:
    found = list(recipes("BF16", "Q8_0", (384, 64)))
    assert found[:2] == [Recipe("q8_0", "BF16"), Recipe("q8_0", "BF16", 128, 64)]
    assert [recipe.head for recipe in found] == [0, 128, 64, 96, 32, 48]


def test_the_plain_function_is_tried_before_its_variants() -> None:
    assert next(recipes("F32", "BF16", (7,))).function == "bf16"
    assert next(recipes("F32", "Q4_0", (7, 32))).function == "q4_0"


def test_a_copy_is_a_recipe_only_when_rows_move() -> None:
    assert list(recipes("F16", "F16", (7, 5))) == []
    assert list(recipes("F16", "F16", (40, 5))) == [Recipe("copy", "F16", 40, 5)]


@pytest.mark.parametrize(
    ("source", "target", "shape"),
    [
        ("BF16", "Q8_0", (64, 33)),
        ("BF16", "Q8_0", ()),
        ("Q8_0", "F16", (64, 64)),
        ("I8", "I8", (64, 64)),
        ("BF16", "Q6_K", (64, 64)),
        ("", "", (64, 64)),
    ],
)
def test_what_no_function_makes_has_no_recipe(source: str, target: str, shape: tuple[int, ...]) -> None:
    assert list(recipes(source, target, shape)) == []


@pytest.mark.parametrize("shape", [(), (0,), (0, 64), (64, 0), (128,), (64, 64), (2, 64, 32)])
def test_every_recipe_offered_can_be_used(shape: tuple[int, ...]) -> None:
    for source in TYPES:
        for target in TYPES:
            for recipe in recipes(source, target, shape):
                low, high = source_span(recipe, 0, 1)
                assert low == 0
                assert len(derive(recipe, bytes(high), 0, 1)) == 1


def test_every_function_but_copy_is_offered() -> None:
    """A function that is never tried stores nothing."""
    offered = {recipe.function for source in TYPES for target in TYPES for recipe in recipes(source, target, (7, 32))}
    assert offered == set(FUNCTIONS) - {"copy"}


@pytest.mark.parametrize(
    "recipe",
    [
        Recipe("", "F32"),
        Recipe("q9_9", "F32"),
        Recipe("bf16", "BF16"),
        Recipe("f16", "Q8_0"),
        Recipe("copy", "F32", head=-2, columns=4),
        Recipe("copy", "F32", head=3, columns=4),
        Recipe("copy", "F32", head=4, columns=0),
        Recipe("copy", "F32", head=4, columns=-4),
        Recipe("copy", "F32", columns=-4),
        Recipe("q8_0", "F32", head=4, columns=33),
        Recipe("q8_0", "F32", head=1 << 62, columns=1 << 62),
    ],
)
def test_a_recipe_that_makes_no_sense_is_refused(recipe: Recipe) -> None:
    """It came from a damaged file and must not become a crash or a large allocation."""
    with pytest.raises(ValueError, match=r"function|permuted|blocks|needed"):
        derive(recipe, bytes(128), 0, 34)


@pytest.mark.parametrize(
    ("size", "start", "stop"),
    [(127, 0, 34), (129, 0, 34), (0, 0, 34), (128, 0, 35), (128, 3, 3), (128, -1, 5), (0, 5, 4)],
)
def test_a_source_or_range_that_does_not_fit_is_refused(size: int, start: int, stop: int) -> None:
    with pytest.raises(ValueError, match=r"needed|no range"):
        derive(Recipe("q8_0", "F32"), bytes(size), start, stop)
