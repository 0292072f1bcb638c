"""Checkpoints: one every so many steps, few of them kept, and a run goes on whatever the disk does."""

import logging
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mvs
from mvs.errors import InvalidInput, InvalidTag, StorageFull
from mvs.handles.training.state import State
from mvs.store.staging import Session

# Large beside the journal, the caches and the like, which are counted as well.
SIZE = 400_000


def weights(step: int) -> dict[str, Any]:
    return {"w": np.random.default_rng(step).integers(0, 255, SIZE, "u1")}


def steps(repo: mvs.Repository, name: str = "net") -> list[int]:
    """The steps of the checkpoints that are there, newest first."""
    return [version.metadata["step"] for version in repo.list(name)]


def on_disk(repo: mvs.Repository) -> int:
    found = [path.stat() for path in repo.store.rglob("*") if path.is_file()]
    return sum({stat.st_ino: stat.st_size for stat in found}.values())


def test_a_checkpoint_is_saved_every_so_many_steps(repo: mvs.Repository) -> None:
    asked = []

    def state(step: int) -> Callable[[], dict[str, Any]]:
        return lambda: asked.append(step) or weights(step)  # type: ignore[func-returns-value]

    with mvs.Checkpointer(repo, "net", every=5, labels={"team": "a"}, context={"run": "42"}) as checkpoints:
        futures = [checkpoints.step(state(step), step=step, metrics={"loss": 1 / step}) for step in range(1, 13)]
    assert asked == [5, 10]
    assert [future is not None for future in futures] == [step % 5 == 0 for step in range(1, 13)]
    latest = checkpoints.latest()
    assert latest
    assert latest.metadata == {"step": 10, "loss": 0.1}
    assert latest.labels == {"kind": "checkpoint", "team": "a"}
    assert latest.context["run"] == "42"
    assert latest.tensor("w").tolist() == weights(10)["w"].tolist()
    assert steps(repo) == [10, 5]


def test_the_checkpoints_of_a_run_say_that_they_are(repo: mvs.Repository) -> None:
    for _ in range(2):
        with mvs.Checkpointer(repo, "net") as checkpoints:
            for step in (1, 2):
                checkpoints.step(weights(step), step=step)
    runs = [version.context["run"] for version in repo.list("net")]
    assert runs[0] == runs[1] != runs[2] == runs[3]


def test_a_run_that_was_resumed_otherwise_follows_the_checkpoint_of_its_step(repo: mvs.Repository) -> None:
    with mvs.Checkpointer(repo, "net") as checkpoints:
        for step in (1, 2):
            checkpoints.step(weights(step), step=step)
    with mvs.Checkpointer(repo, "net") as checkpoints:
        followed = checkpoints.follow(1)
        assert followed
        assert followed.metadata["step"] == 1
        assert checkpoints.follow(7) is None
        checkpoints.step(weights(3), step=3)
    assert repo.get("net").parents == (followed.id,)


def test_steps_are_counted_where_none_is_given(repo: mvs.Repository) -> None:
    with mvs.Checkpointer(repo, "net", every=2) as checkpoints:
        for step in range(5):
            checkpoints.step(weights(step))
    with mvs.Checkpointer(repo, "net", every=2) as checkpoints:
        checkpoints.resume()
        for step in range(2):
            checkpoints.step(weights(step))
    assert steps(repo) == [6, 4, 2]


def test_a_path_is_a_state(repo: mvs.Repository, folder: Path) -> None:
    with mvs.Checkpointer(repo, "net") as checkpoints:
        checkpoints.step(folder, step=1)
        checkpoints.step(lambda: folder, step=2, move=True)
    assert [len(version.files) for version in repo.list("net")] == [4, 4]
    assert not folder.exists()


