"""What is needed: everything that can be reached from refs, aliases, and the journal inside the undo window.

Whatever cannot be read stops it: an object must not be taken for rubbish because what names it is damaged.
"""

from collections.abc import Iterable

from mvs.errors import UNREADABLE, MvsError
from mvs.format.ids import MAX_TIME, ObjectId
from mvs.format.names import Tag
from mvs.format.refs import Ref
from mvs.store.store import Store


def roots(store: Store, since: int) -> dict[ObjectId, Ref]:
    """Return the refs that must stay readable, by manifest: those that are there, and those that `held` adds.

    Raises:
        Corrupt, UnsupportedFormat: one of them cannot be read.
    """
    return held(store, since) | present(store)


def present(store: Store) -> dict[ObjectId, Ref]:
    """Return the refs that are there, and those that aliases point at, by manifest.

    Raises:
        Corrupt, UnsupportedFormat: one of them cannot be read.
    """
    found = {ref.id: ref for ref in store.refs.aliased(strict=True) if store.objects.is_loose(ref.id)}
    for name in store.refs.names(strict=True):
        found |= {ref.id: ref for ref in store.refs.of_name(name)}
    return found


def held(store: Store, since: int, *, strict: bool = True) -> dict[ObjectId, Ref]:
    """Return what the journal asks to keep, by manifest: what was deleted after `since`, and what lost its ref.

    A version that was saved and never deleted, but has no ref, was being saved by a process that died, or its ref
    was lost. Which of them cannot be told, so only when nothing deleted is to be kept (`since` is the end of time)
    it is let go.

    Raises:
        Corrupt, UnsupportedFormat: a journal is damaged, and `strict`.
    """
    found: dict[ObjectId, Ref] = {}
    if since >= MAX_TIME:
        return found
    for name in store.journal.names():
        last: dict[str, tuple[ObjectId | None, int]] = {}
        kept: list[tuple[str, ObjectId | None, int]] = []
        for event in store.journal.events(name, strict=strict):
            last[event.version] = event.new, event.created
            if event.event == "delete" and event.at > since:
                kept.append((event.version, event.old, event.created))
        kept += [(version, id, created) for version, (id, created) in last.items()]
        for version, id, created in kept:
            if id and id not in found and store.objects.is_loose(id):
                found[id] = Ref(Tag(name, version), id, created)
    return found


def named(store: Store) -> set[ObjectId]:
    """Return every manifest that a journal names."""
    return {
        id
        for name in store.journal.names()
        for event in store.journal.events(name)
        for id in (event.old, event.new)
        if id
    }


class Needed:
    """Objects that are needed: `loose` by a file of their own, `packed` by a record in the pack that is named."""

    def __init__(self, store: Store) -> None:
        self._store = store
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
        packs = self._store.objects.packs
        while pending:
            id = pending.pop()
            if id in self.loose or id in self.packed:
                continue
            if self._store.objects.is_loose(id):
                self.loose.add(id)
                continue
            place = packs.place(id)
            if place is None:
                # Whoever only plans is not alone: a dedup may have moved it a moment ago.
                packs.forget()
                place = packs.place(id)
            if place is None:
                raise packs.missing(id)
            name, record = place
            self.packed[id] = name
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
