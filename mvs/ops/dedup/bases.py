"""Which earlier blobs a blob is like: by tensor names, shapes and sketches, decided by a sample of the real cost."""

from collections.abc import Callable, Container, Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mvs.codecs import derive
from mvs.codecs.cut import Tensor
from mvs.codecs.derive.names import canonical
from mvs.codecs.numbers import KINDS, Kind, encode_delta, encode_planes
from mvs.format.ids import ObjectId
from mvs.format.pack import Span
from mvs.store.cache.sketches import Sketch

Read = Callable[[Span], bytes]

# A base has to look as if it saved this share of what its tensors cost alone.
_WORTH = 0.1
# Shapes of tensors, the largest ones, that tell whether two blobs are alike at all.
_COMPARED_SHAPES = 4
# The mean of two bases is tried, block by block, where it looks no dearer than one by this factor.
_NEARLY = 1.05
# Of tensors of one shape and other names, so many are compared.
_MOST_ALIKE = 64
# Blobs whose real cost is sampled, and what is read of each.
_SHORTLIST = 3
_SAMPLED_TENSORS = 3
_SAMPLE_BYTES = 1 << 16
# A blob's tensors may come from so many others: shards, or a merge.
_MOST_BASES = 4
# What a derived tensor is tried on.
_DERIVED_SAMPLE = 1 << 13
# Where none of so many large tensors is derived, none is.
_DERIVED_TRIES = 4


class Match(NamedTuple):
    """What a tensor is encoded against: a base, two (the first, or their mean), or the source of a recipe."""

    bases: tuple[Span, ...] = ()
    recipe: derive.Recipe | None = None


class Candidate(NamedTuple):
    """A blob that may serve as a base."""

    id: ObjectId
    sketch: Sketch


class _Pair(NamedTuple):
    """Tensor number `theirs` of a candidate as the base of a tensor, and the share of its cost that is left."""

    candidate: Candidate
    theirs: int
    left: float

    @property
    def size(self) -> int:
        """The size of the tensor of the candidate."""
        return self.candidate.sketch.tensors[self.theirs].size

    @property
    def sample(self) -> bytes:
        """The sample of the tensor of the candidate."""
        return self.candidate.sketch.samples[self.theirs]


def match(id: ObjectId, sketch: Sketch, candidates: Iterable[Candidate], read: Read) -> dict[int, Match]:
    """Return what each tensor of a blob, by number, is best encoded against, where that is worth it.

    `candidates` come in the order of preference: among equals the first is taken.
    """
    pool = list(candidates)
    found = _derived(id, sketch, pool, read)
    pairs = {candidate.id: _pairs(sketch, candidate, skip=found.keys()) for candidate in pool if candidate.id != id}
    chosen: list[ObjectId] = []
    open_tensors = {number for some in pairs.values() for number in some}
    while open_tensors and len(chosen) < _MOST_BASES:
        savings = {other: _saving(sketch, some, open_tensors) for other, some in pairs.items() if other not in chosen}
        ranked = sorted(savings, key=lambda other: -savings[other])[:_SHORTLIST]
        total = sum(sketch.tensors[number].size for number in open_tensors)
        ranked = [other for other in ranked if savings[other] > _WORTH * total / 4]
        if not ranked:
            break
        best = ranked[0]
        if len(ranked) > 1:
            best = min(ranked, key=lambda other: _cost(id, sketch, pairs[other], open_tensors, read))
        chosen.append(best)
        for number in sorted(open_tensors & pairs[best].keys()):
            pair = pairs[best][number]
            found[number] = Match((_span(pair.candidate, pair.theirs),))
            open_tensors.discard(number)
    return _means(sketch, found, pairs)


def likeness(sketch: Sketch, other: Sketch) -> float:
    """Return how much of a blob another one might save, from 0 to 1, told from a few large tensors."""
    shapes = sorted(sketch.by_shape, key=lambda shape: -shape[1])[:_COMPARED_SHAPES]
    saved = 0.0
    for shape in shapes:
        numbers = other.by_shape.get(shape)
        if numbers:
            ours = sketch.samples[sketch.by_shape[shape][0]]
            samples = [other.samples[number] for number in numbers if len(other.samples[number]) == len(ours)]
            saved += max(0.0, 1 - _nearest(shape[0], ours, samples))
    return saved / max(1, len(shapes))


