"""The modules for frameworks, without the frameworks."""

import subprocess
import sys
from importlib import import_module

import pytest

from mvs.errors import MissingExtra
from mvs.integrations import ranks
from tests.test_house import modules

MODULES = {
    "keras": "keras",
    "lightgbm": "lightgbm",
    "lightning": "lightning",
    "sklearn": "sklearn",
    "torch": "torch",
    "transformers": "transformers",
    "xgboost": "xgboost",
}


@pytest.mark.parametrize("name", MODULES)
def test_a_framework_that_is_missing_is_named_with_its_extra(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, MODULES[name], None)
    monkeypatch.delitem(sys.modules, f"mvs.integrations.{name}", raising=False)
    with pytest.raises(MissingExtra, match=name) as caught:
        import_module(f"mvs.integrations.{name}")
    assert caught.value.hint == f"pip install 'mvs[{name}]'"


def test_nothing_of_a_framework_is_imported_before_its_module() -> None:
    code = "import sys, mvs.integrations.saving, mvs.integrations.ranks; print(*sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) & {*MODULES.values(), "numpy", "jax", "tensorflow"} == set()


def test_one_process_is_the_first_and_waits_for_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("torch", "jax"):
        monkeypatch.delitem(sys.modules, module, raising=False)
    assert ranks.rank() == 0
    ranks.wait_for_all()


def test_each_is_small_and_on_the_public_api_only() -> None:
    ours = [module for module in modules() if module.floor == "integrations"]
    assert {m.name: n for m in ours if (n := len(m.source.splitlines())) >= 150} == {}
    public = ("mvs", "mvs.errors", "mvs.handles.version", "mvs.integrations")
    wrong = [
        f"{module.name} imports {found.module}"
        for module in ours
        for found in module.imports
        if found.module.startswith("mvs") and not found.module.startswith(public[1:]) and found.module != "mvs"
    ]
    assert wrong == []
