"""A store that is a remote: its names are copied here, its files are fetched as they are read.

What is to happen to a name is made an entry of the remote's log first, and only then happens here. So a change that
cannot be sent has happened nowhere, and one that was cut off behind its entry is replayed from the log.
"""

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from mvs.backends.directory import Directory
from mvs.backends.locks import exclusive
from mvs.errors import (
    Conflict,
    CorruptRemote,
    InvalidInput,
    RemoteChanged,
    StorageFailed,
    StoreBusy,
    command,
)
from mvs.format.ids import ObjectId
from mvs.format.layout import JOURNAL, STAGING, TAGS, TAKEN, WORKING
from mvs.format.lines.journal import Entry as Line
from mvs.format.lines.journal import Event
from mvs.format.lines.refs import Ref
from mvs.format.manifest import Manifest
from mvs.format.remote import Entry, PackPlace, Taken, id_of
from mvs.ops import dedup
from mvs.ops.transfer.holdings import Holdings, Whole, closure
from mvs.ops.transfer.pull import coming
from mvs.ops.transfer.push import Sender, plan_push
from mvs.ops.transfer.receiving import REQUESTS, receive
from mvs.ops.transfer.step import Step
from mvs.running.progress import Progress
from mvs.store.cache.evicting import evict
from mvs.store.cache.sketches import Sketches
from mvs.store.names.journal import Journal
from mvs.store.objects import Objects
from mvs.store.remote.reaching import ReachingPacks
from mvs.store.remote.remote import Remote
from mvs.store.remote.replaying import replay
from mvs.store.remote.state import State
from mvs.store.store import Store

# Seconds. Whoever changes a repository may send for hours, and the next one waits for that.
_SENDING = 24 * 3600.0
# So many versions are kept in mind, in whose packs is looked first for what is not here.
_SIGHTED = 64


