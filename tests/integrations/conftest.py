"""Real frameworks, training small models for real (`make test-integrations`); one that is not there is skipped."""

import json
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest

import mvs
from tests.integrations import install


def pytest_report_header() -> list[str]:
    """Name every framework with its version, or why it is not there: nothing counts as tested by silence."""
    try:
        failed = json.loads((Path(sys.prefix) / install.REPORT).read_text(encoding="utf-8"))
    except OSError:
        failed = {}
    lines = []
    for packages in install.FRAMEWORKS.values():
        for package in packages:
            try:
                lines.append(f"{package}: {version(package)}")
            except PackageNotFoundError:
                lines.append(f"{package}: NOT TESTED: {failed.get(package, 'it is not installed')}")
    return lines


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # What frameworks warn each other of is not ours to mend.
    for item in items:
        if "integrations" in item.path.parts:
            item.add_marker(pytest.mark.filterwarnings("ignore"))


@pytest.fixture(autouse=True)
def _at_home(repo: mvs.Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(repo.root.parent)
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    # Nothing here asks a server.
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "output"
