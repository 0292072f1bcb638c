"""What a bucket can do."""

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple, Protocol

# Bytes that have gone over the wire since the last call.
Advance = Callable[[int], None]


# Where folders keep what is being written; object stores keep that where no key leads.
UPLOADS = "uploads"


class Found(NamedTuple):
    """A key that has a value, the size of it in bytes, and when it was written, in seconds, where that is known."""

    key: str
    size: int
    written: int | None = None


class Bucket(Protocol):
    """Keys with values. Every method raises `RemoteFailed` when the other side cannot be reached, or refuses."""

    def read(self, key: str) -> bytes:
        """Return the value of a key.

        Raises:
            FileNotFoundError: it has none.
        """

    def read_range(self, key: str, start: int, length: int) -> bytes:
        """Return a run of the value of a key; less of it at its end.

        Raises:
            FileNotFoundError: it has none.
        """

    def size(self, key: str) -> int | None:
        """Return the size of the value of a key, None where it has none."""

    def create(self, key: str, data: bytes) -> bool:
        """Give a key its value, durably, unless it has one; tell whether it had none."""

    def write(self, key: str, data: bytes) -> None:
        """Give a key a value, whatever it had."""

    def upload(self, key: str, path: str, advance: Advance, *, parts: int = 1) -> None:
        """Give a key the content of a file as its value, durably; whoever reads meanwhile sees all of it or none.

        So many `parts` go at once, where a file goes in parts. Who is told of progress may make it wait.
        """

    def keys(self, prefix: str) -> Iterator[Found]:
        """Yield the keys that begin with a prefix that ends with `/`, in no order."""

    def remove(self, keys: Iterable[str]) -> None:
        """Remove keys; one that has no value is passed over."""
