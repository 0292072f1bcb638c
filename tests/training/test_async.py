"""A save beside training saves what was there, all or nothing, and its errors are heard."""

import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mvs
from mvs.errors import (
    ForbiddenPlace,
    InvalidInput,
    InvalidTag,
    MvsError,
    SourceChanged,
    SourceNotFound,
    StorageFull,
    TagExists,
)
from mvs.handles.training import snapshot
from mvs.store.staging import Session


class Gate:
    """Holds up saves where their files are whole and not yet published."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self.open = threading.Event()
        self.error: Exception | None = None

    def pass_(self) -> None:
        self.reached.set()
        assert self.open.wait(60)
        if self.error:
            raise self.error


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    gate = Gate()
    adopt, link = Session.adopt, Session.link

    def held_adopt(*args: Any, **kwargs: Any) -> Any:
        gate.pass_()
        return adopt(*args, **kwargs)

    def held_link(*args: Any, **kwargs: Any) -> Any:
        gate.pass_()
        return link(*args, **kwargs)

    monkeypatch.setattr(Session, "adopt", held_adopt)
    monkeypatch.setattr(Session, "link", held_link)
    yield gate
    gate.open.set()


@pytest.fixture
def early(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Hold up saves before they touch what they took hold of, until it is set."""
    go = threading.Event()
    enter = mvs.Draft.__enter__

    def held(self: mvs.Draft) -> mvs.Draft:
        if threading.current_thread().name == "mvs-save":
            assert go.wait(60)
        return enter(self)

    monkeypatch.setattr(mvs.Draft, "__enter__", held)
    yield go
    go.set()


def leftovers(repo: mvs.Repository) -> list[str]:
    return [str(path) for place in ("staging", "rescued") for path in (repo.store / place).glob("*")]


def test_a_state_is_saved_as_it_was(repo: mvs.Repository, gate: Gate) -> None:
    weights = np.zeros(1000)
    future = repo.save_async({"w": weights, "step": 1}, "net:v1", metadata={"loss": 0.5})
    weights += 1
    gate.open.set()
    version = future.result()
    assert version == repo.get("net:v1")
    assert not version.tensor("w").any()
    assert version.metadata == {"loss": 0.5}
    repo.close()
    assert leftovers(repo) == []


def test_the_memory_of_one_state_serves_the_next(repo: mvs.Repository) -> None:
    for size in (10, 1000, 100):
        version = repo.save_async({"w": np.full(size, size), "x": np.ones(3, "i1")}, "net").result()
        assert version.tensor("w").tolist() == [size] * size


def test_a_folder_is_saved_as_it_was_though_it_is_deleted(
    repo: mvs.Repository, folder: Path, early: threading.Event
) -> None:
    """Training loops delete their older checkpoints."""
    (folder / "empty").mkdir()
    expected = repo.save(folder, "there:v1").tree
    future = repo.save_async(folder, "net:v1")
    (folder / "weights.bin").unlink()
    (folder / "new").write_text("the next checkpoint")
    (folder / "config.json").with_suffix(".new").write_text("other")
    (folder / "config.new").rename(folder / "config.json")
    early.set()
    assert future.result().tree == expected
    repo.close()
    assert leftovers(repo) == []


def test_a_file_that_is_written_to_fails_the_save(repo: mvs.Repository, folder: Path, early: threading.Event) -> None:
    """Or a version would be half of one checkpoint and half of another."""
    future = repo.save_async(folder, "net:v1")
    os.utime(folder / "weights.bin", ns=(1, 1))
    with (folder / "weights.bin").open("r+b") as file:
        file.write(b"x")
    early.set()
    with pytest.raises(SourceChanged, match=r"weights\.bin"):
        future.result()
    assert repo.list() == []
    repo.close()
    assert leftovers(repo) == []


