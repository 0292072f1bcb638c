"""A store that is elsewhere: what one repository saves all others have, and what cannot be sent has not happened."""

import contextlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import mvs
from mvs.backends.buckets import Address, Bucket, open_bucket
from mvs.backends.directory import Directory
from mvs.errors import (
    AliasMoved,
    Conflict,
    CorruptRemote,
    InvalidInput,
    MvsError,
    RemoteChanged,
    RemoteFailed,
    TagExists,
    TagTaken,
    VersionNotFound,
)
from tests.ops.dedup.families import model, safetensors, save, tuned
from tests.store.remote.buckets import Broken, Counting

WEIGHTS = model()
BASE = safetensors(WEIGHTS)
TUNED = safetensors(tuned(WEIGHTS))


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"file://{tmp_path}/far"


@pytest.fixture
def ours(tmp_path: Path, url: str) -> mvs.Repository:
    return mvs.init(tmp_path / "ours", store=url)


@pytest.fixture
def theirs(tmp_path: Path, url: str) -> mvs.Repository:
    return mvs.init(tmp_path / "theirs", store=url)


def reached(monkeypatch: pytest.MonkeyPatch, wrap: Callable[[Bucket], Bucket]) -> None:
    """Put a wrapper around every bucket that is opened from now on."""

    def opened(address: Address) -> Bucket:
        return wrap(open_bucket(address))

    monkeypatch.setattr("mvs.store.remote.remote.open_bucket", opened)


def contents(repo: mvs.Repository) -> dict[str, Any]:
    """What a repository says of all its names, but for who told it."""
    return {
        "versions": [version.to_dict() for version in repo.list()],
        "aliases": [(each.alias, each.tag, each.id, each.deleted) for each in repo.aliases()],
        "log": {
            name: [(each.event, each.tag, each.old, each.new, each.at, each.labels) for each in repo.log(name)]
            for name in sorted({version.name for version in repo.list()})
        },
    }


def test_what_one_saves_all_others_have(ours: mvs.Repository, theirs: mvs.Repository) -> None:
    saved = save(ours, "net:v1", BASE, labels={"stage": "new"}, message="first")
    found = theirs.get("net")
    assert (found, found.created, found.labels) == (saved, saved.created, {"stage": "new"})
    assert found.read_bytes("model.safetensors") == BASE
    assert (found.path / "model.safetensors").read_bytes() == BASE


def test_all_that_happens_is_the_same_for_all(
    ours: mvs.Repository, theirs: mvs.Repository, tmp_path: Path, url: str
) -> None:
    save(ours, "net:v1", b"one")
    save(theirs, "net:v2", b"two", parents=["net:v1"])
    ours.alias("net@prod", "net:v1")
    theirs.alias("net@prod", "net:v2", expect="net:v1")
    ours.label("net:v1", {"stage": "old", "owner": "me"})
    theirs.label("net:v1", {"stage": None})
    save(ours, "other:v1", b"other")
    theirs.delete("other:v1")
    save(ours, "net:v3", b"three")
    theirs.delete("net:v3")
    ours.restore("net:v3")
    ours.delete("net:v1")
    theirs.restore("net:v1")
    late = mvs.init(tmp_path / "late", store=url)
    assert contents(ours) == contents(theirs) == contents(late)
    assert late.get("net@prod").tag == late.get("net:v2").tag
    assert late.get("net:v1").notes == {"owner": "me"}
    assert [version.version for version in late.list("net")] == ["v3", "v2", "v1"]
    assert late.get("net:v3").read_bytes("model.safetensors") == b"three"


def test_a_tag_that_somebody_else_saved_is_taken(ours: mvs.Repository, theirs: mvs.Repository) -> None:
    save(ours, "net:v1", b"one")
    with pytest.raises(TagExists):
        save(theirs, "net:v1", b"other")
    assert save(theirs, "net:v1", b"one") == ours.get("net:v1")
    ours.delete("net:v1")
    with pytest.raises(TagTaken):
        save(theirs, "net:v1", b"other")
    assert save(theirs, "net:v1", b"other", reuse_tag=True) == ours.get("net:v1")


