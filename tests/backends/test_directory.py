"""What a backend promises: whole files under their keys, or none; failures told by their kind."""

import errno
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Never

import pytest

from mvs.backends.directory import Directory
from mvs.errors import MvsError, ReadOnlyStore, StorageFailed, StorageFull, SyncFailed


@pytest.fixture
def disk(tmp_path: Path) -> Directory:
    (tmp_path / "disk").mkdir()
    return Directory(str(tmp_path / "disk"), durable=True, temps="temps")


def _failing(number: int) -> Callable[..., Never]:
    def fail(*_: object, **__: object) -> Never:
        raise OSError(number, os.strerror(number))

    return fail


def _files(disk: Directory) -> dict[str, bytes]:
    root = Path(disk.root)
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


@pytest.mark.parametrize("size", [0, 1, (1 << 16) - 1, 1 << 16, (1 << 16) + 1, 3 << 20])
def test_what_is_put_is_read(disk: Directory, size: int) -> None:
    data = os.urandom(size)
    disk.put("a/b/c", data)
    assert disk.read("a/b/c") == data
    assert disk.size("a/b/c") == size
    assert _files(disk) == {"a/b/c": data}


def test_put_replaces_the_whole_file(disk: Directory) -> None:
    disk.put("a", b"long content")
    disk.put("a", b"short")
    assert _files(disk) == {"a": b"short"}


def test_what_is_not_there_is_told_apart_from_failure(disk: Directory) -> None:
    with pytest.raises(FileNotFoundError):
        disk.read("a/b")
    with pytest.raises(FileNotFoundError):
        disk.remove("a")
    assert disk.size("a/b") is None
    assert list(disk.entries("a")) == []
    disk.put("a", b"")
    assert disk.size("a/b") is None
    assert list(disk.entries("a/b")) == []


def test_only_a_regular_file_has_a_size(disk: Directory) -> None:
    """A link planted in a shared store would be taken for an object."""
    disk.put("a/b", b"x")
    os.symlink(disk.path("a/b"), disk.path("link"))
    assert disk.size("a") is None
    assert disk.size("link") is None


