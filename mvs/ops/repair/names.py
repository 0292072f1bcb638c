"""Mending names: refs made again from manifests, `latest` from refs, journals from what of them is whole."""

import contextlib
from collections.abc import Iterator

from mvs.backends.directory import Directory
from mvs.errors import UNREADABLE
from mvs.format.ids import ObjectId
from mvs.format.layout import EVENTS, JOURNAL, TAGS
from mvs.format.lines.journal import MAGIC, Entry, Event, decode
from mvs.format.lines.refs import Ref
from mvs.format.manifest import MAGIC as MANIFEST
from mvs.format.manifest import Manifest
from mvs.format.names import LATEST, Tag
from mvs.ops.fsck.suspects import FAILURES
from mvs.ops.repair import bits
from mvs.ops.repair.report import Mended
from mvs.store.store import Store


class Names:
    """One go at the names of a store."""

    def __init__(self, store: Store, disk: Directory, *, by: str) -> None:
        self._store = store
        self._disk = disk
        self._by = by
        self.mended: list[Mended] = []
        self.quarantined: list[str] = []

    def mend_ref(self, tag: Tag) -> None:
        """Let a tag mean again what it meant, where that can be told beyond doubt: it never means anything else.

        A ref that is gone is only made again where the journal does not say that it was deleted, and the version is
        whole: so a save that was cut off is finished.
        """
        with self._store.exclusive():
            there = self._store.refs.exists(tag)
            now = self._read(tag)
            for id in dict.fromkeys(self._meant(tag, now, there=there)):
                manifest = self._manifest(id)
                if manifest is None or manifest.tag != tag or not (there or self._is_whole(manifest)):
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

    def mend_latest(self, name: str) -> None:
        """Let `latest` be a copy of the newest ref of a name."""
        with self._store.exclusive():
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

        What it was stays in quarantine.
        """
        key = f"{JOURNAL}/{name}/{EVENTS}"
        with self._store.exclusive():
            entries = list(self._entries(key))
            told = {(entry.version, entry.new) for entry in entries if isinstance(entry, Event)}
            refs = self._store.refs.readable(name, lambda _: None)
            untold = (self._saved(ref) for ref in refs if (ref.tag.version, ref.id) not in told)
            entries += [event for event in untold if event]
            # A version is saved at the time that it was created at.
            entries.sort(key=lambda entry: entry.at)
            self._clear(key)
            if self._disk.size(key) is not None:
                if self._disk.read(key) == MAGIC + b"".join(entry.encode() for entry in entries):
                    return
                self.quarantined.append(self._store.quarantine.copy(key))
            self._store.journal.rewrite(name, entries)
        self.mended.append(Mended(key, "written again from what of it is whole, and from the tags"))

    def _entries(self, key: str) -> Iterator[Entry]:
        try:
            lines = self._disk.read(key).split(b"\n")
        except (FileNotFoundError, IsADirectoryError):
            return
        for line in lines:
            entry = decode(line)
            if entry is None and line and (mended := bits.unflipped(line, _is_entry)):
                entry = decode(mended)
            if entry:
                yield entry

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
        with contextlib.suppress(*UNREADABLE):
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
        try:
            with self._store.objects.open(id) as file:
                if file.read(len(MANIFEST)) != MANIFEST:
                    return False
        except FAILURES:
            return False
        manifest = self._manifest(id)
        return manifest is not None and manifest.tag == tag

    def _manifest(self, id: ObjectId) -> Manifest | None:
        try:
            return Manifest.decode(self._store.objects.read(id))
        except FAILURES:
            return None

    def _is_whole(self, manifest: Manifest) -> bool:
        return all(self._store.objects.has(entry.blob, entry.size) for entry in manifest.tree.files)

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
