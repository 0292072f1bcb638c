"""What is damaged or lost is damaged or lost for gc as well, also after a repair that could not mend it."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

import mvs
from mvs.errors import Corrupt
from tests.ops.dedup.families import loose_path, quick, save

FILES = {"weights.bin": os.urandom(3000)}


@pytest.fixture
def repo(tmp_path: Path) -> mvs.Repository:
    """Two versions of a model, of which the first one is about to be deleted."""
    made = quick(tmp_path / "repo")
    save(made, "net:v1", FILES)
    save(made, "net:v2", {"weights.bin": b"another"})
    return made


def pinned(repo: mvs.Repository) -> list[str]:
    repo.pin("net:v1")
    return ["mvs", "-C", str(repo.root.parent if repo.root.name == ".mvs" else repo.root), "unpin", "net"]


def aliased(repo: mvs.Repository) -> list[str]:
    repo.alias("net@prod", "net:v1")
    return ["mvs", "alias", "delete", "net@prod"]


def neither(repo: mvs.Repository) -> list[str]:
    return ["mvs", "gc", "--expire", "now"]


def removed(path: Path) -> None:
    path.unlink()


def emptied(path: Path) -> None:
    path.chmod(0o644)
    path.write_bytes(b"")


def a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def a_link_to_nothing(path: Path) -> None:
    path.unlink()
    path.symlink_to("nowhere")


KEEPS = [pinned, aliased, neither]
HARM = [removed, emptied, a_folder, a_link_to_nothing]


@pytest.mark.parametrize("repaired", [False, True])
@pytest.mark.parametrize(
    ("keep", "harm"), [(keep, harm) for keep in KEEPS for harm in HARM if (keep, harm) != (neither, removed)]
)
def test_a_manifest_that_is_lost_stops_gc_until_nobody_asks_for_it(
    repo: mvs.Repository, keep: Callable[[mvs.Repository], list[str]], harm: Callable[[Path], None], repaired: bool
) -> None:
    """With its manifest nobody can tell which files a version has; when that turns up again, they must be there."""
    path = loose_path(repo, repo.get("net:v1").id)
    good = path.read_bytes()
    way_out = keep(repo)
    repo.delete("net:v1", force=True)
    harm(path)
    if repaired:
        done = repo.repair()
        assert not done.ok
        assert not repo.repair().ok
    assert not repo.fsck().ok
    with pytest.raises(Corrupt) as told:
        mvs.open(repo.root).gc()
    assert told.value.hint.split() in (way_out, ["mvs", "fsck"])
    if path.is_dir():
        path.rmdir()
    path.unlink(missing_ok=True)
    path.write_bytes(good)
    repo.gc()
    repo.restore("net:v1")
    assert repo.get("net:v1").read_bytes("weights.bin") == FILES["weights.bin"]
    assert repo.repair().ok


def test_what_a_gc_without_a_window_let_go_stops_no_other(repo: mvs.Repository) -> None:
    emptied(loose_path(repo, repo.get("net:v1").id))
    repo.delete("net:v1")
    assert not repo.repair().ok
    repo.gc(expire="now")
    assert repo.gc().objects == 0
    assert repo.fsck().ok
    assert repo.repair().ok


@pytest.mark.parametrize("keep", KEEPS)
def test_a_file_of_what_gc_keeps_without_a_tag_is_missed_and_mended(
    repo: mvs.Repository, keep: Callable[[mvs.Repository], list[str]], tmp_path: Path
) -> None:
    (tmp_path / "keep").mkdir()
    (tmp_path / "keep" / "any").write_bytes(FILES["weights.bin"])
    path = loose_path(repo, repo.get("net:v1").files[0].blob)
    way_out = keep(repo)
    repo.delete("net:v1", force=True)
    path.unlink()
    report = repo.fsck()
    assert [(found.kind, list(map(str, found.versions))) for found in report.findings if not found.harmless] == [
        ("object-missing", ["net:v1"])
    ]
    with pytest.raises(Corrupt) as told:
        repo.gc()
    assert told.value.hint.split() == way_out
    assert not repo.repair().ok
    assert repo.repair(tmp_path / "keep").ok
    repo.gc()
    repo.restore("net:v1")
    assert repo.get("net:v1").read_bytes("weights.bin") == FILES["weights.bin"]
