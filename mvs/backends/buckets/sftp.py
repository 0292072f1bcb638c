"""SFTP, version 3, over the system's `ssh`: one connection, the few requests that a bucket needs.

The protocol is draft-ietf-secsh-filexfer-02, its extensions are in PROTOCOL of OpenSSH. No library does it over the
system's ssh, whose configuration, keys and agents are what a user has set up.
"""

import contextlib
import os
import select
import stat
import struct
import subprocess
import tempfile
from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

from mvs.errors import RemoteFailed

_VERSION = 3
_INIT, _OPEN, _CLOSE, _READ, _WRITE, _OPENDIR, _READDIR = 1, 3, 4, 5, 6, 11, 12
_FSTAT, _REMOVE, _MKDIR, _STAT, _RENAME, _EXTENDED = 8, 13, 14, 17, 18, 200
_STATUS, _HANDLE, _DATA, _NAME, _ATTRS = 101, 102, 103, 104, 105
_OK, _EOF, NO_FILE, DENIED = 0, 1, 2, 3
_FOR_READING, _FOR_WRITING = 1, 2 | 8 | 32
_HAS_SIZE, _HAS_OWNER, _HAS_RIGHTS, _HAS_TIMES, _HAS_MORE = 1, 2, 4, 8, 1 << 31
_FSYNC, _REPLACE = b"fsync@openssh.com", b"posix-rename@openssh.com"
# What every server takes in one request, and how many may be unanswered: their answers fit into a pipe.
_BLOCK = 32 << 10
_WINDOW = 64
_LONGEST = 1 << 20


