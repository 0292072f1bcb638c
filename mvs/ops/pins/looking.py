"""Looking: whether the files of a pin are on the disk as they were saved, without reading those that held still.

What a file held is remembered with its size, times and inode. Only files that had been left alone for a while are
believed to be the same: one that is written twice within a tick of the clock looks alike.
"""

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from blake3 import blake3

from mvs.errors import ForbiddenPlace, command
from mvs.format.lines.pins import Pin
from mvs.format.manifest import FileEntry, Manifest
from mvs.store.hashing import hash_open
from mvs.store.store import Store

_VERSION = 1
# Two seconds, the coarsest time that a file system keeps (FAT).
_SETTLED = 2_000_000_000

Stamp = tuple[int, int, int, int, int]


class Seen(NamedTuple):
    """What a file was when it was last read: its stamp, its content, and whether it can be executed."""

    stamp: Stamp
    blob: bytes


@dataclass(frozen=True, slots=True)
class Place:
    """What is known of the folder of a pin: the version that was last checked out there, and its files.

    `whole` is set while the files of that version are all there, and as they were saved.
    """

    id: bytes = b""
    whole: bool = False
    files: Mapping[str, Seen] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Look:
    """What was found in the folder of a pin: paths of files that are edited or missing, and whether there is any."""

    edited: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    is_there: bool = True

    @property
    def clean(self) -> bool:
        """Whether all files are there, and as they were saved."""
        return self.is_there and not self.edited and not self.missing


class Memory:
    """What is remembered of the folders of the pins of one repository, under `cache/pins/`."""

    def __init__(self, store: Store, root: Path) -> None:
        self._store = store
        self._root = os.path.realpath(root)
        self._key = f"pins/{blake3(os.fsencode(self._root)).hexdigest(16)}"
        self._places: dict[str, Place] | None = None
        self._stale = False

    def place(self, path: str) -> Place:
        """Return what is known of a folder."""
        if self._places is None:
            self._places = _decoded(self._store.recalled(self._key))
        return self._places.get(path, Place())

    def learn(self, path: str, known: Place) -> None:
        """Know something else of a folder from now on."""
        if self.place(path) != known and self._places is not None:
            self._places[path] = known
            self._stale = True

    def keep(self) -> None:
        """Remember what was learned; where that cannot be, files are read again."""
        if self._stale and self._places is not None:
            import msgpack  # noqa: PLC0415 - only when something changed

            told = [
                [path, known.id, known.whole, [[name, *seen.stamp, seen.blob] for name, seen in known.files.items()]]
                for path, known in self._places.items()
            ]
            self._store.note(self._key, msgpack.packb([_VERSION, told]))
            self._stale = False


def folder(root: Path, path: str) -> str:
    """Return where a pin lies, having checked that no link leads out of the repository.

    Raises:
        ForbiddenPlace: one does.
    """
    place = str(root)
    for part in path.split("/"):
        place = os.path.join(place, part)
        try:
            if stat.S_ISLNK(os.lstat(place).st_mode):
                raise ForbiddenPlace(
                    f"'{place}' is a link, and pins are not checked out through links", hint=command("ls", "-l", place)
                )
        except (FileNotFoundError, NotADirectoryError):
            break
    return os.path.join(root, path)


def look(store: Store, root: Path, pin: Pin, memory: Memory, now: int) -> Look:
    """Return what became of the files of a pin.

    Raises:
        ForbiddenPlace: a link is in the way.
        Corrupt: the version must be read for that, and is damaged or not here.
    """
    place = folder(root, pin.path)
    known = memory.place(pin.path)
    if known.whole and known.id == pin.id.raw and _all_still(place, known.files):
        return Look()
    if not os.path.isdir(place):
        return Look(is_there=False)
    tree = manifest_of(store, pin).tree
    found: dict[str, Seen] = {}
    edited, missing = [], []
    for entry in tree.files:
        seen = _seen(os.path.join(place, entry.path), known.files.get(entry.path), now)
        if seen is None:
            missing.append(entry.path)
            continue
        found[entry.path] = seen
        if not _is_same(seen, entry):
            edited.append(entry.path)
    whole = not edited and not missing
    # Of another version that was there before only the files are forgotten that are looked at now.
    others = {name: seen for name, seen in known.files.items() if name not in found and not whole}
    memory.learn(pin.path, Place(pin.id.raw if whole else known.id, whole, {**others, **found}))
    return Look(tuple(edited), tuple(missing))


