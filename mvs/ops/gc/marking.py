"""What is needed: everything that can be reached from refs, aliases, and the journal inside the undo window.

Whatever cannot be read stops it: an object must not be taken for rubbish because what names it is damaged.
"""

from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

from mvs.errors import UNREADABLE, MvsError
from mvs.format.ids import MAX_TIME, ObjectId
from mvs.format.lines.journal import Event
from mvs.format.lines.refs import Ref
from mvs.format.names import Tag
from mvs.format.pack import Index, Record
from mvs.store.store import Store


def present(store: Store) -> dict[ObjectId, Ref]:
    """Return the refs that are there, and those that aliases point at, by manifest.

    Raises:
        Corrupt, UnsupportedFormat: one of them cannot be read.
    """
    found = {ref.id: ref for ref in store.refs.aliased(strict=True) if store.objects.is_loose(ref.id)}
    for name in store.refs.names(strict=True):
        found |= {ref.id: ref for ref in store.refs.of_name(name)}
    return found


class Gone(NamedTuple):
    """A deleted version that can no longer be restored afterwards; `at` is when it was deleted, in nanoseconds."""

    tag: Tag
    id: ObjectId
    at: int


class Told(NamedTuple):
    """What the journals tell.

    Attributes:
        held: what they ask to keep, by manifest: what was deleted inside the window, and what lost its ref.
        named: every manifest that they name.
        deleted: every deletion, the oldest of a version first.
    """

    held: dict[ObjectId, Ref]
    named: set[ObjectId]
    deleted: list[Gone]


def told(store: Store, since: int, purge: Collection[str] = ()) -> Told:
    """Return what the journals tell, for a window that begins at `since`; of the names in `purge` without a window.

    A version that was saved and never deleted, but has no ref, was being saved by a process that died, or its ref
    was lost. Which of them cannot be told, so only when nothing deleted is to be kept (`since` is the end of time)
    it is let go.

    Raises:
        Corrupt, UnsupportedFormat: a journal is damaged, and something is to be kept.
    """
    keeping = since < MAX_TIME
    found = Told({}, set(), [])
    for name in store.journal.names():
        last: dict[str, Event] = {}
        kept: list[tuple[str, ObjectId | None, int]] = []
        for event in store.journal.events(name, strict=keeping):
            last[event.version] = event
            found.named.update(id for id in (event.old, event.new) if id)
            if event.event == "delete" and event.old:
                found.deleted.append(Gone(Tag(name, event.version), event.old, event.at))
                if event.at > since and name not in purge:
                    kept.append((event.version, event.old, event.created))
        kept += [(event.version, event.new, event.created) for event in last.values()]
        for version, id, created in kept if keeping else ():
            if id and id not in found.held and store.objects.is_loose(id):
                found.held[id] = Ref(Tag(name, version), id, created)
    return found


def newer(store: Store) -> dict[ObjectId, Ref] | None:
    """Return every version whose ref came or went since `Journal.watch`, by manifest; None where nobody can tell."""
    events = store.journal.changes()
    if events is None:
        return None
    return {
        id: Ref(Tag(name, event.version), id, event.created)
        for name, event in events
        for id in (event.old, event.new)
        if id and store.objects.is_loose(id)
    }


class Places:
    """Where objects are: `there`, in files of their own, or in packs.

    `there` and `indexes` are what the store is known to have; what is in neither is looked for.
    """

    def __init__(self, store: Store, there: Mapping[ObjectId, int], indexes: Mapping[ObjectId, Index]) -> None:
        self._store = store
        self._there = there
        self._records: dict[ObjectId, tuple[ObjectId, Record]] = {}
        for name, index in indexes.items():
            for id, record in index.records.items():
                known = self._records.get(id)
                if known is None or record.rank < known[1].rank:
                    self._records[id] = name, record

    def of(self, id: ObjectId) -> tuple[ObjectId, Record] | None:
        """Return the pack and the record that an object is read from, None where it has a file of its own.

        Raises:
            MissingObject: it is nowhere.
        """
        if id in self._there or self._store.objects.is_loose(id):
            return None
        return self._records.get(id) or self._looked_for(id)

    def _looked_for(self, id: ObjectId) -> tuple[ObjectId, Record]:
        """Return where a packed object lies that was not there before."""
        packs = self._store.objects.packs
        place = packs.place(id)
        if place is None:
            # Whoever only plans is not alone: a dedup may have moved it a moment ago.
            packs.forget()
            place = packs.place(id)
        if place is None:
            raise packs.missing(id)
        return place


class Needed:
    """Objects that are needed: `loose` by a file of their own, `packed` by a record in the pack that is named.

    `there` and `indexes` are what the store is known to have, as `Places` has it.
    """

    def __init__(self, store: Store, there: Mapping[ObjectId, int], indexes: Mapping[ObjectId, Index]) -> None:
        self._store = store
        self._places = Places(store, there, indexes)
        self.loose: set[ObjectId] = set()
        self.packed: dict[ObjectId, ObjectId] = {}

    def add(self, found: Iterable[Ref]) -> None:
        """Need the manifests of these refs, their files, and all that those stand on.

        Raises:
            Corrupt, UnsupportedFormat: something of it cannot be read, or is missing.
        """
        for ref in found:
            self.loose.add(ref.id)
            try:
                self._follow([entry.blob for entry in self._store.manifest(ref).tree.files])
            except UNREADABLE as error:
                raise self._stopped(ref, error) from error

    def _follow(self, pending: list[ObjectId]) -> None:
        while pending:
            id = pending.pop()
            if id in self.loose or id in self.packed:
                continue
            place = self._places.of(id)
            if place is None:
                self.loose.add(id)
                continue
            self.packed[id], record = place
            pending += [part.id for part in record.refs]

    def _stopped(self, ref: Ref, error: MvsError) -> MvsError:
        """Return the error that says which version stops a gc, and what lets it go on."""
        tag = str(ref.tag)
        about = error.message if tag in error.message else f"version '{tag}': {error.message}"
        if self._store.refs.exists(ref.tag):
            return type(error)(f"nothing may be removed while a version is damaged: {about}", hint=f"mvs delete {tag}")
        return type(error)(
            f"nothing may be removed while a version that can be restored is damaged: {about}",
            hint="mvs gc --expire now",
        )
