"""gc: what is pinned is needed, in this repository and in others that share the store."""

from pathlib import Path

import pytest

import mvs
from mvs.errors import CorruptPins, UnsupportedFormat
from tests.ops.pins.conftest import saved


def test_a_deleted_version_is_kept_while_it_is_pinned(repo: mvs.Repository) -> None:
    saved(repo, "bert:v1", a="one")
    saved(repo, "bert:v2", a="two")
    repo.pin("bert:v1")
    repo.delete("bert:v1", "bert:v2")
    repo.gc(expire="now")
    assert [pin.tag.version for pin in repo.checkout_pins()] == ["v1"]
    repo.unpin("bert")
    repo.gc(expire="now")
    with pytest.raises(mvs.errors.MissingObject):
        repo.restore("bert:v1")


def test_also_where_another_repository_pins_it(tmp_path: Path) -> None:
    one = mvs.init(tmp_path / "one", store=tmp_path / "store")
    two = mvs.init(tmp_path / "two", store=tmp_path / "store")
    saved(one, "bert:v1", a="one")
    two.pin("bert")
    one.delete("bert:v1")
    one.gc(expire="now")
    assert len(two.checkout_pins()) == 1


def test_both_sides_of_a_merge_are_kept(repo: mvs.Repository) -> None:
    lock = repo.root.parent / "mvs.lock"
    sides = []
    for name in ("a", "b"):
        saved(repo, f"{name}:v1", a=name)
        repo.pin(name)
        sides.append(lock.read_text().removeprefix("mvs-lock 1\n"))
        repo.unpin(name)
        repo.delete(f"{name}:v1")
    lock.write_text(f"mvs-lock 1\n<<<<<<< HEAD\n{sides[0]}=======\n{sides[1]}>>>>>>> other\n")
    repo.gc(expire="now")
    repo.resolve_pins()
    assert len(repo.checkout_pins()) == 2


@pytest.mark.parametrize(("text", "error"), [("garbage", CorruptPins), ("mvs-lock 2\n", UnsupportedFormat)])
def test_pins_that_cannot_be_read_stop_it(repo: mvs.Repository, text: str, error: type[mvs.MvsError]) -> None:
    (repo.root.parent / "mvs.lock").write_text(text)
    with pytest.raises(error):
        repo.gc(expire="now")


def test_a_pin_of_another_name_keeps_what_it_names(repo: mvs.Repository) -> None:
    """A line that was edited by hand must not stop every gc."""
    saved(repo, "bert:v1", a="one")
    repo.pin("bert")
    lock = repo.root.parent / "mvs.lock"
    lock.write_text(lock.read_text().replace("pin bert", "pin other"))
    repo.delete("bert:v1")
    repo.gc(expire="now")
    assert str(repo.restore("bert:v1").tag) == "bert:v1"
