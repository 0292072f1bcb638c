"""Object storage as a bucket, through obstore: S3 and what speaks it, Google, Azure, and plain HTTP to read from."""

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from mvs.backends.buckets.bucket import Advance, Found
from mvs.errors import MissingExtra, RemoteDenied, RemoteFailed, command

# A request that moves nothing for so long is given up and tried again, and that no longer than this.
_CLIENT = {"connect_timeout": "10s", "timeout": "60s"}
_RETRY = {"max_retries": 6}
# Parts of an upload: the least is 5 MiB, and there may be 10,000 of them.
_PART = 16 << 20
_PARALLEL = 4
_BATCH = 500


class ObjectBucket:
    """A prefix of a bucket at an object store."""

    def __init__(self, url: str, options: Mapping[str, Any]) -> None:
        """Prepare to talk to `url`; nothing is sent yet. `options` are obstore's own, without credentials.

        Raises:
            MissingExtra: obstore is not installed.
            RemoteFailed: the URL or an option makes no sense.
        """
        try:
            self._obstore: Any = import_module("obstore")
        except ImportError:
            raise MissingExtra(
                f"'{url}' needs the extra 'cloud'", hint=command("pip", "install", "mvs[cloud]")
            ) from None
        self.url = url
        client = dict(_CLIENT)
        if str(options.get("endpoint", url)).startswith("http://"):
            client["allow_http"] = "true"
        with self._speaking():
            self._store = self._obstore.store.from_url(
                url, client_options=client, retry_config=_RETRY, **{} if url.startswith("http") else options
            )

    def read(self, key: str) -> bytes:
        """Return the value of a key."""
        with self._speaking(key):
            return bytes(self._obstore.get(self._store, key).bytes())

    def read_range(self, key: str, start: int, length: int) -> bytes:
        """Return a run of the value of a key; less of it at its end."""
        if not length:
            return b""
        with self._speaking(key):
            return bytes(self._obstore.get_range(self._store, key, start=start, length=length))

    def size(self, key: str) -> int | None:
        """Return the size of the value of a key, None where it has none."""
        try:
            with self._speaking(key):
                return int(self._obstore.head(self._store, key)["size"])
        except FileNotFoundError:
            return None

    def create(self, key: str, data: bytes) -> bool:
        """Give a key its value, durably, unless it has one; tell whether it had none."""
        exceptions = self._obstore.exceptions
        try:
            with self._speaking(key):
                self._obstore.put(self._store, key, data, mode="create", use_multipart=False)
        except (exceptions.AlreadyExistsError, exceptions.PreconditionError):
            return False
        return True

    def write(self, key: str, data: bytes) -> None:
        """Give a key a value, whatever it had."""
        with self._speaking(key):
            self._obstore.put(self._store, key, data)

    def upload(self, key: str, path: str, advance: Advance) -> None:
        """Send a file in parts; the key has a value when the last one is there."""
        size = os.path.getsize(path)
        if self.size(key) == size:
            # An earlier attempt was cut off behind it; the key tells the content.
            advance(size)
            return

        def parts() -> Iterator[bytes]:
            with open(path, "rb", buffering=0) as file:
                while part := file.read(_PART):
                    yield part
                    advance(len(part))

        with self._speaking(key):
            self._obstore.put(
                self._store, key, parts(), chunk_size=_PART, max_concurrency=_PARALLEL, use_multipart=size > _PART
            )

    def keys(self, prefix: str) -> Iterator[Found]:
        """Yield the keys that begin with a prefix that ends with `/`, in no order."""
        with self._speaking(prefix):
            for some in self._obstore.list(self._store, prefix, chunk_size=_BATCH):
                for found in some:
                    yield Found(found["path"], found["size"])

    def remove(self, keys: Iterable[str]) -> None:
        """Remove keys; one that has no value is passed over."""
        doomed = list(keys)
        for start in range(0, len(doomed), _BATCH):
            try:
                with self._speaking(doomed[start]):
                    self._obstore.delete(self._store, doomed[start : start + _BATCH])
            except FileNotFoundError:
                continue

    @contextmanager
    def _speaking(self, key: str = "") -> Iterator[None]:
        exceptions = self._obstore.exceptions
        place = f"{self.url}/{key}".rstrip("/")
        try:
            yield
        except (exceptions.AlreadyExistsError, exceptions.PreconditionError):
            raise
        except exceptions.NotFoundError as error:
            raise FileNotFoundError(place) from error
        except (exceptions.PermissionDeniedError, exceptions.UnauthenticatedError) as error:
            raise RemoteDenied(f"'{place}' may not be reached with these credentials: {_first_line(error)}") from error
        except exceptions.BaseError as error:
            raise RemoteFailed(f"'{place}': {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    # Behind it is how obstore looks inside.
    return str(error).partition("\n")[0].strip()
