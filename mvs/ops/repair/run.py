"""Repairing a store: check, mend what was found, check again, until nothing more can be mended.

It holds `packing`, as a dedup or gc does, so that nothing is packed or taken away meanwhile; saves go on. Each step is
whole by itself: cut off anywhere, the store is no worse than before, and the next repair goes on.
"""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from functools import partial

from mvs.backends.directory import Directory
from mvs.format.ids import ObjectId
from mvs.format.layout import CACHE, EVENTS, JOURNAL, STAGING, TAGS
from mvs.format.lines.refs import Ref
from mvs.ops.fsck import Report, fsck, report
from mvs.ops.fsck.suspects import FAILURES
from mvs.ops.gc.marking import beside_tags
from mvs.ops.repair.names import Names
from mvs.ops.repair.objects import Mending, drop_derived
from mvs.ops.repair.report import Mended, Repaired
from mvs.ops.repair.sources import Sources
from mvs.running.progress import Progress
from mvs.store.packs.checking import Unkept
from mvs.store.packs.lookup import kept_tables
from mvs.store.store import Store

# A damaged pack hides what is missing, a damaged manifest its files; behind those nothing more can be hidden.
_ROUNDS = 4
_OBJECTS = {
    report.MANIFEST_MISSING,
    report.MANIFEST_DAMAGED,
    report.OBJECT_MISSING,
    report.OBJECT_DAMAGED,
    report.RECORD_DAMAGED,
    report.RECORD_UNREACHABLE,
}
_REFS = {report.REF_DAMAGED, report.REF_MISSING, report.REFS_LOST, report.MANIFEST_MISSING, report.MANIFEST_DAMAGED}
_JOURNALS = {report.JOURNAL_DAMAGED, report.JOURNAL_CUT}
_LATEST = {report.LATEST_STALE, report.LATEST_WRONG}
_NOTES = report.NOTES_DAMAGED
_TABLES = {report.INDEX_WRONG, report.INDEX_STALE}
# What is missing for good.
_LOST = {report.MANIFEST_MISSING, report.OBJECT_MISSING}


def repair(
    store: Store,
    *,
    folder: str | None,
    stores: Iterable[Store],
    by: str,
    now: int,
    progress: Progress,
    since: int = 0,
    host: str = "",
) -> Repaired:
    """Check every byte of a store, and mend what is damaged from what is there, a folder, and other stores.

    `now` is the time for what is written to journals; `since` and `host` are as for `fsck`.

    Raises:
        StoreBusy: a dedup, a gc or another repair is at work.
        StorageFailed: the disk is full, read-only or failing; what was mended so far stays mended.
    """
    mended: list[Mended] = []
    quarantined: list[str] = []
    check = partial(fsck, store, (), level="full", share=0, progress=progress, since=since, host=host)
    with store.packing():
        before = after = check()
        for _ in range(_ROUNDS):
            around = _Round(store, after, folder, list(stores), by, now, progress, since, host)
            done = around.run() if after.findings else ([], [])
            if not any(done):
                break
            mended += done[0]
            quarantined += done[1]
            after = check()
        _mark(store, {ObjectId.from_hex(found.what) for found in after.findings if found.kind in _LOST})
        store.trash.empty()
    return Repaired(before, after, tuple(mended), tuple(quarantined))


class _Round:
    def __init__(
        self,
        store: Store,
        found: Report,
        folder: str | None,
        stores: list[Store],
        by: str,
        now: int,
        progress: Progress,
        since: int,
        host: str,
    ) -> None:
        self._store = store
        self._found = found
        self._folder = folder
        self._stores = stores
        self._by = by
        self._now = now
        self._progress = progress
        self._since = since
        self._host = host
        # Only read.
        self._disk = Directory(str(store.root), durable=False, temps=STAGING)

    def run(self) -> tuple[list[Mended], list[str]]:
        """Return what was mended, and what was moved into quarantine."""
        mended, quarantined = [], []
        if self._of(_TABLES):
            mended.append(self._rebuild_tables())
        names = Names(self._store, self._disk, by=self._by, now=self._now, progress=self._progress)
        names.clear_places()
        # They say what refs were, so before them.
        for journal in sorted({what for what in self._of(_JOURNALS) if what.endswith(f"/{EVENTS}")}):
            names.mend_journal(journal.removeprefix(f"{JOURNAL}/").rpartition("/")[0])
        for tag in sorted({tag for found in self._found.findings if found.kind in _REFS for tag in found.versions}):
            names.mend_ref(tag)
        for tag in sorted({tag for found in self._found.findings if found.kind == _NOTES for tag in found.versions}):
            names.mend_notes(tag)
        for latest in self._of(_LATEST):
            names.mend_latest(latest.removeprefix(f"{TAGS}/").rpartition("/")[0])
        objects = [ObjectId.from_hex(what) for what in self._of(_OBJECTS)]
        packs = [_name_of(what) for what in self._of({report.PACK_DAMAGED})]
        if objects or packs:
            with self._store.session() as session:
                unkept = Unkept(self._disk)
                sources = Sources(self._disk, unkept, self._sizes(), self._folder, self._stores)
                mending = Mending(self._store, self._disk, unkept, sources, session, self._progress)
                mending.run(objects, packs)
            drop_derived(self._store, mending.touched)
            mended += mending.mended
            quarantined += mending.quarantined
        return names.mended + mended, names.quarantined + quarantined

    def _of(self, kinds: set[str]) -> list[str]:
        return [found.what for found in self._found.findings if found.kind in kinds]

    def _rebuild_tables(self) -> Mended:
        for path, _ in list(kept_tables(self._disk)):
            self._disk.discard(path)
        self._store.objects.packs.forget()
        # Looking for anything makes them.
        self._store.objects.packs.find(ObjectId.of(b""))
        return Mended(f"{CACHE}/packs", "made again from the packs")

    def _sizes(self) -> dict[ObjectId, int]:
        """Return the sizes of the blobs of all versions that can be read, also of those that gc keeps without a tag."""
        found: dict[ObjectId, int] = {}
        for ref in (*self._refs(), *beside_tags(self._store, self._since, self._host).values()):
            with suppress(*FAILURES):
                found |= {entry.blob: entry.size for entry in self._store.manifest(ref).tree.files}
        return found

    def _refs(self) -> Iterator[Ref]:
        for name in self._store.refs.names():
            yield from self._store.refs.readable(name, lambda _: None)


def _mark(store: Store, lost: set[ObjectId]) -> None:
    """Say of what is lost that it is, and of nothing else."""
    marked = set(store.quarantine.lost())
    if marked != lost:
        with store.exclusive():
            for id in lost - marked:
                store.quarantine.mark(id)
            for id in marked - lost:
                store.quarantine.unmark(id)


def _name_of(path: str) -> ObjectId:
    folder, _, name = path.removesuffix(".pack").rpartition("/")
    return ObjectId.from_hex(folder[-2:] + name)
