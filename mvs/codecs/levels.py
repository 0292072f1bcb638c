"""How large the updates of a tensor are, by row and by column: one byte each, kept beside a delta.

A level is twice the binary logarithm of a mean absolute update. Nothing depends on how a level was
found: it only has to be the same when the delta is decoded, so estimates from samples will do.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mvs.codecs.arrange import Bytes, Contexts, Values
from mvs.codecs.ways import scratch

Floats = NDArray[np.float32]

# A shorter row would cost more than its level tells, a longer one says too little of its parts.
SHORTEST_ROW = 64
LONGEST_ROW = 4096
_USUAL_ROW = 512
# Of a row every so many elements tell its level well enough, of a column so many in all.
_STRIDE = 8
_ROWS = 128
# Means of fewer updates than this to a column differ by chance.
_TELLING = 48
# Columns get levels when those differ by so much (standard deviation, in octaves).
_WORTH_COLUMNS = 0.25
# What is smaller than this counts as no update: log2 needs something.
_NOTHING = 1e-30
# And a mean that is too large for F32 as this.
_MOST = 1e38


class Levels(NamedTuple):
    """`rows` and `columns` of levels; elements go row by row, the first one at `phase` of the first row.

    `row` is the number of elements in a row, 0 where there are no levels; `columns` may be empty.
    """

    row: int
    phase: int
    rows: Bytes
    columns: Bytes

    def spread(self, count: int) -> Contexts:
        """Return the level of row plus column of each of `count` elements, modulo 256.

        The array is the thread's, and is used again by the next call.
        """
        columns = self.columns if len(self.columns) else np.zeros(self.row, np.uint8)
        spread = scratch("contexts", len(self.rows) * self.row, np.dtype(np.uint8))
        np.add(self.rows[:, None], columns, out=spread.reshape(-1, self.row))
        return spread[self.phase : self.phase + count]


NO_LEVELS = Levels(0, 0, np.zeros(0, np.uint8), np.zeros(0, np.uint8))


def levels_of(
    target: Values, base: Values, floats: Callable[[Values], Floats], highest: int, columns: int, at: int
) -> Levels:
    """Return the levels of what was added to `base` to make `target`, as `floats` reads them, shifted by `highest`.

    `columns` is the length of a row, 0 where it is not known, and `at` the number of the first
    element in its tensor. NaN and infinities count as no update.
    """
    row = columns
    while row > LONGEST_ROW and row % 2 == 0:
        row //= 2
    if not SHORTEST_ROW <= row <= LONGEST_ROW:
        row = _USUAL_ROW
    phase = at % row
    head = min(-phase % row, len(target))
    whole = (len(target) - head) // row
    tail = head + whole * row

    def update(part: slice, stride: tuple[slice, ...]) -> Floats:
        shape = (-1, row) if part.start == head and whole else (1, -1)
        some, others = (floats(values[part].reshape(shape)[stride]) for values in (target, base))
        found: Floats = np.abs(some - others)
        finite = np.isfinite(found)
        if not finite.all():
            found[~finite] = 0
        return found

    with np.errstate(all="ignore"):
        means = [update(slice(0, head), ()).mean(1)] if head else []
        by_column = np.ones(0)
        if whole:
            middle = slice(head, tail)
            means.append(update(middle, (slice(None), slice(None, None, _STRIDE))).mean(1))
            some = update(middle, (slice(None, None, -(-whole // _ROWS)),))
            if np.count_nonzero(some) >= _TELLING * row:
                some /= np.maximum(some.mean(1, keepdims=True), _NOTHING)
                by_column = np.maximum(some.mean(0), _NOTHING)
        if tail < len(target):
            means.append(update(slice(tail, len(target)), ()).mean(1))
        by_row = np.concatenate(means)
        octaves = np.log2(np.maximum(by_column, 2.0**-15))
        rows = np.rint(2 * np.log2(np.clip(by_row, _NOTHING, _MOST)))
    moving = by_row > _NOTHING
    rows = np.clip(rows - (rows[moving].min() if moving.any() else 0), 0, 60)
    column_levels = np.zeros(0)
    if len(octaves) and octaves.std() > _WORTH_COLUMNS:
        column_levels = np.rint(2 * octaves)
    return Levels(row, phase, _bytes(rows + highest), _bytes(column_levels))


def _bytes(levels: NDArray[np.floating]) -> Bytes:
    return (levels.astype(np.int64) % 256).astype(np.uint8)
