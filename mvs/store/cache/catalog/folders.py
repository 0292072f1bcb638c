"""The folders of refs, and whether they are as they were: every change of a ref changes its folder.

A folder's times are worth something only once they are old: a change in the same tick of the file system's clock
leaves them as they are. So a folder that changed a moment ago is read again each time, until it is `SETTLED`.
"""

import os
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from mvs.backends.directory import Directory
from mvs.format.layout import ALIASES, NOTES, TAGS

# Ticks last 2 seconds on FAT, the longest known; what is newer may still change unnoticed.
SETTLED = 3_000_000_000
ROOTS = (TAGS, ALIASES, NOTES)


class Stamp(NamedTuple):
    """What tells that a folder changed. The second time is the kernel's own, which nobody can set back."""

    inode: int
    modified: int
    changed: int

    def settled(self, now: int) -> bool:
        """Tell whether any change after `now`, in the clock of the file system, changes the stamp."""
        return max(self.modified, self.changed) < now - SETTLED


def stamp(disk: Directory, key: str) -> Stamp | None:
    """Return the stamp of a folder, None where there is none."""
    try:
        found = os.stat(disk.path(key))
    except (FileNotFoundError, NotADirectoryError):
        return None
    return Stamp(found.st_ino, found.st_mtime_ns, found.st_ctime_ns)


def name_of(key: str) -> str:
    """Return the name whose refs lie in a folder; an empty one for a root."""
    return next(key[len(root) + 1 :] for root in ROOTS if key.startswith(root))


def of_name(name: str) -> list[str]:
    """Return the folders that hold the refs of a name."""
    return [f"{root}/{name}" for root in ROOTS]


def changed(disk: Directory, known: Mapping[str, Stamp], keys: list[str]) -> dict[str, Stamp | None]:
    """Return which of these folders are not as they are known, each with the stamp it has now."""
    return {key: now for key in keys if (now := stamp(disk, key)) != known.get(key)}


def all_changed(disk: Directory, known: Mapping[str, Stamp]) -> dict[str, Stamp | None]:
    """Return every folder that is not as it is known, new ones too, each with the stamp it has now."""
    found = changed(disk, known, [*known, *(root for root in ROOTS if root not in known)])
    pending = list(found)
    while pending:
        for key in _inside(disk, pending.pop()):
            if key not in known and key not in found:
                found[key] = stamp(disk, key)
                pending.append(key)
    return found


def _inside(disk: Directory, key: str) -> Iterator[str]:
    for entry in disk.entries(key):
        if not entry.name.startswith("@") and entry.is_dir(follow_symlinks=False):
            yield f"{key}/{entry.name}"
