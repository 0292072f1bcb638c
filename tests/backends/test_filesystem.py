"""What a file system can do is found out by trying, and believed for as long as the store lies there."""

import errno
import fcntl
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import mvs
from mvs.backends.directory import Directory
from mvs.backends.filesystem import Traits, probe
from mvs.backends.locks import exclusive
from mvs.errors import LocksFail, ReadOnlyStore, StorageFailed
from mvs.store.store import Store
from tests.ops.dedup.families import save


def refuse(number: int) -> Callable[..., None]:
    def refused(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    return refused


def place(path: Path) -> Directory:
    return Directory(str(path), durable=False, temps="temps")


def test_here_all_works_and_nothing_is_left(tmp_path: Path) -> None:
    traits = probe(place(tmp_path))
    assert (traits.locks, traits.links) == (True, True)
    assert os.listdir(tmp_path / "temps") == []


@pytest.mark.parametrize(
    "flock", [lambda *_: None, refuse(errno.ENOLCK), refuse(errno.ENOSYS), refuse(errno.EOPNOTSUPP)]
)
def test_locks_that_do_nothing_are_found_out(
    tmp_path: Path, flock: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fcntl, "flock", flock)
    assert not probe(place(tmp_path)).locks
    assert os.listdir(tmp_path / "temps") == []


def test_a_file_system_without_links_is_found_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "link", refuse(errno.EPERM))
    assert not probe(place(tmp_path)).links


def test_a_file_system_that_folds_cases_is_found_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    there = os.path.lexists
    monkeypatch.setattr(
        os.path, "lexists", lambda path: there(str(path).lower().replace(str(tmp_path).lower(), str(tmp_path)))
    )
    assert not probe(place(tmp_path)).cases


def test_what_cannot_be_tried_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "open", refuse(errno.EROFS))
    with pytest.raises(ReadOnlyStore):
        probe(place(tmp_path))
    monkeypatch.undo()
    monkeypatch.setattr(fcntl, "flock", refuse(errno.EIO))
    with pytest.raises(StorageFailed):
        probe(place(tmp_path))


def test_it_is_tried_again_when_a_gc_took_the_file_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    link = os.link

    def taken(path: str, *more: str) -> None:
        monkeypatch.setattr(os, "link", link)
        os.unlink(path)
        link(path, *more)

    monkeypatch.setattr(os, "link", taken)
    assert probe(place(tmp_path)).links
    assert os.listdir(tmp_path / "temps") == []


def test_a_lock_that_cannot_be_had_is_told_as_such(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fcntl, "flock", refuse(errno.ENOSYS))
    with pytest.raises(LocksFail), exclusive(str(tmp_path / "lock")):
        pass


@pytest.fixture
def without_locks(repo: mvs.Repository, monkeypatch: pytest.MonkeyPatch) -> mvs.Repository:
    save(repo, "bert:v1", b"weights")
    monkeypatch.setattr(fcntl, "flock", lambda *_: None)
    return mvs.open(repo.root)


@pytest.mark.parametrize("verb", ["gc", "dedup", "repair", "undo_dedup"])
def test_where_locks_do_nothing_nothing_is_taken_away(without_locks: mvs.Repository, verb: str) -> None:
    """Two of them at once would each count on what the other removes."""
    before = sorted(path for path in without_locks.store.rglob("*") if "cache" not in path.parts)
    with pytest.raises(LocksFail, match="do nothing") as told:
        getattr(without_locks, verb)()
    assert told.value.hint == "mvs config set store.path PATH"
    assert sorted(path for path in without_locks.store.rglob("*") if "cache" not in path.parts) == before
    assert without_locks.get("bert:v1").read_bytes("model.safetensors") == b"weights"
    assert without_locks.fsck(level="full").ok


def test_a_new_repository_is_told_where_locks_do_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    mvs.init(tmp_path / "one")
    assert caplog.messages == []
    monkeypatch.setattr(fcntl, "flock", lambda *_: None)
    mvs.init(tmp_path / "other")
    assert "do nothing" in caplog.text


def test_it_is_tried_once_and_again_where_the_store_was_moved(
    repo: mvs.Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = Store(repo.store).traits
    assert good.locks
    with monkeypatch.context() as patch:
        patch.setattr(fcntl, "flock", lambda *_: None)
        assert Store(repo.store).traits == good
        shutil.copytree(repo.store, tmp_path / "moved")
        assert Store(tmp_path / "moved").traits == Traits(False, good.links, good.cases)
    note = repo.store / "cache" / "place"
    for at in range(len(note.read_bytes())):
        data = bytearray(note.read_bytes())
        data[at] ^= 1
        (tmp_path / "moved" / "cache" / "place").write_bytes(data)
        assert Store(tmp_path / "moved").traits == good
        (tmp_path / "moved" / "cache" / "place").write_bytes(b"")
