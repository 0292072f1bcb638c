"""One bit that flipped: what rotting disks and memory do, and a checksum that tells when it is undone."""

from collections.abc import Callable

# Every bit is tried, each try reads all: 16 KiB take a second.
LONGEST = 16 << 10


def unflipped(data: bytes, fits: Callable[[bytes], bool]) -> bytes | None:
    """Return `data` with the one bit flipped back that makes it fit, None where none does."""
    if len(data) > LONGEST:
        return None
    tried = bytearray(data)
    for at in range(len(tried)):
        for bit in range(8):
            tried[at] ^= 1 << bit
            if fits(bytes(tried)):
                return bytes(tried)
            tried[at] ^= 1 << bit
    return None