def test_where_blocks_can_be_shared_it_may_be_written_to(
    repo: mvs.Repository, folder: Path, early: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cloned(source: int, place: str) -> int:
        target = os.memfd_create(place)
        os.write(target, os.pread(source, 1 << 20, 0))
        return target

    monkeypatch.setattr(snapshot, "cloned", cloned)
    expected = repo.save(folder, "there:v1").tree
    future = repo.save_async(folder, "net:v1")
    (folder / "weights.bin").write_bytes(b"the next checkpoint")
    early.set()
    assert future.result().tree == expected


def test_more_files_than_may_be_open_are_saved(repo: mvs.Repository, tmp_path: Path) -> None:
    folder = tmp_path / "many"
    folder.mkdir()
    for index in range(600):
        (folder / f"{index}").write_text(str(index))
    version = repo.save_async(folder, "net").result()
    assert len(version.files) == 600


def test_nothing_that_the_user_may_write_to_is_shared_with_the_store(repo: mvs.Repository, folder: Path) -> None:
    version = repo.save_async(folder, "net").result()
    assert (folder / "weights.bin").stat().st_nlink == 1
    (folder / "weights.bin").write_bytes(b"x")
    assert len(version.read_bytes("weights.bin")) == 100_000


def test_what_is_moved_makes_room_at_once(repo: mvs.Repository, folder: Path, gate: Gate) -> None:
    inode = (folder / "weights.bin").stat().st_ino
    future = repo.save_async(folder, "net", move=True)
    folder.mkdir()
    (folder / "weights.bin").write_bytes(b"the next checkpoint")
    gate.open.set()
    blob = next(file.blob for file in future.result().files if file.path == "weights.bin")
    assert (repo.store / "objects" / blob[:2] / blob[2:]).stat().st_ino == inode
    repo.close()
    assert sorted(path.name for path in folder.parent.iterdir() if path.name != "repo") == ["model"]
    assert (folder / "weights.bin").read_bytes() == b"the next checkpoint"


@pytest.mark.parametrize("move", [False, True])
def test_parents_may_be_given_one_by_one(repo: mvs.Repository, folder: Path, move: bool) -> None:
    first = repo.save(folder, "net:v1")
    version = repo.save_async(folder, "net:v2", parents=(spec for spec in ["net"]), move=move).result()
    assert version.parents == (first.id,)


def test_one_file_is_moved_under_its_name(repo: mvs.Repository, folder: Path) -> None:
    version = repo.save_async(folder / "config.json", "net", move=True).result()
    assert [file.path for file in version.files] == ["config.json"]
    assert not (folder / "config.json").exists()


def test_what_could_not_be_moved_comes_back(repo: mvs.Repository, folder: Path, gate: Gate) -> None:
    gate.error = StorageFull("no space left")
    future = repo.save_async(folder, "net", move=True)
    gate.open.set()
    assert isinstance(future.exception(), StorageFull)
    repo.close()
    assert len((folder / "weights.bin").read_bytes()) == 100_000
    assert sorted(path.name for path in folder.parent.iterdir() if path.name != "repo") == ["model"]


def test_what_cannot_come_back_is_told(repo: mvs.Repository, folder: Path, gate: Gate) -> None:
    gate.error = StorageFull("no space left")
    future = repo.save_async(folder, "net", move=True)
    folder.mkdir()
    gate.open.set()
    error = future.exception()
    assert isinstance(error, StorageFull)
    assert error.kept is not None
    assert len((error.kept / "weights.bin").read_bytes()) == 100_000
    assert str(error.kept) in str(error)


def test_bad_arguments_are_refused_at_once(repo: mvs.Repository, folder: Path, tmp_path: Path) -> None:
    repo.save(folder, "net:v1")
    (tmp_path / "link").symlink_to(folder)
    wrong: list[tuple[Callable[[], object], type[MvsError]]] = [
        (lambda: repo.save_async(folder, "n e t"), InvalidTag),
        (lambda: repo.save_async(folder, "net:v1"), TagExists),
        (lambda: repo.save_async(tmp_path / "nothing", "net"), SourceNotFound),
        (lambda: repo.save_async(repo.store / "objects", "net"), ForbiddenPlace),
        (lambda: repo.save_async(tmp_path, "net", move=True), ForbiddenPlace),
        (lambda: repo.save_async(tmp_path / "link", "net", move=True), ForbiddenPlace),
        (lambda: repo.save_async({"w": object()}, "net"), InvalidInput),
        (lambda: repo.save_async({"w": np.ones(1)}, "net", busy="sometimes"), InvalidInput),  # type: ignore[arg-type]
    ]
    for call, error in wrong:
        with pytest.raises(error):
            call()
    repo.save_async(folder, "net:v2").result()
    assert folder.exists()


def test_a_second_save_is_left_out_or_waits(repo: mvs.Repository, gate: Gate) -> None:
    first = repo.save_async({"w": np.ones(3)}, "net:v1")
    skipped = repo.save_async({"w": np.ones(3)}, "net:v2", busy="skip")
    assert skipped.cancelled()
    with pytest.raises(CancelledError):
        skipped.result()
    waiting = threading.Thread(target=repo.save_async, args=({"w": np.zeros(3)}, "net:v3"))
    waiting.start()
    assert gate.reached.wait(60)
    assert not first.done()
    assert [str(version.tag) for version in repo.list()] == []
    gate.open.set()
    waiting.join()
    repo.close()
    assert sorted(str(version.tag) for version in repo.list()) == ["net:v1", "net:v3"]


def test_closing_waits(repo: mvs.Repository) -> None:
    with mvs.open(repo.root) as other:
        future = other.save_async({"w": np.ones(3)}, "net:v1")
    assert future.done()
    assert repo.get("net:v1").tensor("w").tolist() == [1, 1, 1]


def fail_one(repo: mvs.Repository, gate: Gate) -> "mvs.errors.MvsError":
    gate.error = StorageFull("no space left")
    gate.open.set()
    repo.save_async({"w": np.ones(3)}, "net:v1")
    return gate.error


def test_an_error_that_nobody_saw_is_raised_by_the_next_save(repo: mvs.Repository, gate: Gate) -> None:
    fail_one(repo, gate)
    with pytest.raises(StorageFull):
        repo.save_async({"w": np.ones(3)}, "net:v2")
    gate.error = None
    repo.save_async({"w": np.ones(3)}, "net:v2").result()
    repo.close()
    assert leftovers(repo) == []


def test_an_error_that_nobody_saw_is_raised_by_close_once(repo: mvs.Repository, gate: Gate) -> None:
    fail_one(repo, gate)
    with pytest.raises(StorageFull):
        repo.close()
    repo.close()
    # A disk that was full has its room back.
    assert leftovers(repo) == []
    assert list((repo.store / "objects").glob("*/*")) == []


def test_an_error_that_was_seen_is_not_raised_again(repo: mvs.Repository, gate: Gate) -> None:
    gate.error = StorageFull("no space left")
    gate.open.set()
    assert repo.save_async({"w": np.ones(3)}, "net:v1").exception() is gate.error
    repo.close()


def test_what_ended_the_block_is_not_hidden(repo: mvs.Repository, gate: Gate, caplog: pytest.LogCaptureFixture) -> None:
    def work() -> None:
        with repo:
            fail_one(repo, gate)
            raise KeyError("training")

    with caplog.at_level(logging.WARNING, logger="mvs"), pytest.raises(KeyError, match="training"):
        work()
    assert "no space left" in caplog.text


def python(repo: mvs.Repository, code: str) -> "subprocess.Popen[str]":
    head = "import os, sys, threading, numpy as np, mvs\nfrom mvs.store.staging import Session\n"
    head += "repo = mvs.open(sys.argv[1])\n"
    return subprocess.Popen(
        [sys.executable, "-c", head + code, repo.root],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(mvs.__file__).parent.parent)},
    )


