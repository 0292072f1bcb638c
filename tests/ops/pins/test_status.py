"""status: what differs is told, from this machine alone, and files that held still are not read again."""

import os
import shutil
from pathlib import Path

import pytest

import mvs
from mvs.ops.pins import looking
from tests.ops.pins.conftest import saved


@pytest.fixture
def at(repo: mvs.Repository) -> Path:
    """Where `bert:v1` is pinned to, and is."""
    saved(repo, "bert:v1", a="one", b="same")
    repo.pin("bert:v1", to="models/bert")
    repo.checkout_pins()
    return repo.root.parent / "models" / "bert"


def only(repo: mvs.Repository) -> mvs.PinStatus:
    (one,) = repo.status()
    return one


def test_nothing_differs_after_a_checkout(repo: mvs.Repository, at: Path) -> None:
    one = only(repo)
    assert one.clean
    assert one.to_dict() == {
        **repo.pins()[0].to_dict(),
        "edited": (),
        "missing": (),
        "checked_out": True,
        "here": True,
        "behind": None,
        "pushed": None,
        "problem": "",
        "clean": True,
    }


def test_edited_and_missing_files_are_named(repo: mvs.Repository, at: Path) -> None:
    (at / "a").write_text("eno")
    (at / "b").unlink()
    (at / "mine").write_text("not of the version")
    assert only(repo)[1:3] == (("a",), ("b",))
    (at / "a").write_text("one")
    (at / "b").write_text("same")
    (at / "b").chmod(0o755)
    assert only(repo)[1:3] == (("b",), ())
    (at / "b").unlink()
    (at / "b").symlink_to(at / "a")
    assert only(repo)[1:3] == (("b",), ())
    shutil.rmtree(at)
    assert not only(repo).checked_out


def test_a_newer_version_is_told(repo: mvs.Repository, at: Path) -> None:
    saved(repo, "bert:v2", a="two")
    assert str(only(repo).behind) == "bert:v2"
    repo.update_pins()
    # Pinned, and not checked out yet.
    assert only(repo)[1:3] == (("a",), ())
    repo.checkout_pins()
    assert only(repo).clean


def test_what_was_not_pushed_is_told_without_asking_the_remote(repo: mvs.Repository, at: Path, tmp_path: Path) -> None:
    repo.add_remote("origin", str(tmp_path / "there"))
    assert only(repo).pushed is False
    repo.push("bert")
    shutil.rmtree(tmp_path / "there")
    assert only(repo).pushed is True
    assert only(repo).clean


def test_a_version_that_is_not_here_is_told(repo: mvs.Repository, at: Path, tmp_path: Path) -> None:
    other = mvs.init(tmp_path / "other")
    shutil.copy(repo.root.parent / "mvs.lock", other.root.parent)
    one = only(other)
    assert (one.here, one.checked_out, one.behind, one.problem) == (False, False, None, "")
    other.add_remote("origin", str(tmp_path / "there"))
    assert only(other).pushed is None
    shutil.copytree(at.parent, other.root.parent / "models")
    assert not only(other).clean


def test_a_pin_that_cannot_be_looked_at_is_a_problem_of_its_own(repo: mvs.Repository, at: Path) -> None:
    saved(repo, "gpt:v1", a="1")
    repo.pin("gpt", to="gpt")
    repo.checkout_pins()
    at.rename(at.parent / "moved")
    at.symlink_to("moved")
    assert [(one.pinned.path, bool(one.problem)) for one in repo.status()] == [("models/bert", True), ("gpt", False)]


def test_files_that_held_still_are_not_read_again(
    repo: mvs.Repository, at: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(looking, "_SETTLED", -(10**12))
    assert only(repo).clean

    def read(*_: object, **__: object) -> None:
        raise AssertionError("a file was read")

    monkeypatch.setattr(looking, "hash_open", read)
    monkeypatch.setattr(looking, "manifest_of", read)
    assert only(repo).clean
    assert repo.checkout_pins() == []
    os.utime(at / "a")
    with pytest.raises(AssertionError):
        repo.status()


def test_a_cache_of_garbage_is_no_cache(repo: mvs.Repository, at: Path) -> None:
    assert only(repo).clean
    (note,) = (repo.store / "cache" / "pins").iterdir()
    for junk in (b"", b"\x92\x01\x91\xc0", b"\x92\x01\x91\x94\xa1a\x01\xc3\x91\x91\x01", b"\x91", b"\xff" * 100):
        note.write_bytes(junk)
        assert only(repo).clean
