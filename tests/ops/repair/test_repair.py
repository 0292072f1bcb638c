"""Repair makes whole again what has its bytes anywhere, puts the rest out of the way, and loses nothing."""

import contextlib
import errno
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

import mvs
from mvs.errors import MissingObject, MvsError, SourceNotFound, StoreBusy
from mvs.format.ids import ObjectId
from mvs.format.layout import LOST
from mvs.ops.repair import Repaired
from mvs.ops.repair.bits import LONGEST, unflipped
from mvs.store.packs.files import Pack
from mvs.store.store import Store
from tests.ops.dedup.families import (
    as_files,
    loose_path,
    model,
    pack_files,
    quick,
    records,
    safetensors,
    save,
    tuned,
)
from tests.ops.gc.stores import check_closed
from tests.ops.test_fsck import blob, change, cut, flip, looks, places, ref_file, small, tables, told, tree

SHAPES = {"a": (96, 128), "b": (64, 128), "norm": (64,)}
BASE = model(shapes=SHAPES)
CONTENTS: dict[str, Mapping[str, bytes]] = {
    "bert:v1": {"model.safetensors": safetensors(BASE), "config.json": b'{"layers": 2}'},
    "bert:v2": {"model.safetensors": safetensors(tuned(BASE)), "config.json": b'{"layers": 2}'},
    "other:v1": {"weights.bin": os.urandom(40_000)},
}


@pytest.fixture
def repo(tmp_path: Path) -> mvs.Repository:
    """Two models, of which one was trained from the other, and a stranger."""
    made = quick(tmp_path / "repo")
    for tag, files in CONTENTS.items():
        save(made, tag, files)
    return made


@pytest.fixture
def good(repo: mvs.Repository, tmp_path: Path) -> Path:
    """A folder with checkouts of everything, in which no file has the name it has in a version."""
    place = tmp_path / "good"
    place.mkdir()
    for number, files in enumerate(CONTENTS.values()):
        for other, data in enumerate(files.values()):
            (place / f"{number}-{other}").write_bytes(data)
    return place


def check(repo: mvs.Repository, tags: tuple[str, ...] = tuple(CONTENTS)) -> None:
    """Check that these versions are what was saved, and that nothing stands on what is not there."""
    for tag in tags:
        version = mvs.open(repo.root).get(tag)
        assert {file.path: version.read_bytes(file.path) for file in version.files} == CONTENTS[tag], tag
        assert version.broken == ()
    check_closed(repo)
    assert os.listdir(repo.store / "staging") == []


def mended(done: Repaired) -> set[str]:
    return {what for what, _ in done.mended}


