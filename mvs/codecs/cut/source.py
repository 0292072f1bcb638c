"""What every parser stands on: a source of bytes, a reader that stays inside it, a tensor.

Knows no format.
"""

from collections.abc import Iterable
from struct import unpack
from typing import NamedTuple, Protocol

# 256 KiB: a header is read in a few reads, and a jump over a long value costs one of them.
_WINDOW = 256 << 10
# No format has a use for a longer name, and names are kept for every tensor of a store.
MAX_NAME = 1 << 16


class Source(Protocol):
    """The bytes of one file."""

    @property
    def size(self) -> int:
        """How many bytes there are."""

    def read(self, offset: int, count: int) -> bytes:
        """Return `count` bytes from `offset`; fewer only at the end of the file."""


class Tensor(NamedTuple):
    """Where one tensor lies, and what the file says of it.

    `name` is as the file has it. For `.npy` it is empty, for `.npz` the member without `.npy`, for a `.pt` the keys
    that lead to the tensor joined by '/', or `data/N` where the pickle does not tell.
    `dtype` is a word of safetensors or ggml, a key of `ITEM_WIDTH`, or empty when it is not known or has no such word.
    `shape` is row-major, `()` for a scalar and where it is not known or the bytes are not in row-major order.
    `offset` and `size` are in bytes from the start of the file.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    offset: int
    size: int


class Opaque(Exception):
    """The file is not of the format, lies or is cut off; the message says how. Never leaves this package."""


def settled(tensors: Iterable[Tensor], size: int) -> tuple[Tensor, ...]:
    """Return the tensors that have bytes, sorted by offset.

    Raises:
        Opaque: one does not lie within `size` bytes, two overlap, or a name is not valid Unicode.
    """
    placed = sorted((tensor for tensor in tensors if tensor.size), key=lambda tensor: tensor.offset)
    end = 0
    for tensor in placed:
        if tensor.size < 0 or tensor.offset < end:
            raise Opaque("two tensors overlap, or one lies before the file")
        end = tensor.offset + tensor.size
        check_name(tensor.name)
    if end > size:
        raise Opaque("a tensor ends behind the file")
    return tuple(placed)


def check_name(name: str) -> None:
    """Check that a name can be kept.

    Raises:
        Opaque: it is too long or not valid Unicode.
    """
    try:
        encoded = len(name.encode())
    except UnicodeEncodeError:
        raise Opaque("a name is not valid Unicode") from None
    if encoded > MAX_NAME:
        raise Opaque("a name is too long")


class Cursor:
    """Reads a source forward, within bounds, a window at a time."""

    def __init__(self, source: Source, start: int, stop: int) -> None:
        self.at = start
        self.stop = min(stop, source.size)
        self._source = source
        self._window = b""
        self._base = start

    def take(self, count: int) -> bytes:
        """Return the next `count` bytes, at most `MAX_NAME` of them.

        Raises:
            Opaque: there are not so many.
        """
        start = self.at - self._base
        if start + count > len(self._window):
            if count > MAX_NAME or self.at + count > self.stop:
                raise Opaque("a value is too long or the file too short")
            self._window = self._source.read(self.at, min(_WINDOW, self.stop - self.at))
            self._base, start = self.at, 0
            if len(self._window) < count:
                raise Opaque("the file became shorter")
        self.at += count
        return self._window[start : start + count]

    def skip(self, count: int) -> None:
        """Go on by `count` bytes.

        Raises:
            Opaque: there are not so many.
        """
        if not 0 <= count <= self.stop - self.at:
            raise Opaque("a value ends behind the file")
        self.at += count

    def byte(self) -> int:
        """Return the next byte."""
        return self.take(1)[0]

    def u32(self) -> int:
        """Return the next four bytes as a little-endian number."""
        return int(unpack("<I", self.take(4))[0])

    def u64(self) -> int:
        """Return the next eight bytes as a little-endian number."""
        return int(unpack("<Q", self.take(8))[0])

    def text(self, count: int) -> str:
        """Return the next `count` bytes as UTF-8."""
        try:
            return self.take(count).decode()
        except UnicodeDecodeError:
            raise Opaque("a text is not UTF-8") from None
