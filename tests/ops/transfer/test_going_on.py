"""Transfers that were cut off go on where they were, keep a pace, and know when what they kept is damaged."""

from pathlib import Path
from typing import Any

import pytest

import mvs
from mvs.backends.buckets import Pace
from mvs.errors import CorruptRemote, RemoteFailed
from mvs.ops.transfer import receiving, sending
from tests.ops.dedup.families import save
from tests.ops.transfer.test_push_pull import BASE, TUNED, counted, joined, same
from tests.store.remote.buckets import Broken, Counting

RUN = 50_000


class Weighing(Broken):
    """A bucket that fails after some requests, and knows how much of packs was read."""

    def __init__(self, bucket: Any, after: int) -> None:
        super().__init__(bucket, after)
        self.came: list[tuple[int, int]] = []

    def read_range(self, key: str, start: int, length: int) -> bytes:
        data = super().read_range(key, start, length)
        if key.startswith("packs/"):
            self.came.append((start, len(data)))
        return data


@pytest.fixture
def url(tmp_path: Path) -> str:
    return str(tmp_path / "remote")


@pytest.fixture
def ours(tmp_path: Path, url: str) -> mvs.Repository:
    repo = joined(tmp_path / "ours", url)
    save(repo, "m:base", BASE)
    save(repo, "m:tuned", TUNED)
    return repo


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(receiving, "RUN", RUN)
    monkeypatch.setattr(sending, "LARGEST", 3 * RUN)


@pytest.mark.parametrize("tag", ["m", "m:base"])
def test_no_byte_of_a_pack_comes_twice_however_often_a_pull_is_cut_off(
    ours: mvs.Repository, tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch, tag: str
) -> None:
    # One pack with both, of which a part is wanted, and many that are wanted whole.
    if tag == "m:base":
        monkeypatch.setattr(sending, "LARGEST", 1 << 30)
    ours.push()
    packs = sum(path.stat().st_size for path in Path(url).rglob("*.pack"))
    theirs = joined(tmp_path / "theirs", url)
    came = cuts = 0
    for after in range(3, 100):
        with monkeypatch.context() as patch:
            buckets = counted(patch, lambda bucket, after=after: Weighing(bucket, after))
            try:
                theirs.pull(tag, jobs=1)
            except RemoteFailed:
                cuts += 1
                assert theirs.list() == []
                came += sum(length for bucket in buckets for _, length in bucket.came)
            else:
                came += sum(length for bucket in buckets for _, length in bucket.came)
                break
    assert cuts > 3
    assert 2 * RUN < came <= packs
    assert same(theirs.get("m:base"), ours.get("m:base"))
    assert not (theirs.store / "cache" / "arriving").exists()


def test_a_pull_on_many_threads_brings_the_same(ours: mvs.Repository, tmp_path: Path, url: str) -> None:
    ours.push(jobs=8)
    theirs = joined(tmp_path / "theirs", url)
    theirs.pull(jobs=8)
    assert all(same(theirs.get(tag), ours.get(tag)) for tag in ("m:base", "m:tuned"))
    assert theirs.fsck(level="full").findings == ()
    assert theirs.remote().fsck(share=1.0).findings == ()


