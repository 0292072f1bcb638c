"""diff of two revisions of git: what was pinned then, and what is now."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

import mvs
from mvs.errors import CorruptPins, NotFound
from tests.ops.pins.conftest import Git, saved

Cli = Callable[..., Result]


@pytest.fixture
def commits(repo: mvs.Repository, git: Git) -> mvs.Repository:
    """Three commits: nothing pinned; two pins; one of them changed, one gone, one new."""
    git("commit", "-q", "--allow-empty", "-m", "none")
    for tag in ("a:v1", "a:v2", "b:v1", "c:v1"):
        saved(repo, tag, file=tag)
    repo.pin("a:v1")
    repo.pin("b:v1")
    git("add", "-A")
    git("commit", "-qm", "two")
    repo.pin("a:v2")
    repo.unpin("b")
    repo.pin("c:v1", to="models/c")
    git("add", "-A")
    git("commit", "-qm", "changed")
    return repo


def told(found: list[tuple[mvs.Pinned | None, mvs.Pinned | None]]) -> list[tuple[str | None, str | None]]:
    return [(str(old.tag) if old else None, str(new.tag) if new else None) for old, new in found]


def test_pins_of_revisions_are_compared(commits: mvs.Repository) -> None:
    changed = [("a:v1", "a:v2"), ("b:v1", None), (None, "c:v1")]
    assert told(commits.diff_pins("HEAD~1", "main")) == changed
    assert told(commits.diff_pins("HEAD~1")) == changed
    assert told(commits.diff_pins("HEAD~2", "HEAD~1")) == [(None, "a:v1"), (None, "b:v1")]
    assert commits.diff_pins("HEAD") == []
    commits.unpin("c")
    assert told(commits.diff_pins("HEAD")) == [("c:v1", None)]


def test_what_is_no_revision_is_refused(commits: mvs.Repository, tmp_path: Path) -> None:
    for revision in ("HEAD~9", "no-such", "--output=x", "", "-"):
        with pytest.raises(NotFound):
            commits.diff_pins(revision)
    with pytest.raises(NotFound):
        mvs.init(tmp_path / "no-git").diff_pins("HEAD")


def test_a_revision_with_damaged_pins_is_named(commits: mvs.Repository, git: Git) -> None:
    (commits.root.parent / "mvs.lock").write_text("?")
    git("commit", "-qam", "damaged")
    with pytest.raises(CorruptPins, match="at 'HEAD'"):
        commits.diff_pins("HEAD")


def test_the_command_takes_versions_before_revisions(commits: mvs.Repository, cli: Cli, git: Git) -> None:
    assert [line.split() for line in cli("diff", "HEAD~1", code=1).stdout.splitlines()] == [
        ["changed", "a:v1", "->", "v2", "a"],
        ["removed", "b:v1", "b"],
        ["added", "c:v1", "models/c"],
    ]
    assert cli("diff", "HEAD", "main").stderr == "the same is pinned\n"
    facts = json.loads(cli("diff", "HEAD~1", "HEAD", "--json", code=1).stdout)
    assert (facts["before"], facts["after"], facts["same"]) == ("HEAD~1", "HEAD", False)
    assert facts["pins"][1]["before"]["tag"] == "b:v1"
    assert facts["pins"][1]["after"] is None
    git("branch", "a")
    git("branch", "b")
    assert "file" in cli("diff", "a", "b", code=1).stdout
    assert "is a version" in cli("diff", "a", code=2).stderr
    assert "no model 'nothing'" in cli("diff", "nothing", code=21).stderr
    cli("diff", "nothing", "HEAD", code=21)
