"""What the file system of a store can do: tried once, and again when the store lies on another device."""

import os
import re

from mvs.backends.directory import Directory
from mvs.backends.failures import storage
from mvs.backends.filesystem import Traits, probe
from mvs.format.layout import CACHE

_KEY = f"{CACHE}/place"
# In words: a bit that flips makes none of them another.
_NOTE = re.compile(rb"mvs-place 1 ([0-9]+) ([0-9]+) (no-)?locks (no-)?links (no-)?cases\n")


def traits_of(disk: Directory) -> Traits:
    """Return what the file system of a store can do.

    Raises:
        StorageFailed: that is not known yet, and the store cannot be written to.
    """
    with storage(disk.root):
        found = os.stat(disk.root)
        try:
            known = _NOTE.fullmatch(disk.read(_KEY))
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            known = None
        if known and (int(known[1]), int(known[2])) == (found.st_dev, found.st_ino):
            return Traits(*(known[number] is None for number in (3, 4, 5)))
    traits = probe(disk)
    words = " ".join(name if works else f"no-{name}" for name, works in traits._asdict().items())
    disk.cache(_KEY, f"mvs-place 1 {found.st_dev} {found.st_ino} {words}\n".encode())
    return traits