def _nearest(dtype: str, ours: bytes, samples: list[bytes]) -> float:
    """Return the least share of its cost that a tensor costs as a difference from one of several."""
    kind = KINDS.get(dtype)
    if not samples or kind is None:
        return 0.0 if ours in samples else 1.0
    theirs = np.frombuffer(b"".join(samples), f"<i{kind.width}").reshape(len(samples), -1).astype(np.float64)
    return float(_share(theirs - np.frombuffer(ours, f"<i{kind.width}"), kind).min())


def _pairs(sketch: Sketch, candidate: Candidate, *, skip: Container[int]) -> dict[int, _Pair]:
    """Pair tensors of the same name, else the most similar of the same type and size, where that saves anything."""
    theirs = candidate.sketch
    by_name: dict[tuple[str, str], int] = {}
    for number, tensor in enumerate(theirs.tensors):
        by_name.setdefault((canonical(tensor.name), tensor.dtype), number)
    pairs = {}
    for number, tensor in enumerate(sketch.tensors):
        if number in skip or not sketch.samples[number]:
            continue
        same = by_name.get((canonical(tensor.name), tensor.dtype))
        if same is not None and _rows(theirs.tensors[same]) == _rows(tensor):
            options = [same]
        else:
            options = theirs.by_shape.get((tensor.dtype, tensor.size), [])[:_MOST_ALIKE]
        best = min(
            (
                _Pair(candidate, other, _left(tensor, sketch.samples[number], [theirs.samples[other]]))
                for other in options
            ),
            key=lambda pair: pair.left,
            default=None,
        )
        if best is not None and best.left < 1:
            pairs[number] = best
    return pairs


def _rows(tensor: Tensor) -> tuple[int, ...]:
    return tensor.shape[1:] if len(tensor.shape) > 1 else tensor.shape


def _left(tensor: Tensor, ours: bytes, theirs: list[bytes]) -> float:
    """Return about which share of its cost alone a tensor costs as a difference, told from samples."""
    if any(len(sample) != len(ours) for sample in theirs) or not ours:
        return 1.0
    kind = KINDS.get(tensor.dtype)
    if kind is None:
        return 0.0 if theirs == [ours] else 1.0
    numbers = [np.frombuffer(sample, f"<i{kind.width}").astype(np.float64) for sample in (ours, *theirs)]
    if len(theirs) == 2:
        # Near enough to tell: neighbouring floats are neighbouring integers.
        numbers = [numbers[0], (numbers[1] + numbers[2]) / 2]
    return float(_share(numbers[0] - numbers[1], kind))


def _share(differences: NDArray[np.float64], kind: Kind) -> Any:
    """Return about which share of their cost alone the numbers of each row cost as differences."""
    # Alone an exponent of 8 bits takes about 2.6.
    return (np.log2(1.0 + 2 * np.abs(differences)).mean(axis=-1) + 0.5) / (8 * kind.width - 5.4)


def _saving(sketch: Sketch, pairs: Mapping[int, _Pair], wanted: set[int]) -> float:
    return sum(sketch.tensors[number].size * (1 - pair.left) for number, pair in pairs.items() if number in wanted)