class Working(Store):
    """A store whose truth is a remote. Opening it asks nothing."""

    def __init__(
        self,
        path: Path,
        remote: Remote,
        *,
        durable: bool,
        view_bytes: int,
        most: int,
        progress: Callable[[], Progress],
    ) -> None:
        """Copy names of `remote` to `path`, and keep at most so many bytes of its files there."""
        super().__init__(path, durable=durable, view_bytes=view_bytes)
        self._remote = remote
        self._most = most
        self._progress = progress
        self._here = _Here(path, durable=durable)
        self._state = remote.last_seen()
        # The one that was looked at last comes first.
        self._sighted: list[str] = []
        self._lock = threading.Lock()
        self.objects = Objects(self._disk, ReachingPacks(self._disk, remote.packs, self._groups))
        self.sketches = Sketches(self._disk, self.objects, far=True)
        self.journal = _Sent(self._disk, self._send, self._here.next_time)
        # Of the change under way: what it holds, and how far it has come.
        self._held, self._is_held = ExitStack(), False
        self._reached: Taken | None = None
        self._overtaken: set[str] = set()

    @staticmethod
    def begin(path: Path) -> None:
        """Let the empty store at `path` be the copy of one that is elsewhere, unless it is that already.

        Raises:
            Conflict: it has versions of its own.
        """
        disk = Directory(str(path), durable=True, temps=STAGING)
        if disk.size(TAKEN) is not None:
            return
        if any(disk.entries(JOURNAL)) or any(disk.entries(TAGS)):
            raise Conflict(
                f"'{path}' has versions of its own, so it cannot be the copy of a store that is elsewhere",
                hint="mvs config set store.remote ''",
            )
        disk.put(TAKEN, Taken().encode())

    def look(self) -> None:
        """Bring the names here up to date.

        Raises:
            RemoteFailed: the remote cannot be reached.
            RemoteChanged: it is another one than before.
            CorruptRemote: its log is damaged.
        """
        # Before the log: a clone that nobody has made a repository asks nobody, and a log only grows.
        taken = self._taken()
        state = self._remote.log.state()
        if state.number < taken.number:
            raise _changed(taken.number)
        if taken != (state.number, state.last):
            with self._here.exclusive():
                self._take(state)
        self._state = state

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Be the only one who changes names here, those of now.

        Raises:
            RemoteFailed, RemoteChanged, CorruptRemote: as `look`.
            UnsupportedFormat, StoreBusy: as any store.
        """
        self._check_writable()
        with exclusive(self._disk.path(WORKING), patience=_SENDING), ExitStack() as held:
            self.look()
            self._held, self._is_held, self._reached, self._overtaken = held, False, None, set()
            yield
            for name in self._overtaken:
                # What is saved is not the latest where others have saved meanwhile.
                self._here.refs.settle(name)
            self._note_reached()
            with suppress(StorageFailed), self.packing():
                self._evict(0)

    def bring(self, ids: Iterable[ObjectId]) -> None:
        """Fetch objects that are to be read whole, and make room for them; several requests at once.

        While somebody else makes packs, or where there is no room, nothing is fetched: they are then as they are read.

        Raises:
            CorruptRemote: what came is not what it is named after.
            RemoteFailed: the remote cannot be reached.
        """
        here = Whole(self._here.objects)
        wanted = [id for id in ids if id not in here]
        here.touch(self._disk)
        if not wanted:
            return
        with suppress(StorageFailed), self.packing():
            for group in self._groups():
                places = {place.name: place for place in group}
                there = Holdings(self._remote.packs.indexes(group))
                found, missing = closure(wanted, there.find, Whole(self._here.objects))
                if missing:
                    continue
                packs = coming(self._remote, places, found)
                with suppress(StoreBusy), exclusive(self._disk.path(WORKING), patience=0):
                    # Nobody has added anything that is not sent.
                    size = sum(record.length for _, records, _ in packs for record in records)
                    if self._evict(size):
                        found, missing = closure(wanted, there.find, Whole(self._here.objects))
                        packs = coming(self._remote, places, found)
                with self._here.session() as session:
                    arrivals, _ = receive(self._here, self._remote, packs, session.path, self._progress(), REQUESTS)
                    self._here.accept(arrivals, session.path)
                    self._here.arriving.clear()
                for packed in (self._here.objects.packs, self.objects.packs):
                    packed.forget()
                return

    def _evict(self, wanted: int) -> int:
        """Make room; for whoever holds `working` and `packing`. Return the bytes that went."""

        def elsewhere() -> set[ObjectId]:
            indexes = self._remote.packs.indexes(self._state.packs.values())
            return {id for index in indexes.values() for id in index.records}

        return evict(self._disk, self._here.objects, self._most, wanted, elsewhere)

    def check_kept_here(self, verb: str) -> None:
        """Refuse a verb that is about the files of the store.

        Raises:
            InvalidInput: always.
        """
        name = self._remote.name
        hints = {"gc": ("gc", "--remote", name), "fsck": ("fsck", "--remote", name)}
        raise InvalidInput(
            f"the store of this repository is at '{self._remote.address.url}', and {verb} is for one that is here",
            hint=command("mvs", *hints.get(verb, ("remote", "show", name))),
        )

    def manifest(self, ref: Ref) -> Manifest:
        """Return what any store does; what the version needs is looked for in its own packs first from then on."""
        with self._lock:
            self._sighted = [str(ref.tag), *(tag for tag in self._sighted if tag != str(ref.tag))][:_SIGHTED]
        return super().manifest(ref)

    def _groups(self) -> Iterator[Sequence[PackPlace]]:
        state = self._state
        for tag in self._sighted:
            if known := state.versions.get(tag):
                yield [state.packs[name] for name in known.packs]
        yield list(state.packs.values())

    def _taken(self) -> Taken:
        try:
            return Taken.decode(self._disk.read(TAKEN))
        except FileNotFoundError:
            raise CorruptRemote(
                f"'{self._disk.path(TAKEN)}' is not there, so nobody knows how far the log of the store was taken",
                hint="mvs init",
            ) from None

    def _take(self, state: State) -> None:
        """Replay what happened up to a state. Cut off anywhere, the entry that was under way is replayed again."""
        taken = self._taken()
        for data in self._remote.log.since(taken.number, state.number):
            entry = Entry.decode(data)
            if entry.previous != taken.last:
                raise _changed(taken.number)
            replay(self._here, entry)
            taken = Taken(entry.number, id_of(data))
            self._disk.put(TAKEN, taken.encode())
        if taken.number < state.number:
            raise CorruptRemote(f"entry {taken.number + 1} of the store's log is gone")
        if taken.number == state.number and taken.last != state.last:
            raise _changed(taken.number)

    def _note_reached(self) -> None:
        if self._reached:
            self._disk.put(TAKEN, self._reached.encode())
            self._reached = None

    def _send(self, name: str, lines: Sequence[Line]) -> None:
        """Let the remote have what is about to happen under a name; from then on names may be changed here.

        Raises:
            TagExists, AliasMoved, VersionNotFound: somebody else was quicker.
            RemoteFailed: it cannot be reached.
        """
        step = Step.of(self._here, name, lines)
        if step.is_empty:
            return
        sender = Sender(self._here, self._remote, self._progress(), None, REQUESTS, frozenset())
        if step.saved:
            # Packs may have come since it was opened.
            self._here.objects.packs.forget()
            packing = plan_push(self._here, self._remote, step.saved, self._state, progress=self._progress()).packing
            if packing:
                dedup.run(self._here, packing, progress=self._progress(), keep_loose=True)
            # While others read names; below there is nothing left to be sent.
            sender.send(self._state, step.saved)
        if not self._is_held:
            self._held.enter_context(self._here.exclusive())
            self._is_held = True
        # What was sent before in this change has happened here by now.
        self._note_reached()
        made: list[Entry] = []

        def make(state: State) -> Entry | None:
            if state.number > self._taken().number:
                # Somebody else was quicker: that happens here first, too.
                self._take(state)
                self._overtaken.add(name)
            made[:] = step.entries(self._remote, state, sender)
            return made[0] if made else None

        self._state = self._remote.log.commit(make)
        if made:
            self._reached = Taken(self._state.number, self._state.last)


def _changed(number: int) -> RemoteChanged:
    return RemoteChanged(f"entry {number} of the store's log is not the one that was there before")


class _Here(Store):
    """What is here of a store that is elsewhere: changed under `lock` as others are, and patient."""

    _packing_patience = _SENDING


class _Sent(Journal):
    """A journal whose lines are sent before they are written."""

    def __init__(
        self,
        disk: Directory,
        send: Callable[[str, Sequence[Line]], None],
        next_time: Callable[[str, int], int],
    ) -> None:
        super().__init__(disk)
        self._send = send
        self._next_time = next_time

    def append(self, name: str, entries: Sequence[Line]) -> None:
        """Append what is about to happen under one name, which the remote has by then."""
        self._send(name, entries)
        at = self._next_time(name, entries[0].at)
        later = at - entries[0].at
        # As in any other repository, where what others did meanwhile comes before it.
        super().append(name, [_at(line, line.at + later) for line in entries] if later else entries)


def _at(line: Line, at: int) -> Line:
    return replace(line, at=at) if isinstance(line, Event) else line._replace(at=at)
