"""What a dedup would pack, against what, and about how small it would get."""

import contextlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from mvs.codecs import blocks
from mvs.codecs.derive.names import canonical
from mvs.codecs.numbers import KINDS
from mvs.errors import UNREADABLE, Corrupt, InvalidInput, MissingObject
from mvs.format.ids import ObjectId
from mvs.format.lines.refs import Ref
from mvs.format.manifest import Manifest
from mvs.format.names import Tag
from mvs.ops.dedup.bases import Candidate, Match, likeness, match
from mvs.ops.dedup.pieces import Piece, Whole, cut_blob, encode_piece, has_guides
from mvs.running.progress import Progress
from mvs.store.cache.sketches import FileSource, Sketch
from mvs.store.store import Store

# What may be kept loose.
KEEP = frozenset({"latest", "aliased"})
_LAST = "last-dedup"

# How many deltas may stand on one another. Reading a tensor decodes as many blocks.
MAX_DEPTH = 4
# Blobs that a blob is compared with tensor by tensor, the likeliest ones.
_MOST_CANDIDATES = 16
# How likely it is, against a likeness, that names alone tell the source of a derived copy.
_SAME_NAMES = 0.5
# Of a blob so many pieces are encoded to tell what it will cost.
_SAMPLED_PIECES = 4
_SAMPLE = 1 << 18


@dataclass(frozen=True, slots=True)
class Item:
    """One blob to be packed: `matches` says what each of its tensors is encoded against."""

    blob: ObjectId
    size: int
    tag: Tag
    path: str
    matches: Mapping[int, Match]
    bases: tuple[ObjectId, ...]
    depth: int
    estimate: int


@dataclass(frozen=True, slots=True)
class Plan:
    """What would be packed, in order; `kept` are bytes that stay loose as asked, `done` those packed before.

    `names` says what blobs are called, `everything` whether all versions were looked at.
    """

    items: tuple[Item, ...]
    kept: int
    done: int
    names: Mapping[ObjectId, str]
    everything: bool

    @property
    def size(self) -> int:
        """Bytes to be packed."""
        return sum(item.size for item in self.items)

    @property
    def estimate(self) -> int:
        """About as many bytes they will take."""
        return sum(item.estimate for item in self.items)


@dataclass(frozen=True, slots=True)
class _Blob:
    id: ObjectId
    size: int
    tag: Tag
    path: str
    created: int
    parents: frozenset[ObjectId]


def alone(blobs: Mapping[ObjectId, int]) -> Plan:
    """Return the plan to pack blobs, by id and size, against nothing."""
    items = tuple(
        Item(blob, size, Tag("", ""), str(blob), matches={}, bases=(), depth=0, estimate=size)
        for blob, size in sorted(blobs.items())
    )
    return Plan(items, 0, 0, {}, everything=False)


def plan(
    store: Store,
    chosen: Iterable[Ref],
    *,
    everything: bool = False,
    keep: frozenset[str] = frozenset(),
    since_last: bool = False,
    progress: Progress,
) -> Plan:
    """Return what packing the files of the versions `chosen` would do, but for those of `keep` (of `KEEP`).

    `everything` says that these are all there are. With `since_last` only versions that were saved
    after the last dedup of all began are looked at.

    Raises:
        InvalidInput: there is nothing like that to keep.
        Corrupt: a chosen version cannot be read.
    """
    if unknown := keep - KEEP:
        raise InvalidInput(f"cannot keep '{min(unknown)}' loose; there is {', '.join(sorted(KEEP))}")
    after = _last(store) if since_last else -1
    asked = {ref for ref in chosen if ref.created > after}
    manifests = _manifests(store, asked)
    blobs = _blobs(store, manifests)
    _teach(store, manifests.values())
    kept = {
        entry.blob for ref in _kept(store, keep) if (manifest := manifests.get(ref)) for entry in manifest.tree.files
    }
    wanted: dict[ObjectId, _Blob] = {}
    seen: set[ObjectId] = set()
    kept_bytes = done = 0
    for ref in sorted(asked & manifests.keys(), key=lambda ref: (ref.created, ref.tag)):
        for entry in manifests[ref].tree.files:
            if entry.blob in seen or entry.blob not in blobs:
                continue
            seen.add(entry.blob)
            if not store.objects.is_loose(entry.blob):
                done += entry.size
            elif entry.blob in kept:
                kept_bytes += entry.size
            else:
                wanted[entry.blob] = blobs[entry.blob]
    items: list[Item] = []
    depths: dict[ObjectId, int] = {}
    progress.start("planning", sum(blob.size for blob in wanted.values()))
    try:
        # A base comes before what stands on it, and a model before its quantised copies.
        before: list[ObjectId] = []
        for blob in sorted(blobs.values(), key=lambda blob: (_is_quantised(store, blob), blob.created)):
            if blob.id in wanted:
                try:
                    item = _item(store, blob, blobs, before, depths)
                except MissingObject:
                    # It was there a moment ago: its version was deleted, and a gc took it.
                    continue
                depths[blob.id] = item.depth
                items.append(item)
                progress.advance(blob.size)
            before.append(blob.id)
    finally:
        progress.finish()
    names = {blob.id: f"{blob.tag}/{blob.path}" for blob in blobs.values()}
    return Plan(tuple(items), kept_bytes, done, names, everything)


