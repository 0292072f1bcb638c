"""Runs of bytes, entropy-coded where that makes them smaller.

A stream is stored as a zstd frame, or as it is where the frame would not be smaller: a stored
length equal to the plain length says so.
"""

import sys
import threading
from typing import Any

import numpy as np

from mvs.codecs.arrange import Bytes

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

_Option = zstd.CompressionParameter
# zstd as an entropy coder: without short matches, which cost more than they save on planes of
# numbers, it is smaller and twice as fast (docs/design/0006-encodings.md). Any zstd decodes it.
_ENTROPY: dict[int, int] = {
    _Option.compression_level: 1,
    _Option.min_match: 7,
    _Option.window_log: 17,
    _Option.hash_log: 6,
}
# For text, headers and opaque files, where matches are what there is to win.
_MATCHES: dict[int, int] = {_Option.compression_level: 3}
# Decoders hold a window in memory, whatever the size of the plain bytes: at most 8 MiB.
WINDOW_LOG = 23
_BOUNDED: dict[int, int] = {zstd.DecompressionParameter.window_log_max: WINDOW_LOG}


class _Coder(threading.local):
    """A compressor for each thread: to make one takes as long as it needs for 50 KB."""

    def __init__(self) -> None:
        self.entropy = zstd.ZstdCompressor(options=_ENTROPY)


_coder = _Coder()


def squeeze(data: Any, *, matches: bool = False) -> bytes:
    """Return the smaller of a zstd frame of `data` (a contiguous buffer) and `data` itself."""
    plain = memoryview(data).cast("B")
    if matches:
        frame = zstd.compress(plain, options=_MATCHES)
    else:
        frame = _coder.entropy.compress(plain, zstd.ZstdCompressor.FLUSH_FRAME)
    return frame if len(frame) < len(plain) else bytes(plain)


def expand(stored: bytes | memoryview, size: int) -> Bytes:
    """Return the `size` bytes that `stored` stands for.

    Raises:
        ValueError: it stands for anything else; never more than `size` bytes are made.
    """
    if len(stored) == size:
        return np.frombuffer(memoryview(stored).toreadonly(), np.uint8)
    decompressor = zstd.ZstdDecompressor(options=_BOUNDED)
    try:
        # One byte more than wanted, so that a frame that holds more does not look complete.
        plain = decompressor.decompress(stored, max_length=size + 1)
    except zstd.ZstdError as error:
        raise ValueError(f"a damaged stream: {error}") from error
    if len(plain) != size or not decompressor.eof or decompressor.unused_data:
        raise ValueError("a stream of another length than recorded")
    return np.frombuffer(plain, np.uint8)