def test_the_end_of_python_waits(repo: mvs.Repository) -> None:
    with python(repo, "repo.save_async({f'w{i}': np.ones(1 << 18) for i in range(8)}, 'net:v1')") as process:
        _, complaint = process.communicate()
    assert (process.returncode, complaint) == (0, "")
    assert len(list(repo.get("net:v1").tensors())) == 8


def test_a_handler_of_sigterm_that_ends_python_lets_the_save_finish(repo: mvs.Repository) -> None:
    """A job that is preempted has some seconds, and its last checkpoint is worth hours."""
    code = """
import signal
signal.signal(signal.SIGTERM, lambda *_: (sys.exit(3)))
go, adopt = threading.Event(), Session.adopt
def slow(*a, **k):
    print('now', flush=True)
    assert go.wait(60)
    return adopt(*a, **k)
Session.adopt = slow
repo.save_async({f'w{i}': np.ones(1 << 10) for i in range(8)}, 'net:v1')
try:
    threading.Event().wait()
finally:
    go.set()
"""
    with python(repo, code) as process:
        assert process.stdout
        assert process.stdout.readline() == "now\n"
        process.send_signal(signal.SIGTERM)
    assert process.returncode == 3
    assert repo.get("net:v1").tensor("w7").sum() == 1 << 10


