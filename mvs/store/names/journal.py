"""The journal of each name: what happened to its refs, when, and by whom."""

import re
from collections.abc import Iterable, Iterator, Sequence

from mvs.backends.directory import Directory
from mvs.errors import Corrupt, UnsupportedFormat
from mvs.format.layout import CHANGED, EVENTS, JOURNAL
from mvs.format.lines.journal import MAGIC, Entry, Event, decode, decode_changes, encode_change, needle, was_whole
from mvs.store.names.places import strange


class Journal:
    """Events by name, oldest first. Appending is for whoever holds the lock of the store."""

    def __init__(self, disk: Directory) -> None:
        self._disk = disk

    def events(self, name: str, *, strict: bool = False) -> Iterator[Event]:
        """Yield what happened to the versions of a name, oldest first; damaged lines are passed over.

        Raises:
            Corrupt: a line is damaged that was once whole, and `strict`. What was cut off never happened.
        """
        for entry in self.entries(name, strict=strict):
            if isinstance(entry, Event):
                yield entry

    def entries(self, name: str, *, strict: bool = False) -> Iterator[Entry]:
        """Yield all that `events` does, and what happened to the aliases and the notes of the name.

        Raises:
            Corrupt: as `events`.
        """
        for number, line in enumerate(self._read(name, strict=strict).split(b"\n"), 1):
            if entry := decode(line):
                yield entry
            elif strict and was_whole(line):
                path = self._disk.path(_key(name))
                raise Corrupt(f"line {number} of '{path}' is damaged", hint="mvs fsck --repair")

    def names(self, *, strict: bool = False) -> Iterator[str]:
        """Yield every name that anything ever happened to, in no order.

        Raises:
            Corrupt: something else lies there that could be or hold a journal, and `strict`.
        """
        for key in self.strange() if strict else ():
            raise Corrupt(f"'{self._disk.path(key)}' is no journal, and may hide one", hint="mvs fsck --repair")
        pending = [""]
        while pending:
            prefix = pending.pop()
            for entry in self._disk.entries(f"{JOURNAL}/{prefix}"):
                if entry.name == EVENTS and prefix:
                    yield prefix[:-1]
                elif entry.is_dir(follow_symlinks=False):
                    pending.append(f"{prefix}{entry.name}/")

    def strange(self) -> Iterator[str]:
        """Yield what lies in the folder of the journals where one, or a folder of some, must be."""
        return strange(self._disk, JOURNAL, lambda _: True)

    def last_time(self, name: str) -> int:
        """Return the time of the newest event of a name in nanoseconds, 0 where there is none."""
        data = self._read(name)
        end = len(data)
        while end > 0:
            start = data.rfind(b"\n", 0, end) + 1
            if entry := decode(data[start:end]):
                return entry.at
            end = start - 1
        return 0

    def last_deletion(self, name: str, version: str) -> Event | None:
        """Return the newest event that deleted a version, None where it was never deleted."""
        return next((event for event in self.backwards(name, version) if event.event == "delete"), None)

    def backwards(self, name: str, version: str) -> Iterator[Event]:
        """Yield what happened to a version, newest first; damaged lines are passed over."""
        data = self._read(name)
        wanted = needle(version)
        end = len(data)
        while (found := data.rfind(wanted, 0, end)) >= 0:
            start = data.rfind(b"\n", 0, found) + 1
            stop = data.find(b"\n", found)
            event = Event.decode(data[start : stop if stop >= 0 else len(data)])
            if event and event.version == version:
                yield event
            end = start

    def append(self, name: str, entries: Sequence[Entry]) -> None:
        """Append what is about to happen under one name, durably."""
        there = self._read(name)  # refuses a journal of a later release
        self._disk.tell(CHANGED, encode_change(name, len(there)))
        data = b"".join(entry.encode() for entry in entries)
        self._disk.append(_key(name), data, start=MAGIC)

    def watch(self) -> None:
        """Have what is appended from now on remembered for `changes`. For whoever holds `packing`, under the lock."""
        self._disk.empty(CHANGED)

    def changes(self) -> list[tuple[str, Event]] | None:
        """Return what happened to versions since `watch`; None where that cannot be told. Under the lock.

        It costs what there is to tell, however many names the store has.
        """
        try:
            before = decode_changes(self._disk.read(CHANGED))
        except FileNotFoundError:
            return None
        if before is None:
            return None
        return [
            (name, event)
            for name, offset in before.items()
            for line in self._read(name)[offset:].split(b"\n")
            if (event := Event.decode(line))
        ]

    def unwatch(self) -> None:
        """End what `watch` began."""
        self._disk.discard(self._disk.path(CHANGED))

    def rewrite(self, name: str, lines: Iterable[bytes]) -> None:
        """Let a journal be these lines, whatever it was; what it was must be kept elsewhere."""
        self._disk.put(_key(name), MAGIC + b"".join(lines))

    def _read(self, name: str, *, strict: bool = False) -> bytes:
        key = _key(name)
        try:
            data = self._disk.read(key)
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
            if strict and not isinstance(error, FileNotFoundError):
                raise Corrupt(f"'{self._disk.path(key)}' is no journal", hint="mvs fsck --repair") from None
            return b""
        _check_head(data, self._disk.path(key))
        return data


def _check_head(data: bytes, path: str) -> None:
    later = re.match(rb"(mvs-journal [0-9]+)\n", data)
    if later and later[0] != MAGIC:
        raise UnsupportedFormat(f"'{path}' has the format '{later[1].decode()}', unknown to this release")


def _key(name: str) -> str:
    return f"{JOURNAL}/{name}/{EVENTS}"
