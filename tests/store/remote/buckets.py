"""Buckets that count, and that fail."""

from collections.abc import Iterable, Iterator

from mvs.backends.buckets import Bucket, Found
from mvs.backends.buckets.bucket import Advance
from mvs.errors import RemoteFailed


class Counting:
    """A bucket that notes what it is asked."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket
        self.asked: list[str] = []

    def read(self, key: str) -> bytes:
        self.asked.append(f"read {key}")
        return self._bucket.read(key)

    def read_range(self, key: str, start: int, length: int) -> bytes:
        self.asked.append(f"range {key}")
        return self._bucket.read_range(key, start, length)

    def size(self, key: str) -> int | None:
        self.asked.append(f"size {key}")
        return self._bucket.size(key)

    def create(self, key: str, data: bytes) -> bool:
        self.asked.append(f"create {key}")
        return self._bucket.create(key, data)

    def write(self, key: str, data: bytes) -> None:
        self.asked.append(f"write {key}")
        self._bucket.write(key, data)

    def upload(self, key: str, path: str, advance: Advance, *, parts: int = 1) -> None:
        self.asked.append(f"upload {key}")
        self._bucket.upload(key, path, advance, parts=parts)

    def keys(self, prefix: str) -> Iterator[Found]:
        self.asked.append(f"keys {prefix}")
        return self._bucket.keys(prefix)

    def remove(self, keys: Iterable[str]) -> None:
        self.asked.append("remove")
        self._bucket.remove(keys)


class Broken(Counting):
    """A bucket that fails at the n-th request, and at all after it."""

    def __init__(self, bucket: Bucket, after: int) -> None:
        super().__init__(bucket)
        self._left = after

    def __getattribute__(self, name: str) -> object:
        found = super().__getattribute__(name)
        if name.startswith("_") or not callable(found):
            return found
        if self._left <= 0:
            raise RemoteFailed("no route to host")
        self._left -= 1
        return found


class Forgetful(Counting):
    """A bucket whose answers to the creation of an entry get lost: it was made, and seems refused."""

    def create(self, key: str, data: bytes) -> bool:
        created = super().create(key, data)
        return created and not key.startswith("log/")
