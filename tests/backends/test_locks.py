"""Locks: one holder, among threads and processes, and none after its death."""

import errno
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from mvs.backends.locks import exclusive, is_free, is_held, still
from mvs.errors import ReadOnlyStore, StoreBusy

HOLDER = """
import sys
from mvs.backends.locks import exclusive
with exclusive(sys.argv[1]):
    print("held", flush=True)
    sys.stdin.read()
"""
COUNTER = """
import sys
from mvs.backends.locks import exclusive
for _ in range(50):
    with exclusive(sys.argv[1]):
        with open(sys.argv[2]) as file:
            count = int(file.read())
        with open(sys.argv[2], "w") as file:
            file.write(str(count + 1))
"""


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "lock")


def _holder(path: str) -> "subprocess.Popen[str]":
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    return holder


def test_another_process_is_kept_out(path: str) -> None:
    with _holder(path) as holder:
        assert is_held(path)
        with pytest.raises(StoreBusy, match="lock"), exclusive(path, patience=0):
            pass
        holder.communicate("")
    assert not is_held(path)


def test_a_killed_holder_holds_nothing(path: str) -> None:
    """A lock that outlives its process stops the store until somebody guesses why."""
    with _holder(path) as holder:
        holder.kill()
        holder.wait()
        with exclusive(path, patience=0):
            assert is_held(path)


def test_processes_take_turns(tmp_path: Path, path: str) -> None:
    count = tmp_path / "count"
    count.write_text("0")
    workers = [subprocess.Popen([sys.executable, "-c", COUNTER, path, str(count)]) for _ in range(4)]
    assert [worker.wait() for worker in workers] == [0] * 4
    assert count.read_text() == "200"


def test_threads_take_turns(path: str) -> None:
    inside = [0]
    most = [0]
    turns = [0]

    def work() -> None:
        for _ in range(25):
            with exclusive(path):
                inside[0] += 1
                most[0] = max(most[0], inside[0])
                turns[0] += 1
                inside[0] -= 1

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1]
    assert turns == [100]


def test_another_thread_is_kept_out(path: str) -> None:
    found: list[bool] = []
    with exclusive(path):
        asking = threading.Thread(target=lambda: found.append(is_held(path)))
        asking.start()
        asking.join()
    assert found == [True]


def test_an_error_inside_lets_go(path: str) -> None:
    with pytest.raises(KeyError), exclusive(path):
        raise KeyError
    assert not is_held(path)


def test_a_lock_that_cannot_be_opened_is_told_as_such(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> int:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(os, "open", fail)
    with pytest.raises(ReadOnlyStore), exclusive(path):
        pass


def test_a_last_look_keeps_others_waiting_and_writes_nothing(tmp_path: Path) -> None:
    path = str(tmp_path / "lock")
    with exclusive(path):
        pass
    before = os.stat(path)
    with still(path):
        assert not is_writable_now(path)
        assert is_free(path)
    assert is_writable_now(path)
    with exclusive(path, patience=0):
        assert not is_free(path)
        with still(path, patience=0.01):
            pass
    assert is_free(path)
    after = os.stat(path)
    assert (after.st_size, after.st_ino) == (before.st_size, before.st_ino)


def is_writable_now(path: str) -> bool:
    try:
        with exclusive(path, patience=0):
            return True
    except StoreBusy:
        return False


def test_a_lock_that_was_never_made_is_free_and_stays_unmade(tmp_path: Path) -> None:
    """A check must be able to look at a store that it may not write to."""
    path = str(tmp_path / "lock")
    with still(path):
        assert is_free(path)
    assert os.listdir(tmp_path) == []
