"""The text of mvs.lock: one form, kept for ever, refused by name where it is another."""

import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mvs.errors import UNREADABLE, CorruptPins, InvalidPath, UnsupportedFormat
from mvs.format.ids import MAX_TIME, ObjectId
from mvs.format.lines.pins import PINS_LINE, Pin, check_pin_path, decode, encode, sides
from mvs.format.names import Tag

GOLDEN = Path(__file__).parent.parent / "golden" / "pins-1" / "mvs.lock"
FORMAT = Path(__file__).parent.parent.parent / "docs" / "format.md"
ID = "4f2a91c07f3c5b1e9d08a6b7c2e4d5f60718293a4b5c6d7e8f90a1b2c3d4e5f6"
NAMES = st.from_regex(r"[a-z0-9]([a-z0-9._-]{0,5}[a-z0-9])?", fullmatch=True).filter(lambda name: name != "latest")
PIN = st.builds(
    Pin,
    tag=st.builds(Tag, NAMES, NAMES),
    id=st.binary(min_size=32, max_size=32).map(ObjectId),
    created=st.integers(0, MAX_TIME),
    path=NAMES,
    follows=st.just("latest") | NAMES,
)


def test_the_golden_file_is_read_and_written_as_it_was() -> None:
    data = GOLDEN.read_bytes()
    pins = decode(data)
    assert pins[0] == Pin(Tag("acme/bert", "v2"), ObjectId.from_hex(ID), 1795430712000000001, "models/bert", "prod")
    assert pins[1].unknown == ("colour of a later release",)
    assert encode(reversed(pins)) == data


def test_the_example_on_the_page_is_one() -> None:
    text = FORMAT.read_text(encoding="utf-8")
    example = text.partition("## Pins")[2].partition("```\n")[2].partition("```")[0]
    assert example.startswith(f"{PINS_LINE}\n")
    assert encode(decode(example.encode())) == example.encode()


@given(st.lists(PIN, max_size=4, unique_by=lambda pin: pin.path))
def test_what_was_written_is_read(pins: list[Pin]) -> None:
    assert decode(encode(pins)) == tuple(sorted(pins, key=lambda pin: pin.key))


@given(st.binary(max_size=60), st.integers(0, 400), st.integers(0, 40))
def test_anything_else_is_refused_and_nothing_worse(junk: bytes, at: int, length: int) -> None:
    data = GOLDEN.read_bytes()
    with contextlib.suppress(*UNREADABLE):
        decode(data[:at] + junk + data[at + length :])
    with contextlib.suppress(*UNREADABLE):
        sides(data[:at] + b"\n<<<<<<< a\n" + junk + data[at:])


def test_line_ends_of_windows_are_read() -> None:
    """Git makes them where core.autocrlf says so."""
    data = GOLDEN.read_bytes()
    assert decode(data.replace(b"\n", b"\r\n")) == decode(data)


def test_a_later_format_is_refused_by_name() -> None:
    with pytest.raises(UnsupportedFormat, match="'mvs-lock 2'"):
        decode(GOLDEN.read_bytes().replace(b"mvs-lock 1", b"mvs-lock 2"))


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("mvs-lock 1", "garbage", "does not begin"),
        ("  version v2\n", "", "no line 'version'"),
        ("  version v2\n", "  version v2\n  version v3\n", "two lines 'version'"),
        ("version v2", "version V2", "lower case"),
        ("version v2", "version latest", "reserved"),
        ("id 4f2a", "id 4F2A", "not an id"),
        ("2026-11-23T10", "2026-13-23T10", "month"),
        ("12.000000001Z", "12Z", "is no time"),
        ("2026-", "2999-", "out of range"),
        ("path models/bert", "path ../bert", "clean relative"),
        ("path models/bert", "path models/.GIT/hooks", "belongs to git"),
        ("path models/bert", "path .mvs/hooks", "belongs to mvs"),
        ("path models/bert", "path models/größer", "occurs twice"),
        ("path models/bert", "path models", "both a file and a folder"),
        ("path models/bert", "path models/Größer", "one path"),
        ("follows prod", "follows @prod", "may hold only"),
        ("\npin acme", "\nnip acme", "line 3"),
    ],
)
def test_what_is_wrong_is_named(old: str, new: str, reason: str) -> None:
    text = GOLDEN.read_text(encoding="utf-8")
    assert old in text
    with pytest.raises(CorruptPins, match=reason):
        decode(text.replace(old, new, 1).encode())


@pytest.mark.parametrize("path", ["a\nb", " a", "a ", "a\u200cb", "mvs.lock", ".gitattributes"])
def test_paths_that_no_line_can_hold_are_refused(path: str) -> None:
    with pytest.raises(InvalidPath):
        check_pin_path(path)


def test_both_sides_of_a_conflict_are_found() -> None:
    for base in ("", "||||||| base\nb\n"):
        text = f"one\n<<<<<<< HEAD\na\n{base}=======\nc\n>>>>>>> theirs\ntwo\n"
        assert sides(text.encode()) == (b"one\na\ntwo\n", b"one\nc\ntwo\n")
    for text in ("<<<<<<< a\n", "=======\n", ">>>>>>> a\n", "<<<<<<< a\n<<<<<<< b\n", "<<<<<<< a\n>>>>>>> b\n"):
        with pytest.raises(CorruptPins):
            sides(text.encode())
    with pytest.raises(CorruptPins) as caught:
        decode(b"mvs-lock 1\n<<<<<<< a\n")
    assert caught.value.hint == "mvs pin --resolve"
