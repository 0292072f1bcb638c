"""A bucket through which bytes go no faster than they may."""

import threading
from collections.abc import Callable, Iterable, Iterator

from mvs.backends.buckets.bucket import Advance, Bucket, Found


class Pace:
    """So many bytes a second, of all who share it: what goes out now is paid for before anything else goes."""

    def __init__(self, rate: int, clock: Callable[[], float], wait: Callable[[float], object] | None = None) -> None:
        """Let `rate` bytes go by each second; `clock` tells seconds from anywhere, `wait` lets them pass."""
        self._rate = rate
        self._clock = clock
        self._wait = wait or threading.Event().wait
        self._lock = threading.Lock()
        self._free = clock()

    def take(self, amount: int) -> None:
        """Wait until bytes may go."""
        with self._lock:
            start = max(self._clock(), self._free)
            self._free = start + amount / self._rate
            pause = start - self._clock()
        if pause > 0:
            self._wait(pause)


class Paced:
    """A bucket of which reads and writes keep a pace."""

    def __init__(self, bucket: Bucket, pace: Pace) -> None:
        self._bucket = bucket
        self._pace = pace

    def read(self, key: str) -> bytes:
        """Return the value of a key."""
        return self._paid(self._bucket.read(key))

    def read_range(self, key: str, start: int, length: int) -> bytes:
        """Return a run of the value of a key; less of it at its end."""
        return self._paid(self._bucket.read_range(key, start, length))

    def size(self, key: str) -> int | None:
        """Return the size of the value of a key, None where it has none."""
        return self._bucket.size(key)

    def create(self, key: str, data: bytes) -> bool:
        """Give a key its value, durably, unless it has one; tell whether it had none."""
        return self._bucket.create(key, self._paid(data))

    def write(self, key: str, data: bytes) -> None:
        """Give a key a value, whatever it had."""
        self._bucket.write(key, self._paid(data))

    def upload(self, key: str, path: str, advance: Advance, *, parts: int = 1) -> None:
        """Give a key the content of a file as its value, durably."""

        def paced(amount: int) -> None:
            self._pace.take(amount)
            advance(amount)

        self._bucket.upload(key, path, paced, parts=parts)

    def keys(self, prefix: str) -> Iterator[Found]:
        """Yield the keys that begin with a prefix that ends with `/`, in no order."""
        return self._bucket.keys(prefix)

    def remove(self, keys: Iterable[str]) -> None:
        """Remove keys; one that has no value is passed over."""
        self._bucket.remove(keys)

    def _paid(self, data: bytes) -> bytes:
        self._pace.take(len(data))
        return data