class Refused(Exception):
    """The server says no: a status, and a reason."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class Lost(Exception):
    """The connection is gone, or silent for too long; with what ssh said."""


class Entry(NamedTuple):
    """A name in a folder, its size, whether it is a folder, and when it was written, in seconds, if that is told."""

    name: str
    size: int
    is_folder: bool
    written: int | None


class Connection:
    """One `ssh` that runs; not for several threads at once."""

    def __init__(self, command: list[str], patience: float) -> None:
        """Run a command that speaks SFTP; it may be silent for `patience` seconds.

        Raises:
            Lost: it ended, or says nothing.
            RemoteFailed: it does not speak SFTP.
        """
        self._patience = patience
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 - `close` does
        self._buffer = bytearray()
        self._number = 0
        try:
            self._process = subprocess.Popen(  # noqa: S603 - made of parts that were looked at
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._said, bufsize=0
            )
        except OSError as error:
            self._said.close()
            raise RemoteFailed(f"cannot run '{command[0]}': {error.strerror}") from error
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._in, self._out = self._process.stdin.fileno(), self._process.stdout.fileno()
        os.set_blocking(self._in, False)
        try:
            self._write(struct.pack(">IBI", 5, _INIT, _VERSION))
            answer = _Reader(self._packet()[5:])
            self._extensions = set(answer.pairs())
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """End it."""
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            with contextlib.suppress(OSError):
                pipe.close()
        self._process.kill()
        self._process.wait()
        self._said.close()

    def read(self, path: str, start: int, length: int | None) -> bytes:
        """Return a run of a file, less of it at its end; all of it without a length."""
        handle = self._handle(_OPEN, _text(path) + struct.pack(">II", _FOR_READING, 0))
        try:
            if length is None:
                length = self._attrs(_Reader(self._ask(_FSTAT, handle, _ATTRS))).size - start
            parts: list[bytes] = []
            while length > 0:
                some = self._read_some(handle, start, min(length, _WINDOW * _BLOCK))
                if not some:
                    break
                parts.append(some)
                start, length = start + len(some), length - len(some)
            return b"".join(parts)
        finally:
            self._ask(_CLOSE, handle, _STATUS)

    def write(self, path: str, blocks: Iterator[bytes]) -> None:
        """Make a file, as durable as the server can."""
        handle = self._handle(_OPEN, _text(path) + struct.pack(">II", _FOR_WRITING, 0))
        waiting: deque[int] = deque()
        at = 0
        try:
            try:
                for block in blocks:
                    for begin in range(0, len(block), _BLOCK):
                        piece = block[begin : begin + _BLOCK]
                        waiting.append(self._send(_WRITE, handle + struct.pack(">Q", at) + _bytes(piece)))
                        at += len(piece)
                        if len(waiting) >= _WINDOW:
                            self._answer(waiting.popleft(), _STATUS)
            finally:
                self._answers(waiting)
            if _FSYNC in self._extensions:
                self._ask(_EXTENDED, _bytes(_FSYNC) + handle, _STATUS)
        finally:
            self._ask(_CLOSE, handle, _STATUS)

    def size(self, path: str) -> int:
        """Return the size of a file."""
        return self._attrs(_Reader(self._ask(_STAT, _text(path), _ATTRS))).size

    def rename(self, path: str, target: str) -> None:
        """Give a file a name that is free."""
        self._ask(_RENAME, _text(path) + _text(target), _STATUS)

    def replace(self, path: str, target: str) -> None:
        """Give a file a name, whoever has it."""
        if _REPLACE in self._extensions:
            self._ask(_EXTENDED, _bytes(_REPLACE) + _text(path) + _text(target), _STATUS)
            return
        with contextlib.suppress(Refused):
            self.remove(target)
        self.rename(path, target)

    def remove(self, path: str) -> None:
        """Remove a file."""
        self._ask(_REMOVE, _text(path), _STATUS)

    def make(self, path: str) -> None:
        """Make a folder."""
        self._ask(_MKDIR, _text(path) + struct.pack(">I", 0), _STATUS)

    def entries(self, path: str) -> Iterator[Entry]:
        """Yield what lies in a folder."""
        handle = self._handle(_OPENDIR, _text(path))
        try:
            while True:
                try:
                    answer = _Reader(self._ask(_READDIR, handle, _NAME))
                except Refused as refused:
                    if refused.status == _EOF:
                        return
                    raise
                for _ in range(answer.number()):
                    name = answer.data().decode("utf-8", "surrogateescape")
                    answer.data()
                    found = self._attrs(answer)
                    if name not in (".", ".."):
                        yield found._replace(name=name)
        finally:
            self._ask(_CLOSE, handle, _STATUS)

    def _read_some(self, handle: bytes, start: int, length: int) -> bytes:
        asked = [
            (self._send(_READ, handle + struct.pack(">QI", at, min(_BLOCK, start + length - at))), at)
            for at in range(start, start + length, _BLOCK)
        ]
        found = bytearray()
        waiting = deque(number for number, _ in asked)
        try:
            for number, at in asked:
                waiting.popleft()
                data = _Reader(self._answer(number, _DATA)).data()
                # A server may send less than it was asked for; what comes behind the gap is asked for again.
                if at == start + len(found):
                    found += data
        except Refused as refused:
            if refused.status != _EOF:
                raise
        finally:
            self._answers(waiting)
        return bytes(found)

    def _answers(self, waiting: deque[int]) -> None:
        """Take the answers that are still to come, after a refusal too; the first refusal among them counts."""
        refusals: list[Refused] = []
        while waiting:
            try:
                self._answer(waiting.popleft(), None)
            except Refused as refused:
                refusals.append(refused)
        if refusals and refusals[0].status != _EOF:
            raise refusals[0]

    def _handle(self, kind: int, body: bytes) -> bytes:
        return _bytes(_Reader(self._ask(kind, body, _HANDLE)).data())

    def _attrs(self, answer: "_Reader") -> Entry:
        flags = answer.number()
        size = answer.long() if flags & _HAS_SIZE else 0
        if flags & _HAS_OWNER:
            answer.long()
        rights = answer.number() if flags & _HAS_RIGHTS else 0
        written = None
        if flags & _HAS_TIMES:
            # When it was read is told first.
            answer.number()
            written = answer.number()
        if flags & _HAS_MORE:
            for _ in range(2 * answer.number()):
                answer.data()
        return Entry("", size, stat.S_ISDIR(rights), written)

    def _ask(self, kind: int, body: bytes, expected: int) -> bytes:
        return self._answer(self._send(kind, body), expected)

    def _send(self, kind: int, body: bytes) -> int:
        self._number += 1
        self._write(struct.pack(">IBI", len(body) + 5, kind, self._number) + body)
        return self._number

    def _answer(self, number: int, expected: int | None) -> bytes:
        """Return the body of the next answer, which is to a request: servers answer in order."""
        packet = self._packet()
        kind, to = packet[0], int.from_bytes(packet[1:5], "big")
        body = packet[5:]
        if to != number:
            raise Lost("the server answers what it was not asked")
        if kind == _STATUS:
            answer = _Reader(body)
            status = answer.number()
            if status != _OK:
                raise Refused(status, answer.data().decode("utf-8", "replace") if answer.left else f"status {status}")
        if expected is not None and kind != expected:
            raise Lost("the server answers with something else")
        return body

    def _packet(self) -> bytes:
        size = int.from_bytes(self._bytes(4), "big")
        if not 5 <= size <= _LONGEST:
            raise Lost("what answers does not speak SFTP")
        return self._bytes(size)

    def _bytes(self, size: int) -> bytes:
        while len(self._buffer) < size:
            if not select.select([self._out], [], [], self._patience)[0]:
                raise Lost("no answer in time")
            data = os.read(self._out, 1 << 18)
            if not data:
                raise Lost(self._last_words())
            self._buffer += data
        found = bytes(self._buffer[:size])
        del self._buffer[:size]
        return found

    def _write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            if not select.select([], [self._in], [], self._patience)[1]:
                raise Lost("no answer in time")
            try:
                view = view[os.write(self._in, view) :]
            except BrokenPipeError:
                # It has ended; what it said before is read next.
                return

    def _last_words(self) -> str:
        """Return the last line of what ssh had to say."""
        self._process.wait()
        self._said.seek(0)
        lines = self._said.read().decode("utf-8", "replace").strip().splitlines()
        return lines[-1].strip() if lines else "the connection broke"


class _Reader:
    """The values of a packet, one after the other."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def left(self) -> int:
        return len(self._data) - self._at

    def number(self) -> int:
        return int.from_bytes(self._take(4), "big")

    def long(self) -> int:
        return int.from_bytes(self._take(8), "big")

    def data(self) -> bytes:
        return self._take(self.number())

    def pairs(self) -> Iterator[bytes]:
        while self.left:
            name = self.data()
            self.data()
            yield name

    def _take(self, size: int) -> bytes:
        if size > self.left:
            raise Lost("the server's answer is cut off")
        self._at += size
        return self._data[self._at - size : self._at]


def _bytes(data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + data


def _text(path: str) -> bytes:
    return _bytes(path.encode("utf-8", "surrogateescape"))
