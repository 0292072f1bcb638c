"""Expressions mean what docs/query.md says, and mistakes are shown where they are."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mvs.errors import QueryError
from mvs.query import sql
from mvs.query.facts import Facts, matches
from mvs.query.parse import MAX_DEPTH, parse, parse_sort
from mvs.query.times import parse_moment
from mvs.query.tree import Expression, Field, Sort
from mvs.query.words import MAX_LENGTH
from tests.query.expressions import EXPRESSIONS

DAY = 86400 * 1_000_000_000
NOW = 1_800_000_000_000_000_000
VERSION: dict[str, Any] = {
    "name": "acme/bert",
    "version": "v2",
    "created": NOW - DAY,
    "size": 1_500_000_000,
    "files": 3,
    "message": "",
    "parents": ("aa", "bb"),
    "aliases": ("prod", "best"),
    "labels": {"stage": "production", "team.name": "nlp"},
    "metadata": {"accuracy": 0.94, "epoch": 3, "eval/loss": 0.2, "notes": "x", "deep": {"a.b": {"c": 1}}, "no": None},
    "context": {"framework": "pytorch", "git": {"dirty": False}, "gpus": ["a100"]},
}
FACTS = Facts(**VERSION)


def parsed(text: str) -> Expression:
    return parse(text, now=NOW, parent={"base:v1": "aa"}.__getitem__)


@pytest.mark.parametrize(
    "text",
    [
        "metadata.accuracy > 0.9 and (labels.stage = 'production' or not alias in ('old', 'bad'))"
        " and created > '7 days ago' and size < 2GB and framework = 'pytorch' and parent = 'base:v1'",
        'METRICS.accuracy >= 94e-2 AND Tags.stage == "production"',
        "params.epoch = 3.0",
        "metadata.epoch in (1, 2, 3)",
        "metadata.eval/loss < .5",
        'metadata.deep."a.b".c = 1',
        "metadata.deep.`a.b`.c = 1",
        "labels.team.name = 'nlp'",
        "name like '%bert' and name not like 'bert%'",
        "name ilike 'ACME/%' and not name like 'ACME/%'",
        "name glob 'acme/b?r[st]'",
        "context.git.dirty = false",
        "size = '1.5 GB' and size > 1GiB and files <> 4",
        "message is null and metadata.no is null and metadata.accuracy is not null",
        "context.gpus is not null and context.git is not null",
        "created > 'yesterday' and created < '2030-01-01' and created < 'now'",
        "name = 'x' or name = 'acme/bert' and version = 'v2'",
        "not name = 'x' and version = 'v2'",
        "not (metadata.missing != 1) and not metadata.missing = 1 and metadata.missing is null",
        "alias != 'old' and alias not in ('old', 'bad') and alias like 'b%'",
        "metadata.epoch not in (1, 'x')",
    ],
)
def test_an_expression_that_is_true(text: str) -> None:
    assert matches(parsed(text), FACTS)


@pytest.mark.parametrize(
    "text",
    [
        "metadata.missing != 1",
        "metadata.missing not in (1)",
        "metadata.missing not like 'x'",
        "metadata.missing < 1",
        "metadata.accuracy = '0.94'",
        "metadata.accuracy != '0.94'",
        "metadata.accuracy > 'a'",
        "metadata.accuracy < true",
        "metadata.notes > 1",
        "metadata.notes != 1",
        "metadata.accuracy not like 'x'",
        "metadata.epoch not in ('x', 'y')",
        "name > 3",
        "name = 3",
        "context.git.dirty = 0",
        "context.gpus = 'a100'",
        "context.gpus != 'a100'",
        "alias != 'prod'",
        "alias not in ('prod', 'x')",
        "parent != 'base:v1'",
        "message != 'x'",
        "labels.Stage = 'production'",
        "metadata.deep.a.b.c = 1",
        "created > '2030-01-01'",
    ],
)
def test_an_expression_that_is_false(text: str) -> None:
    """Also where something is missing, or of another type: nobody wants to delete by mistake."""
    assert not matches(parsed(text), FACTS)


@pytest.mark.parametrize(
    ("text", "column", "said"),
    [
        ("metdata.accuracy > 1", 0, "did you mean 'metadata.accuracy'?"),
        ("name = 'x' and acuracy > 1", 15, "did you mean 'metadata.acuracy' or 'labels.acuracy'?"),
        ("nam = 'x'", 0, "did you mean 'name'?"),
        ("loss.eval > 1", 0, "did you mean 'metadata.loss.eval'?"),
        ("labels = 'x'", 0, "'labels' needs a key"),
        ("name.first = 'x'", 0, "'name' has no parts"),
        ("name = bert", 7, "a text stands in quotes: 'bert'"),
        ("name = 'bert", 7, "this quote is not closed"),
        ("name ~ 'bert'", 5, "'~' means nothing here"),
        ("name 'bert'", 5, "expected an operator, such as = or <, not ''bert''"),
        ("name not = 'bert'", 9, "expected 'in', 'like' or 'glob', not '='"),
        ("name = 'x' name = 'y'", 11, "expected 'and', 'or' or the end, not 'name'"),
        ("(name = 'x'", 11, "expected ')', not the end"),
        ("name in ('x'", 12, "expected ',' or ')', not the end"),
        ("name in ()", 9, "expected a value, not ')'"),
        ("name = null", 7, "write 'is null'"),
        ("name is 'x'", 8, "expected 'null'"),
        ("name like bert", 10, "expected a pattern in quotes"),
        ("metadata.x = 3PB", 13, "'3PB' is no number, and no size"),
        ("size > 'large'", 7, "'large' is no size"),
        ("created > 'soon'", 10, "'soon' is no time"),
        ("created > 'in 3 days'", 10, "'in 3 days' is no time"),
        ("created > 2026", 10, "a time stands in quotes"),
        ("parent like 'x%'", 7, "a parent is one version"),
        ("parent > 'base:v1'", 7, "a parent is one version"),
        ('"accuracy" > 1', 0, "a key in quotes needs what it is a key of"),
        ("", 0, "expected a field"),
        ("and", 0, "expected a field"),
        ("name = 'x' or", 13, "expected a field, such as name or metadata.accuracy, not the end"),
        ("1 = 1", 0, "expected a field"),
        ("name = '\ud800'", 8, "not valid Unicode"),
        ("not " * (MAX_DEPTH + 2) + "name = 'x'", 4 * (MAX_DEPTH + 1), "levels of 'not' and parentheses"),
        ("(" * 5000, MAX_DEPTH + 1, "levels of 'not' and parentheses"),
        ("name = '" + "x" * MAX_LENGTH + "'", MAX_LENGTH, "longer than 8192 characters"),
    ],
)
def test_a_mistake_is_shown_where_it_is(text: str, column: int, said: str) -> None:
    with pytest.raises(QueryError) as caught:
        parsed(text)
    what, shown, mark = caught.value.message.split("\n")
    assert said in what
    at = mark.index("^")
    if column < 60:
        assert at == column + 2
    if column < len(text) < MAX_LENGTH and text.isprintable():
        assert shown[at] == text[column]


def three_lines(error: QueryError) -> None:
    assert error.message.count("\n") == 2


def test_what_a_terminal_would_obey_is_not_shown() -> None:
    with pytest.raises(QueryError) as caught:
        parsed("name = 'a\x1b[2J\n' nonsense")
    assert "\x1b" not in caught.value.message
    assert caught.value.message.count("\n") == 2


@given(st.one_of(st.text(max_size=60), EXPRESSIONS, st.text("()'\"`.,=<>!-_ aemtdinolrks019\x00\n:", max_size=60)))
@settings(max_examples=120, deadline=None)
@example("created > '99999999999999999 years'")
@example("created > '0001-01-01'")
@example("size > " + "9" * 400)
@example("metadata.a = " + "9" * 5000)
@example("size = 1e999")
def test_any_text_is_an_expression_or_an_error_of_its_own(text: str) -> None:
    try:
        tree = parse(text, now=NOW, parent=str)
    except QueryError as error:
        three_lines(error)
        return
    assert matches(tree, FACTS) in (True, False)
    condition = sql.condition(tree)
    assert condition.text.count("?") == len(condition.parameters)


@given(st.text(max_size=40))
@settings(max_examples=60, deadline=None)
def test_any_text_is_an_order_or_an_error_of_its_own(text: str) -> None:
    try:
        parse_sort(text)
    except QueryError as error:
        three_lines(error)


@given(text=st.text(min_size=12, max_size=20, alphabet="xyz';-\"`%"))
@settings(max_examples=40, deadline=None)
def test_nothing_of_the_users_is_ever_in_the_sql(text: str) -> None:
    quoted = text.replace("'", "''")
    where = parsed(f"metadata.\"{text.replace(chr(34), chr(34) * 2)}\" = '{quoted}' or name like '{quoted}'")
    assert text not in sql.condition(where).text


def test_orders() -> None:
    assert parse_sort("metrics.val_loss:asc,created:desc") == (
        Sort(Field("metadata", ("val_loss",)), descending=False),
        Sort(Field("created"), descending=True),
    )
    assert parse_sort("name DESC, size") == (
        Sort(Field("name"), descending=True),
        Sort(Field("size"), descending=False),
    )


@pytest.mark.parametrize(
    ("text", "column"), [("", 0), ("name:", 5), ("name:up", 5), ("alias", 0), ("name,,size", 5), ("nam", 0)]
)
def test_a_mistake_in_an_order_is_shown_where_it_is(text: str, column: int) -> None:
    with pytest.raises(QueryError) as caught:
        parse_sort(text)
    assert caught.value.message.split("\n")[2] == " " * (column + 2) + "^"


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("now", NOW),
        ("7 days ago", NOW - 7 * DAY),
        ("1.5h ago", NOW - DAY // 16),
        ("2 Weeks", NOW - 14 * DAY),
        ("1970-01-01T00:00:01Z", 1_000_000_000),
        ("1970-01-01T01:00:01.5+01:00", 1_500_000_000),
        ("9999-12-31T00:00Z", 2**63 - 1),
    ],
)
def test_times(text: str, at: int) -> None:
    assert parse_moment(text, NOW) == at


def test_a_day_begins_at_midnight_here() -> None:
    midnight = parse_moment("2026-11-23", NOW)
    assert datetime.fromtimestamp(midnight // 10**9, UTC).astimezone().replace(tzinfo=None) == datetime(2026, 11, 23)
    assert parse_moment("today", midnight + 5) == midnight
