"""Objects: bytes under their id, verified where they are read, and taken back whole."""

import os
from pathlib import Path

import pytest

from mvs.backends.directory import Directory
from mvs.errors import CorruptObject, MissingObject, SyncFailed
from mvs.format.ids import ObjectId
from mvs.store.store import Store

DATA = b"weights" * 100
ID = ObjectId.of(DATA)


@pytest.fixture
def place(store: Store) -> Path:
    return store.root / "objects" / str(ID)[:2] / str(ID)[2:]


def _staged(store: Store, name: str, data: bytes = DATA, mode: int = 0o644) -> str:
    path = store.root / "staging" / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data)
    path.chmod(mode)
    return str(path)


def _mode(path: str | Path) -> int:
    return os.stat(path).st_mode & 0o777


def test_what_is_added_is_read(store: Store, place: Path) -> None:
    assert store.adding().put(DATA) == ID
    assert store.objects.read(ID) == DATA
    assert store.objects.path(ID) == str(place)
    with store.objects.open(ID) as file:
        assert file.read() == DATA
    assert store.objects.has(ID, len(DATA))
    assert not store.objects.has(ID, len(DATA) + 1)
    assert _mode(place) == 0o444


def test_a_missing_object_is_named(store: Store) -> None:
    assert not store.objects.has(ID, len(DATA))
    for read in (store.objects.read, store.objects.path, store.objects.open):
        with pytest.raises(MissingObject, match=str(ID)):
            read(ID)


@pytest.mark.parametrize("damaged", [b"", DATA[:-1], DATA + b"x", b"W" + DATA[1:]])
def test_a_damaged_object_is_never_returned(store: Store, place: Path, damaged: bytes) -> None:
    store.adding().put(DATA)
    place.chmod(0o644)
    place.write_bytes(damaged)
    with pytest.raises(CorruptObject, match=str(ID)):
        store.objects.read(ID)


def test_what_was_hashed_just_now_takes_the_place_of_what_has_its_name(store: Store, place: Path) -> None:
    """A source that is moved is removed in the belief that the store has its bytes."""
    place.parent.mkdir(parents=True)
    place.write_bytes(DATA[::-1])
    with store.adding() as adding:
        adding.adopt(_staged(store, "again"), ID)
    assert store.objects.read(ID) == DATA
    assert [entry.name for entry in (store.root / "staging").iterdir()] == ["again"]


@pytest.mark.parametrize("damaged", [b"", DATA[:-1], DATA + b"x"])
def test_an_object_of_another_size_is_replaced(store: Store, place: Path, damaged: bytes) -> None:
    """Saving again is how a user mends what a bad disk cut short."""
    place.parent.mkdir(parents=True)
    place.write_bytes(damaged)
    store.adding().adopt(_staged(store, "whole"), ID)
    assert store.objects.read(ID) == DATA


def test_undo_takes_out_what_was_added_and_gives_it_back(store: Store) -> None:
    """A draft's files are the user's only copy until they are saved."""
    adding = store.adding()
    path = _staged(store, "run.sh", mode=0o755)
    adding.adopt(path, ID)
    adding.undo()
    assert not store.objects.has(ID, len(DATA))
    assert Path(path).read_bytes() == DATA
    assert _mode(path) == 0o755


def test_undo_leaves_what_was_there_before(store: Store) -> None:
    """Another version holds it."""
    store.adding().put(DATA)
    adding = store.adding()
    adding.adopt(_staged(store, "again"), ID)
    adding.undo()
    assert store.objects.read(ID) == DATA


def test_undo_gives_back_the_rights_of_what_was_there_already(store: Store) -> None:
    """Of two equal scripts in a failed draft, one would come back without its executable bit."""
    adding = store.adding()
    one, other = _staged(store, "one.sh", mode=0o755), _staged(store, "other.sh", mode=0o755)
    adding.adopt(one, ID)
    adding.adopt(other, ID)
    adding.undo()
    assert (_mode(one), _mode(other)) == (0o755, 0o755)


def test_undo_leaves_no_rubbish_behind(store: Store) -> None:
    """Nobody would dare to remove a file that might be the last copy of something."""
    adding = store.adding()
    adding.put(DATA)
    adding.undo()
    assert not store.objects.has(ID, len(DATA))
    assert list((store.root / "staging").iterdir()) == []


def test_undo_may_be_asked_twice(store: Store) -> None:
    adding = store.adding()
    adding.adopt(_staged(store, "a"), ID)
    adding.undo()
    store.adding().put(DATA)
    adding.undo()
    assert store.objects.read(ID) == DATA


def test_relying_on_an_object_makes_it_durable_too(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever wrote it may have died before its fsync."""
    store.adding().put(DATA)
    adding = store.adding()

    def fail(fd: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(SyncFailed):
        adding.rely(ID)


def test_names_are_synced_once_a_folder(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    adding = store.adding()
    ids = [adding.put(bytes([number])) for number in range(20)]
    adding.rely(ids[0])
    synced: list[str] = []
    monkeypatch.setattr(Directory, "sync", lambda self, keys: synced.extend(keys))
    adding.sync()
    assert synced == sorted({"objects", *(f"objects/{str(id)[:2]}" for id in ids)})
