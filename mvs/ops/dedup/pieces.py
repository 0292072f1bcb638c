"""Where a blob is cut, and what each piece is encoded against."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from mvs.codecs import blocks, cut, derive
from mvs.codecs.blocks import Encoded, Trial
from mvs.codecs.cut import Source, Tensor
from mvs.codecs.numbers import KINDS, Buffer, Kind
from mvs.format.pack import Span
from mvs.ops.dedup.bases import Match
from mvs.store.cache.sketches import Sketch

# Not an encoding: the piece is its ref, byte for byte, and needs no record.
SAME = "same"

_GLANCE = 1 << 12

# 4 MiB: smaller and the index and the tables of symbols outgrow what they save, larger and
# reading one tensor reads too much, and few blocks leave cores idle.
BLOCK = 4 << 20


# How optimizers name their first and second moments: PyTorch, Optax, Keras.
_MOMENTS = (("exp_avg", "exp_avg_sq"), ("/mu/", "/nu/"), ("/m/", "/v/"))


class Piece(NamedTuple):
    """A run of a blob that becomes one record: `refs` and `trials` as `blocks.encode` has them, or a `recipe`.

    `guide` is the offset in the blob of the piece whose numbers tell the scale of those in this one, -1 for none.
    """

    offset: int
    length: int
    kind: Kind | None = None
    columns: int = 0
    at: int = 0
    refs: tuple[Span, ...] = ()
    trials: tuple[Trial, ...] = ()
    recipe: bytes = b""
    guide: int = -1


class Whole(NamedTuple):
    """Pieces that belong together: a tensor, or what lies between two."""

    offset: int
    length: int
    pieces: tuple[Piece, ...]

    @property
    def is_guided(self) -> bool:
        """Whether its pieces are to be encoded after others."""
        return self.pieces[0].guide >= 0


def cut_blob(source: Source, sketch: Sketch, matches: Mapping[int, Match]) -> Iterator[Whole]:
    """Yield what a blob consists of, in order and without gaps."""
    if not sketch.tensors:
        for offset, length in cut.chunks(source):
            yield Whole(offset, length, (Piece(offset, length),))
        return
    guides = _guides(sketch)
    at = 0
    for number, tensor in enumerate(sketch.tensors):
        if tensor.offset > at:
            yield _plain(at, tensor.offset - at)
        pieces = tuple(_pieces(tensor, matches.get(number, Match()), guides.get(number, -1)))
        yield Whole(tensor.offset, tensor.size, pieces)
        at = tensor.offset + tensor.size
    if source.size > at:
        yield _plain(at, source.size - at)


def _plain(offset: int, length: int) -> Whole:
    pieces = tuple(Piece(offset + start, min(BLOCK, length - start)) for start in range(0, length, BLOCK))
    return Whole(offset, length, pieces)


def _pieces(tensor: Tensor, match: Match, guide: int) -> Iterator[Piece]:
    kind = kind_of(tensor)
    columns = tensor.shape[-1] if tensor.shape else 0
    # Where the base ends, so does what is a difference from it.
    end = tensor.size if match.recipe else min([tensor.size, *(span.length for span in match.bases)])
    limits = sorted({*range(0, tensor.size, BLOCK), end, tensor.size})
    for start, stop in pairwise(limits):
        piece = Piece(tensor.offset + start, stop - start, kind, columns, start // kind.width if kind else 0)
        if guide >= 0:
            piece = piece._replace(guide=guide + start)
        if match.recipe is not None:
            first, last = derive.source_span(match.recipe, start, stop)
            base = match.bases[0]
            yield piece._replace(
                refs=(Span(base.id, base.offset + first, last - first),),
                recipe=blocks.pack_recipe(match.recipe, start, stop),
            )
        elif match.bases and stop <= end:
            refs = tuple(Span(base.id, base.offset + start, stop - start) for base in match.bases)
            trials: tuple[Trial, ...] = ()
            if kind and (stop - start) % kind.width == 0:
                trials = tuple(Trial(blocks.DELTA, tuple(range(count))) for count in range(1, len(refs) + 1))
            yield piece._replace(refs=refs, trials=trials)
        else:
            yield piece


def has_guides(sketch: Sketch) -> bool:
    """Tell whether some tensors of a blob tell the scale of others."""
    return bool(_guides(sketch))


def _guides(sketch: Sketch) -> dict[int, int]:
    """Return, by tensor, the offset of the one that tells its scale: of a first moment its second moment."""
    by_name = {(tensor.name, tensor.dtype, tensor.size): tensor.offset for tensor in sketch.tensors}
    guides = {}
    for number, tensor in enumerate(sketch.tensors):
        for first, second in _MOMENTS:
            other = tensor.name.replace(first, second)
            if other != tensor.name and (tensor.name.endswith(first) or "/" in first):
                found = by_name.get((other, tensor.dtype, tensor.size))
                if found is not None and tensor.dtype in KINDS:
                    guides[number] = found
    return guides


def kind_of(tensor: Tensor) -> Kind | None:
    """Return how the numbers of a tensor are encoded, None where its type is not known."""
    if tensor.dtype in KINDS:
        return KINDS[tensor.dtype]
    width = cut.ITEM_WIDTH.get(tensor.dtype, 0)
    return Kind(width) if width in (1, 2, 4, 8) else None


def encode_piece(piece: Piece, data: Buffer, refs: Sequence[Buffer]) -> Encoded:
    """Return the encoding of a piece, or of a beginning of it; it decodes to `data` again.

    What a recipe fails to make is encoded without it, and what fails to decode is stored as it is.
    """
    if piece.recipe:
        encoded = Encoded(blocks.DERIVE, piece.recipe, (0,))
        if _decodes(encoded, data, refs):
            return encoded
        return encode_piece(piece._replace(recipe=b"", refs=()), data, ())
    if len(refs) == 1 and _equal(refs[0], data):
        return Encoded(SAME, b"", (0,))
    encoded = blocks.encode(data, piece.kind, refs, piece.trials, columns=piece.columns, at=piece.at)
    if _decodes(encoded, data, refs):
        return encoded
    return Encoded(blocks.RAW, bytes(data))


def _decodes(encoded: Encoded, data: Buffer, refs: Sequence[Buffer]) -> bool:
    try:
        plain = blocks.decode(encoded.encoding, encoded.payload, len(data), [refs[index] for index in encoded.refs])
    except ValueError:
        return False
    return _equal(plain, data)


def _equal(one: Buffer, other: Buffer) -> bool:
    # Most that differ do so at once. Comparing memoryviews takes ten times as long as arrays, bytes eight times as long
    # as words.
    if len(one) != len(other) or bytes(one[:_GLANCE]) != bytes(other[:_GLANCE]):
        return False
    words = len(one) // 8
    if bytes(one[8 * words :]) != bytes(other[8 * words :]):
        return False
    return np.array_equal(np.frombuffer(one, "<u8", words), np.frombuffer(other, "<u8", words))
