"""Lists of what was not pulled: exactly one form, anything else refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mvs.errors import CorruptRef, UnsupportedFormat
from mvs.format.ids import ObjectId
from mvs.format.lines.partial import Partial
from mvs.format.names import Tag

ID, ONE, TWO = "01" * 32, "02" * 32, "03" * 32
WHAT = f'{{"blobs":["{ONE}","{TWO}"],"remote":"origin","url":"s3://models/é"}}'
LINE = f"mvs-partial 1 acme/m:v1 {ID} {WHAT}\n".encode()
GOOD = Partial(
    Tag("acme/m", "v1"),
    ObjectId(b"\1" * 32),
    frozenset([ObjectId(b"\3" * 32), ObjectId(b"\2" * 32)]),
    "origin",
    "s3://models/é",
)


def test_the_bytes_of_a_list_never_change() -> None:
    """What cannot be read is taken for damage, in every store that holds a version in part."""
    assert GOOD.encode() == LINE
    assert Partial.decode(LINE) == GOOD


@pytest.mark.parametrize(
    "what",
    [
        "",
        "{}",
        "[]",
        WHAT.replace(",", ", "),
        WHAT.replace(f'"{ONE}","{TWO}"', ""),
        WHAT.replace(ONE, TWO),
        WHAT.replace(f'"{ONE}"', "7"),
        WHAT.replace(ONE, "02"),
        WHAT.replace(ONE, "AB" * 32),
        WHAT.replace('"origin"', "null"),
        WHAT.replace('"remote"', '"other"'),
        WHAT.replace("é", "\\u00e9"),
        WHAT.replace("}", ',"z":1}'),
        "[" * 5000,
        '{"blobs":' + "[" * 5000 + "}",
    ],
)
def test_anything_else_is_refused(what: str) -> None:
    data = f"mvs-partial 1 acme/m:v1 {ID} {what}\n".encode()
    with pytest.raises(CorruptRef):
        Partial.decode(data)


def test_one_of_a_later_release_is_refused_by_name() -> None:
    with pytest.raises(UnsupportedFormat, match="mvs-partial 2"):
        Partial.decode(LINE.replace(b"partial 1", b"partial 2"))


@given(st.binary(max_size=200) | st.tuples(st.integers(0, len(LINE) - 1), st.binary(max_size=3)))
def test_hostile_bytes_are_refused_or_mean_what_they_say(data: bytes | tuple[int, bytes]) -> None:
    if isinstance(data, tuple):
        at, other = data
        data = LINE[:at] + other + LINE[at + 1 :]
    try:
        found = Partial.decode(data)
    except (CorruptRef, UnsupportedFormat):
        return
    assert found.encode() == data


@given(st.frozensets(st.binary(min_size=32, max_size=32).map(ObjectId), min_size=1, max_size=4), st.text(), st.text())
def test_what_is_written_is_read(blobs: frozenset[ObjectId], remote: str, url: str) -> None:
    found = GOOD._replace(blobs=blobs, remote=remote, url=url)
    assert Partial.decode(found.encode()) == found
