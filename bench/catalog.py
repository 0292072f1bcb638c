"""Finding versions among many: how long it takes, and what it costs whoever saves."""

import random
import shutil
import subprocess
import sys
from pathlib import Path
from time import perf_counter
from typing import Any

import mvs
from bench import mlflow
from bench.measure import Bound, Meter, Run, section, show_seconds
from bench.place import Place, command, remove
from mvs.format.ids import ObjectId
from mvs.format.layout import EVENTS, JOURNAL, TAGS, object_path
from mvs.format.lines.journal import MAGIC, Event
from mvs.format.lines.refs import Ref
from mvs.format.manifest import FileEntry, Manifest, Tree
from mvs.format.names import LATEST, Tag

NAMES = 1000
EACH = 100
_NAME = "team-1/model-1"
_START = 1_700_000_000_000_000_000
_FILTER = "metadata.accuracy > 0.9 and labels.stage = 'production' and created > '2023-12-01' and framework = 'pytorch'"
# So many in one figure: one takes too little to be timed.
_SAVES = 20
_READS = 200


def run(place: Place, meter: Meter) -> None:
    section(f"{NAMES * EACH:,} versions of {NAMES:,} names")
    place.repository("many", durable=False)
    many = place.work / "many"
    rows = fill(many / ".mvs", NAMES, EACH)
    meter.absolute("building the catalog", [_build(many) for _ in range(meter.rounds)], Bound(20_000, "/s", ">="))
    repo = mvs.open(many)
    repo.list(where=_FILTER)
    filters: dict[str, dict[str, Any]] = {
        "filter with sort and limit": {"where": _FILTER, "sort": "metadata.val_loss:asc,created:desc", "limit": 20},
        "filter with limit": {"where": "metadata.accuracy > 0.9", "limit": 20},
        "sort with limit": {"sort": "metadata.val_loss:asc", "limit": 20},
        "filter of one name": {"name": _NAME, "where": "metadata.accuracy > 0.9"},
    }
    for what, arguments in filters.items():
        meter.absolute(what, [_listed(repo, arguments) for _ in range(meter.rounds)], Bound(50, "ms"))
    _compare_with_mlflow(place, repo, rows, meter)
    click = Run(lambda: _none(subprocess.run([sys.executable, "-c", "import click"], check=True)))
    ours = Run(lambda: _none(command(many, "list", _NAME, "--where", "metadata.accuracy > 0.9")))
    meter.compare(click, [("mvs list NAME --where : python -c 'import click'", ours, Bound(3))], times=3)
    _compare_with_few(place, many, meter)
    remove(many)


def _compare_with_mlflow(place: Place, repo: mvs.Repository, rows: list[mlflow.Row], meter: Meter) -> None:
    """Ask both for the first 20 of what both can say: MLflow has no numbers of versions, and no order by tags."""
    theirs = mlflow.search(place.work, rows, "tags.stage = 'production' and tags.lang = 'en'", meter.rounds)
    if theirs is not None:
        asked = {"where": "tags.stage = 'production' and tags.lang = 'en'", "limit": 20}
        ours = [_listed(repo, asked) for _ in theirs]
        title = "filter with limit : MLflow's search_model_versions"
        show_seconds(title, [took / 1000 for took in ours], [took / 1000 for took in theirs], Bound(20, "x", ">="))


def _compare_with_few(place: Place, many: Path, meter: Meter) -> None:
    """Save into the store, and read from it, beside one that has a single version."""
    model = place.work / "model"
    model.mkdir()
    (model / "config.json").write_text("{}")
    place.repository("few", durable=False)
    few = place.work / "few"
    mvs.open(few).save(model, f"{_NAME}:v0")

    def saves(folder: Path) -> Run:
        repo = mvs.open(folder)
        return Run(lambda: _none([repo.save(model, _NAME, message="") for _ in range(_SAVES)]))

    def reads(folder: Path) -> Run:
        repo = mvs.open(folder)
        return Run(lambda: _none([repo.get(f"{_NAME}:latest") for _ in range(_READS)]))

    meter.compare(reads(few), [("NAME:latest : in a store with one version", reads(many), Bound(1.2))], times=3)
    meter.compare(saves(few), [("a save : into an empty store", saves(many), Bound(1.2))], times=3)
    remove(model)
    remove(few)


def _build(folder: Path) -> float:
    """Return versions a second."""
    shutil.rmtree(folder / ".mvs" / "cache", ignore_errors=True)
    repo = mvs.open(folder)
    started = perf_counter()
    repo.list(limit=1)
    return NAMES * EACH / (perf_counter() - started)


def _listed(repo: mvs.Repository, arguments: dict[str, Any]) -> float:
    started = perf_counter()
    repo.list(**arguments)
    return (perf_counter() - started) * 1000


def _none(_: object) -> None:
    pass


def fill(store: Path, names: int, each: int) -> list[mlflow.Row]:
    """Put versions into a store as a save writes them, without the waiting; return what MLflow is to have of them."""
    rows: list[mlflow.Row] = []
    chance = random.Random(0)
    context = {"mvs": "1", "python": "3.11.7", "platform": "Linux-6.1-x86_64", "framework": "pytorch"}
    made: set[str] = set()

    def write(key: str, data: bytes) -> None:
        path = f"{store}/{key}"
        folder = path.rpartition("/")[0]
        if folder not in made:
            Path(folder).mkdir(parents=True, exist_ok=True)
            made.add(folder)
        with open(path, "wb") as file:
            file.write(data)

    for number in range(names):
        name = f"team-{number % 20}/model-{number}"
        journal = [MAGIC]
        for count in range(each):
            created = _START + (count * names + number) * 60_000_000_000
            files = [
                FileEntry(path, chance.randrange(1 << 30), ObjectId(chance.randbytes(32)))
                for path in ("config.json", "weights.safetensors")
            ]
            tree = Tree.of(files, [])
            tag = Tag(name, f"v{count}")
            manifest = Manifest(
                tag, created, tree, tree.id,
                labels={"stage": chance.choice(["production", "candidate", "archived"]), "lang": "en"},
                metadata={"accuracy": chance.random(), "val_loss": chance.random() * 3, "epoch": count, "lr": 1e-4},
                context=context, parents=(), message="",
            )  # fmt: skip
            rows.append((name, count, created // 1_000_000, manifest.labels))
            data = manifest.encode()
            ref = Ref(tag, ObjectId.of(data), created)
            write(object_path(ref.id), data)
            write(f"{TAGS}/{name}/@{tag.version}", ref.encode())
            journal.append(Event("save", tag.version, None, ref.id, tree.id, created, created, "bench").encode())
        write(f"{TAGS}/{name}/@{LATEST}", ref.encode())
        write(f"{JOURNAL}/{name}/{EVENTS}", b"".join(journal))
    return rows
