"""Whatever stops a dedup, nothing is lost, and the next one finishes what it began."""

import errno
import importlib
import itertools
import os
import random
import shutil
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import mvs
from mvs.errors import MvsError, SyncFailed
from mvs.ops.dedup.plan import MAX_DEPTH
from mvs.store.packs import writing
from mvs.store.packs.writing import PackWriter
from tests.ops.dedup import families
from tests.ops.dedup.families import (
    check_graph,
    loose_files,
    model,
    pack_bytes,
    quick,
    records,
    safetensors,
    save,
    tuned,
)
from tests.test_faults import MEANING, Fault, staged_files
from tests.test_kill import CALLS, FORKS, sessions

SHAPES = {"embed": (256, 64), "a": (64, 64), "b": (64, 64), "norm": (64,)}
BASE = model(0, SHAPES)
TUNED = tuned(BASE)
EXPECTED: dict[str, dict[str, bytes]] = {
    "bert:v1": {"model.safetensors": safetensors(BASE), "run.sh": b"#!/bin/sh\n", "vocab.txt": b"a\nb\n"},
    "bert:v2": {"model.safetensors": safetensors(TUNED), "run.sh": b"#!/bin/sh\n"},
    "bert:v3": {"model.safetensors": safetensors(tuned(TUNED, 2)), "model.gguf": families.gguf_q8(BASE)},
}
# Several packs, so that a part of the work is done.
PACK_BYTES = 30_000


@pytest.fixture(autouse=True)
def _small_packs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(Path(__file__).parents[3])
    monkeypatch.setattr(importlib.import_module("mvs.ops.dedup.run"), "_PACK_BYTES", PACK_BYTES)


def saved(root: Path) -> mvs.Repository:
    repo = quick(root)
    for tag, files in EXPECTED.items():
        save(repo, tag, files)
    return repo


@pytest.fixture
def undisturbed(tmp_path: Path) -> int:
    """What the packs take when nothing happens."""
    repo = saved(tmp_path / "undisturbed")
    repo.dedup()
    return pack_bytes(repo)


def finish(repo: mvs.Repository, undisturbed: int, *, rest: float = 0.05) -> None:
    """Check that all is there, let a dedup finish, and check that all is there, and once."""
    check_all(repo)
    left = sessions(repo)
    repo.dedup()
    check_all(repo)
    assert sessions(repo) <= left
    check_graph(repo, MAX_DEPTH)
    assert loose_files(repo) == []
    assert pack_bytes(repo) < undisturbed * (1 + rest)
    ids = [record.id for record in records(repo)]
    assert len(ids) == len(set(ids))


def check_all(repo: mvs.Repository) -> None:
    for tag, files in EXPECTED.items():
        version = mvs.open(repo.root).get(tag)
        assert {file.path: version.read_bytes(file.path) for file in version.files} == files


class Interrupted(ThreadPoolExecutor):
    """Threads whose user presses Ctrl-C at some unit."""

    def __init__(self, moment: int) -> None:
        super().__init__(2)
        self.moment = moment

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> "Future[Any]":
        self.moment -= 1
        if self.moment == 0:
            raise KeyboardInterrupt
        return super().submit(fn, *args, **kwargs)


def test_interrupted_at_any_unit_nothing_is_lost_and_the_next_run_goes_on(tmp_path: Path, undisturbed: int) -> None:
    template = saved(tmp_path / "template")
    met = 0
    for moment in itertools.count(1):
        place = tmp_path / "repo"
        shutil.copytree(template.root.parent, place)
        repo = mvs.open(place)
        with Interrupted(moment) as executor:
            try:
                repo.dedup(executor=executor)
            except KeyboardInterrupt:
                met += 1
            else:
                break
        assert os.listdir(repo.store / "staging") == []
        finish(repo, undisturbed)
        shutil.rmtree(place)
    assert met > 10


def test_an_interrupted_dedup_keeps_the_packs_that_are_finished(tmp_path: Path) -> None:
    repo = saved(tmp_path / "repo")
    with Interrupted(12) as executor, pytest.raises(KeyboardInterrupt):
        repo.dedup(executor=executor)
    assert pack_bytes(repo) > PACK_BYTES


