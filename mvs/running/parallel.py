"""The same work on many items, on threads, stopped as soon as one fails.

Hashing and copying release the GIL, so threads use all cores. Work that runs for long
calls `advance` often; that is also where it stops.
"""

import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, TypeVar

from mvs.running.progress import Progress

if TYPE_CHECKING:
    from concurrent.futures import Future

Item = TypeVar("Item")
Result = TypeVar("Result")

# Seconds. The kernel may hand Ctrl-C to any thread, and only the main one acts on it, once
# it runs again.
_POLL = 0.1

Advance = Callable[[int], None]


class Stopped(Exception):
    """Raised inside work that is no longer wanted; never leaves this module."""


def cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def each(
    work: Callable[[Item, Advance], Result],
    items: Sequence[Item],
    *,
    label: str,
    total: int,
    progress: Progress,
) -> list[Result]:
    """Return the results of `work` on each item, in order.

    The first error, an interrupt of the caller included, stops the rest within one
    block and is raised once every thread has ended.
    """
    from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait  # noqa: PLC0415 - 9 ms

    stop = threading.Event()

    def advance(amount: int) -> None:
        if stop.is_set():
            raise Stopped
        progress.advance(amount)

    progress.start(label, total)
    try:
        with ThreadPoolExecutor(cores(), thread_name_prefix="mvs") as pool:
            futures: list[Future[Result]] = []
            try:
                futures += (pool.submit(work, item, advance) for item in items)
                pending = set(futures)
                while pending:
                    done, pending = wait(pending, timeout=_POLL, return_when=FIRST_EXCEPTION)
                    for future in done:
                        future.result()
                return [future.result() for future in futures]
            finally:
                stop.set()
                for future in futures:
                    future.cancel()
    finally:
        progress.finish()


def ordered(work: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """Yield the results of `work` on each item, in order, a few of them ahead of the caller.

    An error, or a caller that stops asking, cancels what was not begun.
    """
    from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415 - 9 ms

    with ThreadPoolExecutor(cores(), thread_name_prefix="mvs") as pool:
        waiting: deque[Future[Result]] = deque()
        try:
            for item in items:
                waiting.append(pool.submit(work, item))
                if len(waiting) > cores() + 1:
                    yield _awaited(waiting.popleft())
            while waiting:
                yield _awaited(waiting.popleft())
        finally:
            for future in waiting:
                future.cancel()


def aside(work: Callable[[], Result]) -> Result:
    """Return the result of work that may wait for long, and is left to itself when the caller is interrupted."""
    return next(ahead(lambda _: work(), [None], 1))


def ahead(work: Callable[[Item], Result], items: Iterable[Item], threads: int) -> Iterator[Result]:
    """Yield the results of `work` on each item, in order, as many of them under way as there are threads.

    For work that waits for others, such as a server: an error, or a caller that stops asking, leaves what
    was begun to itself, and its result to nobody. At most so many results are kept as there are threads.
    """
    from concurrent.futures import Future  # noqa: PLC0415 - 9 ms

    def run(item: Item, future: "Future[Result]") -> None:
        try:
            future.set_result(work(item))
        except BaseException as error:  # noqa: BLE001 - it is raised where the result is asked for
            future.set_exception(error)

    waiting: deque[Future[Result]] = deque()
    for item in items:
        done = [_awaited(waiting.popleft())] if len(waiting) >= threads else []
        future: Future[Result] = Future()
        waiting.append(future)
        # Not of a pool, whose threads the end of the process would wait for.
        threading.Thread(target=run, args=(item, future), name="mvs", daemon=True).start()
        yield from done
    while waiting:
        yield _awaited(waiting.popleft())


def _awaited(future: "Future[Result]") -> Result:
    """Return the result of a future, and act on Ctrl-C meanwhile."""
    from concurrent.futures import wait  # noqa: PLC0415 - 9 ms

    while not future.done():
        wait([future], timeout=_POLL)
    return future.result()
