"""Copying file content, in the kernel where it can.

On file systems with reflinks (XFS, btrfs, APFS by way of the fallback's copy) the
kernel shares the blocks and nothing is copied at all.
"""

import errno
import os

# 8 MiB: long enough to make a system call's cost vanish, short enough that whoever
# follows the copy finds its bytes still in the processor's cache or just behind it.
BLOCK = 8 << 20

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