def content(place: str, path: str, known: Place, now: int) -> tuple[bytes, bool] | None:
    """Return the blob of a file and whether it can be executed; None where there is no such file."""
    seen = _seen(os.path.join(place, path), known.files.get(path), now)
    return None if seen is None else (seen.blob, bool(seen.stamp[4] & 0o100))


def written(store: Store, root: Path, pin: Pin, memory: Memory, now: int) -> None:
    """Remember that a version was just checked out, and verified."""
    place = folder(root, pin.path)
    files = {}
    for entry in manifest_of(store, pin).tree.files:
        found = _stamp(os.path.join(place, entry.path))
        if found is not None:
            files[entry.path] = Seen(_believed(found, now), entry.blob.raw)
    memory.learn(pin.path, Place(pin.id.raw, True, files))


def manifest_of(store: Store, pin: Pin) -> Manifest:
    """Return the manifest of a pin, whatever became of its tag.

    Raises:
        MissingObject, Corrupt: it is not in the store, or damaged, or that of another version.
    """
    from mvs.format.lines.refs import Ref  # noqa: PLC0415 - only where the version is read

    return store.manifest(Ref(pin.tag, pin.id, pin.created))


def _all_still(place: str, files: Mapping[str, Seen]) -> bool:
    try:
        for name, seen in files.items():
            found = os.lstat(f"{place}/{name}")
            stamp = found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino, found.st_mode
            if seen.stamp != stamp:
                return False
    except OSError:
        return False
    return True


def _seen(path: str, known: Seen | None, now: int) -> Seen | None:
    """Return what a file is, read only if it may have changed; None where there is none."""
    stamp = _stamp(path)
    if stamp is None:
        return None
    if known is not None and known.stamp == stamp:
        return known
    if not stat.S_ISREG(stamp[4]):
        return Seen(stamp, b"")
    with open(path, "rb", buffering=0) as file:
        id = hash_open(file.fileno(), lambda _: None, wide=stamp[0] > 1 << 20)[0]
    return Seen(_believed(stamp, now) if _stamp(path) == stamp else (0, 0, 0, 0, stamp[4]), id.raw)


def _stamp(path: str) -> Stamp | None:
    try:
        found = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino, found.st_mode


def _believed(stamp: Stamp, now: int) -> Stamp:
    """Return a stamp, its time emptied where that is too near to be told from that of a change."""
    return stamp if max(stamp[1], stamp[2]) + _SETTLED < now else (stamp[0], 0, 0, 0, stamp[4])


def _is_same(seen: Seen, entry: FileEntry) -> bool:
    mode = seen.stamp[4]
    return stat.S_ISREG(mode) and seen.blob == entry.blob.raw and bool(mode & 0o100) == entry.executable


def _decoded(data: bytes | None) -> dict[str, Place]:
    """Return what was remembered; nothing where it is of another form."""
    import msgpack  # noqa: PLC0415 - as above

    try:
        form, told = msgpack.unpackb(data or b"\xc0")
        if form != _VERSION:
            return {}
        return {path: Place(id, whole, {row[0]: _row(row) for row in rows}) for path, id, whole, rows in told}
    except (ValueError, TypeError, msgpack.UnpackException):
        return {}


def _row(row: list[Any]) -> Seen:
    size, mtime, ctime, inode, mode = row[1:6]
    return Seen((size, mtime, ctime, inode, mode), row[6])
