"""One remote, with what this store knows of it."""

from functools import cached_property

from blake3 import blake3

from mvs.backends.buckets import Address, Bucket, open_bucket
from mvs.backends.directory import Directory
from mvs.store.remote.log import Log, probe
from mvs.store.remote.packs import RemotePacks


class Remote:
    """A remote at an address. Nothing is read or sent before something is asked for."""

    def __init__(self, name: str, address: Address, disk: Directory) -> None:
        self.name = name
        self.address = address
        self._disk = disk

    @cached_property
    def bucket(self) -> Bucket:
        """The keys and values of the remote.

        Raises:
            InvalidConfig: its URL is of no known kind.
            MissingExtra: what speaks to it is not installed.
        """
        return open_bucket(self.address)

    @cached_property
    def log(self) -> Log:
        """Its history."""
        return Log(self.bucket, self._disk, self._key)

    @cached_property
    def packs(self) -> RemotePacks:
        """What lies there."""
        return RemotePacks(self.bucket, self._disk, self._key)

    def is_safe(self) -> bool:
        """Tell whether of two writers that create a key the second one is refused; writes and removes a key.

        Raises:
            RemoteFailed: it cannot be reached, or written to.
        """
        return probe(self.bucket)

    @property
    def _key(self) -> str:
        return blake3(self.address.url.encode()).hexdigest()[:32]