def damage(path: Path) -> None:
    """Damage a file beyond the one bit that could be searched for, its size unchanged."""
    change(path, lambda data: bytes(len(data) // 2) + data[len(data) // 2 :][::-1])


def test_a_store_that_is_whole_is_left_as_it_is(repo: mvs.Repository) -> None:
    repo.dedup("bert")
    repo.get("bert").read_bytes("config.json")
    before = tree(repo.store)
    done = repo.repair()
    assert (done.ok, done.mended, done.quarantined, done.broken) == (True, (), (), ())
    assert tree(repo.store) == before


@pytest.mark.parametrize("gone", [True, False])
def test_a_damaged_file_is_made_again_from_a_checkout(repo: mvs.Repository, good: Path, gone: bool) -> None:
    id = blob(repo, "other:v1", "weights.bin")
    view = repo.get("other:v1").path
    if gone:
        loose_path(repo, id).unlink()
    else:
        damage(loose_path(repo, id))
    done = repo.repair(good)
    assert (done.ok, mended(done), done.quarantined) == (True, {id}, ())
    assert not (view / "weights.bin").exists()
    assert (repo.get("other:v1").path / "weights.bin").read_bytes() == CONTENTS["other:v1"]["weights.bin"]
    assert loose_path(repo, id).stat().st_mode & 0o777 == 0o444
    check(repo)


def test_what_cannot_be_mended_is_out_of_the_way_and_told(repo: mvs.Repository) -> None:
    """A save of the same content must not count on damaged bytes."""
    id = blob(repo, "other:v1", "weights.bin")
    damage(loose_path(repo, id))
    kept = loose_path(repo, id).read_bytes()
    done = repo.repair()
    assert [str(tag) for tag in done.broken] == ["other:v1"]
    assert done.quarantined == (f"quarantine/objects/{id[:2]}/{id[2:]}",)
    assert (repo.store / done.quarantined[0]).read_bytes() == kept
    assert told(done.after) == [("object-missing", ["other:v1"])]
    assert repo.get("other:v1").broken == ("weights.bin",)
    with pytest.raises(MissingObject, match=r"was damaged and could not be mended"):
        repo.get("other:v1").read_bytes("weights.bin")
    check(repo, ("bert:v1", "bert:v2"))
    again = repo.repair()
    assert (again.mended, again.quarantined, again.broken) == ((), (), done.broken)
    save(repo, "again:v1", CONTENTS["other:v1"])
    assert repo.get("other:v1").broken == ()
    assert repo.repair().ok
    assert os.listdir(repo.store / LOST) == []
    check(repo)


def test_it_is_mended_later_when_a_good_copy_turns_up(repo: mvs.Repository, good: Path) -> None:
    repo.dedup()
    damage(pack_files(repo)[0])
    first = repo.repair()
    assert not first.ok
    assert [path.split("/")[1] for path in first.quarantined] == ["packs"]
    assert {str(tag) for tag in first.broken} == set(CONTENTS)
    assert repo.repair(good).ok
    check(repo)


@pytest.mark.parametrize("encoding", ["planes", "delta", "raw", "zstd"])
def test_a_damaged_record_is_cut_out_of_a_file_that_has_it(repo: mvs.Repository, good: Path, encoding: str) -> None:
    """The files of a checkout are whole; what a record holds is a run of one of them."""
    repo.dedup()
    (path,) = pack_files(repo)
    record = max((r for r in records(repo) if r.encoding == encoding), key=lambda r: r.length, default=None)
    if record is None:
        pytest.skip(f"nothing was stored as {encoding}")
    change(path, flip(record.offset + record.length // 2))
    done = repo.repair(good)
    assert done.ok, done.after.findings
    assert str(record.id) in mended(done)
    assert done.quarantined == ()
    assert not path.exists()
    check(repo)


def test_a_pack_that_cannot_be_opened_is_made_good_by_files(repo: mvs.Repository, good: Path) -> None:
    repo.dedup()
    (path,) = pack_files(repo)
    change(path, cut)
    done = repo.repair(good)
    assert done.ok
    assert done.quarantined == (f"quarantine/{path.relative_to(repo.store)}",)
    check(repo)


def test_only_what_stands_on_a_lost_record_is_lost(repo: mvs.Repository) -> None:
    repo.dedup()
    (path,) = pack_files(repo)
    record = next(r for r in records(repo) if r.encoding == "delta")
    change(path, flip(record.offset + record.length // 2))
    done = repo.repair()
    assert [str(tag) for tag in done.broken] == ["bert:v2"]
    assert repo.get("bert:v2").broken == ("model.safetensors",)
    assert [Path(moved).name for moved in done.quarantined] == [path.name]
    check(repo, ("bert:v1", "other:v1"))
    save(repo, "again:v1", CONTENTS["bert:v2"])
    check(repo)


def test_what_stood_on_a_lost_record_comes_back_with_it(repo: mvs.Repository, tmp_path: Path) -> None:
    """A difference that is whole lies in quarantine; without what it stands on it was of no use."""
    repo.dedup()
    (path,) = pack_files(repo)
    record = max((r for r in records(repo) if r.encoding == "planes"), key=lambda r: r.length)
    change(path, lambda data: flip(record.offset + 9)(flip(record.offset)(data)))
    assert {str(tag) for tag in repo.repair().broken} == {"bert:v1", "bert:v2"}
    keep = tmp_path / "keep"
    keep.mkdir()
    (keep / "any").write_bytes(CONTENTS["bert:v1"]["model.safetensors"])
    done = repo.repair(keep)
    assert (done.ok, done.broken) == (True, ())
    check(repo)


def test_what_needs_only_whole_runs_of_a_lost_file_is_kept(repo: mvs.Repository) -> None:
    """`bert:v2` is made from tensors of `bert:v1`, and not from the one that is damaged."""
    repo.dedup()
    (path,) = pack_files(repo)
    norm = ObjectId.of(BASE["norm"].tobytes())
    record = next(r for r in records(repo) if r.id == norm)
    change(path, flip(record.offset))
    assert not repo.fsck(level="full").ok
    done = repo.repair()
    assert [str(tag) for tag in done.broken] == ["bert:v1"]
    check(repo, ("bert:v2", "other:v1"))


def test_a_damaged_base_is_mended_from_its_packed_copy(repo: mvs.Repository) -> None:
    repo.dedup()
    repo.undo_dedup("bert:v1")
    id = blob(repo, "bert:v1", "model.safetensors")
    damage(loose_path(repo, id))
    with pytest.raises(MvsError):
        repo.get("bert:v1").read_bytes("model.safetensors")
    done = repo.repair()
    assert (done.ok, mended(done)) == (True, {id})
    check(repo)


def test_another_store_is_a_source(repo: mvs.Repository, tmp_path: Path) -> None:
    """Also for what no checkout has: manifests."""
    repo.dedup("bert")
    copy = tmp_path / "copy"
    shutil.copytree(repo.store.parent, copy)
    (path,) = pack_files(repo)
    change(path, flip(-1))
    damage(loose_path(repo, repo.get("other:v1").id))
    damage(loose_path(repo, blob(mvs.open(copy), "other:v1", "weights.bin")))
    assert repo.repair(copy).ok
    check(repo)


def test_one_flipped_bit_of_a_manifest_is_found_and_flipped_back(repo: mvs.Repository) -> None:
    """No checkout has a manifest."""
    place = loose_path(repo, repo.get("bert:v1").id)
    change(place, flip(200))
    done = repo.repair()
    assert done.ok
    assert "one bit" in done.mended[0].how
    check(repo)


@pytest.mark.parametrize("how", ["damaged", "lost", "another id"])
def test_a_ref_is_made_again_from_its_manifest(repo: mvs.Repository, how: str) -> None:
    before = looks(repo)
    place = ref_file(repo, "bert:v2")
    if how == "lost":
        place.unlink()
    else:
        change(place, cut if how == "damaged" else flip(30))
    done = repo.repair()
    assert done.ok
    assert done.after.findings == ()
    assert looks(repo) == before


def test_a_damaged_ref_is_made_again_without_its_journal(repo: mvs.Repository) -> None:
    shutil.rmtree(repo.store / "journal")
    change(ref_file(repo, "bert:v1"), cut)
    done = repo.repair()
    assert (done.ok, done.after.findings) == (True, ())
    assert [change.tag.version for change in repo.log("bert")] == ["v2", "v1"]
    check(repo)


def test_a_deleted_tag_does_not_come_back(repo: mvs.Repository) -> None:
    repo.delete("bert:v1")
    change(ref_file(repo, "bert:v2"), cut)
    assert repo.repair().ok
    assert [str(version.tag) for version in repo.list("bert")] == ["bert:v2"]


def test_a_tag_never_comes_to_mean_what_it_meant_before(repo: mvs.Repository) -> None:
    """Its manifest is lost, and that of a deleted version of the same tag is still there."""
    repo.delete("bert:v2")
    save(repo, "bert:v2", {"model.safetensors": b"something else"}, reuse_tag=True)
    loose_path(repo, repo.get("bert:v2").id).unlink()
    for journal in (True, False):
        if not journal:
            shutil.rmtree(repo.store / "journal")
        done = repo.repair()
        assert [str(tag) for tag in done.broken] == ["bert:v2"]
        with pytest.raises(MissingObject):
            repo.get("bert:v2")


def test_tables_that_hide_objects_are_made_again(repo: mvs.Repository) -> None:
    repo.dedup()
    repo.get("bert:v1").read_bytes("config.json")
    (table,) = tables(repo)
    change(table, flip(60))
    done = repo.repair()
    assert (done.ok, done.after.findings, mended(done)) == (True, (), {"cache/packs"})
    check(repo)


def test_a_damaged_journal_keeps_what_is_whole(repo: mvs.Repository) -> None:
    repo.delete("bert:v1")
    place = repo.store / "journal" / "bert" / "@events"
    before = repo.log("bert")
    change(place, flip(100))
    assert repo.repair().ok
    assert repo.log("bert") == before
    lines = place.read_bytes().split(b"\n")
    place.write_bytes(b"\n".join([lines[0], lines[1][:-9] + b'???????"}', *lines[2:]]))
    damaged = place.read_bytes()
    done = repo.repair()
    assert (done.ok, done.after.findings) == (True, ())
    assert [(event.event, event.tag.version) for event in repo.log("bert")] == [("delete", "v1"), ("save", "v2")]
    assert (repo.store / "quarantine" / "journal" / "bert" / "@events.2").read_bytes() == damaged
    assert done.quarantined == ("quarantine/journal/bert/@events.2",)


def test_a_pack_of_a_later_release_is_left_alone(repo: mvs.Repository) -> None:
    repo.dedup("other")
    (path,) = pack_files(repo)
    data = path.read_bytes().replace(b"mvs-pack 1\n", b"mvs-pack 2\n", 1)
    path.unlink()
    name = str(ObjectId.of(data))
    later = repo.store / "packs" / name[:2] / f"{name[2:]}.pack"
    later.parent.mkdir(exist_ok=True)
    later.write_bytes(data)
    done = repo.repair()
    assert not done.ok
    assert later.read_bytes() == data


def test_only_one_repairs_at_a_time_and_nobody_packs_meanwhile(repo: mvs.Repository) -> None:
    with Store(repo.store).packing(), pytest.raises(StoreBusy):
        repo.repair()


def test_folders_that_stand_in_the_way_are_moved(repo: mvs.Repository, good: Path) -> None:
    id = blob(repo, "other:v1", "weights.bin")
    for place in (loose_path(repo, id), ref_file(repo, "bert:v1"), repo.store / "journal" / "other" / "@events"):
        place.unlink()
        place.mkdir()
    done = repo.repair(good)
    assert (done.ok, done.after.findings) == (True, ())
    assert len(done.quarantined) == 3
    check(repo)


def test_a_file_system_without_links_is_repaired(
    repo: mvs.Repository, good: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object, **__: object) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    id = blob(repo, "other:v1", "weights.bin")
    damage(loose_path(repo, id))
    monkeypatch.setattr(os, "link", refused)
    done = mvs.open(repo.root).repair(good)
    assert (done.ok, mended(done)) == (True, {id})
    check(repo)


def test_a_source_that_is_no_folder_is_refused(repo: mvs.Repository, tmp_path: Path) -> None:
    with pytest.raises(SourceNotFound):
        repo.repair(tmp_path / "nowhere")


def test_a_source_that_lies_is_not_believed(repo: mvs.Repository, good: Path) -> None:
    id = blob(repo, "other:v1", "weights.bin")
    damage(loose_path(repo, id))
    for path in good.iterdir():
        path.write_bytes(bytes(path.stat().st_size))
    done = repo.repair(good)
    assert [str(tag) for tag in done.broken] == ["other:v1"]


def test_a_file_that_was_changed_elsewhere_still_gives_its_runs(repo: mvs.Repository, good: Path) -> None:
    repo.dedup()
    (path,) = pack_files(repo)
    record = max((r for r in records(repo) if r.encoding == "planes"), key=lambda r: r.length)
    change(path, flip(record.offset))
    for file in good.iterdir():
        change(file, flip(-1))
    assert repo.repair(good).ok
    assert Pack(str(pack_files(repo)[0])).index.records
    check(repo)


def test_a_bit_is_only_searched_for_in_what_is_small() -> None:
    data = b"some words"
    assert unflipped(flip(3)(data), lambda tried: tried == data) == data
    assert unflipped(data[1:], lambda tried: tried == data) is None
    assert unflipped(bytes(LONGEST + 1), lambda tried: True) is None


def flip_each(root: Path, step: int) -> None:
    """Flip bytes of a small store, each in a copy: a checkout gives what was saved or nothing, repair makes it good."""
    repo = small(root / "template")
    for version in repo.list():
        repo.checkout(version, root / "good" / version.name / version.version)
    before = looks(repo)
    tried = 0
    for path, at in places(repo, step):
        shutil.copytree(root / "template", root / "copy", symlinks=True)
        change(root / "copy" / path.relative_to(root / "template"), flip_bit(at))
        copy = mvs.open(root / "copy")
        for tag in ("bert:v1", "bert:v2", "other:v1"):
            dest = root / "out"
            with contextlib.suppress(MvsError):
                copy.checkout(tag, dest)
                assert as_files(dest) == as_files(root / "good" / tag.replace(":", "/")), f"{path} {at}"
            shutil.rmtree(dest, ignore_errors=True)
        done = copy.repair(root / "good")
        assert done.after.findings == (), f"{path} {at}"
        after = looks(copy)
        # Who saved what is told anew where a line of the journal is lost.
        assert {key: after[key] for key in before if "log" not in key} == {
            key: before[key] for key in before if "log" not in key
        }, f"{path} {at}"
        tried += 1
        shutil.rmtree(root / "copy")
    assert tried > 30


def flip_bit(at: int) -> Callable[[bytes], bytes]:
    return lambda data: data[:at] + bytes([data[at] ^ 1 << at % 8]) + data[at + 1 :]


def test_a_flipped_byte_is_refused_and_mended(tmp_path: Path) -> None:
    flip_each(tmp_path, 97)


@pytest.mark.deep
def test_every_flipped_byte_is_refused_and_mended(tmp_path: Path) -> None:
    flip_each(tmp_path, 1)


def test_a_journal_that_is_mended_still_tells_of_aliases_and_labels(repo: mvs.Repository, tmp_path: Path) -> None:
    """Without them a rollback has nowhere to go."""
    (tmp_path / "weights").write_bytes(b"1")
    for version in ("1", "2"):
        repo.save(tmp_path / "weights", f"moved:{version}")
        repo.alias("moved@prod", f"moved:{version}")
    repo.label("moved:1", {"stage": "production"})
    told = repo.log("moved")
    journal = repo.store / "journal" / "moved" / "@events"
    data = bytearray(journal.read_bytes())
    data[data.index(b'"event":"alias"') + 3] ^= 1
    journal.write_bytes(data)
    repo.repair()
    assert repo.log("moved") == told
    assert repo.fsck().ok
    assert repo.rollback_alias("moved@prod").version == "1"