def test_the_last_and_the_best_are_kept_in_bounded_room(repo: mvs.Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    """Or a run of a week fills the disk."""
    most: list[int] = []
    collect = mvs.Repository.gc

    def gc(self: mvs.Repository, **options: Any) -> Any:
        # Never is there more than now: a new one is there, and what is deleted for it as well.
        most.append(on_disk(repo))
        return collect(self, **options)

    monkeypatch.setattr(mvs.Repository, "gc", gc)
    losses = np.random.default_rng(1).permutation(100)
    with mvs.Checkpointer(repo, "net", keep_last=3, keep_best=1, monitor="loss") as checkpoints:
        for step, loss in enumerate(losses):
            checkpoints.step(weights(step), step=step, metrics={"loss": loss})
    best = int(losses.argmin())
    assert steps(repo) == sorted({97, 98, 99, best}, reverse=True)
    # The last three, the best, and the one that is being saved; and what the journal says of each.
    assert len(most) > 90
    assert max(most) < 5 * SIZE + 100 * 3000
    assert on_disk(repo) < 4 * SIZE + 100 * 3000
    assert repo.fsck(level="full").ok


@settings(max_examples=15, deadline=None)
@given(
    figures=st.lists(st.one_of(st.integers(0, 5), st.just(float("nan")), st.none()), min_size=1, max_size=7),
    last=st.one_of(st.none(), st.integers(1, 3)),
    best=st.integers(1, 3),
    mode=st.sampled_from(["min", "max"]),
)
def test_what_is_kept_is_what_sorting_says(
    tmp_path_factory: pytest.TempPathFactory, figures: list[float | None], last: int | None, best: int, mode: Any
) -> None:
    repo = mvs.init(tmp_path_factory.mktemp("repo"))
    kept: list[int] = []
    with mvs.Checkpointer(repo, "net", keep_last=last, keep_best=best, monitor="loss", mode=mode) as checkpoints:
        for step, figure in enumerate(figures):
            checkpoints.step(weights(step), step=step, metrics={} if figure is None else {"loss": figure})
            there = [*kept, step]
            known = [s for s in there if isinstance(figures[s], int)]
            ranked = sorted(known, key=lambda s: ((figures[s] or 0) * (1 if mode == "min" else -1), -s))
            kept = sorted({*there[-(last or 1) :], *ranked[:best]})
    assert steps(repo) == kept[::-1]


def test_without_a_rule_all_are_kept_and_versions_of_others_always(repo: mvs.Repository, folder: Path) -> None:
    repo.save(folder, "net:mine")
    repo.save(folder, "other:v1")
    repo.delete("other:v1")
    with mvs.Checkpointer(repo, "net") as checkpoints:
        for step in range(4):
            checkpoints.step(weights(step), step=step)
    assert len(repo.list("net")) == 5
    with mvs.Checkpointer(repo, "net", keep_last=1) as checkpoints:
        checkpoints.step(weights(4), step=4)
    assert [version.metadata.get("step") for version in repo.list("net")] == [4, None]
    # What somebody deleted by mistake is there as long as ever.
    assert repo.restore("other:v1").read_bytes("config.json")


def test_what_an_alias_points_at_is_kept(repo: mvs.Repository) -> None:
    with mvs.Checkpointer(repo, "net", keep_last=1) as checkpoints:
        checkpoints.step(weights(0), step=0)
    repo.alias("net@good", "net")
    with mvs.Checkpointer(repo, "net", keep_last=1) as checkpoints:
        for step in range(1, 4):
            checkpoints.step(weights(step), step=step)
    assert steps(repo) == [3, 0]
    assert repo.get("net@good").metadata["step"] == 0


def test_a_run_that_diverges_is_saved(repo: mvs.Repository) -> None:
    with mvs.Checkpointer(repo, "net", keep_best=1, monitor="loss") as checkpoints:
        checkpoints.step(weights(1), step=1, metrics={"loss": np.float32(2.5)})
        checkpoints.step(weights(2), step=2, metrics={"loss": float("nan"), "norm": np.float64("inf")})
    assert [version.metadata for version in repo.list("net")] == [
        {"step": 2, "loss": "nan", "norm": "inf"},
        {"step": 1, "loss": 2.5},
    ]


def test_a_run_is_resumed_from_the_last_whole_checkpoint(
    repo: mvs.Repository, caplog: pytest.LogCaptureFixture
) -> None:
    checkpoints = mvs.Checkpointer(repo, "net", keep_last=2)
    assert (checkpoints.latest(), checkpoints.resume()) == (None, None)
    for step in (1, 2):
        checkpoints.step(weights(step), step=step)
    checkpoints.close()
    first, last = repo.list("net")[::-1]
    blob = last.files[0].blob
    damaged = repo.store / "objects" / blob[:2] / blob[2:]
    damaged.chmod(0o644)
    damaged.write_bytes(bytes(damaged.stat().st_size))

    again = mvs.Checkpointer(repo, "net")
    with caplog.at_level(logging.WARNING, logger="mvs"):
        assert again.resume() == first
    assert f"'{last.tag}' is damaged" in caplog.text
    again.step(weights(3), step=3)
    again.close()
    assert repo.get("net").parents == (first.id,)


def test_the_parent_may_be_deleted_meanwhile(repo: mvs.Repository) -> None:
    with mvs.Checkpointer(repo, "net", keep_last=1) as checkpoints:
        checkpoints.step(weights(0), step=0)
    with mvs.Checkpointer(repo, "net", keep_last=1) as checkpoints:
        parent = checkpoints.resume()
        assert parent
        for step in range(1, 4):
            checkpoints.step(weights(step), step=step)
    assert repo.get("net").parents == (parent.id,)
    assert steps(repo) == [3]


def test_a_full_disk_does_not_end_the_training(
    repo: mvs.Repository, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    write = State.write

    def full(self: State, folder: str, file: str) -> None:
        write(self, folder, file)
        raise StorageFull("no space left")

    checkpoints = mvs.Checkpointer(repo, "net", keep_last=2)
    checkpoints.step(weights(1), step=1)
    repo.close()
    before = on_disk(repo)
    with monkeypatch.context() as patch, caplog.at_level(logging.WARNING, logger="mvs"):
        patch.setattr(State, "write", full)
        for step in (2, 3):
            assert checkpoints.step(weights(step), step=step) is not None
        repo.close()
    assert isinstance(checkpoints.failure, StorageFull)
    assert caplog.text.count("a checkpoint of 'net' was not saved: no space left") == 2
    assert on_disk(repo) == before
    with pytest.raises(StorageFull):
        checkpoints.close()
    checkpoints.step(weights(4), step=4)
    checkpoints.close()
    assert not checkpoints.failure
    assert steps(repo) == [4, 1]


def test_a_last_save_that_failed_ends_the_block(repo: mvs.Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise StorageFull("no space left")

    monkeypatch.setattr(Session, "adopt", full)
    with pytest.raises(StorageFull), mvs.Checkpointer(repo, "net") as checkpoints:
        checkpoints.step(weights(1), step=1)


def test_older_checkpoints_go_later_when_the_store_is_busy(repo: mvs.Repository) -> None:
    """A dedup at night takes hours, and training does not wait for it."""
    from mvs.store.store import Store

    with mvs.Checkpointer(repo, "net", keep_last=1) as checkpoints:
        with Store(repo.store).packing():
            for step in range(3):
                checkpoints.step(weights(step), step=step)
            repo.close()
            assert on_disk(repo) > 3 * SIZE
        checkpoints.step(weights(3), step=3)
    assert on_disk(repo) < 2 * SIZE


def test_two_runs_under_one_name_share_its_checkpoints(repo: mvs.Repository) -> None:
    first, second = (mvs.Checkpointer(mvs.open(repo.root), "net", keep_last=2) for _ in range(2))
    for step in range(6):
        first.step(weights(step), step=step)
        second.step(weights(100 + step), step=step)
    first.close()
    second.close()
    assert 1 <= len(repo.list("net")) <= 3
    assert repo.fsck(level="full").ok


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_job_that_is_ended_leaves_whole_checkpoints_and_no_rubbish_for_ever(
    repo: mvs.Repository, number: int
) -> None:
    code = """
import sys, threading, numpy as np, mvs
from mvs.store.staging import Session
checkpoints = mvs.Checkpointer(mvs.open(sys.argv[1]), "net", keep_last=2)
checkpoints.step({"w": np.ones(50000)}, step=1).result()
def hang(*_, **__): print("now", flush=True); threading.Event().wait()
Session.adopt = hang
checkpoints.step({"w": np.zeros(50000)}, step=2).result()
"""
    with subprocess.Popen(
        [sys.executable, "-c", code, repo.root],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(mvs.__file__).parent.parent)},
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == "now\n"
        process.send_signal(number)
    with mvs.Checkpointer(repo, "net", keep_last=1) as checkpoints:
        resumed = checkpoints.resume()
        assert resumed
        assert resumed.metadata["step"] == 1
        checkpoints.step(weights(2), step=2)
    assert steps(repo) == [2]
    # What the killed one had written is gone, with no wait for what may be a draft.
    assert on_disk(repo) < 2 * SIZE


@pytest.mark.parametrize(
    "arguments",
    [
        {"every": 0},
        {"every": True},
        {"keep_last": 0},
        {"keep_last": -1},
        {"keep_best": 0, "monitor": "loss"},
        {"keep_best": 1},
        {"monitor": "loss"},
        {"mode": "best"},
        {"busy": "never"},
    ],
)
def test_rules_that_mean_nothing_are_refused(repo: mvs.Repository, arguments: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        mvs.Checkpointer(repo, "net", **arguments)


def test_a_name_is_checked_before_the_training(repo: mvs.Repository) -> None:
    with pytest.raises(InvalidTag):
        mvs.Checkpointer(repo, "n e t")
