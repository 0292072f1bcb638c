"""A folder of another machine as a bucket, through the system's `ssh`: the same files as a folder of this one."""

import contextlib
import os
import re
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import TypeVar

from mvs.backends.buckets.bucket import UPLOADS, Advance, Found
from mvs.backends.buckets.sftp import DENIED, NO_FILE, Connection, Lost, Refused
from mvs.errors import InvalidConfig, RemoteDenied, RemoteFailed, command

Result = TypeVar("Result")

# What a shell, or ssh, could take for something else is no name.
_URL = re.compile(
    r"ssh://(?:(?P<user>\w[\w.+-]*)@)?(?P<host>\w[\w.-]*|\[[\da-fA-F:]+\])(?::(?P<port>\d+))?/(?P<path>.+)"
)
_BLOCK = 4 << 20
# Seconds to wait before each further attempt.
PAUSES = (0.2, 1.0, 3.0)
_NO_WAY = ("Permission denied", "Host key verification failed", "Too many authentication failures")


class SshBucket:
    """A folder; keys are paths in it. Each thread that asks has a connection of its own, kept for the next one."""

    def __init__(self, url: str, *, patience: float) -> None:
        """Prepare to talk to `ssh://[user@]host[:port]/path`; nothing is sent yet. `/~/` is the user's home.

        A connection that is silent for `patience` seconds is given up and made anew.

        Raises:
            InvalidConfig: the URL is not of this form.
        """
        found = _URL.fullmatch(url)
        if not found:
            raise InvalidConfig(f"'{url}' is not of the form ssh://[user@]host[:port]/path")
        self.url = url
        self._patience = patience
        self.root = found["path"].removeprefix("~/") if found["path"].startswith("~/") else f"/{found['path']}"
        self.root = self.root.rstrip("/")
        host = found["host"].strip("[]")
        where = ["-p", found["port"]] if found["port"] else []
        where += ["-l", found["user"]] if found["user"] else []
        self.command = ["ssh", "-oBatchMode=yes", "-oConnectTimeout=10", *where, "-s", "--", host, "sftp"]
        # It also asks what it does not ask here: for a host that is not known yet, and for passwords.
        self._hint = command("ssh", *where, host, "true")
        self._idle: list[Connection] = []
        self._end = weakref.finalize(self, _close, self._idle)

    def read(self, key: str) -> bytes:
        """Return the value of a key."""
        return self._do(key, lambda far: far.read(self._path(key), 0, None))

    def read_range(self, key: str, start: int, length: int) -> bytes:
        """Return a run of the value of a key; less of it at its end."""
        return self._do(key, lambda far: far.read(self._path(key), start, length))

    def size(self, key: str) -> int | None:
        """Return the size of the value of a key, None where it has none."""
        try:
            return self._do(key, lambda far: far.size(self._path(key)))
        except FileNotFoundError:
            return None

    def create(self, key: str, data: bytes) -> bool:
        """Give a key its value unless it has one; tell whether it had none, or has this value already."""
        return self._send(key, lambda: iter([data])) or self.read(key) == data

    def write(self, key: str, data: bytes) -> None:
        """Give a key a value, whatever it had."""
        self._send(key, lambda: iter([data]), replace=True)

    def upload(self, key: str, path: str, advance: Advance, *, parts: int = 1) -> None:
        """Send a file; the key has a value when all of it is there."""
        told = 0

        def blocks() -> Iterator[bytes]:
            nonlocal told
            advance(-told)
            told = 0
            with open(path, "rb", buffering=0) as file:
                while block := file.read(_BLOCK):
                    yield block
                    advance(len(block))
                    told += len(block)

        self._send(key, blocks)

    def keys(self, prefix: str) -> Iterator[Found]:
        """Yield the keys that begin with a prefix that ends with `/`, in no order."""
        try:
            entries = self._do(prefix, lambda far: list(far.entries(self._path(prefix.rstrip("/")))))
        except FileNotFoundError:
            return
        for entry in entries:
            if entry.is_folder:
                yield from self.keys(f"{prefix}{entry.name}/")
            else:
                yield Found(f"{prefix}{entry.name}", entry.size, entry.written)

    def remove(self, keys: Iterable[str]) -> None:
        """Remove keys; one that has no value is passed over."""
        for key in keys:
            with contextlib.suppress(FileNotFoundError):
                self._do(key, partial(Connection.remove, path=self._path(key)))

    def _connection(self) -> Connection:
        try:
            return self._idle.pop()
        except IndexError:
            return Connection(self.command, self._patience)

    def _path(self, key: str) -> str:
        return f"{self.root}/{key}"

    def _send(self, key: str, blocks: Callable[[], Iterator[bytes]], *, replace: bool = False) -> bool:
        """Write a file under a key; tell whether the key was free, where it had to be."""
        try:
            return self._do(key, lambda far: self._put(far, key, blocks, far.replace if replace else far.rename))
        except FileNotFoundError as error:
            raise RemoteFailed(f"'{self.url}': the folder cannot be made", hint=self._hint) from error

    def _put(
        self, far: Connection, key: str, blocks: Callable[[], Iterator[bytes]], name: Callable[[str, str], None]
    ) -> bool:
        """Write a file beside, and give it its name."""
        temp = self._path(f"{UPLOADS}/{os.urandom(8).hex()}.tmp")
        self._making(far, UPLOADS, lambda: far.write(temp, blocks()))
        try:
            self._making(far, os.path.dirname(key), lambda: name(temp, self._path(key)))
        except Refused as refused:
            far.remove(temp)
            # The protocol has no word for "it is there".
            try:
                far.size(self._path(key))
            except Refused:
                raise refused from None
            return False
        return True

    def _making(self, far: Connection, folder: str, act: Callable[[], object]) -> None:
        """Do something in a folder, which is made where it is missing."""
        try:
            act()
        except Refused as refused:
            if refused.status != NO_FILE:
                raise
            parts = self._path(folder).split("/")
            for depth in range(1, len(parts) + 1):
                if path := "/".join(parts[:depth]):
                    with contextlib.suppress(Refused):
                        far.make(path)
            act()

    def _do(self, key: str, act: Callable[[Connection], Result]) -> Result:
        """Do something on a connection, and on a new one when that is lost."""
        place = f"{self.url}/{key}".rstrip("/")
        for pause in (*PAUSES, None):
            far = None
            try:
                far = self._connection()
                done = act(far)
            except Lost as lost:
                if far:
                    far.close()
                if any(word in str(lost) for word in _NO_WAY):
                    raise RemoteDenied(f"'{place}': {lost}", hint=self._hint) from lost
                if pause is None:
                    tries = len(PAUSES) + 1
                    raise RemoteFailed(f"'{place}': {lost}; tried {tries} times", hint=self._hint) from lost
                threading.Event().wait(pause)
            except Refused as refused:
                assert far is not None
                self._idle.append(far)
                if refused.status == NO_FILE:
                    raise FileNotFoundError(place) from refused
                kind = RemoteDenied if refused.status == DENIED else RemoteFailed
                raise kind(f"'{place}': the server says: {refused}", hint=self._hint) from refused
            except BaseException:
                # In the middle of something.
                if far:
                    far.close()
                raise
            else:
                self._idle.append(far)
                return done
        raise AssertionError


def _close(idle: list[Connection]) -> None:
    while idle:
        idle.pop().close()
