"""How the hot loops are run: by numpy or compiled by numba (the extra `fast`), and in which memory.

Both ways give the same bytes. Loading what is compiled takes half a second, which little work is not worth.
"""

import threading
from typing import Any, Protocol

import numpy as np

from mvs.codecs import arrange
from mvs.codecs.arrange import Bytes, Contexts, Counts, Ends, Shapes, Values

# So many elements take numpy as much longer as loading the kernels takes.
_WORTH_LOADING = 1 << 26
# The kernels are compiled for numbers of these widths; of others there are few.
_WIDTHS = (2, 4)
# Larger arrays are not kept.
_KEPT = 1 << 24


class Way(Protocol):
    """The functions of `arrange`."""

    def difference(self, target: Values, origin: Values, out: Values) -> None:
        """Fill `out` with target - origin, folded."""

    def add(self, values: Values, origin: Values) -> None:
        """Undo `difference` in place."""

    def lower(self, contexts: Contexts, values: Values, shift: int, mask: int) -> None:
        """Subtract `values >> shift & mask` from each context."""

    def count(self, contexts: Contexts, counts: Counts) -> None:
        """Fill `counts` with how many elements of either half have each context."""

    def sort(self, values: Values, contexts: Contexts, counts: Counts, ordered: Values) -> None:
        """Fill `ordered` with `values`, in a stable sort by context."""

    def unsort(self, ordered: Values, contexts: Contexts, counts: Counts, values: Values) -> None:
        """Undo `sort`: fill `values`."""

    def turn(self, numbers: Values, top: int, values: Values) -> None:
        """Fill `values` with `top` minus the numbers, whose sign is rotated to the lowest bit."""

    def unturn(self, values: Values, top: int) -> None:
        """Undo `turn` in place."""

    def pack(self, values: Values, ends: Ends, low: int, packed: Bytes, shapes: Shapes) -> None:
        """Fill `packed` with the streams of each group, and `shapes` with what they are."""

    def escapes(self, packed: Bytes, bits: int, count: int) -> int:
        """Return how many of the first `count` symbols of so many bits are the largest one."""

    def lay(self, packed: Bytes, ends: Ends, shapes: Shapes, values: Values) -> None:
        """Undo `pack`: fill `values`."""


class _Ways:
    def __init__(self) -> None:
        self.compiled: Way | None = None
        self._seen = 0
        self._tried = False

    def note(self, elements: int) -> None:
        """Note that so many elements are about to be encoded or decoded."""
        self._seen += elements
        if self._seen >= _WORTH_LOADING and not self._tried:
            self._tried = True
            self.load()

    def load(self) -> None:
        """Load the compiled loops, if that can be done."""
        try:
            from mvs.codecs import kernels  # noqa: PLC0415 - half a second, and numba is an extra

            kernels.try_out()
        except (ImportError, RuntimeError, OSError):
            # RuntimeError, OSError: there is no place where numba could keep what it compiled.
            return
        self.compiled = kernels


_ways = _Ways()


def note(elements: int) -> None:
    """Note that so many elements are about to be encoded or decoded."""
    _ways.note(elements)


def way_for(values: Values) -> Way:
    """Return the way for numbers of this type."""
    return _ways.compiled if _ways.compiled and values.itemsize in _WIDTHS else arrange


class _Scratch(threading.local):
    def __init__(self) -> None:
        self.kept: dict[str, Bytes] = {}


_scratch = _Scratch()


def scratch(use: str, count: int, dtype: "np.dtype[Any]") -> Values:
    """Return an array with anything in it, of which the thread has one for each `use`.

    The pages of fresh memory cost as much time as is spent on what is written there.
    """
    size = count * dtype.itemsize
    kept = _scratch.kept.get(use)
    if kept is None or len(kept) < size:
        kept = np.empty(size, np.uint8)
        if size <= _KEPT:
            _scratch.kept[use] = kept
    return kept[:size].view(dtype)
