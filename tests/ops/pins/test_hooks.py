"""Hooks of git: real git calls real mvs, beside the hooks that were there before."""

import os
import sys
from pathlib import Path

import pytest

import mvs
from mvs.errors import Conflict, NotARepository
from mvs.ops.pins.githooks import NAMES, pushed_revisions
from tests.ops.pins.conftest import Git, saved

ROOT = Path(mvs.__file__).parent.parent


@pytest.fixture
def hooked(repo: mvs.Repository, git: Git, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> mvs.Repository:
    """A repository with hooks, and mvs on the PATH of those who call them."""
    program(tmp_path / "bin" / "mvs", f'exec "{sys.executable}" -m mvs "$@"')
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    repo.install_hooks()
    return repo


def program(path: Path, line: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{line}\n")
    path.chmod(0o755)


def hooks(repo: mvs.Repository) -> Path:
    return repo.root.parent / ".git" / "hooks"


def commit(git: Git, message: str, *, ok: bool = True) -> str:
    git("add", "-A")
    return git("commit", "-qm", message, ok=ok)


def test_a_checkout_and_a_merge_bring_the_pinned_files(hooked: mvs.Repository, git: Git) -> None:
    weights = hooked.root.parent / "bert" / "weights"
    saved(hooked, "bert:v1", weights="one")
    saved(hooked, "bert:v2", weights="two")
    hooked.pin("bert:v1")
    commit(git, "v1")
    git("checkout", "-qb", "new")
    assert weights.read_text() == "one"
    hooked.pin("bert:v2")
    commit(git, "v2")
    assert "checked out bert:v1 to bert" not in git("checkout", "-q", "new")
    assert weights.read_text() == "two"
    git("checkout", "-q", "main")
    assert weights.read_text() == "one"
    assert "checked out bert:v2 to bert" in git("merge", "new")
    assert weights.read_text() == "two"
    # Of files alone, not of a branch.
    weights.unlink()
    git("checkout", "--", "mvs.lock")
    assert not weights.exists()


def test_an_edited_file_is_not_overwritten_by_a_checkout(hooked: mvs.Repository, git: Git) -> None:
    saved(hooked, "bert:v1", weights="one")
    hooked.pin("bert:v1")
    commit(git, "v1")
    hooked.checkout_pins()
    weights = hooked.root.parent / "bert" / "weights"
    weights.write_text("mine")
    assert "'bert/weights' would be overwritten" in git("checkout", "-b", "other", ok=False)
    assert weights.read_text() == "mine"


def test_a_push_pushes_what_is_pinned_in_what_is_pushed(hooked: mvs.Repository, git: Git, tmp_path: Path) -> None:
    git("init", "-q", "--bare", str(tmp_path / "bare"))
    git("remote", "add", "origin", str(tmp_path / "bare"))
    saved(hooked, "bert:v1", weights="one")
    saved(hooked, "gpt:v1", weights="two")
    hooked.pin("bert")
    commit(git, "one")
    # Without a remote of mvs there is nothing to do.
    git("push", "-q", "origin", "main")
    hooked.add_remote("far", str(tmp_path / "far"))
    commit(git, "two")
    hooked.pin("gpt")
    assert "pushed bert:v1" in git("push", "origin", "main")
    assert [str(version.tag) for version in mvs.open(hooked.root.parent).remote().list()] == ["bert:v1"]
    git("push", "-q", "origin", "main:other")
    git("push", "-q", "origin", "--delete", "other")


def test_a_push_that_cannot_bring_the_models_is_stopped(hooked: mvs.Repository, git: Git, tmp_path: Path) -> None:
    """Whoever pulls the commit would find a pin of nothing."""
    git("init", "-q", "--bare", str(tmp_path / "bare"))
    git("remote", "add", "origin", str(tmp_path / "bare"))
    hooked.add_remote("far", str(tmp_path / "far"))
    saved(hooked, "bert:v1", weights="one")
    hooked.pin("bert")
    commit(git, "one")
    hooked.delete("bert:v1")
    assert "mvs restore bert:v1" in git("push", "origin", "main", ok=False)
    assert git("ls-remote", "origin") == ""


@pytest.mark.parametrize(("name", "size"), [("model.SAFETENSORS", 10), ("data.csv", 10_000_001)])
def test_models_and_large_files_are_kept_out_of_commits(hooked: mvs.Repository, git: Git, name: str, size: int) -> None:
    (hooked.root.parent / "out").mkdir()
    (hooked.root.parent / "out" / name).write_bytes(bytes(size))
    told = commit(git, "oops", ok=False)
    assert f"out/{name}" in told
    assert f"git reset -q -- out/{name} && mvs save out/{name} NAME && mvs pin NAME" in told
    assert "fatal" in git("rev-parse", "--verify", "HEAD", ok=False)


def test_what_is_staged_is_judged_by_what_git_has(hooked: mvs.Repository, git: Git) -> None:
    root = hooked.root.parent
    saved(hooked, "bert:v1", weights="one")
    hooked.pin("bert", to="models/bert")
    hooked.checkout_pins()
    (root / "a.pt").write_text("tracked on purpose")
    git("add", "-A")
    git("commit", "-qm", "one", "--no-verify")
    (root / "a.pt").write_text("changed")
    (root / "b.onnx").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    (root / "c.pt").symlink_to("a.pt")
    (root / "d\ne.pt").write_text("new")
    (root / "grows.txt").write_bytes(bytes(200))
    git("add", "-A")
    git("add", "-f", "models/bert/weights")
    found = {one.path: one.why for one in hooked.staged(max_size=100)}
    assert found == {"d\ne.pt": "model", "grows.txt": "large", "models/bert/weights": "pinned"}


def test_hooks_that_were_there_run_first_and_are_back_afterwards(hooked: mvs.Repository, git: Git) -> None:
    hooked.uninstall_hooks()
    assert [path.name for path in hooks(hooked).iterdir() if path.name in NAMES] == []
    for name in NAMES:
        program(hooks(hooked) / name, f'echo "{name}:$1" >> ../log; [ {name} != pre-push ] || cat >> ../log')
    before = (hooks(hooked) / "pre-push").read_text()
    for _ in range(2):
        assert [path.name for path in hooked.install_hooks()] == list(NAMES)
    log = hooked.root.parent.parent / "log"
    commit(git, "one")
    git("init", "-q", "--bare", "../bare")
    git("push", "-q", "../bare", "main")
    sha = git("rev-parse", "HEAD").strip()
    assert log.read_text() == f"pre-commit:\npre-push:../bare\nrefs/heads/main {sha} refs/heads/main {'0' * 40}\n"
    program(hooks(hooked) / "pre-commit.before-mvs", "echo no; exit 3")
    git("commit", "-q", "--allow-empty", "-m", "two", ok=False)
    assert git("rev-list", "--count", "HEAD").strip() == "1"
    assert len(hooked.uninstall_hooks()) == len(NAMES)
    assert (hooks(hooked) / "pre-push").read_text() == before
    assert hooked.uninstall_hooks() == []


def test_another_hook_in_the_place_of_ours_is_not_lost(hooked: mvs.Repository) -> None:
    hooked.uninstall_hooks()
    program(hooks(hooked) / "pre-push", "true")
    hooked.install_hooks()
    program(hooks(hooked) / "pre-push", "echo new")
    with pytest.raises(Conflict, match="kept before"):
        hooked.install_hooks()
    assert "echo new" in (hooks(hooked) / "pre-push").read_text()
    # As `pre-commit install` does it with ours.
    (hooks(hooked) / "pre-commit").rename(hooks(hooked) / "pre-commit.legacy")
    hooked.uninstall_hooks()
    assert not (hooks(hooked) / "pre-commit.legacy").exists()


def test_without_mvs_and_without_a_repository_git_goes_on(
    hooked: mvs.Repository, git: Git, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", os.environ["PATH"].partition(":")[2])
    if not any(os.access(f"{place}/mvs", os.X_OK) for place in os.environ["PATH"].split(":")):
        assert "nobody looks after" in commit(git, "one")
    hooked.root.rename(hooked.root.with_name("gone"))
    assert commit(git, "two", ok=False).count("nobody") == 0


def test_another_work_tree_can_be_made(hooked: mvs.Repository, git: Git, tmp_path: Path) -> None:
    """It has the configuration of the repository, which git keeps, and no store yet."""
    saved(hooked, "bert:v1", weights="one")
    hooked.pin("bert")
    commit(git, "one")
    assert "mvs init" in git("worktree", "add", str(tmp_path / "beside"))
    other = mvs.init(tmp_path / "beside")
    assert [str(pin.tag) for pin in other.pins()] == ["bert:v1"]


def test_a_repository_in_a_folder_of_the_work_tree(hooked: mvs.Repository, git: Git) -> None:
    hooked.uninstall_hooks()
    below = mvs.init(hooked.root.parent / "a 'b")
    saved(below, "bert:v1", weights="one")
    below.pin("bert")
    below.install_hooks()
    commit(git, "one")
    git("checkout", "-qb", "other")
    assert (below.root.parent / "bert" / "weights").read_text() == "one"
    (below.root.parent / "x.pt").write_text("x")
    assert "a 'b/x.pt" in commit(git, "two", ok=False)


def test_hooks_of_all_repositories_are_left_alone(repo: mvs.Repository, git: Git, tmp_path: Path) -> None:
    git("config", "core.hooksPath", str(tmp_path / "shared"))
    with pytest.raises(Conflict, match="other repositories"):
        repo.install_hooks()
    assert not (tmp_path / "shared").exists()
    git("config", "core.hooksPath", ".husky")
    assert repo.install_hooks()[0].parent.name == ".husky"
    with pytest.raises(NotARepository):
        mvs.init(tmp_path / "no-git").install_hooks()


def test_what_git_pushes_is_understood() -> None:
    zeros = "0" * 40
    assert list(pushed_revisions(f"(delete) {zeros} refs/heads/x {'a' * 40}\n\nx {'b' * 40} y {zeros}\n")) == ["b" * 40]
