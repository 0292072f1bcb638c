"""Views: folders that hand out a version without copying, and that can be made again at any time."""

import os
import shutil
import stat
import threading
from pathlib import Path

import pytest

from mvs.errors import MissingObject
from mvs.format.ids import ObjectId
from mvs.format.manifest import FileEntry, Tree
from mvs.store.cache.views import discard
from mvs.store.store import Store

VERSION = ObjectId(b"\x07" * 32)
FILES = {"weights.bin": b"w" * 1000, "sub/deep/vocab.txt": b"a\nb\n", "empty": b"", "run.sh": b"#!/bin/sh\n"}


@pytest.fixture
def tree(store: Store) -> Tree:
    entries = [
        FileEntry(path, len(data), store.adding().put(data), path.endswith(".sh")) for path, data in FILES.items()
    ]
    return Tree.of(entries, ["hollow/inner"])


def _read(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def _without(folder: Path, name: str) -> None:
    folder.chmod(0o755)
    (folder / name).unlink()


def test_a_view_holds_the_files_and_empty_folders(store: Store, tree: Tree) -> None:
    view = store.views.path(VERSION, tree)
    assert _read(view) == FILES
    assert (view / "hollow" / "inner").is_dir()


def test_files_are_links_to_the_objects(store: Store, tree: Tree) -> None:
    """A copy of a large model for whoever looks at it would fill the disk."""
    view = store.views.path(VERSION, tree)
    for entry in tree.files:
        assert os.path.samefile(view / entry.path, store.objects.path(entry.blob)) is not entry.executable


def test_everything_in_it_is_read_only(store: Store, tree: Tree) -> None:
    """What is written through a link is written into the store."""
    view = store.views.path(VERSION, tree)
    assert {_mode(path) for path in [view, *view.rglob("*")] if path.is_dir()} == {0o555}
    assert {path.name: _mode(path) for path in view.rglob("*") if path.is_file()} == {
        "weights.bin": 0o444,
        "vocab.txt": 0o444,
        "empty": 0o444,
        "run.sh": 0o555,
    }


def test_an_executable_does_not_change_the_rights_of_its_object(store: Store, tree: Tree) -> None:
    store.views.path(VERSION, tree)
    assert {_mode(Path(store.objects.path(entry.blob))) for entry in tree.files} == {0o444}


def test_a_view_is_made_once(store: Store, tree: Tree) -> None:
    before = store.views.path(VERSION, tree).stat()
    after = store.views.path(VERSION, tree).stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


@pytest.mark.parametrize("name", ["weights.bin", "run.sh"])
def test_a_view_that_lacks_a_file_is_made_again(store: Store, tree: Tree, name: str) -> None:
    _without(store.views.path(VERSION, tree), name)
    assert _read(store.views.path(VERSION, tree)) == FILES


def test_a_view_that_lacks_a_folder_is_made_again(store: Store, tree: Tree) -> None:
    view = store.views.path(VERSION, tree)
    (view / "hollow").chmod(0o755)
    (view / "hollow" / "inner").rmdir()
    assert (store.views.path(VERSION, tree) / "hollow" / "inner").is_dir()


def test_a_view_that_holds_a_file_of_another_size_is_made_again(store: Store, tree: Tree) -> None:
    view = store.views.path(VERSION, tree)
    _without(view, "weights.bin")
    (view / "weights.bin").write_bytes(b"mine")
    assert _read(store.views.path(VERSION, tree)) == FILES


def test_a_removed_cache_is_made_again(store: Store, tree: Tree) -> None:
    store.views.path(VERSION, tree)
    shutil.rmtree(store.root / "cache")
    assert _read(store.views.path(VERSION, tree)) == FILES


def test_without_hard_links_files_are_copied(store: Store, tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    view = store.views.path(VERSION, tree)
    assert _read(view) == FILES
    assert _mode(view / "weights.bin") == 0o444
    assert not os.path.samefile(view / "weights.bin", store.objects.path(ObjectId.of(FILES["weights.bin"])))


def test_a_missing_object_leaves_no_half_of_a_view(store: Store, tree: Tree) -> None:
    os.unlink(store.objects.path(ObjectId.of(FILES["weights.bin"])))
    with pytest.raises(MissingObject):
        store.views.path(VERSION, tree)
    assert list((store.root / "cache" / "views").iterdir()) == []


def test_makers_at_the_same_time_all_get_a_whole_view(store: Store, tree: Tree) -> None:
    """Every worker of a training job asks for the same model at the same moment."""
    start = threading.Barrier(8)
    found: list[dict[str, bytes]] = []

    def make() -> None:
        start.wait()
        found.append(_read(store.views.path(VERSION, tree)))

    threads = [threading.Thread(target=make) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [FILES] * 8
    assert [path.name for path in (store.root / "cache" / "views").iterdir()] == [str(VERSION)]


def test_a_view_can_be_discarded_although_it_is_read_only(store: Store, tree: Tree) -> None:
    view = store.views.path(VERSION, tree)
    discard(str(view))
    assert not view.exists()
    assert store.objects.read(tree.files[0].blob) == FILES[tree.files[0].path]
