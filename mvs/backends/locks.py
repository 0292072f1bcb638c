"""Locks of the kernel (flock), which die with the process that holds them."""

import contextlib
import errno
import fcntl
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from mvs.backends.failures import storage
from mvs.errors import LocksFail, StoreBusy, command

# A save holds the lock for milliseconds; a minute of waiting means a process that hangs.
PATIENCE = 60.0
_POLL = 0.002
# What flock(2) answers where there are no locks.
NO_LOCKS = {errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP}


@contextmanager
def exclusive(path: str, *, patience: float = PATIENCE) -> Iterator[None]:
    """Hold the lock file at `path`, against every other process and thread.

    Raises:
        StoreBusy: another holds it longer than `patience` seconds.
        ReadOnlyStore: the lock file cannot be opened for writing.
        LocksFail: the file system has no locks.
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
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise
            raise LocksFail(f"there are no locks for '{path}'", hint="mvs config set store.path PATH") from error
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


@contextmanager
def still(path: str, *, patience: float = PATIENCE) -> Iterator[None]:
    """Keep whoever wants the lock file at `path` waiting, writing nothing: for a last look, which is short.

    Where nobody ever made the file, or its holder does not let go of it for `patience` seconds, nothing is kept.
    """
    fd = None
    try:
        with contextlib.suppress(OSError):
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            _share(fd, patience)
        yield
    finally:
        if fd is not None:
            os.close(fd)


def is_free(path: str) -> bool:
    """Tell whether nobody holds the lock file at `path`, writing nothing; True where there is none."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return True
    try:
        return _share(fd, 0)
    finally:
        os.close(fd)


def _share(fd: int, patience: float) -> bool:
    pause = threading.Event()
    for _ in range(max(1, round(patience / _POLL))):
        try:
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            pause.wait(_POLL if patience else 0)
        else:
            return True
    return False
