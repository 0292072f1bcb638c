"""What the operating system's refusals mean to a user of the store."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from mvs.errors import ReadOnlyStore, StorageFailed, StorageFull, command

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
        raise failure(error, place) from error


def failure(error: OSError, place: str) -> OSError | StorageFailed:
    """Return what an error of the operating system means at `place`: itself where it is an answer."""
    if isinstance(error, _ANSWERS):
        return error
    where = error.filename if isinstance(error.filename, str) else place
    reason = error.strerror or str(error)
    if error.errno in _FULL:
        return StorageFull(f"no space left to write '{where}'", hint=command("df", "-h", place))
    if error.errno in _FORBIDDEN:
        return ReadOnlyStore(f"no right to '{where}': {reason}", hint=command("ls", "-ld", place))
    return StorageFailed(f"'{where}': {reason}", hint=command("df", "-h", place))
