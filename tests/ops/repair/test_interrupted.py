"""Whatever stops a repair, at whichever call: the store is no worse than it was, and the next repair finishes."""

import contextlib
import errno
import os
import random
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

import mvs
from mvs.errors import MvsError
from mvs.store.staging import Session
from tests.ops.dedup.families import loose_path, model, pack_files, quick, records, safetensors, save, tuned
from tests.ops.dedup.test_interrupted import run_and_die
from tests.ops.gc.stores import check_closed, check_swept
from tests.ops.test_fsck import blob, change, cut, flip, ref_file
from tests.test_faults import Fault
from tests.test_kill import FORKS

SHAPES = {"a": (64, 64), "b": (32, 64), "norm": (64,)}
BASE = model(shapes=SHAPES)
CONTENTS = {
    "bert:v1": safetensors(BASE),
    "bert:v2": safetensors(tuned(BASE)),
    "other:v1": bytes(range(256)) * 100,
    "text:v1": b"some words\n" * 1000,
}
# Nothing has its bytes any more.
LOST = "text:v1"


@pytest.fixture(autouse=True)
def _importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """A child imports this module by its name."""
    monkeypatch.syspath_prepend(Path(__file__).parents[3])


def damaged(root: Path) -> mvs.Repository:
    """A store with damage of every kind, and beside it a folder that has most of what is damaged."""
    repo = quick(root / "repo")
    for tag, data in CONTENTS.items():
        save(repo, tag, data)
    repo.dedup("bert")
    good = root / "good"
    good.mkdir()
    for tag in CONTENTS.keys() - {LOST}:
        (good / tag).write_bytes(CONTENTS[tag])
    (path,) = pack_files(repo)
    record = max((r for r in records(repo) if r.encoding == "planes"), key=lambda record: record.length)
    change(path, flip(record.offset))
    for tag in ("other:v1", LOST):
        place = loose_path(repo, blob(repo, tag, "model.safetensors"))
        change(place, lambda data: data[:5] + bytes(100) + data[105:])
    change(ref_file(repo, "bert:v1"), cut)
    change(repo.store / "journal" / "other" / "@events", lambda data: data[:-20] + b"??????????????????}\n")
    return repo


def finish(root: Path) -> None:
    """Check that nothing is worse than it was, that what is there may be counted on, and that a repair finishes."""
    repo = mvs.open(root / "repo")
    check_closed(repo)
    save(repo, "again:v1", CONTENTS["bert:v2"])
    repo = mvs.open(root / "repo")
    done = repo.repair(root / "good")
    assert [str(tag) for tag in done.broken] == [LOST]
    for tag in CONTENTS.keys() - {LOST}:
        assert repo.get(tag).read_bytes("model.safetensors") == CONTENTS[tag], tag
    assert repo.get("again:v1").read_bytes("model.safetensors") == CONTENTS["bert:v2"]
    assert repo.get(LOST).broken == ("model.safetensors",)
    check_closed(repo)
    save(repo, "last:v1", CONTENTS[LOST])
    assert repo.repair().ok
    assert repo.get(LOST).read_bytes("model.safetensors") == CONTENTS[LOST]
    repo.gc(expire="now")
    check_swept(repo)


def repair(root: Path) -> None:
    mvs.open(root / "repo").repair(root / "good")


def copies(tmp_path: Path, moments: range) -> Iterator[tuple[int, Path]]:
    damaged(tmp_path / "template")
    for moment in moments:
        place = tmp_path / "copy"
        shutil.copytree(tmp_path / "template", place, symlinks=True)
        yield moment, place
        shutil.rmtree(place)
    raise AssertionError("a repair never came to its end")


def killed(tmp_path: Path, step: int) -> None:
    for moment, place in copies(tmp_path, range(1, 3000, step)):
        process = FORKS.Process(target=run_and_die, args=(repair, place, moment))
        process.start()
        process.join()
        finish(place)
        if process.exitcode == 0:
            assert moment > 40
            return
        assert process.exitcode == -signal.SIGKILL


def test_killed_before_some_calls_nothing_is_worse_and_the_next_repair_finishes(tmp_path: Path) -> None:
    killed(tmp_path, 131)


@pytest.mark.deep
def test_killed_before_any_call_nothing_is_worse_and_the_next_repair_finishes(tmp_path: Path) -> None:
    killed(tmp_path, 1)


def refused(tmp_path: Path, step: int) -> None:
    for moment, place in copies(tmp_path, range(1, 3000, step)):
        number = random.Random(moment).choice([errno.ENOSPC, errno.EIO, errno.EROFS])
        fault = Fault(moment, number, lasting=bool(moment % 2))
        # Where the fault hit something that matters not, it ends well.
        with fault.active(), contextlib.suppress(MvsError):
            mvs.open(place / "repo").repair(place / "good")
        finish(place)
        if not fault.refused:
            assert moment > 40
            return


def test_a_disk_that_refuses_makes_nothing_worse(tmp_path: Path) -> None:
    refused(tmp_path, 97)


@pytest.mark.deep
def test_a_disk_that_refuses_anything_makes_nothing_worse(tmp_path: Path) -> None:
    refused(tmp_path, 1)


def test_an_interrupt_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    repo = damaged(tmp_path)
    monkeypatch.setattr(Session, "write", _interrupted)
    with pytest.raises(KeyboardInterrupt):
        repo.repair(tmp_path / "good")
    assert os.listdir(repo.store / "staging") == []
    monkeypatch.undo()
    monkeypatch.syspath_prepend(Path(__file__).parents[3])
    finish(tmp_path)


def _interrupted(*_: object) -> None:
    raise KeyboardInterrupt
