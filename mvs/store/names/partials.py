"""Partial versions: for each version that was pulled in part, what of it stayed at a remote."""

import os
from collections.abc import Iterator

from mvs.backends.directory import Directory
from mvs.errors import UNREADABLE, CorruptRef, command
from mvs.format.ids import ObjectId
from mvs.format.layout import PARTIAL
from mvs.format.lines.partial import MAX_BYTES, Partial


class Partials:
    """The lists of all partial versions. Reading takes no lock; writing is for whoever holds it."""

    def __init__(self, disk: Directory) -> None:
        self._disk = disk

    def read(self, id: ObjectId) -> Partial | None:
        """Return what did not come of the version with this manifest; None where it is whole.

        Raises:
            CorruptRef: the file holds no such list, or that of another version.
            UnsupportedFormat: a later release wrote it.
        """
        key = _key(id)
        size = self._disk.size(key)
        if size is None and not os.path.isdir(self._disk.path(key)):
            return None
        try:
            if size is not None and size > MAX_BYTES:
                raise CorruptRef("too long for a list of what was not pulled")
            found = Partial.decode(self._disk.read(key))
            if found.id != id:
                raise CorruptRef(f"it is that of '{found.tag}'")
        except FileNotFoundError:
            return None
        except IsADirectoryError:
            raise CorruptRef(f"'{self._disk.path(key)}' is a folder", hint="mvs fsck") from None
        except UNREADABLE as error:
            place = self._disk.path(key)
            raise type(error)(f"'{place}': {error.message}", hint=command("cat", place)) from error
        return found

    def ids(self) -> Iterator[ObjectId]:
        """Yield the manifests of all versions with such a list, in no order; other files are passed over."""
        for entry in self._disk.entries(PARTIAL):
            try:
                yield ObjectId.from_hex(entry.name)
            except ValueError:
                continue

    def write(self, partial: Partial) -> None:
        """Say of a version what did not come, atomically and durably, in place of what was said before."""
        key = _key(partial.id)
        self._disk.put(key, partial.encode())
        # Whoever made the folder may have died before it was durable.
        self._disk.sync_above(key)

    def remove(self, id: ObjectId) -> None:
        """Say that a version is whole, durably, if anything else was said."""
        key = _key(id)
        if self._disk.size(key) is not None:
            self._disk.remove(key)
            self._disk.sync([PARTIAL])


def _key(id: ObjectId) -> str:
    return f"{PARTIAL}/{id}"
