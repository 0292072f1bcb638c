"""Hashing: every way gives the id that BLAKE3 gives for the bytes that are there."""

import os
import threading
from pathlib import Path
from typing import Literal, get_args

import pytest
from blake3 import blake3

from mvs.format.ids import ObjectId
from mvs.running.parallel import Advance
from mvs.store.hashing import copy_open, hash_open

MIB = 1 << 20
Way = Literal["wide", "narrow", "copy"]
WAYS = get_args(Way)
SIZES = [0, 1, MIB - 1, MIB, 2 * MIB + 1, 9 * MIB]


class Stop(Exception):
    """Raised by a progress that wants no more."""


def _nothing(amount: int) -> None:
    """Count nothing."""


@pytest.fixture(params=SIZES)
def source(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / "source"
    path.write_bytes(os.urandom(request.param))
    return path


def _id(path: Path) -> ObjectId:
    return ObjectId(blake3(path.read_bytes()).digest())


@pytest.mark.parametrize("wide", [True, False])
def test_a_file_has_the_id_of_its_bytes(source: Path, wide: bool) -> None:
    told: list[int] = []
    with source.open("rb") as file:
        assert hash_open(file.fileno(), told.append, wide=wide) == (_id(source), source.stat().st_size)
    assert sum(told) == source.stat().st_size


def test_a_copy_has_the_id_of_its_bytes(source: Path, tmp_path: Path) -> None:
    told: list[int] = []
    target = tmp_path / "target"
    with source.open("rb") as original, target.open("w+b") as copy:
        assert copy_open(original.fileno(), copy.fileno(), told.append) == (_id(source), source.stat().st_size)
    assert target.read_bytes() == source.read_bytes()
    assert sum(told) == source.stat().st_size


def test_the_position_of_the_file_does_not_matter(tmp_path: Path) -> None:
    path = tmp_path / "source"
    path.write_bytes(b"0123456789")
    with path.open("rb") as file:
        file.seek(5)
        for wide in (True, False):
            assert hash_open(file.fileno(), _nothing, wide=wide) == (_id(path), 10)


def test_the_id_is_of_the_bytes_that_were_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An id taken from the source would vouch for a copy that is not the same."""
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(b"what the user has")

    def bad_copy(original: int, copy: int, offset: int) -> int:
        return os.pwrite(copy, b"what the disk got", 0) if offset == 0 else 0

    monkeypatch.setattr("mvs.store.hashing.copy_block", bad_copy)
    with source.open("rb") as original, target.open("w+b") as copy:
        assert copy_open(original.fileno(), copy.fileno(), _nothing)[0] == _id(target) != _id(source)


@pytest.mark.parametrize("way", WAYS)
def test_whoever_stops_it_gets_his_error_and_no_thread_stays(tmp_path: Path, way: Way) -> None:
    """A thread that waits for ever keeps the program from ending."""

    def stop(amount: int) -> None:
        raise Stop

    (tmp_path / "source").write_bytes(bytes(9 * MIB))
    before = set(threading.enumerate())
    with pytest.raises(Stop):
        _go(tmp_path, way, stop)
    assert set(threading.enumerate()) <= before


@pytest.mark.parametrize("way", WAYS)
def test_a_read_error_reaches_the_caller(tmp_path: Path, way: Way, monkeypatch: pytest.MonkeyPatch) -> None:
    """It happens in another thread, where it would be lost and the id be that of a part."""
    (tmp_path / "source").write_bytes(bytes(3 * MIB))
    preadv = os.preadv

    def fail_later(fd: int, buffers: list[bytearray], offset: int) -> int:
        if offset > 0:
            raise OSError(5, "Input/output error")
        return preadv(fd, buffers, offset)

    monkeypatch.setattr(os, "preadv", fail_later)
    before = set(threading.enumerate())
    with pytest.raises(OSError, match="Input/output"):
        _go(tmp_path, way, _nothing)
    assert set(threading.enumerate()) <= before


def _go(folder: Path, way: Way, advance: Advance) -> None:
    with (folder / "source").open("rb") as source, (folder / "target").open("w+b") as target:
        if way == "copy":
            copy_open(source.fileno(), target.fileno(), advance)
        else:
            hash_open(source.fileno(), advance, wide=way == "wide")
