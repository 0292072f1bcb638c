"""A dedup beside other processes, and on executors and in memory of any size."""

import hashlib
import importlib
import itertools
import multiprocessing
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

import pytest

import mvs
from mvs.backends.directory import Directory
from mvs.errors import StoreBusy
from tests.ops.dedup import families
from tests.ops.dedup.families import (
    as_files,
    check,
    loose_files,
    loose_path,
    model,
    pack_bytes,
    pack_files,
    quick,
    safetensors,
    save,
    tuned,
)

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["mvs.repository.opening", "filelock", "concurrent.futures.thread", "pytest"])
PATIENCE = 60

SHAPES = {"embed": (256, 64), "a": (64, 64), "b": (64, 64), "norm": (64,)}
BASE = model(0, SHAPES)
TUNED = tuned(BASE)
EXPECTED: dict[str, dict[str, bytes]] = {
    "bert:v1": {"model.safetensors": safetensors(BASE), "vocab.txt": b"a\nb\n"},
    "bert:v2": {"model.safetensors": safetensors(TUNED)},
    "bert:v3": {"model.safetensors": safetensors(tuned(TUNED, 2)), "model.gguf": families.gguf_q8(BASE)},
}


@pytest.fixture(autouse=True)
def _importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """A child imports this module by its name."""
    monkeypatch.syspath_prepend(Path(__file__).parents[3])


def saved(root: Path) -> mvs.Repository:
    repo = quick(root)
    for tag, files in EXPECTED.items():
        save(repo, tag, files)
    return repo


@pytest.fixture
def repo(tmp_path: Path) -> mvs.Repository:
    return saved(tmp_path / "repo")


def packs_after(root: Path, **options: Any) -> list[str]:
    repo = saved(root)
    repo.dedup(**options)
    check(repo, EXPECTED)
    return [path.name for path in pack_files(repo)]


def test_the_packs_are_the_same_however_the_work_is_spread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever has two machines, or two settings, has one store."""
    monkeypatch.setattr(importlib.import_module("mvs.ops.dedup.run"), "_PACK_BYTES", 30_000)
    alone = packs_after(tmp_path / "alone", jobs=1)
    assert len(alone) > 1
    assert packs_after(tmp_path / "threads", jobs=7) == alone
    assert packs_after(tmp_path / "little memory", max_memory=1) == alone
    executors: dict[str, Executor] = {
        "processes": ProcessPoolExecutor(2, mp_context=FORKS),
        "given threads": ThreadPoolExecutor(3),
    }
    for name, executor in executors.items():
        with executor:
            assert packs_after(tmp_path / name, executor=executor) == alone
            # It is the caller's, and still of use.
            assert executor.submit(os.getpid).result()


class Paused(ThreadPoolExecutor):
    """Threads that wait, before their first unit, until something else was done."""

    def __init__(self, meanwhile: "Meanwhile") -> None:
        super().__init__(1)
        self.meanwhile = meanwhile

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Any:
        if not self.meanwhile.done:
            self.meanwhile.done = True
            self.meanwhile()
        return super().submit(fn, *args, **kwargs)


class Meanwhile:
    def __init__(self, repo: mvs.Repository, work: Any) -> None:
        self.repo = repo
        self.work = work
        self.done = False

    def __call__(self) -> None:
        self.work(mvs.open(self.repo.root))


def during_a_dedup(repo: mvs.Repository, work: Any) -> None:
    """Do something else while a dedup has begun."""
    meanwhile = Meanwhile(repo, work)
    with Paused(meanwhile) as executor:
        repo.dedup(executor=executor)
    assert meanwhile.done


@pytest.mark.parametrize("verb", ["dedup", "undo_dedup"])
def test_of_two_dedups_at_once_one_is_refused(repo: mvs.Repository, verb: str) -> None:
    """Two that pack at once would each let a base of the other go."""

    def another(other: mvs.Repository) -> None:
        with pytest.raises(StoreBusy, match="another dedup, gc or repair is at work in this store"):
            getattr(other, verb)()

    during_a_dedup(repo, another)
    check(repo, EXPECTED)
    assert loose_files(repo) == []


def test_a_refused_dedup_leaves_the_command_line_with_a_code_and_a_hint(repo: mvs.Repository) -> None:
    def another(other: mvs.Repository) -> None:
        told = subprocess.run(
            [sys.executable, "-m", "mvs", "dedup"], cwd=other.root.parent, capture_output=True, text=True, check=False
        )
        assert told.returncode == StoreBusy.exit_code
        assert told.stdout == ""
        assert "another dedup, gc or repair is at work in this store" in told.stderr
        assert "hint" in told.stderr

    during_a_dedup(repo, another)


def test_saves_checkouts_and_deletes_go_on_while_a_dedup_runs(repo: mvs.Repository, tmp_path: Path) -> None:
    new = {"model.safetensors": safetensors(tuned(BASE, 9))}

    def work(other: mvs.Repository) -> None:
        save(other, "new:v1", new)
        # The same bytes as those that are being packed.
        save(other, "again:v1", EXPECTED["bert:v2"])
        assert as_files(other.checkout("bert:v1", tmp_path / "out")) == EXPECTED["bert:v1"]
        other.delete("bert:v3")
        assert as_files(other.get("bert:v2").path) == EXPECTED["bert:v2"]

    during_a_dedup(repo, work)
    repo.restore("bert:v3")
    check(repo, {**EXPECTED, "new:v1": new, "again:v1": EXPECTED["bert:v2"]})
    repo.dedup()
    check(repo, {**EXPECTED, "new:v1": new, "again:v1": EXPECTED["bert:v2"]})


@pytest.mark.parametrize("collected", [False, True], ids=["deleted", "collected"])
@pytest.mark.parametrize("moment", ["_manifests", "_item"])
def test_what_is_deleted_while_a_dedup_is_planned_is_passed_over(
    repo: mvs.Repository, monkeypatch: pytest.MonkeyPatch, moment: str, collected: bool
) -> None:
    """Somebody else's clean-up at night is no reason for a dedup to fail."""
    module = importlib.import_module("mvs.ops.dedup.plan")
    there = getattr(module, moment)

    done: list[str] = []

    def late(*args: Any) -> Any:
        if not done:
            other = mvs.open(repo.root)
            done.extend(map(str, other.delete("bert:v2")))
            if collected:
                other.gc(expire="now")
        return there(*args)

    monkeypatch.setattr(module, moment, late)
    plan = repo.plan_dedup()
    assert done == ["bert:v2"]
    monkeypatch.undo()
    repo.dedup(plan=plan)
    check(repo, {tag: files for tag, files in EXPECTED.items() if tag != "bert:v2"})


