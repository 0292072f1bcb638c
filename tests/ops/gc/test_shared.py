"""Repositories that share a store: what one pins is not rubbish because another deleted it."""

import shutil
import time
from pathlib import Path

import pytest

import mvs
from mvs.errors import Conflict, Corrupt, NotFound, UnsupportedFormat
from mvs.format.ids import ObjectId
from mvs.format.lines.refs import REGISTRATION, Pin, Registration
from mvs.ops import sharing
from tests.ops.dedup.families import save
from tests.ops.gc.stores import DAY, Clock, check_closed, files_of

FILES = {"weights.bin": b"weights"}


class Pins:
    """What repositories pin, by the name of their folder."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.of: dict[str, tuple[Pin, ...]] = {}
        patch.setattr(sharing, "pins_of", lambda control: self.of.get(control.parent.name, ()))

    def pin(self, repo: mvs.Repository, spec: str) -> None:
        version = repo.get(spec)
        self.of[repo.root.parent.name] = (Pin(version.tag, ObjectId.from_hex(version.id)),)


@pytest.fixture
def pins(monkeypatch: pytest.MonkeyPatch) -> Pins:
    return Pins(monkeypatch)


@pytest.fixture
def ann(tmp_path: Path) -> mvs.Repository:
    return mvs.init(tmp_path / "ann", store=tmp_path / "store")


@pytest.fixture
def ben(tmp_path: Path) -> mvs.Repository:
    return mvs.init(tmp_path / "ben", store=tmp_path / "store")


def deleted(ann: mvs.Repository, ben: mvs.Repository, pins: Pins) -> None:
    """Ben pins a version; Ann deletes it."""
    save(ann, "net:v1", FILES)
    pins.pin(ben, "net:v1")
    ann.delete("net:v1")


def comes_back(repo: mvs.Repository) -> bool:
    try:
        repo.restore("net:v1")
    except Corrupt:
        return False
    assert files_of(repo, "net:v1") == FILES
    return True


def registered(repo: mvs.Repository) -> list[Path]:
    folder = repo.store / "repositories"
    return sorted(folder.iterdir()) if folder.exists() else []


def test_what_another_repository_pins_stays(ann: mvs.Repository, ben: mvs.Repository, pins: Pins) -> None:
    """DVC deletes what other projects on a shared cache use."""
    deleted(ann, ben, pins)
    assert ann.plan_gc(expire="now").freed == 0
    assert ann.gc(expire="now").objects == 0
    check_closed(ann)
    assert comes_back(ann)


def test_what_nobody_pins_any_more_goes(ann: mvs.Repository, ben: mvs.Repository, pins: Pins) -> None:
    deleted(ann, ben, pins)
    pins.of.clear()
    ann.gc(expire="now")
    assert not comes_back(ann)


def test_what_the_own_repository_pins_stays(tmp_path: Path, pins: Pins) -> None:
    repo = mvs.init(tmp_path / "own")
    deleted(repo, repo, pins)
    assert registered(repo) == []
    repo.gc(expire="now")
    assert comes_back(repo)


def test_a_pin_of_what_is_not_in_the_store_pins_nothing(ann: mvs.Repository, ben: mvs.Repository, pins: Pins) -> None:
    """It may be on a remote still."""
    deleted(ann, ben, pins)
    (pin,) = pins.of["ben"]
    pins.of["ben"] = (pin._replace(id=ObjectId(bytes(32))),)
    ann.gc(expire="now")
    assert not comes_back(ann)


def test_a_repository_that_is_gone_is_told_and_what_it_pinned_stays_until_it_is_forgotten(
    ann: mvs.Repository, ben: mvs.Repository, pins: Pins, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its disk may not be mounted."""
    clock = Clock(monkeypatch)
    deleted(ann, ben, pins)
    assert ann.gc(expire="now").vanished == ()
    folder = ben.root.parent
    shutil.rmtree(folder)
    pins.of.clear()
    assert ann.plan_gc(expire="now").vanished == (str(folder),)
    for _ in range(2):
        clock.now += 30 * DAY
        assert ann.gc(expire="7d").vanished == (str(folder),)
    ann.restore("net:v1")
    ann.delete("net:v1")
    clock.now += 30 * DAY
    assert ann.gc(expire="7d", forget=[str(folder)]).vanished == ()
    assert not comes_back(ann)
    assert len(registered(ann)) == 1


def test_who_was_there_until_lately_is_not_forgotten_unless_that_is_asked_for(
    ann: mvs.Repository, ben: mvs.Repository, pins: Pins
) -> None:
    deleted(ann, ben, pins)
    ann.gc()
    folder = str(ben.root.parent)
    shutil.rmtree(folder)
    for _ in range(2):
        with pytest.raises(Conflict, match="until lately") as told:
            ann.gc(forget=[folder])
        assert told.value.hint == f"mvs gc --forget {folder} --expire now"
        ann.gc()
    assert ann.gc(expire="now", forget=[folder]).objects == 2


