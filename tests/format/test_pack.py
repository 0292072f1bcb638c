"""Packs: one form of index, read back as it was written, anything else refused."""

from collections.abc import Callable
from struct import pack
from typing import Any

import pytest
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st

from mvs.errors import CorruptPack, UnsupportedFormat
from mvs.format import pack as packs
from mvs.format.canonical import decode, encode
from mvs.format.ids import ObjectId
from mvs.format.pack import (
    CONCAT,
    MAX_INDEX,
    MAX_RECORD,
    PACK_END,
    PACK_LINE,
    TRAILER_SIZE,
    Index,
    Record,
    Span,
    check_of,
    check_start,
    decode_index,
    encode_end,
    index_place,
)

END = 5000
ONE, OTHER, ELSEWHERE = (ObjectId(bytes([number]) * 32) for number in (1, 2, 3))
RAW = Record(ONE, 10, "raw", 0, 11, 10, b"checksum", ())
DELTA = Record(OTHER, 10, "delta", 1, 21, 4, b"CHECKSUM", (Span(ELSEWHERE, 5, 10),))


def split(end: bytes, offset: int = END) -> Index:
    """Read the end of a pack whose index begins at `offset`."""
    place, length, digest = index_place(end[-TRAILER_SIZE:], offset + len(end))
    assert place == offset
    return decode_index(end[:length], offset, digest)


def refused(value: object, match: str = "not in form") -> None:
    data = value if isinstance(value, bytes) else encode(value)
    with pytest.raises(CorruptPack, match=match):
        decode_index(data, END, blake3(data).digest())


def row(record: Record = RAW, **changed: Any) -> list[Any]:
    """A record as it stands in an index, with some of it changed to what may not stand there."""
    values = {
        **record._asdict(),
        "id": record.id.raw,
        "refs": [[ref.id.raw, ref.offset, ref.length] for ref in record.refs],
    }
    return list({**values, **changed}.values())


def test_the_bytes_of_the_end_of_a_pack_never_change() -> None:
    """Every release must find the objects of every pack."""
    end = encode_end([DELTA, RAW], END)
    index = (
        b"\x82"
        b"\xa7outside\x91\xc4\x20" + bytes([3]) * 32 + b"\xa7records\x92"
        b"\x98\xc4\x20" + bytes([1]) * 32 + b"\x0a\xa3raw\x00\x0b\x0a\xc4\x08checksum\x90"
        b"\x98\xc4\x20" + bytes([2]) * 32 + b"\x0a\xa5delta\x01\x15\x04\xc4\x08CHECKSUM\x91"
        b"\x93\xc4\x20" + bytes([3]) * 32 + b"\x05\x0a"
    )
    assert end == index + pack("<QQ", END, len(index)) + blake3(index).digest() + b"mvs-pack"


def test_the_magic_of_a_pack_never_changes() -> None:
    assert (PACK_LINE, PACK_END, TRAILER_SIZE, CONCAT) == (b"mvs-pack 1\n", b"mvs-pack", 56, "concat")


def test_what_is_written_is_read() -> None:
    assert split(encode_end([DELTA, RAW], END)) == Index({ONE: RAW, OTHER: DELTA}, (ELSEWHERE,))
    assert split(encode_end([], 11), 11) == Index({}, ())


SIZES = st.integers(0, 2**63 - 1)
IDS = st.binary(min_size=32, max_size=32).map(ObjectId)


@st.composite
def records(draw: st.DrawFn) -> Record:
    refs = tuple(
        Span(id, offset, min(length, 2**63 - 1 - offset))
        for id, offset, length in draw(st.lists(st.tuples(IDS, SIZES, st.integers(0, 2**59)), max_size=3))
    )
    whole = draw(st.booleans())
    offset = draw(st.integers(len(PACK_LINE), END))
    return Record(
        draw(IDS),
        sum(ref.length for ref in refs) if whole else draw(st.integers(0, MAX_RECORD)),
        CONCAT if whole else draw(st.text(max_size=5).filter(lambda name: name != CONCAT)),
        draw(SIZES),
        offset,
        0 if whole else draw(st.integers(0, END - offset)),
        draw(st.binary(min_size=8, max_size=8)),
        refs,
    )


