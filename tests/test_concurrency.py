"""Many at once, on one store: processes and threads, writers and readers."""

import itertools
import multiprocessing
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier, Event
from pathlib import Path

import pytest

import mvs
from mvs.errors import NotFound, TagExists
from mvs.format.names import Tag
from mvs.repository.workspace import write_setting
from mvs.store.store import Store

# Children are forked from a warm process without threads, and so start at once.
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["mvs.repository.opening", "filelock", "concurrent.futures.thread", "pytest"])
ROUNDS = 20
PATIENCE = 60


@pytest.fixture(autouse=True)
def _importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """A child imports this module by its name."""
    monkeypatch.syspath_prepend(Path(__file__).parents[1])


def init(root: Path) -> mvs.Repository:
    """Make a repository whose saves do not wait for the disk: more of them meet."""
    write_setting(mvs.init(root / "repo").root, "store.durable", "false")
    return mvs.open(root / "repo")


def write(folder: Path, word: str) -> Path:
    """Make a folder of three files that all say the same, so that a mixture shows."""
    folder.mkdir(parents=True)
    for name in ("a", "b", "c"):
        (folder / name).write_text(word * 1000)
    return folder


def words(version: mvs.Version) -> set[str]:
    """What the files of a version say; one word where it is whole."""
    assert [file.path for file in version.files] == ["a", "b", "c"]
    return {version.read_bytes(file.path).decode() for file in version.files}


def in_processes(*calls: tuple[Callable[..., None], tuple[object, ...]]) -> None:
    """Make each call in a process of its own, and wait until all have ended well."""
    processes = [FORKS.Process(target=work, args=arguments) for work, arguments in calls]
    for process in processes:
        process.start()
    for process in processes:
        process.join(PATIENCE)
    assert [process.exitcode for process in processes] == [0] * len(processes)


def save_the_same_tags(root: Path, word: str, start: Barrier, results: "Queue[tuple[int, str, str]]") -> None:
    repo = mvs.open(root / "repo")
    for number in range(ROUNDS):
        source = write(root / f"{word}{number}", f"{word}{number}")
        start.wait(PATIENCE)
        try:
            repo.save(source, f"bert:v{number}")
            results.put((number, word, "saved"))
        except TagExists:
            results.put((number, word, "refused"))


def test_of_two_that_save_one_tag_at_once_one_wins_whole(tmp_path: Path) -> None:
    """A mixture of two models, or a tag that two believe to be theirs, would be found out in production."""
    repo = init(tmp_path)
    results: Queue[tuple[int, str, str]] = FORKS.Queue()
    start = FORKS.Barrier(2)
    in_processes(
        (save_the_same_tags, (tmp_path, "cat", start, results)),
        (save_the_same_tags, (tmp_path, "dog", start, results)),
    )
    told = [results.get(timeout=PATIENCE) for _ in range(2 * ROUNDS)]
    for number in range(ROUNDS):
        outcome = {result: word for at, word, result in told if at == number}
        assert outcome.keys() == {"saved", "refused"}
        assert words(repo.get(f"bert:v{number}")) == {f"{outcome['saved']}{number}" * 1000}


def save_many(root: Path, writer: int, count: int, start: Barrier) -> None:
    repo = mvs.open(root / "repo")
    sources = [write(root / f"{writer}.{number}", f"{writer}.{number} ") for number in range(count)]
    start.wait(PATIENCE)
    for number, source in enumerate(sources):
        repo.save(source, f"bert:v{writer}.{number}")


def delete_latest(root: Path, count: int, start: Barrier) -> None:
    repo = mvs.open(root / "repo")
    start.wait(PATIENCE)
    for _ in range(count):
        repo.delete("bert:latest")


def read_latest(root: Path, start: Barrier, done: Event) -> None:
    repo = mvs.open(root / "repo")
    start.wait(PATIENCE)
    while not done.is_set():
        assert len(words(repo.get("bert:latest"))) == 1
        assert repo.list("bert")


@pytest.mark.parametrize("deleted", [0, 20], ids=["writers", "writers and a deleter"])
def test_a_reader_of_latest_never_fails_beside_four_writers(tmp_path: Path, deleted: int) -> None:
    """A serving process that asks for the latest model must get one at any moment."""
    repo = init(tmp_path)
    # One more than is deleted, so that there is a latest at any moment.
    for number in range(deleted + 1):
        repo.save(write(tmp_path / f"old{number}", f"old{number} "), f"bert:old{number}")
    start = FORKS.Barrier(6 if deleted else 5)
    done = FORKS.Event()
    reader = FORKS.Process(target=read_latest, args=(tmp_path, start, done))
    reader.start()
    deleter = [(delete_latest, (tmp_path, deleted, start))] if deleted else []
    in_processes(*deleter, *((save_many, (tmp_path, writer, 15, start)) for writer in range(4)))
    done.set()
    reader.join(PATIENCE)
    assert reader.exitcode == 0
    versions = repo.list("bert")
    assert len(versions) == 4 * 15 + 1
    assert repo.get("bert") == versions[0]


def test_eight_processes_that_save_versions_of_one_name_lose_none(tmp_path: Path) -> None:
    repo = init(tmp_path)
    start = FORKS.Barrier(8)
    in_processes(*((save_many, (tmp_path, writer, 3, start)) for writer in range(8)))
    versions = repo.list("bert")
    assert {version.version for version in versions} == {f"v{w}.{n}" for w in range(8) for n in range(3)}
    assert len({version.created for version in versions}) == 24
    assert repo.get("bert") == max(versions, key=lambda version: version.created)
    for version in versions:
        assert words(version) == {f"{version.version[1:]} " * 1000}


