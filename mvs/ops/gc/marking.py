"""What is needed: everything that can be reached from refs, aliases, and the journal inside the undo window.

Whatever cannot be read stops it: an object must not be taken for rubbish because what names it is damaged.
"""

from collections.abc import Iterable

from mvs.format.ids import ObjectId
from mvs.format.names import Tag
from mvs.format.refs import Ref
from mvs.store.store import Store


def roots(store: Store, since: int) -> dict[ObjectId, Ref]:
    """Return the refs that must stay readable, by manifest: those that are there, and those deleted after `since`.

    Raises:
        Corrupt, UnsupportedFormat: one of them cannot be read.
    """
    found: dict[ObjectId, Ref] = {}
    for name in store.refs.names():
        for ref in store.refs.of_name(name):
            found[ref.id] = ref
    for ref in store.refs.aliased(strict=True):
        if store.objects.is_loose(ref.id):
            found[ref.id] = ref
    for name in store.journal.names():
        for event in store.journal.events(name):
            if event.event == "delete" and event.at > since and event.old and store.objects.is_loose(event.old):
                found.setdefault(event.old, Ref(Tag(name, event.version), event.old, event.created))
    return found


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
        pending: list[ObjectId] = []
        for ref in found:
            self.loose.add(ref.id)
            pending += [entry.blob for entry in self._store.manifest(ref).tree.files]
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
                raise packs.missing(id)
            name, record = place
            self.packed[id] = name
            pending += [part.id for part in record.refs]