def test_a_base_that_is_lost_while_it_is_leaned_on_costs_the_dedup_and_nothing_else(repo: mvs.Repository) -> None:
    """A pack that relies on what is gone is rubbish, and looks like a model."""
    blob = next(file.blob for file in repo.get("bert:v1").files if file.path == "model.safetensors")
    plan = repo.plan_dedup("bert:v2")
    assert [str(base) for item in plan.items for base in item.bases] == [blob]

    def lose(other: mvs.Repository) -> None:
        loose_path(other, blob).unlink()

    meanwhile = Meanwhile(repo, lose)
    with Paused(meanwhile) as executor:
        result = repo.dedup(plan=plan, executor=executor)
    assert result.blobs == 0
    assert result.skipped
    check(repo, {"bert:v2": EXPECTED["bert:v2"]})


def content(word: str) -> dict[str, bytes]:
    """The files of a version, known from its name alone: like the others, and of its own."""
    seed = int.from_bytes(hashlib.sha256(word.encode()).digest()[:4], "big")
    return {"model.safetensors": safetensors(tuned(BASE, seed)), "word.txt": word.encode()}


def save_and_read(root: Path, worker: int, done: Event) -> None:
    """Save, read in every way, delete and restore, until the dedups are done."""
    repo = mvs.open(root / "repo")
    os.makedirs(root / str(worker))
    for count in itertools.count():
        if done.is_set() and count > 2:
            return
        word = f"{worker}.{count}"
        source = root / str(worker) / word
        for path, data in content(word).items():
            (source / path).parent.mkdir(parents=True, exist_ok=True)
            (source / path).write_bytes(data)
        repo.save(source, f"w{worker}:v{word}")
        if count % 3 == 2:
            repo.delete(f"w{worker}:v{word}")
            repo.restore(f"w{worker}:v{word}")
        for number in range(max(0, count - 3), count + 1):
            read(repo, root / str(worker) / "out", f"{worker}.{number}", worker, count)
        read(repo, root / str(worker) / "out", "shared", worker, count)


def read(repo: mvs.Repository, scratch: Path, word: str, worker: int, way: int) -> None:
    tag = "shared:v1" if word == "shared" else f"w{worker}:v{word}"
    version = repo.get(tag)
    if way % 3 == 0:
        found = as_files(repo.checkout(tag, scratch / f"{word}-{way}"))
    elif way % 3 == 1:
        found = {file.path: version.read_bytes(file.path) for file in version.files}
    else:
        found = opened(version, scratch)
    assert found == content(word), word


def beside_workers(tmp_path: Path, rounds: int) -> None:
    repo = quick(tmp_path / "repo")
    save(repo, "shared:v1", content("shared"))
    done = FORKS.Event()
    workers = [FORKS.Process(target=save_and_read, args=(tmp_path, number, done)) for number in range(3)]
    for worker in workers:
        worker.start()
    for number in range(rounds):
        repo.dedup(jobs=2)
        if number % 3 == 2:
            repo.undo_dedup("shared")
    done.set()
    for worker in workers:
        worker.join(PATIENCE)
    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    repo.dedup()
    check(repo, {str(version.tag): content(version.version.removeprefix("v")) for version in repo.list("w*")})
    assert loose_files(repo) == []


def test_other_processes_save_and_read_right_while_dedups_run(tmp_path: Path) -> None:
    """A night's dedup must not cost a training run its checkpoint."""
    beside_workers(tmp_path, 6)


@pytest.mark.deep
def test_other_processes_save_and_read_right_while_many_dedups_run(tmp_path: Path) -> None:
    beside_workers(tmp_path, 100)


