"""pin, unpin, pins and what git makes of mvs.lock."""

from pathlib import Path

import pytest

import mvs
from mvs.errors import Conflict, CorruptPins, DestinationExists, InvalidInput, InvalidPath, NotARepository, NotFound
from tests.ops.pins.conftest import Git, saved


def lock_of(repo: mvs.Repository) -> Path:
    return repo.root.parent / "mvs.lock"


def ignored(repo: mvs.Repository) -> list[str]:
    return (repo.root.parent / ".gitignore").read_text().splitlines()


def test_a_pin_names_version_id_and_path(repo: mvs.Repository) -> None:
    version = saved(repo, "acme/bert:v1", a="1")
    assert repo.pins() == []
    pin = repo.pin("acme/bert", to="models/bert")
    assert pin.to_dict() == {
        "tag": "acme/bert:v1",
        "name": "acme/bert",
        "version": "v1",
        "id": version.id,
        "path": "models/bert",
        "follows": "latest",
    }
    assert repo.pins() == mvs.open(repo.root.parent).pins() == [pin]


def test_another_version_takes_the_place_of_the_one_before(repo: mvs.Repository) -> None:
    for tag in ("bert:v1", "bert:v2"):
        saved(repo, tag, a=tag)
    assert repo.pin("bert:v1", to="here").path == "here"
    assert repo.pin("bert:v2").path == "here"
    assert repo.pin("bert:v1", to="there").path == "there"
    assert [(str(pin.tag), pin.path) for pin in repo.pins()] == [("bert:v2", "here"), ("bert:v1", "there")]
    with pytest.raises(InvalidInput, match="here, there"):
        repo.pin("bert:v1")


def test_the_place_of_another_name_is_not_taken(repo: mvs.Repository) -> None:
    saved(repo, "bert:v1", a="1")
    saved(repo, "gpt:v1", a="2")
    repo.pin("bert", to="models/m")
    with pytest.raises(DestinationExists, match="bert:v1"):
        repo.pin("gpt", to="models/m")
    with pytest.raises(InvalidPath):
        repo.pin("gpt", to="models/m/below")
    assert len(repo.pins()) == 1


@pytest.mark.parametrize("to", [".", "..", "../out", "/tmp", ".mvs/x", ".git/hooks", "a\nb"])
def test_a_pin_stays_within_the_repository(repo: mvs.Repository, to: str) -> None:
    """What is checked out elsewhere, or into .git, is somebody else's."""
    saved(repo, "bert:v1", a="1")
    with pytest.raises(InvalidPath):
        repo.pin("bert", to=to)
    assert not lock_of(repo).exists()


def test_unpin_by_name_tag_or_path(repo: mvs.Repository) -> None:
    for name in ("a", "b", "c"):
        saved(repo, f"{name}:v1", a=name)
        repo.pin(name, to=f"models/{name}")
    with pytest.raises(NotFound):
        repo.unpin("a", "missing")
    assert len(repo.pins()) == 3
    assert [pin.tag.name for pin in repo.unpin("a", "./models/b/", "c:v1")] == ["a", "b", "c"]
    assert repo.pins() == []


def test_an_update_goes_to_the_latest(repo: mvs.Repository) -> None:
    saved(repo, "a:v1", a="1")
    saved(repo, "b:v1", a="1")
    repo.pin("a")
    repo.pin("b:v1")
    saved(repo, "a:v2", a="2")
    saved(repo, "b:v2", a="2")
    assert [str(after.tag) for _, after in repo.update_pins("b")] == ["b:v2"]
    assert [str(after.tag) for _, after in repo.update_pins()] == ["a:v2"]
    assert repo.update_pins() == []
    repo.delete("a", all_versions=True)
    with pytest.raises(NotFound):
        repo.update_pins()


def test_git_ignores_what_is_pinned_and_nothing_else(repo: mvs.Repository, git: Git) -> None:
    saved(repo, "bert:v1", a="1")
    (repo.root.parent / ".gitignore").write_bytes(b"*.log\r\n/bert")
    repo.pin("bert", to="models/[b]*t")
    assert (repo.root.parent / ".gitignore").read_bytes() == b"*.log\r\n/bert\n/models/\\[b]\\*t/\n"
    repo.checkout_pins()
    assert git("status", "--porcelain", "-uall").splitlines() == [
        "?? .gitignore",
        "?? .mvs/.gitignore",
        "?? mvs.lock",
    ]
    repo.pin("bert:v1", to="other")
    repo.unpin("models/[b]*t")
    assert ignored(repo) == ["*.log", "/bert", "/other/"]


