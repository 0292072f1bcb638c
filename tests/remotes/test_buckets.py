"""What every bucket must do, whatever it is made of."""

import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from mvs.backends.buckets import Address, Bucket, open_bucket
from mvs.backends.buckets.folder import FolderBucket
from mvs.backends.buckets.objects import ObjectBucket
from mvs.backends.buckets.ssh import SshBucket
from mvs.errors import InvalidConfig, RemoteFailed

Make = Callable[[], Bucket]


@pytest.fixture(params=["folder", "s3", "ssh"])
def bucket(request: pytest.FixtureRequest, tmp_path: Path) -> Bucket:
    if request.param == "folder":
        return FolderBucket(str(tmp_path / "remote"))
    if request.param == "ssh":
        return SshBucket(request.getfixturevalue("far"), patience=30)
    options = {"endpoint": request.getfixturevalue("s3"), "region": "us-east-1"}
    return ObjectBucket(request.getfixturevalue("bucket_url"), options, patience=30)


def test_what_was_created_is_read(bucket: Bucket) -> None:
    assert bucket.create("a/b", b"value")
    assert bucket.read("a/b") == b"value"
    assert bucket.size("a/b") == 5


def test_a_key_is_created_once(bucket: Bucket) -> None:
    assert bucket.create("a/b", b"first")
    assert not bucket.create("a/b", b"second")
    assert bucket.read("a/b") == b"first"


def test_of_many_who_create_a_key_one_wins(bucket: Bucket) -> None:
    won: list[bytes] = []

    def race(name: bytes) -> None:
        if bucket.create("log/1", name):
            won.append(name)

    racers = [threading.Thread(target=race, args=(bytes([number]),)) for number in range(8)]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join()
    assert won == [bucket.read("log/1")]


def test_keys_are_told_with_the_time_they_were_written(bucket: Bucket) -> None:
    began = int(time.time())
    bucket.create("a/b", b"value")
    [found] = bucket.keys("a/")
    assert (found.key, found.size) == ("a/b", 5)
    assert found.written is not None
    assert began - 5 <= found.written <= time.time() + 5


def test_a_key_without_value_is_told(bucket: Bucket) -> None:
    assert bucket.size("a/b") is None
    with pytest.raises(FileNotFoundError):
        bucket.read("a/b")
    with pytest.raises(FileNotFoundError):
        bucket.read_range("a/b", 0, 1)


def test_a_run_of_a_value_is_read(bucket: Bucket) -> None:
    bucket.create("a", bytes(range(100)))
    assert bucket.read_range("a", 10, 20) == bytes(range(10, 30))
    assert bucket.read_range("a", 90, 50) == bytes(range(90, 100))
    assert bucket.read_range("a", 10, 0) == b""


def test_what_is_written_replaces_what_was_there(bucket: Bucket) -> None:
    bucket.write("tip", b"1")
    bucket.write("tip", b"2")
    assert bucket.read("tip") == b"2"


def test_a_file_is_uploaded_whole_and_told_of(bucket: Bucket, tmp_path: Path) -> None:
    data = bytes(range(256)) * (20 << 12)
    (tmp_path / "file").write_bytes(data)
    told: list[int] = []
    bucket.upload("packs/1", str(tmp_path / "file"), told.append)
    assert sum(told) == len(data)
    assert bucket.size("packs/1") == len(data)
    assert bucket.read_range("packs/1", len(data) - 256, 256) == bytes(range(256))


def test_keys_are_found_by_prefix(bucket: Bucket) -> None:
    for key in ("log/1", "log/2", "packs/0/x", "logs"):
        bucket.create(key, key.encode())
    assert sorted((found.key, found.size) for found in bucket.keys("log/")) == [("log/1", 5), ("log/2", 5)]
    assert list(bucket.keys("nothing/")) == []


def test_removed_keys_are_gone_and_others_stay(bucket: Bucket) -> None:
    bucket.create("a", b"")
    bucket.create("b", b"")
    bucket.remove(["a", "never"])
    assert bucket.size("a") is None
    assert bucket.size("b") == 0


def test_a_url_of_no_known_kind_is_refused() -> None:
    with pytest.raises(InvalidConfig, match="no URL of a remote"):
        open_bucket(Address("gopher://host/path"))


def test_a_folder_that_cannot_be_made_is_an_error_of_mvs(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    bucket = open_bucket(Address(str(tmp_path / "file" / "below")))
    with pytest.raises(RemoteFailed, match="in the way"):
        bucket.create("a", b"")
