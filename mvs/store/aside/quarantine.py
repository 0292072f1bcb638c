"""Quarantine: what is damaged and could not be mended, out of the way of readers and writers, and kept.

A mark says of an object that it is lost, so that whoever misses it is told why.
"""

import contextlib
import os
from collections.abc import Iterator

from mvs.backends.directory import Directory
from mvs.backends.failures import storage
from mvs.format.ids import ObjectId
from mvs.format.layout import LOST, QUARANTINE, lost_path


class Quarantine:
    """The quarantine of a store. Moving is for whoever holds its lock."""

    def __init__(self, disk: Directory) -> None:
        self._disk = disk

    def move(self, key: str) -> str | None:
        """Move what is under a key out of the store, durably; return where it is now, None where nothing was there."""
        if not os.path.lexists(self._disk.path(key)):
            return None
        target = self._free(key)
        with storage(self._disk.root):
            os.rename(self._disk.path(key), self._disk.path(target))
        # First the new name: what a power cut leaves under both is not lost.
        self._disk.sync([os.path.dirname(target)])
        self._disk.sync([os.path.dirname(key)])
        return target

    def copy(self, key: str) -> str:
        """Keep the bytes under a key, which are about to be replaced; return where."""
        target = self._free(key)
        self._disk.put(target, self._disk.read(key))
        return target

    def mark(self, id: ObjectId) -> None:
        """Say that an object is lost."""
        if self._disk.size(lost_path(id)) is None:
            self._disk.put(lost_path(id), b"")

    def unmark(self, id: ObjectId) -> None:
        """Say no longer that an object is lost."""
        self._disk.remove(lost_path(id))

    def lost(self) -> Iterator[ObjectId]:
        """Yield the objects that are said to be lost, in no order."""
        for entry in self._disk.entries(LOST):
            with contextlib.suppress(ValueError):
                yield ObjectId.from_hex(entry.name)

    def amount(self) -> tuple[int, int]:
        """Return how many files were moved here, and their bytes."""
        count = total = 0
        for parent, _, names in os.walk(self._disk.path(QUARANTINE)):
            if parent == self._disk.path(LOST):
                continue
            for name in names:
                with contextlib.suppress(OSError):
                    total += os.lstat(os.path.join(parent, name)).st_size
                    count += 1
        return count, total

    def _free(self, key: str) -> str:
        """Return a key in quarantine that nothing has; its folder is there, durably."""
        target, number = f"{QUARANTINE}/{key}", 1
        while os.path.lexists(self._disk.path(target)):
            number += 1
            target = f"{QUARANTINE}/{key}.{number}"
        self._disk.ensure(os.path.dirname(target))
        self._disk.sync_above(target)
        return target
