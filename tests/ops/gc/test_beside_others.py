"""A gc beside saves, restores, dedups and readers, in every order that matters, and beside other processes."""

import hashlib
import itertools
import os
import shutil
import time
from collections.abc import Callable
from importlib import import_module
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

import pytest

import mvs
from mvs.backends.directory import Directory
from mvs.backends.locks import exclusive
from mvs.errors import Corrupt, NotFound, StoreBusy, VersionNotFound
from mvs.store.aside.trash import Trash
from mvs.store.store import Store
from tests.ops.dedup.families import as_files, quick, save
from tests.ops.gc.stores import (
    BASE,
    CONTENTS,
    DAY,
    DELETED,
    KEPT,
    Clock,
    check_closed,
    check_kept,
    check_swept,
    check_tidy,
    small_packs,
    worked,
)
from tests.test_kill import FORKS

PATIENCE = 120
MOMENTS = {
    "when it begins": ("mvs.store.aside.trash.Trash.empty", 1),
    "between the list and the refs": ("mvs.ops.gc.plan.present", 1),
    "after the mark": ("mvs.ops.gc.run._rewritten", 1),
    "before the lock": ("mvs.store.aside.trash.Trash.sweep_staging", 1),
    "after the lock": ("mvs.store.cache.views.Views.sweep", 1),
    "after manifests are taken": ("mvs.store.aside.trash.Trash.empty", 2),
    "after packs are taken": ("mvs.store.aside.trash.Trash.empty", 3),
    "after all is taken": ("mvs.store.aside.trash.Trash.empty", 4),
}


@pytest.fixture(autouse=True)
def _importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """A child imports this module by its name."""
    monkeypatch.syspath_prepend(Path(__file__).parents[3])


@pytest.fixture
def repo(tmp_path: Path) -> mvs.Repository:
    return worked(tmp_path / "repo")


def during_gc(repo: mvs.Repository, moment: str, work: Callable[[mvs.Repository], object], **options: Any) -> Any:
    """Collect, and do something else at a moment of it; return what gc did."""
    place, wanted = MOMENTS[moment]
    target, _, attribute = place.rpartition(".")
    calls = itertools.count(1)
    done = []
    with pytest.MonkeyPatch.context() as patch:
        module, _, last = target.rpartition(".")
        owner = getattr(import_module(module), last) if last[0].isupper() else import_module(target)
        there = getattr(owner, attribute)

        def meanwhile(*args: Any, **kwargs: Any) -> Any:
            if next(calls) == wanted:
                work(mvs.open(repo.root))
                done.append(moment)
            return there(*args, **kwargs)

        patch.setattr(owner, attribute, meanwhile)
        result = repo.gc(**{"expire": "now", **options})
    assert done == [moment]
    return result


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("tag", sorted(DELETED))
def test_a_save_that_finds_what_is_about_to_go_is_whole(repo: mvs.Repository, moment: str, tag: str) -> None:
    """The failure that others have: told that the store has the bytes, a moment before it has not."""
    during_gc(repo, moment, lambda other: save(other, "again:v1", DELETED[tag]))
    check_kept(repo, KEPT | {"again:v1": DELETED[tag]})
    repo.gc(expire="now")
    check_kept(repo, KEPT | {"again:v1": DELETED[tag]})
    check_tidy(repo)


@pytest.mark.parametrize("tag", sorted(DELETED))
def test_a_gc_between_a_look_and_the_publication_of_a_save_costs_it_nothing(
    repo: mvs.Repository, monkeypatch: pytest.MonkeyPatch, tag: str
) -> None:
    """The store had the content when it was staged; when it is named, it has not."""
    module = import_module("mvs.ops.saving.save")
    publish = getattr(module, "_publish")  # noqa: B009 - it is private
    ran: list[Any] = []

    def late(*args: Any, **kwargs: Any) -> Any:
        if not ran:
            ran.append(mvs.open(repo.root).gc(expire="now"))
        return publish(*args, **kwargs)

    monkeypatch.setattr(module, "_publish", late)
    save(repo, "again:v1", DELETED[tag])
    assert ran[0].versions == 7
    check_kept(repo, KEPT | {"again:v1": DELETED[tag]})


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("tag", sorted(DELETED))
def test_a_restore_beside_a_gc_gives_all_back_or_says_that_it_is_gone(
    repo: mvs.Repository, moment: str, tag: str
) -> None:
    back: list[str] = []

    def restore(other: mvs.Repository) -> None:
        try:
            other.restore(tag)
        except Corrupt:
            return
        back.append(tag)

    during_gc(repo, moment, restore)
    if not moment.endswith(("the lock", "taken")):
        assert back == [tag]
    check_kept(repo, KEPT | {tag: DELETED[tag] for tag in back})
    repo.gc(expire="now")
    check_kept(repo, KEPT | {tag: DELETED[tag] for tag in back})


