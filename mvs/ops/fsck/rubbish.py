"""What nobody needs and gc removes: facts, not findings."""

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
            temporary += Amount(1, _size(disk, f"{STAGING}/{entry.name}"))
        elif _SESSION.match(entry.name) and entry.is_dir(follow_symlinks=False) and is_free(f"{entry.path}/{LOCK}"):
            sessions += Amount(1, _size(disk, f"{STAGING}/{entry.name}"))
    for entry in disk.entries(TRASH):
        trash += Amount(1, _size(disk, f"{TRASH}/{entry.name}"))
    return {"sessions": sessions, "temporary": temporary, "trash": trash}


def _size(disk: Directory, key: str) -> int:
    """Return the bytes of a file, or of all files in a folder; of what goes meanwhile, none."""
    return (disk.size(key) or 0) + sum(found.st_size for found in disk.below(key))
