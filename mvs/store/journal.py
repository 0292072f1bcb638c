"""The journal of each name: what happened to its refs, when, and by whom."""

import os
import re
from collections.abc import Iterator

from mvs.backends.directory import Directory
from mvs.errors import UnsupportedFormat
from mvs.format.journal import MAGIC, Event, needle
from mvs.format.layout import EVENTS, JOURNAL

# Several lines of the longest possible event; more is read when they are damaged.
_TAIL = 4096
# The first line, whatever number a later release puts there.
_HEAD = 40


class Journal:
    """Events by name, oldest first. Appending is for whoever holds the lock of the store."""

    def __init__(self, disk: Directory) -> None:
        self._disk = disk

    def events(self, name: str) -> Iterator[Event]:
        """Yield the events of a name, oldest first; damaged lines are passed over."""
        for line in self._read(name).split(b"\n")[1:]:
            if line and (event := Event.decode(line)):
                yield event

    def last_time(self, name: str) -> int:
        """Return the time of the newest event of a name in nanoseconds, 0 where there is none."""
        path = self._disk.path(_key(name))
        try:
            with open(path, "rb") as file:
                _check_head(file.read(_HEAD), path)
                size = os.fstat(file.fileno()).st_size
                file.seek(max(0, size - _TAIL))
                tail = file.read()
        except (FileNotFoundError, NotADirectoryError):
            return 0
        for line in reversed(tail.split(b"\n")):
            if line and (event := Event.decode(line)):
                return event.at
        return max((event.at for event in self.events(name)), default=0)

    def last_deletion(self, name: str, version: str) -> Event | None:
        """Return the newest event that deleted a version, None where it was never deleted."""
        data = self._read(name)
        wanted = needle(version)
        end = len(data)
        while (found := data.rfind(wanted, 0, end)) >= 0:
            start = data.rfind(b"\n", 0, found) + 1
            event = Event.decode(data[start : found + len(wanted) - 1])
            if event and event.event == "delete":
                return event
            end = start
        return None

    def append(self, name: str, events: list[Event]) -> None:
        """Append events of one name, durably."""
        self.last_time(name)  # refuses a journal of a later release
        data = b"".join(event.encode() for event in events)
        self._disk.append(_key(name), data, start=MAGIC)

    def _read(self, name: str) -> bytes:
        key = _key(name)
        try:
            data = self._disk.read(key)
        except (FileNotFoundError, NotADirectoryError):
            return b""
        _check_head(data, self._disk.path(key))
        return data


def _check_head(data: bytes, path: str) -> None:
    later = re.match(rb"(mvs-journal [0-9]+)\n", data)
    if later and later[0] != MAGIC:
        raise UnsupportedFormat(f"'{path}' has the format '{later[1].decode()}', unknown to this release")


def _key(name: str) -> str:
    return f"{JOURNAL}/{name}/{EVENTS}"
