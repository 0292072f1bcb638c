"""Mending names: refs made again from manifests, `latest` from refs, journals from what of them is whole."""

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import NamedTuple

from mvs.backends.directory import Directory
from mvs.errors import Corrupt, StorageFailed, UnsupportedFormat
from mvs.format.ids import ObjectId
from mvs.format.layout import EVENTS, JOURNAL, NOTES, QUARANTINE, TAGS
from mvs.format.lines.journal import MAGIC, Entry, Event, Noted, decode, is_later, was_whole
from mvs.format.lines.notes import Notes
from mvs.format.lines.refs import Ref
from mvs.format.manifest import MAGIC as MANIFEST
from mvs.format.manifest import Manifest
from mvs.format.names import LATEST, Tag
from mvs.ops.fsck.suspects import FAILURES
from mvs.ops.repair import bits
from mvs.ops.repair.report import Mended
from mvs.running.progress import Progress
from mvs.store.store import Store


class _Later(NamedTuple):
    """A line of a journal that a later release wrote; it is kept behind the one that it stands behind."""

    line: bytes
    at: int

    def encode(self) -> bytes:
        return self.line + b"\n"


class Names:
    """One go at the names of a store."""

    def __init__(self, store: Store, disk: Directory, *, by: str, now: int, progress: Progress) -> None:
        self._store = store
        self._disk = disk
        self._by = by
        self._now = now
        self._progress = progress
        self.mended: list[Mended] = []
        self.quarantined: list[str] = []

    def clear_places(self) -> None:
        """Move away what stands where a folder or a file of tags or journals must be; a link is somebody's own."""
        with self._store.exclusive():
            for key in [*self._store.refs.strange(TAGS), *self._store.journal.strange()]:
                if not os.path.islink(self._disk.path(key)) and (moved := self._store.quarantine.move(key)):
                    self.quarantined.append(moved)

    def mend_ref(self, tag: Tag) -> None:
        """Let a tag mean again what it meant, where that can be told beyond doubt: it never means anything else.

        A ref that is gone is only made again where the whole journal can be read and does not say that it was
        deleted: so a save that was cut off is finished.
        """
        if self._is_later(partial(self._store.refs.read, tag), partial(self._store.journal.last_time, tag.name)):
            return
        with self._store.exclusive():
            there = self._store.refs.exists(tag)
            now = self._read(tag)
            for id in dict.fromkeys(self._meant(tag, now, there=there)):
                manifest = self._manifest(id)
                if manifest is None or manifest.tag != tag:
                    continue
                # No two versions of a name were created at one time.
                if now and now.id != id and now.created != manifest.created:
                    continue
                ref = Ref(tag, id, manifest.created)
                if now != ref:
                    key = f"{TAGS}/{tag.name}/@{tag.version}"
                    self._clear(key)
                    self._store.refs.rebuild(ref)
                    self.mended.append(Mended(key, f"made again from manifest {id}"))
                return

    def mend_notes(self, tag: Tag) -> None:
        """Let the labels that a version was given after it was saved be what the journal tells of them."""
        if self._is_later(partial(self._store.notes.read, tag), partial(self._store.journal.last_time, tag.name)):
            return
        with self._store.exclusive():
            by_id: dict[ObjectId, dict[str, str]] = {}
            for entry in self._store.journal.entries(tag.name):
                if isinstance(entry, Noted) and entry.version == tag.version:
                    # The labels of the version that was changed last are what is kept.
                    labels = by_id.pop(entry.id, {}) | {key: after or "" for key, (_, after) in entry.labels.items()}
                    by_id[entry.id] = {key: value for key, value in labels.items() if value}
            key = f"{NOTES}/{tag.name}/@{tag.version}"
            if moved := self._store.quarantine.move(key):
                self.quarantined.append(moved)
            if by_id:
                id, labels = by_id.popitem()
                if labels and self._store.objects.is_loose(id):
                    self._store.notes.write(Notes(tag, id, labels))
            self.mended.append(Mended(key, "made again from the journal"))

    def mend_latest(self, name: str) -> None:
        """Let `latest` be a copy of the newest ref of a name."""
        key = f"{TAGS}/{name}/@{LATEST}"
        if self._is_later(lambda: Ref.decode(self._disk.read(key))):
            return
        with self._store.exclusive():
            self._clear(key)
            before = self._latest(name)
            self._store.refs.settle(name)
            if self._latest(name) != before:
                self.mended.append(Mended(f"{TAGS}/{name}/@{LATEST}", "made again from the tags"))

    def _latest(self, name: str) -> bytes:
        with contextlib.suppress(FileNotFoundError):
            return self._disk.read(f"{TAGS}/{name}/@{LATEST}")
        return b""

    def mend_journal(self, name: str) -> None:
        """Write a journal again: what of it is whole but for one bit, and a `save` for each tag it does not tell of.

        Where something of it is lost, versions without a tag are told of as deleted now: they may have been, so no
        tag of theirs comes back by itself, and gc keeps them for as long as anything that was deleted.
        What it was stays in quarantine.
        """
        key = f"{JOURNAL}/{name}/{EVENTS}"
        if self._is_later(partial(self._store.journal.last_time, name)):
            return
        with self._store.exclusive():
            entries: list[Entry | _Later]
            entries, whole = self._entries(key)
            events = [entry for entry in entries if isinstance(entry, Event)]
            told = {(event.version, event.new) for event in events}
            refs = list(self._store.refs.readable(name, lambda _: None))
            untold = [ref for ref in refs if (ref.tag.version, ref.id) not in told]
            entries += [event for event in map(self._saved, untold) if event]
            if untold or not whole:
                entries += self._deleted(name, events, refs, max([self._now, *(entry.at + 1 for entry in entries)]))
            # A version is saved at the time that it was created at.
            entries.sort(key=lambda entry: entry.at)
            self._clear(key)
            if self._disk.size(key) is not None:
                if self._disk.read(key) == MAGIC + b"".join(entry.encode() for entry in entries):
                    return
                self.quarantined.append(self._store.quarantine.copy(key))
            self._store.journal.rewrite(name, [entry.encode() for entry in entries])
        self.mended.append(Mended(key, "written again from what of it is whole, and from the tags"))

    def _entries(self, key: str) -> "tuple[list[Entry | _Later], bool]":
        """Return what a journal tells, and whether nothing of it is lost."""
        try:
            lines = self._disk.read(key).split(b"\n")
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return [], False
        found: list[Entry | _Later] = []
        whole = len(lines) > 1
        for line in lines:
            entry = decode(line)
            if entry is None and line and is_later(line):
                found.append(_Later(line, found[-1].at if found else 0))
                continue
            if entry is None and line and (mended := bits.unflipped(line, _is_entry)):
                entry = decode(mended)
            if entry:
                found.append(entry)
            elif was_whole(line):
                whole = False
        return found, whole

    def _is_trusted(self, name: str) -> bool:
        """Tell whether all that a journal ever told is known: a line that is lost may have said anything."""
        key = f"{JOURNAL}/{name}/{EVENTS}"
        kept = [f"{QUARANTINE}/{JOURNAL}/{name}/{entry.name}" for entry in self._kept(name)]
        return all(self._disk.size(each) is None or self._entries(each)[1] for each in (key, *kept))

    def _kept(self, name: str) -> "Iterator[os.DirEntry[str]]":
        for entry in self._disk.entries(f"{QUARANTINE}/{JOURNAL}/{name}"):
            if entry.name.startswith(EVENTS):
                yield entry

    def _deleted(self, name: str, events: list[Event], refs: list[Ref], at: int) -> Iterator[Event]:
        """Yield deletions, from a time on, of all versions of a name that have no ref and no deletion that is told."""
        last = {event.version: event for event in events}
        lost = {
            event.new: event.created
            for event in last.values()
            if event.new and not self._store.refs.exists(Tag(name, event.version))
        }
        if not refs and len(lost) > 1:
            # Rather the refs are lost.
            lost = {}
        known = {id for event in events for id in (event.old, event.new)} | {ref.id for ref in refs}
        found = [*lost, *(id for id, _ in self._store.objects.loose() if id not in known and self._is_manifest(id))]
        live = {ref.tag: ref for ref in refs}
        for id in found:
            manifest = self._manifest(id)
            if manifest is None or manifest.tag.name != name:
                continue
            version, ref = manifest.tag.version, live.get(manifest.tag)
            if ref is None and self._store.refs.exists(manifest.tag):
                continue
            yield Event("delete", version, id, None, manifest.tree_id, manifest.created, at, self._by)
            at += 1
            if ref is not None and (saved := self._saved(ref)):
                yield replace(saved, event="restore", at=at)
                at += 1

    def _is_later(self, *reads: Callable[[], object]) -> bool:
        """Tell whether a later release wrote something, and say that it is left alone."""
        for read in reads:
            try:
                with contextlib.suppress(Corrupt, StorageFailed, OSError):
                    read()
            except UnsupportedFormat as error:
                self._progress.notice(f"left alone: {error.message}")
                return True
        return False

    def _saved(self, ref: Ref) -> Event | None:
        """Return the event that made a ref, None where what it names cannot be read: the ref may be what is wrong."""
        try:
            tree = self._store.manifest(ref).tree_id
        except FAILURES:
            return None
        return Event("save", ref.tag.version, None, ref.id, tree, ref.created, ref.created, self._by)

    def _meant(self, tag: Tag, now: Ref | None, *, there: bool) -> Iterator[ObjectId]:
        """Yield the manifests that a tag may mean."""
        told = None
        if not self._is_trusted(tag.name):
            if now:
                yield now.id
            return
        for event in self._store.journal.events(tag.name):
            if event.version == tag.version:
                told = event.new
        if told:
            yield told
        if now:
            yield now.id
        elif there and not told:
            found = [id for id, _ in self._store.objects.loose() if self._is_of(id, tag)]
            # Of several, some were deleted, and which of them nobody tells.
            yield from found if len(found) == 1 else ()

    def _is_of(self, id: ObjectId, tag: Tag) -> bool:
        manifest = self._manifest(id) if self._is_manifest(id) else None
        return manifest is not None and manifest.tag == tag

    def _is_manifest(self, id: ObjectId) -> bool:
        try:
            with self._store.objects.open(id) as file:
                return file.read(len(MANIFEST)) == MANIFEST
        except FAILURES:
            return False

    def _manifest(self, id: ObjectId) -> Manifest | None:
        try:
            return Manifest.decode(self._store.objects.read(id))
        except FAILURES:
            return None

    def _clear(self, key: str) -> None:
        """Move away what is no file and stands where one must."""
        if self._disk.size(key) is None and (moved := self._store.quarantine.move(key)):
            self.quarantined.append(moved)

    def _read(self, tag: Tag) -> Ref | None:
        try:
            return self._store.refs.read(tag)
        except FAILURES:
            return None


def _is_entry(line: bytes) -> bool:
    return decode(line) is not None
