"""Checking what stands on what: every blob has its size, and every ref of every record leads somewhere."""

from collections import defaultdict
from collections.abc import Iterator

from mvs.backends.directory import Directory
from mvs.format.ids import ObjectId
from mvs.format.layout import object_path, pack_path
from mvs.format.manifest import FileEntry
from mvs.format.names import Tag
from mvs.format.pack import CONCAT, Index, Record, Span
from mvs.ops.fsck import report
from mvs.ops.fsck.suspects import Suspect
from mvs.store.packs.checking import Unkept

_ABSENT = -1
# As many records lead from one to the next at most, or reading them is refused (mvs/store/packs/reading.py).
_LONGEST_CHAIN = 64


class Graph:
    """Objects and what they refer to. What looks wrong is told to `suspects`."""

    def __init__(self, disk: Directory, packs: Unkept, suspects: list[Suspect]) -> None:
        self._disk = disk
        self._packs = packs
        self._suspects = suspects
        # By the raw bytes of ids: there may be millions.
        self._sizes: dict[bytes, int] = {}
        self._lacking: dict[ObjectId, set[ObjectId]] = {}
        self._reported: set[ObjectId] = set()

    def __contains__(self, id: ObjectId) -> bool:
        """Whether it was needed so far."""
        return id.raw in self._sizes

    def add(self, id: ObjectId) -> None:
        """Count an object as needed that was looked at elsewhere."""
        self._sizes.setdefault(id.raw, _ABSENT)

    def need_file(self, tag: Tag, entry: FileEntry) -> None:
        """Check that the blob of a file is there with its size, and all that it stands on."""
        self.need(entry.blob)
        size = self._sizes[entry.blob.raw]
        if size not in (_ABSENT, entry.size) and entry.blob not in self._reported:
            self._damaged(entry.blob, f"it has {size} bytes, and '{tag}' needs {entry.size} of it")

    def need(self, root: ObjectId) -> None:
        """Check that an object is there, and all that it stands on."""
        stack: list[tuple[ObjectId, ObjectId | None, Iterator[Span]]] = []
        above: set[ObjectId] = set()
        if root.raw not in self._sizes:
            self._enter(root, None, stack, above)
        while stack:
            id, pack, refs = stack[-1]
            span = next(refs, None)
            if span is None:
                above.discard(id)
                stack.pop()
                continue
            if span.id in above or len(stack) > _LONGEST_CHAIN:
                self._unreachable(id, pack, "refers to itself")
                continue
            if span.id.raw not in self._sizes:
                self._enter(span.id, pack, stack, above)
            self._check(span, id, pack)

    def check(self, name: ObjectId, index: Index) -> Iterator[Record]:
        """Check the records of a pack; yield those that nothing needed before."""
        for record in index.records.values():
            unneeded = record.id.raw not in self._sizes
            self.need(record.id)
            if unneeded:
                yield record
            for ref in record.refs:
                # Once more: readers may take another record of this object.
                if ref.id.raw not in self._sizes or self._sizes[ref.id.raw] < ref.offset + ref.length:
                    self.need(ref.id)
                    self._check(ref, record.id, name)

    def victims(self, suspects: list[Suspect]) -> "Victims":
        """Return a way to tell who suffers from some suspects, by their numbers."""
        return Victims(self._disk, self._packs, suspects)

    def lacking(self) -> Iterator[tuple[ObjectId, set[ObjectId]]]:
        """Yield what is missing, and the packs with records that refer to it."""
        yield from self._lacking.items()

    def is_missing(self, id: ObjectId) -> bool:
        """Tell whether an object is nowhere, as things are now."""
        return self._disk.size(object_path(id)) is None and self._packs.place(id) is None

    def _enter(
        self,
        id: ObjectId,
        by: ObjectId | None,
        stack: list[tuple[ObjectId, ObjectId | None, Iterator[Span]]],
        above: set[ObjectId],
    ) -> None:
        loose = self._disk.size(object_path(id))
        place = self._packs.place(id)
        if loose is None and place is None:
            self._sizes[id.raw] = _ABSENT
            self._lacking.setdefault(id, set())
            return
        if place is None:
            self._sizes[id.raw] = loose or 0
            return
        name, record = place
        self._sizes[id.raw] = record.size
        if loose is not None and loose != record.size:
            self._damaged(id, f"its file has {loose} bytes, and it has {record.size} in a pack")
        above.add(id)
        stack.append((id, name, iter(record.refs)))

    def _check(self, span: Span, id: ObjectId, pack: ObjectId | None) -> None:
        size = self._sizes[span.id.raw]
        if size == _ABSENT and span.id in self._lacking:
            if pack is not None:
                self._lacking[span.id].add(pack)
        elif size < span.offset + span.length:
            self._unreachable(id, pack, f"refers to more of object {span.id} than there is")

    def _damaged(self, id: ObjectId, message: str) -> None:
        self._reported.add(id)
        key = object_path(id)
        size = self._disk.size(key)
        self._suspects.append(
            Suspect(
                report.OBJECT_DAMAGED,
                str(id),
                message,
                still=lambda: self._disk.size(key) == size,
                ids=[id],
                loose=size is not None,
            )
        )

    def _unreachable(self, id: ObjectId, pack: ObjectId | None, message: str) -> None:
        if pack is None or id in self._reported:
            return
        self._reported.add(id)
        self._suspects.append(
            Suspect(
                report.RECORD_UNREACHABLE,
                str(id),
                f"its record in pack {pack} {message}",
                still=lambda: self._disk.size(pack_path(pack)) is not None,
                ids=[id],
                leans=True,
            )
        )


