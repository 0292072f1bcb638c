"""What is left of what went: packs that need each other, caches, drafts, and what somebody removed by hand."""

import os
import shutil
import time
from pathlib import Path

import pytest

import mvs
from mvs.backends.directory import Directory
from mvs.errors import Corrupt, StorageFull
from mvs.format.ids import ObjectId
from mvs.format.pack import Span
from mvs.ops.fsck import fsck
from mvs.running.progress import Silent
from mvs.store.aside.trash import Trash
from mvs.store.store import Store
from tests.ops.dedup.families import quick, save
from tests.ops.gc.stores import DAY, DELETED, KEPT, Clock, check_closed, check_kept, check_tidy, records, worked

A, B, C = (bytes([letter]) * 100 for letter in b"abc")


def pack(store: Store, plain: list[bytes], wholes: list[list[bytes]]) -> None:
    """Publish a pack of chunks, and of objects made of chunks."""
    with store.session() as session:
        writer = store.pack_writer(os.path.join(session.path, "pack"))
        for data in plain:
            writer.add(ObjectId.of(data), len(data), "raw", data)
        for parts in wholes:
            whole = b"".join(parts)
            spans = tuple(Span(ObjectId.of(part), 0, len(part)) for part in parts)
            writer.add(ObjectId.of(whole), len(whole), "concat", b"", spans)
        name = writer.finish()
        with store.exclusive():
            store.publisher().publish(writer, name)
        writer.discard()


def entwined(root: Path) -> mvs.Repository:
    """A store with three packs that need each other, and are needed by nothing."""
    repo = quick(root)
    save(repo, "stays:v1", {"weights.bin": b"weights"})
    save(repo, "parts:v1", {"a": A, "b": B, "c": C})
    store = Store(repo.store)
    pack(store, [A], [[B, B], [B, C]])
    pack(store, [B], [[C, A]])
    pack(store, [C], [[A, A]])
    repo.delete("parts:v1")
    for data in (A, B, C):
        (repo.store / "objects" / str(ObjectId.of(data))[:2] / str(ObjectId.of(data))[2:]).unlink()
    return repo


def test_packs_that_need_each_other_go(tmp_path: Path) -> None:
    repo = entwined(tmp_path / "repo")
    assert len(records(repo)) == 3
    assert repo.gc(expire="now").packs == 3
    assert records(repo) == {}
    check_kept(repo, {"stays:v1": {"weights.bin": b"weights"}})
    check_tidy(repo)


