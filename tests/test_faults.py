"""Whatever the disk refuses, at whichever call: an error that says so, and nothing is lost."""

import contextlib
import errno
import hashlib
import itertools
import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import mvs
from mvs.cli.main import run
from mvs.errors import EmptyFolder, MvsError, NotFound, ReadOnlyStore, StorageFailed, StorageFull, SyncFailed, TagExists
from mvs.store.store import Store

# What changes a file system.
CALLS = [
    "chmod",
    "copy_file_range",
    "fchmod",
    "fsync",
    "ftruncate",
    "link",
    "mkdir",
    "open",
    "pwrite",
    "rename",
    "replace",
    "rmdir",
    "unlink",
    "write",
]
MEANING: dict[int, type[MvsError]] = {
    errno.ENOSPC: StorageFull,
    errno.EDQUOT: StorageFull,
    errno.EROFS: ReadOnlyStore,
    errno.EIO: StorageFailed,
}


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody cuts the power here, so that an fsync need only fail, never wait; and no save by chance does more."""
    monkeypatch.setattr(os, "fsync", lambda _: None)
    # The catalog is a cache: nobody is told that its fsync failed.
    monkeypatch.setattr("mvs.ops.saving.save._CATALOGUED", 1 << 32)


class Fault:
    """A disk that refuses its `moment`-th change, and, when lasting, every later one."""

    def __init__(self, moment: int, number: int, *, lasting: bool) -> None:
        self.moment = moment
        self.number = number
        self.lasting = lasting
        self.on = True
        self.refused: list[str] = []
        self._calls = itertools.count(1)

    @contextlib.contextmanager
    def active(self) -> Iterator[None]:
        with pytest.MonkeyPatch.context() as patch:
            for name in CALLS:
                if hasattr(os, name):
                    patch.setattr(os, name, self._wrapped(name, getattr(os, name)))
            yield

    def _wrapped(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def called(*args: Any, **options: Any) -> Any:
            if self.on and not (name == "open" and _only_reads(*args)):
                moment = next(self._calls)
                if moment == self.moment or (self.lasting and moment > self.moment):
                    self.refused.append(name)
                    raise OSError(self.number, os.strerror(self.number))
            return call(*args, **options)

        return called


def _only_reads(path: str, flags: int, *_: Any, **__: Any) -> bool:
    return path == os.devnull or not flags & (os.O_WRONLY | os.O_RDWR)


def content(version: str) -> dict[str, bytes]:
    """The files of a version, known from its name alone: some of its own, one that all share."""
    seed = hashlib.sha256(version.encode()).digest()
    return {"weights.bin": seed * 300, "sub/config.json": seed, "run.sh": seed[:4], "vocab.txt": b"a\n"}


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


def is_whole(repo: mvs.Repository, version: str) -> bool:
    """Whether a version is there, with all its files."""
    try:
        found = repo.get(f"bert:{version}")
    except NotFound:
        return False
    assert {file.path: found.read_bytes(file.path) for file in found.files} == content(version)
    assert [file.path for file in found.files if file.executable] == ["run.sh"]
    return True


def check_refs(repo: mvs.Repository) -> None:
    store = Store(repo.store)
    for ref in store.refs.of_name("bert"):
        for entry in store.manifest(ref).tree.files:
            store.objects.read(entry.blob)


# Each does one thing to `version`, which `prepare` made ready, in the folder `root`.


def save(repo: mvs.Repository, root: Path, version: str, fault: Fault) -> None:
    repo.save(root / version, f"bert:{version}")


def move(repo: mvs.Repository, root: Path, version: str, fault: Fault) -> None:
    repo.save(root / version, f"bert:{version}", move=True)


def create(repo: mvs.Repository, root: Path, version: str, fault: Fault) -> None:
    with repo.create(f"bert:{version}", labels={"of": version}, metadata={"score": 0.5}) as draft:
        fault.on = False
        write(draft.path, version)
        fault.on = True


def delete(repo: mvs.Repository, root: Path, version: str, fault: Fault) -> None:
    repo.delete(f"bert:{version}")


def restore(repo: mvs.Repository, root: Path, version: str, fault: Fault) -> None:
    repo.restore(f"bert:{version}")


def checkout(repo: mvs.Repository, root: Path, version: str, fault: Fault) -> None:
    repo.checkout(f"bert:{version}", root / "out" / version)


def view(repo: mvs.Repository, root: Path, version: str, fault: Fault) -> None:
    assert holds(repo.get(f"bert:{version}").path, version)


Operation = Callable[[mvs.Repository, Path, str, Fault], None]
OPERATIONS: list[Operation] = [save, move, create, delete, restore, checkout, view]


def prepare(operation: Operation, repo: mvs.Repository, root: Path, version: str) -> None:
    (root / "out").mkdir(exist_ok=True)
    write(root / version, version)
    if operation in (delete, restore, checkout, view):
        repo.save(root / version, f"bert:{version}")
    if operation is restore:
        repo.delete(f"bert:{version}")


def is_done(operation: Operation, repo: mvs.Repository, root: Path, version: str) -> bool:
    there = is_whole(repo, version)
    if operation is delete:
        return not there
    if operation is checkout:
        return (root / "out" / version).exists() and holds(root / "out" / version, version)
    return there


def refuse_everywhere(operation: Operation, root: Path, number: int, *, lasting: bool) -> None:
    """Let an operation fail at its first call, at its second, and so on, until it meets no failure."""
    repo = mvs.init(root / "repo")
    repo.save(write(root / "first", "first"), "bert:first")
    moment = 1
    while refuse(operation, repo, root, Fault(moment, number, lasting=lasting)):
        moment += 1
    assert moment > 3


def refuse(operation: Operation, repo: mvs.Repository, root: Path, fault: Fault) -> bool:
    """Run an operation under a fault, check that nothing was lost, run it again; tell whether the fault was met."""
    version = f"v{fault.moment}"
    prepare(operation, repo, root, version)
    staged = staged_files(repo)
    failure: MvsError | None = None
    with fault.active():
        try:
            operation(repo, root, version, fault)
        except MvsError as error:
            failure = error

    where = f"call {fault.moment}, {fault.refused[:1]}"
    if failure is None:
        assert "fsync" not in fault.refused, f"{where}: a failed fsync is told as a success"
        assert is_done(operation, repo, root, version), where
    elif not (isinstance(failure, SyncFailed) and "fsync" in fault.refused):
        assert isinstance(failure, MEANING[fault.number]), f"{where}: {failure!r}"
    check_refs(repo)
    assert is_whole(repo, "first"), where
    if not fault.lasting and fault.refused not in (["unlink"], ["rmdir"]):
        assert staged_files(repo) <= staged, f"{where}: left in staging"
    if failure is not None:
        recover(operation, repo, root, version, failure)
    assert is_done(operation, repo, root, version), where
    return bool(fault.refused)


def staged_files(repo: mvs.Repository) -> set[Path]:
    return {path for path in (repo.store / "staging").rglob("*") if path.is_file()}


def recover(operation: Operation, repo: mvs.Repository, root: Path, version: str, failure: MvsError) -> None:
    """Do what a user does once the disk is mended."""
    if operation is create and failure.kept is not None:
        assert holds(failure.kept, version)
        follow(failure.hint, root / "repo")
        found = repo.get(f"bert:{version}")
        assert (found.labels, found.metadata) == ({"of": version}, {"score": 0.5})
        assert not failure.kept.exists()
        return
    if operation is checkout:
        assert not (root / "out" / version).exists()
    if operation is move and not is_whole(repo, version):
        assert holds(root / version, version), "neither in the source nor in a version"
    done = is_done(operation, repo, root, version)
    try:
        operation(repo, root, version, Fault(0, 0, lasting=False))
    except (EmptyFolder, NotFound, TagExists):
        assert done


def follow(hint: str, place: Path) -> None:
    """Run the command that a hint gives."""
    program, *words = shlex.split(hint)
    assert program == "mvs"
    with contextlib.chdir(place), pytest.raises(SystemExit) as exit:
        run(words)
    assert exit.value.code == 0, hint


@pytest.mark.parametrize(
    ("number", "lasting"),
    [(errno.ENOSPC, True), (errno.EDQUOT, False), (errno.EROFS, True), (errno.EIO, False)],
    ids=["full", "quota", "read-only", "io"],
)
@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.__name__)
def test_refused_at_any_call_nothing_is_lost(tmp_path: Path, operation: Operation, number: int, lasting: bool) -> None:
    refuse_everywhere(operation, tmp_path, number, lasting=lasting)


@pytest.mark.deep
@pytest.mark.parametrize("lasting", [False, True], ids=["once", "lasting"])
@pytest.mark.parametrize("number", MEANING, ids=lambda number: errno.errorcode[number])
@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.__name__)
def test_refused_in_any_way_at_any_call_nothing_is_lost(
    tmp_path: Path, operation: Operation, number: int, lasting: bool
) -> None:
    refuse_everywhere(operation, tmp_path, number, lasting=lasting)


@pytest.mark.parametrize("number", MEANING, ids=lambda number: errno.errorcode[number])
def test_a_repository_that_could_not_be_made_is_made_later(tmp_path: Path, number: int) -> None:
    moment = 1
    while failure := init_refused(tmp_path / str(moment), Fault(moment, number, lasting=True)):
        assert isinstance(failure, (MEANING[number], SyncFailed)), f"call {moment}: {failure!r}"
        mvs.init(tmp_path / str(moment)).save(write(tmp_path / "model", "v1"), "bert:v1")
        moment += 1
    assert moment > 3


def init_refused(place: Path, fault: Fault) -> MvsError | None:
    with fault.active():
        try:
            mvs.init(place)
        except MvsError as error:
            return error
    assert not fault.refused
    return None


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.unlink()
    path.write_bytes(data)


@pytest.mark.parametrize("damage", [flip, Path.unlink], ids=["flipped", "missing"])
@pytest.mark.parametrize(
    ("tag", "if_changed"),
    [("bert:v1", False), ("bert:v2", False), ("bert", True)],
    ids=["same tag", "other tag", "if changed"],
)
def test_a_move_never_leaves_a_damaged_store_with_the_only_copy(
    repo: mvs.Repository, tmp_path: Path, damage: Callable[[Path], None], tag: str, if_changed: bool
) -> None:
    """A store that only believes it has the content must not cost the user theirs."""
    source = write(tmp_path / "model", "v1")
    saved = repo.save(source, "bert:v1")
    blob = next(file.blob for file in saved.files if file.path == "weights.bin")
    damage(repo.store / "objects" / blob[:2] / blob[2:])
    with contextlib.suppress(MvsError):
        tag = str(repo.save(source, tag, move=True, if_changed=if_changed).tag)
    if not source.exists():
        assert repo.get(tag).read_bytes("weights.bin") == content("v1")["weights.bin"]
    else:
        assert holds(source, "v1")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real disk of 4 MiB."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "mvs-test", str(place)]
    if sys.platform != "linux" or os.geteuid() != 0 or subprocess.run(mount, check=False).returncode:
        pytest.skip("only root can mount a small disk")
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)


def fill(disk: Path) -> None:
    with contextlib.suppress(OSError), (disk / "filler").open("wb", buffering=0) as file:
        while True:
            file.write(bytes(1 << 12))


def write_and_fill(folder: Path, version: str, disk: Path) -> None:
    write(folder, version)
    fill(disk)


def test_a_full_disk_loses_nothing(small_disk: Path, tmp_path: Path) -> None:
    repo = mvs.init(small_disk / "repo")
    repo.save(write(tmp_path / "first", "first"), "bert:first")
    (tmp_path / "big").write_bytes(os.urandom(5 << 20))
    with pytest.raises(StorageFull, match="no space left"):
        repo.save(tmp_path / "big", "bert:big")
    assert staged_files(repo) == set()
    assert is_whole(repo, "first")
    assert [str(version.tag) for version in repo.list()] == ["bert:first"]
    repo.save(write(tmp_path / "second", "second"), "bert:second")
    assert is_whole(repo, "second")


def test_a_disk_that_is_full_when_a_draft_ends_keeps_its_files(small_disk: Path) -> None:
    """A night of training must not be lost to a full disk."""
    repo = mvs.init(small_disk / "repo")
    with pytest.raises(StorageFull) as failure, repo.create("bert:v1", labels={"of": "v1"}) as draft:
        write_and_fill(draft.path, "v1", small_disk)
    assert failure.value.kept is not None
    assert holds(failure.value.kept, "v1")
    (small_disk / "filler").unlink()
    follow(failure.value.hint, small_disk / "repo")
    assert is_whole(repo, "v1")
    assert repo.get("bert:v1").labels == {"of": "v1"}


def test_a_disk_mounted_read_only_is_read(small_disk: Path, tmp_path: Path) -> None:
    """An archive on read-only media is of use only if reading it writes nothing."""
    repo = mvs.init(small_disk / "repo")
    repo.save(write(tmp_path / "first", "first"), "bert:first")
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    repo = mvs.open(small_disk / "repo")
    assert is_whole(repo, "first")
    assert [str(version.tag) for version in repo.list()] == ["bert:first"]
    assert holds(repo.checkout("bert", tmp_path / "out"), "first")
    for change in (
        lambda: repo.save(tmp_path / "first", "bert:second"),
        lambda: repo.save(tmp_path / "first", "bert:second", move=True),
        lambda: repo.delete("bert:first"),
        lambda: repo.restore("bert:zeroth"),
        lambda: repo.create("bert:second").__enter__(),
    ):
        with pytest.raises(ReadOnlyStore, match=str(small_disk)):
            change()
    assert holds(tmp_path / "first", "first")


def test_a_file_that_cannot_be_read_is_not_saved(
    repo: mvs.Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bad sector must not end up as a model."""
    source = write(tmp_path / "model", "v1")

    def broken(*_: object) -> int:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "preadv", broken)
    with pytest.raises(StorageFailed):
        repo.save(source, "bert:v1")
    monkeypatch.undo()
    assert repo.list() == []
    assert staged_files(repo) == set()
    assert holds(source, "v1")
