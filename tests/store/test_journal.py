"""The journal: what is whole is read, what is torn is passed over and healed around."""

import errno
import os
from pathlib import Path

import pytest

from mvs.errors import UnsupportedFormat
from mvs.format.ids import ObjectId
from mvs.format.lines.journal import MAGIC, Event, EventName
from mvs.store.names.journal import Journal
from mvs.store.store import Store


def _event(number: int, *, event: EventName = "save", version: str = "v1") -> Event:
    id = ObjectId(number.to_bytes(32, "big"))
    gone = event == "delete"
    return Event(event, version, id if gone else None, None if gone else id, id, number, number, "ann@host")


def _file(store: Store, name: str = "m") -> Path:
    return store.root / "journal" / name / "@events"


@pytest.fixture
def journal(store: Store) -> Journal:
    return store.journal


def test_events_come_back_oldest_first(journal: Journal, store: Store) -> None:
    journal.append("m", [_event(1), _event(2)])
    journal.append("m", [_event(3)])
    journal.append("m/n", [_event(9)])
    assert list(journal.events("m")) == [_event(1), _event(2), _event(3)]
    assert list(journal.events("m/n")) == [_event(9)]
    assert _file(store).read_bytes() == MAGIC + b"".join(_event(n).encode() for n in (1, 2, 3))


def test_a_name_without_a_journal_has_no_events(journal: Journal) -> None:
    assert list(journal.events("m")) == []
    assert journal.last_time("m") == 0
    assert journal.last_deletion("m", "v1") is None


@pytest.mark.parametrize("length", [0, 1, 16, 17, 40, -1])
def test_a_torn_tail_is_passed_over_and_the_next_event_is_not_lost(journal: Journal, store: Store, length: int) -> None:
    """A power cut in the middle of an append must cost that event alone."""
    journal.append("m", [_event(1)])
    with _file(store).open("ab") as file:
        file.write(_event(2, event="delete").encode()[:length])
    whole = [_event(1), _event(2, event="delete")] if length == -1 else [_event(1)]
    assert list(journal.events("m")) == whole
    journal.append("m", [_event(3)])
    assert list(journal.events("m")) == [*whole, _event(3)]
    assert journal.last_time("m") == 3


@pytest.mark.parametrize("length", range(len(MAGIC)))
def test_a_journal_cut_off_in_its_first_line_goes_on(journal: Journal, store: Store, length: int) -> None:
    _file(store).parent.mkdir(parents=True)
    _file(store).write_bytes(MAGIC[:length])
    journal.append("m", [_event(1)])
    assert list(journal.events("m")) == [_event(1)]


def test_a_damaged_line_is_passed_over_and_left_where_it_is(journal: Journal, store: Store) -> None:
    journal.append("m", [_event(1), _event(2, event="delete"), _event(3)])
    data = _file(store).read_bytes().replace(b'"at":2', b'"at":7')
    _file(store).write_bytes(data)
    assert list(journal.events("m")) == [_event(1), _event(3)]
    assert journal.last_deletion("m", "v1") is None
    journal.append("m", [_event(4)])
    assert _file(store).read_bytes() == data + _event(4).encode()


@pytest.mark.parametrize(
    "garbage", [b"\0" * 100, b"\xff\xfe\n\n\n", b"\n" * 9000, b"x" * 9000, b"x\n" * 9000], ids=range(5)
)
def test_garbage_at_the_end_hides_no_event(journal: Journal, store: Store, garbage: bytes) -> None:
    """A time that goes backwards would make `latest` the wrong version."""
    journal.append("m", [_event(1), _event(2, event="delete")])
    with _file(store).open("ab") as file:
        file.write(garbage)
    assert list(journal.events("m")) == [_event(1), _event(2, event="delete")]
    assert journal.last_time("m") == 2
    assert journal.last_deletion("m", "v1") == _event(2, event="delete")


def test_the_last_time_is_found_in_a_long_journal(journal: Journal) -> None:
    journal.append("m", [_event(number) for number in range(1, 400)])
    assert journal.last_time("m") == 399


def test_the_last_deletion_is_the_newest_of_that_version_alone(journal: Journal) -> None:
    """Restoring an older meaning of a tag would move it."""
    journal.append(
        "m",
        [
            _event(1, event="delete"),
            _event(2, event="restore"),
            _event(3, event="delete"),
            _event(4),
            _event(5, event="delete", version="v10"),
            _event(6, event="delete", version="rc.v1"),
        ],
    )
    assert journal.last_deletion("m", "v1") == _event(3, event="delete")
    assert journal.last_deletion("m", "v10") == _event(5, event="delete", version="v10")
    assert journal.last_deletion("m", "v") is None
    assert journal.last_deletion("m", "v2") is None


def test_a_journal_of_a_later_release_is_refused_by_name(journal: Journal, store: Store) -> None:
    """Its deletions would be overlooked, and their tags given other content."""
    _file(store).parent.mkdir(parents=True)
    _file(store).write_bytes(b"mvs-journal 2\n")
    with pytest.raises(UnsupportedFormat, match="mvs-journal 2"):
        journal.append("m", [_event(1)])
    with pytest.raises(UnsupportedFormat, match="mvs-journal 2"):
        list(journal.events("m"))


def test_what_changed_since_a_watch_began_is_told_whatever_the_store_has(journal: Journal, store: Store) -> None:
    """A gc under the lock must not read all journals of a large store again."""
    journal.append("m", [_event(1)])
    assert journal.changes() is None
    journal.watch()
    assert journal.changes() == []
    journal.append("m", [_event(2)])
    journal.append("n", [_event(3), _event(4)])
    journal.append("m", [_event(5)])
    assert journal.changes() == [("m", _event(2)), ("m", _event(5)), ("n", _event(3)), ("n", _event(4))]
    _file(store).unlink()
    journal.append("m", [_event(6)])
    assert journal.changes() == [("m", _event(6)), ("n", _event(3)), ("n", _event(4))]
    journal.unwatch()
    journal.append("m", [_event(7)])
    assert journal.changes() is None


@pytest.mark.parametrize("left", [b"\n12", b"\n12 ", b"\n12 na", b"\n", b"\n12 ../x\n", b"\nx m\n"])
def test_what_died_while_it_told_a_change_hides_no_other(journal: Journal, store: Store, left: bytes) -> None:
    journal.watch()
    (store.root / "changed").write_bytes(left)
    journal.append("m", [_event(1)])
    changes = journal.changes()
    assert changes is None or ("m", _event(1)) in changes


def test_a_change_that_cannot_be_told_makes_the_watch_end(
    journal: Journal, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a full disk a deletion may still fit into the journal, and must not fail for a gc beside it."""
    journal.watch()
    write = os.write

    def full(fd: int, data: bytes) -> int:
        if bytes(data).startswith(b"\n"):
            write(fd, data[:3])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(fd, data)

    monkeypatch.setattr(os, "write", full)
    journal.append("m", [_event(1)])
    assert list(journal.events("m")) == [_event(1)]
    assert journal.changes() is None
