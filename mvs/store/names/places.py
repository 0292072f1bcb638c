"""Where refs and journals lie: folders by name, files that begin with an @; and what lies there that may hide some."""

import os
from collections.abc import Callable, Iterator

from mvs.backends.directory import Directory
from mvs.errors import InvalidTag
from mvs.format.names import parse_name


def strange(disk: Directory, top: str, is_leaf: Callable[[str], bool]) -> Iterator[str]:
    """Yield what lies in or above a folder of names where a folder or a file of theirs must be; no link is followed.

    `is_leaf` tells what may follow the @ of a file.
    """
    parts = top.split("/")
    for key in ("/".join(parts[:depth]) for depth in range(1, len(parts) + 1)):
        path = disk.path(key)
        if os.path.islink(path) or (os.path.lexists(path) and not os.path.isdir(path)):
            yield key
            return
    pending = [""]
    while pending:
        prefix = pending.pop()
        for entry in disk.entries(f"{top}/{prefix}"):
            if entry.is_symlink():
                fits = False
            elif entry.name.startswith("@"):
                fits = is_leaf(entry.name[1:])
            elif entry.is_dir(follow_symlinks=False):
                fits = is_name(prefix + entry.name)
                if fits:
                    pending.append(f"{prefix}{entry.name}/")
            else:
                # A file where the folder of a name may have been; others are somebody's.
                fits = not is_name(prefix + entry.name)
            if not fits:
                yield f"{top}/{prefix}{entry.name}"


def is_name(text: str) -> bool:
    """Tell whether a text is a name as it is stored."""
    try:
        return parse_name(text) == text
    except InvalidTag:
        return False
