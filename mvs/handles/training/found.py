"""What frameworks leave in a checkpoint folder besides weights: its step, its metrics, and that it is whole.

Believes nothing: a file that is not what it should be says nothing.
"""

import json
import math
import os
import re
from typing import Any

# Written by transformers, after weights, optimizer and random state; with the step and all that was logged.
_TRAINER = "trainer_state.json"
# Written by transformers (`save_metrics`), and by many a script: numbers by their names.
_FLAT = ("all_results.json", "eval_results.json", "train_results.json", "metrics.json")
# Files that come last: `.metadata` of torch.distributed.checkpoint, `commit_success.txt` of Orbax, and as above.
MARKERS = (".metadata", "commit_success.txt", _TRAINER)
# Names of what is not whole: Orbax, transformers, whoever renames when all is written; NeMo puts a file beside it.
_BESIDE = "-unfinished"
_UNFINISHED = re.compile(rf"\.orbax-checkpoint-tmp|\.tmp(-|$)|\.partial$|{_BESIDE}$|^tmp-|^\.")

_MAX_BYTES = 64 << 20
_MAX_METRICS = 200
_STEP = re.compile(r"step[=_-]?(\d+)", re.IGNORECASE)


def is_unfinished(path: str) -> bool:
    """Tell whether the name of a file or folder says that it is still being written."""
    return bool(_UNFINISHED.search(os.path.basename(path))) or os.path.lexists(f"{path}{_BESIDE}")


def is_marked(path: str, marker: str | None) -> bool:
    """Tell whether a folder holds a file that is written last."""
    return any(os.path.isfile(os.path.join(path, name)) for name in ((marker,) if marker else MARKERS))


def step_of(path: str) -> int | None:
    """Return the step of a checkpoint: what the trainer noted, else the number in its name."""
    state = _read(os.path.join(path, _TRAINER))
    noted = state.get("global_step")
    if _is_number(noted) and isinstance(noted, int) and noted >= 0:
        return noted
    name = os.path.basename(path)
    digits = _STEP.search(name) or re.search(r"(\d+)(?!.*\d)", name)
    return int(digits[1]) if digits and len(digits[1]) <= 18 else None


def metrics_of(path: str) -> dict[str, float]:
    """Return the numbers that a checkpoint folder holds about itself, by name."""
    found: dict[str, Any] = {}
    for name in _FLAT:
        found.update(_read(os.path.join(path, name)))
    state = _read(os.path.join(path, _TRAINER))
    history = state.get("log_history")
    for entry in history if isinstance(history, list) else []:
        # What was logged at another step is another checkpoint's.
        if isinstance(entry, dict) and entry.get("step") == state.get("global_step"):
            found.update(entry)
    found.pop("step", None)
    numbers = {key: value for key, value in found.items() if _is_number(value)}
    return dict(list(numbers.items())[:_MAX_METRICS])


def _is_number(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return math.isfinite(value) if isinstance(value, float) else abs(value) < 1 << 63


def _read(path: str) -> dict[str, Any]:
    try:
        with open(path, "rb") as file:
            data = file.read(_MAX_BYTES + 1)
        found = json.loads(data) if len(data) <= _MAX_BYTES else None
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