def test_a_pack_that_is_there_is_not_sent_again(
    ours: mvs.Repository, tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[str] = []
    done = False
    for after in range(3, 100):
        with monkeypatch.context() as patch:
            buckets = counted(patch, lambda bucket, after=after: Broken(bucket, after))
            try:
                ours.push(jobs=1)
                done = True
            except RemoteFailed:
                assert joined(tmp_path / f"theirs{after}", url).fetch() == 0
            sent += [asked for bucket in buckets for asked in bucket.asked if asked.startswith("upload")]
        if done:
            break
    assert after > 6
    assert len(sent) == len(set(sent)) == len(list(Path(url).rglob("*.pack"))) > 3


def test_packs_are_cut_so_that_little_is_lost(ours: mvs.Repository, url: str) -> None:
    ours.dedup()
    ours.push()
    sizes = [path.stat().st_size for path in Path(url).rglob("*.pack")]
    assert len(sizes) > 3
    assert sorted(sizes)[-2] < 4 * RUN, "one record may be as large as it is"


@pytest.mark.parametrize("harm", ["flipped", "longer", "other"])
def test_what_was_kept_and_is_damaged_comes_again(
    ours: mvs.Repository, tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch, harm: str
) -> None:
    ours.push()
    theirs = joined(tmp_path / "theirs", url)
    with monkeypatch.context() as patch:
        counted(patch, lambda bucket: Broken(bucket, 14))
        with pytest.raises(RemoteFailed):
            theirs.pull(jobs=1)
    kept = sorted((theirs.store / "cache" / "arriving").iterdir())
    assert kept
    for path in kept:
        data = path.read_bytes()
        path.chmod(0o644)
        path.write_bytes(
            {"flipped": bytes([data[0] ^ 1]) + data[1:], "longer": data + b"x" * 10_000_000, "other": b""}[harm]
        )
    theirs.pull()
    assert same(theirs.get("m:tuned"), ours.get("m:tuned"))
    assert theirs.fsck(level="full").findings == ()


def test_a_pack_that_came_damaged_once_is_asked_for_again(
    ours: mvs.Repository, tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours.push()
    harmed: list[str] = []

    class Harming(Counting):
        def read_range(self, key: str, start: int, length: int) -> bytes:
            data = super().read_range(key, start, length)
            if key.startswith("packs/") and len(harmed) < times:
                harmed.append(key)
                return bytes([data[0] ^ 1]) + data[1:]
            return data

    counted(monkeypatch, Harming)
    times = 1
    theirs = joined(tmp_path / "theirs", url)
    theirs.pull()
    assert len(harmed) == 1
    assert same(theirs.get("m:tuned"), ours.get("m:tuned"))
    times = 1000
    others = joined(tmp_path / "others", url)
    with pytest.raises(CorruptRemote, match="not what it is named after"):
        others.pull()
    assert others.list() == []


def test_gc_removes_what_an_interrupted_pull_had_received(
    ours: mvs.Repository, tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours.push()
    theirs = joined(tmp_path / "theirs", url)
    with monkeypatch.context() as patch:
        counted(patch, lambda bucket: Broken(bucket, 14))
        with pytest.raises(RemoteFailed):
            theirs.pull(jobs=1)
    arriving = theirs.store / "cache" / "arriving"
    size = sum(path.stat().st_size for path in arriving.iterdir())
    assert theirs.gc().staging >= size > 0
    assert not arriving.exists()


def test_every_byte_that_travels_keeps_the_pace(
    ours: mvs.Repository, tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[int] = []
    monkeypatch.setattr(Pace, "take", lambda pace, amount: taken.append(amount))
    sent = ours.push(limit_rate=1000).sent
    assert sent < sum(taken) < sent + 10_000
    taken.clear()
    theirs = joined(tmp_path / "theirs", url)
    assert taken == []
    theirs.fetch(limit_rate=1000)
    assert 0 < sum(taken) < 10_000
    received = theirs.pull(limit_rate=1000).received
    assert sum(taken) >= received > 0


def test_what_goes_out_is_paid_for_before_anything_else_goes() -> None:
    now = 100.0

    def wait(seconds: float) -> None:
        nonlocal now
        now += seconds

    pace = Pace(1000, lambda: now, wait)
    for amount in (500, 5000, 0, 1, 2500):
        pace.take(amount)
    # All but what goes last is paid for.
    assert now == pytest.approx(105.501)
    now += 50
    pace.take(1000)
    assert now == pytest.approx(155.501), "who was quiet for long does not wait"
    pace.take(1000)
    assert now == pytest.approx(156.501)
