"""What most tests need: a repository, a model folder, the command line."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

import mvs
from mvs.cli.main import run
from mvs.store.store import Store


@pytest.fixture(autouse=True)
def _own_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test sees, or touches, what belongs to the user who runs it."""
    monkeypatch.setenv("MVS_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("LOGNAME", "tester")
    # Programs write as they do for most users, in blocks.
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)
    # What is saved notes the commit of the repository that it is saved from. `mvs -C` changes the folder, too.
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def repo(tmp_path: Path) -> mvs.Repository:
    return mvs.init(tmp_path / "repo")


@pytest.fixture
def store(repo: mvs.Repository) -> Store:
    return Store(repo.store)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A small model folder, with a file of every kind."""
    path = tmp_path / "model"
    (path / "sub").mkdir(parents=True)
    (path / "weights.bin").write_bytes(bytes(range(250)) * 400)
    (path / "config.json").write_text('{"layers": 2}')
    (path / "sub" / "vocab.txt").write_text("a\nb\n")
    (path / "run.sh").write_text("#!/bin/sh\n")
    (path / "run.sh").chmod(0o755)
    return path


@pytest.fixture
def cli(repo: mvs.Repository, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Run the command line in the repository; `code` is what it must exit with."""
    monkeypatch.chdir(repo.root.parent)
    runner = CliRunner()

    def call(*arguments: str | os.PathLike[str], code: int = 0, stdin: str | None = None) -> Result:
        result = runner.invoke(Wrapped("mvs"), [os.fspath(a) for a in arguments], input=stdin)
        assert result.exit_code == code, f"exit {result.exit_code}\n{result.output}"
        return result

    return call


class Wrapped(click.Command):
    """`run`, which turns errors into exit codes, as the command that CliRunner expects."""

    def main(self, args: Sequence[str] | None = None, *_: Any, **__: Any) -> Any:
        run(list(args or ()))