@pytest.mark.parametrize("step", ["write", "fsync", "rename"])
def test_a_put_that_fails_leaves_what_was_there(disk: Directory, step: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A ref half written is a version lost."""
    disk.put("a", b"old")
    with monkeypatch.context() as broken:
        broken.setattr(os, step, _failing(errno.EIO))
        with pytest.raises(StorageFailed):
            disk.put("a", b"new")
    assert _files(disk) == {"a": b"old"}


def test_a_put_killed_at_any_step_leaves_the_old_or_the_new(disk: Directory) -> None:
    """Kill it before its n-th call of the system, for every n, and look."""
    disk.put("a", b"old")
    code = f"""
import os, sys
from mvs.backends.directory import Directory
left = int(sys.argv[1])
def counted(call):
    def die_or_call(*args, **kwargs):
        global left
        if left == 0:
            os._exit(9)
        left -= 1
        return call(*args, **kwargs)
    return die_or_call
for name in ("open", "write", "fsync", "rename", "close"):
    setattr(os, name, counted(getattr(os, name)))
Directory({disk.root!r}, durable=True, temps="temps").put("a", b"new")
"""
    for left in range(40):
        done = subprocess.run([sys.executable, "-c", code, str(left)], check=False)
        if done.returncode == 0:
            break
        assert done.returncode == 9
        assert disk.read("a") in (b"old", b"new")
    assert left > 4
    assert disk.read("a") == b"new"


def test_a_short_write_is_continued(disk: Directory, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: write(fd, bytes(data[:3])))
    disk.put("a", b"0123456789")
    disk.append("log", b"0123456789\n", start=b"begin\n")
    assert disk.read("a") == b"0123456789"
    assert disk.read("log") == b"begin\n0123456789\n"


def test_everything_put_is_synced_before_it_has_its_name(disk: Directory, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a power cut the name would hold an empty file."""
    calls: list[str] = []
    fsync, rename = os.fsync, os.rename

    def spy_sync(fd: int) -> None:
        calls.append("sync folder" if stat.S_ISDIR(os.fstat(fd).st_mode) else "sync file")
        fsync(fd)

    def spy_rename(*args: Any) -> None:
        calls.append("name")
        rename(*args)

    disk.ensure("a")
    disk.ensure("temps")
    monkeypatch.setattr(os, "fsync", spy_sync)
    monkeypatch.setattr(os, "rename", spy_rename)
    disk.put("a/b", b"x")
    assert calls == ["sync file", "name", "sync folder"]


def test_a_new_folder_is_synced_into_the_one_above(disk: Directory, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[str] = []
    monkeypatch.setattr(disk, "sync", synced.extend)
    disk.ensure("a/b/c")
    assert synced == ["", "a", "a/b"]


def test_without_durable_nothing_is_synced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", _failing(errno.EIO))
    disk = Directory(str(tmp_path), durable=False, temps="temps")
    disk.put("a/b", b"x")
    disk.append("log", b"y\n", start=b"")
    assert disk.read("a/b") == b"x"


class TestAdopt:
    def test_a_file_gets_its_key_and_keeps_its_name(self, disk: Directory) -> None:
        staged = disk.temp(b"x")
        assert disk.adopt(staged, "objects/ab/c") is True
        assert disk.read("objects/ab/c") == b"x"
        assert os.path.samefile(staged, disk.path("objects/ab/c"))

    @pytest.mark.parametrize("links", [True, False])
    def test_an_existing_key_is_never_replaced(
        self, disk: Directory, links: bool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Of two writers of one tag, the second would win silently."""
        disk.put("k", b"first")
        staged = disk.temp(b"second")
        if not links:
            monkeypatch.setattr(os, "link", _failing(errno.EPERM))
        assert disk.adopt(staged, "k") is False
        assert disk.read("k") == b"first"
        assert Path(staged).read_bytes() == b"second"

    @pytest.mark.parametrize("number", [errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EXDEV])
    def test_without_hard_links_the_file_is_renamed(
        self, disk: Directory, number: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        staged = disk.temp(b"x")
        monkeypatch.setattr(os, "link", _failing(number))
        assert disk.adopt(staged, "k") is True
        assert disk.read("k") == b"x"
        assert not os.path.lexists(staged)

    @pytest.mark.parametrize("links", [True, False])
    def test_disown_takes_it_back(self, disk: Directory, links: bool, monkeypatch: pytest.MonkeyPatch) -> None:
        """The user's only copy may be the file in staging."""
        staged = disk.temp(b"x")
        if not links:
            monkeypatch.setattr(os, "link", _failing(errno.EPERM))
        disk.adopt(staged, "k")
        disk.disown(staged, "k")
        assert disk.size("k") is None
        assert Path(staged).read_bytes() == b"x"

    def test_another_failure_is_not_taken_for_missing_links(
        self, disk: Directory, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        staged = disk.temp(b"x")
        monkeypatch.setattr(os, "link", _failing(errno.ENOSPC))
        with pytest.raises(StorageFull):
            disk.adopt(staged, "k")
        assert _files(disk) == {os.path.relpath(staged, disk.root): b"x"}


class TestAppend:
    def test_a_new_file_begins_with_its_first_line(self, disk: Directory) -> None:
        disk.append("a/log", b"1\n", start=b"begin\n")
        disk.append("a/log", b"2\n3\n", start=b"begin\n")
        assert disk.read("a/log") == b"begin\n1\n2\n3\n"

    def test_a_line_that_was_cut_off_is_closed_first(self, disk: Directory) -> None:
        """The next event would be lost with the torn one."""
        disk.put("log", b"begin\n1\n2 cut o")
        disk.append("log", b"3\n", start=b"begin\n")
        assert disk.read("log") == b"begin\n1\n2 cut o\n3\n"

    @pytest.mark.parametrize("written", [0, 3])
    def test_what_cannot_be_written_whole_is_taken_back(
        self, disk: Directory, written: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        disk.append("log", b"1\n", start=b"begin\n")
        write = os.write
        budget = [written]

        def fill_up(fd: int, data: bytes) -> int:
            if not budget[0]:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            budget[0] -= (count := write(fd, bytes(data[: budget[0]])))
            return count

        with monkeypatch.context() as full:
            full.setattr(os, "write", fill_up)
            with pytest.raises(StorageFull):
                disk.append("log", b"22222\n", start=b"begin\n")
        assert disk.read("log") == b"begin\n1\n"

    def test_a_failed_sync_is_no_success(self, disk: Directory, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(os, "fsync", _failing(errno.EIO))
        with pytest.raises(SyncFailed):
            disk.append("log", b"1\n", start=b"begin\n")


def test_entries_are_what_lies_in_a_folder(disk: Directory) -> None:
    disk.put("a/@v1", b"")
    disk.put("a/b/@v2", b"")
    assert sorted(entry.name for entry in disk.entries("a")) == ["@v1", "b"]


def test_below_are_files_at_any_depth_and_no_folders(disk: Directory) -> None:
    disk.put("a/@v1", b"1")
    disk.put("a/b/c/@v2", b"22")
    disk.put("d/@v3", b"333")
    assert sorted(found.st_size for found in disk.below("a")) == [1, 2]
    assert list(disk.below("nowhere")) == []


def test_ensure_may_be_asked_twice(disk: Directory) -> None:
    disk.ensure("a/b")
    disk.ensure("a/b")
    assert os.path.isdir(disk.path("a/b"))


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (errno.ENOSPC, StorageFull),
        (errno.EDQUOT, StorageFull),
        (errno.EROFS, ReadOnlyStore),
        (errno.EACCES, ReadOnlyStore),
        (errno.EPERM, ReadOnlyStore),
        (errno.EIO, StorageFailed),
        (errno.ESTALE, StorageFailed),
    ],
)
@pytest.mark.parametrize("step", ["open", "write", "mkdir", "rename", "unlink"])
def test_failures_of_the_disk_are_told_by_what_to_do_about_them(
    disk: Directory, step: str, number: int, kind: type[MvsError], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bare OSError reaches the user without the path and without a way out."""
    acts: dict[str, Callable[[], object]] = {
        "open": lambda: disk.append("log", b"x\n", start=b""),
        "write": lambda: disk.put("a", b"x"),
        "mkdir": lambda: disk.put("b/c", b"x"),
        "rename": lambda: disk.put("a", b"x"),
        "unlink": lambda: disk.remove("a"),
    }
    disk.put("a", b"")
    monkeypatch.setattr(os, step, _failing(number))
    with pytest.raises(StorageFailed) as caught:
        acts[step]()
    assert type(caught.value) is kind
    assert caught.value.hint
    assert disk.root in str(caught.value)


def test_a_folder_that_cannot_be_opened_to_sync_it_is_told_as_well(
    disk: Directory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "open", _failing(errno.EIO))
    with pytest.raises(StorageFailed):
        disk.sync([""])


def test_a_read_that_fails_is_told_as_well(disk: Directory, monkeypatch: pytest.MonkeyPatch) -> None:
    disk.put("a", b"x")
    monkeypatch.setattr(os, "read", _failing(errno.EIO))
    with pytest.raises(StorageFailed):
        disk.read("a")


def test_a_failed_sync_is_never_success(disk: Directory, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel forgets the pages it could not write: a second fsync would say all is well."""
    monkeypatch.setattr(os, "fsync", _failing(errno.EIO))
    for act in (lambda: disk.put("a", b"x"), lambda: disk.temp(b"x"), lambda: disk.sync([""])):
        with pytest.raises(SyncFailed):
            act()
    assert disk.size("a") is None
