"""Reading archives that anybody may have made: nothing they say about themselves is believed.

Knows nothing of what a path may be: whoever asks for the members decides that, and where they go.
"""

import contextlib
import gzip
import stat
import struct
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO, cast

from mvs.backends.failures import storage
from mvs.errors import CorruptArchive, InvalidPath, SourceNotFound

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

# More members than that is no model; each takes an inode, and some memory, before anything can be told of all.
MAX_MEMBERS = 100_000
# What a zip file says of that many members, with long names; it is read into memory whole.
_MAX_DIRECTORY = 32 << 20
# The longest run that is read of a tar file at once; headers that say they are longer fill the memory.
_BLOCK = 1 << 20
# Decoders hold a window in memory: 128 MiB is what `zstd --ultra` makes, and what `zstd -d` takes without being told.
_WINDOW_LOG = 27
_ENCRYPTED = 1
_UNIX = 3
_DAMAGED = (
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
    gzip.BadGzipFile,
    zstd.ZstdError,
    EOFError,
    NotImplementedError,
    RuntimeError,
    ValueError,
    struct.error,
)
# The end of a zip file (APPNOTE.TXT of PKWARE, 4.3.16 and 4.3.14): the record, and how far from the end it may begin.
_END, _END_64 = b"PK\5\6", b"PK\6\6"
_END_SIZE, _END_64_SIZE, _LOCATOR = 22, 56, 20
_COMMENT = (1 << 16) - 1


@dataclass(frozen=True, slots=True)
class Member:
    """A file or a folder of an archive: what it says of itself. `blocks` is to be asked before the next member is."""

    path: str
    is_folder: bool
    size: int
    executable: bool
    blocks: Callable[[], Iterator[bytes]]


def members(path: str) -> Iterator[Member]:
    """Yield what is in an archive, in order: zip, or tar, as it is or in gzip or zstd, told by its content.

    Of a file exactly as many bytes come as it says it has, or there is an error.

    Raises:
        SourceNotFound: there is no such file.
        CorruptArchive: it is no archive, cut off, damaged, encrypted, or of more than `MAX_MEMBERS`.
        InvalidPath: it holds a link, a device, or anything else that is neither a file nor a folder.
        StorageFailed: it cannot be read.
    """
    with _reading(path), open(path, "rb") as file:
        head = file.read(4)
        file.seek(0)
        yield from (_of_zip if head.startswith(b"PK") else _of_tar)(file, path, head)


@contextmanager
def _reading(path: str) -> Iterator[None]:
    try:
        with storage(path):
            try:
                yield
            except _DAMAGED as error:
                raise CorruptArchive(f"'{path}' cannot be unpacked: {error or 'it is cut off'}") from error
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
        raise SourceNotFound(f"cannot read '{path}': {error.strerror}") from error


def _of_zip(file: BinaryIO, place: str, _: bytes) -> Iterator[Member]:
    if _directory_size(file) > _MAX_DIRECTORY:
        raise _too_many(place)
    with zipfile.ZipFile(file) as found:
        for number, info in enumerate(found.infolist()):
            if number == MAX_MEMBERS:
                raise _too_many(place)
            name = info.orig_filename
            if info.flag_bits & _ENCRYPTED:
                raise CorruptArchive(f"'{place}' cannot be unpacked: '{name}' is encrypted")
            if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise CorruptArchive(f"'{place}' cannot be unpacked: '{name}' is compressed in a way that few know")
            mode = info.external_attr >> 16 if info.create_system == _UNIX else 0
            # Some programs say nothing of what it is.
            kind = stat.S_IFMT(mode) or (stat.S_IFDIR if name.endswith("/") else stat.S_IFREG)
            if kind not in (stat.S_IFREG, stat.S_IFDIR) or name.endswith("/") != (kind == stat.S_IFDIR):
                raise _unwanted(place, name)

            def blocks(info: zipfile.ZipInfo = info) -> Iterator[bytes]:
                with _reading(place), found.open(info) as member:
                    yield from _exactly(info.file_size, member.read)

            yield Member(name.rstrip("/"), kind == stat.S_IFDIR, info.file_size, bool(mode & 0o100), blocks)


