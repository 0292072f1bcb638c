"""Which bucket a URL means."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mvs.backends.buckets.bucket import Bucket
from mvs.errors import InvalidConfig

# Seconds in which nothing comes from a server, after which a request is given up and tried again.
PATIENCE = 30
_CLOUD = ("s3", "gs", "az", "http", "https")


@dataclass(frozen=True, slots=True)
class Address:
    """Where a bucket is: a URL or a path, `options` of its scheme, never credentials, and seconds of `patience`."""

    url: str
    options: Mapping[str, Any] = field(default_factory=dict)
    patience: float = PATIENCE

    @property
    def scheme(self) -> str:
        """The scheme of the URL, `file` for a path."""
        scheme, mark, _ = self.url.partition("://")
        return scheme if mark else "file"

    @property
    def is_folder(self) -> bool:
        """Whether it is a folder of this machine."""
        return self.scheme == "file"

    @property
    def path(self) -> str:
        """The path of a folder."""
        return os.path.expanduser(self.url.removeprefix("file://"))


def open_bucket(address: Address) -> Bucket:
    """Return the bucket at an address. Nothing is read or sent yet.

    Raises:
        InvalidConfig: the URL is of no known kind.
        MissingExtra: what speaks to it is not installed.
    """
    if address.is_folder:
        path = os.path.abspath(address.path)
        if os.path.isfile(path):
            from mvs.backends.buckets.bundle import BundleBucket  # noqa: PLC0415 - only remotes need it

            return BundleBucket(path)
        from mvs.backends.buckets.folder import FolderBucket  # noqa: PLC0415 - as above

        return FolderBucket(path)
    if address.scheme in _CLOUD:
        from mvs.backends.buckets.objects import ObjectBucket  # noqa: PLC0415 - obstore is an extra

        return ObjectBucket(address.url, address.options, patience=address.patience)
    if address.scheme == "ssh":
        from mvs.backends.buckets.ssh import SshBucket  # noqa: PLC0415 - as above

        return SshBucket(address.url, patience=address.patience)
    raise InvalidConfig(f"'{address.url}' is no URL of a remote: {', '.join(_CLOUD)}, ssh, file, or a path")
