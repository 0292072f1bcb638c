"""Object storage as a bucket, through obstore: S3 and what speaks it, Google, Azure, and plain HTTP to read from."""

import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from importlib import import_module
from typing import Any, TypeVar

from mvs.backends.buckets.bucket import Advance, Found
from mvs.backends.buckets.refusals import broke_off, meaning
from mvs.errors import InvalidConfig, MissingExtra, RemoteDenied, RemoteFailed, command
from mvs.running.parallel import aside

Result = TypeVar("Result")

_CONNECT = timedelta(seconds=10)
# A body on its way up is not watched, so a part of one has so many times as long in all.
_BODY = 10
# Times `patience`; and at most so often, with pauses drawn at random that grow: some ten seconds of refusals.
_GIVE_UP = 4
_RETRIES = 10
_PAUSES = {"init_backoff": timedelta(seconds=0.2), "max_backoff": timedelta(seconds=15), "base": 3}
# Parts of an upload: the least is 5 MiB, and there may be 10,000 of them.
PART = 8 << 20
_BATCH = 500
# Whoever creates a key and gets no answer looks whether it is there, and tries again, so often.
_CREATES = 5
# And so often is asked again whose answer broke off: obstore does so only for some of them.
_BREAKS = 5


class ObjectBucket:
    """A prefix of a bucket at an object store."""

    def __init__(self, url: str, options: Mapping[str, Any], *, patience: float) -> None:
        """Prepare to talk to `url`; nothing is sent yet. `options` are obstore's own, without credentials.

        A request that is silent for `patience` seconds is given up and tried again.

        Raises:
            MissingExtra: obstore is not installed.
            InvalidConfig: the URL or an option makes no sense.
        """
        try:
            self._obstore: Any = import_module("obstore")
        except ImportError:
            raise MissingExtra(
                f"'{url}' needs the extra 'cloud'", hint=command("pip", "install", "mvs[cloud]")
            ) from None
        self.url = url
        endpoint = str(options.get("endpoint", url))
        # obstore takes such an endpoint, and dies of it later.
        if "endpoint" in options and not endpoint.startswith(("http://", "https://")):
            raise InvalidConfig(f"the endpoint '{endpoint}' must begin with http:// or https://")
        stall, whole = timedelta(seconds=patience), timedelta(seconds=patience * _BODY)
        client: dict[str, Any] = {"connect_timeout": min(_CONNECT, stall)}
        if endpoint.startswith("http://"):
            client["allow_http"] = True

        def store(limits: Mapping[str, Any], give_up: timedelta) -> Any:
            try:
                return self._obstore.store.from_url(
                    url,
                    client_options={**client, **limits},
                    retry_config={"max_retries": _RETRIES, "retry_timeout": give_up, "backoff": _PAUSES},
                    **{} if url.startswith("http") else options,
                )
            except (ValueError, self._obstore.exceptions.BaseError) as error:
                reason = str(error).partition("\n")[0]
                raise InvalidConfig(f"'{url}' is no URL of a remote: {reason}", hint="mvs remote list") from error

        # What is read is watched: an answer may be long, but not silent.
        self._store = store({"read_timeout": stall, "timeout": whole * _BODY}, stall * _GIVE_UP)
        self._bulk = store({"timeout": whole}, whole * 2)

    def read(self, key: str) -> bytes:
        """Return the value of a key."""
        with self._speaking(key):
            return self._ask(lambda: self._whole(lambda: bytes(self._obstore.get(self._store, key).bytes())))

    def read_range(self, key: str, start: int, length: int) -> bytes:
        """Return a run of the value of a key; less of it at its end."""
        if not length:
            return b""
        with self._speaking(key):
            return self._ask(
                lambda: self._whole(
                    lambda: bytes(self._obstore.get_range(self._store, key, start=start, length=length))
                )
            )

    def size(self, key: str) -> int | None:
        """Return the size of the value of a key, None where it has none."""
        try:
            with self._speaking(key):
                return self._ask(lambda: int(self._obstore.head(self._store, key)["size"]))
        except FileNotFoundError:
            return None

    def create(self, key: str, data: bytes) -> bool:
        """Give a key its value, durably, unless it has one; tell whether it had none, or has this value already."""
        exceptions = self._obstore.exceptions
        for attempt in range(1, _CREATES + 1):
            try:
                with self._writing(key):
                    self._ask(lambda: self._obstore.put(self._store, key, data, mode="create", use_multipart=False))
            except (exceptions.AlreadyExistsError, exceptions.PreconditionError):
                # S3 refuses as well while another one creates it, who may fail; and an answer may have been lost.
                there = self._value(key)
                if there is None and attempt < _CREATES:
                    continue
                return there == data
            except RemoteDenied:
                raise
            except RemoteFailed:
                # Its answer may have been lost, so obstore does not try again by itself.
                there = self._value(key)
                if there is not None:
                    return there == data
                if attempt == _CREATES:
                    raise
            else:
                return True
        return False

    def write(self, key: str, data: bytes) -> None:
        """Give a key a value, whatever it had."""
        with self._writing(key):
            self._ask(lambda: self._obstore.put(self._store, key, data, use_multipart=False))

    def upload(self, key: str, path: str, advance: Advance, *, parts: int = 1) -> None:
        """Send a file in parts, so many at once; the key has a value when the last one is there."""
        size = os.path.getsize(path)

        def blocks() -> Iterator[bytes]:
            with open(path, "rb", buffering=0) as file:
                while part := file.read(PART):
                    yield part
                    advance(len(part))

        with self._writing(key):
            self._ask(
                lambda: self._obstore.put(
                    self._bulk, key, blocks(), chunk_size=PART, max_concurrency=parts, use_multipart=size > PART
                )
            )

    def keys(self, prefix: str) -> Iterator[Found]:
        """Yield the keys that begin with a prefix that ends with `/`, in no order."""
        last: str | None = None
        for attempt in range(_BREAKS + 1):
            pages = iter(self._obstore.list(self._store, prefix, offset=last, chunk_size=_BATCH))
            try:
                while (page := self._page(prefix, pages)) is not None:
                    for found in page:
                        last = found["path"]
                        yield Found(found["path"], found["size"], int(found["last_modified"].timestamp()))
                return
            except ConnectionError as error:
                if attempt == _BREAKS:
                    raise RemoteFailed(f"'{self.url}/{prefix}': the connection breaks again and again") from error

    def remove(self, keys: Iterable[str]) -> None:
        """Remove keys; one that has no value is passed over."""
        doomed = list(keys)
        for start in range(0, len(doomed), _BATCH):
            some = doomed[start : start + _BATCH]
            try:
                with self._speaking(some[0]):
                    self._ask(partial(self._obstore.delete, self._store, some))
            except FileNotFoundError:
                continue

    def _value(self, key: str) -> bytes | None:
        try:
            return self.read(key)
        except FileNotFoundError:
            return None

    def _page(self, prefix: str, pages: Iterator[Any]) -> Any:
        """Return the next part of a listing, None at its end; ConnectionError where it broke off."""

        def request() -> Any:
            try:
                return next(pages, None)
            except self._obstore.exceptions.GenericError as error:
                if broke_off(error):
                    raise ConnectionError from error
                raise

        with self._speaking(prefix):
            return self._ask(request)

    def _whole(self, request: Callable[[], Result]) -> Result:
        """Do a request whose answer has a body."""
        for _ in range(_BREAKS):
            try:
                return request()
            except self._obstore.exceptions.GenericError as error:
                if not broke_off(error):
                    raise
        return request()

    def _ask(self, request: Callable[[], Result]) -> Result:
        """Do a request. The main thread hands it to another one, so that Ctrl-C does not wait for a server."""
        return aside(request) if threading.current_thread() is threading.main_thread() else request()

    @contextmanager
    def _writing(self, key: str) -> Iterator[None]:
        if self.url.startswith("http"):
            raise RemoteDenied(f"'{self.url}' is to be read from, not written to")
        try:
            with self._speaking(key):
                yield
        except FileNotFoundError as error:
            raise RemoteFailed(f"'{self.url}': there is no such bucket", hint="mvs remote list") from error

    @contextmanager
    def _speaking(self, key: str) -> Iterator[None]:
        exceptions = self._obstore.exceptions
        try:
            yield
        except (exceptions.AlreadyExistsError, exceptions.PreconditionError):
            raise
        # obstore raises FileNotFoundError itself for some keys that are not there.
        except (exceptions.BaseError, FileNotFoundError, ValueError) as error:
            raise meaning(error, f"{self.url}/{key}".rstrip("/"), exceptions) from error