def _of_tar(file: BinaryIO, place: str, head: bytes) -> Iterator[Member]:
    with contextlib.ExitStack() as stack:
        if head.startswith(b"\x1f\x8b"):
            file = cast("BinaryIO", stack.enter_context(gzip.GzipFile(fileobj=file)))
        elif head == b"\x28\xb5\x2f\xfd":
            bound: dict[int, int] = {zstd.DecompressionParameter.window_log_max: _WINDOW_LOG}
            file = cast("BinaryIO", stack.enter_context(zstd.ZstdFile(file, options=bound)))
        forward = _Forward(file)
        tar = stack.enter_context(tarfile.open(mode="r:", fileobj=cast("BinaryIO", forward)))
        number = 0
        while (info := tar.next()) is not None:
            # They would all be kept. `stream=True` says the same from Python 3.13 on.
            tar.members = []  # type: ignore[attr-defined]
            number += 1
            if number > MAX_MEMBERS:
                raise _too_many(place)
            if not (info.isdir() or info.isreg()) or info.issparse():
                raise _unwanted(place, info.name)
            source = tar.extractfile(info)

            def blocks(info: tarfile.TarInfo = info, source: object = source) -> Iterator[bytes]:
                with _reading(place):
                    yield from _exactly(info.size, cast("BinaryIO", source).read)

            yield Member(info.name, info.isdir(), info.size, bool(info.mode & 0o100), blocks)
        # `tarfile` takes whatever is no header for the end, and looks no further.
        if not forward.ends():
            raise CorruptArchive(f"'{place}' cannot be unpacked: it is cut off, or something follows its end")


class _Forward:
    """A file that is only read forward, in short runs: all that `tarfile` needs, and no more than it should ask for."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._at = 0
        self._last = b""

    def tell(self) -> int:
        """Return how far it was read."""
        return self._at

    def seek(self, offset: int, whence: int = 0) -> int:
        """Go forward."""
        if whence or offset < self._at:
            raise tarfile.ReadError("it goes back and forth")
        while self._at < offset:
            if not self.read(min(_BLOCK, offset - self._at)):
                break
        return self._at

    def read(self, size: int) -> bytes:
        """Read so many bytes; less at the end."""
        if not 0 <= size <= _BLOCK:
            raise tarfile.ReadError("it has a header of more than 1 MiB")
        self._last = self._file.read(size)
        self._at += len(self._last)
        return self._last

    def ends(self) -> bool:
        """Read on to the end; tell whether the last block was one of zeros, and so is all that is left."""
        if self._last != bytes(tarfile.BLOCKSIZE):
            return False
        while data := self.read(_BLOCK):
            if data.strip(b"\0"):
                return False
        return True


def _exactly(size: int, read: Callable[[int], bytes]) -> Iterator[bytes]:
    left = size
    while left:
        data = read(min(_BLOCK, left))
        if not data:
            raise EOFError("it is cut off")
        left -= len(data)
        yield data
    # The end of the member is where its checksum is looked at.
    if read(1):
        raise ValueError("a file in it is longer than it says")


def _directory_size(file: BinaryIO) -> int:
    """Return how long a zip file says that its directory is; 0 where that cannot be told."""
    end = file.seek(0, 2)
    file.seek(max(0, end - _COMMENT - _END_SIZE - _LOCATOR - _END_64_SIZE))
    tail = file.read()
    file.seek(0)
    sizes = [0]
    # `zipfile` looks at these two places.
    for at in (len(tail) - _END_SIZE, tail.rfind(_END)):
        if at >= 0 and tail.startswith(_END, at) and len(tail) >= at + _END_SIZE:
            (size,) = struct.unpack_from("<L", tail, at + 12)
            # All ones: the other record has it.
            sizes.append(size if size != 0xFFFFFFFF else 0)
            other = at - _LOCATOR - _END_64_SIZE
            if other >= 0 and tail.startswith(_END_64, other):
                sizes.append(struct.unpack_from("<Q", tail, other + 40)[0])
    return max(sizes)


def _too_many(place: str) -> CorruptArchive:
    return CorruptArchive(f"'{place}' cannot be unpacked: it says it holds more than {MAX_MEMBERS:,} files")


def _unwanted(place: str, name: str) -> InvalidPath:
    return InvalidPath(f"'{name}' in '{place}' is neither a file nor a folder, and a version holds nothing else")
