"""Exclusive bytes: of a version, or of several together, what no other version needs.

An object is a file of its own or a record in a pack, and it needs the records that its bytes are made from. A
version needs its manifest, its files, and all that those need; what several versions need belongs to what they have
in common. So each object is looked at a few times at most, however many versions need it.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping

from mvs.errors import UNREADABLE
from mvs.format.ids import ObjectId
from mvs.format.lines.refs import Ref
from mvs.ops.gc.marking import Places
from mvs.store.store import Store

# To whom an object belongs: (name, version), or (name,) where several versions of a name need it, or () where
# versions of several names do. Any other such path will do.
Owner = tuple[str, ...]


def by_version(ref: Ref) -> Owner:
    """Return the owner that a version is, among others of its name."""
    return ref.tag.name, ref.tag.version


def everything(store: Store, damaged: Callable[[str], None]) -> list[Ref]:
    """Return the refs of all versions, and those that aliases point at though they were deleted."""
    found = {ref: None for name in store.refs.names() for ref in store.refs.readable(name, damaged)}
    return [*found, *(ref for ref in store.refs.aliased() if ref not in found and store.objects.is_loose(ref.id))]


def owned(store: Store, owners: Iterable[tuple[Ref, Owner]]) -> dict[Owner, int]:
    """Return the stored bytes that belong to each owner and to none below it, once through the whole store.

    A version that cannot be read is passed over: nobody knows what it needs.
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
    for ref, owner in owners:
        try:
            blobs = [entry.blob for entry in store.manifest(ref).tree.files]
            _give([(id, owner) for id in (ref.id, *blobs)], belongs, sizes, places, there)
        except UNREADABLE:
            continue
    found: dict[Owner, int] = defaultdict(int)
    for id, owner in belongs.items():
        found[owner] += sizes[id]
    return dict(found)


def within(found: Mapping[Owner, int]) -> dict[Owner, int]:
    """Return the bytes that belong to each owner and to all below it, from what `owned` returns."""
    total: dict[Owner, int] = defaultdict(int)
    for owner, size in found.items():
        for end in range(len(owner) + 1):
            total[owner[:end]] += size
    return dict(total)


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
