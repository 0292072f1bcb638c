"""Ref lines: exactly one form, anything else refused."""

import pytest

from mvs.errors import CorruptRef, UnsupportedFormat
from mvs.format.ids import MAX_TIME, ObjectId
from mvs.format.lines.refs import MAX_BYTES, Ref
from mvs.format.names import Tag

ID = "01" * 32


def test_the_bytes_of_a_ref_never_change() -> None:
    """Every release must resolve the tags of every store."""
    ref = Ref(Tag("acme/m", "v1"), ObjectId(b"\1" * 32), 7)
    assert ref.encode() == b"mvs-ref 1 acme/m:v1 " + ID.encode() + b" 7\n"


@pytest.mark.parametrize(
    "line",
    [
        "",
        "\n",
        "mvs",
        f"mvs-ref 1 m:v1 {ID} 7",
        f"mvs-ref 1 m:v1 {ID} 7\n\n",
        f"mvs-ref 1 m:v1 {ID} 7\r\n",
        f"mvs-ref 1 m:v1 {ID} 7 \n",
        f"mvs-ref 1  m:v1 {ID} 7\n",
        f"mvs-ref 1 m:v1 {ID}\t7\n",
        f"mvs-ref 1 m:v1 {ID} 07\n",
        f"mvs-ref 1 m:v1 {ID} -7\n",
        f"mvs-ref 1 m:v1 {ID} 7.0\n",
        f"mvs-ref 1 m:v1 {ID} \u0667\n",
        f"mvs-ref 1 m:v1 {ID} {'9' * 21}\n",
        f"mvs-ref 1 m:v1 {ID[:-1]} 7\n",
        f"mvs-ref 1 m:v1 {ID[:-1]}A 7\n",
        f"mvs-ref 1 M:v1 {ID} 7\n",
        f"mvs-ref 1 m:latest {ID} 7\n",
        f"mvs-ref 1 m {ID} 7\n",
        f"mvs-ref 1 m@v1 {ID} 7\n",
        f"mvs-ref 1 ../m:v1 {ID} 7\n",
        f"mvs-ref 1 m\udcff:v1 {ID} 7\n",
    ],
)
def test_what_is_not_exactly_a_ref_is_refused(line: str) -> None:
    with pytest.raises(CorruptRef):
        Ref.decode(line.encode("utf-8", "surrogateescape"))


@pytest.mark.parametrize("length", [8, 9])
def test_a_ref_that_was_cut_off_is_damaged_and_not_of_a_later_release(length: int) -> None:
    """The user would look for an upgrade instead of a backup."""
    with pytest.raises(CorruptRef):
        Ref.decode(f"mvs-ref 1 m:v1 {ID} 7\n".encode()[:length])


def test_a_ref_of_a_later_release_is_refused_by_name() -> None:
    with pytest.raises(UnsupportedFormat, match="mvs-ref 2"):
        Ref.decode(f"mvs-ref 2 m:v1 {ID} 7\n".encode())


def test_the_longest_ref_is_read() -> None:
    """A tag that can be saved must be found again."""
    component = "n" * 63
    tag = Tag.parse(f"{component}/{component}/{component}/{component}:{component}")
    ref = Ref(tag, ObjectId(b"\xff" * 32), MAX_TIME)
    assert len(ref.encode()) <= MAX_BYTES
    assert Ref.decode(ref.encode()) == ref
