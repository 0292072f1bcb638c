"""One remote into another: whole, once, and whatever cuts it off."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

import mvs
from mvs.backends.buckets import Bucket
from mvs.errors import CorruptRemote, RemoteFailed, RemoteNotFound, TagExists
from tests.ops.dedup.families import save
from tests.ops.transfer.test_push_pull import BASE, TUNED, counted, joined, same, stored
from tests.store.remote.buckets import Broken, Counting


@pytest.fixture
def ours(tmp_path: Path) -> mvs.Repository:
    """A repository whose remote `origin` has two versions, an alias and a label."""
    repo = joined(tmp_path / "ours", str(tmp_path / "remote"))
    save(repo, "m:base", BASE)
    repo.push()
    save(repo, "m:tuned", TUNED)
    repo.alias("m@prod", "m:tuned")
    repo.label("m:base", {"stage": "old"})
    repo.push()
    return repo


def read(repo: mvs.Repository, url: Path) -> list[mvs.Version]:
    """Return all that is at a remote, as somebody has it who pulls from there."""
    clone = mvs.clone(str(url), url.parent / f"clone-of-{url.name}")
    assert not clone.fsck(level="full").findings
    return clone.list()


def test_the_other_one_has_all_of_it(ours: mvs.Repository, tmp_path: Path) -> None:
    second = tmp_path / "second"
    planned = ours.plan_mirror("origin", str(second))
    done = ours.mirror("origin", str(second))
    assert done == planned
    assert (set(done.versions), done.aliases, done.notes) == ({"m:base", "m:tuned"}, ("m@prod",), ("m:base",))
    assert done.bytes == sum(path.stat().st_size for path in second.rglob("*.pack"))
    for one, other in zip(read(ours, second), ours.list(), strict=True):
        assert same(one, other)


def test_again_only_what_is_new_goes(ours: mvs.Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    second = str(tmp_path / "second")
    ours.mirror("origin", second)
    entries = sorted(Path(second, "log").iterdir())
    buckets = counted(monkeypatch, Counting)
    assert ours.mirror("origin", second).packs == 0
    assert not any(asked.startswith(("range", "upload")) for bucket in buckets for asked in bucket.asked)
    assert sorted(Path(second, "log").iterdir()) == entries
    save(ours, "m:next", b"next")
    ours.alias("m@prod", "m:next")
    ours.label("m:base", {"stage": ""})
    ours.push()
    done = ours.mirror("origin", second)
    assert (done.versions, done.aliases, done.notes, done.packs) == (("m:next",), ("m@prod",), ("m:base",), 1)


def test_what_only_the_other_one_has_stays(ours: mvs.Repository, tmp_path: Path) -> None:
    theirs = joined(tmp_path / "theirs", str(tmp_path / "second"))
    save(theirs, "n:own", b"own")
    theirs.alias("n@prod", "n:own")
    theirs.push()
    ours.mirror("origin", str(tmp_path / "second"))
    assert {str(version.tag): version.aliases for version in theirs.remote().list()} == {
        "n:own": ("prod",),
        "m:base": (),
        "m:tuned": ("prod",),
    }
    save(theirs, "m:other", b"other")
    theirs.push()
    save(ours, "m:other", b"another")
    ours.push()
    with pytest.raises(TagExists, match="m:other"):
        ours.mirror("origin", str(tmp_path / "second"))


@pytest.mark.parametrize("jobs", [1, 3])
def test_cut_off_anywhere_it_goes_on(
    ours: mvs.Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, jobs: int
) -> None:
    second = tmp_path / "second"
    for after in range(200):
        with monkeypatch.context() as patch:
            counted(patch, lambda bucket, after=after: Broken(bucket, after))
            try:
                ours.mirror("origin", str(second), jobs=jobs)
            except RemoteFailed:
                if (second / "log").exists() and any((second / "log").iterdir()):
                    assert len(ours.plan_mirror("origin", str(second)).versions) in (0, 2)
                continue
            break
    assert len(read(ours, second)) == 2
    assert len(list(second.rglob("*.pack"))) == len(list((tmp_path / "remote").rglob("*.pack")))


class Meeting(Counting):
    """A bucket whose packs are read when so many readers have come."""

    def __init__(self, bucket: Bucket, readers: threading.Barrier) -> None:
        super().__init__(bucket)
        self._readers = readers

    def read_range(self, key: str, start: int, length: int) -> bytes:
        self._readers.wait()
        return super().read_range(key, start, length)


def test_several_packs_are_under_way_at_once(
    ours: mvs.Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One after the other, each waits for two servers in turn."""
    readers = threading.Barrier(2, timeout=60)
    counted(monkeypatch, lambda bucket: Meeting(bucket, readers))
    assert ours.mirror("origin", str(tmp_path / "second"), jobs=2).packs == 2
    assert not list((ours.store / "staging").iterdir())