def note_done(store: Store, began: int) -> None:
    """Remember that everything saved before a moment was looked at."""
    store.note(_LAST, str(began).encode())


def _last(store: Store) -> int:
    try:
        return int(store.recalled(_LAST) or b"0")
    except ValueError:
        # A note is not durable: after a power cut anything may stand there.
        return 0


def _kept(store: Store, keep: frozenset[str]) -> Iterator[Ref]:
    if "latest" in keep:
        for name in store.refs.names():
            with contextlib.suppress(*UNREADABLE):
                if latest := store.refs.latest(name):
                    yield latest
    if "aliased" in keep:
        yield from store.refs.aliased()


def _manifests(store: Store, asked: Iterable[Ref]) -> dict[Ref, Manifest]:
    """Return every version that can be read: the others can be no bases.

    Of those `asked` for, one that was deleted and collected meanwhile is passed over, and one that is damaged is not.
    """
    found = {}
    for name in store.refs.names():
        for ref in store.refs.readable(name, lambda _: None):
            with contextlib.suppress(*UNREADABLE):
                found[ref] = store.manifest(ref)
    for ref in asked:
        if ref not in found:
            try:
                found[ref] = store.manifest(ref)
            except UNREADABLE:
                if store.refs.read(ref.tag) == ref:
                    raise
    return found


def _teach(store: Store, manifests: Iterable[Manifest]) -> None:
    """Let ONNX models say where tensors lie in the files beside them."""
    for manifest in manifests:
        by_path = {entry.path: entry for entry in manifest.tree.files}
        for path, entry in by_path.items():
            if not path.endswith(".onnx") or not any(store.objects.is_loose(other.blob) for other in by_path.values()):
                continue
            with contextlib.suppress(Corrupt):
                for location, tensors in store.sketches.external(entry.blob, entry.size).items():
                    beside = by_path.get(os.path.normpath(os.path.join(os.path.dirname(path), location)))
                    if beside is not None:
                        store.sketches.teach(beside.blob, beside.size, tensors)


def _blobs(store: Store, manifests: Mapping[Ref, Manifest]) -> dict[ObjectId, _Blob]:
    """Return all blobs that are here, each as its oldest version has it."""
    by_id = {ref.id: manifest for ref, manifest in manifests.items()}
    blobs: dict[ObjectId, _Blob] = {}
    for ref, manifest in sorted(manifests.items(), key=lambda pair: pair[0].created):
        parents = frozenset(
            entry.blob for parent in manifest.parents if parent in by_id for entry in by_id[parent].tree.files
        )
        for entry in store.here(ref.id, manifest):
            blobs.setdefault(entry.blob, _Blob(entry.blob, entry.size, ref.tag, entry.path, ref.created, parents))
    return blobs


def _is_quantised(store: Store, blob: _Blob) -> bool:
    try:
        shapes = store.sketches.of(blob.id, blob.size).by_shape
    except Corrupt:
        return False
    return 2 * sum(size * len(those) for (dtype, size), those in shapes.items() if dtype not in KINDS) > blob.size


