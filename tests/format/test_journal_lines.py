"""Journal lines: each proves itself, and one that does not is no event."""

import json

import pytest
from blake3 import blake3

from mvs.format.ids import ObjectId
from mvs.format.lines.journal import Event, Moved, Noted, Target, decode, needle

SAVE = Event("save", "v1", None, ObjectId(b"\1" * 32), ObjectId(b"\2" * 32), 7, 8, "ann@höst")
DELETE = Event("delete", "v1", ObjectId(b"\1" * 32), None, None, 7, 9, "ann@h", reuse=True)

MOVED = Moved("prod", Target("v1", ObjectId(b"\1" * 32)), Target("v2", ObjectId(b"\2" * 32)), 8, "ann@höst", back=True)
MADE = Moved("prod", None, Target("v1", ObjectId(b"\1" * 32)), 8, "ann@h")
NOTED = Noted("v1", ObjectId(b"\1" * 32), {"stage": ("dév", "prod"), "owner": ("ann", None)}, 8, "ann@h")


def _line(text: str) -> bytes:
    payload = text.encode()
    return blake3(payload).hexdigest()[:16].encode() + b" " + payload


def test_the_bytes_of_an_event_never_change() -> None:
    """Every release must be able to restore what another deleted."""
    one, two = "01" * 32, "02" * 32
    assert SAVE.encode().decode() == (
        f'b1e0a5707c85ed0b {{"at":8,"by":"ann@höst","created":7,"event":"save","new":"{one}","old":null,'
        f'"tree":"{two}","version":"v1"}}\n'
    )
    assert DELETE.encode().decode() == (
        f'78008cfc1dafa7bb {{"at":9,"by":"ann@h","created":7,"event":"delete","new":null,"old":"{one}",'
        '"reuse":true,"tree":null,"version":"v1"}\n'
    )


def test_the_bytes_of_a_move_and_of_a_note_never_change() -> None:
    """Every release must be able to tell who moved what was deployed."""
    one, two = "01" * 32, "02" * 32
    assert [line.encode().decode() for line in (MOVED, MADE, NOTED)] == [
        f'b546f78d84c00c4a {{"alias":"prod","at":8,"back":true,"by":"ann@höst","event":"alias","from":"v1",'
        f'"new":"{two}","old":"{one}","to":"v2"}}\n',
        f'7b1aed06d5685473 {{"alias":"prod","at":8,"by":"ann@h","event":"alias","from":null,'
        f'"new":"{one}","old":null,"to":"v1"}}\n',
        f'9696d95f37265c56 {{"at":8,"by":"ann@h","event":"label","id":"{one}",'
        '"labels":{"owner":["ann",null],"stage":["dév","prod"]},"version":"v1"}\n',
    ]
    for line in (MOVED, MADE, NOTED):
        assert decode(line.encode()[:-1]) == line
        assert Event.decode(line.encode()[:-1]) is None


@pytest.mark.parametrize(
    "change",
    [
        {"alias": "latest"},
        {"alias": 7},
        {"from": None},
        {"from": None, "old": None, "to": None, "new": None},
        {"to": "../v1"},
        {"new": "00"},
        {"at": -1},
        {"event": "label"},
        {"event": "label", "version": "v1", "id": "01" * 32, "labels": {"stage": ["a"]}},
        {"event": "label", "version": "v1", "id": "01" * 32, "labels": {"stage": ["a", 7]}},
        {"event": "label", "version": "v1", "id": "01" * 32, "labels": ["stage"]},
        {"event": "label", "version": ["v1"], "id": "01" * 32, "labels": {}},
    ],
)
def test_a_move_that_says_nothing_sensible_is_passed_over(change: dict[str, object]) -> None:
    fields = json.loads(MOVED.encode().partition(b" ")[2])
    assert decode(_line(json.dumps(fields))) == MOVED
    assert decode(_line(json.dumps(fields | change))) is None


@pytest.mark.parametrize("version", ["v1", "a", "20261123-104512-4f2a91.2"])
def test_every_line_about_a_version_holds_its_needle_and_no_other_does(version: str) -> None:
    """The search for a deletion would miss it, and the tag would be free for other content."""
    event = Event("delete", version, None, None, None, 1, 2, f'"version":"x{version}"')
    assert event.encode().count(needle(version)) == 1
    assert needle(f"x{version}") not in event.encode()


def test_a_name_that_is_not_unicode_does_not_stop_a_save() -> None:
    event = Event("save", "v1", None, None, None, 1, 2, "ann\udcff@h")
    decoded = Event.decode(event.encode()[:-1])
    assert decoded is not None
    assert decoded.by == "ann?@h"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "[]",
        '"save"',
        "{}",
        '{"event":"save"}',
        '{"at":1,"by":"a","created":1,"event":"rename","new":null,"old":null,"tree":null,"version":"v1"}',
        '{"at":1,"by":"a","created":1,"event":["save"],"new":null,"old":null,"tree":null,"version":"v1"}',
        '{"at":1,"by":"a","created":1,"event":"save","new":"00","old":null,"tree":null,"version":"v1"}',
        '{"at":1,"by":"a","created":1,"event":"save","new":7,"old":null,"tree":null,"version":"v1"}',
        '{"at":"x","by":"a","created":1,"event":"save","new":null,"old":null,"tree":null,"version":"v1"}',
        '{"at":null,"by":"a","created":1,"event":"save","new":null,"old":null,"tree":null,"version":"v1"}',
    ],
)
def test_a_line_with_the_right_checksum_but_no_event_is_passed_over(text: str) -> None:
    assert Event.decode(_line(text)) is None


@pytest.mark.parametrize("moment", ["1e999", "1.5", "true", "[" * 100_000])
def test_a_moment_that_is_no_integer_is_no_event(moment: str) -> None:
    """One odd line would make a name unreadable, or a restored version a nanosecond younger."""
    text = f'{{"at":{moment},"by":"a","created":1,"event":"save","new":null,"old":null,"tree":null,"version":"v1"}}'
    assert Event.decode(_line(text)) is None


def test_keys_of_a_later_release_do_not_hide_an_event() -> None:
    line = _line(
        '{"at":8,"by":"a","created":7,"event":"save","host":"h","new":null,"old":null,"tree":null,"version":"v1"}'
    )
    assert Event.decode(line) == Event("save", "v1", None, None, None, 7, 8, "a")


@pytest.mark.parametrize("length", [0, 1, 15, 16, 17, 18, 60])
def test_a_line_that_was_cut_off_is_passed_over(length: int) -> None:
    assert Event.decode(SAVE.encode()[:length]) is None
