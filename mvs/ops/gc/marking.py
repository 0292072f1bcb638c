"""What is needed: everything that can be reached from refs, aliases, and the journal inside the undo window.

Whatever cannot be read stops it: an object must not be taken for rubbish because what names it is damaged, or lost.
"""

import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import nullcontext, suppress
from typing import NamedTuple

from mvs.errors import UNREADABLE, Corrupt, MvsError, StorageFailed, command
from mvs.format.ids import ObjectId
from mvs.format.lines.journal import Event
from mvs.format.lines.refs import Pin, Ref
from mvs.format.manifest import Manifest
from mvs.format.names import Tag
from mvs.format.pack import Index, Record
from mvs.ops.sharing import Shared, pins_of, shared
from mvs.store.store import Store


def present(store: Store) -> dict[ObjectId, Ref]:
    """Return the refs that are there, and those that aliases point at, by manifest.

    Raises:
        Corrupt, UnsupportedFormat: one of them cannot be read.
    """
    found = {ref.id: ref for ref in store.refs.aliased(strict=True)}
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
        held: what was deleted inside the window and can be restored, by manifest.
        saved: what was saved and never deleted, by manifest: where it has no ref, that is lost, or never came to be.
        named: every manifest that they name, and when its version was created.
        deleted: every deletion, the oldest of a version first.
    """

    held: dict[ObjectId, Ref]
    saved: dict[ObjectId, Ref]
    named: dict[ObjectId, int]
    deleted: list[Gone]


def told(store: Store, since: int, purge: Collection[str] = (), *, strict: bool | None) -> Told:
    """Return what the journals tell, for a window that begins at `since`; of the names in `purge` without a window.

    A manifest that is not there was taken by a gc without a window, unless damage is why.

    Raises:
        Corrupt: a journal is damaged, and `strict`.
        UnsupportedFormat: a later release wrote one; where `strict` is None that is passed over.
    """
    found = Told({}, {}, {}, [])
    for name in store.journal.names(strict=bool(strict)):
        last: dict[str, Event] = {}
        for event in _events(store, name, strict=strict):
            last[event.version] = event
            found.named.update((id, event.created) for id in (event.old, event.new) if id)
            if event.event == "delete" and event.old:
                found.deleted.append(Gone(Tag(name, event.version), event.old, event.at))
                if event.at > since and name not in purge and _was_not_taken(store, event.old):
                    found.held[event.old] = Ref(Tag(name, event.version), event.old, event.created)
        for event in last.values():
            if event.new and _was_not_taken(store, event.new):
                found.saved[event.new] = Ref(Tag(name, event.version), event.new, event.created)
    return found


def _events(store: Store, name: str, *, strict: bool | None) -> Iterator[Event]:
    with suppress(*UNREADABLE) if strict is None else nullcontext():
        yield from store.journal.events(name, strict=bool(strict))


def _was_not_taken(store: Store, id: ObjectId) -> bool:
    return store.objects.is_loose(id) or store.objects.is_lost(id)


def check_told(found: Iterable[Ref], history: Told) -> None:
    """Refuse what journals do not tell of: they are lost, and with them what was deleted.

    Raises:
        Corrupt: there is something of that kind.
    """
    for ref in found:
        if ref.id not in history.named:
            raise Corrupt(
                f"nothing may be removed while the journal of '{ref.tag.name}' does not tell of '{ref.tag}': "
                "what was deleted is lost with it",
                hint="mvs fsck --repair",
            )


def lacking(store: Store, known: Iterable[Shared], history: Told, since: int) -> Iterator[Ref]:
    """Yield pinned versions whose manifests are not there, although no deletion before `since` explains that.

    What a journal does not tell of was never here: it may be on a remote still.
    """
    let_go = {gone.id for gone in history.deleted if gone.at <= since}
    for pin in _pins(store, known):
        explained = pin.id in let_go and not store.objects.is_lost(pin.id)
        if pin.id in history.named and not explained and not store.objects.is_loose(pin.id):
            yield Ref(pin.tag, pin.id, history.named[pin.id])


def _pins(store: Store, known: Iterable[Shared]) -> Iterator[Pin]:
    yield from pins_of(store.root)
    for each in known:
        yield from each.pins


def beside_tags(store: Store, since: int, host: str) -> dict[ObjectId, Ref]:
    """Return what gc keeps beside the tags that are there, by manifest, as far as that can be read.

    That is what aliases point at, what repositories pin, what was deleted after `since`, and what lost its ref.
    """
    history = told(store, since, strict=None)
    found = {ref.id: ref for ref in store.refs.aliased()} | history.saved | history.held
    with suppress(*UNREADABLE, StorageFailed):
        known = shared(store, host)
        for pin in _pins(store, known):
            if pin.id not in found and store.objects.is_loose(pin.id):
                found[pin.id] = Ref(pin.tag, pin.id, history.named.get(pin.id, 0))
                with suppress(*UNREADABLE):
                    manifest = Manifest.decode(store.objects.read(pin.id))
                    # What the pin calls it is somebody's text.
                    found[pin.id] = Ref(manifest.tag, pin.id, manifest.created)
        found |= {ref.id: ref for ref in lacking(store, known, history, since) if ref.id not in found}
    for name in store.refs.names():
        for ref in store.refs.readable(name, lambda _: None):
            found.pop(ref.id, None)
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
        self._in_vain = False
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
        """Return where a packed object lies that was not there before; once in vain, packs are not listed again."""
        packs = self._store.objects.packs
        place = packs.place(id)
        if place is None and not self._in_vain:
            # Whoever only plans is not alone: a dedup may have moved it a moment ago.
            packs.forget()
            place = packs.place(id)
            self._in_vain = place is None
        if place is None:
            raise packs.missing(id)
        return place


class Needed:
    """Objects that are needed: `loose` by a file of their own, `packed` by a record in the pack that is named.

    `there` and `indexes` are what the store is known to have, as `Places` has it.
    """

    def __init__(
        self,
        store: Store,
        there: Mapping[ObjectId, int],
        indexes: Mapping[ObjectId, Index],
        repositories: Iterable[Shared] = (),
    ) -> None:
        self._store = store
        self._repositories = repositories
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
                self._follow([entry.blob for entry in self._store.here(ref.id, self._store.manifest(ref))])
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
        for alias, pointed in self._store.refs.aliases_of(ref.tag.name):
            if pointed.id == ref.id:
                return type(error)(
                    f"nothing may be removed while a version that an alias points at is damaged: {about}",
                    hint=f"mvs alias delete {ref.tag.name}@{alias}",
                )
        for place, pins in self._pinning():
            if name := next((pin.tag.name for pin in pins if pin.id == ref.id), None):
                return type(error)(
                    f"nothing may be removed while a version that is pinned is damaged: {about}",
                    hint=command("mvs", "-C", place, "unpin", name),
                )
        if not self._store.journal.last_deletion(ref.tag.name, ref.tag.version):
            return type(error)(
                f"nothing may be removed while a version that lost its tag is damaged: {about}",
                hint="mvs fsck --repair",
            )
        return type(error)(
            f"nothing may be removed while a version that can be restored is damaged: {about}",
            hint="mvs gc --expire now",
        )

    def _pinning(self) -> Iterator[tuple[str, tuple[Pin, ...]]]:
        with suppress(*UNREADABLE):
            yield os.path.dirname(self._store.root), pins_of(self._store.root)
        for each in self._repositories:
            yield each.shown, each.pins
