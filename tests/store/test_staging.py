"""Staging: what a save has written so far, and that nothing of it outlives the save or gets lost with it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mvs.backends.locks import is_held
from mvs.errors import SourceChanged, SourceNotFound, SyncFailed, UnsupportedFormat
from mvs.format.ids import ObjectId
from mvs.store.staging import Session, Staged
from mvs.store.store import Store

DATA = b"weights" * 100
ID = ObjectId.of(DATA)


def _nothing(amount: int) -> None:
    """Count nothing."""


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source.bin"
    path.write_bytes(DATA)
    return path


def _fail(*_: object) -> None:
    raise OSError(5, "Input/output error")


def _left(store: Store) -> list[str]:
    staging = store.root / "staging"
    return sorted(path.name for path in staging.iterdir()) if staging.exists() else []


def test_a_session_holds_its_lock_and_leaves_nothing(store: Store) -> None:
    with store.session() as session:
        assert is_held(f"{session.path}/lock")
        Path(session.path, "file").write_bytes(b"x")
    assert _left(store) == []


def test_a_session_that_fails_leaves_nothing(store: Store) -> None:
    with pytest.raises(FileNotFoundError), store.session() as session:
        Path(session.path, "missing", "file").write_bytes(b"x")
    assert _left(store) == []


def test_sessions_keep_out_of_each_others_way(store: Store) -> None:
    with store.session() as one, store.session() as other:
        assert one.path != other.path


def test_the_lock_of_a_session_dies_with_its_process(store: Store) -> None:
    """A cleanup tells rubbish from a running save by nothing else."""
    code = (
        "import os, sys; from pathlib import Path; from mvs.store.store import Store\n"
        "with Store(Path(sys.argv[1])).session() as session:\n"
        "    print(session.path, flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(store.root)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as saver:
        assert saver.stdout is not None
        path = saver.stdout.readline().strip()
        assert is_held(f"{path}/lock")
        saver.kill()
    assert os.path.isdir(path)
    assert not is_held(f"{path}/lock")


def test_keep_moves_the_draft_to_where_nothing_removes_it(store: Store) -> None:
    """Nobody loses a night of training to a typo."""
    with store.session() as session:
        os.mkdir(session.tree)
        Path(session.tree, "weights.bin").write_bytes(DATA)
        kept = session.keep()
    assert os.path.dirname(kept) == str(store.root / "rescued")
    assert store.is_draft(kept)
    assert Path(kept, "weights.bin").read_bytes() == DATA
    assert _left(store) == []


def test_what_cannot_be_moved_stays_where_it_is(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    with store.session() as session:
        os.mkdir(session.tree)
        Path(session.tree, "weights.bin").write_bytes(DATA)
        with monkeypatch.context() as broken:
            broken.setattr(os, "rename", _fail)
            kept = session.keep()
    assert kept == session.tree
    assert Path(kept, "weights.bin").read_bytes() == DATA


class TestTake:
    @pytest.mark.parametrize("wide", [True, False])
    def test_a_new_file_is_copied(self, store: Store, source: Path, wide: bool) -> None:
        with store.session() as session:
            staged = session.take(str(source), _nothing, wide=wide)
            assert (staged.id, staged.size) == (ID, len(DATA))
            assert staged.path is not None
            assert Path(staged.path).read_bytes() == DATA
        assert source.read_bytes() == DATA

    def test_what_the_store_has_is_not_copied(self, store: Store, source: Path) -> None:
        store.adding().put(DATA)
        with store.session() as session:
            assert session.take(str(source), _nothing, wide=False) == Staged(ID, len(DATA), None)
            assert os.listdir(session.path) == ["lock"]

    def test_progress_counts_every_byte_once(self, store: Store, source: Path) -> None:
        told: list[int] = []
        with store.session() as session:
            session.take(str(source), told.append, wide=False)
        assert sum(told) == len(DATA)

    def test_a_file_that_changes_meanwhile_is_refused(self, store: Store, source: Path) -> None:
        """Half of one checkpoint and half of the next would be saved as a version."""

        def write(amount: int) -> None:
            source.write_bytes(DATA + b"more")

        with store.session() as session:
            with pytest.raises(SourceChanged, match=r"source\.bin"):
                session.take(str(source), write, wide=False)
            assert os.listdir(session.path) == ["lock"]

    def test_a_file_that_shrinks_meanwhile_is_refused(self, store: Store, source: Path) -> None:
        def write(amount: int) -> None:
            source.write_bytes(b"")

        with store.session() as session, pytest.raises(SourceChanged):
            session.take(str(source), write, wide=True)

    def test_a_failed_sync_is_refused(self, store: Store, source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        with store.session() as session:
            monkeypatch.setattr(os, "fsync", _fail)
            with pytest.raises(SyncFailed):
                session.take(str(source), _nothing, wide=False)
            assert os.listdir(session.path) == ["lock"]

    def test_a_link_or_a_missing_file_is_refused(self, store: Store, source: Path) -> None:
        """Between looking and reading, a file may be exchanged for a link to a secret."""
        link = source.with_name("link")
        link.symlink_to(source)
        with store.session() as session:
            for path in (link, source.with_name("missing")):
                with pytest.raises(SourceNotFound, match=path.name):
                    session.take(str(path), _nothing, wide=False)


class TestLink:
    def test_a_file_is_linked_and_stays_at_its_place(self, store: Store, source: Path) -> None:
        with store.session() as session:
            staged = session.link(str(source), _nothing, wide=False)
            assert staged.path is not None
            assert os.path.samefile(staged.path, source)
        assert source.read_bytes() == DATA

    def test_a_file_with_another_name_is_copied(self, store: Store, source: Path) -> None:
        """Written to by that name, it would change the store."""
        os.link(source, source.with_name("other"))
        with store.session() as session:
            staged = session.link(str(source), _nothing, wide=False)
            assert staged.path is not None
            assert not os.path.samefile(staged.path, source)

    def test_where_it_cannot_be_linked_it_is_copied(
        self, store: Store, source: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(*_: object, **__: object) -> None:
            raise OSError(18, "Invalid cross-device link")

        monkeypatch.setattr(os, "link", refuse)
        with store.session() as session:
            staged = session.link(str(source), _nothing, wide=False)
            assert staged.path is not None
            assert Path(staged.path).read_bytes() == DATA

    def test_a_file_that_is_gone_is_named(self, store: Store, source: Path) -> None:
        source.unlink()
        with store.session() as session, pytest.raises(SourceNotFound, match=r"source\.bin"):
            session.link(str(source), _nothing, wide=False)


class TestAdopt:
    def _draft(self, session: Session) -> str:
        os.mkdir(session.tree)
        place = f"{session.tree}/weights.bin"
        Path(place).write_bytes(DATA)
        return place

    def test_a_file_is_hashed_where_it_is(self, store: Store) -> None:
        with store.session() as session:
            place = self._draft(session)
            assert session.adopt(place, _nothing, wide=True) == Staged(ID, len(DATA), place)

    def test_a_failed_sync_is_refused(self, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        with store.session() as session:
            place = self._draft(session)
            monkeypatch.setattr(os, "fsync", _fail)
            with pytest.raises(SyncFailed):
                session.adopt(place, _nothing, wide=False)


def test_a_store_of_a_later_release_is_read_and_not_written(store: Store) -> None:
    (store.root / "format").write_bytes(b"mvs-store 1\nneeds-write notes\n")
    later = Store(store.root)
    assert later.refs.names() == []
    with pytest.raises(UnsupportedFormat, match="notes"):
        later.session()
    with pytest.raises(UnsupportedFormat, match="notes"), later.exclusive():
        pass
