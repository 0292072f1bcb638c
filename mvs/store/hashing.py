"""Ids of files, at the speed of the disk or of all cores, in bounded memory.

Files of users are read, never mapped: a mapped file that shrinks kills the process.
"""

import os
import queue
import threading

from blake3 import blake3

from mvs.backends.copying import copy_block
from mvs.format.ids import ObjectId
from mvs.running.parallel import Advance

# Two of three 2 MiB buffers stay in the processor's cache while BLAKE3 splits one over
# its threads; 1 MiB wastes its start-up, 4 MiB falls out of the cache. Measured in
# docs/design/0002-reading-and-copying.md.
_WIDE_BLOCK = 2 << 20
_WIDE_BUFFERS = 3
# One thread: 1 MiB stays in its cache.
_BLOCK = 1 << 20


def hash_open(fd: int, advance: Advance, *, wide: bool) -> tuple[ObjectId, int]:
    """Return id and size of an open file; `wide` uses all cores for this one file."""
    return _hash_wide(fd, advance) if wide else _hash_narrow(fd, advance)


def copy_open(source: int, target: int, advance: Advance) -> tuple[ObjectId, int]:
    """Copy one open file to another and return id and size of what the copy holds.

    A second thread hashes the target close behind, so the id is of the bytes that were
    written, not of a second look at the source.
    """
    written: queue.SimpleQueue[int] = queue.SimpleQueue()
    hasher = blake3()
    failure: list[BaseException] = []
    unwanted = threading.Event()

    def follow() -> None:
        buffer = bytearray(_BLOCK)
        view = memoryview(buffer)
        offset = 0
        try:
            while (end := written.get()) >= 0:
                while offset < end and not unwanted.is_set():
                    count = os.preadv(target, [view[: min(_BLOCK, end - offset)]], offset)
                    if count == 0:
                        raise OSError("the copy shrank while it was read back")
                    hasher.update(view[:count])
                    offset += count
        except BaseException as error:  # noqa: BLE001 - raised again below, in the thread that waits
            failure.append(error)

    follower = threading.Thread(target=follow, name="mvs-hash")
    follower.start()
    offset = 0
    try:
        while count := copy_block(source, target, offset):
            offset += count
            written.put(offset)
            advance(count)
    except BaseException:
        unwanted.set()
        raise
    finally:
        written.put(-1)
        follower.join()
    if failure:
        raise failure[0]
    return ObjectId(hasher.digest()), offset


def _hash_narrow(fd: int, advance: Advance) -> tuple[ObjectId, int]:
    hasher = blake3()
    buffer = bytearray(_BLOCK)
    view = memoryview(buffer)
    offset = 0
    while count := os.preadv(fd, [view], offset):
        hasher.update(view[:count])
        offset += count
        advance(count)
    return ObjectId(hasher.digest()), offset


def _hash_wide(fd: int, advance: Advance) -> tuple[ObjectId, int]:
    hasher = blake3(max_threads=blake3.AUTO)
    free: queue.SimpleQueue[bytearray] = queue.SimpleQueue()
    filled: queue.SimpleQueue[tuple[bytearray, int] | BaseException] = queue.SimpleQueue()
    stop = threading.Event()
    for _ in range(_WIDE_BUFFERS):
        free.put(bytearray(_WIDE_BLOCK))

    def read() -> None:
        offset = 0
        try:
            while not stop.is_set():
                buffer = free.get()
                count = os.preadv(fd, [buffer], offset)
                filled.put((buffer, count))
                offset += count
                if count == 0:
                    return
        except BaseException as error:  # noqa: BLE001 - raised again below, in the thread that waits
            filled.put(error)

    reader = threading.Thread(target=read, name="mvs-read")
    reader.start()
    total = 0
    try:
        while True:
            got = filled.get()
            if isinstance(got, BaseException):
                raise got
            buffer, count = got
            if count == 0:
                return ObjectId(hasher.digest()), total
            hasher.update(memoryview(buffer)[:count])
            free.put(buffer)
            total += count
            advance(count)
    finally:
        stop.set()
        free.put(bytearray(0))
        reader.join()
