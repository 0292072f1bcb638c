"""Versions between stores: what arrives is what was sent, only what is missing travels, nothing half is ever seen."""

import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mvs
from mvs.backends.buckets import Address, Bucket, open_bucket
from mvs.errors import (
    AmbiguousSpec,
    Conflict,
    Corrupt,
    CorruptRemote,
    InvalidInput,
    NameNotFound,
    RemoteFailed,
    RemoteNotFound,
    RemoteUnsafe,
    TagExists,
    VersionNotFound,
)
from tests.ops.dedup.families import model, safetensors, save, tuned
from tests.store.remote.buckets import Broken, Counting

WEIGHTS = model()
BASE = safetensors(WEIGHTS)
TUNED = safetensors(tuned(WEIGHTS))


@pytest.fixture
def url(tmp_path: Path) -> str:
    return str(tmp_path / "remote")


@pytest.fixture
def ours(tmp_path: Path, url: str) -> mvs.Repository:
    return joined(tmp_path / "ours", url)


@pytest.fixture
def theirs(tmp_path: Path, url: str) -> mvs.Repository:
    return joined(tmp_path / "theirs", url)


def joined(path: Path, url: str) -> mvs.Repository:
    repo = mvs.init(path)
    repo.add_remote("origin", url)
    return repo


def stored(url: str) -> int:
    return sum(path.stat().st_size for path in Path(url).rglob("*") if path.is_file())


def counted(monkeypatch: pytest.MonkeyPatch, wrap: Any = Counting) -> list[Any]:
    """Put a wrapper around every bucket that is opened from now on, and return them all."""
    made: list[Any] = []

    def opened(address: Address) -> Bucket:
        made.append(wrap(open_bucket(address)))
        found: Bucket = made[-1]
        return found

    monkeypatch.setattr("mvs.store.remote.remote.open_bucket", opened)
    return made


class Disturbed(Counting):
    """A bucket at whose first reading something else happens."""

    def __init__(self, bucket: Bucket, then: list[Callable[[], object]]) -> None:
        super().__init__(bucket)
        self._then = then

    def read(self, key: str) -> bytes:
        while self._then:
            self._then.pop()()
        return super().read(key)


def same(one: mvs.Version, other: mvs.Version) -> bool:
    return one.to_dict() == other.to_dict() and all(
        one.read_bytes(file.path) == other.read_bytes(file.path) for file in one.files
    )


def test_what_is_pulled_is_what_was_pushed(ours: mvs.Repository, theirs: mvs.Repository, folder: Path) -> None:
    version = ours.save(folder, "bert:v1", labels={"stage": "new"}, metadata={"loss": 0.5})
    ours.push("bert")
    assert theirs.pull("bert").refs[0].tag == version.tag
    assert same(theirs.get("bert"), version)
    assert theirs.get("bert:latest").path.joinpath("run.sh").stat().st_mode & 0o100
    assert not theirs.fsck(level="full").findings
    assert [change.event for change in theirs.log("bert")] == ["save"]


def test_what_is_loose_stays_loose_when_it_is_pushed(ours: mvs.Repository, folder: Path) -> None:
    version = ours.save(folder, "bert:v1")
    ours.push("bert")
    assert not version.is_packed


def test_a_fine_tune_travels_as_its_difference(ours: mvs.Repository, theirs: mvs.Repository, url: str) -> None:
    save(ours, "m:base", BASE)
    ours.push("m:base")
    before = stored(url)
    version = save(ours, "m:tuned", TUNED)
    sent = ours.push("m:tuned").sent
    assert stored(url) - before < 0.6 * version.size
    assert sent <= stored(url) - before
    theirs.pull("m:base")
    received = theirs.pull("m:tuned").received
    assert received < 0.6 * version.size
    assert same(theirs.get("m:tuned"), version)


def test_a_version_brings_what_it_leans_on(ours: mvs.Repository, theirs: mvs.Repository) -> None:
    save(ours, "m:base", BASE)
    version = save(ours, "m:tuned", TUNED)
    ours.push("m:tuned")
    theirs.pull("m:tuned")
    assert same(theirs.get("m:tuned"), version)
    assert [str(version.tag) for version in theirs.list()] == ["m:tuned"]
    assert not theirs.fsck(level="full").findings


