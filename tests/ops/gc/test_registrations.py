"""What repositories pin is kept also when they cannot be asked: each has told the store before."""

import os
import shutil
from pathlib import Path

import pytest

import mvs
from mvs.errors import Conflict, Corrupt, CorruptPins
from mvs.format.lines.refs import Registration
from mvs.repository import workspace
from tests.ops.dedup.families import save
from tests.ops.gc.stores import files_of

FILES = {"weights.bin": b"weights"}


@pytest.fixture
def ann(tmp_path: Path) -> mvs.Repository:
    repo = mvs.init(tmp_path / "ann", store=tmp_path / "store")
    save(repo, "net:v1", FILES)
    return repo


@pytest.fixture
def ben(ann: mvs.Repository, tmp_path: Path) -> mvs.Repository:
    return mvs.init(tmp_path / "ben", store=tmp_path / "store")


def removed(repo: mvs.Repository) -> bool:
    """Delete the version, collect, and tell whether it is gone for good."""
    repo.delete("net:v1")
    repo.gc(expire="now")
    try:
        repo.restore("net:v1")
    except Corrupt:
        return True
    assert files_of(repo, "net:v1") == FILES
    return False


def registrations(repo: mvs.Repository) -> dict[str, Registration]:
    """The registrations in a store, by the path that they are of."""
    found = (repo.store / "repositories").iterdir()
    told = [Registration.decode(path.read_bytes()) for path in found]
    return {os.path.dirname(os.fsdecode(one.path)): one for one in told}


def test_what_was_pinned_by_who_moved_before_any_gc_stays(ann: mvs.Repository, ben: mvs.Repository) -> None:
    """Nothing but `mvs pin` had the time to tell the store."""
    ben.pin("net:v1")
    ben.root.parent.rename(ben.root.parent.with_name("elsewhere"))
    assert not removed(ann)