def test_the_end_of_python_tells_what_failed(repo: mvs.Repository) -> None:
    code = """
def fail(*_, **__): raise OSError(28, "No space left on device")
Session.adopt = fail
repo.save_async({'w': np.ones(3)}, 'net:v1')
"""
    with python(repo, code) as process:
        _, complaint = process.communicate()
    assert "a save in the background failed" in complaint
    assert repo.list() == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_process_that_is_killed_leaves_whole_versions_only(repo: mvs.Repository, number: int) -> None:
    code = """
repo.save_async({'w': np.ones(3)}, 'net:v1').result()
def hang(*_, **__): print('now', flush=True); threading.Event().wait()
Session.adopt = hang
repo.save_async({'w': np.zeros(3)}, 'net:v2').result()
"""
    with python(repo, code) as process:
        assert process.stdout
        assert process.stdout.readline() == "now\n"
        process.send_signal(number)
    assert process.returncode == -number
    assert [str(version.tag) for version in repo.list()] == ["net:v1"]
    assert repo.fsck(level="full").ok
    repo.gc(expire="now")
    assert leftovers(repo) == []


def test_the_thread_that_saves_imports_nothing(repo: mvs.Repository) -> None:
    """A fork in the middle of an import never gets whole what was imported."""
    code = """
before = []
start = threading.Thread.start
threading.Thread.start = lambda self: (before.append(set(sys.modules)), start(self))[1]
repo.save_async({'w': np.zeros(3)}, 'net:v1').result()
print(sorted(set(sys.modules) - before[0]))
"""
    with python(repo, code) as process:
        told, complaint = process.communicate(timeout=60)
    assert told == "[]\n", complaint


def test_a_fork_is_refused_and_ends(repo: mvs.Repository) -> None:
    """It has no thread that saves, and would wait for ever for the one of its parent."""
    code = """
def hang(*_, **__): print('now', flush=True); go.wait()
go, adopt = threading.Event(), Session.adopt
Session.adopt = lambda *a, **k: (hang(), adopt(*a, **k))[1]
future = repo.save_async({'w': np.zeros(3)}, 'net:v1')
child = os.fork()
if not child:
    try:
        repo.save_async({'w': np.zeros(3)}, 'net:v2')
    except mvs.MvsError as error:
        print(error.kind, 'forked' in str(error), flush=True)
    Session.adopt = adopt
    mvs.open(sys.argv[1]).save_async({'w': np.zeros(3)}, 'net:v3')
    sys.exit(0)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
go.set()
print(future.result().tag)
"""
    with python(repo, code) as process:
        told, complaint = process.communicate(timeout=60)
    assert sorted(told.splitlines()) == ["0", "invalid-input True", "net:v1", "now"], complaint
    assert sorted(str(version.tag) for version in repo.list()) == ["net:v1", "net:v3"], complaint
