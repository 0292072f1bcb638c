"""Names, tags and specs: what is accepted, what is refused, what is said of it."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mvs.errors import InvalidTag
from mvs.format.names import Spec, Tag, parse_name, parse_target, parse_version

C63 = "a" * 63
N255 = f"{C63}/{C63}/{C63}/{C63}"

COMPONENTS = st.from_regex(r"[a-z0-9]([a-z0-9._-]{0,8}[a-z0-9])?", fullmatch=True)
NAMES = st.lists(COMPONENTS, min_size=1, max_size=4).map("/".join)
VERSIONS = COMPONENTS.filter(lambda text: text != "latest")

BAD_COMPONENTS = [
    "",
    " ",
    "a ",
    " a",
    "a\n",
    "\na",
    "a\0",
    "a b",
    "-a",
    "a-",
    ".a",
    "a.",
    "_a",
    "a_",
    ".",
    "..",
    ".mvs",
    "a*",
    "a@b",
    "a#b",
    "a~b",
    "a\\b",
    "a+b",
    "ä",
    "\u212a",  # the Kelvin sign, which str.lower() makes a 'k'
    "\u0131",
    "\u0661",  # a digit, but not one of ours
    "\uff41",
    "a\ud800",
    "a" * 64,
]


@pytest.mark.parametrize("text", ["a", "0", "bert", "acme/bert-base", "a.b_c-d", "a--b", "a..b", "latest", C63, N255])
def test_a_good_name_is_itself(text: str) -> None:
    assert parse_name(text) == text


@pytest.mark.parametrize("text", [*BAD_COMPONENTS, "/a", "a/", "a//b", "a/../b", f"{N255}a", f"{N255}/a", "a:b"])
def test_a_bad_name_is_refused(text: str) -> None:
    """Names become folders: one that is not clean would leave the store, or a shell would eat it."""
    with pytest.raises(InvalidTag):
        parse_name(text)


@pytest.mark.parametrize("text", [*BAD_COMPONENTS, "a/b", "latest", "LATEST", "a:b"])
def test_a_bad_version_is_refused(text: str) -> None:
    with pytest.raises(InvalidTag):
        parse_version(text)
    for parse in (Tag.parse, parse_target):
        with pytest.raises(InvalidTag):
            parse(f"name:{text}")


def test_capitals_are_lowered() -> None:
    """A training run that finished must not fail on a capital."""
    assert Tag.parse("Acme/BERT:V1.RC2") == Tag("acme/bert", "v1.rc2")
    assert Spec.parse("BERT:Latest~1") == Spec("bert", "latest", back=1)
    assert Spec.parse("BERT@Prod") == Spec("bert", "alias", "prod")
    assert Spec.parse("BERT#4F2A") == Spec("bert", "id", "4f2a")


def test_a_tag_needs_a_version_but_a_target_does_not() -> None:
    assert parse_target("bert") == ("bert", None)
    with pytest.raises(InvalidTag, match="no version") as caught:
        Tag.parse("bert")
    assert caught.value.hint == "mvs log bert"


@pytest.mark.parametrize("value", [None, 7, b"bert:v1", ["bert:v1"]])
def test_what_is_no_string_is_refused(value: Any) -> None:
    for parse in (Tag.parse, Spec.parse, parse_target):
        with pytest.raises(InvalidTag):
            parse(value)


@given(NAMES, VERSIONS)
def test_a_tag_comes_back_from_its_text(name: str, version: str) -> None:
    tag = Tag(name, version)
    assert Tag.parse(str(tag)) == tag
    assert Tag.parse(tag) is tag
    assert Spec.parse(tag) == Spec.parse(str(tag))


@given(st.text(max_size=20) | st.text("aZ0./:@#~*-_\n ", max_size=12))
def test_any_text_is_a_spec_that_comes_back_or_is_refused(text: str) -> None:
    """Any other error would reach the user as a traceback."""
    try:
        spec = Spec.parse(text)
    except InvalidTag:
        return
    assert Spec.parse(str(spec)) == spec


@pytest.mark.parametrize(
    ("text", "spec", "spelled"),
    [
        ("bert", Spec("bert", "latest", bare=True), "bert"),
        ("bert:latest", Spec("bert", "latest"), "bert:latest"),
        ("bert@latest", Spec("bert", "latest"), "bert:latest"),
        ("bert:latest~0", Spec("bert", "latest"), "bert:latest"),
        ("bert:latest~12", Spec("bert", "latest", back=12), "bert:latest~12"),
        ("bert:latest~999999999", Spec("bert", "latest", back=999_999_999), "bert:latest~999999999"),
        ("a/b:v1", Spec("a/b", "version", "v1"), "a/b:v1"),
        ("bert:v1*", Spec("bert", "prefix", "v1"), "bert:v1*"),
        ("bert:2026-*", Spec("bert", "prefix", "2026-"), "bert:2026-*"),
        ("bert:latest*", Spec("bert", "prefix", "latest"), "bert:latest*"),
        ("bert@prod", Spec("bert", "alias", "prod"), "bert@prod"),
        ("bert#4f2a91", Spec("bert", "id", "4f2a91"), "bert#4f2a91"),
        (f"bert#{'0' * 64}", Spec("bert", "id", "0" * 64), f"bert#{'0' * 64}"),
    ],
)
def test_every_form_of_a_spec(text: str, spec: Spec, spelled: str) -> None:
    assert Spec.parse(text) == spec
    assert str(spec) == spelled


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":v1",
        "@prod",
        "#4f",
        "bert:",
        "bert@",
        "bert#",
        "bert:*",
        "bert:-*",
        "bert:v*1",
        "bert:v**",
        "bert:v1\n",
        "bert@prod\n",
        "bert#4f\n",
        "bert:latest\n",
        "bert:latest~",
        "bert:latest~-1",
        "bert:latest~1\n",
        "bert:latest~\u0661",
        "bert:latest~1000000000",
        "bert:v1~1",
        "bert~1",
        "bert:latest~1~1",
        "bert#4g",
        f"bert#{'0' * 65}",
        "bert:v1:v2",
        "bert:v1@prod",
        "bert@a/b",
        "a*:v1",
    ],
)
def test_a_bad_spec_is_refused(text: str) -> None:
    with pytest.raises(InvalidTag):
        Spec.parse(text)


def test_tags_sort_by_name_then_version() -> None:
    assert sorted([Tag("b", "1"), Tag("a", "2"), Tag("a", "1")]) == [Tag("a", "1"), Tag("a", "2"), Tag("b", "1")]