def test_what_is_pinned_on_another_machine_stays(
    ann: mvs.Repository, ben: mvs.Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A container has a name of its own."""
    monkeypatch.setattr(workspace, "host", lambda: "container")
    ben.pin("net:v1")
    monkeypatch.undo()
    shutil.rmtree(ben.root.parent)
    assert not removed(ann)


def test_what_is_no_longer_pinned_is_told_as_well(ann: mvs.Repository, ben: mvs.Repository) -> None:
    ben.pin("net:v1")
    ben.unpin("net")
    shutil.rmtree(ben.root.parent)
    assert removed(ann)


@pytest.mark.parametrize("verb", ["open", "status", "checkout", "pins", "save"])
def test_what_git_changed_is_told_by_whatever_sees_it(ann: mvs.Repository, ben: mvs.Repository, verb: str) -> None:
    """`git checkout` writes `mvs.lock` and does not know of the store."""
    ann.pin("net:v1")
    shutil.copy(ann.root.parent / "mvs.lock", ben.root.parent)
    ann.unpin("net")
    if verb == "open":
        mvs.open(ben.root.parent)
    elif verb == "save":
        save(ben, "other:v1", {"a": b"other"})
    else:
        assert len(getattr(ben, {"checkout": "checkout_pins"}.get(verb, verb))()) == 1
    shutil.rmtree(ben.root.parent)
    assert not removed(ann)


def test_what_git_took_out_stays_for_one_gc_and_then_goes(ann: mvs.Repository, ben: mvs.Repository) -> None:
    """Git removes `mvs.lock` for a moment when it writes it anew."""
    ben.pin("net:v1")
    (ben.root.parent / "mvs.lock").unlink()
    assert not removed(ann)
    assert removed(ann)


def test_another_one_made_in_the_place_of_one_that_moved_lets_nothing_go(
    ann: mvs.Repository, ben: mvs.Repository, tmp_path: Path
) -> None:
    ben.pin("net:v1")
    for store in (None, tmp_path / "store"):
        shutil.move(ben.root.parent, tmp_path / f"moved-{store is None}")
        mvs.init(ben.root.parent, store=store)
        ann.gc()
        assert not removed(ann)
    assert ann.gc().vanished == (str(ben.root.parent),)
    ann.gc(forget=[str(ben.root.parent)], expire="now")
    with pytest.raises(Conflict, match="is there"):
        ann.gc(forget=[str(ben.root.parent)], expire="now")
    assert removed(ann)


def test_the_store_s_own_repository_is_known_by_any_other_name_of_the_store(tmp_path: Path) -> None:
    """A bind mount gives the store a path that says nothing of its repository."""
    own = mvs.init(tmp_path / "own")
    save(own, "net:v1", FILES)
    assert not (own.store / "repositories").exists()
    own.pin("net:v1")
    (found,) = registrations(own).values()
    assert (found.path, found.id) == (os.fsencode(own.root), b"")
    # What a mount looks like to whoever comes that way.
    own.root.rename(tmp_path / "mounted")
    (tmp_path / "own" / ".mvs").symlink_to(tmp_path / "mounted")
    other = mvs.init(tmp_path / "other", store=tmp_path / "mounted")
    assert not removed(other)
    own.unpin("net")
    assert removed(other)


def test_a_store_that_moves_with_its_repository_names_nobody_who_is_gone(tmp_path: Path) -> None:
    own = mvs.init(tmp_path / "own")
    save(own, "net:v1", FILES)
    own.pin("net:v1")
    own.root.parent.rename(tmp_path / "moved")
    moved = mvs.open(tmp_path / "moved")
    assert moved.gc().vanished == ()
    moved.unpin("net")
    assert moved.gc().vanished == (str(tmp_path / "own"),)


def test_a_repository_whose_control_folder_is_a_link_is_asked(ann: mvs.Repository, tmp_path: Path) -> None:
    (tmp_path / "ben").mkdir()
    (tmp_path / "control").mkdir()
    (tmp_path / "ben" / ".mvs").symlink_to(tmp_path / "control")
    ben = mvs.init(tmp_path / "ben", store=tmp_path / "store")
    ann.pin("net:v1")
    shutil.copy(ann.root.parent / "mvs.lock", ben.root.parent)
    ann.unpin("net")
    assert not removed(ann)


def test_who_cannot_tell_the_store_says_so(
    ann: mvs.Repository, ben: mvs.Repository, caplog: pytest.LogCaptureFixture
) -> None:
    """A store that may only be read has an owner who collects."""
    path = ann.store / "format"
    path.write_bytes(path.read_bytes() + b"needs-write later\n")
    ben.pin("net:v1")
    assert "cannot be told what is pinned here" in caplog.text
    caplog.clear()
    path.write_bytes(path.read_bytes().replace(b"needs-write later\n", b""))
    ben.pin("net:v1")
    assert caplog.text == ""
    shutil.rmtree(ben.root.parent)
    assert not removed(ann)


def test_the_home_of_mvs_is_opened_again_whatever_store_it_has(
    ann: mvs.Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It pins nothing, so the store need not know of it, and nothing is written beside its configuration."""
    home = tmp_path / "home"
    home.mkdir()
    (home / "config.toml").write_text(f'[store]\npath = "{ann.store}"\n')
    monkeypatch.setenv("MVS_HOME", str(home))
    monkeypatch.chdir(home.parent)
    for _ in range(2):
        assert [str(version.tag) for version in mvs.open().list()] == ["net:v1"]
    assert list(registrations(ann)) == [str(ann.root.parent)]


@pytest.mark.parametrize("damage", ["empty", "folder", "link", "pipe"])
def test_a_damaged_registration_is_written_again_by_its_repository(
    ann: mvs.Repository, ben: mvs.Repository, damage: str
) -> None:
    ben.pin("net:v1")
    place = _damaged(ann, ben, damage)
    with pytest.raises(Corrupt) as told:
        ann.gc()
    assert told.value.hint == f"mvs gc --forget {place}"
    mvs.open(ben.root.parent)
    assert [pin.tag.version for pin in registrations(ann)[str(ben.root.parent)].pins] == ["v1"]
    assert not removed(ann)


@pytest.mark.parametrize("damage", ["empty", "folder"])
def test_a_damaged_registration_of_nobody_can_be_forgotten(
    ann: mvs.Repository, ben: mvs.Repository, damage: str
) -> None:
    place = _damaged(ann, ben, damage)
    shutil.rmtree(ben.root.parent)
    ann.gc(forget=[str(place)])
    assert removed(ann)


def _damaged(ann: mvs.Repository, ben: mvs.Repository, damage: str) -> Path:
    place = ann.store / "repositories" / registrations(ann)[str(ben.root.parent)].key
    place.unlink()
    if damage == "empty":
        place.touch()
    elif damage == "folder":
        place.mkdir()
    elif damage == "link":
        place.symlink_to("nowhere")
    else:
        os.mkfifo(place)
    return place


def test_registrations_that_are_no_folder_stop_it(ann: mvs.Repository) -> None:
    shutil.move(ann.store / "repositories", ann.store / "away")
    (ann.store / "repositories").touch()
    with pytest.raises(Corrupt, match="repositories"):
        mvs.open(ann.root.parent).gc()


def test_who_registers_with_a_damaged_lock_file_is_asked_all_the_same(ann: mvs.Repository, tmp_path: Path) -> None:
    """What it pins is told once the file is mended; until then nothing is removed."""
    (tmp_path / "ben").mkdir()
    lock = tmp_path / "ben" / "mvs.lock"
    lock.write_text("damaged")
    mvs.init(lock.parent, store=tmp_path / "store")
    with pytest.raises(CorruptPins):
        ann.gc()
    ann.pin("net:v1")
    shutil.move(ann.root.parent / "mvs.lock", lock)
    assert not removed(ann)


@pytest.mark.parametrize("kind", ["pipe", "link"])
def test_a_lock_file_that_is_none_stops_it(ann: mvs.Repository, ben: mvs.Repository, kind: str) -> None:
    """Of a pipe nobody writes to a reader waits for ever; a link to a disk that is away is no empty file."""
    lock = ben.root.parent / "mvs.lock"
    if kind == "pipe":
        os.mkfifo(lock)
    else:
        lock.symlink_to("nowhere")
    for asked in (ann.gc, ben.pins):
        with pytest.raises(CorruptPins, match=r"mvs\.lock"):
            asked()


def test_a_lock_file_that_may_not_be_read_leaves_what_was_told(
    ann: mvs.Repository, ben: mvs.Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody else's, and nobody is kept out of a gc by that."""
    ben.pin("net:v1")

    def forbidden(control: Path) -> tuple[()]:
        if control == ben.root:
            raise mvs.errors.ReadOnlyStore("no right")
        return ()

    monkeypatch.setattr("mvs.ops.sharing.pins_of", forbidden)
    assert not removed(ann)


def test_what_is_pinned_while_a_gc_looks_is_not_overwritten(ann: mvs.Repository, ben: mvs.Repository) -> None:
    from mvs.ops import sharing
    from mvs.store.store import Store

    store = Store(ann.store)
    found = sharing.shared(store, workspace.host())
    ben.pin("net:v1")
    sharing.note(store, found, 1)
    shutil.rmtree(ben.root.parent)
    assert not removed(ann)