def test_an_interrupt_in_the_middle_of_a_write_publishes_nothing_torn(
    tmp_path: Path, undisturbed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bytes that offset and hash do not know of would make the pack unreadable, and the loose files would go."""
    repo = saved(tmp_path / "repo")
    writes = itertools.count(1)
    whole = PackWriter._write

    def torn(writer: PackWriter, data: bytes) -> None:
        if next(writes) != 20:
            whole(writer, data)
            return
        update = writer._hasher
        monkeypatch.setattr(writer, "_hasher", None)
        try:
            whole(writer, data)
        except AttributeError:
            # As if the interrupt had come between the write and the hash.
            writer._hasher = update
            raise KeyboardInterrupt from None

    monkeypatch.setattr(PackWriter, "_write", torn)
    with pytest.raises(KeyboardInterrupt):
        repo.dedup()
    monkeypatch.undo()
    finish(repo, undisturbed)


def dedup(root: Path) -> None:
    importlib.import_module("mvs.ops.dedup.run")._PACK_BYTES = PACK_BYTES  # type: ignore[attr-defined]
    mvs.open(root).dedup()


def undo(root: Path) -> None:
    mvs.open(root).undo_dedup()


def run_and_die(operation: Callable[[Path], None], root: Path, moment: int) -> None:
    """Run an operation and die before its `moment`-th call that changes a file system."""
    calls = itertools.count(1)

    def mortal(call: Callable[..., Any]) -> Callable[..., Any]:
        def called(*args: Any, **options: Any) -> Any:
            if next(calls) == moment:
                os.kill(os.getpid(), signal.SIGKILL)
            return call(*args, **options)

        return called

    writing.open = through_os  # type: ignore[attr-defined]
    for name in [*CALLS, "fchmod"]:
        if hasattr(os, name):
            setattr(os, name, mortal(getattr(os, name)))
    operation(root)


class Plain:
    """A file that is written to through `os`, where faults are."""

    def __init__(self, path: str) -> None:
        self._fd = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY)

    def write(self, data: bytes) -> None:
        os.write(self._fd, data)

    def flush(self) -> None:
        pass

    def fileno(self) -> int:
        return self._fd

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
        self._fd = -1


def through_os(path: str, *_: Any, **__: Any) -> Plain:
    return Plain(path)


def dying(operation: Callable[[Path], None], template: Path, place: Path, moments: range) -> Iterator[mvs.Repository]:
    """Yield the repository after each death, until an operation outlives its moment."""
    for moment in moments:
        shutil.copytree(template, place)
        process = FORKS.Process(target=run_and_die, args=(operation, place, moment))
        process.start()
        process.join()
        if process.exitcode == 0:
            return
        assert process.exitcode == -signal.SIGKILL
        yield mvs.open(place)
        shutil.rmtree(place)
    raise AssertionError("it never came to its end")


def killed_at_calls(tmp_path: Path, undisturbed: int, step: int) -> None:
    saved(tmp_path / "template")
    deaths = 0
    for repo in dying(dedup, tmp_path / "template", tmp_path / "repo", range(1, 1000, step)):
        deaths += 1
        finish(repo, undisturbed)
    assert deaths > 10


def test_killed_before_some_calls_of_a_dedup_nothing_is_lost_or_doubled(tmp_path: Path, undisturbed: int) -> None:
    killed_at_calls(tmp_path, undisturbed, 7)


@pytest.mark.deep
def test_killed_before_any_call_of_a_dedup_nothing_is_lost_or_doubled(tmp_path: Path, undisturbed: int) -> None:
    killed_at_calls(tmp_path, undisturbed, 1)


def test_killed_before_any_call_of_an_undo_nothing_is_lost(tmp_path: Path, undisturbed: int) -> None:
    saved(tmp_path / "template").dedup()
    deaths = 0
    for repo in dying(undo, tmp_path / "template", tmp_path / "repo", range(1, 1000, 3)):
        deaths += 1
        finish(repo, undisturbed)
    assert deaths > 5


def live(root: Path) -> None:
    """Pack, and make loose again, without end."""
    for _ in itertools.count():
        dedup(root)
        undo(root)


def die_often(root: Path, lives: int, undisturbed: int) -> None:
    repo = saved(root / "repo")
    for _ in range(lives):
        process = FORKS.Process(target=live, args=(root / "repo",))
        process.start()
        process.join(random.uniform(0, 0.6))
        assert process.is_alive()
        process.kill()
        process.join()
        check_all(repo)
    finish(repo, undisturbed, rest=0.3)


def test_killed_at_20_random_moments_nothing_is_lost(tmp_path: Path, undisturbed: int) -> None:
    die_often(tmp_path, 20, undisturbed)


@pytest.mark.deep
def test_killed_at_200_random_moments_nothing_is_lost(tmp_path: Path, undisturbed: int) -> None:
    die_often(tmp_path, 200, undisturbed)


def refuse_everywhere(tmp_path: Path, undisturbed: int, number: int, *, lasting: bool, step: int, undone: bool) -> None:
    """Let a dedup (or an undo) fail at some of its calls, one after another, until it meets no failure."""
    template = saved(tmp_path / "template")
    if undone:
        template.dedup()
    for moment in itertools.count(1, step):
        place = tmp_path / "repo"
        shutil.copytree(template.root.parent, place)
        repo = mvs.open(place)
        fault = Fault(moment, number, lasting=lasting)
        failure: MvsError | None = None
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(writing, "open", through_os, raising=False)
            with fault.active():
                try:
                    repo.undo_dedup() if undone else repo.dedup()
                except MvsError as error:
                    failure = error
        where = f"call {moment}, {fault.refused[:1]}"
        if failure is not None and not isinstance(failure, SyncFailed):
            assert isinstance(failure, MEANING[number]), f"{where}: {failure!r}"
        check_all(repo)
        if not lasting and fault.refused not in (["unlink"], ["rmdir"]):
            assert staged_files(repo) == set(), where
        finish(repo, undisturbed)
        shutil.rmtree(place)
        if not fault.refused:
            break
    assert moment > 20


@pytest.mark.parametrize("undone", [False, True], ids=["dedup", "undo"])
@pytest.mark.parametrize(("number", "lasting"), [(errno.ENOSPC, True), (errno.EIO, False)], ids=["full", "io"])
def test_refused_at_some_calls_nothing_is_lost(
    tmp_path: Path, undisturbed: int, number: int, lasting: bool, undone: bool
) -> None:
    refuse_everywhere(tmp_path, undisturbed, number, lasting=lasting, step=9, undone=undone)


@pytest.mark.deep
@pytest.mark.parametrize("undone", [False, True], ids=["dedup", "undo"])
@pytest.mark.parametrize("lasting", [False, True], ids=["once", "lasting"])
@pytest.mark.parametrize("number", MEANING, ids=lambda number: errno.errorcode[number])
def test_refused_at_any_call_nothing_is_lost(
    tmp_path: Path, undisturbed: int, number: int, lasting: bool, undone: bool
) -> None:
    refuse_everywhere(tmp_path, undisturbed, number, lasting=lasting, step=1, undone=undone)