def bump_many(root: Path, writer: int, start: Barrier) -> None:
    repo = mvs.open(root / "repo")
    sources = [write(root / f"{writer}.{number}", f"{writer}.{number} ") for number in range(ROUNDS)]
    start.wait(PATIENCE)
    for source in sources:
        repo.save(source, "bert", bump="minor")


def test_of_versions_that_are_bumped_at_once_each_gets_its_own_number(tmp_path: Path) -> None:
    """Two trainings that end at once must not cost one of them."""
    repo = init(tmp_path)
    start = FORKS.Barrier(3)
    in_processes(*((bump_many, (tmp_path, writer, start)) for writer in range(3)))
    versions = repo.list("bert")
    assert [version.version for version in versions] == [f"0.{n}.0" for n in range(3 * ROUNDS, 0, -1)]
    assert len({frozenset(words(version)) for version in versions}) == 3 * ROUNDS


def in_threads(work: Callable[[int], None], count: int) -> None:
    """Run `work` on as many threads, all let go at once; raise what any of them raises."""
    start = threading.Barrier(count)

    def waiting(number: int) -> None:
        start.wait(PATIENCE)
        work(number)

    with ThreadPoolExecutor(count) as pool:
        list(pool.map(waiting, range(count)))


def test_eight_threads_share_one_repository(repo: mvs.Repository, tmp_path: Path) -> None:
    def work(number: int) -> None:
        source = write(tmp_path / str(number), f"{number} ")
        repo.save(source, f"own:v{number}")
        assert repo.save(source, f"bert:v{number}") == repo.get(f"bert:v{number}")
        with repo.create(f"draft:v{number}") as draft:
            write(draft.path / "in", f"{number} ")
        assert repo.checkout(f"bert:v{number}", tmp_path / f"out{number}").is_dir()
        assert (repo.get(f"own:v{number}").path / "a").read_text() == f"{number} " * 1000
        repo.delete(f"own:v{number}")
        repo.get("bert:latest")

    in_threads(work, 8)
    assert len(repo.list("bert")) == len(repo.list("draft")) == 8
    for number in range(8):
        assert words(repo.get(f"bert:v{number}")) == {f"{number} " * 1000}
        repo.restore(f"own:v{number}")
        assert words(repo.get(f"own:v{number}")) == {f"{number} " * 1000}


def test_threads_that_save_one_content_store_it_once(repo: mvs.Repository, tmp_path: Path) -> None:
    source = write(tmp_path / "model", "same")
    in_threads(lambda number: void(repo.save(source, f"bert:v{number}")), 8)
    assert len({version.tree for version in repo.list("bert")}) == 1
    blobs = [path for path in (repo.store / "objects").rglob("*") if path.is_file()]
    assert len(blobs) == 8 + 1


def void(_: object) -> None:
    """Give nothing back."""


def test_threads_that_look_at_one_version_share_its_folder(repo: mvs.Repository, tmp_path: Path) -> None:
    version = repo.save(write(tmp_path / "model", "same"), "bert:v1")

    def look(_: int) -> None:
        assert (repo.get("bert:v1").path / "a").read_text() == "same" * 1000

    in_threads(look, 8)
    assert os.listdir(repo.store / "cache" / "views") == [version.id]


def test_a_checkout_leaves_the_rights_that_later_files_get(
    repo: mvs.Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The umask is one for all threads: two that set it for a moment may leave it set for ever."""
    source = write(tmp_path / "model", "same")
    (source / "run.sh").write_text("#!/bin/sh\n")
    (source / "run.sh").chmod(0o755)
    repo.save(source, "bert:v1")

    def refuse(_: int) -> int:
        raise AssertionError("the umask was touched")

    monkeypatch.setattr(os, "umask", refuse)
    out = repo.checkout("bert:v1", tmp_path / "out")
    assert (out / "run.sh").stat().st_mode & 0o100


def test_creation_times_increase_under_a_clock_that_jumps_back(
    repo: mvs.Repository, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A clock set back must not make an older model the latest."""
    clock = itertools.chain([2_000_000_000, 5_000_000_000, 1_000_000_000], itertools.repeat(3_000_000_000))
    monkeypatch.setattr("mvs.repository.repository.time.time_ns", lambda: next(clock))
    tags = [repo.save(write(tmp_path / str(number), f"{number} "), "bert").tag for number in range(6)]
    assert [version.tag for version in repo.list("bert")] == tags[::-1]
    created = [ref.created for ref in store.refs.of_name("bert")]
    assert len(set(created)) == 6
    repo.delete(tags[-1])
    assert repo.get("bert").tag == tags[-2]
    # What was deleted is newer than what is saved next would be; its time is not given away again.
    last = repo.save(write(tmp_path / "last", "last"), "bert:last")
    assert repo.get("bert") == last
    repo.restore(tags[-1])
    assert repo.get("bert") == last
    times = [event.at for event in store.journal.events("bert")]
    assert times == sorted(set(times))


def test_a_deleted_version_is_gone_at_once_for_every_thread(repo: mvs.Repository, tmp_path: Path) -> None:
    repo.save(write(tmp_path / "model", "same"), "bert:v1")
    gone: list[list[Tag]] = []

    def delete(_: int) -> None:
        try:
            gone.append(repo.delete("bert:v1"))
        except NotFound:
            gone.append([])

    in_threads(delete, 8)
    assert sorted(map(len, gone)) == [0] * 7 + [1]
    assert [event.event for event in repo.log("bert")] == ["delete", "save"]