# The second pack is cut off behind its first half.
KILLED = """
import os, signal, sys
from mvs.backends.buckets.folder import FolderBucket
real, uploads = FolderBucket.upload, []
def upload(self, key, path, advance, *, parts=1):
    uploads.append(key)
    if len(uploads) == 2:
        os.truncate(path, os.path.getsize(path) // 2)
        advance = lambda count: os.kill(os.getpid(), signal.SIGKILL)
    real(self, key, path, advance, parts=parts)
FolderBucket.upload = upload
from mvs.cli.main import run
run(sys.argv[1:])
"""


def test_killed_in_the_middle_it_goes_on_and_copies_no_pack_again(
    ours: mvs.Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    second = tmp_path / "second"
    save(ours, "m:more", bytes(range(256)) * 999)
    ours.push()
    root = str(Path(mvs.__file__).parents[1])
    words = [sys.executable, "-c", KILLED, "-C", str(ours.root.parent), "mirror", "origin", str(second), "-j", "1"]
    ended = subprocess.run(words, env={**os.environ, "PYTHONPATH": root}, capture_output=True, check=False)
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    [first] = second.rglob("*.pack")
    assert not list(second.glob("log/*"))
    assert len(ours.plan_mirror("origin", str(second)).versions) == 3
    buckets = counted(monkeypatch, Counting)
    ours.mirror("origin", str(second))
    asked = [each for bucket in buckets for each in bucket.asked if each.startswith(("range packs/", "upload"))]
    assert len([each for each in asked if each.startswith("upload")]) == 2
    assert not [each for each in asked if first.stem in each]
    assert len(read(ours, second)) == 3
    [left] = second.glob("uploads/*")
    os.utime(left, (0, 0))
    ours.add_remote("second", str(second))
    assert ours.remote("second").gc().unfinished == (f"uploads/{left.name}",)
    # What it had in staging is of a process that is dead.
    ours.gc(expire="now")
    assert not list((ours.store / "staging").iterdir())


def test_a_pack_that_is_not_what_it_is_named_after_goes_nowhere(ours: mvs.Repository, tmp_path: Path) -> None:
    pack = max((tmp_path / "remote").rglob("*.pack"), key=lambda path: path.stat().st_size)
    data = bytearray(pack.read_bytes())
    data[100] ^= 1
    pack.chmod(0o600)
    pack.write_bytes(data)
    with pytest.raises(CorruptRemote, match=pack.stem):
        ours.mirror("origin", str(tmp_path / "second"))
    assert ours.plan_mirror("origin", str(tmp_path / "second")).versions
    assert not list((ours.store / "staging").iterdir())


def test_a_bundle_is_mirrored_if_it_is_whole(ours: mvs.Repository, tmp_path: Path) -> None:
    ours.bundle(tmp_path / "all.mvs")
    ours.bundle(tmp_path / "thin.mvs", "m:tuned", since=["m:base"])
    assert len(ours.mirror(str(tmp_path / "all.mvs"), str(tmp_path / "second")).versions) == 2
    with pytest.raises(CorruptRemote, match="only a part"):
        ours.mirror(str(tmp_path / "thin.mvs"), str(tmp_path / "third"))
    with pytest.raises((RemoteNotFound, RemoteFailed)):
        ours.mirror(str(tmp_path / "nowhere"), str(tmp_path / "third"))
    assert not (tmp_path / "nowhere").exists()


def test_the_command_line(ours: mvs.Repository, tmp_path: Path, cli: Callable[..., Result]) -> None:
    at = ("-C", ours.root.parent)
    assert "would send 2 versions" in cli(*at, "mirror", "origin", tmp_path / "second", "--dry-run").output
    assert not stored(str(tmp_path / "second"))
    found = json.loads(cli(*at, "mirror", "origin", tmp_path / "second", "--json").output)
    assert (len(found["versions"]), found["aliases"]) == (2, ["m@prod"])
