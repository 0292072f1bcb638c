"""How long a save in the background holds up whoever trains, and how much it slows him down."""

import os
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from time import perf_counter

import numpy as np

import mvs
from bench.measure import Bound, Meter, Run, section
from bench.place import Place, copy, remove

Array = np.ndarray[tuple[int], np.dtype[np.uint8]]
_FILES = Bound(20, "ms")
_MEMORY = Bound(1.2)
_SLOWER = Bound(1.05)
_ARRAYS = 64
# A step of training: some milliseconds of arithmetic in the caches of one core.
_SIDE = 256
_STEPS = 20_000


def run(place: Place, meter: Meter) -> None:
    section("Saving beside training: how long it is held up")
    for label, data in place.shapes().items():
        _files(place, meter, label, data)
    _memory(place, meter)
    section("Saving beside training: the steps meanwhile, the save held to one other core")
    _steps(place, meter)


class _Saves:
    """Saves into a store that is new each time, and tells how long it took until the caller went on."""

    def __init__(self, place: Place, name: str = "beside") -> None:
        self._place = place
        self._name = name
        self.repo: mvs.Repository | None = None
        self.future: Future[mvs.Version] | None = None

    def prepare(self) -> None:
        self.repo = self._place.repository(self._name)

    def stall(self, source: Path | dict[str, Array], *, move: bool = False) -> float:
        assert self.repo
        began = perf_counter()
        self.future = self.repo.save_async(source, "bench:v1", move=move)
        return perf_counter() - began

    def clean(self) -> None:
        assert self.repo
        assert self.future
        self.future.result()
        self.repo.close()
        remove(self.repo.root.parent)


def _files(place: Place, meter: Meter, label: str, data: Path) -> None:
    saves = _Saves(place)
    out = place.work / "out"

    def prepare_move() -> None:
        saves.prepare()
        remove(out)
        copy(data, out)

    held = Run(lambda: saves.stall(data), saves.prepare, saves.clean)
    moved = Run(lambda: saves.stall(out, move=True), prepare_move, saves.clean)
    waited = Run(lambda: _waited(saves, data), saves.prepare, saves.clean)
    *stalls, whole = meter.seconds([held, moved, waited])
    for how, seconds in zip(("", ", move=True"), stalls, strict=True):
        meter.absolute(f"save_async {label}{how}", [1000 * stall for stall in seconds], _FILES)
        shares = [stall / all for stall, all in zip(seconds, whole, strict=True)]
        meter.absolute(f"save_async {label}{how} : until it is saved", shares, Bound(1))


def _waited(saves: _Saves, data: Path) -> float:
    began = perf_counter()
    saves.stall(data)
    assert saves.future
    saves.future.result()
    return perf_counter() - began


def _memory(place: Place, meter: Meter) -> None:
    size = place.size // _ARRAYS
    arrays = {f"layer-{index:02}": np.frombuffer(os.urandom(size), "u1") for index in range(_ARRAYS)}
    kept = [array.copy() for array in arrays.values()]
    first, steady = _Saves(place), _Saves(place, "steady")
    steady.prepare()
    steady.stall(arrays)

    def again() -> float:
        assert steady.future
        assert steady.repo
        steady.future.result()
        began = perf_counter()
        steady.future = steady.repo.save_async(arrays, "bench")
        return perf_counter() - began

    def settle() -> None:
        assert steady.future
        steady.future.result()

    def anew() -> float:
        began = perf_counter()
        room = np.empty(place.size, "u1")
        for index, array in enumerate(arrays.values()):
            np.copyto(room[index * size : (index + 1) * size], array)
        return perf_counter() - began

    def overwrite() -> float:
        began = perf_counter()
        for array, old in zip(arrays.values(), kept, strict=True):
            np.copyto(old, array)
        return perf_counter() - began

    once = Run(lambda: first.stall(arrays), first.prepare, first.clean)
    meter.compare(Run(anew), [("save_async, the first of arrays : copy to new memory", once, _MEMORY)])
    other = Run(again, clean=settle)
    meter.compare(Run(overwrite), [("save_async, any other : copy to used memory", other, _MEMORY)])
    steady.clean()


def _steps(place: Place, meter: Meter) -> None:
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        return
    size = place.size // _ARRAYS
    arrays = {f"layer-{index:02}": np.frombuffer(os.urandom(size), "u1") for index in range(_ARRAYS)}
    saves = _Saves(place)

    def on(core: int, work: Callable[[], object]) -> None:
        os.sched_setaffinity(0, {core})
        work()
        os.sched_setaffinity(0, cores)

    def beside() -> float:
        # A thread stays on the cores of the one that began it.
        on(cores[0], lambda: saves.stall(arrays))
        assert saves.future
        return train(saves.future.done)

    def train(done: Callable[[], bool] = bool) -> float:
        took: list[float] = []
        on(cores[1], lambda: took.append(_train(done)))
        return took[0]

    meter.compare(
        Run(train), [("steps while a state is saved : steps alone", Run(beside, saves.prepare, saves.clean), _SLOWER)]
    )


def _train(done: Callable[[], bool]) -> float:
    """Train until something is done, or for so many steps, and return the seconds of a thousand steps."""
    weights = np.ones((_SIDE, _SIDE), "f4")
    steps = 0
    began = perf_counter()
    while steps < _STEPS and not done():
        # Not by BLAS, whose threads are not ours to place.
        np.add(weights, 1e-3, out=weights)
        np.sqrt(weights, out=weights)
        steps += 1
    return 1000 * (perf_counter() - began) / steps
