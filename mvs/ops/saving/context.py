"""What is known about the program that saves, without asking the user."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mvs.ops.pins.git import is_work_tree

# Import names of frameworks and what users call them. The first that is loaded is "the
# framework": those that pull in others stand before them.
_FRAMEWORKS = {
    "torch": "pytorch",
    "tensorflow": "tensorflow",
    "jax": "jax",
    "keras": "keras",
    "xgboost": "xgboost",
    "lightgbm": "lightgbm",
    "catboost": "catboost",
    "sklearn": "scikit-learn",
    "onnx": "onnx",
}
# Told beside it when they are loaded.
_ALSO = ("accelerate", "diffusers", "flax", "lightning", "numpy", "peft", "safetensors", "transformers")
# A repository on a slow network disk must not hold up a training run for longer.
_GIT_SECONDS = 5


def gather(version: str, given: Mapping[str, Any], environment: Mapping[str, str]) -> dict[str, Any]:
    """Return the context of a save: frameworks that are loaded, Python, platform, mvs, git; `given` wins.

    Nothing is imported to find out.
    """
    system = os.uname()
    found: dict[str, Any] = {
        "mvs": version,
        "python": ".".join(map(str, sys.version_info[:3])),
        # Not platform.platform(): it reads the interpreter's file, for 20 ms.
        "platform": "-".join((system.sysname, system.release, system.machine)),
    }
    packages = {name: text for name in (*_FRAMEWORKS, *_ALSO) if (text := _version_of(name))}
    if packages:
        found["packages"] = packages
    framework = next((name for name in _FRAMEWORKS if name in packages), None)
    if framework and "framework" not in given:
        found["framework"] = _FRAMEWORKS[framework]
        found["framework_version"] = packages[framework]
    if git := _git(environment):
        found["git"] = git
    return {**found, **given}


def _version_of(name: str) -> str | None:
    version = getattr(sys.modules.get(name), "__version__", None)
    return str(version) if version is not None else None


def _git(environment: Mapping[str, str]) -> dict[str, Any] | None:
    command = ["git", "-c", "core.fsmonitor=false", "status", "--porcelain=v2", "--branch", "--untracked-files=no"]
    try:
        if "GIT_DIR" not in environment and not is_work_tree(Path.cwd()):
            return None
        done = subprocess.run(  # noqa: S603
            command,
            capture_output=True,
            timeout=_GIT_SECONDS,
            check=True,
            # A status that refreshes git's index would fight with the user's own git.
            env={**environment, "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    commit, dirty = None, False
    for line in done.stdout.decode("utf-8", "replace").splitlines():
        if line.startswith("# branch.oid "):
            commit = line.removeprefix("# branch.oid ").strip()
        elif not line.startswith("#"):
            dirty = True
    if not commit or commit == "(initial)":
        return None
    return {"commit": commit, "dirty": dirty}
