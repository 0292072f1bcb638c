"""Whatever stops a gc, at whichever call: the store is whole, and the next gc finishes."""

import errno
import gc as garbage
import itertools
import os
import random
import shutil
from pathlib import Path
from typing import Any

import pytest

import mvs
from mvs.errors import MissingObject, MvsError, SyncFailed, VersionNotFound
from mvs.store.packs import writing
from mvs.store.packs.files import Packs
from tests.ops.dedup.families import quick, save
from tests.ops.dedup.test_interrupted import dying, through_os
from tests.ops.gc.stores import CONTENTS, DELETED, KEPT, check_kept, check_tidy, files_of, small_packs, worked
from tests.test_faults import MEANING, Fault, fill, small_disk
from tests.test_kill import FORKS

__all__ = ["small_disk"]


@pytest.fixture(autouse=True)
def _importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """A child imports this module by its name."""
    monkeypatch.syspath_prepend(Path(__file__).parents[3])


def gc(root: Path) -> None:
    mvs.open(root).gc(expire="now")


def finish(repo: mvs.Repository, way: int) -> None:
    """Check that all is whole, that whoever comes next may count on what is there, and that the next gc finishes."""
    check_kept(repo)
    came_back = {}
    if way % 3 == 0:
        # What is half gone must not be relied on.
        for tag, files in DELETED.items():
            save(repo, f"again-{tag}", files)
            came_back[f"again-{tag}"] = files
        check_kept(repo, KEPT | came_back)
    elif way % 3 == 1:
        for tag, files in DELETED.items():
            try:
                repo.restore(tag)
            except (MissingObject, VersionNotFound):
                continue
            came_back[tag] = files
        check_kept(repo, KEPT | came_back)
    # One with a longer window must not stumble over what the first one left.
    repo.gc(expire="7d")
    check_kept(repo, KEPT | came_back)
    repo.gc(expire="now")
    check_kept(repo, KEPT | came_back)
    check_tidy(repo)
    with small_packs():
        repo.dedup()
    check_kept(repo, KEPT | came_back)


def killed(tmp_path: Path, step: int, start: int = 1) -> None:
    worked(tmp_path / "template")
    count = 0
    for count, repo in enumerate(dying(gc, tmp_path / "template", tmp_path / "repo", range(start, 2000, step)), 1):
        finish(repo, count)
    assert count * step > 40


def test_killed_before_some_calls_nothing_is_lost_and_the_next_gc_finishes(tmp_path: Path) -> None:
    killed(tmp_path, 7)


@pytest.mark.deep
@pytest.mark.parametrize("turn", range(3))
def test_killed_before_any_call_nothing_is_lost_and_the_next_gc_finishes(tmp_path: Path, turn: int) -> None:
    worked(tmp_path / "template")
    for count, repo in enumerate(dying(gc, tmp_path / "template", tmp_path / "repo", range(1, 2000))):
        finish(repo, count + turn)


def live(root: Path) -> None:
    """Pack and collect without end."""
    repo = mvs.open(root)
    with small_packs():
        for count in itertools.count():
            save(repo, f"passing:v{count}", CONTENTS["other"])
            repo.dedup()
            repo.delete(f"passing:v{count}")
            repo.gc(expire="now")


def die_often(root: Path, lives: int) -> None:
    repo = worked(root)
    for _ in range(lives):
        process = FORKS.Process(target=live, args=(root,))
        process.start()
        process.join(random.uniform(0.05, 0.5))
        assert process.is_alive()
        process.kill()
        process.join()
        check_kept(repo)
    names = {version.tag.name for version in repo.list("passing*")}
    for name in names:
        repo.delete(name, all_versions=True)
    repo.gc(expire="now")
    check_kept(repo)
    check_tidy(repo)


def test_killed_at_random_moments_of_saving_packing_and_collecting_nothing_is_lost(tmp_path: Path) -> None:
    die_often(tmp_path / "repo", 5)


@pytest.mark.deep
def test_killed_at_many_random_moments_of_saving_packing_and_collecting_nothing_is_lost(tmp_path: Path) -> None:
    die_often(tmp_path / "repo", 300)


