"""Checking a store: refs, manifests, objects, packs, tables. It takes no lock but for a last look, and changes nothing.

Others save, delete, pack and collect meanwhile. So what looks wrong is only suspected at first; at the end
each suspect is looked at again, while the lock keeps things as they are, for as long as a few small reads take.
"""

import os
from collections import defaultdict
from collections.abc import Iterable, Iterator
from functools import partial
from itertools import chain
from typing import Literal

from blake3 import blake3

from mvs.backends import locks
from mvs.backends.directory import Directory
from mvs.errors import CorruptManifest, CorruptObject, InvalidInput, MissingObject, command
from mvs.format.ids import ObjectId
from mvs.format.layout import CACHE, LOCK, PARTIAL, STAGING, lost_path, object_path, pack_path
from mvs.format.lines.refs import Ref
from mvs.format.manifest import Manifest
from mvs.format.names import Spec, Tag
from mvs.format.pack import CONCAT, Span
from mvs.ops.fsck import report, sampling
from mvs.ops.fsck.content import Content, Loose
from mvs.ops.fsck.graph import Graph
from mvs.ops.fsck.names import Names
from mvs.ops.fsck.report import Amount, Finding, Report
from mvs.ops.fsck.rubbish import rubbish
from mvs.ops.fsck.suspects import FAILURES, Suspect, reason
from mvs.ops.fsck.tables import check_tables, hidden_in
from mvs.ops.gc.marking import beside_tags
from mvs.running.progress import Progress
from mvs.store.packs.checking import Unkept
from mvs.store.packs.lookup import prefix_of
from mvs.store.packs.reading import Packed
from mvs.store.store import Store

Level = Literal["quick", "full", "sample"]
LEVELS: tuple[Level, ...] = ("quick", "full", "sample")


def fsck(
    store: Store,
    specs: Iterable[Spec],
    *,
    level: Level,
    share: float,
    progress: Progress,
    since: int = 0,
    host: str = "",
) -> Report:
    """Check some versions and what they stand on; without specs all of the store. Nothing is changed.

    All of it is also what gc keeps without a tag, on the machine `host`, of what was deleted after `since`.

    Raises:
        NotFound: a spec stands for nothing.
        InvalidInput: `level` is none, or `share` is not from 0 to 1.
    """
    if level not in LEVELS:
        raise InvalidInput(f"'{level}' is no level; there are {', '.join(LEVELS)}")
    if not 0 <= share <= 1:
        raise InvalidInput(f"a share is a number from 0 to 1, not {share}")
    return _Check(store, list(specs), progress, since, host).run(level, share)


