"""Killed anywhere, a store has every version it ever announced, whole, and works on."""

import hashlib
import itertools
import multiprocessing
import os
import random
import shutil
import signal
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest

import mvs
from mvs.errors import EmptyFolder, NotFound, TagExists
from mvs.repository.workspace import write_setting
from mvs.store.store import Store

# Children are forked from a warm process without threads: a life costs milliseconds.
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["mvs.repository.opening", "filelock", "concurrent.futures.thread", "pytest"])

# What changes a file system. Not fsync: a death before it leaves what a death before the next call does.
CALLS = [
    "chmod",
    "copy_file_range",
    "ftruncate",
    "link",
    "mkdir",
    "pwrite",
    "rename",
    "replace",
    "rmdir",
    "unlink",
    "write",
]

# Two or three operations fit in: a save of these files takes some 15 ms.
LONGEST_LIFE = 0.04


@pytest.fixture(autouse=True)
def _importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """A child imports this module by its name."""
    monkeypatch.syspath_prepend(Path(__file__).parents[1])


def content(version: str) -> dict[str, bytes]:
    """The files of a version, known from its name alone: some of its own, one that all share."""
    seed = hashlib.sha256(version.encode()).digest()
    # One in sixteen has a file so large that it is looked up by its probe.
    repeats = 40_000 if seed[0] < 16 else 1_000
    return {"weights.bin": seed * repeats, "sub/config.json": seed, "run.sh": seed[:4], "vocab.txt": b"a\n"}


def write(folder: Path, version: str) -> Path:
    for path, data in content(version).items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    (folder / "run.sh").chmod(0o755)
    return folder


def holds(folder: Path, version: str) -> bool:
    """Whether a folder has all files of a version, bit for bit, rights to execute included."""
    files = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    return files == content(version) and bool((folder / "run.sh").stat().st_mode & 0o100)


def check_out(repo: mvs.Repository, version: str, scratch: Path) -> None:
    """Check that a version resolves and checks out bit for bit."""
    dest = repo.checkout(f"bert:{version}", scratch / "dest")
    assert holds(dest, version), f"bert:{version} is not what was saved"
    shutil.rmtree(dest)


def check_refs(repo: mvs.Repository) -> None:
    """Check that every ref names a manifest and every manifest files that are there, whole."""
    store = Store(repo.store)
    for ref in store.refs.of_name("bert"):
        for entry in store.manifest(ref).tree.files:
            store.objects.read(entry.blob)


def has(repo: mvs.Repository, version: str) -> bool:
    try:
        return bool(repo.get(f"bert:{version}"))
    except NotFound:
        return False


def sessions(repo: mvs.Repository) -> set[str]:
    return set(os.listdir(repo.store / "staging"))


# Each takes the folder that has the repository, and a version.


def save(root: Path, version: str) -> None:
    mvs.open(root / "repo").save(root / version, f"bert:{version}")


def move(root: Path, version: str) -> None:
    mvs.open(root / "repo").save(root / version, f"bert:{version}", move=True)


def create(root: Path, version: str) -> None:
    with mvs.open(root / "repo").create(f"bert:{version}") as draft:
        write(draft.path, version)


def delete(root: Path, version: str) -> None:
    mvs.open(root / "repo").delete(f"bert:{version}")


def restore(root: Path, version: str) -> None:
    mvs.open(root / "repo").restore(f"bert:{version}")


Operation = Callable[[Path, str], None]


