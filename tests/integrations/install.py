"""Install the frameworks that tests/integrations/ trains with, each by itself: one that fails is told, and left out.

python tests/integrations/install.py, in the environment that it is for
"""

import json
import re
import subprocess
import sys
import time
from pathlib import Path

# In this order: what others would pull in as another build comes first.
FRAMEWORKS = {
    "torch": ["torch"],
    "transformers": ["transformers", "accelerate"],
    "lightning": ["lightning"],
    "keras": ["keras"],
    "sklearn": ["scikit-learn", "skops"],
    # The package `xgboost` brings libraries for graphics cards of several hundred MB.
    "xgboost": ["xgboost-cpu"],
    "lightgbm": ["lightgbm"],
}
# What could not be installed, and why; beside the environment's own files.
REPORT = "not-installed.json"
# A slow network must not take the time of everything else.
SECONDS = 2400


def main() -> int:
    began = time.monotonic()
    failed = {}
    for packages in FRAMEWORKS.values():
        wanted = [_build(package) for package in packages]
        reason = _install(wanted, SECONDS - (time.monotonic() - began))
        if reason:
            sys.stderr.write(f"NOT INSTALLED: {', '.join(packages)}: {reason}\n")
            failed.update(dict.fromkeys(packages, reason))
    (Path(sys.prefix) / REPORT).write_text(json.dumps(failed, indent=1), encoding="utf-8")
    return 0


def _install(packages: list[str], seconds: float) -> str:
    """Return why packages could not be installed, or nothing."""
    if seconds <= 0:
        return "there was no time left"
    try:
        done = _pip(["install", "--quiet", "--only-binary", ":all:", *packages], seconds)
    except subprocess.TimeoutExpired:
        return f"pip took longer than {seconds:.0f} s"
    lines = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
    return "" if done.returncode == 0 else (lines or ["pip failed"])[-1]


def _build(package: str) -> str:
    """Return a package at its newest build for processors, where pip is offered one (PIP_EXTRA_INDEX_URL)."""
    if package == "torch":
        try:
            offered = re.findall(r"[\d.]+\+cpu", _pip(["index", "versions", package], 120).stdout)
        except subprocess.TimeoutExpired:
            offered = []
        if offered:
            return f"{package}=={offered[0]}"
    return package


def _pip(words: list[str], seconds: float) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=False)


if __name__ == "__main__":
    sys.exit(main())