class Victims:
    """What stands on what is bad. A run of an object only suffers from what that run is made of."""

    def __init__(self, disk: Directory, packs: Unkept, suspects: list[Suspect]) -> None:
        self._disk = disk
        self._packs = packs
        self._bad: dict[ObjectId, set[int]] = defaultdict(set)
        self._bad_files: dict[ObjectId, set[int]] = defaultdict(set)
        for number, suspect in enumerate(suspects):
            for id in suspect.ids:
                (self._bad_files if suspect.loose else self._bad)[id].add(number)
        self._known: dict[bytes, frozenset[int]] = {}

    def of_blob(self, id: ObjectId, size: int) -> frozenset[int]:
        """Return the bad things that a file suffers from: readers take an object's own file where there is one."""
        if self._disk.size(object_path(id)) is not None:
            return frozenset(self._bad_files.get(id, ()))
        return self.of_run(Span(id, 0, size))

    def of_run(self, span: Span, chain: int = 0) -> frozenset[int]:
        """Return the bad things that a run suffers from: readers take records where there are some."""
        place = self._packs.place(span.id)
        if place is None:
            return frozenset(self._bad.get(span.id, set()) | self._bad_files.get(span.id, set()))
        _, record = place
        if record.encoding == CONCAT:
            return self._of_parts(record, span, chain)
        if span.id.raw not in self._known:
            self._known[span.id.raw] = frozenset()
            found = set(self._bad.get(span.id, ()))
            for ref in record.refs if chain <= _LONGEST_CHAIN else ():
                found |= self.of_run(ref, chain + 1)
            # Most suffer from nothing: one empty set for all of them.
            if found:
                self._known[span.id.raw] = frozenset(found)
        return self._known[span.id.raw]

    def _of_parts(self, record: Record, span: Span, chain: int) -> frozenset[int]:
        found = set(self._bad.get(span.id, ()))
        at = 0
        for part in record.refs if chain <= _LONGEST_CHAIN else ():
            first, last = max(span.offset, at), min(span.offset + span.length, at + part.length)
            if first < last:
                found |= self.of_run(Span(part.id, part.offset + first - at, last - first), chain + 1)
            at += part.length
        return frozenset(found)
