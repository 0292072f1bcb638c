"""A repository of mvs in a work tree of real git, which sees nothing of the user's own configuration."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

import mvs

Git = Callable[..., str]


@pytest.fixture
def git(repo: mvs.Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Git:
    """Run git in the folder of the repository; `ok` false lets it fail."""
    for key in [key for key in os.environ if key.startswith("GIT_")]:
        monkeypatch.delenv(key)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "gitconfig"))
    monkeypatch.setenv("GIT_CONFIG_SYSTEM", os.devnull)
    monkeypatch.setenv("GIT_TERMINAL_PROMPT", "0")
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    (tmp_path / "gitconfig").write_text(
        "[user]\nname = T\nemail = t@example.com\n[init]\ndefaultBranch = main\n[commit]\ngpgsign = false\n"
    )
    root = repo.root.parent

    def run(*words: str, ok: bool = True, at: Path = root) -> str:
        done = subprocess.run(["git", *words], cwd=at, capture_output=True, text=True, check=False)
        assert done.returncode == 0 or not ok, done.stdout + done.stderr
        return done.stdout + done.stderr

    run("init", "-q")
    return run


def saved(repo: mvs.Repository, tag: str, **files: str) -> mvs.Version:
    """Save a version with these files, by name."""
    with repo.create(tag) as draft:
        for name, text in files.items():
            (draft.path / name).write_text(text)
    return draft.version
