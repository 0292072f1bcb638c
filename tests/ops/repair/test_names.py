"""Journals say what names meant: what is lost of them neither brings back nor takes away a version."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import mvs
from mvs.errors import MvsError
from tests.ops.dedup.families import loose_path, quick, save

FILES = {"weights.bin": os.urandom(3000)}


@pytest.fixture
def repo(tmp_path: Path) -> mvs.Repository:
    """Two versions of a model, of which the first one was deleted."""
    made = quick(tmp_path / "repo")
    save(made, "net:v1", FILES)
    save(made, "net:v2", {"weights.bin": b"another"})
    made.delete("net:v1")
    return made


def journal(repo: mvs.Repository) -> Path:
    return repo.store / "journal" / "net" / "@events"


def tags(repo: mvs.Repository) -> set[str]:
    return {str(version.tag) for version in mvs.open(repo.root).list()}


def in_last_line(*places: int, other: int = 1) -> Callable[[Path], None]:
    def harm(path: Path) -> None:
        data = bytearray(path.read_bytes())
        start = data.rfind(b"\n", 0, -1) + 1
        for at in places:
            data[start + at if at >= 0 else len(data) + at] ^= other
        path.write_bytes(data)

    return harm


def removed(path: Path) -> None:
    path.unlink()


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def a_file_above(path: Path) -> None:
    shutil.rmtree(path.parent)
    path.parent.write_bytes(b"")


HARM = [in_last_line(60), in_last_line(60, 70), in_last_line(-2, other=3), removed, emptied, a_folder, a_file_above]


@pytest.mark.parametrize("harm", HARM)
def test_a_damaged_journal_stops_gc_and_its_repair_costs_and_brings_back_nothing(
    repo: mvs.Repository, harm: Callable[[Path], None]
) -> None:
    harm(journal(repo))
    assert not repo.fsck().ok
    with pytest.raises(MvsError) as told:
        mvs.open(repo.root).gc()
    assert told.value.hint == "mvs fsck --repair"
    assert repo.repair().ok
    assert tags(repo) == {"net:v2"}
    assert repo.repair().mended == ()
    repo.gc()
    repo.restore("net:v1")
    assert repo.get("net:v1").read_bytes("weights.bin") == FILES["weights.bin"]
    assert repo.fsck().findings == ()


@pytest.mark.parametrize("place", ["journal/net", "journal"])
def test_a_link_in_place_of_a_journal_stops_gc_and_stays(repo: mvs.Repository, place: str) -> None:
    path = repo.store / place
    path.rename(repo.store / "elsewhere")
    path.symlink_to(repo.store / "elsewhere")
    assert not repo.fsck().ok
    with pytest.raises(MvsError):
        mvs.open(repo.root).gc()
    assert not repo.repair().ok
    assert path.is_symlink()


def all_refs(repo: mvs.Repository) -> None:
    shutil.rmtree(repo.store / "refs")


def a_file_in_place_of_refs(repo: mvs.Repository) -> None:
    shutil.rmtree(repo.store / "refs" / "tags" / "net")
    (repo.store / "refs" / "tags" / "net").write_bytes(b"")


@pytest.mark.parametrize("harm", [all_refs, a_file_in_place_of_refs])
def test_lost_tags_are_damage_and_come_back(repo: mvs.Repository, harm: Callable[[mvs.Repository], None]) -> None:
    save(repo, "net:v3", {"weights.bin": b"a third"})
    before = tags(repo)
    harm(repo)
    assert not repo.fsck().ok
    assert repo.repair().ok
    assert tags(repo) == before
    repo.restore("net:v1")


@pytest.mark.parametrize(
    "place", ["refs/tags/net/@v2", "refs/tags/net/@latest", "refs/tags/net", "refs/aliases/net/@prod", "refs/aliases"]
)
def test_a_link_in_place_of_a_ref_is_damage_for_fsck_as_for_gc(repo: mvs.Repository, place: str) -> None:
    repo.alias("net@prod", "net:v2")
    path = repo.store / place
    path.rename(repo.store / "elsewhere")
    path.symlink_to(repo.store / "elsewhere")
    assert not repo.fsck().ok
    with pytest.raises(MvsError):
        repo.gc()
    assert not repo.repair().ok


def test_what_stands_in_the_way_of_names_is_moved(repo: mvs.Repository) -> None:
    latest = repo.store / "refs" / "tags" / "net" / "@latest"
    latest.unlink()
    latest.mkdir()
    (repo.store / "refs" / "tags" / "JUNK").mkdir()
    assert not repo.fsck().ok
    done = repo.repair()
    assert (done.ok, done.after.findings, len(done.quarantined)) == (True, (), 2)
    save(repo, "net:v4", {"weights.bin": b"a fourth"})
    assert str(repo.get("net").tag) == "net:v4"


@pytest.mark.parametrize(
    ("place", "line"),
    [
        ("journal/net/@events", b"mvs-journal 1"),
        ("refs/tags/net/@v2", b"mvs-ref 1"),
    ],
)
def test_what_a_later_release_wrote_is_left_alone(repo: mvs.Repository, place: str, line: bytes) -> None:
    path = repo.store / place
    data = path.read_bytes().replace(line, line[:-1] + b"2")
    path.write_bytes(data)
    assert not repo.repair().ok
    assert path.read_bytes() == data
    with pytest.raises(MvsError):
        repo.gc()


def test_a_tag_is_not_made_again_from_what_a_journal_said_before_a_line_was_lost(repo: mvs.Repository) -> None:
    """It was deleted and saved anew: by what is left of the journal it would mean the old content again."""
    save(repo, "net:v1", {"weights.bin": b"anew"}, reuse_tag=True)
    loose_path(repo, repo.get("net:v1").id).unlink()
    in_last_line(60, 70)(journal(repo))
    (repo.store / "refs" / "tags" / "net" / "@v1").write_bytes(b"?")
    for _ in range(2):
        repo.repair()
        with pytest.raises(MvsError):
            assert mvs.open(repo.root).get("net:v1").read_bytes("weights.bin") != FILES["weights.bin"]


def test_damaged_notes_are_made_again_from_the_journal(repo: mvs.Repository) -> None:
    repo.label("net:v2", {"stage": "trial", "by": "me"})
    repo.label("net:v2", {"stage": "production", "by": ""})
    path = repo.store / "refs" / "notes" / "net" / "@v2"
    good = path.read_bytes()
    path.write_bytes(b"")
    assert not repo.fsck().ok
    done = repo.repair()
    assert (done.ok, len(done.quarantined)) == (True, 1)
    assert path.read_bytes() == good


def test_damaged_notes_of_a_version_that_is_gone_go(repo: mvs.Repository) -> None:
    repo.restore("net:v1")
    repo.label("net:v1", {"stage": "trial"})
    path = repo.store / "refs" / "notes" / "net" / "@v1"
    path.write_bytes(b"")
    repo.delete("net:v1")
    repo.gc(expire="now")
    assert not repo.fsck().ok
    assert repo.repair().ok
    assert not path.exists()


@pytest.mark.parametrize("harm", [removed, emptied])
def test_init_gives_a_store_its_format_back_with_what_its_packs_need(
    repo: mvs.Repository, harm: Callable[[Path], None]
) -> None:
    repo.dedup()
    path = repo.store / "format"
    good = path.read_bytes()
    harm(path)
    with pytest.raises(MvsError) as told:
        mvs.open(repo.root).list()
    assert told.value.hint == "mvs init"
    mvs.init(repo.store.parent)
    assert path.read_bytes() == good
    assert tags(repo) == {"net:v2"}


@pytest.mark.parametrize("place", ["refs/tags/net", "journal/net", "refs/tags/net/@latest"])
def test_what_stands_in_the_way_of_a_save_is_told_as_a_failure_of_the_disk(repo: mvs.Repository, place: str) -> None:
    path = repo.store / place
    if path.is_dir():
        shutil.rmtree(path)
        path.write_bytes(b"")
    else:
        path.unlink()
        path.mkdir()
    with pytest.raises(MvsError, match=str(path)):
        save(repo, "net:v9", {"weights.bin": b"more"})
    assert repo.repair().ok
    save(repo, "net:v9", {"weights.bin": b"more"})