def test_outside_of_git_nothing_is_ignored(repo: mvs.Repository) -> None:
    saved(repo, "bert:v1", a="1")
    repo.pin("bert")
    assert not (repo.root.parent / ".gitignore").exists()


def test_only_a_repository_in_a_folder_pins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(NotARepository):
        mvs.open().pins()


def test_a_lock_file_that_cannot_be_read_says_so(repo: mvs.Repository) -> None:
    saved(repo, "bert:v1", a="1")
    lock_of(repo).write_text("garbage")
    for call in (repo.pins, lambda: repo.pin("bert"), repo.checkout_pins, repo.update_pins):
        with pytest.raises(CorruptPins, match=r"mvs\.lock"):
            call()
    assert lock_of(repo).read_text() == "garbage"
    lock_of(repo).unlink()
    lock_of(repo).mkdir()
    with pytest.raises(CorruptPins, match="folder"):
        repo.pins()


def branches(repo: mvs.Repository, git: Git) -> None:
    """A commit on `main` that pins a, b and c at v1, and a branch `other` of it."""
    for name in ("a", "b", "c", "d", "e"):
        for version in ("v1", "v2", "v3"):
            saved(repo, f"{name}:{version}", a=name + version)
    for name in ("a", "b", "c"):
        repo.pin(f"{name}:v1", to=f"models/{name}")
    commit(git, "one")
    git("branch", "other")


def commit(git: Git, message: str) -> None:
    git("add", "-A")
    git("commit", "-qm", message)


def pinned(repo: mvs.Repository) -> list[str]:
    return [str(pin.tag) for pin in repo.pins()]


def test_changes_of_neighbours_are_merged_by_git_alone(repo: mvs.Repository, git: Git) -> None:
    """That is what the form of the file is for."""
    branches(repo, git)
    repo.pin("a:v2")
    repo.unpin("c")
    commit(git, "ours")
    git("checkout", "-q", "other")
    repo.pin("b:v2")
    commit(git, "theirs")
    git("merge", "-q", "main")
    assert pinned(repo) == ["a:v2", "b:v2"]


def test_new_pins_of_both_sides_are_resolved(repo: mvs.Repository, git: Git) -> None:
    branches(repo, git)
    repo.pin("d:v1")
    commit(git, "ours")
    git("checkout", "-q", "other")
    repo.pin("e:v1")
    commit(git, "theirs")
    git("merge", "-q", "main", ok=False)
    with pytest.raises(CorruptPins) as caught:
        repo.pins()
    assert caught.value.hint == "mvs pin --resolve"
    assert [str(pin.tag) for pin in repo.resolve_pins()] == ["a:v1", "b:v1", "c:v1", "d:v1", "e:v1"]
    assert len(repo.resolve_pins()) == 5


@pytest.mark.parametrize(("prefer", "chosen"), [("newest", "v3"), ("ours", "v3"), ("theirs", "v2")])
def test_what_both_sides_changed_is_explained_until_one_is_preferred(
    repo: mvs.Repository, git: Git, prefer: mvs.repository.pinning.Prefer, chosen: str
) -> None:
    branches(repo, git)
    repo.pin("a:v2")
    repo.unpin("b")
    commit(git, "ours")
    git("checkout", "-q", "other")
    repo.pin("a:v3")
    commit(git, "theirs")
    git("merge", "-q", "main", ok=False)
    before = lock_of(repo).read_bytes()
    with pytest.raises(Conflict, match=r"'a' in 'models/a' is v3 .* on our side and v2 .* on theirs"):
        repo.resolve_pins()
    assert lock_of(repo).read_bytes() == before
    repo.resolve_pins(prefer=prefer)
    # git knows what both began with: what only one side took out stays out.
    assert pinned(repo) == [f"a:{chosen}", "c:v1"]


def test_without_git_the_marks_are_enough(repo: mvs.Repository) -> None:
    saved(repo, "a:v1", a="1")
    saved(repo, "b:v1", a="1")
    repo.pin("a")
    one = lock_of(repo).read_text().removeprefix("mvs-lock 1\n")
    repo.unpin("a")
    repo.pin("b")
    two = lock_of(repo).read_text().removeprefix("mvs-lock 1\n")
    lock_of(repo).write_text(f"mvs-lock 1\n<<<<<<< HEAD\n{one}=======\n{two}>>>>>>> other\n")
    assert [str(pin.tag) for pin in repo.resolve_pins()] == ["a:v1", "b:v1"]
    both = two.replace("path b", "path a")
    lock_of(repo).write_text(f"mvs-lock 1\n<<<<<<< HEAD\n{one}=======\n{both}>>>>>>> other\n")
    with pytest.raises(Conflict, match="occurs twice"):
        repo.resolve_pins()
