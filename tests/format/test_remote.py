"""Entries of a remote's log, as bytes."""

import pytest
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st

from mvs.errors import Corrupt, CorruptRemote, UnsupportedFormat
from mvs.format.canonical import decode, encode
from mvs.format.ids import ObjectId
from mvs.format.remote import (
    LOG_LINE,
    NO_ENTRY,
    Entry,
    Move,
    Note,
    PackPlace,
    Sent,
    Taken,
    entry_key,
    format_line,
    is_single_writer,
    run_key,
    split,
)

IDS = st.binary(min_size=32, max_size=32).map(ObjectId)
NUMBERS = st.integers(0, (1 << 63) - 1)
ENTRIES = st.builds(
    Entry,
    number=NUMBERS,
    previous=IDS,
    at=NUMBERS,
    by=st.text(max_size=8),
    nonce=st.binary(min_size=8, max_size=8),
    packs=st.lists(st.builds(PackPlace, IDS, NUMBERS, NUMBERS), max_size=3).map(tuple),
    versions=st.lists(st.builds(Sent, st.binary(max_size=9), st.lists(IDS, max_size=2).map(tuple)), max_size=3).map(
        tuple
    ),
    deleted=st.lists(st.tuples(st.text(max_size=5), IDS), max_size=2).map(tuple),
    aliases=st.lists(st.builds(Move, st.text(max_size=5), st.none() | IDS, st.none() | IDS), max_size=2).map(tuple),
    notes=st.lists(
        st.builds(Note, st.text(max_size=5), st.text(max_size=5), st.none() | st.text(max_size=5)), max_size=2
    ).map(tuple),
    condemned=st.lists(IDS, max_size=2).map(tuple),
    collects=st.booleans(),
    fence=NUMBERS,
)


@given(ENTRIES)
def test_an_entry_comes_back_as_it_went(entry: Entry) -> None:
    assert Entry.decode(entry.encode()) == entry


@given(st.lists(ENTRIES, max_size=4))
def test_entries_back_to_back_come_apart_again(entries: list[Entry]) -> None:
    assert split(b"".join(entry.encode() for entry in entries)) == [entry.encode() for entry in entries]


@given(st.binary(max_size=60) | st.binary(max_size=60).map(lambda data: LOG_LINE + data))
def test_hostile_bytes_are_refused_as_damage(data: bytes) -> None:
    for read in (Entry.decode, split):
        try:
            read(data)
        except (Corrupt, UnsupportedFormat):
            continue


@given(ENTRIES, st.data())
def test_an_entry_with_a_flipped_byte_is_refused(entry: Entry, data: st.DataObject) -> None:
    stored = bytearray(entry.encode())
    stored[data.draw(st.integers(0, len(stored) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises((Corrupt, UnsupportedFormat)):
        Entry.decode(bytes(stored))


def test_an_entry_that_needs_more_than_this_release_knows_is_refused_by_name() -> None:
    body = decode(Entry(number=1, previous=NO_ENTRY, at=0, by="", nonce=b"").encode()[len(LOG_LINE) + 40 :])
    later = encode({**body, "needs": ["telepathy"]})
    with pytest.raises(UnsupportedFormat, match="telepathy"):
        Entry.decode(LOG_LINE + len(later).to_bytes(8, "little") + blake3(later).digest() + later)


def test_keys_sort_as_their_numbers_do() -> None:
    assert entry_key(9) < entry_key(10) < entry_key(100)
    assert run_key(5, 8) == "log/000000000005-000000000008"
    assert run_key(5, 5) == entry_key(5)


def test_the_format_of_a_remote_is_told_and_a_later_one_refused() -> None:
    assert not is_single_writer(format_line(single_writer=False))
    assert is_single_writer(format_line(single_writer=True))
    with pytest.raises(UnsupportedFormat, match="mvs-remote 2"):
        is_single_writer(b"mvs-remote 2\n")
    with pytest.raises(UnsupportedFormat, match="sharded"):
        is_single_writer(b"mvs-remote 1 sharded\n")
    with pytest.raises(CorruptRemote):
        is_single_writer(b"<html>")


@given(st.builds(Taken, NUMBERS, IDS))
def test_how_far_a_log_was_taken_is_read_as_it_was_written(taken: Taken) -> None:
    assert Taken.decode(taken.encode()) == taken


@given(st.binary(max_size=120) | st.builds(lambda tail: b"mvs-taken 1 " + tail, st.binary(max_size=90)))
def test_what_is_no_such_line_is_refused(data: bytes) -> None:
    with pytest.raises(CorruptRemote):
        Taken.decode(data)


def test_how_far_a_later_release_took_a_log_is_not_guessed() -> None:
    with pytest.raises(UnsupportedFormat):
        Taken.decode(Taken().encode().replace(b"taken 1", b"taken 2"))
