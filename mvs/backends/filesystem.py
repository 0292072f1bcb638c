"""What a file system can do, found out by trying: some say yes to a lock, and do nothing."""

import contextlib
import fcntl
import os
from typing import NamedTuple

from mvs.backends.directory import NO_LINKS, Directory
from mvs.backends.failures import storage
from mvs.backends.locks import NO_LOCKS


class Traits(NamedTuple):
    """What works in a folder: locks that keep others out, hard links, names that differ only in case."""

    locks: bool
    links: bool
    cases: bool


def probe(disk: Directory) -> Traits:
    """Try everything among the files that are on their way; nothing is left but what gc removes, if it is killed.

    Only this machine is asked: whether a lock holds against another one that has the folder mounted cannot be tried.

    Raises:
        StorageFailed: it cannot be written to.
    """
    while True:
        path = disk.temp_name()
        with storage(disk.root):
            os.makedirs(os.path.dirname(path), exist_ok=True)
            # A gc may take it away meanwhile.
            with contextlib.suppress(FileNotFoundError):
                return _tried(path)


def _tried(path: str) -> Traits:
    folder, name = os.path.split(path)
    link = os.path.join(folder, f"link-{name}")
    first = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        return Traits(_locks(first, path), _links(path, link), not os.path.lexists(os.path.join(folder, name.upper())))
    finally:
        os.close(first)
        for left in (path, link):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(left)


def _locks(first: int, path: str) -> bool:
    second = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.flock(first, fcntl.LOCK_EX | fcntl.LOCK_NB)
        try:
            fcntl.flock(second, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False
    except OSError as error:
        if error.errno in NO_LOCKS:
            return False
        raise
    finally:
        os.close(second)


def _links(path: str, link: str) -> bool:
    try:
        os.link(path, link)
    except OSError as error:
        if error.errno in NO_LINKS:
            return False
        raise
    return True
