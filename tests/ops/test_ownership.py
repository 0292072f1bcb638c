"""What becomes an object must be nobody else's to write to, and what is not ours must not be taken."""

import os
import sys
from pathlib import Path

import pytest

import mvs
from mvs.errors import ForbiddenPlace

linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells who has a file open for writing")


@linux
def test_a_file_that_is_still_open_for_writing_is_copied_into_the_store(repo: mvs.Repository) -> None:
    """A logger that goes on writing would change a version, and every other that shares the file."""
    with repo.create("bert:v1") as draft:
        log = (draft.path / "train.log").open("w")
        log.write("epoch 1\n")
        log.flush()
    log.write("epoch 2\n")
    log.close()
    assert repo.get("bert:v1").read_bytes("train.log") == b"epoch 1\n"


@linux
def test_a_file_that_is_still_open_for_writing_is_copied_by_a_move(repo: mvs.Repository, folder: Path) -> None:
    with (folder / "config.json").open("a") as config:
        repo.save(folder, "bert:v1", move=True)
        config.write("more")
    assert repo.get("bert:v1").read_bytes("config.json") == b'{"layers": 2}'


def test_a_hard_link_in_a_draft_does_not_share_its_bytes_with_the_store(repo: mvs.Repository, folder: Path) -> None:
    """Writing to the file of the user would change the version."""
    with repo.create("bert:v1") as draft:
        os.link(folder / "weights.bin", draft.path / "weights.bin")
    before = repo.get("bert:v1").read_bytes("weights.bin")
    (folder / "weights.bin").write_bytes(b"other")
    assert repo.get("bert:v1").read_bytes("weights.bin") == before


def test_a_fork_that_leaves_a_draft_neither_saves_nor_removes_it(repo: mvs.Repository) -> None:
    with repo.create("bert:v1") as draft:
        (draft.path / "weights.bin").write_bytes(b"weights")
        child = os.fork()
        if child == 0:
            try:
                draft.__exit__(None, None, None)
            finally:
                os._exit(0)
        os.waitpid(child, 0)
        assert repo.list() == []
    assert draft.version.read_bytes("weights.bin") == b"weights"


def test_a_draft_is_good_for_one_block(repo: mvs.Repository) -> None:
    draft = repo.create("bert:v1")
    with draft:
        (draft.path / "weights.bin").write_bytes(b"weights")
    with pytest.raises(RuntimeError, match="one `with` block"), draft:
        pass


def test_a_link_to_a_folder_is_not_moved(repo: mvs.Repository, folder: Path) -> None:
    """What it leads to is somebody's, and would be emptied."""
    (folder.parent / "link").symlink_to(folder)
    with pytest.raises(ForbiddenPlace, match="is a link"):
        repo.save(folder.parent / "link", "bert", move=True)
    assert (folder / "weights.bin").exists()


def test_a_folder_that_holds_another_store_is_not_moved(repo: mvs.Repository, folder: Path) -> None:
    """Every repository that shares it would lose its versions."""
    mvs.init(folder.parent / "other", store=folder / "shared")
    with pytest.raises(ForbiddenPlace, match="is a store"):
        repo.save(folder, "bert", move=True)
    assert mvs.open(folder.parent / "other").list() == []


def test_a_draft_that_is_being_written_cannot_be_moved_away(repo: mvs.Repository) -> None:
    with repo.create("bert:v1") as draft:
        (draft.path / "weights.bin").write_bytes(b"weights")
        with pytest.raises(ForbiddenPlace):
            repo.save(draft.path, "thief", move=True)
    assert draft.version.read_bytes("weights.bin") == b"weights"
