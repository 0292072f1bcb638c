"""Views: read-only folders with the files of a version: links to loose objects, or files made from packs.

Derived, may be deleted.
"""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from mvs.backends.copying import copy_block
from mvs.backends.directory import NO_LINKS, Directory
from mvs.backends.failures import storage
from mvs.errors import CorruptObject, MissingObject, StorageFailed, command
from mvs.format.ids import ObjectId
from mvs.format.layout import CACHE
from mvs.format.manifest import FileEntry, Tree
from mvs.store.objects import Objects

_VIEWS = f"{CACHE}/views"
# Nanoseconds. A view that is being made has no lock; whoever still makes one after a day makes it anew.
_ABANDONED = 24 * 3600 * 10**9


class Views:
    """The views of a store."""

    def __init__(self, disk: Directory, objects: Objects, most: int) -> None:
        self._disk = disk
        self._objects = objects
        self._most = most

    def path(self, id: ObjectId, tree: Tree) -> Path:
        """Return a read-only folder with the files of the version `id`, made when it is not there.

        Files are hard links to loose objects. What lies in packs is written out; an executable file
        has rights of its own, so it is a copy, as is every file where the file system has no hard links.

        Raises:
            MissingObject: a blob is not in the store.
        """
        place = self._disk.path(f"{_VIEWS}/{id}")
        if not _is_whole(place, tree):
            self._make_room(sum(entry.size for entry in tree.files if not self._objects.is_loose(entry.blob)))
            self._make(place, tree)
        elif any(not self._objects.is_loose(entry.blob) for entry in tree.files):
            # So that the view used least recently goes first.
            with contextlib.suppress(OSError):
                os.utime(place)
        return Path(place)

    def _make_room(self, wanted: int) -> None:
        """Remove views, the one used least recently first, until what was made from packs and `wanted` fit."""
        if not wanted or not self._disk.is_own(_VIEWS):
            return
        found = []
        for entry in self._disk.entries(_VIEWS):
            # One with a suffix is being made, by another process perhaps.
            if "." not in entry.name:
                with contextlib.suppress(OSError):
                    found.append((entry.stat().st_mtime_ns, entry.path, self._made(entry.name)))
        total = wanted + sum(made for _, _, made in found)
        for _, path, made in sorted(found):
            if total <= self._most:
                break
            if made:
                discard(path)
                total -= made

    def _made(self, name: str) -> int:
        """Return the bytes of the files in a view that are no links to objects."""
        return sum(found.st_size for found in self._disk.below(f"{_VIEWS}/{name}") if found.st_nlink == 1)

    def _make(self, place: str, tree: Tree) -> None:
        building = f"{place}.{os.urandom(8).hex()}"
        with storage(self._disk.root):
            try:
                os.makedirs(building)
                self._fill(building, tree)
                try:
                    os.rename(building, place)
                except OSError:
                    if not _is_whole(place, tree):
                        # Someone took files out of it, or another process made it just now.
                        discard(place)
                        os.rename(building, place)
            finally:
                discard(building)
        if not _is_whole(place, tree):
            raise StorageFailed(f"'{place}' is removed as fast as it is made", hint=command("ls", "-l", place))

    def _fill(self, folder: str, tree: Tree) -> None:
        folders = {folder}
        for path in [*tree.dirs, *(entry.path for entry in tree.files)]:
            parent = os.path.dirname(path)
            while parent and f"{folder}/{parent}" not in folders:
                folders.add(f"{folder}/{parent}")
                parent = os.path.dirname(parent)
        folders.update(f"{folder}/{path}" for path in tree.dirs)
        for made in sorted(folders):
            os.makedirs(made, exist_ok=True)
        for entry in tree.files:
            self._place(entry, f"{folder}/{entry.path}")
        for made in folders:
            os.chmod(made, 0o555)

    def ids(self) -> Iterator[ObjectId]:
        """Yield the versions that have a view, in no order."""
        for entry in self._disk.entries(_VIEWS):
            with contextlib.suppress(ValueError):
                yield ObjectId.from_hex(entry.name)

    def drop(self, id: ObjectId) -> None:
        """Remove the view of a version: its links would keep the bytes of objects that are packed."""
        place = self._disk.path(f"{_VIEWS}/{id}")
        if os.path.isdir(place):
            self._disk.own(_VIEWS)
            discard(place)

    def sweep(self, *, now: int) -> None:
        """Remove views that nobody finished."""
        self._disk.own(_VIEWS)
        for entry in list(self._disk.entries(_VIEWS)):
            with contextlib.suppress(OSError):
                if "." in entry.name and entry.stat(follow_symlinks=False).st_mtime_ns < now - _ABANDONED:
                    discard(entry.path)

    def _place(self, entry: FileEntry, target: str) -> None:
        try:
            self._take(entry, target)
        except (MissingObject, FileNotFoundError):
            # In packs, perhaps since a moment ago.
            self._unpack(entry, target)

    def _take(self, entry: FileEntry, target: str) -> None:
        """Link or copy a loose object."""
        source = self._objects.path(entry.blob)
        if os.stat(source).st_size != entry.size:
            raise CorruptObject(f"object {entry.blob} has not the size of '{entry.path}'")
        if not entry.executable:
            try:
                os.link(source, target)
                return
            except OSError as error:
                if error.errno not in NO_LINKS:
                    raise
        with open(source, "rb") as original, open(target, "xb") as copy:
            while copy_block(original.fileno(), copy.fileno(), copy.tell()):
                copy.seek(0, os.SEEK_END)
        os.chmod(target, 0o555 if entry.executable else 0o444)

    def _unpack(self, entry: FileEntry, target: str) -> None:
        """Make a file from packs; a link to it shares no bytes with the store."""
        with open(target, "xb") as file:
            for block in self._objects.verified(entry.blob):
                file.write(block)
        os.chmod(target, 0o555 if entry.executable else 0o444)


def discard(folder: str) -> None:
    """Remove a view, whose folders are read-only; of a link only the link."""
    import shutil  # noqa: PLC0415 - 10 ms that most readers never need

    if os.path.islink(folder):
        os.unlink(folder)
        return
    for parent, _, _ in os.walk(folder):
        os.chmod(parent, 0o755)
    shutil.rmtree(folder, ignore_errors=True)


def _is_whole(place: str, tree: Tree) -> bool:
    try:
        return all(os.lstat(f"{place}/{entry.path}").st_size == entry.size for entry in tree.files) and all(
            os.path.isdir(f"{place}/{path}") for path in tree.dirs
        )
    except OSError:
        return False
