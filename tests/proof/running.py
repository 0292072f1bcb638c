"""Running the command line in processes of its own, watched, killed and failed by strace."""

import contextlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.ops.gc.stores import PACK_BYTES

ROOT = Path(__file__).parents[2]
STRACE = pytest.mark.skipif(
    shutil.which("strace") is None, reason="strace is not installed (apt-get install strace), or not of this system"
)


class Done(NamedTuple):
    """How a process ended, which one it was, and what it printed and complained of."""

    code: int
    process: int
    said: str
    complained: str


class Runner:
    """Runs the command line, each time in a process of its own."""

    def __init__(self, zygote: "subprocess.Popen[bytes]", scratch: Path) -> None:
        self._zygote = zygote
        self._scratch = scratch
        self.said = scratch / "said"

    def run(self, place: Path, *words: str, strace: Sequence[str] = ()) -> Done:
        """Run `mvs` in a folder; under strace with these options, if there are any."""
        said, complained = self.said, self._scratch / "complained"
        job = {
            "words": ["-C", str(place), *words],
            "said": str(said),
            "complained": str(complained),
            "pack_bytes": PACK_BYTES,
        }
        self._tell(json.dumps(job))
        child = self._answer()
        with self._traced(child, strace) if strace else contextlib.nullcontext():
            self._tell("go")
            code = self._answer()
        return Done(code, child, said.read_text(), complained.read_text())

    @contextlib.contextmanager
    def _traced(self, child: int, options: Sequence[str]) -> Iterator[None]:
        command = ["strace", *options, "-e", "signal=none", "-p", str(child)]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as tracer:
            assert tracer.stderr is not None
            first = tracer.stderr.readline()
            if "attached" not in first:
                # The fork must not wait for ever.
                self._tell("go")
                self._answer()
                pytest.skip(f"strace may not trace here: {first.strip()}")
            yield
            tracer.communicate()

    def _tell(self, line: str) -> None:
        assert self._zygote.stdin is not None
        self._zygote.stdin.write(line.encode() + b"\n")
        self._zygote.stdin.flush()

    def _answer(self) -> int:
        assert self._zygote.stdout is not None
        return int(self._zygote.stdout.readline())


@contextlib.contextmanager
def started(scratch: Path) -> Iterator[Runner]:
    """Start a process to fork from; what it prints lies in `scratch`."""
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "PYTHONDONTWRITEBYTECODE": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "HOME": str(scratch),
        "MVS_HOME": str(scratch / "home"),
        "LOGNAME": "tester",
    }
    environment.pop("PYTHONUNBUFFERED", None)
    with subprocess.Popen(
        [sys.executable, "-W", "ignore", "-m", "tests.proof.zygote"],
        cwd=ROOT,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as zygote:
        assert zygote.stdout is not None
        assert zygote.stdout.readline() == b"ready\n"
        yield Runner(zygote, scratch)
        assert zygote.stdin is not None
        zygote.stdin.close()
