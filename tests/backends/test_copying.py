"""Copying: the same bytes by every way there is."""

import errno
import os
from pathlib import Path

import pytest

from mvs.backends.copying import BLOCK, copy_block


def _copy(source: Path, target: Path) -> None:
    with open(source, "rb") as original, open(target, "wb") as copy:
        offset = 0
        while count := copy_block(original.fileno(), copy.fileno(), offset):
            offset += count


@pytest.mark.parametrize("size", [0, 1, BLOCK - 1, BLOCK, BLOCK + 1])
@pytest.mark.parametrize("number", [None, errno.EXDEV, errno.ENOSYS, errno.EOPNOTSUPP])
def test_a_copy_holds_the_same_bytes(
    tmp_path: Path, size: int, number: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = os.urandom(size)
    (tmp_path / "source").write_bytes(data)
    if number is not None:

        def refuse(*_: object) -> int:
            raise OSError(number, "not here")

        monkeypatch.setattr(os, "copy_file_range", refuse, raising=False)
    _copy(tmp_path / "source", tmp_path / "target")
    assert (tmp_path / "target").read_bytes() == data


def test_a_full_disk_is_not_taken_for_a_missing_system_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "source").write_bytes(b"x")

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(os, "copy_file_range", full, raising=False)
    with pytest.raises(OSError, match="full"):
        _copy(tmp_path / "source", tmp_path / "target")
