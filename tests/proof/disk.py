"""A disk that loses its power: what may be left of a recorded run of calls, by what was not fsynced.

The rules are those of POSIX and no kinder (ALICE, Pillai et al., OSDI 2014): only fsync of a file makes its bytes
durable, and only fsync of a folder the names in it. Of all else anything may be left: each change of a name, or not, in
any order, though a rename as a whole; of what was written nothing, a part, or zeros of its length.
"""

import os
import random
import re
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

_HEX = r'"((?:\\x[0-9a-f]{2})*)"'
_CALL = re.compile(r"(?P<pid>\d+) +(?:<\.\.\. (?P<resumed>\w+) resumed>|(?P<name>\w+)\()(?P<rest>.*)\Z")
_UNFINISHED = " <unfinished ...>"
_RESULT = re.compile(r"\) += (-?\d+)[^)]*\Z")
# Everything that a model of the disk must know of, and who has which file open.
RECORDED = (
    *("chdir", "chmod", "clone", "clone3", "close", "copy_file_range", "creat", "dup", "dup2", "dup3", "fallocate"),
    *("fchmod", "fchmodat", "fcntl", "fdatasync", "fsync", "ftruncate", "link", "linkat", "lseek", "mkdir", "mkdirat"),
    *("open", "openat", "pwrite64", "pwritev", "read", "rename", "renameat", "renameat2", "rmdir", "symlink"),
    *("symlinkat", "truncate", "unlink", "unlinkat", "write", "writev"),
)


@dataclass(slots=True, eq=False)
class Node:
    """A file or folder, whatever its names; `data` and `names` are what it had when the recording began."""

    data: bytes = b""
    names: "dict[str, Node] | None" = None
    mode: int = 0o644


@dataclass(frozen=True, slots=True, eq=False)
class Change:
    """Something that a power cut may undo.

    Attributes:
        of: the nodes of which any, when it is fsynced, makes the change durable.
        names: what becomes of names: (folder, name, what it is then).
        offset, data: what is written to the file `of`; without `data`, its length is set to `offset`.
    """

    of: tuple[Node, ...]
    names: tuple[tuple[Node, str, Node | None], ...] = ()
    offset: int = 0
    data: bytes | None = None


@dataclass(frozen=True, slots=True)
class Sync:
    """What was changed before `since` of a node is durable."""

    of: Node
    since: int


@dataclass(frozen=True, slots=True)
class Said:
    """Something was printed."""

    text: str


Event = Change | Sync | Said
# What is left of a change that is not durable: all, nothing, or of what was written a half, or zeros.
KEPT, LOST, HALF, ZEROS = "kept", "lost", "half", "zeros"
Fate = Callable[[Change], str]


@dataclass
class Recording:
    """A folder as it was, and what happened in it."""

    root: Node
    events: list[Event] = field(default_factory=list)

    def left(self, moment: int, fate: Fate) -> "Left":
        """Return what a power cut after some events leaves, where `fate` decides on all that is not durable."""
        durable: set[int] = set()
        waiting: dict[int, list[tuple[int, Change]]] = {}
        for index, event in enumerate(self.events[:moment]):
            if isinstance(event, Change):
                for node in event.of:
                    waiting.setdefault(id(node), []).append((index, event))
            elif isinstance(event, Sync):
                durable.update(at for at, _ in waiting.get(id(event.of), ()) if at < event.since)
        left = Left(self.root)
        for index, event in enumerate(self.events[:moment]):
            if isinstance(event, Change):
                left.apply(event, KEPT if index in durable else fate(event))
        return left

    def said(self, moment: int) -> str:
        """Return what was printed before a moment."""
        return "".join(event.text for event in self.events[:moment] if isinstance(event, Said))


