"""The log of a remote: one history, whoever writes and whatever gets lost."""

import os
import threading
from pathlib import Path
from typing import Any

import pytest

from mvs.backends.buckets import Bucket
from mvs.backends.buckets.folder import FolderBucket
from mvs.backends.directory import Directory
from mvs.errors import CorruptRemote, RemoteChanged, RemoteFailed
from mvs.format.ids import ObjectId
from mvs.format.manifest import Manifest, Tree
from mvs.format.names import Tag
from mvs.format.remote import TIP_KEY, Entry, Move, Note, PackPlace, Sent, entry_key, run_key
from mvs.store.remote.log import Log, probe
from mvs.store.remote.state import State
from tests.store.remote.buckets import Broken, Counting, Forgetful


@pytest.fixture
def bucket(tmp_path: Path) -> FolderBucket:
    return FolderBucket(str(tmp_path / "remote"))


def log_of(bucket: Bucket, folder: Path) -> Log:
    """Return the log as a client sees it whose cache is `folder`."""
    folder.mkdir(exist_ok=True)
    return Log(bucket, Directory(str(folder), durable=False, temps="staging"), "key")


def entry(state: State, **fields: object) -> Entry:
    return Entry(
        number=state.number + 1,
        previous=state.last,
        at=0,
        by="tester",
        nonce=os.urandom(8),
        **fields,  # type: ignore[arg-type]
    )


def manifest(tag: str) -> bytes:
    tree = Tree((), ())
    return Manifest(Tag.parse(tag), 1, tree, tree.id, {}, {}, {}, (), "").encode()


def add(log: Log, tag: str) -> State:
    def make(state: State) -> Entry | None:
        return None if tag in state.versions else entry(state, versions=(Sent(manifest(tag), ()),))

    return log.commit(make)


def test_what_one_client_commits_another_sees(bucket: FolderBucket, tmp_path: Path) -> None:
    ours, theirs = log_of(bucket, tmp_path / "a"), log_of(bucket, tmp_path / "b")
    ours.begin(single_writer=False)
    add(ours, "m:1")
    assert set(theirs.state().versions) == {"m:1"}
    add(theirs, "m:2")
    state = ours.state()
    assert set(state.versions) == {"m:1", "m:2"}
    assert Manifest.decode(ours.manifest("m:2", state)).tag == Tag.parse("m:2")
    assert {Manifest.decode(data).tag.version for data in ours.manifests(state)} == {"1", "2"}


def test_all_that_many_clients_commit_at_once_is_there_once(bucket: FolderBucket, tmp_path: Path) -> None:
    log_of(bucket, tmp_path / "first").begin(single_writer=False)

    def work(number: int) -> None:
        log = log_of(bucket, tmp_path / f"client{number}")
        for version in range(4):
            add(log, f"m{number}:{version}")
            add(log, f"shared:{version}")

    workers = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    state = log_of(bucket, tmp_path / "last").state()
    assert set(state.versions) == {
        *(f"m{number}:{version}" for number in range(8) for version in range(4)),
        *(f"shared:{version}" for version in range(4)),
    }
    assert state.number == 36


def test_whose_answer_was_lost_finds_his_own_entry_and_does_not_write_another(
    bucket: FolderBucket, tmp_path: Path
) -> None:
    log = log_of(Forgetful(bucket), tmp_path / "a")
    log.begin(single_writer=False)
    assert add(log, "m:1").number == 1
    assert log.state().number == 1


def test_a_move_made_on_a_wrong_belief_is_made_again_on_the_right_one(bucket: FolderBucket, tmp_path: Path) -> None:
    log, other = log_of(bucket, tmp_path / "a"), log_of(bucket, tmp_path / "b")
    log.begin(single_writer=False)
    add(log, "m:1")
    add(log, "m:2")
    one, two = (ObjectId.of(manifest(tag)) for tag in ("m:1", "m:2"))
    seen: list[ObjectId | None] = []

    def make(state: State) -> Entry:
        seen.append(state.aliases.get("m@prod"))
        if len(seen) == 1:
            other.commit(lambda theirs: entry(theirs, aliases=(Move("m@prod", None, one),)))
        return entry(state, aliases=(Move("m@prod", state.aliases.get("m@prod"), two),))

    log.commit(make)
    assert seen == [None, one]
    assert log.state().aliases == {"m@prod": two}


@pytest.mark.parametrize(
    "wrong",
    [
        {"aliases": (Move("m@prod", None, ObjectId.of(manifest("m:2"))),)},
        {"aliases": (Move("n@prod", None, ObjectId.of(manifest("m:1"))),)},
        {"aliases": (Move("m@latest", None, ObjectId.of(manifest("m:1"))),)},
        {"aliases": (Move("../m@prod", None, ObjectId.of(manifest("m:1"))),)},
        {"notes": (Note("m:2", "stage", "new"),)},
        {"notes": (Note("m:1", "sta=ge", "new"),)},
        {"notes": (Note("m:1", "stage", ""),)},
    ],
)
def test_aliases_and_notes_that_no_version_can_have_are_refused(
    bucket: FolderBucket, tmp_path: Path, wrong: dict[str, Any]
) -> None:
    """Whoever can write to a bucket must not write to the stores of those who read it."""
    log = log_of(bucket, tmp_path / "a")
    log.begin(single_writer=False)
    state = add(log, "m:1")
    bucket.create(entry_key(2), entry(state, **wrong).encode())
    with pytest.raises(CorruptRemote, match="entry 2"):
        log.state()


