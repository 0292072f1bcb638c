"""Whatever is damaged, gc does not take for rubbish what it cannot see is needed; and it keeps to its own."""

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import mvs
from mvs.errors import Corrupt, CorruptPack, InvalidInput, MvsError
from mvs.format.lines.journal import Event, was_whole
from mvs.store.packs.files import Pack
from tests.ops.dedup.families import loose_path, save
from tests.ops.gc.stores import CONTENTS, DAY, DELETED, KEPT, Clock, check_kept, check_tidy, tree, worked


@pytest.fixture
def repo(tmp_path: Path) -> mvs.Repository:
    return worked(tmp_path / "repo")


def flip(path: Path, at: int = -1) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.unlink()
    path.write_bytes(data)


def cut(path: Path) -> None:
    data = path.read_bytes()
    path.unlink()
    path.write_bytes(data[:-1])


def empty(path: Path) -> None:
    path.unlink()
    path.touch()


def refused(repo: mvs.Repository, expire: str = "now") -> MvsError:
    """Check that gc refuses, plan and run alike, and has changed nothing; return what it says."""
    before = tree(repo)
    with pytest.raises(MvsError) as told:
        mvs.open(repo.root).plan_gc(expire=expire)
    with pytest.raises(type(told.value)) as failure:
        mvs.open(repo.root).gc(expire=expire)
    assert tree(repo) == before
    assert failure.value.message
    return failure.value


@pytest.mark.parametrize("damage", [flip, cut, empty])
@pytest.mark.parametrize("tag", sorted(KEPT))
def test_a_damaged_ref_stops_it(repo: mvs.Repository, tag: str, damage: Callable[[Path], None]) -> None:
    name, version = tag.split(":")
    path = repo.store / "refs" / "tags" / name / f"@{version}"
    damage(path)
    assert str(path) in refused(repo).message


