"""Locks of the kernel (flock), which die with the process that holds them."""

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager

from mvs.backends.failures import storage
from mvs.errors import StoreBusy, command

# A save holds the lock for milliseconds; a minute of waiting means a process that hangs.
PATIENCE = 60.0
_POLL = 0.002


@contextmanager
def exclusive(path: str, *, patience: float = PATIENCE) -> Iterator[None]:
    """Hold the lock file at `path`, against every other process and thread.

    Raises:
        StoreBusy: another holds it longer than `patience` seconds.
        ReadOnlyStore: the lock file cannot be opened for writing.
    """
    from filelock import FileLock, Timeout  # noqa: PLC0415 - 20 ms

    lock = FileLock(path, thread_local=False, poll_interval=_POLL, fallback_to_soft=False)
    with storage(path):
        try:
            lock.acquire(timeout=patience)
        except Timeout:
            raise StoreBusy(
                f"another process has held '{path}' for {patience:.0f} seconds", hint=command("fuser", "-v", path)
            ) from None
    try:
        yield
    finally:
        lock.release()


def is_held(path: str) -> bool:
    """Tell whether some process or thread holds the lock file at `path`."""
    try:
        with exclusive(path, patience=0):
            return False
    except StoreBusy:
        return True


def is_open_for_writing(path: str) -> bool:
    """Tell whether some process, this one included, has a file open for writing; False where the system cannot tell.

    Linux grants a read lease only while nobody does (fcntl(2), F_SETLEASE).
    """
    if not hasattr(fcntl, "F_SETLEASE"):
        return False
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except OSError as error:
        return error.errno == errno.EAGAIN
    finally:
        os.close(fd)
    return False
