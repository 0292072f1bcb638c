"""Running somebody's program: with something to read, a time limit, and an end to all that it started."""

import os
import signal
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import NamedTuple

# Of what it says; more is a mistake, and nobody reads it.
_MAX_WORDS = 8192
_RAISES = signal.default_int_handler


class Ended(NamedTuple):
    """How a program ended: its exit code, None when it was stopped for taking too long, and what it said."""

    code: int | None
    words: str


def run(program: str, given: bytes, *, folder: str, environment: Mapping[str, str], seconds: float) -> Ended:
    """Run a program in a folder with `given` on standard input, and wait for its end.

    Input and output are files, so that it may ignore the one and write any amount of the other. What it started and
    left running is only ended when it took too long.

    Raises:
        OSError: it cannot be run.
    """
    with tempfile.TemporaryFile() as reads, tempfile.TemporaryFile() as says:
        reads.write(given)
        reads.seek(0)
        with _interrupts_held_back() as interrupted:
            process = subprocess.Popen(  # noqa: S603 - whoever calls this knows which one
                [program], stdin=reads, stdout=says, stderr=says, cwd=folder, env=environment, start_new_session=True
            )
        try:
            if interrupted:
                raise KeyboardInterrupt
            code: int | None = process.wait(seconds)
        except subprocess.TimeoutExpired:
            code = None
            _end(process)
        except BaseException:
            _end(process)
            raise
        says.seek(0)
        return Ended(code, says.read(_MAX_WORDS).decode("utf-8", "replace").strip())


@contextmanager
def _interrupts_held_back() -> Iterator[list[int]]:
    """Yield the list of interrupts that come meanwhile: one in the middle of a start leaves nobody who knows the child.

    Only the main thread ever sees one; a handler of the program's own is left alone.
    """
    found: list[int] = []
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGINT) is not _RAISES:
        yield found
        return
    before = signal.signal(signal.SIGINT, lambda number, _: found.append(number))
    try:
        yield found
    finally:
        signal.signal(signal.SIGINT, before)


def _end(process: "subprocess.Popen[bytes]") -> None:
    with suppress(ProcessLookupError):
        # It leads a group of its own.
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