@pytest.mark.parametrize("taken", range(5))
def test_cut_off_between_packs_that_need_each_other_no_record_lacks_anything(
    tmp_path: Path, taken: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A save that finds such a record counts on it, and its version could not be read."""
    repo = entwined(tmp_path / "repo")
    there = Trash.take_pack
    count = 0

    def cut_off(trash: Trash, name: ObjectId) -> None:
        nonlocal count
        if count == taken:
            raise KeyboardInterrupt
        count += 1
        there(trash, name)

    with monkeypatch.context() as patch:
        patch.setattr(Trash, "take_pack", cut_off)
        if taken < 4:
            with pytest.raises(KeyboardInterrupt):
                repo.gc(expire="now")
        else:
            repo.gc(expire="now")
    check_closed(repo)
    for number, data in enumerate((A + A, B + B, C + A, B + C)):
        save(repo, f"again:v{number}", {"whole": data})
        assert mvs.open(repo.root).get(f"again:v{number}").read_bytes("whole") == data
    repo.gc(expire="now")
    check_closed(repo)
    repo.delete("again", all_versions=True)
    repo.gc(expire="now")
    check_tidy(repo)


def test_where_no_pack_can_be_written_packs_that_need_each_other_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repo = entwined(tmp_path / "repo")
    plan = mvs.ops.gc.plan(Store(repo.store), 2**63 - 1, host="here", progress=Silent(), rewrite=False)
    assert plan.packs == {}
    assert plan.bridges == {}


def test_what_is_kept_of_blobs_that_are_gone_goes_and_the_rest_stays(tmp_path: Path) -> None:
    repo = worked(tmp_path / "repo")
    folder = repo.store / "cache" / "sketches"
    before = {path.parent.name + path.name for path in folder.rglob("*") if path.is_file()}
    repo.gc(expire="now")
    after = {path.parent.name + path.name for path in folder.rglob("*") if path.is_file()}
    there = {str(id) for index in records(repo).values() for id in index}
    there |= {str(id) for id, _ in Store(repo.store).objects.loose()}
    assert after == before & there
    assert before - there


def test_no_window_leaves_the_draft_of_a_process_that_lives(tmp_path: Path) -> None:
    """A training run that writes its checkpoint while somebody needs room at once."""
    repo = worked(tmp_path / "repo")
    with repo.create("draft:v1") as draft:
        (draft.path / "weights.bin").write_bytes(b"weights")
        mvs.open(repo.root).gc(expire="now")
    check_kept(repo, KEPT | {"draft:v1": {"weights.bin": b"weights"}})


@pytest.mark.parametrize("jump", [-365, 365], ids=["back", "forward"])
@pytest.mark.parametrize("expire", ["7d", "now"])
def test_a_clock_that_jumps_costs_no_version(
    tmp_path: Path, jump: int, expire: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    repo = worked(tmp_path / "repo")
    clock = Clock(monkeypatch)
    clock.now = time.time_ns() + jump * DAY
    save(repo, "jumped:v1", {"weights.bin": b"weights"})
    with repo.create("draft:v1") as draft:
        (draft.path / "weights.bin").write_bytes(b"other")
        mvs.open(repo.root).gc(expire=expire)
    expected = KEPT | {"jumped:v1": {"weights.bin": b"weights"}, "draft:v1": {"weights.bin": b"other"}}
    check_kept(repo, expected)
    clock.now = time.time_ns() + DAY
    repo.gc(expire=expire)
    check_kept(repo, expected)


def test_a_clock_that_was_set_back_lets_nothing_go_early(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    repo = worked(tmp_path / "repo")
    Clock(monkeypatch).now = time.time_ns() - 365 * DAY
    repo.gc(expire="7d")
    repo.restore("other:v1")
    check_kept(repo, KEPT | {"other:v1": DELETED["other:v1"]})


def test_without_its_cache_a_store_is_collected_all_the_same(tmp_path: Path) -> None:
    repo = worked(tmp_path / "repo")
    for parent, _, _ in os.walk(repo.store / "cache"):
        os.chmod(parent, 0o755)
    shutil.rmtree(repo.store / "cache")
    repo.gc(expire="now")
    check_kept(repo)
    check_tidy(repo)


def test_without_journals_what_is_tagged_stays(tmp_path: Path) -> None:
    repo = worked(tmp_path / "repo")
    shutil.rmtree(repo.store / "journal")
    with pytest.raises(Corrupt, match="does not tell of"):
        repo.gc()
    repo.gc(expire="now")
    check_kept(repo)
    check_tidy(repo)


def test_without_a_pack_that_is_needed_nothing_goes(tmp_path: Path) -> None:
    repo = worked(tmp_path / "repo")
    repo.gc(expire="now")
    save(repo, "gone:v1", {"weights.bin": b"gone"})
    repo.delete("gone:v1")
    for path in sorted((repo.store / "packs").rglob("*.pack")):
        away = path.rename(repo.store / "away")
        with pytest.raises(Corrupt):
            mvs.open(repo.root).gc(expire="now")
        away.rename(path)
    repo.restore("gone:v1")
    check_kept(repo, KEPT | {"gone:v1": {"weights.bin": b"gone"}})
    assert fsck(Store(repo.store), [], level="full", share=1, progress=Silent()).findings == ()


def test_a_disk_without_room_for_one_more_name_is_made_room_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who has no file left to his quota asks gc for some."""
    repo = worked(tmp_path / "repo")

    def full(*_: object) -> None:
        raise StorageFull("no space left")

    with monkeypatch.context() as patch:
        for name in ("empty", "temp", "put"):
            patch.setattr(Directory, name, full)
        patch.setattr(Store, "session", full)
        result = repo.gc(expire="now")
    assert result.objects > 5
    assert result.packs == 1
    assert not (repo.store / "changed").exists()
    check_kept(repo)
    repo.gc(expire="now")
    check_kept(repo)
    check_tidy(repo)


def test_on_a_full_disk_who_is_gone_is_remembered_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    repo = mvs.init(tmp_path / "here", store=tmp_path / "store")
    other = mvs.init(tmp_path / "there", store=tmp_path / "store")
    save(repo, "gone:v1", {"weights.bin": b"gone"})
    repo.delete("gone:v1")
    shutil.rmtree(other.root.parent)

    def full(*_: object) -> None:
        raise StorageFull("no space left")

    with monkeypatch.context() as patch:
        patch.setattr(Directory, "put", full)
        result = repo.gc(expire="now")
    assert result.objects == 2
    assert result.vanished == (str(other.root.parent),)
