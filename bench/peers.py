"""Against DVC and BentoML, each in an environment of its own; left out, with a word, where it cannot be had."""

import os
import subprocess
import sys
from pathlib import Path

import mvs
from bench.measure import Bound, Meter, Run, section
from bench.place import Place, command, copy, remove

_VENVS = Path(".bench/peers").absolute()
# Its import takes seconds, which are not what is measured; a small model first, so that nothing is left to import.
_BENTOML = """
import os, shutil, sys, time
import bentoml
with bentoml.models.create("warm"):
    pass
started = time.perf_counter()
with bentoml.models.create("bench") as model:
    shutil.copytree(sys.argv[1], model.path, dirs_exist_ok=True)
if sys.argv[2] == "sync":
    os.sync()
print(time.perf_counter() - started)
"""


def run(place: Place, meter: Meter) -> None:
    dvc, bentoml = installed("dvc"), installed("bentoml")
    for label, data in place.shapes().items():
        section(f"Peers, bytes {label}")
        for sync, bound in ((False, 3.0), (True, 1.0)):
            what = " + sync" if sync else ", nothing fsynced"
            if dvc:
                ours = _command(place, data, durable=sync)
                meter.compare(_dvc(place, dvc, data, sync=sync), [(f"mvs save : dvc add{what}", ours, _faster(bound))])
            if bentoml:
                ours = _inside(place, data, durable=sync)
                theirs = _bentoml(place, bentoml, data, sync=sync)
                title = f"repo.save() : models.create{what}"
                meter.compare(theirs, [(title, ours, _faster(min(bound, 2.0)))])


def _faster(limit: float) -> Bound:
    return Bound(limit, "x", ">=")


def _command(place: Place, data: Path, *, durable: bool) -> Run:
    folder = place.work / "ours"

    def prepare() -> None:
        place.repository("ours", durable=durable)
        os.sync()

    def work() -> None:
        command(folder, "save", str(data), "bench")

    return Run(work, prepare, lambda: remove(folder))


def _inside(place: Place, data: Path, *, durable: bool) -> Run:
    folder = place.work / "ours"

    def prepare() -> None:
        place.repository("ours", durable=durable)
        os.sync()

    def work() -> None:
        mvs.open(folder).save(data, "bench")

    return Run(work, prepare, lambda: remove(folder))


def _dvc(place: Place, venv: Path, data: Path, *, sync: bool) -> Run:
    """`dvc add` wants the files in its workspace, so they are copied there first."""
    folder = place.work / "dvc"
    program = venv / "bin" / "dvc"
    environment = {**os.environ, "DVC_NO_ANALYTICS": "1", "DVC_SITE_CACHE_DIR": str(folder / "site")}

    def prepare() -> None:
        remove(folder)
        folder.mkdir()
        subprocess.run([program, "init", "-q", "--no-scm"], check=True, cwd=folder, env=environment)
        copy(data, folder / "data")
        os.sync()

    def work() -> None:
        subprocess.run([program, "add", "-q", "data"], check=True, cwd=folder, env=environment)
        if sync:
            os.sync()

    return Run(work, prepare, lambda: remove(folder))


def _bentoml(place: Place, venv: Path, data: Path, *, sync: bool) -> Run:
    """It prepares a model in a temporary folder, which is put on the same file system."""
    folder = place.work / "bentoml"
    environment = {
        **os.environ,
        "BENTOML_HOME": str(folder / "home"),
        "BENTOML_DO_NOT_TRACK": "True",
        "TMPDIR": str(folder / "tmp"),
    }

    def prepare() -> None:
        (folder / "tmp").mkdir(parents=True)

    def work() -> float:
        done = subprocess.run(
            [venv / "bin" / "python", "-c", _BENTOML, data, "sync" if sync else "-"],
            check=True,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        return float(done.stdout.splitlines()[-1])

    return Run(work, prepare, lambda: remove(folder))


def installed(package: str, *others: str) -> Path | None:
    """Return a virtual environment that has the package, and others, made when it is not there."""
    venv = _VENVS / package
    if not (venv / "made").exists():
        try:
            subprocess.run([sys.executable, "-m", "venv", "--clear", venv], check=True)
            subprocess.run([venv / "bin" / "pip", "install", "-q", package, *others], check=True)
        except subprocess.CalledProcessError:
            print(f"(without {package}: it cannot be installed here)")
            return None
        (venv / "made").touch()
    return venv
