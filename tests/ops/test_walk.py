"""A folder is read as it is, or refused by the name of what cannot be saved."""

import os
import socket
from pathlib import Path

import pytest

from mvs.errors import EmptyFolder, ForbiddenPlace, InvalidPath, SourceChanged, SourceNotFound
from mvs.ops.saving.walk import check_place, contains, walk


def paths(folder: Path) -> list[str]:
    return [found.path for found in walk(str(folder)).files]


def test_files_are_found_at_every_depth_sorted(folder: Path) -> None:
    assert paths(folder) == ["config.json", "run.sh", "sub/vocab.txt", "weights.bin"]


def test_size_and_executable_bit_are_told(folder: Path) -> None:
    found = {file.path: file for file in walk(str(folder)).files}
    assert [found["run.sh"].executable, found["weights.bin"].executable] == [True, False]
    assert found["weights.bin"].size == 100_000
    assert walk(str(folder)).size == sum(file.size for file in found.values())


def test_a_single_file_is_a_version_of_one(folder: Path) -> None:
    assert paths(folder / "sub" / "vocab.txt") == ["vocab.txt"]


def test_empty_folders_are_kept(folder: Path) -> None:
    (folder / "logs" / "today").mkdir(parents=True)
    assert walk(str(folder)).dirs == ("logs/today",)


@pytest.mark.parametrize("name", ["", "nowhere", "nowhere/at/all", "a\0b", "x" * 300])
def test_a_path_that_cannot_be_read_is_refused(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SourceNotFound):
        walk(name)


def test_a_folder_that_holds_no_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty" / "sub").mkdir(parents=True)
    with pytest.raises(EmptyFolder, match="holds no file"):
        walk(str(tmp_path / "empty"))


def test_links_that_stay_inside_are_followed(folder: Path) -> None:
    """Frameworks link `model.safetensors` to a blob beside it."""
    (folder / "link.bin").symlink_to("weights.bin")
    (folder / "also").symlink_to("sub")
    assert paths(folder) == [
        "also/vocab.txt",
        "config.json",
        "link.bin",
        "run.sh",
        "sub/vocab.txt",
        "weights.bin",
    ]


@pytest.mark.parametrize("target", ["../outside", "/etc/passwd", "..", "nowhere/../../outside"])
def test_links_that_leave_the_folder_are_refused(folder: Path, target: str) -> None:
    (folder.parent / "outside").write_text("secret")
    (folder / "sub" / "link").symlink_to(os.path.join("..", target) if not target.startswith("/") else target)
    with pytest.raises(InvalidPath, match="link"):
        walk(str(folder))


def test_a_sibling_with_the_same_beginning_is_outside(folder: Path) -> None:
    (folder.parent / "model2").mkdir()
    (folder.parent / "model2" / "x").write_text("x")
    (folder / "link").symlink_to(folder.parent / "model2" / "x")
    with pytest.raises(InvalidPath):
        walk(str(folder))


def test_links_in_a_circle_are_refused(folder: Path) -> None:
    (folder / "sub" / "up").symlink_to("..")
    with pytest.raises(InvalidPath, match="leads back"):
        walk(str(folder))


def test_a_link_to_nothing_is_refused(folder: Path) -> None:
    (folder / "link").symlink_to("missing")
    with pytest.raises(SourceNotFound, match="link"):
        walk(str(folder))


def test_a_folder_reached_by_a_link_is_read(folder: Path) -> None:
    (folder.parent / "current").symlink_to(folder)
    assert paths(folder.parent / "current") == paths(folder)


def test_pipes_and_sockets_are_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(folder / "pipe")
    with pytest.raises(InvalidPath, match="pipe"):
        walk(str(folder))
    (folder / "pipe").unlink()
    monkeypatch.chdir(folder)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket")
        with pytest.raises(InvalidPath, match="socket"):
            walk(str(folder))


def test_a_device_is_refused() -> None:
    with pytest.raises(InvalidPath):
        walk("/dev/null")


@pytest.mark.parametrize("other", ["Config.json", "CONFIG.JSON"])
def test_names_equal_but_for_case_are_refused(folder: Path, other: str) -> None:
    """On a Mac one of the two would be lost at checkout."""
    (folder / other).write_text("x")
    if len(list(folder.iterdir())) == 4:
        pytest.skip("this file system folds case itself")
    with pytest.raises(InvalidPath, match=other):
        walk(str(folder))


def test_names_that_are_not_utf8_are_refused(folder: Path) -> None:
    try:
        (folder / os.fsdecode(b"caf\xe9.bin")).write_text("x")
    except OSError:
        pytest.skip("this file system has only UTF-8 names")
    with pytest.raises(InvalidPath, match="not UTF-8"):
        walk(str(folder))


def test_what_belongs_to_mvs_is_left_out_and_told(folder: Path) -> None:
    (folder / ".mvs").mkdir()
    (folder / ".mvs" / "format").write_text("x")
    found = walk(str(folder))
    assert found.skipped == (".mvs",)
    assert [file.path for file in found.files] == ["config.json", "run.sh", "sub/vocab.txt", "weights.bin"]


def test_a_folder_that_held_still_is_unchanged(folder: Path) -> None:
    walk(str(folder)).check_unchanged()


@pytest.mark.parametrize("change", ["write", "shrink", "add", "remove", "replace", "mode", "mkdir"])
def test_every_change_is_noticed(folder: Path, change: str) -> None:
    """Otherwise a checkpoint is saved half of one step and half of the next."""
    found = walk(str(folder))
    file = folder / "config.json"
    if change == "write":
        file.write_text("longer than it was before")
    elif change == "shrink":
        os.truncate(file, 1)
    elif change == "add":
        (folder / "new").write_text("x")
    elif change == "remove":
        file.unlink()
    elif change == "replace":
        stamp = file.stat()
        (folder / "sub" / "new").write_text('{"layers": 3}')
        os.utime(folder / "sub" / "new", ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
        (folder / "sub" / "new").replace(file)
    elif change == "mode":
        file.chmod(0o755)
    else:
        (folder / "empty").mkdir()
    with pytest.raises(SourceChanged, match="changed while it was saved"):
        found.check_unchanged()


def test_the_store_is_not_saved_into_itself(folder: Path) -> None:
    store = folder / "sub"
    for root in (store, store / "objects"):
        with pytest.raises(ForbiddenPlace):
            check_place(str(root), [str(store)], taking=False)
    check_place(str(folder), [str(store)], taking=False)


def test_a_folder_that_holds_the_store_is_not_taken(folder: Path) -> None:
    with pytest.raises(ForbiddenPlace, match="must not be moved"):
        check_place(str(folder), [str(folder / "sub")], taking=True)


def test_a_place_is_found_behind_links_and_by_whole_names(folder: Path) -> None:
    (folder.parent / "alias").symlink_to(folder)
    assert contains(str(folder), str(folder.parent / "alias" / "sub"))
    assert not contains(str(folder), f"{folder}2")
    assert contains("/", str(folder))