def _cost(id: ObjectId, sketch: Sketch, pairs: Mapping[int, _Pair], wanted: set[int], read: Read) -> float:
    """Return the cost of a base on a sample of the largest tensors, relative to their cost alone."""
    cost = alone = 0
    for number in sorted(wanted, key=lambda number: -sketch.tensors[number].size)[:_SAMPLED_TENSORS]:
        tensor = sketch.tensors[number]
        kind = KINDS.get(tensor.dtype)
        if kind is None:
            continue
        start = (tensor.size - _SAMPLE_BYTES) // 2 // 8 * 8 if tensor.size > _SAMPLE_BYTES else 0
        length = min(tensor.size - start, _SAMPLE_BYTES) // kind.width * kind.width
        ours = read(Span(id, tensor.offset + start, length))
        single = len(encode_planes(ours, kind))
        alone += single
        pair = pairs.get(number)
        if pair is None or pair.size < start + length:
            cost += single
            continue
        theirs = read(_run(pair.candidate, pair.theirs, start, length))
        columns = tensor.shape[-1] if tensor.shape else 0
        cost += min(single, len(encode_delta(ours, [theirs], kind, columns=columns, at=start // kind.width)))
    return cost / max(1, alone)


def _means(sketch: Sketch, found: dict[int, Match], pairs: Mapping[ObjectId, Mapping[int, _Pair]]) -> dict[int, Match]:
    """Add a second base where the mean of two looks about as near as the one."""
    result = dict(found)
    for number, matched in found.items():
        tensor, sample = sketch.tensors[number], sketch.samples[number]
        kind = KINDS.get(tensor.dtype)
        if matched.recipe is not None or kind is None or not kind.mask:
            continue
        own = pairs[matched.bases[0].id][number]
        nearest = _NEARLY * own.left
        for other in (some[number] for some in pairs.values() if number in some):
            if other is own or not own.size == other.size == tensor.size:
                continue
            left = _left(tensor, sample, [own.sample, other.sample])
            if left < nearest:
                nearest = left
                result[number] = Match((*matched.bases, _span(other.candidate, other.theirs)))
    return result


def _derived(id: ObjectId, sketch: Sketch, pool: list[Candidate], read: Read) -> dict[int, Match]:
    """Find the tensors that a function makes of those of one other blob: quantised, cast or permuted copies."""
    best: dict[int, Match] = {}
    most = 0
    for candidate in pool:
        if candidate.id != id:
            found = _derived_from(id, sketch, candidate, read)
            made = sum(sketch.tensors[number].size for number in found)
            if made > max(most, _WORTH * sum(tensor.size for tensor in sketch.tensors)):
                best, most = found, made
    return best


def _derived_from(id: ObjectId, sketch: Sketch, candidate: Candidate, read: Read) -> dict[int, Match]:
    sources = {canonical(tensor.name): number for number, tensor in enumerate(candidate.sketch.tensors)}
    found: dict[int, Match] = {}
    lucky: set[derive.Recipe] = set()
    tried = 0
    for number, tensor in sorted(enumerate(sketch.tensors), key=lambda pair: -pair[1].size):
        theirs = sources.get(canonical(tensor.name))
        if theirs is None or not tensor.shape or candidate.sketch.tensors[theirs].shape != tensor.shape:
            continue
        source = candidate.sketch.tensors[theirs]
        recipes = list(derive.recipes(source.dtype, tensor.dtype, tensor.shape))
        alike = (
            source.dtype == tensor.dtype
            and _left(tensor, sketch.samples[number], [candidate.sketch.samples[theirs]]) < 1
        )
        if alike or not recipes:
            continue
        if tried >= _DERIVED_TRIES and not found:
            break
        tried += 1
        sample = read(Span(id, tensor.offset, min(tensor.size, _DERIVED_SAMPLE)))
        # What made the tensor before this one has most likely made this one, too.
        for recipe in sorted(recipes, key=lambda recipe: recipe not in lucky):
            if _makes(recipe, candidate, theirs, sample, read):
                found[number] = Match((_span(candidate, theirs),), recipe)
                lucky.add(recipe)
                break
    return found


def _makes(recipe: derive.Recipe, candidate: Candidate, theirs: int, sample: bytes, read: Read) -> bool:
    try:
        start, stop = derive.source_span(recipe, 0, len(sample))
        if stop > candidate.sketch.tensors[theirs].size:
            return False
        return derive.derive(recipe, read(_run(candidate, theirs, start, stop - start)), 0, len(sample)) == sample
    except ValueError:
        return False


def _span(candidate: Candidate, number: int) -> Span:
    tensor = candidate.sketch.tensors[number]
    return Span(candidate.id, tensor.offset, tensor.size)


def _run(candidate: Candidate, number: int, start: int, length: int) -> Span:
    return Span(candidate.id, candidate.sketch.tensors[number].offset + start, length)
