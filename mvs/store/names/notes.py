"""Notes: labels that versions were given after they were saved, each version's in a file of its own."""

import contextlib
import os
from collections.abc import Iterator

from mvs.backends.directory import Directory
from mvs.errors import UNREADABLE, CorruptRef, InvalidTag, command
from mvs.format.layout import NOTES
from mvs.format.lines.notes import MAX_BYTES, Notes
from mvs.format.lines.refs import Ref
from mvs.format.names import Tag, parse_name, parse_version


class NoteBook:
    """The notes of all versions. Reading takes no lock; writing is for whoever holds it."""

    def __init__(self, disk: Directory) -> None:
        self._disk = disk

    def read(self, tag: Tag) -> Notes | None:
        """Return what was noted under a tag, be it about the version that has it now or one before; None for nothing.

        Raises:
            CorruptRef: the file holds no notes, or those of another tag.
        """
        key = _key(tag)
        try:
            if (size := self._disk.size(key)) is not None and size > MAX_BYTES:
                raise CorruptRef("too long for notes")
            notes = Notes.decode(self._disk.read(key))
            if notes.tag != tag:
                raise CorruptRef(f"they are those of '{notes.tag}'")
        except (FileNotFoundError, NotADirectoryError):
            return None
        except IsADirectoryError:
            raise CorruptRef(f"'{self._disk.path(key)}' is a folder, not notes") from None
        except UNREADABLE as error:
            place = self._disk.path(key)
            raise type(error)(
                f"the notes of '{tag}', '{place}': {error.message}", hint=command("cat", place)
            ) from error
        return notes

    def of(self, ref: Ref) -> dict[str, str]:
        """Return the labels that a version was given; none where they are damaged: it can be used all the same."""
        with contextlib.suppress(*UNREADABLE):
            notes = self.read(ref.tag)
            if notes is not None and notes.id == ref.id:
                return dict(notes.labels)
        return {}

    def noted(self, name: str) -> set[str]:
        """Return the versions of a name under which something is noted: for most that is none, and cheaper to know."""
        found = (entry.name for entry in self._disk.entries(f"{NOTES}/{name}"))
        return {entry[1:] for entry in found if entry.startswith("@")}

    def all(self) -> Iterator[Notes]:
        """Yield the notes of all versions, those deleted included, in no order; what is damaged is left out."""
        pending = [""]
        while pending:
            prefix = pending.pop()
            for entry in self._disk.entries(f"{NOTES}/{prefix}"):
                if not entry.name.startswith("@"):
                    if entry.is_dir(follow_symlinks=False):
                        pending.append(f"{prefix}{entry.name}/")
                    continue
                with contextlib.suppress(*UNREADABLE, InvalidTag):
                    tag = Tag(parse_name(prefix[:-1]), parse_version(entry.name[1:]))
                    if notes := self.read(tag):
                        yield notes

    def write(self, notes: Notes) -> None:
        """Replace the notes of a version, atomically and durably; without labels there are none."""
        key = _key(notes.tag)
        if notes.labels:
            self._disk.put(key, notes.encode())
            # Whoever made the folders may have died before they were durable.
            self._disk.sync_above(key)
        else:
            self.remove(notes.tag)

    def remove(self, tag: Tag) -> None:
        """Remove what was noted under a tag, durably, if there is anything."""
        key = _key(tag)
        if self._disk.size(key) is not None:
            self._disk.remove(key)
            self._disk.sync([os.path.dirname(key)])


def _key(tag: Tag) -> str:
    return f"{NOTES}/{tag.name}/@{tag.version}"
