"""One remote, with what this store knows of it."""

from functools import cached_property

from blake3 import blake3

from mvs.backends.buckets import Address, Bucket, Pace, Paced, open_bucket
from mvs.backends.buckets.bundle import BundleBucket, NewBundle
from mvs.backends.directory import Directory
from mvs.store.remote.log import Log, last_seen, probe
from mvs.store.remote.packs import RemotePacks
from mvs.store.remote.state import State


class Remote:
    """A remote at an address. Nothing is read or sent before something is asked for."""

    def __init__(
        self, name: str, address: Address, disk: Directory, bucket: Bucket | None = None, *, pace: Pace | None = None
    ) -> None:
        """Name the remote at an address; what is known of it is kept in `disk`. A `bucket` is used as it is.

        With a `pace`, bytes travel no faster.
        """
        self.name = name
        self.address = address
        self._disk = disk
        self._bucket = bucket
        self._pace = pace

    @cached_property
    def bucket(self) -> Bucket:
        """The keys and values of the remote.

        Raises:
            InvalidConfig: its URL is of no known kind.
            MissingExtra: what speaks to it is not installed.
        """
        bucket = self._bucket or open_bucket(self.address)
        return Paced(bucket, self._pace) if self._pace else bucket

    @cached_property
    def log(self) -> Log:
        """Its history."""
        return Log(self.bucket, self._disk, self.key)

    @cached_property
    def packs(self) -> RemotePacks:
        """What lies there."""
        return RemotePacks(self.bucket, self._disk, self.key)

    @property
    def is_bundle(self) -> bool:
        """Whether it is a file that may go without what its reader has."""
        return isinstance(self._bucket or open_bucket(self.address), BundleBucket | NewBundle)

    def last_seen(self) -> State:
        """Return what it had when it was last looked at; it is not asked."""
        return last_seen(self._disk, self.key)

    def is_safe(self) -> bool:
        """Tell whether of two writers that create a key the second one is refused; writes and removes a key.

        Raises:
            RemoteFailed: it cannot be reached, or written to.
        """
        return probe(self.bucket)

    @property
    def key(self) -> str:
        """What this store knows the remote by, whatever its name."""
        return blake3(self.address.url.encode()).hexdigest()[:32]