def test_a_version_that_goes_takes_its_notes_with_it(bucket: FolderBucket, tmp_path: Path) -> None:
    """The next one of this tag may be another model."""
    log = log_of(bucket, tmp_path / "a")
    log.begin(single_writer=False)
    id = add(log, "m:1").versions["m:1"].id
    log.commit(lambda state: entry(state, notes=(Note("m:1", "reviewed", "yes"),)))
    assert log.commit(lambda state: entry(state, deleted=(("m:1", id),))).notes == {}
    assert add(log, "m:1").notes == {}


def test_many_entries_are_read_anew_with_few_requests(bucket: FolderBucket, tmp_path: Path) -> None:
    writer = log_of(bucket, tmp_path / "writer")
    writer.begin(single_writer=False)
    for number in range(255):
        add(writer, f"m:{number}")
    counting = Counting(bucket)
    reader = log_of(counting, tmp_path / "reader")
    assert len(reader.state().versions) == 255
    # Format, tip, three runs for each of four powers of four, and the one that is not there; the tip may be behind.
    assert len(counting.asked) <= 20
    counting.asked.clear()
    reader.state()
    assert counting.asked == [f"read {entry_key(255)}", f"read {entry_key(256)}"]


@pytest.mark.parametrize("lost", [TIP_KEY, run_key(1, 16), run_key(5, 8)])
def test_what_is_derived_can_be_lost_or_damaged(bucket: FolderBucket, tmp_path: Path, lost: str) -> None:
    writer = log_of(bucket, tmp_path / "writer")
    writer.begin(single_writer=False)
    for number in range(18):
        add(writer, f"m:{number}")
    bucket.write(lost, b"999999999999 nonsense")
    assert len(log_of(bucket, tmp_path / "a").state().versions) == 18
    bucket.remove([lost])
    assert len(log_of(bucket, tmp_path / "b").state().versions) == 18


def test_a_history_that_was_put_back_is_noticed(bucket: FolderBucket, tmp_path: Path) -> None:
    log = log_of(bucket, tmp_path / "a")
    log.begin(single_writer=False)
    add(log, "m:1")
    add(log, "m:2")
    bucket.remove([entry_key(2)])
    with pytest.raises(RemoteChanged, match="entry 2"):
        log.state()
    add(log_of(bucket, tmp_path / "b"), "m:3")
    with pytest.raises(RemoteChanged, match="entry 2"):
        log.state()


def test_an_entry_that_does_not_follow_is_refused(bucket: FolderBucket, tmp_path: Path) -> None:
    log = log_of(bucket, tmp_path / "a")
    log.begin(single_writer=False)
    state = add(log, "m:1")
    gone, pack = ObjectId(bytes([7]) * 32), ObjectId(bytes([8]) * 32)
    for wrong in (
        Entry(number=3, previous=state.last, at=0, by="", nonce=b""),
        Entry(number=2, previous=gone, at=0, by="", nonce=b""),
        entry(state, versions=(Sent(manifest("m:1"), ()),)),
        entry(state, versions=(Sent(manifest("m:2"), (pack,)),)),
        entry(state, versions=(Sent(b"no manifest", ()),)),
        entry(state, deleted=(("m:2", gone),)),
        entry(state, aliases=(Move("m@prod", gone, None),)),
        entry(state, fence=2, packs=(PackPlace(pack, 1, 10),)),
    ):
        bucket.write(entry_key(2), wrong.encode())
        with pytest.raises(CorruptRemote):
            log_of(bucket, tmp_path / "reader").state()
    bucket.write(entry_key(2), b"something else")
    with pytest.raises(CorruptRemote):
        log.state()


def test_a_commit_cut_off_at_any_request_is_done_or_not(tmp_path: Path) -> None:
    for after in range(40):
        bucket = FolderBucket(str(tmp_path / f"remote{after}"))
        first = log_of(bucket, tmp_path / f"first{after}")
        first.begin(single_writer=False)
        for number in range(3):
            add(first, f"m:{number}")
        log = log_of(Broken(bucket, after), tmp_path / f"cut{after}")
        try:
            add(log, "m:3")
        except RemoteFailed:
            assert set(first.state().versions) - {"m:3"} == {"m:0", "m:1", "m:2"}
            add(log_of(bucket, tmp_path / f"cut{after}"), "m:3")
        assert len(log_of(bucket, tmp_path / f"new{after}").state().versions) == 4


def test_a_server_that_ignores_the_condition_is_found_out(bucket: FolderBucket) -> None:
    class Careless(Counting):
        def create(self, key: str, data: bytes) -> bool:
            self.write(key, data)
            return True

    assert probe(bucket)
    assert not probe(Careless(bucket))
    assert list(bucket.keys("probes/")) == []


def test_a_kept_state_that_is_damaged_is_made_again(bucket: FolderBucket, tmp_path: Path) -> None:
    log = log_of(bucket, tmp_path / "a")
    log.begin(single_writer=False)
    add(log, "m:1")
    for path in (tmp_path / "a").rglob("state"):
        path.write_bytes(b"\x93\x01")
    assert set(log.state().versions) == {"m:1"}