class Overtaken(Counting):
    """A bucket at whose first creation of an entry somebody else is quicker."""

    def __init__(self, bucket: Bucket, then: list[Callable[[], object]]) -> None:
        super().__init__(bucket)
        self._then = then

    def create(self, key: str, data: bytes) -> bool:
        if key.startswith("log/"):
            while self._then:
                self._then.pop()()
        return super().create(key, data)


def overtaken(path: Path, monkeypatch: pytest.MonkeyPatch, then: Callable[[], object]) -> mvs.Repository:
    with monkeypatch.context() as patch:
        reached(patch, lambda bucket: Overtaken(bucket, [then]))
        repo = mvs.open(path)
        # The bucket is opened when it is first needed.
        repo.list()
    return repo


def test_of_two_who_save_one_tag_one_loses_and_has_saved_nothing(
    ours: mvs.Repository, theirs: mvs.Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = overtaken(ours.root, monkeypatch, lambda: save(theirs, "net:v1", b"theirs"))
    source = tmp_path / "source.bin"
    source.write_bytes(b"ours")
    with pytest.raises(TagExists):
        slow.save(source, "net:v1", move=True)
    assert source.read_bytes() == b"ours"
    assert slow.get("net:v1").read_bytes("model.safetensors") == b"theirs"
    assert len(slow.log("net")) == len(theirs.log("net")) == 1


def test_of_two_who_make_up_a_tag_each_has_its_own(
    ours: mvs.Repository, theirs: mvs.Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(ours, "net:1.0.0", b"before")
    slow = overtaken(ours.root, monkeypatch, lambda: save(theirs, "net", b"theirs", bump="minor"))
    assert save(slow, "net", b"ours", bump="minor").version == "1.2.0"
    assert {version.version for version in theirs.list()} == {"1.0.0", "1.1.0", "1.2.0"}
    assert contents(slow) == contents(theirs)


def test_of_two_who_move_an_alias_one_loses(
    ours: mvs.Repository, theirs: mvs.Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    for version in ("v1", "v2", "v3"):
        save(ours, f"net:{version}", version.encode())
    slow = overtaken(ours.root, monkeypatch, lambda: theirs.alias("net@prod", "net:v2"))
    with pytest.raises(AliasMoved):
        slow.alias("net@prod", "net:v3")
    assert slow.get("net@prod").version == "v2"


def test_what_others_do_while_one_saves_is_seen(
    ours: mvs.Repository, theirs: mvs.Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    def meanwhile() -> None:
        save(theirs, "other:v1", b"theirs")
        save(theirs, "net:v2", b"later")

    slow = overtaken(ours.root, monkeypatch, meanwhile)
    save(slow, "net:v1", b"ours")
    slow.label("net:v1", {"stage": "old"})
    assert contents(slow) == contents(theirs)
    assert len(slow.list()) == 3
    assert slow.get("net") == theirs.get("net") == theirs.get("net:v2")


def test_what_cannot_be_sent_has_not_happened(
    ours: mvs.Repository, theirs: mvs.Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever request it is at which the network goes, there is no version, here or there, or there is all of it."""
    save(ours, "net:v1", b"one")
    source = tmp_path / "source.bin"
    failed = 0
    for after in range(40):
        source.write_bytes(f"two, {after}".encode())
        with monkeypatch.context() as patch:
            reached(patch, lambda bucket, after=after: Broken(bucket, after))  # type: ignore[misc]
            try:
                mvs.open(ours.root).save(source, f"net:{after}", move=True)
            except RemoteFailed:
                failed += 1
                # The entry may be there, as its answer was lost; then it is so for everybody.
                assert source.exists()
            else:
                assert not source.exists()
        assert contents(mvs.open(ours.root)) == contents(theirs)
        if not source.exists():
            break
        assert mvs.open(ours.root).save(source, f"net:{after}").tag == theirs.get("net").tag
    assert 5 < failed < 40


class Killed(BaseException):
    """It was killed here."""


@pytest.mark.parametrize("step", ["append", "prepare", "commit"])
def test_one_who_is_killed_behind_the_entry_has_saved(
    step: str, ours: mvs.Repository, theirs: mvs.Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object, **__: object) -> None:
        raise Killed

    save(ours, "net:v1", b"one")
    where = {
        "append": "mvs.store.names.journal.Journal.append",
        "prepare": "mvs.store.names.refs.Refs.prepare",
        "commit": "mvs.store.names.refs.Pending.commit",
    }
    with monkeypatch.context() as patch:
        patch.setattr(where[step], killed)
        with pytest.raises(Killed):
            save(ours, "net:v2", b"two")
    for repo in (mvs.open(ours.root), theirs):
        assert repo.get("net").read_bytes("model.safetensors") == b"two"
    assert contents(mvs.open(ours.root)) == contents(theirs)
    assert save(ours, "net:v3", b"three") == theirs.get("net")


def test_one_who_is_killed_while_names_are_taken_goes_on(
    ours: mvs.Repository, theirs: mvs.Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(theirs, "net:v1", b"one")
    save(theirs, "net:v2", b"two")
    theirs.alias("net@prod", "net:v1")
    theirs.label("net:v1", {"stage": "old"})
    theirs.alias("net@prod", "net:v2")
    theirs.delete("net:v1")
    for after in range(200):
        left = after

        def counted(plain: Any) -> Any:
            def step(*arguments: Any, **options: Any) -> Any:
                nonlocal left
                left -= 1
                if left < 0:
                    raise Killed
                return plain(*arguments, **options)

            return step

        with monkeypatch.context() as patch:
            for name in ("put", "append", "adopt", "remove"):
                patch.setattr(Directory, name, counted(getattr(Directory, name)))
            try:
                # Each goes a little further than the one before; what was done is not done again.
                mvs.open(ours.root).list()
            except Killed:
                continue
        break
    assert 3 < after < 60
    assert contents(ours) == contents(theirs)


def test_nothing_new_costs_two_requests(
    ours: mvs.Repository, theirs: mvs.Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(theirs, "net:v1", b"one")
    ours.list()
    made: list[Counting] = []

    def counting(bucket: Bucket) -> Bucket:
        made.append(Counting(bucket))
        return made[-1]

    reached(monkeypatch, counting)
    repo = mvs.open(ours.root)
    assert made[0].asked == []
    assert len(repo.list()) == 1
    assert made[0].asked == ["read log/000000000001", "read log/000000000002"]


def test_a_tensor_is_read_without_the_rest(ours: mvs.Repository, theirs: mvs.Repository, tmp_path: Path) -> None:
    rng = np.random.default_rng(7)
    np.savez(tmp_path / "big.npz", small=np.arange(10.0), big=rng.random(4_000_000))
    ours.save(tmp_path / "big.npz", "net:v1")
    assert (theirs.get("net:v1").tensor("small") == np.arange(10.0)).all()
    assert theirs._store.disk_usage("objects", "packs", "cache") < 1_000_000


def test_a_version_that_was_got_before_can_be_read_when_it_is_deleted(
    ours: mvs.Repository, theirs: mvs.Repository
) -> None:
    save(ours, "net:v1", BASE)
    found = theirs.get("net:v1")
    ours.delete("net:v1")
    assert found.read_bytes("model.safetensors") == BASE
    with pytest.raises(VersionNotFound):
        theirs.get("net:v1")


def test_a_fine_tune_is_sent_as_its_difference(ours: mvs.Repository, tmp_path: Path) -> None:
    def far() -> int:
        return sum(path.stat().st_size for path in (tmp_path / "far").rglob("*.pack"))

    save(ours, "net:base", BASE)
    before = far()
    save(ours, "net:tuned", TUNED, parents=["net:base"])
    assert far() - before < 0.5 * before


def test_the_cache_may_go(ours: mvs.Repository, theirs: mvs.Repository) -> None:
    save(ours, "net:v1", BASE)
    assert theirs.get("net:v1").read_bytes("model.safetensors") == BASE
    for repo in (ours, theirs):
        for folder in ("cache", "packs"):
            shutil.rmtree(repo.root / folder, ignore_errors=True)
    for path in (ours.root / "objects").rglob("*"):
        if path.is_file() and path.stat().st_size > 10_000:
            path.unlink()
    for repo in (ours, theirs):
        assert mvs.open(repo.root).get("net:v1").read_bytes("model.safetensors") == BASE
    save(ours, "net:v2", BASE + b"more")
    assert theirs.get("net:v2").read_bytes("model.safetensors") == BASE + b"more"


def test_all_that_reads_names_sees_what_others_saved(ours: mvs.Repository, theirs: mvs.Repository) -> None:
    count = 0

    def fresh() -> str:
        nonlocal count
        count += 1
        save(ours, f"net:v{count}", f"{count}".encode(), parents=[f"net:v{count - 1}"] if count > 1 else [])
        return f"net:v{count}"

    first = fresh()
    assert str(theirs.get(fresh()).tag) == f"net:v{count}"
    fresh()
    assert len(theirs.list()) == count
    assert theirs.diff(first, fresh()).files
    fresh()
    assert len(theirs.log("net")) == count
    assert theirs.matching(fresh())
    assert theirs.ancestors(fresh())
    assert len(theirs.lineage("net")) == count
    newest = fresh()
    assert str(theirs.descendants(first)[-1].tag) == newest
    assert str(theirs.pin(fresh()).tag) == f"net:v{count}"
    ours.alias("net@prod", first)
    assert [each.alias for each in theirs.aliases()] == ["net@prod"]
    fresh()
    assert str(theirs.update_pins()[0][1].tag) == f"net:v{count}"
    fresh()
    assert theirs.status()[0].behind
    assert len(theirs.plan_prune("net", keep_last=1).doomed) == count - 3
    assert theirs.export(fresh(), theirs.root.parent / "out").is_dir()


@pytest.mark.parametrize("verb", ["gc", "plan_gc", "fsck", "repair", "du", "undo_dedup"])
def test_what_is_about_the_files_of_a_store_is_refused(verb: str, ours: mvs.Repository) -> None:
    save(ours, "net:v1", BASE)
    with pytest.raises(InvalidInput, match="store of this repository is at") as caught:
        getattr(ours, verb)()
    assert "store" in caught.value.hint


def test_the_store_is_collected_and_checked_as_a_remote(ours: mvs.Repository, theirs: mvs.Repository) -> None:
    save(ours, "net:v1", BASE)
    save(ours, "net:v2", b"two")
    theirs.delete("net:v1")
    assert len(theirs.remote("store").gc().packs) == 1
    assert theirs.remote("store").fsck(share=1).findings == ()
    assert ours.get("net").read_bytes("model.safetensors") == b"two"
    # It has the files still.
    ours.restore("net:v1")
    assert theirs.get("net:v1").read_bytes("model.safetensors") == BASE


def test_others_may_push_and_pull_there(ours: mvs.Repository, tmp_path: Path, url: str) -> None:
    apart = mvs.init(tmp_path / "apart")
    apart.add_remote("origin", url)
    save(apart, "net:v1", BASE)
    apart.alias("net@prod", "net:v1")
    apart.push()
    assert ours.get("net@prod").read_bytes("model.safetensors") == BASE
    save(ours, "net:v2", TUNED, parents=["net:v1"])
    ours.alias("net@prod", "net:v2")
    apart.pull()
    assert apart.get("net@prod").read_bytes("model.safetensors") == TUNED
    third = mvs.init(tmp_path / "third")
    save(third, "third:v1", b"third")
    third.add_remote("origin", str(tmp_path / "elsewhere"))
    third.push()
    ours.add_remote("elsewhere", str(tmp_path / "elsewhere"))
    ours.pull(remote="elsewhere")
    apart.pull()
    assert apart.get("third:v1").read_bytes("model.safetensors") == b"third"


def test_a_draft_is_kept_when_it_cannot_be_sent(
    ours: mvs.Repository, theirs: mvs.Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ours.create("net:v1") as draft:
        (draft.path / "weights.bin").write_bytes(b"one")
    assert theirs.get("net:v1").read_bytes("weights.bin") == b"one"
    with monkeypatch.context() as patch:
        reached(patch, lambda bucket: Broken(bucket, 6))
        with pytest.raises(RemoteFailed) as caught, mvs.open(ours.root).create("net:v2") as draft:
            (draft.path / "weights.bin").write_bytes(b"two")
    assert (Path(caught.value.kept or "") / "weights.bin").read_bytes() == b"two"
    assert ours.save(caught.value.kept or "", "net:v2", move=True) == theirs.get("net:v2")


def test_a_repository_that_git_has_brought_is_made_whole(ours: mvs.Repository, tmp_path: Path) -> None:
    """What git keeps is the configuration, and none of the rest."""
    save(ours, "net:v1", BASE)
    clone = tmp_path / "clone" / ".mvs"
    clone.mkdir(parents=True)
    shutil.copy(ours.root / "config.toml", clone)
    assert mvs.init(tmp_path / "clone").get("net").read_bytes("model.safetensors") == BASE


def test_one_that_is_there_is_left_as_it_is(ours: mvs.Repository, tmp_path: Path, url: str) -> None:
    save(ours, "net:v1", BASE)
    assert len(mvs.init(tmp_path / "ours", store=url).list()) == 1
    assert len(mvs.init(tmp_path / "ours").list()) == 1
    with pytest.raises(InvalidInput, match="with the store"):
        mvs.init(tmp_path / "ours", store=f"file://{tmp_path}/third")
    with pytest.raises(InvalidInput, match="with the store"):
        mvs.init(tmp_path / "ours", store=tmp_path / "third")
    with pytest.raises(Conflict, match="is the store of this repository"):
        ours.remove_remote("store")


def test_versions_of_its_own_are_never_taken_for_a_copy(tmp_path: Path, url: str) -> None:
    repo = mvs.init(tmp_path / "repo")
    save(repo, "net:v1", BASE)
    with pytest.raises(InvalidInput, match="with the store"):
        mvs.init(tmp_path / "repo", store=url)
    repo.add_remote("far", url)
    with open(repo.root / "config.toml", "a") as file:
        file.write('[store]\nremote = "far"\n')
    with pytest.raises(CorruptRemote, match="taken"):
        mvs.open(repo.root).list()
    with pytest.raises(Conflict, match="versions of its own"):
        mvs.init(tmp_path / "repo")


def test_where_there_is_no_remote_none_is_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(RemoteFailed, match="in the way"):
        mvs.init(tmp_path / "repo", store=f"file://{tmp_path}/file/below")
    assert not (tmp_path / "repo" / ".mvs").exists()


def test_a_log_that_was_put_back_is_noticed(ours: mvs.Repository, tmp_path: Path) -> None:
    save(ours, "net:v1", b"one")
    shutil.copytree(tmp_path / "far", tmp_path / "copy")
    save(ours, "net:v2", b"two")
    shutil.rmtree(tmp_path / "far")
    os.rename(tmp_path / "copy", tmp_path / "far")
    with pytest.raises(RemoteChanged):
        ours.list()
    shutil.rmtree(ours.root / "cache")
    with pytest.raises(RemoteChanged):
        mvs.open(ours.root).list()
    other = mvs.init(tmp_path / "other", store=f"file://{tmp_path}/far")
    save(other, "net:v2", b"something else")
    with pytest.raises(RemoteChanged):
        mvs.open(ours.root).list()


@pytest.mark.parametrize("damage", [b"", b"mvs-taken 1 x y\n", b"mvs-taken 1 0 00\n", bytes(range(256))])
def test_how_far_the_log_was_taken_is_not_guessed(damage: bytes, ours: mvs.Repository) -> None:
    save(ours, "net:v1", b"one")
    (ours.root / "taken").write_bytes(damage)
    with pytest.raises(CorruptRemote):
        ours.list()


def asked(monkeypatch: pytest.MonkeyPatch, repo: mvs.Repository) -> tuple[mvs.Repository, Counting]:
    """Open a repository again; return it, and what it asks from now on."""
    made: list[Counting] = []

    def counting(bucket: Bucket) -> Bucket:
        made.append(Counting(bucket))
        return made[-1]

    with monkeypatch.context() as patch:
        reached(patch, counting)
        again = mvs.open(repo.root)
        again.list()
    return again, made[0]


def test_what_is_read_whole_is_fetched_once_and_only_that(
    ours: mvs.Repository, theirs: mvs.Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {name: np.random.default_rng(n).bytes(300_000) for n, name in enumerate(("a.bin", "b.bin", "c.bin"))}
    save(ours, "net:v1", files)
    repo, bucket = asked(monkeypatch, theirs)
    repo.checkout("net:v1", tmp_path / "a", include=["a.bin"])
    assert 300_000 < repo._store.disk_usage("packs") < 400_000
    for _ in range(2):
        assert b"".join(repo.get("net:v1").blocks("b.bin")) == files["b.bin"]
        assert (repo.get("net:v1").path / "c.bin").read_bytes() == files["c.bin"]
        assert repo.get("net:v1").read_bytes("a.bin") == files["a.bin"]
    repo.export("net:v1", tmp_path / "out.tar")
    assert len([each for each in bucket.asked if each.startswith("range packs/")]) <= 4


def test_what_is_kept_here_is_bounded(ours: mvs.Repository, theirs: mvs.Repository) -> None:
    rng = np.random.default_rng(3)
    data = {f"net:v{n}": rng.bytes(200_000) for n in range(8)}
    repos = []
    for repo in (ours, theirs):
        with open(repo.root / "config.toml", "a") as file:
            file.write('cache-size = "500kB"\n')
        repos.append(mvs.open(repo.root))
    for tag, content in data.items():
        save(repos[0], tag, content)
        assert repos[0]._store.disk_usage("objects", "packs") < 600_000
    for _ in range(2):
        for tag, content in data.items():
            for repo in repos:
                assert repo.get(tag).read_bytes("model.safetensors") == content
                assert repo._store.disk_usage("objects", "packs") < 600_000


def test_what_was_used_last_stays(
    ours: mvs.Repository, theirs: mvs.Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(3)
    data = {f"net:v{n}": rng.bytes(200_000) for n in range(5)}
    for tag, content in data.items():
        save(ours, tag, content)
    with open(theirs.root / "config.toml", "a") as file:
        file.write('cache-size = "700kB"\n')
    repo, bucket = asked(monkeypatch, theirs)
    for n in range(1, 5):
        for tag in ("net:v0", f"net:v{n}"):
            assert repo.get(tag).read_bytes("model.safetensors") == data[tag]
    assert len([each for each in bucket.asked if each.startswith("range packs/")]) == 5


def test_a_version_larger_than_all_that_is_kept_can_be_saved_read_and_pulled(
    ours: mvs.Repository, theirs: mvs.Repository, tmp_path: Path
) -> None:
    for repo in (ours, theirs):
        with open(repo.root / "config.toml", "a") as file:
            file.write('cache-size = "1kB"\n')
    apart = mvs.init(tmp_path / "apart")
    for n in range(3):
        save(apart, f"net:v{n}", os.urandom(200_000))
    save(apart, "net:v3", TUNED)
    apart.alias("net@prod", "net:v3")
    apart.alias("net@old", "net:v0")
    apart.label("net:v1", {"stage": "old"})
    apart.label("net:v2", {"stage": "old"})
    apart.add_remote("origin", str(tmp_path / "elsewhere"))
    apart.push()
    small, other = mvs.open(ours.root), mvs.open(theirs.root)
    small.add_remote("elsewhere", str(tmp_path / "elsewhere"))
    assert len(small.pull(remote="elsewhere").refs) == 4
    save(small, "net:v4", BASE, parents=["net:v3"])
    for version in apart.list():
        assert other.get(version.tag).read_bytes("model.safetensors") == version.read_bytes("model.safetensors")
        assert (other.get(version.tag).path / "model.safetensors").exists()
    assert other.get("net:v4").read_bytes("model.safetensors") == BASE
    assert [other.get(spec).version for spec in ("net@prod", "net@old")] == ["v3", "v0"]
    assert contents(small) == contents(other)


def test_what_is_elsewhere_can_be_pushed_further(ours: mvs.Repository, theirs: mvs.Repository, tmp_path: Path) -> None:
    save(ours, "net:v1", BASE)
    save(ours, "net:v2", TUNED, parents=["net:v1"])
    theirs.add_remote("elsewhere", str(tmp_path / "elsewhere"))
    theirs.push("net:v2", remote="elsewhere")
    theirs.bundle(tmp_path / "net.mvs")
    for source in (str(tmp_path / "elsewhere"), str(tmp_path / "net.mvs")):
        got = mvs.clone(source, tmp_path / f"got-{Path(source).name}")
        assert got.get("net:v2").read_bytes("model.safetensors") == TUNED


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["ours", "theirs"]),
        st.sampled_from(
            [
                "save",
                "reuse",
                "delete",
                "force",
                "restore",
                "alias",
                "unalias",
                "back",
                "label",
                "unlabel",
                "there",
                "forget",
                "apart",
                "push",
                "pull",
            ]
        ),
        st.sampled_from(["m", "n"]),
        st.integers(0, 2),
        st.integers(0, 2),
    ),
    min_size=5,
    max_size=20,
)


def agree(steps: list[tuple[str, str, str, int, int]], folder: Path) -> None:
    """Do steps in two repositories with one store, and one that pushes there; in the end all say the same."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    url = f"file://{folder}/far"
    repos = {name: mvs.init(folder / name, store=url) for name in ("ours", "theirs")}
    apart = mvs.init(folder / "apart")
    apart.add_remote("origin", url)
    for who, what, name, version, value in steps:
        repo, tag, alias = repos[who], f"{name}:v{version}", f"{name}@prod"
        (folder / "file").write_bytes(b"%d" % value)
        with contextlib.suppress(MvsError):
            if what in ("save", "reuse"):
                repo.save(folder / "file", tag, reuse_tag=what == "reuse")
            elif what in ("delete", "force"):
                repo.delete(tag, force=what == "force")
            elif what == "restore":
                repo.restore(tag)
            elif what == "alias":
                repo.alias(alias, tag)
            elif what == "unalias":
                repo.delete_alias(alias)
            elif what == "back":
                repo.rollback_alias(alias)
            elif what in ("label", "unlabel"):
                repo.label(tag, {"key": str(value) if what == "label" else None})
            elif what == "there":
                repo.remote("store").delete(tag, force=True)
            elif what == "forget":
                shutil.rmtree(repo.root / "cache", ignore_errors=True)
                repos[who] = mvs.open(repo.root)
            elif what == "apart":
                apart.alias(alias, apart.save(folder / "file", tag))
                apart.label(tag, {"other": str(value)})
            elif what == "push":
                apart.push(force=bool(value))
            else:
                apart.pull()
    late = mvs.init(folder / "late", store=url)
    assert contents(repos["ours"]) == contents(repos["theirs"]) == contents(late)
    assert {str(version.tag) for version in late.list()} == {str(version.tag) for version in late.remote().list()}


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
def test_whatever_is_done_all_say_the_same(steps: list[tuple[str, str, str, int, int]], tmp_path: Path) -> None:
    agree(steps, tmp_path / "agree")


@pytest.mark.deep
@settings(max_examples=500, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
def test_whatever_is_done_all_say_the_same_deep(steps: list[tuple[str, str, str, int, int]], tmp_path: Path) -> None:
    agree(steps, tmp_path / "agree")