@given(st.lists(records(), max_size=5, unique_by=lambda record: record.id), st.randoms(use_true_random=False))
def test_any_index_comes_back_and_has_one_form(some: list[Record], random: Any) -> None:
    """Written by two machines, a pack would have two names."""
    end = encode_end(some, END)
    index = split(end)
    assert list(index.records.values()) == sorted(some)
    assert set(index.outside) == {ref.id for record in some for ref in record.refs} - {record.id for record in some}
    random.shuffle(some)
    assert encode_end(some, END) == end
    assert encode_end(index.records.values(), END) == end


def test_a_key_of_a_later_release_is_passed_over() -> None:
    data = encode({**decode(encode_end([RAW], END)[:-TRAILER_SIZE]), "zones": [1]})
    assert decode_index(data, END, blake3(data).digest()).records == {ONE: RAW}


def test_an_encoding_of_a_later_release_does_not_hide_the_rest() -> None:
    later = RAW._replace(encoding="quantum")
    assert split(encode_end([later, DELTA], END)).records == {ONE: later, OTHER: DELTA}


@pytest.mark.parametrize(
    "changed",
    [
        {"id": b"\1" * 31},
        {"id": "\1" * 32},
        {"id": None},
        {"size": -1},
        {"size": True},
        {"size": 10.0},
        {"size": 2**63},
        {"size": MAX_RECORD + 1},
        {"encoding": b"raw"},
        {"encoding": None},
        {"depth": -1},
        {"depth": 2**64 - 1},
        {"depth": False},
        {"offset": 10},
        {"offset": -1},
        {"offset": END, "length": 1},
        {"offset": 2**63 - 1, "length": 2**63 - 1},
        {"length": -1},
        {"length": END - 10},
        {"length": 2**63},
        {"check": b"checksu"},
        {"check": b"checksum!"},
        {"check": "checksum"},
        {"refs": {}},
        {"refs": ""},
        {"refs": b""},
        {"refs": None},
        {"refs": [[]]},
        {"refs": [[b"\3" * 32, 1]]},
        {"refs": [[b"\3" * 32, 1, 1, 1]]},
        {"refs": [[b"\3" * 31, 1, 1]]},
        {"refs": [[b"\3" * 32, -1, 1]]},
        {"refs": [[b"\3" * 32, 1, -1]]},
        {"refs": [[b"\3" * 32, True, 1]]},
        {"refs": [[b"\3" * 32, 2**63 - 1, 1]]},
        {"refs": [{"a": 1, "b": 2, "c": 3}]},
        {"encoding": CONCAT, "length": 0},
        {"encoding": CONCAT, "length": 1, "size": 0},
        {"encoding": CONCAT, "length": 0, "size": 9, "refs": [[b"\3" * 32, 0, 10]]},
        {"encoding": CONCAT, "length": 0, "size": 2**63, "refs": [[b"\3" * 32, 0, 2**62], [b"\3" * 32, 0, 2**62]]},
    ],
    ids=str,
)
def test_a_record_that_cannot_be_is_refused(changed: dict[str, Any]) -> None:
    """What is believed of a damaged pack could be read past its end, or fill the memory."""
    outside = [b"\3" * 32] if changed.get("refs") else []
    refused({"outside": outside, "records": [row(**changed)]})


@pytest.mark.parametrize(
    ("outside", "some"),
    [
        ([], [row(DELTA)]),
        ([b"\3" * 32], [row(RAW)]),
        ([b"\3" * 32, b"\3" * 32], [row(DELTA)]),
        ([b"\3" * 32, b"\4" * 32], [row(DELTA)]),
        ([b"\2" * 32, b"\3" * 32], [row(DELTA)]),
        ([b"\3" * 31], [row(DELTA)]),
        (b"", [row(RAW)]),
        ({}, [row(RAW)]),
        (None, [row(RAW)]),
        ([b"\3" * 32], [row(DELTA), row(RAW)]),
        ([], [row(RAW), row(RAW)]),
        ([], {}),
        ([], ""),
        ([], None),
        ([], [row(RAW)[:-1]]),
        ([], [[*row(RAW), 0]]),
        ([], [None]),
        ([], ["abcdefgh"]),
        ([], [dict.fromkeys("abcdefgh", 0)]),
    ],
)
def test_an_index_that_contradicts_itself_is_refused(outside: object, some: object) -> None:
    """What is needed and not told would be collected as rubbish."""
    refused({"outside": outside, "records": some})


