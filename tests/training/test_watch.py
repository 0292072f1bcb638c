"""Checkpoints that somebody else writes: each saved once, when it is whole, whatever happens to it."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import mvs
from mvs.errors import InvalidInput, SourceNotFound, StorageFull
from mvs.handles.training import found
from mvs.handles.training.watcher import Memory, Watcher
from mvs.store.staging import Session


@pytest.fixture
def out(tmp_path: Path) -> Path:
    folder = tmp_path / "out"
    folder.mkdir()
    return folder


def write(out: Path, step: int, *, state: bool = True, **logged: Any) -> Path:
    folder = out / f"checkpoint-{step}"
    folder.mkdir(exist_ok=True)
    (folder / "weights.bin").write_bytes(f"weights of {step}".encode())
    if state:
        history = [{"step": step - 1, "old": 1.0}, {"step": step, **logged}]
        (folder / "trainer_state.json").write_text(json.dumps({"global_step": step, "log_history": history}))
    return folder


def watcher(repo: mvs.Repository, out: Path, *, settle: float = 1.0, **options: Any) -> Watcher:
    memory = Memory(repo._store.recalled, repo._store.note)
    return Watcher(repo, memory, str(out), "net", settle=settle, notice=notices.append, **options)


notices: list[str] = []


@pytest.fixture(autouse=True)
def _no_notices() -> Iterator[None]:
    notices.clear()
    yield
    notices.clear()


def steps(repo: mvs.Repository) -> list[int]:
    return [version.metadata["step"] for version in repo.list("net")] if repo.list() else []


def looks(watching: Watcher, times: int) -> list[int]:
    return [version.metadata["step"] for _ in range(times) for version in watching.look()]


def test_what_is_there_is_saved_once_with_its_step_and_metrics(repo: mvs.Repository, out: Path) -> None:
    write(out, 20, loss=0.25, eval_loss=0.5)
    write(out, 10, loss=0.75)
    for _ in range(2):
        versions = list(repo.watch(out, "net", settle=0.05, once=True))
    assert versions == []
    newest, oldest = repo.list("net")
    assert newest.metadata == {"step": 20, "loss": 0.25, "eval_loss": 0.5}
    assert oldest.metadata == {"step": 10, "loss": 0.75}
    assert newest.context["watched"]["path"] == "checkpoint-20"
    assert newest.labels == {"kind": "checkpoint"}


def test_what_still_changes_is_not_saved(repo: mvs.Repository, out: Path) -> None:
    watching = watcher(repo, out)
    folder = write(out, 10, state=False)
    for size in range(5):
        assert looks(watching, watching.looks) == []
        (folder / "weights.bin").write_bytes(b"w" * (100 + size))
    assert looks(watching, watching.looks + 1) == [10]
    assert repo.get("net").read_bytes("weights.bin") == b"w" * 104


def test_a_file_that_is_written_last_makes_it_faster(repo: mvs.Repository, out: Path) -> None:
    watching = watcher(repo, out, settle=1000)
    write(out, 10, state=False)
    write(out, 20)
    assert looks(watching, 2) == [20]
    own = watcher(repo, out, settle=1000, marker="DONE")
    (write(out, 30) / "DONE").touch()
    write(out, 40)
    assert looks(own, 2) == [30]


def test_what_says_that_it_is_unfinished_is_left_alone(repo: mvs.Repository, out: Path) -> None:
    for name in ("checkpoint-1.tmp", "checkpoint-2.orbax-checkpoint-tmp-17", "checkpoint-3.partial", "checkpoint-4"):
        (out / name).mkdir()
        (out / name / "weights.bin").write_bytes(b"w")
    (out / "checkpoint-4-unfinished").touch()
    (out / "checkpoint-latest").symlink_to(write(out, 5))
    watching = watcher(repo, out)
    assert looks(watching, watching.looks + 1) == [5]


def test_one_that_is_deleted_meanwhile_is_passed_over(
    repo: mvs.Repository, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    watching = watcher(repo, out)
    doomed = write(out, 10)
    looks(watching, 1)
    shutil.rmtree(doomed)
    write(out, 20)
    assert looks(watching, 3) == [20]
    # And in the very moment in which it is saved.
    save = mvs.Checkpointer.save

    def deleting(self: Any, state: Any, **options: Any) -> Any:
        if str(state).endswith("-30"):
            shutil.rmtree(state)
        return save(self, state, **options)

    monkeypatch.setattr(mvs.Checkpointer, "save", deleting)
    write(out, 30)
    write(out, 40)
    assert looks(watching, 3) == [40]
    assert steps(repo) == [40, 20]


def test_one_that_is_written_anew_is_another_one(repo: mvs.Repository, out: Path) -> None:
    write(out, 10)
    watching = watcher(repo, out)
    assert looks(watching, 3) == [10]
    (out / "checkpoint-10" / "weights.bin").write_bytes(b"of the next run")
    assert looks(watching, 3) == [10]
    assert repo.get("net").read_bytes("weights.bin") == b"of the next run"


def test_few_are_kept_and_none_comes_back(repo: mvs.Repository, out: Path) -> None:
    for step in range(1, 8):
        write(out, step, loss=abs(step - 3))
    watching = watcher(repo, out, keep_last=2, keep_best=1, monitor="loss")
    assert looks(watching, 3) == [1, 2, 3, 4, 5, 6, 7]
    watching.close()
    assert steps(repo) == [7, 6, 3]
    again = watcher(repo, out, keep_last=2, keep_best=1, monitor="loss")
    assert looks(again, again.looks + 1) == []


def test_without_its_notes_it_does_not_begin_again(repo: mvs.Repository, out: Path) -> None:
    """They lie in the cache; what was deleted to make room must not come back as the latest."""
    for step in (1, 2, 3):
        write(out, step)
    first = watcher(repo, out, keep_last=1)
    looks(first, 2)
    first.close()
    shutil.rmtree(repo.store / "cache" / "watched")
    write(out, 4)
    again = watcher(repo, out, keep_last=1)
    assert looks(again, 3) == [4]
    assert len(notices) == 2
    assert "`mvs save` saves it" in notices[0]


def test_a_full_disk_is_told_and_tried_again(repo: mvs.Repository, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(out, 10)
    watching = watcher(repo, out)
    with monkeypatch.context() as patched:
        patched.setattr(Session, "adopt", lambda *_, **__: (_ for _ in ()).throw(StorageFull("the disk is full")))
        assert looks(watching, 3) == []
        assert isinstance(watching.failure, StorageFull)
        with pytest.raises(StorageFull):
            list(repo.watch(out, "net", settle=0.05, once=True))
    assert looks(watching, watching.looks + 1) == [10]
    assert watching.failure is None


def test_what_no_version_can_hold_is_told_once(repo: mvs.Repository, out: Path) -> None:
    (out / "checkpoint-1").mkdir()
    os.mkfifo(out / "checkpoint-1" / "pipe")
    write(out, 2)
    watching = watcher(repo, out)
    assert looks(watching, 5) == [2]
    assert len(notices) == 1


def test_what_makes_no_sense_is_refused(repo: mvs.Repository, out: Path) -> None:
    for options in ({"pattern": "../*"}, {"pattern": "/etc/*"}, {"settle": -1.0}, {"keep_last": 0}):
        with pytest.raises(InvalidInput):
            list(repo.watch(out, "net", once=True, **options))
    with pytest.raises(SourceNotFound):
        list(repo.watch(out / "missing", "net", once=True))


def test_it_ends_when_it_is_told_to(repo: mvs.Repository, out: Path) -> None:
    for step in (1, 2, 3):
        write(out, step)
    stop = threading.Event()
    for _ in repo.watch(out, "net", settle=0.05, stop=stop):
        stop.set()
    assert steps(repo) == [1]


def test_sigterm_ends_the_command_cleanly(repo: mvs.Repository, out: Path) -> None:
    write(out, 10)
    command = [sys.executable, "-m", "mvs", "-C", str(repo.root.parent), "watch", str(out), "net", "--settle", "0.1s"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        tag = process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        assert process.wait() == 0
    assert tag.strip() == str(repo.get("net").tag)


@pytest.mark.parametrize(
    ("name", "step"),
    [
        ("checkpoint-500", 500),
        ("epoch=3-step=1200", 1200),
        ("epoch_3_step_7", 7),
        ("model-12-final", 12),
        ("last", None),
    ],
)
def test_the_step_is_in_the_name(name: str, step: int | None) -> None:
    assert found.step_of(name) == step


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{",
        '{"global_step": 1e999}',
        '{"global_step": -1, "log_history": 7}',
        '{"log_history": [1, {"step": null, "loss": NaN, "text": "x", "flag": true, "list": [1]}]}',
        "[" * 100_000,
        '{"global_step": 99999999999999999999999999, "log_history": [{"loss": 1e400}]}',
        '{"log_history": [{"big": 99999999999999999999999999}]}',
    ],
)
def test_nothing_in_a_checkpoint_is_believed(text: str, repo: mvs.Repository, out: Path) -> None:
    (write(out, 5, state=False) / "trainer_state.json").write_text(text)
    list(repo.watch(out, "net", settle=0.0, once=True))
    assert repo.get("net").metadata["step"] in (5, 99999999999999999999999999)
    assert set(repo.get("net").metadata) == {"step"}


def test_metrics_are_found_in_flat_files(out: Path) -> None:
    folder = write(out, 5, loss=0.5)
    (folder / "eval_results.json").write_text('{"accuracy": 0.9, "name": "x"}')
    assert found.metrics_of(str(folder)) == {"accuracy": 0.9, "loss": 0.5}
