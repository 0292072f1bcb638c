"""Making the bytes of a derived tensor, any range of them, in memory a few times the range."""

import numpy as np
import numpy.typing as npt

from mvs.codecs.derive import blocks, casts
from mvs.codecs.derive.recipe import FUNCTIONS, Recipe, source_span, unit_of

# Elements worked on at once: 256 KiB of F32, so that a dozen passes stay in the processor's cache.
CHUNK = 1 << 16


def derive(recipe: Recipe, source: bytes | memoryview, start: int, stop: int) -> bytes:
    """Return bytes [start, stop) of the target; `source` is exactly what `source_span` asks for.

    Raises:
        ValueError: a recipe, a range or a length of `source` that makes no sense.
    """
    low, high = source_span(recipe, start, stop)
    view = memoryview(source)
    if view.nbytes != high - low:
        raise ValueError(f"{view.nbytes} bytes of source where {high - low} are needed")
    if start == stop:
        return b""
    items: npt.NDArray[np.generic] = np.frombuffer(view, "<f4" if recipe.source == "F32" else "<u2")
    if recipe.head:
        items = _interleaved(items, recipe.head, recipe.columns)
    # Overflow to infinity and NaN are values like others here.
    with np.errstate(all="ignore"):
        made = _made(recipe, items)
    offset = start % unit_of(recipe).gives
    return made[offset : offset + stop - start].tobytes()


def _interleaved(items: npt.NDArray[np.generic], head: int, columns: int) -> npt.NDArray[np.generic]:
    """Return whole heads with the rows of their halves in turn."""
    return items.reshape(-1, 2, head // 2, columns).swapaxes(1, 2).reshape(-1)


def _made(recipe: Recipe, items: npt.NDArray[np.generic]) -> npt.NDArray[np.uint8]:
    function = FUNCTIONS[recipe.function]
    if recipe.function == "copy":
        return items.view(np.uint8)
    if function.items == 1:
        out = np.empty(items.size, "<f4" if function.target == "F32" else "<u2")
        for at in range(0, items.size, CHUNK):
            casts.cast(recipe.function, recipe.source, items[at : at + CHUNK], out[at : at + CHUNK])
        return out.view(np.uint8)
    rows = items.reshape(-1, function.items)
    packed = np.empty((len(rows), function.size), np.uint8)
    step = CHUNK // function.items
    for at in range(0, len(rows), step):
        # Widened while transposed: one pass over the source.
        columns = casts.widen(recipe.source, rows[at : at + step].T.copy())
        blocks.quantize(recipe.function, columns, packed[at : at + step])
    return packed.reshape(-1)
