"""A warm process that runs the command line in forks of itself: a run costs milliseconds, and can be traced.

It reads a job a line, forks, tells the process id, and waits with the fork until one more line comes: by then
whoever wants to trace it does. Then it tells how the fork ended.
"""

import contextlib
import ctypes
import importlib
import json
import os
import sys
from typing import Any, NoReturn

PRELOADED = (
    "concurrent.futures.thread",
    "filelock",
    "mvs.cli.verbs.change",
    "mvs.cli.verbs.checks",
    "mvs.cli.verbs.dense",
    "mvs.cli.verbs.files",
    "mvs.handles.draft",
    "mvs.ops.giving.checkout",
    "mvs.ops.dedup",
    "mvs.ops.dedup.run",
    "mvs.ops.fsck",
    "mvs.ops.gc",
    "mvs.ops.refs.delete",
    "mvs.ops.saving.context",
    "mvs.ops.saving.save",
    "mvs.store.cache.views",
    "mvs.store.packs.reading",
    "mvs.store.packs.writing",
    "mvs.store.staging",
    "mvs.store.tensors",
    "mvs.store.aside.trash",
    "numpy",
    "rich.progress",
)
_PR_SET_PTRACER = 0x59616D61


def main() -> None:
    for name in PRELOADED:
        importlib.import_module(name)
    os.write(1, b"ready\n")
    while line := _line():
        child = os.fork()
        if child == 0:
            _live(json.loads(line))
        os.write(1, b"%d\n" % child)
        _, status = os.waitpid(child, 0)
        os.write(1, b"%d\n" % os.waitstatus_to_exitcode(status))


def _live(job: dict[str, Any]) -> NoReturn:
    code: object = 1
    try:
        # Where the kernel lets only parents trace (Yama), a sister must be let.
        ctypes.CDLL(None).prctl(_PR_SET_PTRACER, ctypes.c_ulong(-1), 0, 0, 0)
        _line()
        for fd, path in ((1, job["said"]), (2, job["complained"])):
            file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(file, fd)
            os.close(file)
        # On one core a verb uses one thread for its files, and always makes the same calls.
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        importlib.import_module("mvs.ops.dedup.run")._PACK_BYTES = job["pack_bytes"]  # type: ignore[attr-defined]
        # No save by chance brings a cache up to date, nobody being told that its fsync failed.
        importlib.import_module("mvs.ops.saving.save")._CATALOGUED = 1 << 32  # type: ignore[attr-defined]
        importlib.import_module("mvs.cli.main").run(job["words"])
    except SystemExit as exit:
        code = exit.code
    finally:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError):
                stream.flush()
        os._exit(code if isinstance(code, int) else 1)


def _line() -> bytes:
    """Read one line of what is sent, and nothing behind it: that is for the fork."""
    found = b""
    while not found.endswith(b"\n"):
        if not (byte := os.read(0, 1)):
            return b""
        found += byte
    return found


if __name__ == "__main__":
    main()