@pytest.mark.parametrize(
    "value",
    [b"", b"\xc1", b"\x82", b"\xde\x00\x00", None, 1, "", [], [[], []], {}, {"outside": []}, {"records": []}],
    ids=str,
)
def test_what_is_no_index_is_refused(value: object) -> None:
    refused(value)


def test_an_index_in_another_form_is_refused() -> None:
    """Two spellings of one index would be two packs."""
    good = encode_end([RAW, DELTA], END)[:-TRAILER_SIZE]
    assert decode_index(good, END, blake3(good).digest())
    for at in range(len(good)):
        wide = good[:at] + b"\xcc" + good[at:]
        refused(wide)
    refused(good + b"\0")


def test_an_index_that_is_not_the_one_that_was_written_is_refused() -> None:
    data = encode_end([RAW, DELTA], END)
    index, digest = data[:-TRAILER_SIZE], blake3(data[:-TRAILER_SIZE]).digest()
    for at in range(len(index)):
        with pytest.raises(CorruptPack, match="its index is damaged"):
            decode_index(index[:at] + bytes([index[at] ^ 1]) + index[at + 1 :], END, digest)


def trailer(offset: int = END, length: int = 100, end: bytes = PACK_END) -> bytes:
    return pack("<QQ32s8s", offset, length, bytes(32), end)


SIZE = END + 100 + TRAILER_SIZE


def test_the_place_of_the_index_is_told_by_the_trailer() -> None:
    assert index_place(trailer(), SIZE) == (END, 100, bytes(32))


@pytest.mark.parametrize(
    ("data", "size"),
    [
        (b"", 0),
        (trailer()[1:], SIZE - 1),
        (trailer() + b"\0", SIZE),
        (trailer(end=b"mvs-pac\0"), SIZE),
        (trailer(), SIZE + 1),
        (trailer(), SIZE - 1),
        (trailer(offset=10, length=100), 166),
        (trailer(offset=2**64 - 1, length=END + 101), SIZE),
        (trailer(offset=END, length=2**64 - 1), SIZE),
        (trailer(offset=END, length=2**63), END + 2**63 + TRAILER_SIZE),
        (trailer(offset=END, length=MAX_INDEX + 1), END + MAX_INDEX + 1 + TRAILER_SIZE),
    ],
)
def test_a_trailer_of_another_file_is_refused(data: bytes, size: int) -> None:
    with pytest.raises(CorruptPack):
        index_place(data, size)


@pytest.mark.parametrize("start", [b"", b"mvs-pack 1", b"mvs-pack", b"mvs-pack \n", b"mvs-pack x\n", b"MVS-pack 1\n"])
def test_what_does_not_begin_as_a_pack_is_none(start: bytes) -> None:
    with pytest.raises(CorruptPack):
        check_start(start)


@pytest.mark.parametrize("start", [b"mvs-pack 2\n", b"mvs-pack 10", b"mvs-pack 0\n"])
def test_a_pack_of_a_later_release_is_refused_by_name(start: bytes) -> None:
    """Read by the rules of this release it would give wrong bytes."""
    check_start(PACK_LINE)
    with pytest.raises(UnsupportedFormat, match=f"'{start.decode().strip()}'.*'mvs-pack 1'"):
        check_start(start)


def test_a_checksum_is_the_beginning_of_the_blake3() -> None:
    assert check_of(b"weights") == check_of(memoryview(b"weights")) == blake3(b"weights").digest()[:8]


def test_a_large_index_is_refused_before_it_is_taken_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packs, "MAX_INDEX", 99)
    with pytest.raises(CorruptPack, match="too large"):
        index_place(trailer(), SIZE)


SWAPS: list[Callable[[list[Any]], None]] = [list.reverse, list.clear, lambda fields: fields.append(0)]


@pytest.mark.parametrize("record", [RAW, DELTA], ids=["raw", "delta"])
@pytest.mark.parametrize("swap", SWAPS)
def test_a_record_with_its_fields_elsewhere_is_refused(swap: Callable[[list[Any]], None], record: Record) -> None:
    fields = row(record)
    swap(fields)
    refused({"outside": [b"\3" * 32] if record.refs else [], "records": [fields]})
