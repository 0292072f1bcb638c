"""The command line as a process of its own: on pipes, and on a terminal."""

import os
import pty
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import mvs

Terminal = Callable[..., tuple[int, str]]


@pytest.fixture
def program(repo: mvs.Repository) -> Callable[..., "subprocess.Popen[bytes]"]:
    """Start mvs in the repository, on pipes unless told."""

    def start(*arguments: str | os.PathLike[str], **options: object) -> "subprocess.Popen[bytes]":
        streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        command = [sys.executable, "-m", "mvs", *(os.fspath(argument) for argument in arguments)]
        return subprocess.Popen(command, cwd=repo.root.parent, **{**streams, **options})  # type: ignore[call-overload,no-any-return]

    return start


@pytest.fixture
def terminal(repo: mvs.Repository) -> Terminal:
    """Run Python code with standard error on a terminal; return the exit code and what the terminal got."""

    def run(code: str, **environment: str) -> tuple[int, str]:
        ours, theirs = pty.openpty()
        process = subprocess.Popen(
            [sys.executable, "-c", code],
            cwd=Path(repo.root.parent),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=theirs,
            env={**os.environ, "TERM": "xterm", **environment},
        )
        os.close(theirs)
        shown = b""
        try:
            while block := os.read(ours, 1 << 16):
                shown += block
        except OSError:
            # Linux says so when nobody has the other end any more.
            pass
        finally:
            os.close(ours)
        return process.wait(), shown.decode()

    return run
