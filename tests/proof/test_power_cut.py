"""After a power cut at any moment, whatever the disk had not been told to keep: no saved name is lost, none is half."""

import hashlib
import random
import shutil
from pathlib import Path

import pytest

from mvs.repository.workspace import write_setting
from tests.proof.disk import LOST, RECORDED, Fate, Left, Recorder, Recording, fates, snapshot
from tests.proof.running import STRACE, Runner
from tests.proof.scenes import SCENES, Scene, check, recover

pytestmark = STRACE
# The others write nothing that must outlive a power cut: a folder of the user's, and one of the cache.
LASTING = [
    SCENES[name] for name in ("save", "move", "delete", "restore", "alias", "label", "pin", "gc", "dedup", "undo")
]


def record(runner: Runner, template: Path, place: Path, scene: Scene) -> Recording:
    """Play a scene, and return what it did to the disk."""
    shutil.copytree(template, place, symlinks=True)
    before = snapshot(place)
    log = place.parent / "log"
    strace = ["-f", "-xx", "-s", str(1 << 24), "-o", str(log), "-e", f"trace=?{',?'.join(RECORDED)}"]
    done = runner.run(place, *scene.words, strace=strace)
    assert done.code == 0, done
    recording = Recorder(place, before, done.process, runner.said).follow(log)
    check_record(recording, place)
    shutil.rmtree(place)
    return recording


def check_record(recording: Recording, place: Path) -> None:
    """Check that nothing was missed: with all kept, the model is what lies on the disk."""
    model = {path: data for path, data, _ in recording.left(len(recording.events), lambda _: "kept").files()}
    assert model == {
        str(path.relative_to(place)): path.read_bytes() if path.is_file() else None for path in place.rglob("*")
    }


def digest(left: Left) -> bytes:
    hasher = hashlib.sha256()
    for path, data, mode in left.files():
        hasher.update(f"{path}\0{mode}\0{None if data is None else len(data)}\0".encode() + (data or b""))
    return hasher.digest()


def cut(recording: Recording, place: Path, scene: Scene, moment: int, fate: Fate, runner: Runner) -> None:
    """Cut the power, and check what is there then, and that one can go on from it."""
    recording.left(moment, fate).write(place)
    write_setting(place / ".mvs", "store.durable", "false")
    there = check(place, scene, recording.said(moment))
    if moment == len(recording.events):
        # The command has ended: what it did not print it meant all the same.
        assert set(scene.brings) <= set(there)
        assert not set(scene.takes) & set(there)
    recover(place, scene, there, runner)
    shutil.rmtree(place)


def replay(
    runner: Runner, template: Path, tmp_path: Path, scene: Scene, moments: int | None, turns: int
) -> tuple[int, int]:
    """Cut the power after some events of a scene, or after each; return how many moments and ends there are."""
    recording = record(runner, template, tmp_path / "recorded", scene)
    every = range(len(recording.events) + 1)
    # The same is left more than once; not so when more was said before.
    seen: set[tuple[bytes, str]] = set()
    for moment in every if moments is None else sorted({len(every) - 1, *random.sample(every, moments)}):
        for name, fate in fates(moment, turns):
            try:
                state = (digest(recording.left(moment, fate)), recording.said(moment))
                if state not in seen:
                    cut(recording, tmp_path / "repo", scene, moment, fate, runner)
            except Exception as error:
                error.add_note(f"{scene.name}: cut after {moment} of {len(every) - 1} events, {name}")
                raise
            seen.add(state)
    return len(every), len(seen)


@pytest.mark.parametrize("scene", LASTING, ids=str)
def test_after_a_power_cut_at_some_moments_no_saved_name_is_lost(
    runner: Runner, template: Path, tmp_path: Path, scene: Scene
) -> None:
    replay(runner, template, tmp_path, scene, moments=1, turns=0)


@pytest.mark.deep
@pytest.mark.parametrize("scene", LASTING, ids=str)
def test_after_a_power_cut_at_any_moment_no_saved_name_is_lost(
    runner: Runner, template: Path, tmp_path: Path, scene: Scene
) -> None:
    events, ends = replay(runner, template, tmp_path, scene, moments=None, turns=4)
    assert min(events, ends) > 5


def test_a_store_that_does_not_fsync_is_seen_to_lose_a_name(runner: Runner, template: Path, tmp_path: Path) -> None:
    """A proof that nothing can fail proves nothing."""
    careless = tmp_path / "careless"
    shutil.copytree(template, careless, symlinks=True)
    write_setting(careless / ".mvs", "store.durable", "false")
    recording = record(runner, careless, tmp_path / "recorded", SCENES["save"])
    with pytest.raises(AssertionError, match="was said to be saved and is lost"):
        cut(recording, tmp_path / "repo", SCENES["save"], len(recording.events), lambda _: LOST, runner)
