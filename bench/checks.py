"""`fsck --full` against BLAKE3 alone over loose files, and against decoding alone over packs."""

import mvs
from bench.dedup import large
from bench.dedup.family import family
from bench.dedup.ours import Store
from bench.dedup.reading import family as read
from bench.measure import Bound, Meter, Run, section
from bench.place import Place, hash_tree, remove
from mvs.format.ids import ObjectId
from mvs.store.store import Store as Inside

_LOOSE = Bound(0.7, "x", ">=")
_PACKED = Bound(0.9, "x", ">=")


def run(place: Place, meter: Meter) -> None:
    section("Checking everything")
    for label, data in place.shapes().items():
        repo = place.repository("checked", durable=False)
        repo.save(data, "bench:v1")
        ours = Run(lambda repo=repo: _check(repo))  # type: ignore[misc]
        theirs = Run(lambda data=data: hash_tree(data))  # type: ignore[misc]
        meter.compare(theirs, [(f"fsck --full, {label} : BLAKE3", ours, _LOOSE)])
        remove(place.work / "checked")
    models = read(place.corpus if place.corpus else family(place.kept))
    pair = large.pair(models, place.work / "large", place.size)
    store = Store.new(place, "packed", [pair.base, pair.tuned])
    packed = mvs.open(store.folder)
    ours = Run(lambda: _check(packed))
    read_all, decode = (Run(lambda verify=verify: _decode(packed, verify=verify)) for verify in (True, False))  # type: ignore[misc]
    meter.compare(read_all, [("fsck --full, packed : decoding, verified as reads are", ours, _PACKED)])
    meter.compare(decode, [("fsck --full, packed : decoding alone", ours, _PACKED)])
    remove(store.folder)


def _check(repo: mvs.Repository) -> None:
    if not mvs.open(repo.root).fsck(level="full").ok:
        raise AssertionError("a store that was just made is damaged")


def _decode(repo: mvs.Repository, *, verify: bool) -> None:
    """Decode every file on all cores."""
    objects = Inside(repo.store).objects
    for version in repo.list():
        for file in version.files:
            if not objects.is_loose(id := ObjectId.from_hex(file.blob)):
                for _ in objects.verified(id) if verify else objects.packed.blocks(id, file.size):
                    pass
