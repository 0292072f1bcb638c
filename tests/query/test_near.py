"""A key that no version has is told, with the one that was meant; the answer stays what it is."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from hypothesis import given
from hypothesis import strategies as st

import mvs
from mvs.query.near import keyed, meant, spelled
from mvs.query.parse import parse, parse_field, parse_sort
from mvs.query.tree import Field

KNOWN = ["labels.stage", "labels.team\\.name", "metadata.accuracy", "metadata.eval.f1", "metadata.learning rate"]


@pytest.mark.parametrize(
    ("written", "suggested"),
    [
        ("metadata.acuracy", "metadata.accuracy"),
        ("metrics.Accuracy", "metadata.accuracy"),
        ("metadata.eval.f2", "metadata.eval.f1"),
        ("metadata.learning_rate", 'metadata."learning rate"'),
        ("labels.team.nam", 'labels."team.name"'),
        ("tags.stages", "labels.stage"),
        ("labels.accuracy", "metadata.accuracy"),
        ("metadata.zzz", None),
        ("context.zzz", None),
    ],
)
def test_the_key_that_was_meant_is_suggested(written: str, suggested: str | None) -> None:
    assert meant(parse_field(written), KNOWN) == suggested


def test_every_field_of_an_expression_and_an_order_is_looked_at_once() -> None:
    where = parse(
        "not (labels.a = 'x' or metadata.b in (1) and context.c is null) and labels.a like 'x' and size > 3",
        now=0,
        parent=str,
    )
    found = keyed(where, parse_sort("metadata.d:desc,created"))
    assert [field.key for field in found] == ["labels.a", "metadata.b", "context.c", "metadata.d"]


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=1, max_size=3))
def test_what_is_suggested_is_read_as_what_it_is(path: list[str]) -> None:
    field = Field("metadata", tuple(path))
    assert parse_field(spelled(field)) == field


@pytest.fixture
def two(repo: mvs.Repository, folder: Path) -> None:
    for number in range(2):
        metadata: dict[str, Any] = {"accuracy": number, "eval": {"f1": 1}}
        repo.save(folder, f"bert:v{number}", labels={"stage": "test"}, metadata=metadata)


@pytest.mark.usefixtures("two")
@pytest.mark.parametrize(
    ("arguments", "told", "count"),
    [
        (["--where", "metadata.acuracy > 0"], ["metadata.accuracy"], 0),
        (["--where", "not metadata.acuracy > 0"], ["metadata.accuracy"], 2),
        (["bert", "--where", "labels.stages = 'x' or metadata.eval.f = 1"], ["labels.stage", "metadata.eval.f1"], 0),
        (["--sort", "metadata.acuracy"], ["metadata.accuracy"], 2),
        (["--where", "metadata.accuracy > 7"], [], 0),
        (["--where", "metadata.nothing_like_it is null"], [], 2),
        (["-l", "stag=test"], ["labels.stage"], 0),
    ],
)
def test_a_list_tells_which_key_was_meant(
    cli: Callable[..., Result], arguments: list[str], told: list[str], count: int
) -> None:
    result = cli("list", *arguments)
    assert [line.partition("did you mean '")[2] for line in result.stderr.splitlines()] == [f"{k}'?" for k in told]
    assert len(result.stdout.splitlines()) == (count + 1 if count else 0)
    # The second time the catalog is there already.
    assert cli("list", *arguments).stderr == result.stderr
    assert cli("-q", "list", *arguments).stderr == ""