# Before these gc has not looked yet, and finds it deleted.
@pytest.mark.parametrize("moment", sorted(MOMENTS.keys() - {"when it begins", "between the list and the refs"}))
def test_what_is_saved_and_deleted_while_a_gc_runs_can_be_restored(repo: mvs.Repository, moment: str) -> None:
    """Who asked for no window asked it of what was deleted before."""

    def come_and_go(other: mvs.Repository) -> None:
        save(other, "passing:v1", DELETED["other:v1"])
        other.delete("passing:v1")

    during_gc(repo, moment, come_and_go)
    repo.restore("passing:v1")
    check_kept(repo, KEPT | {"passing:v1": DELETED["other:v1"]})


@pytest.mark.parametrize("moment", MOMENTS)
def test_while_a_gc_runs_dedup_undo_and_another_gc_are_refused(repo: mvs.Repository, moment: str) -> None:
    def others(other: mvs.Repository) -> None:
        for work in (other.dedup, lambda: other.undo_dedup("tuned"), lambda: other.gc(expire="now")):
            with pytest.raises(StoreBusy, match="another dedup, gc or repair is at work in this store"):
                work()

    during_gc(repo, moment, others)
    check_kept(repo)
    check_tidy(repo)


def test_while_a_dedup_runs_a_gc_is_refused_and_a_plan_is_not(repo: mvs.Repository) -> None:
    with Store(repo.store).packing():
        with pytest.raises(StoreBusy, match="another dedup, gc or repair is at work in this store"):
            repo.gc(expire="now")
        assert repo.plan_gc(expire="now").freed > 0
    check_kept(repo)


