"""Sizes of blocks and numbers of buffers for hashing and copying; the figures of docs/design/0002.

`python -m bench.blocks` sets the constants of the very code that ships, one after the other.
"""

import argparse
import os
import queue
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from time import perf_counter

from blake3 import blake3

from bench.measure import Meter, Run, nothing
from bench.place import Place
from mvs.backends import copying
from mvs.store import hashing

_MIB = 1 << 20


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.blocks")
    parser.add_argument("--size", type=int, default=1 << 30)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--dir", type=Path, default=Path(".bench"))
    parser.add_argument("--patience", type=float, default=300)
    options = parser.parse_args()
    meter = Meter(options.rounds, options.patience)
    with Place(options.dir.absolute(), options.size) as place:
        source = next(place.shapes()["in 1 file"].iterdir())
        _table("hash", _hashing(source), meter)
        target = place.work / "copy"
        _table("copy", _copying(source, target), meter, target.unlink)


def _hashing(source: Path) -> dict[str, Callable[[], None]]:
    found: dict[str, Callable[[], None]] = {
        "update_mmap, AUTO": lambda: _none(blake3(max_threads=blake3.AUTO).update_mmap(source)),
    }
    for block in (_MIB // 4, _MIB, 2 * _MIB, 4 * _MIB):
        found[f"1 thread, {_text(block)}"] = partial(_ship, source, wide=False, _BLOCK=block)
    for block in (_MIB, 2 * _MIB, 4 * _MIB):
        found[f"AUTO, one buffer of {_text(block)}"] = partial(_one_buffer, source, block)
    for block in (_MIB, 2 * _MIB, 4 * _MIB):
        for buffers in (2, 3, 4):
            found[f"AUTO, reader ahead, {buffers} x {_text(block)}"] = partial(
                _ship, source, wide=True, _WIDE_BLOCK=block, _WIDE_BUFFERS=buffers
            )
    return found


def _copying(source: Path, target: Path) -> dict[str, Callable[[], None]]:
    found: dict[str, Callable[[], None]] = {}
    for block in (_MIB, 8 * _MIB, 64 * _MIB):
        found[f"copy_file_range {_text(block)}, no hash"] = partial(_copy, source, target, block, _copy_only)
    for block in (_MIB, 2 * _MIB, 8 * _MIB, 64 * _MIB):
        found[f"copy_file_range {_text(block)}, hash behind"] = partial(_copy, source, target, block, _copy_and_hash)
    for block in (_MIB // 4, _MIB):
        found[f"read/write {_text(block)}, hash beside"] = partial(
            _copy, source, target, 0, partial(_read_write, block=block)
        )
    return found


def _ship(source: Path, *, wide: bool, **constants: int) -> None:
    kept = {name: getattr(hashing, name) for name in constants}
    try:
        for name, value in constants.items():
            setattr(hashing, name, value)
        with open(source, "rb", buffering=0) as file:
            hashing.hash_open(file.fileno(), _none, wide=wide)
    finally:
        for name, value in kept.items():
            setattr(hashing, name, value)


def _one_buffer(source: Path, block: int) -> None:
    hasher = blake3(max_threads=blake3.AUTO)
    view = memoryview(bytearray(block))
    with open(source, "rb", buffering=0) as file:
        while count := file.readinto(view):
            hasher.update(view[:count])


def _copy(source: Path, target: Path, block: int, work: Callable[[int, int], None]) -> None:
    kept, copying.BLOCK = copying.BLOCK, block
    try:
        with open(source, "rb", buffering=0) as given, open(target, "xb+", buffering=0) as made:
            work(given.fileno(), made.fileno())
    finally:
        copying.BLOCK = kept


def _copy_only(source: int, target: int) -> None:
    offset = 0
    while count := copying.copy_block(source, target, offset):
        offset += count


def _copy_and_hash(source: int, target: int) -> None:
    hashing.copy_open(source, target, _none)


def _read_write(source: int, target: int, block: int) -> None:
    """The other way: what was read is written, and hashed by a second thread from the same buffer."""
    free: queue.SimpleQueue[bytearray] = queue.SimpleQueue()
    filled: queue.SimpleQueue[tuple[bytearray, int]] = queue.SimpleQueue()
    for _ in range(4):
        free.put(bytearray(block))

    def follow() -> None:
        hasher = blake3()
        while (got := filled.get())[1]:
            hasher.update(memoryview(got[0])[: got[1]])
            free.put(got[0])

    hashed = threading.Thread(target=follow)
    hashed.start()
    count = 1
    while count:
        buffer = free.get()
        count = os.readv(source, [buffer])
        os.write(target, memoryview(buffer)[:count])
        filled.put((buffer, count))
    hashed.join()


def _table(what: str, ways: dict[str, Callable[[], None]], meter: Meter, clean: Callable[[], None] = nothing) -> None:
    cpu: dict[str, list[float]] = {name: [] for name in ways}

    def run(name: str) -> Run:
        def work() -> float:
            spent, started = sum(os.times()[:2]), perf_counter()
            ways[name]()
            took = perf_counter() - started
            cpu[name].append(sum(os.times()[:2]) - spent)
            return took

        return Run(work, clean=clean)

    seconds = meter.seconds([run(name) for name in ways])
    print(f"\n{what:<36} {'median':>8} {'min':>8} {'max':>8} {'CPU':>8}")
    for name, took in zip(ways, seconds, strict=True):
        print(f"{name:<36} {median(took):8.3f} {min(took):8.3f} {max(took):8.3f} {median(cpu[name]):8.3f}")


def _text(size: int) -> str:
    return f"{size // _MIB} MiB" if size >= _MIB else f"{size >> 10} KiB"


def _none(_: object) -> None:
    pass


if __name__ == "__main__":
    main()
