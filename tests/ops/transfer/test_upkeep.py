"""A remote kept in order, beside those who push to it."""

import os
import time
from pathlib import Path
from typing import Any

import pytest

import mvs
from mvs.backends.buckets import UPLOADS
from mvs.backends.directory import Directory
from mvs.errors import NeedsAll, RemoteFailed, VersionNotFound
from mvs.store.remote.remote import Remote
from tests.ops.dedup.families import save
from tests.ops.transfer.test_push_pull import BASE, TUNED, joined, same, stored


@pytest.fixture
def url(tmp_path: Path) -> str:
    return str(tmp_path / "remote")


@pytest.fixture
def ours(tmp_path: Path, url: str) -> mvs.Repository:
    return joined(tmp_path / "ours", url)


def packs(url: str) -> list[Path]:
    return sorted(Path(url).rglob("*.pack"))


def test_what_was_deleted_there_stays_here_and_can_be_pushed_again(ours: mvs.Repository, folder: Path) -> None:
    version = ours.save(folder, "bert:v1")
    ours.push()
    assert ours.remote().delete("bert:v1") == ["bert:v1"]
    assert ours.remote().list() == []
    assert ours.get("bert:v1") == version
    assert len(ours.push().refs) == 1
    with pytest.raises(NeedsAll, match="must be asked for"):
        ours.remote().delete("bert")
    assert ours.remote().delete("bert", all_versions=True) == ["bert:v1"]
    save(ours, "bert:v2", b"x")
    ours.push()
    with pytest.raises(VersionNotFound):
        ours.remote().delete("bert:v9")


def test_gc_removes_what_no_version_there_needs_and_nothing_else(
    ours: mvs.Repository, tmp_path: Path, url: str, folder: Path
) -> None:
    save(ours, "m:base", BASE)
    ours.push()
    save(ours, "m:tuned", TUNED)
    ours.push()
    ours.save(folder, "other:v1")
    ours.push()
    ours.remote().delete("m:base", "other:v1")
    before = stored(url)
    planned = ours.remote().plan_gc()
    assert stored(url) == before
    done = ours.remote().gc()
    assert done == planned
    assert before - stored(url) >= done.bytes > 0
    # The fine-tune leans on the base, whose pack stays.
    theirs = joined(tmp_path / "theirs", url)
    theirs.pull()
    assert same(theirs.get("m:tuned"), ours.get("m:tuned"))
    assert ours.remote().fsck(share=1.0).findings == ()
    assert ours.remote().gc().bytes == 0


class Meanwhile:
    """Let something happen at a remote after a push has sent its packs, and before it says so."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, act: Any) -> None:
        self._act = act
        self.times = 0
        real = Remote.log.func  # type: ignore[attr-defined]

        def log(remote: Remote) -> Any:
            found = real(remote)
            commit = found.commit

            def late(make: Any) -> Any:
                def made(state: Any) -> Any:
                    entry = make(state)
                    if entry is not None and entry.versions and not self.times:
                        self.times += 1
                        self._act()
                    return entry

                return commit(made)

            found.commit = late
            return found

        monkeypatch.setattr(Remote, "log", property(log))


def test_a_push_that_counted_on_what_gc_gave_up_sends_it_again(
    ours: mvs.Repository, tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Borg, restic and TensorDex lost data here."""
    save(ours, "m:base", BASE)
    ours.push()
    keeper = joined(tmp_path / "keeper", url)
    keeper.remote().delete("m:base")
    version = save(ours, "m:tuned", TUNED)
    late = Meanwhile(monkeypatch, lambda: keeper.remote().gc())
    ours.push("m:tuned")
    assert late.times == 1
    monkeypatch.undo()
    assert ours.remote().fsck(share=1.0).findings == ()
    theirs = joined(tmp_path / "theirs", url)
    theirs.pull()
    assert same(theirs.get("m:tuned"), version)


