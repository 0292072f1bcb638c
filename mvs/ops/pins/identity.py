"""Which repository a control folder is of, whatever path it has: a number drawn once.

A path alone does not tell: a repository may have moved, and another been made in its place.
"""

import os
from pathlib import Path

from mvs.backends.directory import Directory
from mvs.backends.failures import storage

_FILE = "identity"
_BYTES = 16


def of(control: Path) -> bytes | None:
    """Return the number of the repository in a control folder, None where it has none.

    Raises:
        StorageFailed: that cannot be told.
    """
    place = control / _FILE
    with storage(str(place)):
        try:
            # What is no file is not waited for.
            fd = os.open(place, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
            try:
                told = os.read(fd, 4 * _BYTES)
            finally:
                os.close(fd)
            number = bytes.fromhex(told.decode("ascii"))
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError, ValueError):
            return None
    return number if len(number) == _BYTES else None


def draw(control: Path) -> bytes:
    """Give the repository in a control folder a number, durably, and return it.

    Raises:
        StorageFailed: the folder cannot be written to.
    """
    number = os.urandom(_BYTES)
    Directory(str(control), durable=True, temps=".").put(_FILE, f"{number.hex()}\n".encode())
    return number
