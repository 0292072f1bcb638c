"""The line that says which format a store is in, and where its objects lie."""

import pytest

from mvs.errors import NotARepository, UnsupportedFormat
from mvs.format.ids import ObjectId
from mvs.format.layout import check_format, new_format, object_path, pack_path, with_packs


def test_the_bytes_of_a_new_format_file_never_change() -> None:
    assert new_format() == b"mvs-store 1\n"


def test_a_new_store_may_be_read_and_written() -> None:
    assert check_format(new_format(), place="x") is None


@pytest.mark.parametrize(
    "data", [b"", b"\n", b"\xff\xfe", b"mvs-store", b"hello\n", b"\nmvs-store 1\n", b" mvs-store 1"]
)
def test_a_file_of_something_else_is_no_store(data: bytes) -> None:
    with pytest.raises(NotARepository) as caught:
        check_format(data, place="x")
    assert not isinstance(caught.value, UnsupportedFormat)


@pytest.mark.parametrize(
    ("data", "named"),
    [
        (b"mvs-store 2\n", "mvs-store 2"),
        (b"mvs-store 10\n", "mvs-store 10"),
        (b"mvs-store 1\nneeds-read shards\n", "shards"),
        (b"mvs-store 1\nneeds-read packs\nneeds-read shards\n", "shards"),
        (b"mvs-store 1\nneeds-write notes\nneeds-read shards\n", "shards"),
        (b"mvs-store 1\nneeds-read packs2\n", "packs2"),
        (b"mvs-store 1\nneeds-luck\n", "needs-luck"),
    ],
)
def test_a_store_of_a_later_release_is_refused_by_name(data: bytes, named: str) -> None:
    """Read by the rules of this release it would give wrong bytes."""
    with pytest.raises(UnsupportedFormat, match=named):
        check_format(data, place="x")


def test_a_feature_that_only_writers_need_leaves_the_store_readable() -> None:
    assert check_format(b"mvs-store 1\nneeds-write notes\n", place="x") == "notes"


def test_a_store_with_packs_may_be_read_and_written() -> None:
    assert check_format(with_packs(new_format()), place="x") is None
    assert with_packs(new_format()) == b"mvs-store 1\nneeds-read packs\n"


def test_packs_lie_under_their_first_two_digits() -> None:
    assert pack_path(ObjectId(b"\xab\xcd" + bytes(30))) == "packs/ab/cd" + "00" * 30 + ".pack"


def test_objects_lie_under_their_first_two_digits() -> None:
    assert object_path(ObjectId(b"\xab\xcd" + bytes(30))) == "objects/ab/cd" + "00" * 30


@pytest.mark.parametrize("text", ["", "0" * 63, "0" * 65, "A" * 64, "0" * 64 + "\n", "g" * 64, "\u0660" * 64])
def test_an_id_is_64_lower_case_hex_digits(text: str) -> None:
    with pytest.raises(ValueError, match="not an id"):
        ObjectId.from_hex(text)


def test_an_id_is_what_b3sum_prints() -> None:
    """Anyone must be able to check us with a tool that is not ours."""
    empty = "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"
    assert str(ObjectId.of(b"")) == empty
    assert ObjectId.from_hex(empty) == ObjectId.of(b"")