def test_threads_of_one_process_read_while_it_packs(repo: mvs.Repository) -> None:
    stop = threading.Event()

    def reading() -> int:
        for count in itertools.count(1):
            for tag, files in EXPECTED.items():
                version = repo.get(tag)
                assert {file.path: version.read_bytes(file.path) for file in version.files} == files
            if stop.is_set():
                return count
        raise AssertionError

    with ThreadPoolExecutor(3) as pool:
        readers = [pool.submit(reading) for _ in range(3)]
        for _ in range(3):
            repo.dedup()
            repo.undo_dedup()
        stop.set()
        assert all(reader.result(PATIENCE) for reader in readers)


def test_a_view_that_was_handed_out_does_not_keep_the_bytes(repo: mvs.Repository) -> None:
    """A link keeps its file: the disk would stay as full as it was, and nobody would know why."""
    view = repo.get("bert:v2").path
    inode = (view / "model.safetensors").stat().st_ino
    other = repo.get("bert:v1").path
    repo.dedup("bert:v2")
    assert not view.exists()
    assert (other / "vocab.txt").exists()
    again = repo.get("bert:v2").path
    assert as_files(again) == EXPECTED["bert:v2"]
    assert (again / "model.safetensors").stat().st_ino != inode


def test_a_view_of_any_version_that_has_the_file_is_dropped(repo: mvs.Repository) -> None:
    save(repo, "again:v1", EXPECTED["bert:v2"])
    views = [repo.get(tag).path for tag in ("bert:v2", "again:v1", "bert:v1")]
    repo.dedup("bert:v2")
    assert [view.exists() for view in views] == [False, False, True]


def test_who_has_a_file_of_a_dropped_view_open_reads_on(repo: mvs.Repository) -> None:
    """A model that is being loaded, or mapped, while it is packed."""
    view = repo.get("bert:v1").path
    with (view / "model.safetensors").open("rb") as file:
        head = file.read(100)
        repo.dedup()
        assert not view.exists()
        assert head + file.read() == EXPECTED["bert:v1"]["model.safetensors"]


def test_a_view_made_from_packs_outlives_a_dedup_that_packs_nothing_of_it(repo: mvs.Repository) -> None:
    repo.dedup()
    view = repo.get("bert:v1").path
    save(repo, "new:v1", b"something else")
    repo.dedup()
    assert as_files(view) == EXPECTED["bert:v1"]


def test_dedup_gives_the_disk_its_blocks_back(repo: mvs.Repository) -> None:
    """The figure `freed` is true only when nothing of the store holds the bytes."""
    for tag in EXPECTED:
        assert repo.get(tag).path.exists()
    result = repo.dedup()
    views = repo.store / "cache" / "views"
    assert [path for path in views.rglob("*") if path.is_file()] == []
    assert result.freed == sum(repo.get(tag).size for tag in EXPECTED)
    assert pack_bytes(repo) < result.freed


def checked_out(version: mvs.Version, scratch: Path) -> dict[str, bytes]:
    return as_files(mvs.open(scratch / "repo").checkout(version, scratch / "out"))


def linked(version: mvs.Version, scratch: Path) -> dict[str, bytes]:
    return as_files(mvs.open(scratch / "repo").checkout(version, scratch / "out", link=True))


def viewed(version: mvs.Version, scratch: Path) -> dict[str, bytes]:
    return as_files(version.path)


def read_at_once(version: mvs.Version, scratch: Path) -> dict[str, bytes]:
    return {file.path: version.read_bytes(file.path) for file in version.files}


def read_in_blocks(version: mvs.Version, scratch: Path) -> dict[str, bytes]:
    return {file.path: b"".join(version.blocks(file.path)) for file in version.files}


def opened(version: mvs.Version, scratch: Path) -> dict[str, bytes]:
    found = {}
    for file in version.files:
        with version.open(file.path) as stream:
            found[file.path] = stream.read()
    return found


@pytest.mark.parametrize("moment", range(1, 4))
@pytest.mark.parametrize("packed", ["", "bert:v2"], ids=["loose", "on a loose base"])
@pytest.mark.parametrize(
    "way", [checked_out, linked, viewed, read_at_once, read_in_blocks, opened], ids=lambda way: way.__name__
)
def test_what_is_packed_between_a_look_and_a_read_is_read(
    repo: mvs.Repository,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    way: Callable[[mvs.Version, Path], dict[str, bytes]],
    packed: str,
    moment: int,
) -> None:
    """A file that was there a moment ago is gone, and in a pack."""
    if packed:
        repo.dedup(packed)
    looks = itertools.count(1)
    there: Callable[[Directory, str], int | None] = Directory.size

    def look(disk: Directory, key: str) -> int | None:
        size = there(disk, key)
        if key.startswith("objects/") and next(looks) == moment:
            monkeypatch.undo()
            mvs.open(repo.root).dedup()
        return size

    monkeypatch.setattr(Directory, "size", look)
    assert way(repo.get("bert:v2"), tmp_path) == EXPECTED["bert:v2"]
    monkeypatch.undo()
    check(repo, EXPECTED)