class _Check:
    def __init__(self, store: Store, specs: list[Spec], progress: Progress, since: int, host: str) -> None:
        self._store = store
        self._specs = specs
        self._progress = progress
        self._since = since
        self._host = host
        # What gc keeps without a tag.
        self._untagged: dict[ObjectId, Ref] = {}
        self._disk = Directory(str(store.root), durable=False, temps=STAGING)
        self._packs = Unkept(self._disk)
        self._packed = Packed(self._disk, self._packs)
        self._suspects: list[Suspect] = []
        self._names = Names(store, self._disk, self._suspects)
        self._graph = Graph(self._disk, self._packs, self._suspects)
        self._content = Content(self._disk, self._packs, self._suspects, progress)
        self._amounts: dict[str, Amount] = defaultdict(Amount)

    def run(self, level: Level, share: float) -> Report:
        refs = self._names.refs(self._names.tags(self._specs))
        self._check_names(refs.values())
        for ref in refs.values():
            self._check_version(ref)
        self._check_packs()
        self._check_loose()
        # After what no version needs was counted: these are needed by nobody but who may want them back.
        self._untagged = self._now_untagged()
        for ref in self._untagged.values():
            self._check_version(ref)
        if not self._specs:
            self._suspects += check_tables(self._disk, self._packs)
        self._check_content(level, share)
        findings = self._findings(refs)
        self._amounts["verified"] = Amount(self._content.count, self._content.size)
        if not self._specs:
            self._amounts.update(rubbish(self._disk))
            self._amounts["quarantine"] = Amount(*self._store.quarantine.amount())
        return Report(level, findings, len(refs), dict(self._amounts))

    def _check_names(self, refs: Iterable[Ref]) -> None:
        if self._specs:
            return
        by_name: dict[str, list[Ref]] = defaultdict(list)
        for ref in refs:
            by_name[ref.tag.name].append(ref)
        for name in sorted({*by_name, *self._names.journals()}):
            self._names.check_journal(name, by_name.get(name, []))
        for name in self._store.refs.names():
            self._names.check_latest(name)
        self._names.check_places()
        self._names.check_aliases()
        self._names.check_notes()

    def _now_untagged(self) -> dict[ObjectId, Ref]:
        return {} if self._specs else beside_tags(self._store, self._since, self._host)

    def _check_version(self, ref: Ref) -> None:
        self._graph.add(ref.id)
        try:
            manifest = self._manifest(ref)
        except FAILURES as error:
            kind = report.MANIFEST_MISSING if isinstance(error, MissingObject) else report.MANIFEST_DAMAGED
            self._suspects.append(
                Suspect(
                    kind,
                    str(ref.id),
                    f"the manifest of '{ref.tag}': {reason(error)}",
                    still=partial(self._is_unreadable, ref),
                    hint=f"mvs log {ref.tag.name}",
                    tags=[ref.tag],
                    pointless=True,
                )
            )
            return
        elsewhere = self._elsewhere(ref)
        for entry in manifest.tree.files:
            if ref.id not in self._untagged:
                self._amounts["files"] += Amount(1, entry.size)
            if entry.blob in elsewhere and self._graph.is_missing(entry.blob):
                self._amounts["not-pulled"] += Amount(1, entry.size)
            else:
                self._graph.need_file(ref.tag, entry)

    def _elsewhere(self, ref: Ref) -> frozenset[ObjectId]:
        """Return the blobs of a version that need not be here: they were not pulled."""
        try:
            found = self._store.partials.read(ref.id)
        except FAILURES as error:
            self._suspects.append(
                Suspect(
                    report.PARTIAL_DAMAGED,
                    f"{PARTIAL}/{ref.id}",
                    f"what was not pulled of '{ref.tag}' cannot be told: {reason(error)}",
                    still=partial(self._is_unlisted, ref.id),
                    hint=command("mvs", "pull", ref.tag),
                    tags=[ref.tag],
                    pointless=True,
                )
            )
            return frozenset()
        return found.blobs if found else frozenset()

    def _is_unlisted(self, id: ObjectId) -> bool:
        try:
            self._store.partials.read(id)
        except FAILURES:
            return True
        return False

    def _manifest(self, ref: Ref) -> Manifest:
        """Return what a ref names, as `Store.manifest` does, which may write lookup tables."""
        try:
            data = self._disk.read(object_path(ref.id))
        except FileNotFoundError:
            # Manifests are not packed by this release; a later one may.
            size = self._packed.size(ref.id)
            if size is None:
                raise MissingObject(f"object {ref.id} is not in the store") from None
            data = self._packed.read(Span(ref.id, 0, size))
        if blake3(data).digest() != ref.id.raw:
            raise CorruptObject(f"object {ref.id} does not hold the bytes it is named after")
        manifest = Manifest.decode(data)
        if manifest.tag != ref.tag or manifest.created != ref.created:
            raise CorruptManifest(f"it is the one of '{manifest.tag}'")
        return manifest

    def _is_unreadable(self, ref: Ref) -> bool:
        if ref.id not in self._untagged and not self._is_same(ref):
            # Deleted since, and collected.
            return False
        try:
            self._manifest(ref)
        except FAILURES:
            return True
        return False

    def _check_packs(self) -> None:
        for name, index in self._packs.indexes():
            lengths = [r.length for r in index.records.values() if not self._specs or r.id in self._graph]
            if lengths or not self._specs:
                self._amounts["packs"] += Amount(1, self._disk.size(pack_path(name)) or 0)
                self._amounts["records"] += Amount(len(lengths), sum(lengths))
            if not self._specs:
                for record in self._graph.check(name, index):
                    self._amounts["unreferenced-records"] += Amount(1, record.length)
        for name, error in dict(self._packs.unreadable).items():
            if self._specs:
                # Whoever misses something in it is told.
                continue
            self._suspects.append(
                Suspect(
                    report.PACK_DAMAGED,
                    pack_path(name),
                    reason(error),
                    still=partial(self._is_unreadable_pack, name),
                )
            )

    def _is_unreadable_pack(self, name: ObjectId) -> bool:
        return name in self._packs.unreadable and self._disk.size(pack_path(name)) is not None

    def _check_loose(self) -> None:
        for id, size in self._loose():
            self._amounts["objects"] += Amount(1, size)
            if id not in self._graph:
                self._amounts["unreferenced"] += Amount(1, size)

    def _loose(self) -> Iterator[Loose]:
        """Yield the loose objects to be looked at. Listed each time: there may be millions."""
        for id, size in self._store.objects.loose():
            if not self._specs or id in self._graph:
                yield Loose(id, size)

    def _check_content(self, level: Level, share: float) -> None:
        if level == "quick":
            return
        sample = None
        if level == "sample":
            after = os.urandom(8) if self._specs else sampling.last_end(self._store)
            sample = sampling.Sample(chain(self._loose(), self._records()), share, after)

        def wanted(id: ObjectId) -> bool:
            return (not self._specs or id in self._graph) and (sample is None or id in sample)

        # Verified when they were read.
        reported = {suspect.what for suspect in self._suspects if suspect.kind in _OBJECTS}
        loose = (item for item in self._loose() if wanted(item.id) and str(item.id) not in reported)
        total = sum(size for id, size in chain(self._loose(), self._records()) if wanted(id))
        self._progress.start("verifying", total)
        try:
            self._content.check_loose(loose)
            for name in sorted(self._packs.names()):
                self._content.check_pack(name, wanted, whole=level == "full" and not self._specs)
            if sample is not None:
                self._content.verify_ids(self._bases())
        finally:
            self._progress.finish()
        if sample is not None and not self._specs:
            self._disk.cache(f"{CACHE}/{sampling.NOTE}", sampling.note(sample))

    def _records(self) -> Iterator[tuple[ObjectId, int]]:
        for _, index in self._packs.indexes():
            for record in index.records.values():
                if record.encoding != CONCAT:
                    yield record.id, record.size

    def _bases(self) -> set[ObjectId]:
        """Return what records stand on that could not be decoded: a sample may not have come upon what is damaged."""
        pending = [id for suspect in self._suspects if suspect.leans for id in suspect.ids]
        found: set[ObjectId] = set()
        while pending:
            place = self._packs.place(pending.pop())
            for ref in place[1].refs if place else ():
                if ref.id not in found:
                    found.add(ref.id)
                    pending.append(ref.id)
        return found

    def _findings(self, refs: dict[Tag, Ref]) -> tuple[Finding, ...]:
        """Return what is still wrong when it is looked at again, and who suffers from it."""
        self._packs.forget()
        self._suspect_missing()
        suspects = [suspect for suspect in self._suspects if suspect.again()]
        suspects = self._causes(suspects)
        if not suspects:
            return ()
        now = self._names_now(refs)
        self._untagged = self._now_untagged()
        self._find_victims(suspects, (*now.values(), *self._untagged.values()))
        untagged = {ref.tag: ref.id for ref in self._untagged.values()}
        found = []
        with locks.still(self._disk.path(LOCK)):
            self._packs.forget()
            for suspect in suspects:
                known = [tag for tag in suspect.tags if self._suffers(tag, now.get(tag), untagged.get(tag))]
                if not suspect.still() or ((suspect.pointless or self._specs) and not known):
                    continue
                versions = tuple(sorted(set(known)))
                hint = suspect.hint or (f"mvs log {versions[0].name}" if versions else "")
                found.append(Finding(suspect.kind, suspect.what, suspect.message, versions, hint))
        order = {kind: number for number, kind in enumerate(report.KINDS)}
        return tuple(sorted(set(found), key=lambda finding: (order[finding.kind], finding.what, finding.message)))

    def _names_now(self, refs: dict[Tag, Ref]) -> dict[Tag, Ref]:
        """Return the refs as they are by now."""
        if self._specs:
            return {tag: ref for tag, ref in refs.items() if self._is_same(ref)}
        before = len(self._suspects)
        now = self._names.refs(self._names.tags(()))
        # Told already, or damaged a moment ago.
        del self._suspects[before:]
        return now

    def _suffers(self, tag: Tag, ref: Ref | None, untagged: ObjectId | None) -> bool:
        """Tell whether a version is still there, or kept by gc: manifests are what it takes first."""
        if untagged is not None and (self._disk.size(object_path(untagged)) is not None):
            return True
        if ref is not None:
            return self._is_same(ref)
        return untagged is None or untagged in self._now_untagged()

    def _is_same(self, ref: Ref) -> bool:
        try:
            return self._store.refs.read(ref.tag) == ref
        except FAILURES:
            return False

    def _suspect_missing(self) -> None:
        remembered = list(hidden_in(self._disk, set(self._packs.unreadable)))
        packs = {suspect.what: suspect for suspect in self._suspects if suspect.kind == report.PACK_DAMAGED}
        for id, needing in self._graph.lacking():
            holders = [name for name, prefixes in remembered if prefix_of(id) in prefixes]
            if holders and (holder := packs.get(pack_path(holders[0]))):
                holder.ids.append(id)
                continue
            places = ", ".join(f"'{pack_path(name)}'" for name in holders)
            what = f"it is nowhere in the store{f', and {places} is damaged, which had it' if holders else ''}"
            if self._disk.size(lost_path(id)) is not None:
                what += "; it was damaged and could not be mended"
            if needing:
                what += f"; records of {len(needing)} pack{'s' if len(needing) > 1 else ''} refer to it"
            self._suspects.append(
                Suspect(
                    report.OBJECT_MISSING,
                    str(id),
                    what,
                    still=partial(self._graph.is_missing, id),
                    ids=[id],
                    pointless=not any(self._disk.size(pack_path(name)) for name in needing),
                )
            )

    def _causes(self, suspects: list[Suspect]) -> list[Suspect]:
        """Leave out what only suffers from something else."""
        victims = self._graph.victims(suspects)
        left = []
        for number, suspect in enumerate(suspects):
            places = [self._packs.place(id) for id in suspect.ids] if suspect.leans else []
            below = [ref for place in places if place for ref in place[1].refs]
            if not any(victims.of_run(ref) - {number} for ref in below):
                left.append(suspect)
        return left

    def _find_victims(self, suspects: list[Suspect], refs: Iterable[Ref]) -> None:
        if not any(suspect.ids for suspect in suspects):
            return
        victims = self._graph.victims(suspects)
        for ref in refs:
            try:
                files = self._manifest(ref).tree.files
            except FAILURES:
                continue
            for number in {bad for entry in files for bad in victims.of_blob(entry.blob, entry.size)}:
                suspects[number].tags.append(ref.tag)


_OBJECTS = {report.OBJECT_DAMAGED, report.MANIFEST_DAMAGED}