def run_and_die(operation: Operation, root: Path, version: str, moment: int) -> None:
    """Run an operation and die at its `moment`-th call that changes a file system: before it, or half-way through."""
    calls = itertools.count(1)

    def mortal(call: Callable[..., Any]) -> Callable[..., Any]:
        def called(*args: Any, **options: Any) -> Any:
            if next(calls) == moment:
                if call.__name__ == "write":
                    call(args[0], args[1][: len(args[1]) // 2])
                os.kill(os.getpid(), signal.SIGKILL)
            return call(*args, **options)

        return called

    for name in CALLS:
        if hasattr(os, name):
            setattr(os, name, mortal(getattr(os, name)))
    operation(root, version)


@pytest.mark.parametrize(
    ("operation", "version"),
    [(save, "new"), (move, "new"), (create, "new"), (delete, "v2"), (restore, "deleted")],
    ids=["save", "move", "create", "delete", "restore"],
)
def test_killed_at_any_call_nothing_is_lost_and_the_same_again_succeeds(
    tmp_path: Path, operation: Operation, version: str
) -> None:
    """A crash must cost at most the operation it interrupts."""
    template = tmp_path / "template"
    write_setting(mvs.init(template / "repo").root, "store.durable", "false")
    repo = mvs.open(template / "repo")
    for saved in ("v1", "deleted", "v2"):
        repo.save(write(template / saved, saved), f"bert:{saved}")
    repo.delete("bert:deleted")
    write(template / "new", "new")
    present = operation is not delete

    for moment in itertools.count(1):
        root = tmp_path / "root"
        shutil.copytree(template, root)
        process = FORKS.Process(target=run_and_die, args=(operation, root, version, moment))
        process.start()
        process.join()
        if process.exitcode == 0:
            break
        assert process.exitcode == -signal.SIGKILL

        repo = mvs.open(root / "repo")
        check_refs(repo)
        for kept in {"v1", "v2"} - {version}:
            check_out(repo, kept, root)
        left = sessions(repo)
        done = has(repo, version) is present
        if operation is move and not done:
            assert holds(root / "new", "new"), f"call {moment}: neither in the source nor in a version"
        try:
            operation(root, version)
        except (EmptyFolder, NotFound, TagExists):
            assert done, f"call {moment}: cannot be run again"
        assert sessions(repo) <= left
        assert has(repo, version) is present
        if operation is delete:
            repo.restore("bert:v2")
        check_out(repo, version, root)
        shutil.rmtree(root)
    assert moment > 5


def test_a_source_that_a_killed_move_left_can_be_saved_and_then_written_to(tmp_path: Path) -> None:
    """The source and an object may be one file then: writing to the one must not change the other."""
    template = tmp_path / "template"
    write_setting(mvs.init(template / "repo").root, "store.durable", "false")
    write(template / "new", "new")

    for moment in itertools.count(1):
        root = tmp_path / "root"
        shutil.copytree(template, root)
        process = FORKS.Process(target=run_and_die, args=(move, root, "new", moment))
        process.start()
        process.join()
        if process.exitcode == 0:
            break
        repo = mvs.open(root / "repo")
        if (root / "new" / "weights.bin").exists():
            repo.save(root / "new" / "weights.bin", "copied:v1")
            (root / "new" / "weights.bin").chmod(0o644)
            (root / "new" / "weights.bin").write_bytes(b"trained on")
            data = repo.get("copied").read_bytes("weights.bin")
            assert data == content("new")["weights.bin"], f"call {moment}"
        shutil.rmtree(root)
    assert moment > 5


def live(root: Path, life: int, told: Connection) -> None:
    """Save, move, create, delete and restore without end, telling before each what is done, and after it."""
    for count in itertools.count():
        version = f"v{life}.{count}"
        write(root / version, version)
        operation = (save, move, create)[(life + count) % 3]
        told.send((version, operation.__name__))
        operation(root, version)
        told.send((version, "saved"))
        if count % 2:
            told.send((version, "delete"))
            delete(root, version)
            told.send((version, "deleted"))
            restore(root, version)
            told.send((version, "saved"))


def last_words(root: Path, life: int) -> dict[str, str]:
    """Let a process live for a random time, kill it, and return the last that it told of each version."""
    told, telling = FORKS.Pipe(duplex=False)
    process = FORKS.Process(target=live, args=(root, life, telling))
    process.start()
    telling.close()
    told.poll(None)
    process.join(random.uniform(0, LONGEST_LIFE))
    assert process.is_alive()
    process.kill()
    process.join()
    words: dict[str, str] = {}
    try:
        while True:
            version, word = told.recv()
            words[version] = word
    except EOFError:
        told.close()
        return words


def die_often(root: Path, lives: int) -> None:
    shared = mvs.init(root / "repo").store
    # The same store without fsync, for those who only look.
    write_setting(mvs.init(root / "observer", store=shared).root, "store.durable", "false")
    repo = mvs.open(root / "observer")
    announced: list[str] = []
    for life in range(lives):
        for version, word in last_words(root, life).items():
            there = has(repo, version)
            if word == "saved":
                assert there, f"bert:{version} was announced and is gone"
            elif word in ("delete", "deleted"):
                if not there:
                    repo.restore(f"bert:{version}")
            elif not there:
                assert word != "move" or holds(root / version, version), f"neither in '{version}' nor in the store"
                continue
            check_out(repo, version, root)
            announced.append(version)
        left = sessions(repo)
        following = f"after{life}"
        repo.save(write(root / following, following), f"bert:{following}")
        assert sessions(repo) <= left
        announced.append(following)
    check_refs(repo)
    for version in announced:
        check_out(repo, version, root)
    created = {version: repo.get(f"bert:{version}").created for version in announced}
    assert repo.get("bert").version == max(created, key=lambda version: created[version])


def test_killed_at_200_random_moments_every_announced_tag_is_whole(tmp_path: Path) -> None:
    """A tag that a program printed may be all that is left of a week of training."""
    die_often(tmp_path, lives=200)


@pytest.mark.deep
def test_killed_at_5000_random_moments_every_announced_tag_is_whole(tmp_path: Path) -> None:
    die_often(tmp_path, lives=5000)
