"""Exclusive bytes: of a version, or of several together, what no other version needs.

An object is a file of its own or a record in a pack, and it needs the records that its bytes are made from. A
version needs its manifest, its files, and all that those need; what several versions need belongs to what they have
in common. So each object is looked at a few times at most, however many versions need it.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping

from mvs.errors import UNREADABLE, MvsError
from mvs.format.ids import ObjectId
from mvs.format.manifest import Manifest, blobs
from mvs.ops.find import query
from mvs.ops.gc.marking import Places
from mvs.store.store import Store

# To whom an object belongs, from the outside in: ("bert", "v1") is a version, ("bert",) several of that name,
# () are versions that have nothing else in common. Any other such path will do.
Owner = tuple[str, ...]


def standing(store: Store, pinned: Iterable[ObjectId]) -> set[ObjectId]:
    """Return the manifests that need what they need, deleted or not: by a ref, an alias, or a pin."""
    refs = query.refs(store, query.Wanted(), lambda _: None)
    return {*(ref.id for ref in refs), *(ref.id for ref in store.refs.aliased()), *pinned}


def owned(
    store: Store,
    owners: Mapping[ObjectId, Owner],
    damaged: Callable[[ObjectId, MvsError], None] = lambda _, __: None,
) -> dict[Owner, int]:
    """Return the stored bytes that belong to each owner, and to those inside it; `owners` are manifests.

    The whole store is gone through once. A manifest that cannot be read is told to `damaged` and passed over: nobody
    knows what it needs.
    """
    there = dict(store.objects.loose())
    try:
        indexes = store.objects.packs.readable()
    except UNREADABLE:
        # Then what the others hold is found one by one.
        indexes = {}
    places = Places(store, there, indexes)
    belongs: dict[ObjectId, Owner] = {}
    sizes: dict[ObjectId, int] = {}
    for manifest, owner in owners.items():
        try:
            files = _files(store.objects.read(manifest))
        except UNREADABLE as error:
            damaged(manifest, error)
            continue
        _give([(id, owner) for id in (manifest, *files)], belongs, sizes, places, there)
    found: dict[Owner, int] = defaultdict(int)
    for id, owner in belongs.items():
        for end in range(len(owner) + 1):
            found[owner[:end]] += sizes[id]
    return dict(found)


def _files(manifest: bytes) -> list[ObjectId]:
    try:
        return blobs(manifest)
    except ValueError:
        # It knows better what is wrong.
        return [entry.blob for entry in Manifest.decode(manifest).tree.files]


def _give(
    pending: list[tuple[ObjectId, Owner]],
    belongs: dict[ObjectId, Owner],
    sizes: dict[ObjectId, int],
    places: Places,
    there: Mapping[ObjectId, int],
) -> None:
    while pending:
        id, owner = pending.pop()
        before = belongs.get(id)
        now = owner if before is None else _common(before, owner)
        if now == before:
            # Whatever it needs belongs to them already.
            continue
        belongs[id] = now
        try:
            place = places.of(id)
        except UNREADABLE:
            # It is lost, and takes no room.
            sizes[id] = 0
            continue
        sizes[id] = there.get(id, 0) if place is None else place[1].length
        pending += [(part.id, now) for part in place[1].refs] if place else []


def _common(one: Owner, other: Owner) -> Owner:
    end = 0
    for ours, theirs in zip(one, other, strict=False):
        if ours != theirs:
            break
        end += 1
    return one[:end]
