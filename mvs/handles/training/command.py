"""A training command that runs while its output is watched: signals passed on, secrets left out of what is told."""

import os
import re
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from mvs.errors import InvalidInput, SourceNotFound

# What tells one run from another, and is nobody's secret.
VARIABLES = (
    *("CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS", "PYTHONHASHSEED"),
    *("RANK", "WORLD_SIZE", "SLURM_JOB_ID", "SLURM_JOB_NAME"),
)
_SECRET = re.compile(r"key|token|secret|passw|passphrase|credential|auth|cookie|dsn", re.IGNORECASE)
_HIDDEN = "***"
_IN_URL = re.compile(r"(://)[^/@\s]+@")
# What somebody sends to a program to tell it something; the rest the kernel sends, or nobody can hear.
_PASSED = ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2")
# As shells say it of a program that could not be started, and of one that a signal ended.
_BY_SIGNAL = 128


def told(words: Sequence[str]) -> list[str]:
    """Return a command as it may be kept for ever: with `***` for values of options that sound secret."""
    shown = []
    hide = False
    for word in words:
        name, equals, _ = word.partition("=")
        if hide:
            shown.append(_HIDDEN)
            hide = False
        elif equals and _SECRET.search(name):
            shown.append(f"{_shown(name)}={_HIDDEN}")
        else:
            # A word of its own holds the value: `--api-key abc`.
            hide = word.startswith("-") and not equals and bool(_SECRET.search(word))
            shown.append(_shown(word))
    return shown


def chosen(environment: Mapping[str, str], names: Sequence[str]) -> dict[str, str]:
    """Return the variables of `VARIABLES` and those that are named, as far as they are set.

    Raises:
        InvalidInput: the name of one says that it is a secret; versions are shared, and kept for ever.
    """
    secret = next((name for name in names if _SECRET.search(name)), None)
    if secret:
        raise InvalidInput(f"'{secret}' sounds like a secret, which must not be kept in a version")
    return {name: _shown(environment[name]) for name in (*VARIABLES, *names) if name in environment}


def start(words: Sequence[str]) -> "subprocess.Popen[bytes]":
    """Start a program with what this one has: files, terminal, environment.

    Raises:
        SourceNotFound: there is none of that name, or it cannot be run.
    """
    try:
        return subprocess.Popen(list(words))  # noqa: S603 - it is what the user asks for
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise SourceNotFound(f"cannot run '{words[0]}': {reason}") from error


@contextmanager
def signals_passed(child: "subprocess.Popen[bytes]") -> Iterator[None]:
    """Pass signals on to a program, and go on; in another thread than the main one there are none to pass."""
    before: dict[int, Any] = {}

    def passed(number: int, _: object) -> None:
        # The terminal sends these two to both of us.
        if not (number in (signal.SIGINT, signal.SIGQUIT) and _at_terminal()):
            with suppress(ProcessLookupError):
                child.send_signal(number)

    with suppress(ValueError):
        for name in _PASSED:
            number = getattr(signal, name)
            before[number] = signal.signal(number, passed)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def watched(child: "subprocess.Popen[bytes]", seconds: float, look: Callable[[], Iterator[Any]]) -> Iterator[Any]:
    """Look at once and every few seconds, as long as a program runs."""
    while child.poll() is None:
        yield from look()
        with suppress(subprocess.TimeoutExpired):
            child.wait(seconds)


def exit_code(child: "subprocess.Popen[bytes]") -> int:
    """Return what a program exited with, as a shell says it."""
    code = child.wait()
    return _BY_SIGNAL - code if code < 0 else code


def _shown(text: str) -> str:
    # What is no Unicode cannot be kept.
    return _IN_URL.sub(rf"\1{_HIDDEN}@", text.encode("utf-8", "replace").decode())


def _at_terminal() -> bool:
    with suppress(OSError), open("/dev/tty", "rb", buffering=0) as terminal:
        return os.tcgetpgrp(terminal.fileno()) == os.getpgrp()
    return False
