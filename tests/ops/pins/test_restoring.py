"""checkout of what is pinned: exactly that, and nothing of the user's is lost for it."""

from pathlib import Path

import pytest

import mvs
from mvs.errors import Corrupt, DestinationExists, ForbiddenPlace, VersionNotFound
from mvs.store.store import Store
from tests.ops.pins.conftest import saved


def files(folder: Path) -> dict[str, str]:
    return {path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def at(repo: mvs.Repository) -> Path:
    """Where `bert` is pinned to."""
    saved(repo, "bert:v1", a="one", b="same")
    saved(repo, "bert:v2", a="two", b="same", c="new")
    repo.pin("bert:v1", to="models/bert")
    return repo.root.parent / "models" / "bert"


def test_another_version_replaces_the_one_before_exactly(repo: mvs.Repository, at: Path) -> None:
    assert [str(pin.tag) for pin in repo.checkout_pins()] == ["bert:v1"]
    assert repo.checkout_pins() == []
    repo.pin("bert:v2")
    repo.checkout_pins()
    assert files(at) == {"a": "two", "b": "same", "c": "new"}
    (at / "mine").write_text("mine")
    repo.pin("bert:v1")
    repo.checkout_pins()
    assert files(at) == {"a": "one", "b": "same", "mine": "mine"}


def test_what_is_missing_comes_back(repo: mvs.Repository, at: Path) -> None:
    repo.checkout_pins()
    (at / "a").unlink()
    (at / "b").unlink()
    repo.checkout_pins()
    assert files(at) == {"a": "one", "b": "same"}


@pytest.mark.parametrize("path", ["a", "c"])
def test_edited_files_are_only_overwritten_by_force(repo: mvs.Repository, at: Path, path: str) -> None:
    """Also one that the pinned version does not have: it would be removed with the version before."""
    repo.pin("bert:v2")
    repo.checkout_pins()
    (at / path).write_text("mine")
    repo.pin("bert:v1")
    with pytest.raises(DestinationExists, match=f"'models/bert/{path}'"):
        repo.checkout_pins()
    assert files(at)[path] == "mine"
    repo.checkout_pins(force=True)
    assert files(at)["a"] == "one"


def test_an_edit_within_the_same_tick_and_size_is_seen(repo: mvs.Repository, at: Path) -> None:
    repo.checkout_pins()
    (at / "a").write_text("eno")
    with pytest.raises(DestinationExists):
        repo.checkout_pins()


def test_without_its_memory_versions_are_told_from_edits(repo: mvs.Repository, at: Path) -> None:
    repo.pin("bert:v2")
    repo.checkout_pins()
    for note in (repo.store / "cache" / "pins").iterdir():
        note.write_bytes(b"garbage")
    repo.pin("bert:v1")
    repo.checkout_pins()
    # Which version `c` came with is forgotten, so it stays.
    assert files(at) == {"a": "one", "b": "same", "c": "new"}


def test_a_folder_of_the_users_is_not_taken_over(repo: mvs.Repository, at: Path) -> None:
    at.mkdir(parents=True)
    (at / "notes").write_text("mine")
    with pytest.raises(DestinationExists):
        repo.checkout_pins()
    assert files(at) == {"notes": "mine"}


def test_nothing_is_written_through_a_link(repo: mvs.Repository, at: Path, tmp_path: Path) -> None:
    """A repository that was cloned may bring both the link and the pin."""
    (tmp_path / "elsewhere").mkdir()
    at.parent.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ForbiddenPlace, match="link"):
        repo.checkout_pins()
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_a_deleted_version_is_there_while_it_is_pinned(repo: mvs.Repository, at: Path) -> None:
    repo.delete("bert:v1")
    repo.checkout_pins()
    assert files(at) == {"a": "one", "b": "same"}


def test_what_is_missing_is_pulled(repo: mvs.Repository, at: Path, tmp_path: Path) -> None:
    repo.add_remote("origin", str(tmp_path / "there"))
    repo.push()
    other = mvs.init(tmp_path / "other")
    lock = other.root.parent / "mvs.lock"
    lock.write_bytes((repo.root.parent / "mvs.lock").read_bytes())
    with pytest.raises(VersionNotFound, match="'bert:v1' is pinned") as caught:
        other.checkout_pins()
    assert caught.value.hint == "mvs remote add origin URL"
    other.add_remote("origin", str(tmp_path / "there"))
    other.checkout_pins()
    assert files(other.root.parent / "models" / "bert") == {"a": "one", "b": "same"}
    assert [str(version.tag) for version in other.list()] == ["bert:v1"]


def test_another_version_of_the_tag_is_not_taken_for_it(repo: mvs.Repository, at: Path, tmp_path: Path) -> None:
    other = mvs.init(tmp_path / "other")
    saved(other, "bert:v1", a="another")
    other.add_remote("origin", str(tmp_path / "there"))
    other.push()
    third = mvs.init(tmp_path / "third")
    third.add_remote("origin", str(tmp_path / "there"))
    (third.root.parent / "mvs.lock").write_bytes((repo.root.parent / "mvs.lock").read_bytes())
    with pytest.raises(VersionNotFound, match="another version at the remote"):
        third.checkout_pins()
    assert not (third.root.parent / "models").exists()


def test_damage_leaves_the_folder_as_it_was(repo: mvs.Repository, at: Path, store: Store) -> None:
    repo.checkout_pins()
    blob = next(file for file in repo.get("bert:v2").files if file.path == "c").blob
    path = Path(repo.store, "objects", blob[:2], blob[2:])
    path.chmod(0o644)
    path.write_text("bad")
    repo.pin("bert:v2")
    with pytest.raises(Corrupt):
        repo.checkout_pins()
    assert files(at) == {"a": "one", "b": "same"}
    assert store.root == repo.store