def test_a_push_slower_than_two_collections_sends_its_packs_again(
    ours: mvs.Repository, tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    keeper = joined(tmp_path / "keeper", url)
    version = ours.save(folder, "bert:v1")

    def act() -> None:
        for _ in range(3):
            keeper.remote().gc()
        assert packs(url) == [], "what was sent and not named is gone by now"

    late = Meanwhile(monkeypatch, act)
    ours.push()
    assert late.times == 1
    monkeypatch.undo()
    theirs = joined(tmp_path / "theirs", url)
    theirs.pull()
    assert same(theirs.get("bert:v1"), version)
    assert ours.remote().fsck(share=1.0).findings == ()


def test_what_a_push_sent_outlives_one_collection(
    ours: mvs.Repository, tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    keeper = joined(tmp_path / "keeper", url)
    ours.save(folder, "bert:v1")
    seen: list[int] = []

    def act() -> None:
        keeper.remote().gc()
        seen.append(len(packs(url)))

    Meanwhile(monkeypatch, act)
    assert ours.push().packs == 1
    assert seen == [1]


@pytest.mark.parametrize("harm", ["gone", "cut", "flipped"])
def test_fsck_names_the_pack_and_the_versions_that_suffer(
    ours: mvs.Repository, url: str, folder: Path, harm: str
) -> None:
    ours.save(folder, "bert:v1")
    ours.push()
    assert ours.remote().fsck(share=1.0).findings == ()
    (pack,) = packs(url)
    data = bytearray(pack.read_bytes())
    pack.chmod(0o644)
    if harm == "gone":
        pack.unlink()
    elif harm == "cut":
        pack.write_bytes(data[:-1])
    else:
        data[20] ^= 1
        pack.write_bytes(data)
    found = ours.remote().fsck(share=1.0)
    ((message, tags),) = found.findings
    assert pack.stem in message
    assert tags == ("bert:v1",)
    assert ours.remote().fsck().findings == (() if harm == "flipped" else found.findings)


DAY = 86400


def begun(url: str, name: str, age: float) -> Path:
    """Leave in a remote what a push that was killed leaves, so many days ago."""
    path = Path(url, UPLOADS, name)
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"x" * 1000)
    then = time.time() - age * DAY
    os.utime(path, (then, then))
    return path


def test_what_killed_pushes_were_writing_is_told_and_goes_after_a_day(
    ours: mvs.Repository, url: str, folder: Path
) -> None:
    """Nobody else would ever remove it, and a pack is many gigabytes."""
    version = ours.save(folder, "bert:v1")
    ours.push()
    old = [begun(url, f"{number:016x}.tmp", 1.1) for number in range(2)]
    kept = [begun(url, "3" * 16 + ".tmp", 0.9), begun(url, "notes.txt", 9)]
    health = ours.remote().fsck()
    assert (health.findings, health.unfinished) == ((), (2, 2000))
    planned = ours.remote().plan_gc()
    assert all(path.exists() for path in old)
    done = ours.remote().gc()
    assert done == planned
    assert (done.files, len(done.unfinished), done.bytes) == (2, 2, 2000)
    assert not any(path.exists() for path in old)
    assert all(path.exists() for path in kept)
    assert ours.remote().fsck().unfinished == (0, 0)
    assert ours.remote().get("bert").read_bytes("config.json") == version.read_bytes("config.json")


def test_a_push_whose_file_is_removed_fails_and_the_next_one_goes_on(
    ours: mvs.Repository, url: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It slept for a day, and a collection took it for dead."""
    ours.save(folder, "bert:v1")
    real = Directory.sync_file

    def slept(disk: Directory, fd: int, path: str) -> None:
        real(disk, fd, path)
        if UPLOADS in path:
            os.unlink(path)

    with monkeypatch.context() as patched:
        patched.setattr(Directory, "sync_file", slept)
        with pytest.raises(RemoteFailed, match="was removed while it was written"):
            ours.push()
    assert ours.remote().list() == []
    assert len(ours.push().refs) == 1
    assert ours.remote().fsck(share=1.0).findings == ()
