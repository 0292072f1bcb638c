"""Paths: what every file system we check out to can hold."""

import unicodedata
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mvs.errors import InvalidPath
from mvs.format.paths import check_path, check_paths


@pytest.mark.parametrize(
    "path",
    ["a", "a/b/c", "...", "a..b", ".git/config", "x.mvs", ".mvs2", "a b", "a\nb", "a\\b", "é", "x" * 255, "é" * 127],
)
def test_a_good_path_is_accepted(path: str) -> None:
    check_path(path)
    check_paths([path])


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/",
        "/a",
        "a/",
        "a//b",
        ".",
        "./a",
        "a/.",
        "..",
        "../a",
        "a/../b",
        "a/..",
        "a\0b",
        "\0",
        ".mvs",
        ".mvs/config.toml",
        "a/.mvs",
        "a/.MVS/b",
        ".mv\u017f",  # the long s, which folds to 's'
        "x" * 256,
        "a/" + "é" * 128,
        "\ud800",
        "caf\udce9",
    ],
)
def test_a_bad_path_is_refused(path: str) -> None:
    """A checkout would write outside its folder, into a repository, or not at all."""
    with pytest.raises(InvalidPath):
        check_path(path)
    with pytest.raises(InvalidPath):
        check_paths(["fine", path])
    with pytest.raises(InvalidPath):
        check_paths(["fine"], [path])


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("a", "A"),
        ("é", "e\u0301"),
        ("É", "e\u0301"),
        ("straße", "STRASSE"),
        ("\u212a", "k"),
        ("\u03c3", "\u03c2"),
        ("\ufb01", "fi"),
        ("d/a", "D/b"),
        ("d", "D/b"),
        ("d/x/a", "d/X/b"),
        ("é/a", "e\u0301/b"),
    ],
)
def test_paths_that_one_file_system_takes_for_one_are_refused(one: str, other: str) -> None:
    """One file of the two would be lost on macOS, silently."""
    for files, dirs in [([one, other], []), ([other, one], []), ([one], [other])]:
        with pytest.raises(InvalidPath):
            check_paths(files, dirs)


@given(
    st.text(min_size=1, max_size=6), st.sampled_from(["upper", "lower", "swapcase"]), st.sampled_from(["NFC", "NFD"])
)
def test_no_spelling_of_a_path_stands_beside_another(text: str, case: str, form: Literal["NFC", "NFD"]) -> None:
    other = unicodedata.normalize(form, getattr(text, case)())
    folded, other_folded = (
        unicodedata.normalize("NFC", unicodedata.normalize("NFC", t).casefold()) for t in (text, other)
    )
    if text != other and folded == other_folded:
        with pytest.raises(InvalidPath):
            check_paths([text, other])


@pytest.mark.parametrize(
    ("files", "dirs"),
    [(["a", "a/b"], []), (["a/b", "a"], []), (["a/b/c", "a"], []), (["a/b"], ["a"]), (["a"], ["a/b"])],
)
def test_nothing_is_both_a_file_and_a_folder_that_holds_something(files: list[str], dirs: list[str]) -> None:
    with pytest.raises(InvalidPath, match="both"):
        check_paths(files, dirs)


@pytest.mark.parametrize(("files", "dirs"), [(["a", "a"], []), (["a"], ["a"]), ([], ["a", "a"])])
def test_a_path_occurs_once(files: list[str], dirs: list[str]) -> None:
    with pytest.raises(InvalidPath, match="twice"):
        check_paths(files, dirs)


def test_neighbours_that_only_look_alike_stand_together() -> None:
    check_paths(["a", "a.b", "ab", "b/a", "b/a.b", "b-/a"], ["c", "c.d", "d/e"])
