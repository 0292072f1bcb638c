"""What a command costs before it does anything, and what many versions cost."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from time import perf_counter, sleep

import mvs
from bench.measure import Bound, Meter, Run, section
from bench.place import Place, command, remove

VERSIONS = 1000
_SINGLES = 20
PINS = 100
_FILES = 20


def run(place: Place, meter: Meter) -> None:
    section(f"Start of the command, and {VERSIONS:,} versions")
    folder = place.work / "many"
    _fill(place, folder)
    _commands(folder, meter)
    _deletions(place, folder, meter)
    remove(folder)
    _pins(place, meter)


def _fill(place: Place, folder: Path) -> None:
    """Save the versions of one name, and other names that have one version each."""
    repo = place.repository("many", durable=False)
    model = place.work / "model"
    model.mkdir()
    (model / "config.json").write_text("{}")
    for index in range(VERSIONS):
        repo.save(model, f"many:v{index}", labels={"stage": "production" if index % 10 == 0 else "candidate"})
    for index in range(_SINGLES):
        repo.save(model, f"single-{index}:v1")
    remove(model)
    command(folder, "config", "set", "store.durable", "true")


def _commands(folder: Path, meter: Meter) -> None:
    meter.compare(
        Run(lambda: _none(subprocess.run([sys.executable, "-c", "import click"], check=True))),
        [
            ("mvs --version : python -c 'import click'", Run(lambda: _none(command(folder, "--version"))), Bound(1.5)),
            ("mvs list : the same", Run(lambda: _none(command(folder, "list"))), Bound(3)),
            (
                "mvs list NAME -l k=v : the same",
                Run(lambda: _none(command(folder, "list", "many", "-l", "stage=production"))),
                Bound(3),
            ),
        ],
        times=3,
    )


def _deletions(place: Place, folder: Path, meter: Meter) -> None:
    scratch = place.work / "scratch"

    def prepare() -> None:
        remove(scratch)
        shutil.copytree(folder, scratch)

    def singles() -> float:
        repo = mvs.open(scratch)
        started = perf_counter()
        for index in range(_SINGLES):
            repo.delete(f"single-{index}:v1")
        return (perf_counter() - started) * VERSIONS / _SINGLES

    def at_once() -> None:
        mvs.open(scratch).delete("many", all_versions=True)

    def newest() -> float:
        repo = mvs.open(scratch)
        started = perf_counter()
        for _ in range(_SINGLES):
            repo.delete("many:latest")
        return (perf_counter() - started) * VERSIONS / _SINGLES

    meter.compare(
        Run(singles, prepare),
        [
            (f"delete {VERSIONS:,} at once : {VERSIONS:,} x one", Run(at_once, prepare), Bound(1)),
            (f"delete the newest of {VERSIONS:,} : the only one, {VERSIONS:,} times", Run(newest, prepare), None),
        ],
    )
    remove(scratch)


def _pins(place: Place, meter: Meter) -> None:
    """Look whether anything changed in what is pinned; how large the files are makes no difference then."""
    section(f"{PINS} pins of {_FILES} files each, nothing changed")
    repo = place.repository("pins", durable=False)
    folder = repo.root.parent
    for index in range(PINS):
        with repo.create(f"pinned-{index}:v1") as draft:
            for number in range(_FILES):
                (draft.path / f"model-{number:05}.safetensors").write_bytes(os.urandom(64))
        repo.pin(f"pinned-{index}", to=f"models/{index}")
    repo.checkout_pins()
    # Until then files are too young to be believed, and read.
    sleep(2.5)
    command(folder, "-q", "status")
    meter.compare(
        Run(lambda: _none(command(folder, "--version"))),
        [("mvs status : mvs --version", Run(lambda: _none(command(folder, "-q", "status"))), Bound(3))],
        times=3,
    )
    remove(folder)


def _none(_: object) -> None:
    pass
