"""Work on many items: all results in order, or the first error and nothing left running."""

import threading
from collections.abc import Callable

import pytest

from mvs.running.parallel import Advance, cores, each


class Counting:
    """A progress that remembers what it was told."""

    def __init__(self, fail_at: int | None = None) -> None:
        self.told: list[tuple[str, int]] = []
        self.done = 0
        self.finished = 0
        self._fail_at = fail_at
        self._lock = threading.Lock()

    def start(self, label: str, total: int) -> None:
        self.told.append((label, total))

    def advance(self, amount: int) -> None:
        with self._lock:
            self.done += amount
            if self._fail_at is not None and self.done >= self._fail_at:
                raise BrokenPipeError("nobody watches")

    def finish(self) -> None:
        self.finished += 1

    def remark(self, text: str) -> None:
        pass

    def notice(self, message: str) -> None:
        raise AssertionError(message)


def _run(work: Callable[[int, Advance], int], count: int, progress: Counting) -> list[int]:
    return each(work, range(count), label="testing", total=count, progress=progress)


def test_results_come_in_the_order_of_the_items() -> None:
    """A file would get the id of another."""
    progress = Counting()

    def work(item: int, advance: Advance) -> int:
        advance(1)
        return item * item

    assert _run(work, 200, progress) == [item * item for item in range(200)]
    assert progress.told == [("testing", 200)]
    assert progress.done == 200
    assert progress.finished == 1


def test_no_items_are_no_work() -> None:
    progress = Counting()
    assert _run(lambda item, advance: item, 0, progress) == []
    assert progress.finished == 1


def test_the_first_error_is_raised_as_it_is_and_stops_the_rest() -> None:
    """A full disk would be found once for each of a thousand files."""
    before = threading.enumerate()
    progress = Counting()

    def work(item: int, advance: Advance) -> int:
        if item == 0:
            raise KeyError("this one")
        while True:
            advance(0)

    with pytest.raises(KeyError, match="this one"):
        _run(work, 1000, progress)
    assert progress.finished == 1
    assert set(threading.enumerate()) <= set(before)


def test_an_interrupt_of_work_is_raised_too() -> None:
    progress = Counting()

    def work(item: int, advance: Advance) -> int:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        _run(work, 3, progress)
    assert progress.finished == 1


def test_a_progress_that_fails_ends_the_work_with_its_error() -> None:
    progress = Counting(fail_at=5)

    def work(item: int, advance: Advance) -> int:
        advance(1)
        return item

    with pytest.raises(BrokenPipeError):
        _run(work, 1000, progress)
    assert progress.finished == 1


def test_there_is_at_least_one_core() -> None:
    assert cores() >= 1
