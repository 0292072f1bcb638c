"""Collecting garbage in a store of many versions, and what it costs whoever saves meanwhile."""

import json
import os
import subprocess
import sys
from pathlib import Path
from time import perf_counter

import mvs
from bench.crowd import OBJECTS, crowd
from bench.measure import Bound, Meter, Run, section
from bench.place import Place, remove

# Of so many versions the objects with files of their own are 10,000.
_DELETED = 1667
_SAVED = 24
# A process of its own: its memory, and the spans in which it holds the lock.
_MEASURED = """
import importlib, json, resource, sys
from contextlib import contextmanager
from time import perf_counter
import mvs
from mvs.store.store import Store
held, marks = [], []
exclusive = Store.exclusive
run = importlib.import_module("mvs.ops.gc.run")
plan = run.plan
@contextmanager
def timed(store):
    with exclusive(store):
        began = perf_counter()
        try:
            yield
        finally:
            held.append(perf_counter() - began)
def marked(*args, **options):
    began = perf_counter()
    try:
        return plan(*args, **options)
    finally:
        marks.append(perf_counter() - began)
Store.exclusive, run.plan = timed, marked
began = perf_counter()
done = mvs.open(sys.argv[1]).gc()
print(json.dumps({
    "total": perf_counter() - began,
    "mark": sum(marks),
    "held": max(held),
    "objects": done.objects,
    "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << 20 if sys.platform == "darwin" else 1 << 10),
}))
"""
_FOR_EVER = "import sys, mvs\nwhile True: mvs.open(sys.argv[1]).gc()"


def run(place: Place, meter: Meter) -> None:
    section(f"gc of {place.versions:,} versions and {place.versions * OBJECTS:,} objects")
    half, whole = place.work / "half", place.work / "whole"
    crowd(half, place.versions // 2, deleted=_DELETED // 2)
    crowd(whole, place.versions, deleted=_DELETED)
    _collect(half, whole, meter)
    _saves(whole, meter)
    for folder in (half, whole):
        remove(folder)


def _collect(half: Path, whole: Path, meter: Meter) -> None:
    """Collect once what was deleted; then again and again, which marks the same."""
    first = _measured(whole)
    _measured(half)
    assert first["objects"] == _DELETED * 6, first
    meter.absolute("the mark", [first["mark"]], Bound(60, "s"))
    meter.absolute("its memory", [first["memory"]], Bound(1024, "MiB"))
    meter.absolute(
        f"the lock held at once, {first['objects']:,.0f} objects removed", [first["held"] * 1000], Bound(100, "ms")
    )
    meter.compare(
        Run(lambda: _measured(half)["total"]),
        [("gc of twice the store : gc", Run(lambda: _measured(whole)["total"]), Bound(2.2))],
    )


def _saves(folder: Path, meter: Meter) -> None:
    data = folder.parent / "model"
    data.mkdir(exist_ok=True)

    def alone() -> float:
        return _save(folder, data)

    def accompanied() -> float:
        other = subprocess.Popen([sys.executable, "-c", _FOR_EVER, folder])
        try:
            return _save(folder, data)
        finally:
            other.kill()
            other.wait()

    meter.compare(Run(alone), [(f"{_SAVED} saves beside gc : saves", Run(accompanied), Bound(1.2))])
    remove(data)


def _save(folder: Path, data: Path) -> float:
    """Return the seconds of some saves of a small model that the store does not have, one after the other."""
    repo = mvs.open(folder)
    taken = 0.0
    for _ in range(_SAVED):
        (data / "weights.bin").write_bytes(os.urandom(16 << 20))
        began = perf_counter()
        version = repo.save(data, "saved")
        taken += perf_counter() - began
        repo.delete(version.tag)
    return taken


def _measured(folder: Path) -> dict[str, float]:
    done = subprocess.run([sys.executable, "-c", _MEASURED, folder], check=True, stdout=subprocess.PIPE)
    found: dict[str, float] = json.loads(done.stdout)
    return found
