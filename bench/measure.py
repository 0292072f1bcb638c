"""Runs side by side: interleaved in random order, each on a machine with nothing else to do.

The disk's speed drifts by the minute, so a ratio is of two runs of the same round, and
the figure is the median of these ratios.
"""

import os
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from time import perf_counter, sleep

# Of one core, by all other processes; the kernel's threads that write to the disk for a run stay below that.
_DISTURBED = 0.3
_ATTEMPTS = 4
_GLANCE = 0.3
_LINE = "{:<54} {:>10} {:>10} {:>9}  {:<17} {:>9}  {}"


def nothing() -> None:
    pass


@dataclass(frozen=True)
class Run:
    """Something to time; `work` may return the seconds where it knows them better. The rest is not timed."""

    work: Callable[[], float | None]
    prepare: Callable[[], None] = nothing
    clean: Callable[[], None] = nothing


@dataclass(frozen=True)
class Bound:
    """What a figure must be: at most (`<=`) or at least (`>=`) so much of a unit."""

    limit: float
    unit: str = "x"
    sense: str = "<="

    def __str__(self) -> str:
        return f"{self.sense} {self.limit:g} {self.unit}"

    def met(self, figure: float) -> bool:
        return figure <= self.limit if self.sense == "<=" else figure >= self.limit


class Meter:
    """Times runs and prints a line for each figure.

    A run waits until other processes are quiet, for `patience` seconds in all; one that
    was disturbed all the same is done again.
    """

    def __init__(self, rounds: int, patience: float) -> None:
        self.rounds = rounds
        self._patience = patience

    def compare(self, theirs: Run, ours: Sequence[tuple[str, Run, Bound | None]], *, times: int = 1) -> None:
        """Tell how many times theirs each of our runs takes, or how many times faster it is; `times` the rounds."""
        base, *seconds = self.seconds([theirs, *(run for _, run, _ in ours)], times=times)
        for (what, _, bound), took in zip(ours, seconds, strict=True):
            show_seconds(what, took, base, bound)

    def absolute(self, what: str, figures: Sequence[float], bound: Bound) -> None:
        """Tell figures that are compared with nothing."""
        show(what, "", "", figures, bound)

    def seconds(self, runs: Sequence[Run], *, times: int = 1) -> list[list[float]]:
        """Return the seconds of every run in every round, one round of all after the other."""
        found: list[list[float]] = [[] for _ in runs]
        for _ in range(self.rounds * times):
            for index in random.sample(range(len(runs)), len(runs)):
                found[index].append(self._timed(runs[index]))
        return found

    def _timed(self, run: Run) -> float:
        for _ in range(_ATTEMPTS):
            os.sync()
            self._wait_for_quiet()
            run.prepare()
            others, started = _others(), perf_counter()
            seconds = run.work()
            took = perf_counter() - started
            others = _others() - others
            run.clean()
            if others <= _DISTURBED * took:
                break
        return took if seconds is None else seconds

    def _wait_for_quiet(self) -> None:
        while self._patience > 0:
            others = _others()
            sleep(_GLANCE)
            if _others() - others <= _DISTURBED * _GLANCE:
                return
            self._patience -= _GLANCE


def heading() -> None:
    print(_LINE.format("", "mvs", "theirs", "median", "min .. max", "bound", ""))


def section(text: str) -> None:
    print(f"\n{text}", flush=True)


def show_seconds(what: str, ours: Sequence[float], theirs: Sequence[float], bound: Bound | None) -> None:
    """Print the ratio of the seconds of the same rounds: theirs by ours where the bound is one to reach from below."""
    faster = bound is not None and bound.sense == ">="
    figures = [their / our if faster else our / their for our, their in zip(ours, theirs, strict=True)]
    show(what, f"{median(ours):.3f} s", f"{median(theirs):.3f} s", figures, bound)


def show(what: str, ours: str, theirs: str, figures: Sequence[float], bound: Bound | None) -> None:
    """Print a line of the table; with no figures, it is one of what they have and what is to be reached."""
    if not figures:
        print(_LINE.format(what, ours, theirs, "", "", str(bound or ""), "").rstrip(), flush=True)
        return
    middle = median(figures)
    spread = f"{_short(min(figures))} .. {_short(max(figures))}" if len(figures) > 1 else ""
    verdict = "" if bound is None else "ok" if bound.met(middle) else "MISSED"
    print(_LINE.format(what, ours, theirs, _short(middle), spread, str(bound or ""), verdict), flush=True)


def _short(figure: float) -> str:
    return f"{figure:.2f}" if abs(figure) >= 1 or not figure else f"{figure:.3f}"


def _others() -> float:
    """Return the seconds of processor time used by all but this process and its children, where that is known."""
    try:
        with open("/proc/stat", encoding="ascii") as file:
            user, nice, system, _idle, _wait, interrupts, soft, stolen = map(int, file.readline().split()[1:9])
    except FileNotFoundError:
        return 0.0
    ticks = user + nice + system + interrupts + soft + stolen
    return ticks / os.sysconf("SC_CLK_TCK") - sum(os.times()[:4])
