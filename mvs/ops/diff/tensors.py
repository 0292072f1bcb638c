"""The tensors of two versions side by side: what is the same is known from ids, the rest is read in blocks."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

from mvs.errors import Corrupt, CorruptObject
from mvs.format.manifest import FileEntry
from mvs.format.names import Tag
from mvs.ops.diff import measure
from mvs.ops.diff.facts import Difference, TensorDiff, TensorStatus
from mvs.ops.diff.layers import natural
from mvs.ops.diff.pairs import Found, Pair, pair
from mvs.ops.find.query import Stored
from mvs.running.parallel import Advance, each
from mvs.running.progress import Progress
from mvs.store.store import Store

# 4 MiB: what packs are cut into, so that no block is decoded twice.
_BLOCK = 4 << 20


@dataclass(frozen=True, slots=True)
class _Plan:
    """How two tensors are compared: from their start, so many items of so many bytes; else by byte."""

    items: int
    widths: tuple[int, int]
    by_value: bool


class _Part(NamedTuple):
    """Some of the items of pair number `pair`."""

    pair: int
    first: int
    items: int


def compare(store: Store, before: Stored, after: Stored, progress: Progress) -> tuple[TensorDiff, ...]:
    """Return the tensors of two versions, sorted by name as a person counts.

    Memory is bounded by some blocks for each core, whatever the size of a tensor.

    Raises:
        Corrupt: a file that must be read is damaged or lost.
    """
    pairs = sorted(_pairs(store, before, after, progress), key=_order)
    plans = [_plan(*sides) for sides in pairs]
    parts = [part for number, plan in enumerate(plans) if plan for part in _parts(number, plan)]

    def work(part: _Part, advance: Advance) -> Difference:
        found = _compared(store, (before.ref.tag, after.ref.tag), pairs[part.pair], plans[part.pair], part)
        advance(_size(plans[part.pair], part))
        return found

    total = sum(_size(plans[part.pair], part) for part in parts)
    measured: dict[int, Difference] = {}
    for part, found in zip(parts, each(work, parts, label="comparing", total=total, progress=progress), strict=True):
        measured[part.pair] = measured.get(part.pair, Difference()) + found
    return tuple(_told(sides, measured.get(number)) for number, sides in enumerate(pairs))


def _pairs(store: Store, before: Stored, after: Stored, progress: Progress) -> Iterator[Pair]:
    """Pair the tensors of two versions. What lies in a blob of both need not be hashed to be known as the same."""
    ours, theirs = before.manifest.tree.files, after.manifest.tree.files
    shared = {entry.blob for entry in ours} & {entry.blob for entry in theirs}
    jobs = [(before.ref.tag, entry) for entry in ours] + [(after.ref.tag, entry) for entry in theirs]

    def work(job: tuple[Tag, FileEntry], advance: Advance) -> list[Found]:
        tag, entry = job
        with _explained(tag, entry):
            if entry.blob not in shared:
                named = store.tensors.of(entry.blob, entry.size, advance=advance)
                return [Found(entry, tensor, id.raw) for tensor, id in named]
            places = store.tensors.places(entry.blob, entry.size)
            return [Found(entry, tensor, b"%s %d" % (entry.blob.raw, tensor.offset)) for tensor in places]

    total = sum(entry.size for _, entry in jobs if entry.blob not in shared)
    found = each(work, jobs, label="looking at tensors", total=total, progress=progress)
    left, right = found[: len(ours)], found[len(ours) :]
    return pair((one for some in left for one in some), (one for some in right for one in some))


def _order(sides: Pair) -> tuple[list[tuple[int, str]], str]:
    found = sides[1] or sides[0]
    assert found is not None
    return natural(found.tensor.name or found.entry.path), found.entry.path


def _plan(before: Found | None, after: Found | None) -> _Plan | None:
    """Return how two tensors are compared, None where they need not or cannot be."""
    if before is None or after is None or before.identity == after.identity:
        return None
    a, b = before.tensor, after.tensor
    widths = measure.width(a.dtype), measure.width(b.dtype)
    if widths[0] is None or widths[1] is None:
        return _Plan(a.size, (1, 1), by_value=False) if (a.dtype, a.size) == (b.dtype, b.size) else None
    if bool(a.shape) != bool(b.shape) and a.size > widths[0]:
        # One of them is not known to lie row by row.
        return None
    counts = a.size // widths[0], b.size // widths[1]
    if counts[0] == counts[1] or (len(a.shape) > 1 and a.shape[1:] == b.shape[1:]):
        return _Plan(min(counts), (widths[0], widths[1]), by_value=True)
    return None


def _parts(number: int, plan: _Plan) -> Iterator[_Part]:
    step = _BLOCK // max(plan.widths)
    for first in range(0, plan.items, step):
        yield _Part(number, first, min(step, plan.items - first))


def _size(plan: _Plan | None, part: _Part) -> int:
    return part.items * sum(plan.widths) if plan else 0


def _compared(store: Store, tags: tuple[Tag, Tag], sides: Pair, plan: _Plan | None, part: _Part) -> Difference:
    before, after = sides
    assert plan is not None
    assert before is not None
    assert after is not None
    ours, theirs = (
        _bytes(store, tag, found, part.first * width, part.items * width)
        for tag, found, width in zip(tags, (before, after), plan.widths, strict=True)
    )
    if plan.by_value:
        return measure.by_value(ours, theirs, (before.tensor.dtype, after.tensor.dtype))
    return measure.by_byte(ours, theirs)


def _bytes(store: Store, tag: Tag, found: Found, offset: int, length: int) -> bytes:
    with _explained(tag, found.entry):
        with store.objects.open(found.entry.blob) as file:
            file.seek(found.tensor.offset + offset)
            data = file.read(length)
        if len(data) != length:
            raise CorruptObject(f"object {found.entry.blob} is shorter than it was")
        return data


@contextmanager
def _explained(tag: Tag, entry: FileEntry) -> Iterator[None]:
    try:
        yield
    except Corrupt as error:
        what = f"file '{entry.path}' of '{tag}' is damaged in the store: {error.message}"
        raise type(error)(what, hint=f"mvs log {tag.name}") from error


def _told(sides: Pair, difference: Difference | None) -> TensorDiff:
    before, after = sides
    items = difference.items if difference else 0
    if before and after and before.identity == after.identity:
        items = before.tensor.size // (measure.width(before.tensor.dtype) or 1)
    return TensorDiff(
        status=_status(before, after),
        before=before.side if before else None,
        after=after.side if after else None,
        items=items,
        difference=difference,
    )


def _status(before: Found | None, after: Found | None) -> TensorStatus:
    if before is None:
        return "added"
    if after is None:
        return "removed"
    a, b = before.tensor, after.tensor
    if a.dtype != b.dtype:
        return "retyped"
    if a.size != b.size:
        return "resized"
    # A shape that is not known is no other shape.
    if a.shape != b.shape and ((a.shape and b.shape) or math.prod(a.shape or b.shape) == 1):
        return "reshaped"
    if before.identity != after.identity:
        return "changed"
    return "same" if (before.entry.path, a.name) == (after.entry.path, b.name) else "moved"
