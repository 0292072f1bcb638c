"""What nobody needs and gc removes: facts, not findings."""

import os
import re

from mvs.backends.directory import Directory
from mvs.backends.locks import is_free
from mvs.format.layout import LOCK, STAGING, TRASH
from mvs.ops.fsck.report import Amount

_SESSION = re.compile(r"[0-9a-f]{16}\Z")


def rubbish(disk: Directory) -> dict[str, Amount]:
    """Return what dead processes left in staging, and what lies in the trash."""
    sessions = temporary = trash = Amount()
    for entry in disk.entries(STAGING):
        if entry.name.endswith(".tmp"):
            temporary += Amount(1, _size(entry.path))
        elif _SESSION.match(entry.name) and entry.is_dir(follow_symlinks=False) and is_free(f"{entry.path}/{LOCK}"):
            sessions += Amount(1, _size(entry.path))
    for entry in disk.entries(TRASH):
        trash += Amount(1, _size(entry.path))
    return {"sessions": sessions, "temporary": temporary, "trash": trash}


def _size(path: str) -> int:
    """Return the bytes of a file, or of all files in a folder; of what goes meanwhile, none."""
    total = 0
    places = [path, *(os.path.join(parent, name) for parent, _, names in os.walk(path) for name in names)]
    for place in places if os.path.isdir(path) else [path]:
        try:
            total += os.lstat(place).st_size if not os.path.isdir(place) else 0
        except FileNotFoundError:
            continue
    return total
