"""What a process did to files, from the log of strace: every call, also those that C libraries make."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

# What changes a file system, or makes a change durable.
CHANGING = (
    *("chmod", "copy_file_range", "creat", "fallocate", "fchmod", "fchmodat", "fdatasync", "fsync", "ftruncate"),
    *("link", "linkat", "mkdir", "mkdirat", "pwrite64", "pwritev", "rename", "renameat", "renameat2", "rmdir"),
    *("symlink", "symlinkat", "sync_file_range", "truncate", "unlink", "unlinkat", "write", "writev"),
)
_LINE = re.compile(r"(?:(?P<pid>\d+) +)?(?:<\.\.\. (?P<resumed>\w+) resumed>|(?P<name>\w+)\()(?P<rest>.*)\Z")


class Call(NamedTuple):
    """One call: by which thread, which one of this name by that thread, and all of its text."""

    thread: int
    name: str
    number: int
    text: str


def calls(log: Path) -> Iterator[Call]:
    """Yield the calls in a log in the order in which they were made."""
    counts: dict[tuple[int, str], int] = {}
    for line in log.read_text().splitlines():
        found = _LINE.match(line)
        if found and found["name"]:
            thread = int(found["pid"] or 0)
            number = counts[thread, found["name"]] = counts.get((thread, found["name"]), 0) + 1
            yield Call(thread, found["name"], number, found["rest"])