def test_nothing_travels_twice(
    ours: mvs.Repository, theirs: mvs.Repository, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours.save(folder, "bert:v1")
    ours.push("bert")
    theirs.pull("bert")
    buckets = counted(monkeypatch)
    assert ours.push("bert").refs == ()
    assert theirs.pull("bert").received == 0
    assert sum(len(bucket.asked) for bucket in buckets) <= 10
    ours.save(folder, "again:v1")
    assert ours.push("again").packs == 0


@pytest.mark.parametrize("planned", [False, True])
def test_what_is_deleted_and_collected_while_it_is_pushed_is_told_as_deleted(
    ours: mvs.Repository, folder: Path, monkeypatch: pytest.MonkeyPatch, planned: bool
) -> None:
    ours.save(folder, "bert:v1")
    plan = ours.plan_push("bert") if planned else None
    counted(monkeypatch, partial(Disturbed, then=[lambda: ours.delete("bert:v1") and ours.gc(expire="now")]))
    with pytest.raises(VersionNotFound, match="'bert:v1' was deleted"):
        ours.push("bert", plan=plan)
    assert ours.remote().list() == []


def test_versions_pushed_together_appear_together(
    ours: mvs.Repository, theirs: mvs.Repository, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours.save(folder, "one:v1")
    (folder / "config.json").write_text("{}")
    ours.save(folder, "two:v1")
    for after in range(30):
        with monkeypatch.context() as patch:
            counted(patch, lambda bucket, after=after: Broken(bucket, after))
            try:
                ours.push()
            except RemoteFailed:
                done = False
            else:
                done = True
        seen = {str(version.tag) for version in theirs.remote().list()}
        assert seen == {"one:v1", "two:v1"} if done else seen in (set(), {"one:v1", "two:v1"})
        if done:
            break
    assert done
    theirs.pull()
    assert len(theirs.list()) == 2


def test_a_pull_cut_off_at_any_request_leaves_no_version(
    ours: mvs.Repository, tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(ours, "m:base", BASE)
    save(ours, "m:tuned", TUNED)
    ours.push()
    theirs = joined(tmp_path / "theirs", url)
    for after in range(40):
        with monkeypatch.context() as patch:
            counted(patch, lambda bucket, after=after: Broken(bucket, after))
            try:
                theirs.pull("m:tuned")
            except RemoteFailed:
                assert theirs.list() == []
                assert not theirs.fsck().findings
            else:
                break
    assert same(theirs.get("m:tuned"), ours.get("m:tuned"))


def test_a_tag_that_is_another_version_there_is_refused(
    ours: mvs.Repository, theirs: mvs.Repository, folder: Path
) -> None:
    ours.save(folder, "bert:v1")
    ours.push()
    (folder / "config.json").write_text("{}")
    theirs.save(folder, "bert:v1")
    with pytest.raises(TagExists, match="another version at 'origin'"):
        theirs.push()
    with pytest.raises(TagExists, match="another version here"):
        theirs.pull()


def test_of_two_who_push_one_tag_one_wins(ours: mvs.Repository, theirs: mvs.Repository, folder: Path) -> None:
    ours.save(folder, "bert:v1", message="ours")
    theirs.save(folder, "bert:v1", message="theirs")
    plans = [(ours, ours.plan_push()), (theirs, theirs.plan_push())]
    lost: list[Exception] = []

    def push(repo: mvs.Repository, plan: Any) -> None:
        try:
            repo.push(plan=plan)
        except TagExists as error:
            lost.append(error)

    workers = [threading.Thread(target=push, args=one) for one in plans]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(lost) == 1
    assert ours.remote().get("bert").message in ("ours", "theirs")


def test_every_flipped_byte_of_a_pack_is_refused_before_any_version_appears(
    ours: mvs.Repository, tmp_path: Path, url: str, folder: Path
) -> None:
    save(ours, "m:base", safetensors({"weight": WEIGHTS["norm.weight"]}))
    ours.save(folder, "bert:v1")
    ours.push()
    (pack,) = Path(url).rglob("*.pack")
    whole = pack.read_bytes()
    pack.chmod(0o644)
    for place in range(0, len(whole), max(1, len(whole) // 12)):
        pack.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        theirs = joined(tmp_path / f"theirs{place}", url)
        with pytest.raises(Corrupt):
            theirs.pull()
        assert theirs.list() == []
        assert not theirs.fsck(level="full").findings
    pack.write_bytes(whole[:-1])
    with pytest.raises(Corrupt):
        joined(tmp_path / "cut", url).pull()


def test_a_remote_that_lost_a_pack_says_which(
    ours: mvs.Repository, theirs: mvs.Repository, url: str, folder: Path
) -> None:
    ours.save(folder, "bert:v1")
    ours.push()
    for path in [*Path(url).rglob("*.pack"), *Path(url).rglob("*.index")]:
        path.unlink()
    with pytest.raises(CorruptRemote, match="is gone"):
        theirs.pull()


def test_a_tensor_is_read_from_a_remote_without_the_rest(
    ours: mvs.Repository, theirs: mvs.Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = model(shapes={"a.weight": (1536, 1536), "norm.weight": (128,)})
    version = save(ours, "m:base", safetensors(weights))
    ours.push()
    moved: list[int] = []

    class Weighing(Counting):
        def read_range(self, key: str, start: int, length: int) -> bytes:
            moved.append(length)
            return super().read_range(key, start, length)

    counted(monkeypatch, Weighing)
    far = theirs.remote("origin").get("m:base")
    found = far.tensor("norm.weight")
    assert np.array_equal(found.view("<u2"), weights["norm.weight"])
    assert sum(moved) < 0.1 * version.size
    assert theirs.list() == []


def test_specs_mean_at_a_remote_what_they_mean_here(ours: mvs.Repository, theirs: mvs.Repository, folder: Path) -> None:
    for version in ("a1", "a2", "b"):
        (folder / "config.json").write_text(version)
        ours.save(folder, f"bert:{version}")
    ours.push()
    remote = theirs.remote()
    assert [remote.get(spec).version for spec in ("bert", "bert:latest~1", "bert:a1", "bert:b*")] == [
        "b",
        "a2",
        "a1",
        "b",
    ]
    assert remote.get(f"bert#{remote.get('bert:a1').id[:8]}").version == "a1"
    assert [version.version for version in remote.list("bert")] == ["b", "a2", "a1"]
    with pytest.raises(AmbiguousSpec):
        remote.get("bert:a*")
    with pytest.raises(VersionNotFound):
        remote.get("bert:v9")
    with pytest.raises(NameNotFound):
        theirs.pull("robert")
    assert theirs.pull("bert:a1").refs[0].tag.version == "a1"
    assert theirs.get("bert").version == "a1"
    theirs.pull()
    assert theirs.get("bert").version == "b"
    assert theirs.fetch() == 3


def test_remotes_are_kept_in_the_configuration(repo: mvs.Repository, tmp_path: Path) -> None:
    repo.add_remote("one", str(tmp_path / "a"))
    repo.add_remote("two", str(tmp_path / "b"), default=True)
    again = mvs.open(repo.root.parent)
    assert again.remotes["two"]["default"]
    assert "default" not in again.remotes["one"]
    assert again.remote().name == "two"
    with pytest.raises(Conflict, match="there is a remote"):
        repo.add_remote("one", str(tmp_path / "c"))
    repo.set_remote_url("one", str(tmp_path / "c"))
    assert repo.remote("one").url == str(tmp_path / "c")
    repo.remove_remote("one")
    with pytest.raises(RemoteNotFound):
        repo.remote("one")
    repo.remove_remote("two")
    with pytest.raises(RemoteNotFound, match="has no remote"):
        repo.push()


def test_a_password_in_a_url_is_refused(repo: mvs.Repository) -> None:
    with pytest.raises(InvalidInput, match="no password"):
        repo.add_remote("origin", "https://me:secret@host/bucket")
    assert repo.remotes == {}


def test_a_server_that_does_not_keep_writers_apart_is_for_one_of_them(
    repo: mvs.Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Careless(Counting):
        def create(self, key: str, data: bytes) -> bool:
            self.write(key, data)
            return True

    counted(monkeypatch, Careless)
    with pytest.raises(RemoteUnsafe) as refused:
        repo.add_remote("origin", str(tmp_path / "careless"))
    assert refused.value.hint.endswith("--single-writer")
    assert repo.remotes == {}
    repo.add_remote("origin", str(tmp_path / "careless"), single_writer=True)
    assert repo.remotes["origin"]["single-writer"]


def test_a_push_of_nothing_new_reads_no_manifest(ours: mvs.Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    """With ten thousand versions that is seconds, each time."""
    save(ours, "m:base", BASE)
    save(ours, "n:tuned", TUNED)
    ours.push()
    buckets = counted(monkeypatch)
    monkeypatch.setattr("mvs.format.manifest.Manifest.decode", lambda _: pytest.fail("a manifest was read"))
    assert len(ours.push().present) == 2
    assert len(ours.push("m", "n").present) == 2
    assert max(len(bucket.asked) for bucket in buckets) <= 2


def test_nothing_is_planned_where_nothing_is_to_be_packed(
    ours: mvs.Repository, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(ours, "m:base", BASE)
    ours.push()
    ours.dedup()
    ours.save(Path(url, "format"), "m:other")
    ours.dedup()
    monkeypatch.setattr("mvs.ops.dedup.plan", lambda *_, **__: pytest.fail("all versions were looked at"))
    assert len(ours.push().refs) == 1


def test_a_damaged_version_stands_in_the_way_of_no_other_one(ours: mvs.Repository, theirs: mvs.Repository) -> None:
    """Once the remote has it, nobody reads it; else it is left out."""
    version = save(ours, "m:base", BASE)
    save(ours, "m:tuned", TUNED)
    ours.push()
    theirs.remote().delete("m:base")
    (ours.store / "objects" / version.id[:2] / version.id[2:]).unlink()
    save(ours, "m:next", b"next")
    done = ours.push()
    assert [ref.tag.version for ref in done.present] == ["tuned"]
    assert [ref.tag.version for ref in done.refs] == ["next"]
