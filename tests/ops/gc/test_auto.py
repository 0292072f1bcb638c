"""A gc that saves start, and a store that is to fit into a size."""

import os
import random
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import mvs
from mvs.errors import InvalidConfig, SourceNotFound
from mvs.ops.gc import auto
from mvs.ops.gc.cap import usage
from mvs.repository import workspace
from mvs.store.store import Store
from tests.ops.dedup.families import quick, save
from tests.ops.gc.stores import CONTENTS, DAY, DELETED, KEPT, Clock, check_kept, worked

FILES = {"weights.bin": b"weights"}


def configured(repo: mvs.Repository, **settings: str) -> mvs.Repository:
    for key, value in settings.items():
        workspace.write_setting(repo.root, key.replace("__", ".").replace("_", "-"), value)
    return mvs.open(repo.root)


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The repositories for which a gc was started."""
    found: list[Path] = []
    monkeypatch.setattr(auto, "start", lambda _, control: found.append(control))
    return found


def test_unless_it_is_asked_for_no_save_starts_a_gc(tmp_path: Path, started: list[Path]) -> None:
    save(quick(tmp_path / "repo"), "net:v1", FILES)
    assert started == []


def test_saves_start_a_gc_now_and_then(tmp_path: Path, started: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    repo = configured(quick(tmp_path / "repo"), gc__auto="1d")
    for days, expected in ((0, 1), (0, 1), (1, 2), (0, 2), (-365, 3), (0, 3), (365, 4)):
        clock.now += days * DAY
        save(repo, f"net:v{clock.now}", FILES)
        assert len(started) == expected
    with repo.create("net:v2") as draft:
        (draft.path / "weights.bin").write_bytes(b"w")
    clock.now += DAY
    with repo.create("net:v3") as draft:
        (draft.path / "weights.bin").write_bytes(b"w")
    assert started == [repo.root] * 5


def test_a_save_that_fails_starts_none(tmp_path: Path, started: list[Path]) -> None:
    repo = configured(quick(tmp_path / "repo"), gc__auto="1d")
    with pytest.raises(SourceNotFound):
        repo.save(tmp_path / "nothing", "net:v1")
    assert started == []


@pytest.mark.parametrize(("key", "value"), [("gc__auto", "soon"), ("store__max_size", "much")])
def test_a_setting_that_cannot_be_read_is_told_before_anything_is_done(tmp_path: Path, key: str, value: str) -> None:
    repo = quick(tmp_path / "repo")
    with pytest.raises(InvalidConfig):
        configured(repo, **{key: value}).gc()


def test_one_that_is_not_due_does_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    monkeypatch.setattr(os, "nice", lambda _: 0)
    repo = worked(tmp_path / "repo")
    assert repo.gc_if_due() is None
    repo = configured(repo, gc__auto="1d")
    clock.now += 8 * DAY
    result = repo.gc_if_due()
    assert result is not None
    assert result.versions == 7
    repo.delete("text:v1")
    assert repo.gc_if_due() is None
    clock.now += DAY
    assert repo.gc_if_due() is not None


def test_one_beside_another_leaves_it_to_that(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "nice", lambda _: 0)
    repo = configured(quick(tmp_path / "repo"), gc__auto="1d")
    with Store(repo.store).packing():
        assert repo.gc_if_due() is None


def test_the_command_that_saves_neither_waits_nor_tells(tmp_path: Path) -> None:
    """Whoever runs it reads its output, and waits for the end of its pipe."""
    repo = configured(quick(tmp_path / "repo"), gc__auto="1d")
    (tmp_path / "model").write_bytes(b"weights")
    log = repo.store / "cache" / "gc" / "log"
    log.parent.mkdir(parents=True)
    # Whoever reads it is told when all that write to it have come to their end.
    os.mkfifo(log)
    with ThreadPoolExecutor() as pool:
        told = pool.submit(log.read_bytes)
        done = subprocess.run(
            [sys.executable, "-m", "mvs", "save", tmp_path / "model", "net:v1"],
            cwd=repo.root.parent,
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.split() == ["net:v1"]
        assert done.stderr == ""
        assert b"0 B came back" in told.result()
    assert Store(repo.store).recalled(auto.BEGAN) is not None


def test_what_cannot_be_started_fails_no_save(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    repo = configured(quick(tmp_path / "repo"), gc__auto="1d")

    def fail(*_: object, **__: object) -> None:
        raise OSError("no more processes")

    monkeypatch.setattr(subprocess, "run", fail)
    save(repo, "net:v1", FILES, dedup=False)
    assert repo.get("net:v1").read_bytes("weights.bin") == FILES["weights.bin"]


def test_a_store_that_fits_is_left_as_it_is(tmp_path: Path) -> None:
    repo = configured(worked(tmp_path / "repo"), store__max_size="1TB")
    views = sorted((repo.store / "cache" / "views").iterdir())
    fitted = repo.gc().fitted
    assert fitted is not None
    assert fitted.steps == ()
    assert fitted.before == fitted.after < fitted.limit
    assert sorted((repo.store / "cache" / "views").iterdir()) == views
    check_kept(repo)


def test_one_that_is_too_large_gives_up_caches_before_it_packs(tmp_path: Path) -> None:
    repo = worked(tmp_path / "repo")
    assert repo.get("tuned:v2").path.exists()
    repo.gc()
    repo = configured(repo, store__max_size=str(usage(Store(repo.store)) - 1000))
    fitted = repo.gc().fitted
    assert fitted is not None
    assert [step for step, _ in fitted.steps] == ["caches"]
    assert fitted.after <= fitted.limit
    check_kept(repo)


def test_one_that_is_far_too_large_is_packed_and_loses_nothing(tmp_path: Path) -> None:
    repo = quick(tmp_path / "repo")
    contents = {f"{name.replace(' ', '-')}:v1": files for name, files in CONTENTS.items()}
    for tag, files in contents.items():
        save(repo, tag, files)
    fitted = configured(repo, store__max_size="1kB").gc().fitted
    assert fitted is not None
    assert [step for step, _ in fitted.steps] == ["caches", "packing"]
    assert dict(fitted.steps)["packing"] > 20_000
    assert fitted.after > fitted.limit
    check_kept(repo, contents)


def test_versions_are_kept_however_small_the_store_is_to_be(tmp_path: Path) -> None:
    """Nothing may go that no rule names; what was deleted of late is kept as well."""
    repo = configured(worked(tmp_path / "repo"), store__max_size="0")
    repo.gc()
    check_kept(repo)
    repo.restore("other:v1")
    check_kept(repo, KEPT | {"other:v1": DELETED["other:v1"]})


@pytest.fixture
def checkpoints(tmp_path: Path) -> mvs.Repository:
    """Two names with four versions each, all of them packed; the store may take nothing at all."""
    repo = quick(tmp_path / "repo")
    for number in range(4):
        for name in ("net", "other"):
            data = random.Random(f"{name}{number}").randbytes(50_000)
            save(repo, f"{name}:v{number}", {"weights.bin": data}, dedup=True)
    return configured(repo, store__max_size="1kB")


def test_one_that_is_far_too_large_is_pruned_by_the_rules_of_the_settings(checkpoints: mvs.Repository) -> None:
    checkpoints.alias("net@prod", "net:v0")
    repo = configured(checkpoints, prune__names="net,nobody,gone/*", prune__keep_last="1", prune__where="size > 1kB")
    done = repo.gc(expire="now")
    assert done.fitted is not None
    assert done.fitted.pruned == ("net:v2", "net:v1")
    assert [step for step, _ in done.fitted.steps] == ["caches", "packing", "pruning"]
    assert dict(done.fitted.steps)["pruning"] > 0
    assert {str(version.tag) for version in repo.list("net")} == {"net:v3", "net:v0"}
    assert len(repo.list("other")) == 4


def test_what_is_pruned_for_the_size_can_be_restored(checkpoints: mvs.Repository) -> None:
    repo = configured(checkpoints, prune__keep_last="1")
    done = repo.gc()
    assert done.fitted is not None
    assert len(done.fitted.pruned) == 6
    assert dict(done.fitted.steps)["pruning"] == 0 < done.held
    for tag in done.fitted.pruned:
        repo.restore(tag)
    assert len(repo.list()) == 8


def test_a_store_that_fits_is_not_pruned(checkpoints: mvs.Repository) -> None:
    repo = configured(checkpoints, store__max_size="1GB", prune__keep_last="1")
    repo.gc()
    assert len(repo.list()) == 8


def test_settings_that_keep_nothing_prune_nothing(checkpoints: mvs.Repository) -> None:
    repo = configured(checkpoints, prune__names="net", prune__keep_last="0", prune__keep_parents="true")
    fitted = repo.gc().fitted
    assert fitted is not None
    assert [step for step, _ in fitted.steps] == ["caches", "packing"]
    assert len(repo.list()) == 8


@pytest.mark.parametrize("where", ["argument", "setting"])
def test_what_no_remote_has_is_not_pruned_where_that_is_asked_for(
    checkpoints: mvs.Repository, tmp_path: Path, where: str
) -> None:
    checkpoints.add_remote("origin", str(tmp_path / "remote"))
    checkpoints.push("net:v0")
    repo = configured(checkpoints, prune__keep_last="1", prune__only_pushed=str(where == "setting").lower())
    fitted = repo.gc(only_pushed=where == "argument").fitted
    assert fitted is not None
    assert fitted.pruned == ("net:v0",)


def test_a_remote_that_is_away_is_told_and_nothing_is_pruned(checkpoints: mvs.Repository, tmp_path: Path) -> None:
    checkpoints.add_remote("origin", str(tmp_path / "remote"))
    shutil.rmtree(tmp_path / "remote")
    repo = configured(checkpoints, prune__keep_last="1", prune__only_pushed="true")
    fitted = repo.gc().fitted
    assert fitted is not None
    assert fitted.pruned == ()


@pytest.mark.parametrize(
    "settings",
    [
        {"prune__keep_last": "-1"},
        {"prune__keep_within": "soon"},
        {"prune__keep_best": "metadata.loss"},
        {"prune__keep_last": "1", "prune__where": "size >"},
    ],
)
def test_rules_that_make_no_sense_are_refused_before_anything_goes(
    checkpoints: mvs.Repository, settings: dict[str, str]
) -> None:
    checkpoints.delete("net:v0")
    repo = configured(checkpoints, **settings)
    with pytest.raises(InvalidConfig, match="prune"):
        repo.gc(expire="now")
    assert repo.restore("net:v0")
