"""Copying file content, in the kernel where it can.

On file systems with reflinks (XFS, btrfs, APFS by way of the fallback's copy) the
kernel shares the blocks and nothing is copied at all.
"""

import errno
import fcntl
import os
import sys

# 8 MiB: long enough to make a system call's cost vanish, short enough that whoever
# follows the copy finds its bytes still in the processor's cache or just behind it.
BLOCK = 8 << 20

_FICLONE = 0x40049409
_UNSUPPORTED = {
    errno.EXDEV,
    errno.EINVAL,
    errno.ENOSYS,
    errno.EOPNOTSUPP,
    errno.EBADF,
    errno.EPERM,
}


def copy_block(source: int, target: int, offset: int) -> int:
    """Copy up to `BLOCK` bytes at `offset` from one open file to the other; return how many, 0 at the end."""
    if hasattr(os, "copy_file_range"):
        try:
            return os.copy_file_range(source, target, BLOCK, offset, offset)
        except OSError as error:
            if error.errno not in _UNSUPPORTED:
                raise
    data = os.pread(source, 1 << 20, offset)
    view = memoryview(data)
    at = offset
    while view:
        written = os.pwrite(target, view, at)
        view, at = view[written:], at + written
    return len(data)


def cloned(source: int, folder: str) -> int | None:
    """Return a nameless file on the file system of `folder` that shares the blocks of an open one, at no cost.

    None where that cannot be (ioctl_ficlone(2), and O_TMPFILE of open(2)).
    """
    if sys.platform != "linux":
        return None
    try:
        target = os.open(folder, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except OSError:
        return None
    try:
        fcntl.ioctl(target, _FICLONE, source)
    except OSError:
        os.close(target)
        return None
    return target