class Left:
    """What is on a disk after a power cut."""

    def __init__(self, root: Node) -> None:
        self._root = root
        self._data: dict[int, bytes] = {}
        self._names: dict[int, dict[str, Node]] = {}

    def apply(self, change: Change, fate: str) -> None:
        if fate == LOST:
            return
        for folder, name, node in change.names:
            names = self._names_of(folder)
            if node is None:
                names.pop(name, None)
            else:
                names[name] = node
        if not change.names:
            (node,) = change.of
            before = self._data.get(id(node), node.data)
            if change.data is None:
                self._data[id(node)] = before[: change.offset].ljust(change.offset, b"\0")
                return
            data = {KEPT: change.data, HALF: change.data[: len(change.data) // 2], ZEROS: bytes(len(change.data))}[fate]
            end = change.offset + len(data)
            self._data[id(node)] = before[: change.offset].ljust(change.offset, b"\0") + data + before[end:]

    def _names_of(self, folder: Node) -> dict[str, Node]:
        assert folder.names is not None
        return self._names.setdefault(id(folder), dict(folder.names))

    def files(self) -> Iterator[tuple[str, bytes | None, int]]:
        """Yield path, bytes (None for a folder) and rights of all that has a name."""
        pending = [("", self._root)]
        while pending:
            path, folder = pending.pop()
            for name, node in sorted(self._names_of(folder).items()):
                inner = f"{path}{name}"
                if node.names is None:
                    yield inner, self._data.get(id(node), node.data), node.mode
                else:
                    yield inner, None, node.mode
                    pending.append((f"{inner}/", node))

    def write(self, place: Path) -> None:
        """Write it all into a new folder."""
        place.mkdir()
        for path, data, mode in self.files():
            if data is None:
                (place / path).mkdir()
            else:
                (place / path).write_bytes(data)
                (place / path).chmod(mode)


def snapshot(place: Path) -> Node:
    """Return a folder as it is, all of it durable."""
    found: dict[int, Node] = {}

    def taken(path: Path) -> Node:
        facts = path.lstat()
        assert not stat.S_ISLNK(facts.st_mode)
        if stat.S_ISDIR(facts.st_mode):
            return Node(names={inner.name: taken(inner) for inner in path.iterdir()}, mode=facts.st_mode & 0o777)
        node = found.setdefault(facts.st_ino, Node())
        node.data, node.mode = path.read_bytes(), facts.st_mode & 0o777
        return node

    return taken(place)


@dataclass
class _Open:
    """What a file descriptor stands for: something in the folder, or printing."""

    node: Node | None
    path: str
    at: int = 0
    appends: bool = False


class Recorder:
    """Follows the calls of one process, all its threads, in the log of strace."""

    def __init__(self, place: Path, root: Node, process: int, said: Path) -> None:
        self.recording = Recording(root)
        self._place = str(place)
        self._root = root
        self._said = str(said)
        self._process = process
        self._cwd = "/"
        self._open: dict[int, _Open] = {}
        # What the model holds now, everything applied.
        self._now = Left(root)

    def follow(self, log: Path) -> Recording:
        """Return what a log tells."""
        begun: dict[int, tuple[str, str, int]] = {}
        threads = {self._process}
        for line in log.read_text().splitlines():
            found = _CALL.match(line)
            if not found:
                continue
            thread = int(found["pid"])
            events = self.recording.events
            if name := found["name"]:
                rest, since = found["rest"], len(events)
                if rest.endswith(_UNFINISHED):
                    begun[thread] = name, rest.removesuffix(_UNFINISHED), since
                    continue
            else:
                name, rest, since = begun.pop(thread)
                rest += found["rest"]
            ended = _RESULT.search(rest)
            arguments, code = (rest[: ended.start()], int(ended[1])) if ended else ("", -1)
            if name in ("clone", "clone3"):
                if "CLONE_THREAD" in arguments and code > 0:
                    threads.add(code)
            elif code >= 0 and thread in threads:
                _HOW[name](self, _Arguments(arguments), code, since)
        return self.recording

    def _do(self, change: Change) -> None:
        self.recording.events.append(change)
        self._now.apply(change, KEPT)

    def _find(self, path: str) -> tuple[Node, str] | None:
        """Return the folder and the name in it of a path in the place, None of any other."""
        if not path.startswith(f"{self._place}/"):
            return None
        *folders, name = path[len(self._place) + 1 :].rstrip("/").split("/")
        at = self._root
        for folder in folders:
            at = self._now._names_of(at)[folder]
        return at, name

    def _node(self, path: str) -> Node | None:
        if path == self._place:
            return self._root
        found = self._find(path)
        return self._now._names_of(found[0])[found[1]] if found else None

    def _at(self, path: str, folder: str = "AT_FDCWD") -> str:
        if not path.startswith("/"):
            base = self._cwd if folder == "AT_FDCWD" else self._open[int(folder)].path
            path = f"{base}/{path}"
        return os.path.normpath(path)

    # One for each call, by its name: its arguments, what it returned, how many events there were when it began.

    def _chdir(self, given: "_Arguments", code: int, since: int) -> None:
        self._cwd = self._at(given.text(0))

    def _openat(self, given: "_Arguments", code: int, since: int) -> None:
        self._opened(self._at(given.text(1), given.word(0)), given.word(2), given, code)

    def _opens(self, given: "_Arguments", code: int, since: int) -> None:
        self._opened(self._at(given.text(0)), given.word(1), given, code)

    def _opened(self, path: str, flags: str, given: "_Arguments", code: int) -> None:
        found = self._find(path)
        if path == self._said or (path == self._place or found is not None):
            if found is not None:
                folder, name = found
                node = self._now._names_of(folder).get(name)
                if node is None:
                    node = Node(mode=int(given.word(-1), 8) & ~0o022)
                    self._do(Change((folder,), ((folder, name, node),)))
                elif "O_TRUNC" in flags:
                    self._do(Change((node,)))
            else:
                node = self._root if path == self._place else None
            self._open[code] = _Open(node, path, appends="O_APPEND" in flags)
        else:
            self._open.pop(code, None)

    def _close(self, given: "_Arguments", code: int, since: int) -> None:
        self._open.pop(given.number(0), None)

    def _dup(self, given: "_Arguments", code: int, since: int) -> None:
        if (source := self._open.get(given.number(0))) is not None:
            self._open[code] = source
        else:
            self._open.pop(code, None)

    def _fcntl(self, given: "_Arguments", code: int, since: int) -> None:
        if given.word(1).startswith("F_DUPFD"):
            self._dup(given, code, since)

    def _lseek(self, given: "_Arguments", code: int, since: int) -> None:
        if file := self._open.get(given.number(0)):
            file.at = code

    def _read(self, given: "_Arguments", code: int, since: int) -> None:
        if file := self._open.get(given.number(0)):
            file.at += code

    def _write(self, given: "_Arguments", code: int, since: int) -> None:
        file = self._open.get(given.number(0))
        if file is None:
            return
        data = given.data(1)[:code]
        if file.node is None:
            self.recording.events.append(Said(data.decode()))
            return
        at = self._size(file.node) if file.appends else file.at
        self._do(Change((file.node,), offset=at, data=data))
        file.at = at + code

    def _pwrite64(self, given: "_Arguments", code: int, since: int) -> None:
        if (file := self._open.get(given.number(0))) and file.node:
            self._do(Change((file.node,), offset=given.number(3), data=given.data(1)[:code]))

    def _copy_file_range(self, given: "_Arguments", code: int, since: int) -> None:
        if (file := self._open.get(given.number(2))) and file.node and code:
            source = self._open[given.number(0)].node
            assert source is not None
            start, at = (int(given.word(index).strip("[]")) for index in (1, 3))
            data = self._now._data.get(id(source), source.data)[start : start + code]
            self._do(Change((file.node,), offset=at, data=data))

    def _ftruncate(self, given: "_Arguments", code: int, since: int) -> None:
        if (file := self._open.get(given.number(0))) and file.node:
            self._do(Change((file.node,), offset=given.number(1)))

    def _fsync(self, given: "_Arguments", code: int, since: int) -> None:
        if (file := self._open.get(given.number(0))) and file.node:
            self.recording.events.append(Sync(file.node, since))

    def _mkdir(self, given: "_Arguments", code: int, since: int) -> None:
        self._made(self._at(given.text(0)))

    def _mkdirat(self, given: "_Arguments", code: int, since: int) -> None:
        self._made(self._at(given.text(1), given.word(0)))

    def _made(self, path: str) -> None:
        if found := self._find(path):
            self._do(Change((found[0],), ((*found, Node(names={}, mode=0o755)),)))

    def _link(self, given: "_Arguments", code: int, since: int) -> None:
        self._linked(self._at(given.text(0)), self._at(given.text(1)))

    def _linkat(self, given: "_Arguments", code: int, since: int) -> None:
        self._linked(self._at(given.text(1), given.word(0)), self._at(given.text(3), given.word(2)))

    def _linked(self, source: str, target: str) -> None:
        if found := self._find(target):
            self._do(Change((found[0],), ((*found, self._node(source)),)))

    def _rename(self, given: "_Arguments", code: int, since: int) -> None:
        source, target = self._find(self._at(given.text(0))), self._find(self._at(given.text(1)))
        if source and target:
            node = self._now._names_of(source[0])[source[1]]
            if self._now._names_of(target[0]).get(target[1]) is not node:
                self._do(Change((source[0], target[0]), ((*source, None), (*target, node))))

    def _unlink(self, given: "_Arguments", code: int, since: int) -> None:
        self._gone(self._at(given.text(0)))

    def _unlinkat(self, given: "_Arguments", code: int, since: int) -> None:
        self._gone(self._at(given.text(1), given.word(0)))

    def _gone(self, path: str) -> None:
        if found := self._find(path):
            self._do(Change((found[0],), ((*found, None),)))

    def _chmod(self, given: "_Arguments", code: int, since: int) -> None:
        # Rights are taken to be durable at once: nothing here relies on them.
        if node := self._node(self._at(given.text(0))):
            node.mode = int(given.word(1), 8)

    def _fchmod(self, given: "_Arguments", code: int, since: int) -> None:
        if (file := self._open.get(given.number(0))) and file.node:
            file.node.mode = int(given.word(1), 8)

    def _fchmodat(self, given: "_Arguments", code: int, since: int) -> None:
        if node := self._node(self._at(given.text(1), given.word(0))):
            node.mode = int(given.word(2), 8)

    def _size(self, node: Node) -> int:
        return len(self._now._data.get(id(node), node.data))


class _Arguments:
    """The arguments of a call, as strace writes them with -xx: text and bytes in hexadecimal digits."""

    def __init__(self, text: str) -> None:
        self._parts = [part.strip() for part in text.split(",")]

    def word(self, index: int) -> str:
        return self._parts[index]

    def number(self, index: int) -> int:
        return int(self._parts[index])

    def data(self, index: int) -> bytes:
        found = re.fullmatch(_HEX, self._parts[index])
        assert found, f"cut off: {self._parts[index][:80]}"
        return bytes.fromhex(found[1].replace("\\x", ""))

    def text(self, index: int) -> str:
        return os.fsdecode(self.data(index))


def fates(seed: int, turns: int) -> Iterator[tuple[str, Fate]]:
    """Yield ways of losing what is not durable: those that file systems are known for, and some at random."""
    yield "all is kept", lambda _: KEPT
    yield "all is lost", lambda _: LOST
    yield "names are kept, and no bytes", lambda change: KEPT if change.names else LOST
    yield "names are kept, and zeros", lambda change: KEPT if change.names or change.data is None else ZEROS
    yield "bytes are kept, and no names", lambda change: LOST if change.names else KEPT
    for turn in range(turns):
        chance = random.Random(seed * 1000 + turn)
        likely = chance.random()
        yield f"random {turn}", lambda change, r=chance, p=likely: _random(r, p, change)  # type: ignore[misc]


def _random(chance: random.Random, likely: float, change: Change) -> str:
    if chance.random() < likely:
        return KEPT
    return LOST if change.names or change.data is None else chance.choice([LOST, HALF, ZEROS])


# The other calls of RECORDED are made by nobody; who makes one must be followed in it.
_HOW: dict[str, Callable[[Recorder, _Arguments, int, int], None]] = {
    "chdir": Recorder._chdir,
    "chmod": Recorder._chmod,
    "close": Recorder._close,
    "copy_file_range": Recorder._copy_file_range,
    "dup": Recorder._dup,
    "dup2": Recorder._dup,
    "dup3": Recorder._dup,
    "fchmod": Recorder._fchmod,
    "fchmodat": Recorder._fchmodat,
    "fcntl": Recorder._fcntl,
    "fdatasync": Recorder._fsync,
    "fsync": Recorder._fsync,
    "ftruncate": Recorder._ftruncate,
    "link": Recorder._link,
    "linkat": Recorder._linkat,
    "lseek": Recorder._lseek,
    "mkdir": Recorder._mkdir,
    "mkdirat": Recorder._mkdirat,
    "open": Recorder._opens,
    "openat": Recorder._openat,
    "pwrite64": Recorder._pwrite64,
    "read": Recorder._read,
    "rename": Recorder._rename,
    "rmdir": Recorder._unlink,
    "unlink": Recorder._unlink,
    "unlinkat": Recorder._unlinkat,
    "write": Recorder._write,
}
