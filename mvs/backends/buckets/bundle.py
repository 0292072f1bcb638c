"""A zip file as a bucket: every member is stored as it is, so runs of it are read in place."""

import os
import struct
import zipfile
from collections.abc import Callable, Iterable, Iterator

from mvs.backends.buckets.bucket import Advance, Found
from mvs.backends.failures import storage
from mvs.errors import CorruptRemote, RemoteDenied

# The part of a local header that is of fixed length, and where in it the lengths of the others are
# (APPNOTE.TXT of PKWARE, 4.3.7).
_HEADER = 30
_LENGTHS = struct.Struct("<HH")
_LENGTHS_AT = 26
_ENCRYPTED = 1
_BLOCK = 4 << 20
# A time for every member, so that the same content makes the same file.
_EPOCH = (1980, 1, 1, 0, 0, 0)


class BundleBucket:
    """A zip file that is read. Nothing in it is changed."""

    def __init__(self, path: str) -> None:
        """Read what members there are.

        Raises:
            CorruptRemote: it is no zip file, or one whose members are compressed or encrypted.
            FileNotFoundError: there is no file.
        """
        self._path = path
        with storage(path):
            self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            with os.fdopen(os.dup(self._fd), "rb") as file, zipfile.ZipFile(file) as found:
                self._members = {info.filename: info for info in found.infolist()}
        except IsADirectoryError:
            raise
        except (zipfile.BadZipFile, NotImplementedError, ValueError, OSError) as error:
            raise CorruptRemote(f"'{path}' is no bundle: {error}") from error
        for info in self._members.values():
            if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & _ENCRYPTED:
                raise CorruptRemote(f"'{path}' is no bundle: '{info.filename}' is compressed or encrypted")

    def __del__(self, close: Callable[[int], None] = os.close) -> None:
        """Close the file; when Python ends, `os` may be gone before."""
        if hasattr(self, "_fd"):
            close(self._fd)

    def read(self, key: str) -> bytes:
        """Return the value of a key."""
        return self.read_range(key, 0, self._member(key).file_size)

    def read_range(self, key: str, start: int, length: int) -> bytes:
        """Return a run of the value of a key; less of it at its end."""
        info = self._member(key)
        with storage(self._path):
            header = os.pread(self._fd, _HEADER, info.header_offset)
            if len(header) != _HEADER:
                raise CorruptRemote(f"'{self._path}' is cut off")
            name, extra = _LENGTHS.unpack_from(header, _LENGTHS_AT)
            begin = info.header_offset + _HEADER + name + extra
            return os.pread(self._fd, max(0, min(length, info.file_size - start)), begin + start)

    def size(self, key: str) -> int | None:
        """Return the size of the value of a key, None where it has none."""
        info = self._members.get(key)
        return info.file_size if info else None

    def create(self, key: str, data: bytes) -> bool:
        """Refuse: a bundle does not change."""
        raise self._refused()

    def write(self, key: str, data: bytes) -> None:
        """Refuse: a bundle does not change."""
        raise self._refused()

    def upload(self, key: str, path: str, advance: Advance, *, parts: int = 1) -> None:
        """Refuse: a bundle does not change."""
        raise self._refused()

    def keys(self, prefix: str) -> Iterator[Found]:
        """Yield the keys that begin with a prefix that ends with `/`, in no order."""
        for key, info in self._members.items():
            if key.startswith(prefix):
                yield Found(key, info.file_size)

    def remove(self, keys: Iterable[str]) -> None:
        """Refuse: a bundle does not change."""
        raise self._refused()

    def _member(self, key: str) -> zipfile.ZipInfo:
        if key not in self._members:
            raise FileNotFoundError(f"{self._path}/{key}")
        return self._members[key]

    def _refused(self) -> RemoteDenied:
        return RemoteDenied(f"'{self._path}' is a bundle, which does not change")


class NewBundle:
    """A zip file that is being made: every key gets its value once."""

    def __init__(self, path: str) -> None:
        self._path = path
        with storage(path):
            self._zip = zipfile.ZipFile(path, "x", zipfile.ZIP_STORED)

    def close(self) -> None:
        """Write the end of the file, and make it durable."""
        with storage(self._path):
            self._zip.close()
            fd = os.open(self._path, os.O_RDONLY)
            try:
                os.fsync(fd)
            finally:
                os.close(fd)

    def read(self, key: str) -> bytes:
        """Return the value of a key."""
        if self.size(key) is None:
            raise FileNotFoundError(key)
        with storage(self._path):
            return self._zip.read(key)

    def read_range(self, key: str, start: int, length: int) -> bytes:
        """Return a run of the value of a key; less of it at its end."""
        return self.read(key)[start : start + length]

    def size(self, key: str) -> int | None:
        """Return the size of the value of a key, None where it has none."""
        return self._zip.NameToInfo[key].file_size if key in self._zip.NameToInfo else None

    def create(self, key: str, data: bytes) -> bool:
        """Give a key its value unless it has one; tell whether it had none."""
        if self.size(key) is not None:
            return False
        with storage(self._path):
            self._zip.writestr(_info(key), data)
        return True

    def write(self, key: str, data: bytes) -> None:
        """Give a key a value; one that has one keeps it."""
        self.create(key, data)

    def upload(self, key: str, path: str, advance: Advance, *, parts: int = 1) -> None:
        """Give a key the content of a file as its value."""
        info = _info(key)
        info.file_size = os.path.getsize(path)
        with storage(self._path), open(path, "rb") as source, self._zip.open(info, "w") as member:
            while block := source.read(_BLOCK):
                member.write(block)
                advance(len(block))

    def keys(self, prefix: str) -> Iterator[Found]:
        """Yield the keys that begin with a prefix that ends with `/`, in no order."""
        for info in self._zip.infolist():
            if info.filename.startswith(prefix):
                yield Found(info.filename, info.file_size)

    def remove(self, keys: Iterable[str]) -> None:
        """Do nothing: what is written stays."""


def _info(key: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(key, _EPOCH)
    info.external_attr = 0o644 << 16
    return info
