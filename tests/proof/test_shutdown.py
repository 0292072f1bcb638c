"""A real file system that is shut down as by a power cut: ext4 forgets what it has not written to its journal."""

import fcntl
import gc as garbage
import os
import random
import shutil
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.proof.disk import LOST
from tests.proof.running import STRACE, Runner
from tests.proof.scenes import Scene, check, recover
from tests.proof.test_power_cut import LASTING
from tests.proof.test_system_calls import KILL, injected, points

pytestmark = [STRACE, pytest.mark.deep]
# EXT4_IOC_SHUTDOWN and EXT4_GOING_FLAGS_NOLOGFLUSH (fs/ext4/ext4.h): the journal is not written out before.
_SHUTDOWN, _NO_FLUSH = 0x8004587D, struct.pack("I", 2)
_SIZE = 64 << 20
ROUNDS = 8


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory, template: Path) -> Path:
    """A disk with a prepared store, all of it durable."""
    image = tmp_path_factory.mktemp("image") / "disk"
    with image.open("wb") as file:
        file.truncate(_SIZE)
    if os.geteuid() != 0 or shutil.which("mkfs.ext4") is None:
        pytest.skip("only root can mount a disk, and mkfs.ext4 (apt-get install e2fsprogs) must be there")
    subprocess.run(["mkfs.ext4", "-q", str(image)], check=True)
    with mounted(image) as disk:
        shutil.copytree(template, disk / "repo", symlinks=True)
    return image


@contextmanager
def mounted(image: Path) -> Iterator[Path]:
    """Mount an image; what is in it is durable when the block ends."""
    disk = image.parent / "mounted"
    disk.mkdir(exist_ok=True)
    mount = subprocess.run(["mount", "-o", "loop", str(image), str(disk)], capture_output=True, text=True, check=False)
    if mount.returncode:
        pytest.skip(f"this machine mounts no images: {mount.stderr.strip()}")
    try:
        yield disk
    finally:
        # Files of the disk must not be open when it is taken away.
        garbage.collect()
        subprocess.run(["umount", str(disk)], check=True)


def shut_down(disk: Path) -> None:
    """Let a file system end as when its power is cut."""
    fd = os.open(disk, os.O_RDONLY)
    try:
        fcntl.ioctl(fd, _SHUTDOWN, _NO_FLUSH)
    except OSError as error:
        pytest.skip(f"this kernel shuts no file system down: {error.strerror}")
    finally:
        os.close(fd)


def test_a_shut_down_disk_forgets_what_was_not_fsynced(image: Path, tmp_path: Path) -> None:
    """Otherwise the other tests here prove nothing."""
    copy = Path(shutil.copyfile(image, tmp_path / "disk"))
    with mounted(copy) as disk:
        (disk / LOST).write_text("not for long")
        shut_down(disk)
    with mounted(copy) as disk:
        assert not (disk / LOST).exists()


@pytest.mark.parametrize("scene", LASTING, ids=str)
def test_what_was_printed_outlives_the_disk(image: Path, runner: Runner, tmp_path: Path, scene: Scene) -> None:
    copy = Path(shutil.copyfile(image, tmp_path / "disk"))
    with mounted(copy) as disk:
        done = runner.run(disk / "repo", *scene.words)
        assert done.code == 0, done
        shut_down(disk)
    with mounted(copy) as disk:
        there = check(disk / "repo", scene, done.said)
        assert set(scene.brings) <= set(there)
        assert not set(scene.takes) & set(there)
        recover(disk / "repo", scene, there, runner)


@pytest.mark.parametrize("scene", LASTING, ids=str)
def test_killed_at_a_call_and_shut_down_nothing_is_lost(
    image: Path, template: Path, runner: Runner, tmp_path: Path, scene: Scene
) -> None:
    copy = tmp_path / "disk"
    found = points(runner, template, tmp_path / "repo", scene)
    for point in random.sample(found, min(ROUNDS, len(found))):
        shutil.copyfile(image, copy)
        with mounted(copy) as disk:
            done = runner.run(disk / "repo", *scene.words, strace=injected(point, KILL))
            shut_down(disk)
        with mounted(copy) as disk:
            recover(disk / "repo", scene, check(disk / "repo", scene, done.said), runner)
