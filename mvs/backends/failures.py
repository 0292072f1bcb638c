"""What the operating system's refusals mean to a user of the store."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from mvs.errors import ReadOnlyStore, StorageFailed, StorageFull

_FULL = {errno.ENOSPC, errno.EDQUOT}
_FORBIDDEN = {errno.EROFS, errno.EACCES, errno.EPERM}
# Facts the caller asks about, not failures of the disk.
_ANSWERS = (FileNotFoundError, FileExistsError, NotADirectoryError, IsADirectoryError)


@contextmanager
def storage(place: str) -> Iterator[None]:
    """Turn failures of the disk at `place` into errors of mvs; let answers such as FileNotFoundError pass.

    Raises:
        StorageFull: no space or quota is left.
        ReadOnlyStore: rights or a read-only mount forbid it.
        StorageFailed: any other failure.
    """
    try:
        yield
    except _ANSWERS:
        raise
    except OSError as error:
        where = error.filename if isinstance(error.filename, str) else place
        reason = error.strerror or str(error)
        if error.errno in _FULL:
            raise StorageFull(f"no space left to write '{where}'", hint=f"df -h {place}") from error
        if error.errno in _FORBIDDEN:
            raise ReadOnlyStore(f"cannot write '{where}': {reason}", hint=f"ls -ld {place}") from error
        raise StorageFailed(f"'{where}': {reason}", hint=f"df -h {place}") from error