def test_who_is_there_is_not_forgotten(ann: mvs.Repository, ben: mvs.Repository) -> None:
    with pytest.raises(Conflict, match="is there"):
        ann.gc(expire="now", forget=[str(ben.root)])
    with pytest.raises(NotFound):
        ann.gc(expire="now", forget=["/nowhere"])
    assert len(registered(ann)) == 2


def test_who_comes_back_is_no_longer_gone(ann: mvs.Repository, ben: mvs.Repository, pins: Pins) -> None:
    deleted(ann, ben, pins)
    ann.gc()
    away = ben.root.parent.rename(ben.root.parent.with_name("away"))
    assert ann.gc().vanished == (str(ben.root.parent),)
    away.rename(ben.root.parent)
    before = [path.read_bytes() for path in registered(ann)]
    assert ann.gc().vanished == ()
    assert [path.read_bytes() for path in registered(ann)] != before


def test_what_a_repository_on_another_machine_pins_stays(
    ann: mvs.Repository, ben: mvs.Repository, pins: Pins, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A store on a network file system: the paths of one machine say nothing on another."""
    save(ann, "net:v1", FILES)
    version = ann.get("net:v1")
    there = Registration("far", b"/home/far/.mvs", (Pin(version.tag, ObjectId.from_hex(version.id)),))
    (ann.store / "repositories" / there.key).write_bytes(there.encode())
    ann.delete("net:v1")
    result = ann.gc(expire="now")
    assert (result.objects, result.vanished) == (0, ())
    ann.gc(expire="now", forget=["far:/home/far"])
    assert not comes_back(ann)


def test_pins_that_cannot_be_read_stop_it(ann: mvs.Repository, ben: mvs.Repository) -> None:
    save(ann, "net:v1", FILES)
    ann.delete("net:v1")
    for place in (ben.root.parent / "mvs.lock", registered(ann)[0]):
        data = place.read_bytes() if place.exists() else None
        place.write_bytes(b"?")
        for collect in (ann.plan_gc, ann.gc):
            with pytest.raises((Corrupt, UnsupportedFormat), match=place.name):
                collect(expire="now")
        if data is None:
            place.unlink()
        else:
            place.write_bytes(data)
    assert comes_back(ann)


def test_a_repository_is_registered_once_wherever_it_is_opened_from(ann: mvs.Repository, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(ann.root.parent)
    before = [path.read_bytes() for path in registered(ann)]
    for place in (ann.root.parent, tmp_path / "link"):
        mvs.open(place)
    assert [path.read_bytes() for path in registered(ann)] == before
    assert len(before) == 1


def test_a_repository_whose_store_cannot_be_written_to_is_read(ann: mvs.Repository, tmp_path: Path) -> None:
    save(ann, "net:v1", FILES)
    (ann.store / "format").write_bytes((ann.store / "format").read_bytes() + b"needs-write later\n")
    control = tmp_path / "cai" / ".mvs"
    control.mkdir(parents=True)
    shutil.copy(ann.root / "config.toml", control)
    assert files_of(mvs.open(control.parent), "net:v1") == FILES
    assert len(registered(ann)) == 1


def test_a_clock_that_jumps_keeps_what_is_pinned(
    ann: mvs.Repository, ben: mvs.Repository, pins: Pins, monkeypatch: pytest.MonkeyPatch
) -> None:
    deleted(ann, ben, pins)
    ann.gc()
    shutil.rmtree(ben.root.parent)
    pins.of.clear()
    clock = Clock(monkeypatch)
    for jump in (365, -730, 365):
        clock.now = time.time_ns() + jump * DAY
        ann.gc(expire="now")
    assert comes_back(ann)


def test_a_registration_is_read_as_it_was_written() -> None:
    there = Registration("host", b"/\xff\n/.mvs", (Pin(mvs.Tag("a/b", "v1"), ObjectId(bytes(32))),), 7, bytes(16))
    assert Registration.decode(there.encode()) == there
    with pytest.raises(UnsupportedFormat):
        Registration.decode(b"mvs-repository 2\n")
    data = there.encode()
    for end in range(len(data)):
        with pytest.raises((Corrupt, UnsupportedFormat)):
            Registration.decode(data[:end])
    for at in range(len(REGISTRATION), len(data)):
        changed = bytearray(data)
        changed[at] ^= 0x41
        try:
            Registration.decode(bytes(changed))
        except (Corrupt, UnsupportedFormat):
            continue
