"""Killed or failed at any system call that changes a file, nothing is lost, and the same again succeeds."""

import random
import re
import shutil
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.proof.calls import CHANGING, calls
from tests.proof.running import STRACE, Runner
from tests.proof.scenes import SCENES, Scene, check, recover

pytestmark = STRACE
# What a process dies of at a call, or is told by it.
KILL, EIO, ENOSPC = "signal=KILL", "error=EIO", "error=ENOSPC"
STORAGE = range(60, 64)


class Point(NamedTuple):
    """The n-th call of a name: by the main thread, or by every thread that comes to its n-th one."""

    name: str
    number: int
    main: bool


def points(runner: Runner, template: Path, place: Path, scene: Scene) -> list[Point]:
    """Return every call that changes a file where the scene plays, as a run that nothing disturbs makes it."""
    shutil.copytree(template, place, symlinks=True)
    log = place.parent / "log"
    strace = ["-f", "-y", "-o", str(log), "-e", f"trace=openat,?{',?'.join(CHANGING)}"]
    done = runner.run(place, *scene.words, strace=strace)
    assert done.code == 0, done
    shutil.rmtree(place)
    # Paths that are not absolute are of the folder that `-C` names.
    here = re.compile(rf'"[^/]|.*[<"]{re.escape(str(place))}[/>]')
    found = [
        Point(call.name, call.number, call.thread == done.process)
        for call in calls(log)
        if here.match(call.text) and (call.name != "openat" or "O_CREAT" in call.text)
    ]
    assert len(found) > 5
    return found


def injected(point: Point, what: str) -> list[str]:
    """Return the options with which strace does something to a process at a call."""
    inject = f"inject={point.name}:{what}:when={point.number}"
    return [*(["-f"] * (not point.main)), "-o", "/dev/null", "-e", f"trace={point.name}", "-e", inject]


def disturb(runner: Runner, template: Path, place: Path, scene: Scene, point: Point, what: str) -> bool:
    """Play a scene until it is disturbed, check what is there, and play it again; tell whether it was disturbed."""
    shutil.copytree(template, place, symlinks=True)
    done = runner.run(place, *scene.words, strace=injected(point, what))
    try:
        assert "Traceback" not in done.complained, done
        if what == KILL:
            assert done.code in (-9, 0), done
        else:
            assert done.code == 0 or done.code in STORAGE or not point.main, done
            assert done.code or point.name not in ("fsync", "fdatasync"), "a failed fsync is told as a success"
        recover(place, scene, check(place, scene, done.said), runner)
    except Exception as error:
        error.add_note(f"{scene.name}: {what} at {point}: {done}")
        raise
    shutil.rmtree(place)
    return done.code != 0


@pytest.mark.parametrize("scene", SCENES.values(), ids=str)
def test_disturbed_at_some_system_calls_nothing_is_lost(
    runner: Runner, template: Path, tmp_path: Path, scene: Scene
) -> None:
    found = points(runner, template, tmp_path / "repo", scene)
    for what in (KILL, EIO, ENOSPC):
        disturb(runner, template, tmp_path / "repo", scene, random.choice(found), what)


@pytest.mark.deep
@pytest.mark.parametrize("what", [KILL, EIO, ENOSPC])
@pytest.mark.parametrize("scene", SCENES.values(), ids=str)
def test_disturbed_at_any_system_call_nothing_is_lost(
    runner: Runner, template: Path, tmp_path: Path, scene: Scene, what: str
) -> None:
    disturbed = 0
    found = points(runner, template, tmp_path / "repo", scene)
    for point in found:
        disturbed += disturb(runner, template, tmp_path / "repo", scene, point, what)
    assert disturbed > 5
