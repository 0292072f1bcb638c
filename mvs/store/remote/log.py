"""The log of a remote: read once and kept for ever, written one entry at a time."""

import contextlib
import os
from collections.abc import Callable, Iterator

from mvs.backends.buckets import Bucket
from mvs.backends.directory import Directory
from mvs.errors import CorruptRemote, MvsError, RemoteChanged, RemoteFailed
from mvs.format.ids import ObjectId
from mvs.format.layout import CACHE
from mvs.format.remote import (
    FORMAT_KEY,
    MERGED,
    TIP_KEY,
    Entry,
    entry_key,
    format_line,
    id_of,
    is_single_writer,
    run_key,
    split,
)
from mvs.store.remote.state import State

# So often may others be quicker with the next entry before it is given up.
_PATIENCE = 1000
_STATE = "state"


def last_seen(disk: Directory, key: str) -> State:
    """Return what a remote had when it was last looked at; it is not asked."""
    try:
        return State.decode(disk.read(f"{_folder(key)}/{_STATE}")) or State()
    except OSError:
        return State()


class Log:
    """The history of one remote. What was read is kept in the cache of the store, under `key`."""

    def __init__(self, bucket: Bucket, disk: Directory, key: str) -> None:
        self._bucket = bucket
        self._disk = disk
        self._key = key
        self._folder = _folder(key)

    def exists(self) -> bool:
        """Tell whether there is a remote.

        Raises:
            CorruptRemote: there is something else.
            UnsupportedFormat: a later release made it.
            RemoteFailed: it cannot be reached.
        """
        try:
            is_single_writer(self._bucket.read(FORMAT_KEY))
        except FileNotFoundError:
            return False
        return True

    def begin(self, *, single_writer: bool) -> None:
        """Make an empty remote, unless there is one.

        Raises:
            RemoteFailed: it cannot be written to.
        """
        self._bucket.create(FORMAT_KEY, format_line(single_writer=single_writer))

    def state(self) -> State:
        """Return what the remote has, by its log so far.

        Raises:
            RemoteFailed: it cannot be reached, or is not there.
            RemoteChanged: it is not the one that was seen before.
            CorruptRemote: its log is damaged.
            UnsupportedFormat: a later release wrote it.
        """
        state = self._kept()
        began, last = state.number, state.last
        if began:
            self._check(began, last)
        elif not self.exists():
            raise _nowhere()
        else:
            for data in self._runs(0, self.tip()):
                state.apply(data)
        while (next_one := self._read(entry_key(state.number + 1))) is not None:
            state.apply(next_one)
            self._keep(entry_key(state.number), next_one)
        if state.number > began:
            self._keep(_STATE, state.encode())
        return state

    def commit(self, make: Callable[[State], Entry | None]) -> State:
        """Append the entry that `make` returns for the state of the remote, which others may change until it stands.

        `make` is called again for each of those, and may raise. None is no entry.

        Raises:
            RemoteFailed: the remote cannot be reached, or written to.
        """
        for _ in range(_PATIENCE):
            state = self.state()
            entry = make(state)
            if entry is None:
                return state
            data = entry.encode()
            state.apply(data)
            key = entry_key(entry.number)
            # An answer may have been lost on its way: then the entry that is there is ours.
            if self._bucket.create(key, data) or self._stands(key, data):
                self._keep(key, data)
                self._keep(_STATE, state.encode())
                self._merge(entry.number)
                return state
        raise RemoteFailed("others write to the remote without pause; try again")

    def manifest(self, tag: str, state: State) -> bytes:
        """Return the bytes of the manifest of a version that a state has."""
        known = state.versions[tag]
        for sent in self.entry(known.number).versions:
            if ObjectId.of(sent.manifest) == known.id:
                return sent.manifest
        raise CorruptRemote(f"entry {known.number} of the remote's log is another one than before")

    def entry(self, number: int) -> Entry:
        """Return an entry that there is.

        Raises:
            CorruptRemote: it is gone, or damaged.
        """
        data = self._read(entry_key(number))
        if data is None:
            # It is in the cache in a run of entries, or nowhere.
            data = next(iter(self._runs(number - 1, number)), None)
        if data is None:
            raise CorruptRemote(f"entry {number} of the remote's log is gone")
        return Entry.decode(data)

    def manifests(self, state: State) -> Iterator[bytes]:
        """Yield the bytes of the manifests of all versions that a state has."""
        wanted = {known.id for known in state.versions.values()}
        for data in self._runs(0, state.number):
            for sent in Entry.decode(data).versions:
                if ObjectId.of(sent.manifest) in wanted:
                    yield sent.manifest

    def since(self, number: int, last: int) -> Iterator[bytes]:
        """Yield the bytes of the entries after `number`, up to the last one or one that is not there."""
        return self._runs(number, last)

    def _kept(self) -> State:
        return last_seen(self._disk, self._key)

    def _keep(self, key: str, data: bytes) -> None:
        self._disk.cache(f"{self._folder}/{key}", data)

    def _read(self, key: str) -> bytes | None:
        """Return a part of the log, from the cache where it is there."""
        with contextlib.suppress(OSError):
            return self._disk.read(f"{self._folder}/{key}")
        try:
            return self._bucket.read(key)
        except FileNotFoundError:
            return None

    def _stands(self, key: str, data: bytes) -> bool:
        try:
            return self._bucket.read(key) == data
        except FileNotFoundError:
            # Whoever was creating it failed.
            return False

    def _check(self, number: int, id: ObjectId) -> None:
        """Make sure that the last entry that was seen before is still there."""
        try:
            data = self._bucket.read(entry_key(number))
        except FileNotFoundError:
            if not self.exists():
                raise _nowhere() from None
            data = b""
        if id_of(data) != id:
            raise RemoteChanged(
                f"the remote's history was changed: entry {number} is not the one that was there before; "
                "if that was on purpose, remove the remote and add it again"
            )

    def tip(self) -> int:
        """Return the number of an entry that there is, by what was written when it was; 0 where that is not known."""
        try:
            text = self._bucket.read(TIP_KEY)[:20].decode("ascii", "replace").strip()
        except FileNotFoundError:
            return 0
        return int(text) if text.isdigit() else 0

    def _runs(self, number: int, last: int) -> Iterator[bytes]:
        """Yield the entries after `number` up to the last one, or up to one that is not there."""
        while number < last:
            length = 1
            while number % (length * MERGED) == 0 and number + length * MERGED <= last:
                length *= MERGED
            found = None
            while found is None and length:
                found = self._run(number + 1, number + length)
                length //= MERGED
            if found is None:
                return
            yield from found
            number += len(found)

    def _run(self, first: int, last: int) -> list[bytes] | None:
        key = run_key(first, last)
        data = self._read(key)
        if data is None:
            return None
        with contextlib.suppress(MvsError):
            found = split(data)
            if [Entry.decode(one).number for one in found] == list(range(first, last + 1)):
                self._keep(key, data)
                return found
        return None

    def _merge(self, number: int) -> None:
        """Write the runs that end with an entry, and where to begin; all of it can be done without."""
        length = MERGED
        with contextlib.suppress(MvsError, OSError):
            while number % length == 0:
                first = number - length + 1
                data = b"".join(self._runs(first - 1, number))
                self._bucket.write(run_key(first, number), data)
                length *= MERGED
            if length > MERGED or number == 1:
                self._bucket.write(TIP_KEY, str(number).encode())


def probe(bucket: Bucket) -> bool:
    """Tell whether a second writer to create a key is refused; writes and removes a key.

    Raises:
        RemoteFailed: nothing can be written there.
    """
    key = f"probes/{os.urandom(8).hex()}"
    first, second = os.urandom(8), os.urandom(8)
    try:
        bucket.create(key, first)
        return not bucket.create(key, second) and bucket.read(key) == first
    finally:
        with contextlib.suppress(MvsError, OSError):
            bucket.remove([key])


def _nowhere() -> RemoteFailed:
    return RemoteFailed("there is no remote at that place: it has no 'format'", hint="mvs remote list")


def _folder(key: str) -> str:
    return f"{CACHE}/remotes/{key}"
