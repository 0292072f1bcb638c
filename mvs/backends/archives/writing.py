"""Writing archives: what is put into them comes out the same for everybody, at any time."""

import contextlib
import gzip
import io
import sys
import tarfile
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import BinaryIO, Protocol, cast

from mvs.backends.failures import storage

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

Buffer = bytes | memoryview

SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.zst", ".zip")
# 1980-01-01, the first moment that a zip file can tell, and one that tar does not wonder at.
_DATE = (1980, 1, 1, 0, 0, 0)
_MOMENT = 315532800
_PLAIN, _EXECUTABLE = 0o644, 0o755
_UNIX = 3
_FILE, _FOLDER = 0o100000, 0o040000
# The bit of MS-DOS for a folder, which some programs look at.
_DOS_FOLDER = 0x10
# Weights hardly get smaller: a fast level of each is all there is to win.
_GZIP_LEVEL = 1
_ZSTD: dict[int, int] = {
    zstd.CompressionParameter.compression_level: 3,
    # As the `zstd` program has it; the other kinds have a checksum anyway.
    zstd.CompressionParameter.checksum_flag: 1,
}


class Archive(Protocol):
    """An archive in the making."""

    def file(self, path: str, size: int, blocks: Iterable[Buffer], *, executable: bool) -> None:
        """Add a file whose content is `blocks`, `size` bytes in all; they are asked for to their end."""

    def folder(self, path: str) -> None:
        """Add an empty folder."""


def is_archive(path: str) -> bool:
    """Tell whether a path ends as that of an archive does."""
    return path.lower().endswith(SUFFIXES)


@contextmanager
def create(path: str, kind: str) -> Iterator[Archive]:
    """Write a new archive to `path`, of the kind that a file that ends as `kind` is; it is not synced.

    Raises:
        FileExistsError: there is a file.
        StorageFailed: the disk is full, read-only or failing.
    """
    with storage(path), contextlib.ExitStack() as stack:
        file: BinaryIO = stack.enter_context(open(path, "xb"))
        if kind.lower().endswith(".zip"):
            # Stored, not compressed: it would be slow, and of next to no use for weights.
            yield _Zip(stack.enter_context(zipfile.ZipFile(file, "w", zipfile.ZIP_STORED)))
            return
        if kind.lower().endswith((".gz", ".tgz")):
            packed = gzip.GzipFile("", "wb", _GZIP_LEVEL, file, mtime=0)
            file = cast("BinaryIO", stack.enter_context(packed))
        elif kind.lower().endswith(".zst"):
            file = cast("BinaryIO", stack.enter_context(zstd.ZstdFile(file, "wb", options=_ZSTD)))
        # `w|`: nothing but writes, one after the other.
        yield _Tar(stack.enter_context(tarfile.open(mode="w|", fileobj=file, format=tarfile.PAX_FORMAT)))


class _Tar:
    """A tar file, with headers of POSIX.1-2001 where a path or a size needs one."""

    def __init__(self, tar: tarfile.TarFile) -> None:
        self._tar = tar

    def file(self, path: str, size: int, blocks: Iterable[Buffer], *, executable: bool) -> None:
        """Add a file."""
        info = _tar_info(path, _EXECUTABLE if executable else _PLAIN)
        info.size = size
        left = iter(blocks)
        self._tar.addfile(info, cast("BinaryIO", io.BufferedReader(_Blocks(left), 1 << 20)))
        # What verifies them does so behind the last one.
        for _ in left:
            pass

    def folder(self, path: str) -> None:
        """Add an empty folder."""
        info = _tar_info(path, _EXECUTABLE)
        info.type = tarfile.DIRTYPE
        self._tar.addfile(info)


class _Zip:
    """A zip file whose members are stored as they are."""

    def __init__(self, zip: zipfile.ZipFile) -> None:
        self._zip = zip

    def file(self, path: str, size: int, blocks: Iterable[Buffer], *, executable: bool) -> None:
        """Add a file."""
        info = _zip_info(path, _FILE | (_EXECUTABLE if executable else _PLAIN))
        info.file_size = size
        with self._zip.open(info, "w") as member:
            for block in blocks:
                member.write(block)

    def folder(self, path: str) -> None:
        """Add an empty folder."""
        info = _zip_info(f"{path}/", _FOLDER | _EXECUTABLE)
        info.external_attr |= _DOS_FOLDER
        self._zip.writestr(info, b"")


class _Blocks(io.RawIOBase):
    """Blocks of bytes as a file to read from."""

    def __init__(self, blocks: Iterator[Buffer]) -> None:
        self._blocks = blocks
        self._left = memoryview(b"")

    def readable(self) -> bool:
        """Tell that it is."""
        return True

    def readinto(self, buffer: "bytearray | memoryview") -> int:  # type: ignore[override]
        """Read into a buffer; nothing at the end."""
        while not self._left:
            block = next(self._blocks, None)
            if block is None:
                return 0
            self._left = memoryview(block)
        count = min(len(buffer), len(self._left))
        buffer[:count] = self._left[:count]
        self._left = self._left[count:]
        return count


def _tar_info(path: str, mode: int) -> tarfile.TarInfo:
    info = tarfile.TarInfo(path)
    info.mode = mode
    info.mtime = _MOMENT
    return info


def _zip_info(path: str, mode: int) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(path, _DATE)
    info.create_system = _UNIX
    info.external_attr = mode << 16
    return info
