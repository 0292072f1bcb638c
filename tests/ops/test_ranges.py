"""Versions that are numbers: ranges hold what npm, Cargo and PEP 440 say, and the next one is always higher."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.version import Version

import mvs
from mvs.errors import InvalidTag
from mvs.format.names import BUMPS, COMPONENT_LENGTH, Bump, Spec, parse_version
from mvs.ops.find.ranges import best, following, parse_number, parse_range

THERE = [
    "0.0.3",
    "0.0.4",
    "0.2.0",
    "0.2.9",
    "0.3.0",
    "1.0",
    "1.2.0",
    "1.2.9",
    "1.10.1",
    "2.0.0-rc.1",
    "v2.0.0",
    "v3",
    "latest",
]


@pytest.mark.parametrize(
    ("text", "highest"),
    [
        # https://docs.npmjs.com/cli/v11/using-npm/semver and https://doc.rust-lang.org/cargo/reference/specifying-dependencies.html
        ("^1.2.3", "1.10.1"),
        ("^1.2", "1.10.1"),
        ("^1", "1.10.1"),
        ("^0.2.3", "0.2.9"),
        ("^0.2", "0.2.9"),
        ("^0.0.3", "0.0.3"),
        ("^0.0", "0.0.4"),
        ("^0", "0.3.0"),
        ("^v2", "v2.0.0"),
        ("~1.2.3", "1.2.9"),
        ("~1.2", "1.2.9"),
        ("~1", "1.10.1"),
        ("~0.2.1", "0.2.9"),
        # https://peps.python.org/pep-0440/#version-specifiers
        (">=1.0,<2", "1.10.1"),
        (">=1.0, <1.10, !=1.2.9", "1.2.0"),
        ("<=1.2.0", "1.2.0"),
        ("~=1.2.0", "1.2.9"),
        ("==1.2.*", "1.2.9"),
        ("==1.0.0", "1.0"),
        (">1", "v3"),
        ("==2.0.0-rc.1", "2.0.0-rc.1"),
        (">=2.0.0-rc.1,<3", "v2.0.0"),
        ("<2.0.0", "1.10.1"),
        ("^4", None),
    ],
)
def test_a_range_holds_what_its_inventors_say(text: str, highest: str | None) -> None:
    assert best(text, THERE) == ([highest] if highest else [])
    assert best(text, reversed(THERE)) == best(text, THERE)


def test_versions_that_are_one_number_are_told_apart_by_nobody() -> None:
    assert best("^1", ["1.0", "v1.0.0", "0.9"]) == ["1.0", "v1.0.0"]


@pytest.mark.parametrize(
    "text",
    [
        "^",
        "~",
        "^x",
        ">=",
        "=",
        "=1.0",
        ">=1.0,,<2",
        ">=1.0,",
        "===1.0",
        "^1.2.3.4",
        "^1.2 || ^2",
        "~~1",
        ">=1.0;",
        "^1" * 200,
        "<" * 300,
        "!1",
        "^" + "9" * 5000,
        ">=" + "1." * 120 + "1x",
        "^1!2",
    ],
)
def test_what_is_no_range_is_refused(repo: mvs.Repository, folder: Path, text: str) -> None:
    repo.save(folder, "bert:1.0")
    with pytest.raises(InvalidTag):
        repo.get(f"bert:{text}")


@pytest.mark.parametrize("text", ["^1.2", "~1.2", ">=1.0,<2"])
def test_a_range_is_a_spec(text: str) -> None:
    spec = Spec.parse(f"Acme/bert:{text}")
    assert spec == Spec("acme/bert", "range", text)
    assert Spec.parse(str(spec)) == spec


@pytest.mark.parametrize(
    "version",
    ["20261123-104512-4f2a91", "20261123-104512-123456", "20261123-104512-123456.2", "final", "1.2.3.4", "v", "x1"],
)
def test_what_is_not_meant_as_a_number_is_none(version: str) -> None:
    """A version that mvs made of the time would be the highest for ever."""
    assert parse_number(version) is None


@pytest.mark.parametrize(
    ("versions", "bumped"),
    [
        ([], ("1.0.0", "0.1.0", "0.0.1")),
        (["final"], ("1.0.0", "0.1.0", "0.0.1")),
        (["1.2.3", "1.10.0", "1.9.9"], ("2.0.0", "1.11.0", "1.10.1")),
        (["v1", "v2"], ("v3.0.0", "v2.1.0", "v2.0.1")),
        (["1.2"], ("2.0.0", "1.3.0", "1.2.1")),
        (["2.0.0-rc.1"], ("2.0.0", "2.0.0", "2.0.0")),
        (["2.1.0-rc.1"], ("3.0.0", "2.1.0", "2.1.0")),
        (["2.1.1-rc.1"], ("3.0.0", "2.2.0", "2.1.1")),
    ],
)
def test_the_next_number_is_the_one_npm_would_give(versions: list[str], bumped: tuple[str, ...]) -> None:
    assert tuple(following(versions, bump) for bump in BUMPS) == bumped


NUMBERS = st.lists(st.integers(0, 30), min_size=1, max_size=3).map(lambda parts: ".".join(map(str, parts)))
SUFFIXES = st.sampled_from(["", "-rc.1", "-beta", "a1"])
VERSIONS = st.builds(lambda v, number, suffix: v + number + suffix, st.sampled_from(["", "v"]), NUMBERS, SUFFIXES)


@given(st.lists(VERSIONS, max_size=6), st.sampled_from(BUMPS))
def test_the_next_number_is_higher_than_all(versions: list[str], bump: Bump) -> None:
    """A save that took a number would be refused, and one below the highest never found by a range."""
    version = following(versions, bump)
    assert parse_version(version) == version
    assert all(Version(other) < Version(version) for other in versions)


@given(
    st.sampled_from("^~<>=!").flatmap(lambda mark: st.text("^~<>=!,.* v0123456789abrc-", max_size=20).map(mark.__add__))
)
def test_any_range_is_one_or_refused(text: str) -> None:
    try:
        parse_range(text)
    except InvalidTag:
        return
    assert set(best(text, THERE)) <= set(THERE)


@given(st.text("0123456789.v-abc", min_size=1, max_size=COMPONENT_LENGTH))
def test_any_version_is_a_number_or_none(version: str) -> None:
    number = parse_number(version)
    assert number is None or Version(version) == number