@pytest.mark.parametrize("expire", ["7d", "now"])
@pytest.mark.parametrize("tag", sorted(KEPT))
def test_what_lost_its_ref_is_kept(
    repo: mvs.Repository, tag: str, expire: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The journal knows that it was saved, and of no deletion."""
    name, version = tag.split(":")
    path = repo.store / "refs" / "tags" / name / f"@{version}"
    data = path.read_bytes()
    path.unlink()
    Clock(monkeypatch).now = time.time_ns() + 365 * DAY
    repo.gc(expire=expire)
    path.write_bytes(data)
    check_kept(repo)


@pytest.mark.parametrize("expire", ["7d", "now"])
def test_when_all_refs_are_lost_nothing_is(repo: mvs.Repository, expire: str) -> None:
    """A folder that a backup left out must not cost all models."""
    (repo.store / "refs").rename(repo.store / "elsewhere")
    repo.gc(expire=expire)
    (repo.store / "elsewhere").rename(repo.store / "refs")
    check_kept(repo)


@pytest.mark.parametrize("damage", [flip, cut, empty, Path.unlink])
@pytest.mark.parametrize("tag", sorted(KEPT))
def test_a_damaged_manifest_stops_it(repo: mvs.Repository, tag: str, damage: Callable[[Path], None]) -> None:
    damage(loose_path(repo, repo.get(tag).id))
    error = refused(repo)
    assert isinstance(error, Corrupt)
    assert tag in error.message
    assert error.hint == f"mvs delete {tag}"


@pytest.mark.parametrize("tag", sorted(DELETED))
def test_a_damaged_manifest_that_could_be_restored_stops_it_until_it_need_not(repo: mvs.Repository, tag: str) -> None:
    id = next(str(change.old) for change in repo.log(tag.partition(":")[0]) if change.event == "delete")
    flip(loose_path(repo, id))
    error = refused(repo, "7d")
    assert error.hint == "mvs gc --expire now"
    repo.gc(expire="now")
    check_kept(repo)
    check_tidy(repo)


@pytest.mark.parametrize("damage", [flip, cut, empty])
def test_any_damaged_pack_index_stops_it(repo: mvs.Repository, damage: Callable[[Path], None]) -> None:
    for path in sorted((repo.store / "packs").rglob("*.pack")):
        data = path.read_bytes()
        damage(path)
        assert path.name in refused(repo).message
        path.unlink()
        path.write_bytes(data)
    check_kept(repo)


def test_a_pack_that_is_gone_stops_it_where_something_needs_it(repo: mvs.Repository) -> None:
    stopped = 0
    for path in sorted((repo.store / "packs").rglob("*.pack")):
        hidden = path.rename(repo.store / "hidden")
        try:
            check_kept(repo)
        except (MvsError, AssertionError):
            try:
                mvs.open(repo.root).plan_gc(expire="now")
            except Corrupt:
                stopped += 1
                refused(repo)
        hidden.rename(path)
    assert stopped > 1
    check_kept(repo)


def test_a_file_that_is_gone_stops_it(repo: mvs.Repository) -> None:
    blob = next(file.blob for file in repo.get("half:v1").files if file.path == "model.safetensors")
    # It was made loose again; what the packs had of it is not relied upon to be whole.
    repo.gc(expire="now")
    loose_path(repo, blob).unlink()
    error = refused(repo)
    assert "half:v1" in error.message


def test_a_damaged_file_does_not_outlive_its_good_copy_in_a_pack(repo: mvs.Repository) -> None:
    """Both are copies of one object; the one that goes must not be the good one."""
    save(repo, "twice:v1", DELETED["doomed:v2"], dedup=True)
    repo.undo_dedup("twice:v1")
    blob = repo.get("twice:v1").files[0].blob
    flip(loose_path(repo, blob))
    repo.gc(expire="7d")
    before = tree(repo)
    with pytest.raises(Corrupt, match=blob):
        repo.gc(expire="now")
    assert tree(repo) == before
    loose_path(repo, blob).unlink()
    assert repo.get("twice:v1").read_bytes("model.safetensors") == DELETED["doomed:v2"]["model.safetensors"]


def test_a_damaged_record_is_not_written_again(repo: mvs.Repository) -> None:
    name, kept = next(iter(repo.plan_gc(expire="now").kept.items()))
    path = repo.store / "packs" / str(name)[:2] / f"{str(name)[2:]}.pack"
    index = Pack(str(path)).index
    record = max((index.records[id] for id in kept), key=lambda record: record.length)
    flip(path, record.offset)
    before = tree(repo)
    with pytest.raises(CorruptPack, match=path.name):
        mvs.open(repo.root).gc(expire="now")
    assert tree(repo) == before


def journal_of(repo: mvs.Repository, name: str) -> Path:
    return repo.store / "journal" / name / "@events"


def test_a_damaged_line_of_a_journal_stops_it_and_a_line_that_was_cut_off_does_not(repo: mvs.Repository) -> None:
    path = journal_of(repo, "doomed")
    data = path.read_bytes()
    with path.open("ab") as file:
        file.write(data.splitlines()[-1][:-7])
    repo.plan_gc(expire="7d")
    lines = data.splitlines(keepends=True)
    for number in range(1, len(lines)):
        for at in (0, 16, 40, -2):
            damaged = bytearray(lines[number])
            damaged[at] ^= 1
            path.write_bytes(b"".join([*lines[:number], bytes(damaged), *lines[number + 1 :]]))
            error = refused(repo, "7d")
            assert f"line {number + 1} of '{path}'" in error.message
            assert error.hint == "mvs fsck --repair"
    repo.gc(expire="now")
    check_kept(repo)


def test_a_line_cut_off_anywhere_was_never_whole() -> None:
    line = Event("delete", "v1", None, None, None, 1, 2, "me@here").encode().rstrip(b"\n")
    assert not any(was_whole(line[:length]) for length in range(len(line) - 1))


@pytest.mark.parametrize("place", ["refs/tags/bert", "refs/tags/half/@v2", "refs/aliases/bert"])
def test_a_link_that_may_hide_refs_stops_it(repo: mvs.Repository, place: str) -> None:
    """A team's refs that were moved to another disk, which is not mounted."""
    path = repo.store / place
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to("/not/mounted")
    assert str(path) in refused(repo).message


@pytest.mark.parametrize("name", ["@V2", "@"])
def test_a_ref_of_no_known_name_stops_it(repo: mvs.Repository, name: str) -> None:
    path = repo.store / "refs" / "tags" / "half" / name
    path.write_bytes(b"?")
    assert str(path) in refused(repo).message


@pytest.mark.parametrize("name", ["half", "gone"])
def test_what_an_alias_points_at_stays(repo: mvs.Repository, name: str) -> None:
    """Also when the last version of its name was deleted."""
    save(repo, f"{name}:v9", CONTENTS["other"])
    ref = repo.store / "refs" / "tags" / name / "@v9"
    alias = repo.store / "refs" / "aliases" / name / "@prod"
    alias.parent.mkdir(parents=True)
    alias.write_bytes(ref.read_bytes())
    repo.delete(f"{name}:v9", force=True)
    repo.gc(expire="now")
    repo.restore(f"{name}:v9")
    check_kept(repo, KEPT | {f"{name}:v9": CONTENTS["other"]})


def test_what_gc_cannot_name_stays(repo: mvs.Repository) -> None:
    """A file that an administrator put there, or a later release."""
    foreign = [
        "objects/zz/file",
        "objects/ab/README",
        "objects/ab/" + "0" * 61,
        "packs/ab/notes.txt",
        "packs/abc/" + "0" * 62 + ".pack",
        "staging/notes",
        "rescued/0123456789abcdef/weights.bin",
        "other/file",
    ]
    for place in foreign:
        (repo.store / place).parent.mkdir(parents=True, exist_ok=True)
        (repo.store / place).write_bytes(b"theirs")
    (repo.store / "staging" / "folder").mkdir()
    repo.gc(expire="now")
    assert all((repo.store / place).read_bytes() == b"theirs" for place in foreign)
    assert (repo.store / "staging" / "folder").is_dir()
    check_kept(repo)


def test_a_plan_changes_nothing(repo: mvs.Repository) -> None:
    before = tree(repo, without=("cache",))
    plan = repo.plan_gc(expire="now")
    assert plan.freed > 0
    assert plan.versions
    assert tree(repo, without=("cache",)) == before


def test_what_comes_back_and_what_is_held_are_told_true(repo: mvs.Repository) -> None:
    held = repo.plan_gc().held
    now = repo.plan_gc(expire="now")
    assert held == now.freed - repo.plan_gc().freed > 0
    assert now.held == 0
    before = sum(map(len, tree(repo).values()))
    result = repo.gc(expire="now")
    after = sum(map(len, tree(repo).values()))
    assert result.freed == pytest.approx(before - after, rel=0.02)


def test_records_of_a_pack_that_is_written_again_are_the_same_bytes(repo: mvs.Repository) -> None:
    def stored() -> dict[str, bytes]:
        packs = mvs.open(repo.root)._store.objects.packs
        found: dict[str, bytes] = {}
        for name in packs.names():
            pack = packs.pack(name)
            found |= {str(record.id): pack.stored(record) for record in pack.index.records.values()}
        return found

    before = stored()
    assert repo.plan_gc(expire="now").kept
    repo.gc(expire="now")
    after = stored()
    assert 0 < len(after) < len(before)
    assert after.items() <= before.items()


def test_views_of_what_went_are_gone_also_when_an_earlier_gc_left_them(repo: mvs.Repository) -> None:
    """A view is links: as long as it is there, nothing comes back."""
    views = repo.store / "cache" / "views"
    left = set(os.listdir(views))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mvs.store.cache.views.Views.drop", lambda *_: None)
        repo.gc(expire="now")
    assert set(os.listdir(views)) == left
    repo.gc(expire="now")
    assert os.listdir(views) == [repo.get("tuned:v2").id]


@pytest.mark.parametrize("jump", [-365, 365], ids=["back", "forward"])
def test_no_window_frees_all_whatever_the_clock_said(
    repo: mvs.Repository, jump: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A deletion that a wrong clock put into the future must not stay for a year."""
    Clock(monkeypatch).now = time.time_ns() + jump * DAY
    repo.gc(expire="now")
    check_kept(repo)
    check_tidy(repo)


@pytest.mark.parametrize("expire", ["", "7", "-1d", "soon", "1y", "9" * 400 + "d", "nan d"])
def test_a_window_that_is_no_time_is_refused(repo: mvs.Repository, expire: str) -> None:
    before = tree(repo)
    with pytest.raises(InvalidInput):
        repo.gc(expire=expire)
    assert tree(repo) == before
