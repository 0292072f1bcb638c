"""Stores that earlier releases wrote are read, and what was read is written the same again."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from blake3 import blake3

import mvs
from mvs.errors import TagTaken
from mvs.format.ids import ObjectId
from mvs.format.layout import new_format
from mvs.format.lines.journal import MAGIC, Event
from mvs.format.lines.refs import Ref
from mvs.format.manifest import Manifest
from mvs.store.store import Store

GOLDEN = Path(__file__).parent / "format-1"
REFS = sorted(path for path in GOLDEN.glob("refs/**/@*") if path.is_file())
EVENTS = sorted(GOLDEN.glob("journal/**/@events"))
OBJECTS = sorted(path for path in GOLDEN.glob("objects/*/*") if path.is_file())

FILES = {
    "acme/bert:v1": {
        "run.sh": b"#!/bin/sh\n",
        "sub/größe.txt": b"",
        "sub/vocab.txt": b"a\nb\n",
        "weights.bin": b"\0\1\2\3",
    },
    "acme/bert:v2": {
        "run.sh": b"#!/bin/sh\n",
        "sub/größe.txt": b"",
        "sub/vocab.txt": b"a\nb\n",
        "weights.bin": b"\0\1\2\4",
    },
    "acme/bert:v4": {"weights.bin": b"last"},
    "acme:bert": {"x": b"x"},
    "later:v1": {"x": b"x"},
}
IDS = {
    "acme/bert:v1": "d06bca2c29275be7b2d71e6007aae26c11abc9c42a6bdb5b263d0b629046b045",
    "acme/bert:v2": "257ae4da9bc8006beeba61ef2c31e6c106c3a75e0255c9fabd1fd1cf4db9499c",
    "acme/bert:v4": "5ef07670ceb5414be262bd1e76d4f3dccf9282078669b3b5ceccdc60461717ae",
    "acme:bert": "e6c8ee37c3dfc4656ae09aff1fe6a0c5e304606a9df822f88eade919fb52a4a9",
    "later:v1": "c8b3f205d0ee118a6f66b456b15ac54aff905d141d630220606b6a9b888af172",
}


@pytest.fixture
def golden(tmp_path: Path) -> mvs.Repository:
    """A copy that may be written to."""
    shutil.copytree(GOLDEN, tmp_path / "golden", copy_function=shutil.copyfile)
    return mvs.open(tmp_path / "golden")


def _manifests() -> Iterator[bytes]:
    for path in OBJECTS:
        data = path.read_bytes()
        if data.startswith(b"mvs-manifest "):
            yield data


def test_every_version_is_listed_newest_first(golden: mvs.Repository) -> None:
    listed = [str(version.tag) for version in golden.list()]
    assert listed == ["later:v1", "acme/bert:v4", "acme:bert", "acme/bert:v2", "acme/bert:v1"]


@pytest.mark.parametrize("tag", FILES)
def test_every_version_is_read(golden: mvs.Repository, tag: str) -> None:
    """A release that cannot read what another wrote has lost it."""
    version = golden.get(tag)
    assert version.id == IDS[tag]
    assert {file.path: version.read_bytes(file.path) for file in version.files} == FILES[tag]
    assert {file.path for file in version.files if file.executable} <= {"run.sh"}
    assert {path: (version.path / path).read_bytes() for path in FILES[tag]} == FILES[tag]


def test_every_fact_of_a_version_is_read(golden: mvs.Repository) -> None:
    version = golden.get("acme/bert:v1")
    assert version.created.isoformat() == "2026-11-23T10:45:12+00:00"
    assert version.labels == {"stage": "production", "größe": "mini"}
    assert version.metadata == {
        "accuracy": 0.94,
        "tiny": 5e-324,
        "none": None,
        "flags": [True, False],
        "integers": [0, 127, 128, 65536, -1, -33, -(2**63), 2**64 - 1],
        "nested": {"ключ": [{"a": []}, {}, "x" * 40]},
        "\U0001f600": 1,
        "\uff61": 2,
    }
    assert version.context == {"mvs": "0.1.0", "git": {"commit": "0" * 40, "dirty": False}}
    assert version.message == "the first"
    assert version.tree == "08f2954f58f614c38f734d15647213cae3b5a55b427699291cf39efd90364730"
    assert golden.get("acme/bert:v2").parents == (version.id,)
    assert (version.path / "hollow" / "inner").is_dir()
    assert [file.path for file in version.files if file.executable] == ["run.sh"]


@pytest.mark.parametrize(
    ("spec", "tag"),
    [
        ("acme", "acme:bert"),
        ("acme/bert", "acme/bert:v4"),
        ("acme/bert:latest~2", "acme/bert:v1"),
        ("acme/bert@prod", "acme/bert:v2"),
        ("acme/bert#d06b", "acme/bert:v1"),
        ("later", "later:v1"),
    ],
)
def test_every_kind_of_name_is_resolved(golden: mvs.Repository, spec: str, tag: str) -> None:
    assert str(golden.get(spec).tag) == tag


def test_the_history_is_read_over_a_torn_line() -> None:
    assert [(event.event, event.version) for event in Store(GOLDEN).journal.events("acme/bert")] == [
        ("save", "v1"),
        ("save", "v2"),
        ("save", "v3"),
        ("delete", "v3"),
        ("delete", "v1"),
        ("restore", "v1"),
        ("save", "v4"),
    ]


def test_a_deleted_tag_is_still_taken_and_can_be_restored(golden: mvs.Repository, folder: Path) -> None:
    with pytest.raises(TagTaken):
        golden.save(folder, "acme/bert:v3")
    assert golden.restore("acme/bert:v3").read_bytes("weights.bin") == b"bad"
    assert str(golden.get("acme/bert").tag) == "acme/bert:v4"


def test_the_store_can_be_added_to(golden: mvs.Repository, folder: Path) -> None:
    saved = golden.save(folder, "acme/bert", parents=["acme/bert:v4"])
    assert golden.get("acme/bert") == saved
    assert saved.parents == (IDS["acme/bert:v4"],)


def test_objects_lie_under_their_ids() -> None:
    assert OBJECTS
    for path in OBJECTS:
        assert blake3(path.read_bytes()).hexdigest() == path.parent.name + path.name


def test_manifests_are_written_the_same_again() -> None:
    """Copied into another store, a version would get another id."""
    manifests = list(_manifests())
    assert len(manifests) == 6
    for data in manifests:
        manifest = Manifest.decode(data)
        assert manifest.encode() == data
        assert manifest.tree.id == manifest.tree_id


def test_refs_are_written_the_same_again() -> None:
    assert len(REFS) == 9
    for path in REFS:
        assert Ref.decode(path.read_bytes()).encode() == path.read_bytes()


def test_journal_lines_are_written_the_same_again() -> None:
    lines = [line for path in EVENTS for line in path.read_bytes().removeprefix(MAGIC).splitlines(keepends=True)]
    events = [(line, Event.decode(line[:-1])) for line in lines]
    assert [line for line, event in events if event is None] == [b'0123456789abcdef {"at":17954307\n']
    assert [event.encode() for _, event in events if event] == [line for line, event in events if event]


def test_the_format_file_is_written_the_same_again() -> None:
    assert new_format() == (GOLDEN / "format").read_bytes()


def test_a_version_of_a_later_release_keeps_what_is_not_understood(golden: mvs.Repository) -> None:
    store = Store(golden.store)
    manifest = Manifest.decode(store.objects.read(ObjectId.from_hex(IDS["later:v1"])))
    assert manifest.extra == {"signature": {"by": "ann", "bytes": b"\0\xff"}}
