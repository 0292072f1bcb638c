"""Where a file without tensors is cut: at places chosen by its content.

FastCDC 2020 (https://ieeexplore.ieee.org/document/9055082), so that bytes put in or taken out
move the cuts near them and no others.
"""

from collections.abc import Iterator
from typing import Literal

import pyfastcdc

from mvs.codecs.cut.source import Source

# Frozen: other sizes cut elsewhere, and share nothing with what is stored already.
AVERAGE = 256 << 10
SMALLEST = AVERAGE // 4
LARGEST = AVERAGE * 4
NORMALIZATION: Literal[1] = 1

# pyfastcdc takes its pure Python form where its compiled one is missing. That is a hundred
# times slower than the disk; cuts at fixed places then save less, and save it now.
CONTENT_DEFINED = pyfastcdc.FastCDC.__module__.startswith("pyfastcdc.cy.")
FIXED = 1 << 20


def chunks(source: Source, *, start: int = 0, stop: int | None = None) -> Iterator[tuple[int, int]]:
    """Yield offset and size of the chunks of `source[start:stop]`, one after the other, none left out.

    The cuts depend on these bytes alone. A few MB are held at a time. Where pyfastcdc has no
    compiled module (`CONTENT_DEFINED` is false) chunks are of a fixed size.
    """
    stop = source.size if stop is None else min(stop, source.size)
    if not CONTENT_DEFINED:
        yield from ((at, min(FIXED, stop - at)) for at in range(start, stop, FIXED))
        return
    chunker = pyfastcdc.FastCDC(AVERAGE, min_size=SMALLEST, max_size=LARGEST, normalized_chunking=NORMALIZATION)
    for chunk in chunker.cut_stream(_Stream(source, start, stop)):
        yield start + chunk.offset, chunk.length


class _Stream:
    """A stretch of a source, as a stream."""

    def __init__(self, source: Source, start: int, stop: int) -> None:
        self._source = source
        self._at = start
        self._stop = stop

    def read(self, count: int) -> bytes:
        data = self._source.read(self._at, max(0, min(count, self._stop - self._at)))
        self._at += len(data)
        return data
