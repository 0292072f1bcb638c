"""What is gathered about the saving program is true, and costs it no import."""

import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import mvs
from mvs.ops.saving.context import gather


def pretend(monkeypatch: pytest.MonkeyPatch, name: str, version: object) -> None:
    module = ModuleType(name)
    module.__version__ = version  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, name, module)


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory in no git repository."""
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def git(*arguments: str) -> str:
    identity = ["-c", "user.name=tester", "-c", "user.email=tester@example.com"]
    return subprocess.run(["git", *identity, *arguments], check=True, capture_output=True, text=True).stdout.strip()


def test_python_platform_and_mvs_are_told(elsewhere: Path) -> None:
    found = gather("9.9", {}, os.environ)
    assert found["mvs"] == "9.9"
    assert found["python"] == sys.version.partition(" ")[0]
    assert found["platform"]
    assert "git" not in found


def test_a_framework_is_told_when_it_is_loaded(elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, "torch", "2.9.1+cpu")
    pretend(monkeypatch, "safetensors", "0.7.0")
    found = gather("1", {}, os.environ)
    assert (found["framework"], found["framework_version"]) == ("pytorch", "2.9.1+cpu")
    assert found["packages"]["safetensors"] == "0.7.0"


def test_of_two_frameworks_the_one_that_pulls_in_the_other_is_told(
    elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend(monkeypatch, "sklearn", "1.7")
    pretend(monkeypatch, "torch", "2.9.1")
    found = gather("1", {}, os.environ)
    assert found["framework"] == "pytorch"
    assert found["packages"]["sklearn"] == "1.7"


def test_what_the_user_says_wins(elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, "torch", "2.9.1")
    found = gather("1", {"framework": "mine", "run": 42, "python": "2.7"}, os.environ)
    assert (found["framework"], found["run"], found["python"]) == ("mine", 42, "2.7")
    assert "framework_version" not in found


def test_the_commit_and_whether_the_tree_was_dirty_are_told(elsewhere: Path) -> None:
    git("init")
    (elsewhere / "train.py").write_text("1")
    assert "git" not in gather("1", {}, os.environ), "no commit yet"
    git("add", "train.py")
    git("commit", "-m", "one")
    clean = {"commit": git("rev-parse", "HEAD"), "dirty": False}
    (elsewhere / "weights.bin").write_text("untracked files do not count")
    assert gather("1", {}, os.environ)["git"] == clean
    (elsewhere / "train.py").write_text("2")
    assert gather("1", {}, os.environ)["git"] == {**clean, "dirty": True}


def test_no_git_on_the_path_is_no_error(elsewhere: Path) -> None:
    assert "git" not in gather("1", {}, {**os.environ, "PATH": str(elsewhere)})


def test_the_context_is_in_the_manifest(repo: mvs.Repository, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, "torch", "2.9.1")
    saved = repo.save(folder, "bert:v1", context={"run": "42"})
    context = repo.get("bert:v1").context
    assert context == saved.context
    assert (context["framework"], context["run"], context["mvs"]) == ("pytorch", "42", mvs.__version__)


def test_saving_imports_no_framework(tmp_path: Path) -> None:
    """A save from a small script must not load torch to find out that nobody uses it."""
    script = """
import sys
from pathlib import Path
import mvs
Path("weights").write_text("x")
mvs.init().save("weights", "bert")
print({"torch", "tensorflow", "jax", "numpy", "sklearn"} & set(sys.modules))
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
