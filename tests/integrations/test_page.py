"""What docs/integrations.md shows runs as it stands."""

import re
from pathlib import Path

import pytest

PAGE = Path(__file__).resolve().parents[2] / "docs" / "integrations.md"
BLOCKS = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.M | re.S)
NEEDED = ("torch", "transformers", "lightning", "keras", "sklearn", "skops", "xgboost", "lightgbm")


@pytest.mark.parametrize("block", BLOCKS, ids=[re.search(r"mvs\.integrations\.(\w+)", text)[1] for text in BLOCKS])  # type: ignore[index]
def test_the_example_runs(block: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in NEEDED:
        if re.search(rf"^(import|from) {module}\b|integrations\.{module}\b", block, re.M):
            pytest.importorskip(module)
    (tmp_path / "project").mkdir()
    monkeypatch.chdir(tmp_path / "project")
    # Twice: the second run goes on from the first.
    for _ in range(2):
        exec(compile(block, str(PAGE), "exec"), {"__name__": "example"})