def refuse_everywhere(tmp_path: Path, number: int, *, lasting: bool, step: int) -> None:
    """Let a gc fail at some of its calls, one after another, until it meets no failure."""
    template = worked(tmp_path / "template")
    for moment in itertools.count(1, step):
        place = tmp_path / "repo"
        shutil.copytree(template.root.parent, place, symlinks=True)
        repo = mvs.open(place)
        fault = Fault(moment, number, lasting=lasting)
        failure: MvsError | None = None
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(writing, "open", through_os, raising=False)
            with fault.active():
                try:
                    repo.gc(expire="now")
                except MvsError as error:
                    failure = error
        where = f"call {moment}, {fault.refused[:1]}"
        if failure is not None and not isinstance(failure, SyncFailed):
            assert isinstance(failure, MEANING[number]), f"{where}: {failure!r}"
        finish(repo, moment)
        shutil.rmtree(place)
        if not fault.refused:
            break
    assert moment > 20


@pytest.mark.parametrize(
    ("number", "lasting"),
    [(errno.ENOSPC, True), (errno.EIO, False), (errno.EROFS, True)],
    ids=["full", "io", "read-only"],
)
def test_refused_at_some_calls_nothing_is_lost(tmp_path: Path, number: int, lasting: bool) -> None:
    refuse_everywhere(tmp_path, number, lasting=lasting, step=17)


@pytest.mark.deep
@pytest.mark.parametrize("lasting", [False, True], ids=["once", "lasting"])
@pytest.mark.parametrize("number", MEANING, ids=lambda number: errno.errorcode[number])
def test_refused_in_any_way_at_any_call_nothing_is_lost(tmp_path: Path, number: int, lasting: bool) -> None:
    refuse_everywhere(tmp_path, number, lasting=lasting, step=1)


def test_a_full_disk_is_made_room_on(small_disk: Path, tmp_path: Path) -> None:
    """Who meets a full disk asks gc for room: it must not need any to give some."""
    made = worked(tmp_path / "made")
    place = small_disk / "repo"
    shutil.copytree(made.root.parent, place, symlinks=True)
    repo = mvs.open(place)
    fill(small_disk)
    result = repo.gc(expire="now")
    assert result.freed > 30_000
    check_kept(repo)
    repo.gc(expire="now")
    check_kept(repo)
    check_tidy(repo)
    # Files of the disk must not be open when it is taken away.
    del repo
    garbage.collect()


def test_where_no_pack_can_be_written_again_the_rest_goes(tmp_path: Path) -> None:
    repo = worked(tmp_path / "repo")
    wanted = repo.plan_gc(expire="now")
    assert wanted.kept, "no pack was to be written again"

    def full(*_: Any, **__: Any) -> Any:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(writing, "open", full, raising=False)
        result = repo.gc(expire="now")
    assert 0 < result.freed < wanted.freed
    check_kept(repo)
    repo.gc(expire="now")
    check_tidy(repo)
    assert files_of(repo, "half:v1") == CONTENTS["half"]


def test_however_many_packs_are_written_at_once_they_are_the_same(tmp_path: Path) -> None:
    worked(tmp_path / "one")
    shutil.copytree(tmp_path / "one", tmp_path / "four")
    left = []
    for name, jobs in (("one", 1), ("four", 4)):
        repo = mvs.open(tmp_path / name)
        repo.gc(expire="now", jobs=jobs)
        left.append(sorted(path.name for path in repo.store.glob("packs/*/*.pack")))
        check_kept(repo)
    assert left[0] == left[1] != []


def test_a_pack_that_a_gc_which_was_cut_off_wrote_again_is_not_taken_for_the_old_one(tmp_path: Path) -> None:
    """The same records make the same pack: one name, for what comes and for what goes."""
    repo = worked(tmp_path / "repo")
    older = repo.plan_gc(expire="now").kept.keys()

    def cut_off(*_: object) -> None:
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mvs.store.aside.trash.Trash.take_object", cut_off)
        with pytest.raises(KeyboardInterrupt):
            repo.gc(expire="now")
    check_kept(repo)
    with pytest.MonkeyPatch.context() as patch:
        # Of two packs that serve as well the older one is chosen, and then written again.
        names = Packs.names
        patch.setattr(Packs, "names", lambda packs: sorted(names(packs), key=lambda name: name not in older))
        assert mvs.open(repo.root).plan_gc(expire="now").kept.keys() & older
        mvs.open(repo.root).gc(expire="now")
    check_kept(repo)
    repo.gc(expire="now")
    check_tidy(repo)


def test_an_empty_store_has_nothing_to_collect(tmp_path: Path) -> None:
    repo = quick(tmp_path / "repo")
    assert not any(repo.gc(expire="now"))