def _item(
    store: Store,
    blob: _Blob,
    blobs: Mapping[ObjectId, _Blob],
    usable: Sequence[ObjectId],
    depths: Mapping[ObjectId, int],
) -> Item:
    sketch = store.sketches.of(blob.id, blob.size)
    # What others stand on stands on nothing: so no circle can come about (docs/format.md).
    if sketch.tensors and not store.objects.packs.is_needed(blob.id):
        # What is damaged is no base. That is rare: then the blob is packed without any.
        with contextlib.suppress(Corrupt):
            candidates = _candidates(store, blob, sketch, blobs, usable, depths)
            matches = match(blob.id, sketch, candidates, store.objects.packed.read)
            return _planned(store, blob, sketch, matches, depths)
    return _planned(store, blob, sketch, {}, depths)


def _planned(
    store: Store, blob: _Blob, sketch: Sketch, matches: Mapping[int, Match], depths: Mapping[ObjectId, int]
) -> Item:
    bases = tuple(dict.fromkeys(span.id for matched in matches.values() for span in matched.bases))
    depth = 1 + max((_depth(store, id, depths) for id in bases), default=0 if has_guides(sketch) else -1)
    with store.objects.open(blob.id) as file:
        source = FileSource(file, blob.size)
        estimate = _estimate(store, source, list(cut_blob(source, sketch, matches)) if sketch.tensors else [])
    return Item(blob.id, blob.size, blob.tag, blob.path, matches, bases, depth, estimate)


def _candidates(
    store: Store,
    blob: _Blob,
    sketch: Sketch,
    blobs: Mapping[ObjectId, _Blob],
    usable: Sequence[ObjectId],
    depths: Mapping[ObjectId, int],
) -> list[Candidate]:
    """Return what may serve as a base: what is likest, among equals parents, then earlier versions, then others."""

    def rank(id: ObjectId) -> tuple[int, int]:
        other = blobs[id]
        kinship = 0 if id in blob.parents else 1 if other.tag.name == blob.tag.name else 2
        return kinship, -other.created

    names = {canonical(tensor.name) for tensor in sketch.tensors}
    likely: list[tuple[float, Candidate]] = []
    for id in sorted(usable, key=rank):
        with contextlib.suppress(Corrupt):
            other = store.sketches.of(id, blobs[id].size)
            if how := _likely(sketch, names, other):
                likely.append((how, Candidate(id, other)))
    found: list[Candidate] = []
    # The likeliest, and among equals the preferred ones. Their packs are opened only now.
    for _, candidate in sorted(likely, key=lambda pair: -pair[0]):
        if _depth(store, candidate.id, depths) < MAX_DEPTH:
            found.append(candidate)
        if len(found) == _MOST_CANDIDATES:
            break
    return found


def _likely(ours: Sketch, names: set[str], other: Sketch) -> float:
    if not other.rows:
        return 0.0
    if how := likeness(ours, other):
        return how
    # Nothing alike in bits, but perhaps what it was derived from.
    return _SAME_NAMES if canonical(other.rows[0][0]) in names else 0.0


def _depth(store: Store, id: ObjectId, depths: Mapping[ObjectId, int]) -> int:
    if id in depths:
        return depths[id]
    # What is loose as well is still read from its pack where others stand on it.
    found = store.objects.packs.find(id)
    return found[1].depth if found else 0


def _estimate(store: Store, source: FileSource, wholes: list[Whole]) -> int:
    """Return about how many bytes a blob will take, from a sample of its largest pieces."""
    pieces = sorted((piece for whole in wholes for piece in whole.pieces), key=lambda piece: -piece.length)
    if not pieces:
        sample = source.read(0, _SAMPLE)
        return round(source.size * len(blocks.encode(sample, None).payload) / max(1, len(sample)))
    total = 0.0
    by_way: dict[tuple[bool, bool, int], list[float]] = {}
    for piece in pieces:
        way = (bool(piece.recipe), bool(piece.refs), piece.kind.width if piece.kind else 0)
        shares = by_way.setdefault(way, [])
        if len(shares) < _SAMPLED_PIECES:
            shares.append(_share(store, source, piece))
        total += piece.length * sum(shares) / len(shares)
    return round(total) + 150 * len(pieces)


def _share(store: Store, source: FileSource, piece: Piece) -> float:
    """Return which share of its plain bytes a piece is stored in, told from its beginning."""
    if piece.recipe:
        return len(piece.recipe) / piece.length
    length = min(piece.length, _SAMPLE)
    data = source.read(piece.offset, length)
    refs = [store.objects.packed.read(ref._replace(length=length)) for ref in piece.refs]
    return len(encode_piece(piece._replace(length=length), data, refs).payload) / length