def test_a_repository_that_is_open_for_long_finds_what_a_gc_wrote_again(
    repo: mvs.Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A service opens its store once, and gc runs every night."""
    for tag, files in KEPT.items():
        assert {file.path: repo.get(tag).read_bytes(file.path) for file in repo.get(tag).files} == files
    clock = Clock(monkeypatch)
    clock.now = time.time_ns() + 8 * DAY
    repo.delete("part:v1")
    # All that was deleted before goes, and the packs of this one are written again.
    assert mvs.open(repo.root).gc(expire="7d").packs == 4
    repo.restore("part:v1")
    for tag, files in KEPT.items():
        assert {file.path: repo.get(tag).read_bytes(file.path) for file in repo.get(tag).files} == files
    save(repo, "again:v1", KEPT["part:v1"])
    check_kept(repo, KEPT | {"again:v1": KEPT["part:v1"]})


def test_a_session_that_is_swept_before_it_is_locked_begins_again(
    repo: mvs.Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between making its folder and locking it a save looks like one that died."""
    swept: list[str] = []

    def late(path: str, **options: Any) -> Any:
        if "/staging/" in path and not swept:
            swept.append(path)
            mvs.open(repo.root).gc(expire="7d")
            assert not os.path.exists(os.path.dirname(path))
        return exclusive(path, **options)

    monkeypatch.setattr("mvs.store.staging.exclusive", late)
    save(repo, "new:v1", CONTENTS["base"])
    assert swept
    check_kept(repo, KEPT | {"new:v1": CONTENTS["base"]})
    check_swept(repo)


def test_a_session_whose_lock_a_gc_has_is_opened_anew(repo: mvs.Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    """The lock that is got at last may be of a folder that has moved to the trash."""
    waited: list[str] = []

    class Late:
        def __init__(self, path: str, **options: Any) -> None:
            self.inner = exclusive(path, **options)
            self.first = "/staging/" in path and not waited
            self.path = path

        def __enter__(self) -> None:
            self.inner.__enter__()
            if self.first:
                waited.append(self.path)
                (repo.store / "trash").mkdir(exist_ok=True)
                os.rename(os.path.dirname(self.path), repo.store / "trash" / "moved")

        def __exit__(self, *error: Any) -> None:
            self.inner.__exit__(*error)

    monkeypatch.setattr("mvs.store.staging.exclusive", Late)
    save(repo, "new:v1", CONTENTS["base"])
    assert waited
    check_kept(repo, KEPT | {"new:v1": CONTENTS["base"]})


def test_sessions_of_the_living_stay_and_those_of_the_dead_go(repo: mvs.Repository) -> None:
    """A long upload must not lose what it has staged; what a crash left must not stay for ever."""
    dead = repo.store / "staging" / "0123456789abcdef"
    dead.mkdir()
    (dead / "lock").touch()
    (dead / "part").write_bytes(bytes(1000))
    (repo.store / "staging" / "fedcba9876543210.tmp").write_bytes(bytes(100))
    (repo.store / "staging" / "notes.txt").write_text("not ours")
    with repo.create("draft:v1") as draft:
        (draft.path / "weights.bin").write_bytes(b"in the making")
        result = mvs.open(repo.root).gc(expire="now")
        assert (draft.path / "weights.bin").exists()
    assert result.staging == 1100
    assert not dead.exists()
    assert os.listdir(repo.store / "staging") == ["notes.txt"]
    check_kept(repo, KEPT | {"draft:v1": {"weights.bin": b"in the making"}})


def test_what_a_reader_left_that_died_as_it_wrote_to_the_cache_goes(
    repo: mvs.Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Readers are killed every day, and what each leaves would add up."""
    shutil.rmtree(repo.store / "cache")
    rename = os.rename

    def die(source: str, target: str) -> None:
        if "/cache/" in target:
            raise KeyboardInterrupt
        rename(source, target)

    monkeypatch.setattr(os, "rename", die)
    monkeypatch.setattr(Directory, "discard", lambda *_: None)
    with pytest.raises(KeyboardInterrupt):
        mvs.open(repo.root).get("tuned:v2").read_bytes("model.safetensors")
    monkeypatch.undo()
    assert os.listdir(repo.store / "staging") != []
    mvs.open(repo.root).gc(expire="now")
    check_kept(repo)
    check_swept(repo)


@pytest.mark.parametrize(("age", "expire", "stays"), [(1, "7d", True), (8, "7d", False), (1, "now", False)])
def test_a_draft_that_was_left_stays_as_long_as_what_was_deleted(
    repo: mvs.Repository, age: int, expire: str, stays: bool
) -> None:
    """What a training run wrote before it was killed is somebody's, for a while."""
    dead = repo.store / "staging" / "0123456789abcdef"
    (dead / "tree").mkdir(parents=True)
    (dead / "tree" / "weights.bin").write_bytes(bytes(1000))
    written = (dead / "tree" / "weights.bin").stat().st_mtime_ns - age * DAY
    os.utime(dead / "tree" / "weights.bin", ns=(written, written))
    for folder in (dead / "tree", dead):
        os.utime(folder, ns=(written - 100 * DAY, written - 100 * DAY))
    for _ in range(2):
        repo.gc(expire=expire)
        assert dead.exists() is stays


def test_readers_that_have_files_open_read_on(repo: mvs.Repository) -> None:
    repo.restore("base:v1")
    version = repo.get("base:v1")
    with version.open("vocab.txt") as file:
        repo.delete("base:v1")
        repo.gc(expire="now")
        assert file.read() == CONTENTS["base"]["vocab.txt"]


@pytest.mark.parametrize("link", [False, True], ids=["copied", "linked"])
@pytest.mark.parametrize("tag", ["text:v1", "tuned:v2"], ids=["loose", "packed"])
def test_a_checkout_that_a_deletion_overtakes_says_so(
    repo: mvs.Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tag: str, link: bool
) -> None:
    """Who is told that a file is lost looks for the damage, and there is none."""
    module = import_module("mvs.ops.giving.checkout")
    fill = getattr(module, "_fill")  # noqa: B009 - it is private

    def late(*args: Any, **options: Any) -> None:
        mvs.open(repo.root).delete(tag)
        mvs.open(repo.root).gc(expire="now")
        fill(*args, **options)

    monkeypatch.setattr(module, "_fill", late)
    with pytest.raises(VersionNotFound, match=f"version '{tag}' was deleted"):
        mvs.open(repo.root).checkout(tag, tmp_path / "out", link=link)
    assert not (tmp_path / "out").exists()


def content(word: str) -> dict[str, bytes]:
    """The files of a version, known from its name alone: the same for one number, whoever saves it."""
    number = word.rpartition(".")[2]
    seed = hashlib.sha256(str(int(number) % 5).encode()).digest()
    return {"weights.bin": seed * 2000, "vocab.txt": b"a\nb\n", "embed.bin": BASE["embed"].tobytes()}


def come_and_go(root: Path, worker: int, done: Event) -> None:
    """Save what others save and delete as well, and check that it is there, until told to stop."""
    repo = mvs.open(root / "repo")
    for count in itertools.count():
        if done.is_set() and count > 3:
            return
        word = f"{worker}.{count}"
        source = root / str(worker) / word
        source.mkdir(parents=True)
        for path, data in content(word).items():
            (source / path).write_bytes(data)
        tag = f"w{worker}:v{word}"
        repo.save(source, tag, move=count % 2 == 1)
        found = as_files(repo.checkout(tag, root / str(worker) / f"out-{word}"))
        assert found == content(word), tag
        if count % 3 == 1:
            repo.delete(tag)
        if count % 7 == 1:
            try:
                repo.restore(tag)
            except (Corrupt, NotFound):
                continue
        shutil.rmtree(root / str(worker) / f"out-{word}")


def beside_workers(root: Path, rounds: int) -> None:
    repo = quick(root / "repo")
    done = FORKS.Event()
    workers = [FORKS.Process(target=come_and_go, args=(root, number, done)) for number in range(3)]
    for worker in workers:
        worker.start()
    with small_packs():
        for number in range(rounds):
            for verb in (lambda: repo.gc(expire="now"), repo.dedup if number % 4 == 3 else lambda: None):
                try:
                    verb()
                except StoreBusy:
                    assert number >= 0
    done.set()
    for worker in workers:
        worker.join(PATIENCE)
    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    there = {str(version.tag): content(version.version) for version in repo.list()}
    check_kept(repo, there)
    repo.gc(expire="now")
    check_kept(repo, there)
    check_tidy(repo)
    for number in range(3):
        kept = {tag for tag in there if tag.startswith(f"w{number}:")}
        saved = {change.tag for change in repo.log(f"w{number}")}
        deleted = {change.tag for change in repo.log(f"w{number}") if change.event == "delete"}
        assert {str(tag) for tag in saved - deleted} <= kept


def test_other_processes_save_delete_and_read_while_gc_runs_in_a_loop(tmp_path: Path) -> None:
    """Nothing that was said to be saved may be gone, and no save may fail for a gc."""
    beside_workers(tmp_path, 40)


@pytest.mark.deep
def test_other_processes_save_delete_and_read_while_gc_runs_for_long(tmp_path: Path) -> None:
    beside_workers(tmp_path, 3000)


def test_what_goes_lies_in_trash_until_the_lock_is_free(repo: mvs.Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    """Unlinking terabytes takes minutes; nobody must wait for it."""
    seen = []
    there = Trash.empty

    def empty(trash: Trash) -> None:
        seen.append(len(os.listdir(repo.store / "trash")) if (repo.store / "trash").exists() else 0)
        with exclusive(str(repo.store / "lock"), patience=0):
            there(trash)

    monkeypatch.setattr(Trash, "empty", empty)
    result = repo.gc(expire="now")
    assert seen[0] == 0
    assert sum(seen) == result.objects + result.packs
    check_closed(repo)


def test_the_lock_is_held_for_a_part_of_what_goes_at_a_time(
    repo: mvs.Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A save waits for a part, however much there is to remove."""
    module = import_module("mvs.ops.gc.run")
    monkeypatch.setattr(module, "_OBJECTS", 2)
    monkeypatch.setattr(module, "_PACKS", 1)
    parts = []
    there = Trash.empty

    def empty(trash: Trash) -> None:
        if (repo.store / "trash").exists():
            parts.append(len(os.listdir(repo.store / "trash")))
        # What is new is met under the next lock.
        save(mvs.open(repo.root), f"again:v{len(parts)}", DELETED["base:v1"])
        there(trash)

    monkeypatch.setattr(Trash, "empty", empty)
    repo.gc(expire="now")
    assert len(parts) > 5
    assert max(parts) <= 2
    check_kept(repo, KEPT | {f"again:v{number + 1}": DELETED["base:v1"] for number in range(len(parts))})


def test_a_gc_that_cannot_tell_what_changed_begins_anew(repo: mvs.Repository) -> None:
    """Somebody tidies up what he does not know, or the disk has no room for one more line."""

    def change(other: mvs.Repository) -> None:
        save(other, "again:v1", DELETED["base:v1"])
        (repo.store / "changed").unlink()

    during_gc(repo, "before the lock", change)
    check_kept(repo, KEPT | {"again:v1": DELETED["base:v1"]})
    check_tidy(repo)
    assert not (repo.store / "changed").exists()
