"""Manifests: what is read is what was written, or is refused."""

from typing import Any

import pytest

from mvs.errors import CorruptManifest, InvalidPath, UnsupportedFormat
from mvs.format import canonical
from mvs.format.ids import ObjectId
from mvs.format.manifest import MAGIC, FileEntry, Manifest, Tree
from mvs.format.names import Tag


def test_the_bytes_of_a_manifest_never_change() -> None:
    """A new release that writes other bytes gives the same version another id."""
    tree = Tree.of([FileEntry("b", 1, ObjectId(b"\1" * 32), True), FileEntry("a", 2, ObjectId(b"\2" * 32))], ["c"])
    manifest = Manifest(Tag("m", "v1"), 1, tree, tree.id, {"k": "v"}, {"x": 0.5}, {}, (ObjectId(b"\3" * 32),), "hi")
    assert str(tree.id) == "c4a13fd07649a53047235283170f1a53528c78ae0620222e1c20724fa1ad20de"
    assert str(ObjectId.of(manifest.encode())) == "e1041faddb02b9ff65a465f6d3cb74663ac06ce7ad88a0aeaf492d17cb2013a5"
    assert manifest.encode() == (
        b"mvs-manifest 1\n\x8b"
        b"\xa7context\x80"
        b"\xa7created\x01"
        b"\xa4dirs\x91\xa1c"
        b"\xa5files\x92"
        b"\x84\xa4blob\xc4\x20" + b"\2" * 32 + b"\xaaexecutable\xc2\xa4path\xa1a\xa4size\x02"
        b"\x84\xa4blob\xc4\x20" + b"\1" * 32 + b"\xaaexecutable\xc3\xa4path\xa1b\xa4size\x01"
        b"\xa6labels\x81\xa1k\xa1v"
        b"\xa7message\xa2hi"
        b"\xa8metadata\x81\xa1x\xcb\x3f\xe0\0\0\0\0\0\0"
        b"\xa4name\xa1m"
        b"\xa7parents\x91\xc4\x20" + b"\3" * 32 + b"\xa4tree\xc4\x20" + tree.id.raw + b"\xa7version\xa2v1"
    )


def _plain() -> dict[str, Any]:
    tree = Tree.of([FileEntry("a", 1, ObjectId(bytes(32))), FileEntry("b", 1, ObjectId(bytes(32)))], ["x", "y"])
    manifest = Manifest(Tag("m", "v1"), 1, tree, tree.id, {}, {}, {}, (), "")
    fields: dict[str, Any] = canonical.decode(manifest.encode()[len(MAGIC) :])
    return fields


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("name", "Bert"),
        ("name", ""),
        ("name", "a//b"),
        ("version", "latest"),
        ("version", "v1\n"),
        ("created", -1),
        ("created", True),
        ("created", 1.0),
        ("dirs", ["y", "x"]),
        ("dirs", [1]),
        ("dirs", ["a"]),
        ("dirs", ["../x"]),
        ("files", [{"path": "a", "size": 1, "blob": bytes(32)}]),
        ("files", [{"path": "a", "size": 1, "blob": bytes(32), "executable": False, "mode": 7}]),
        ("files", [{"path": "a", "size": 1, "blob": bytes(32), "executable": 0}]),
        ("files", [{"path": "a", "size": True, "blob": bytes(32), "executable": False}]),
        ("files", [{"path": "a", "size": -1, "blob": bytes(32), "executable": False}]),
        ("files", [{"path": "a", "size": 1, "blob": bytes(31), "executable": False}]),
        ("files", [{"path": "/a", "size": 1, "blob": bytes(32), "executable": False}]),
        ("files", [{"path": ".mvs/config.toml", "size": 1, "blob": bytes(32), "executable": False}]),
        ("files", {}),
        ("labels", {"a": 1}),
        ("labels", []),
        ("metadata", None),
        ("context", []),
        ("parents", [bytes(31)]),
        ("parents", ["0" * 64]),
        ("message", None),
        ("tree", bytes(32)),
        ("tree", bytes(31)),
    ],
)
def test_a_wrong_field_is_refused_although_the_tree_id_fits(key: str, value: Any) -> None:
    fields = {**_plain(), key: value}
    if key in ("dirs", "files"):
        tree = {"dirs": fields["dirs"], "files": fields["files"]}
        fields["tree"] = ObjectId.of(canonical.encode(tree)).raw
    with pytest.raises(CorruptManifest):
        Manifest.decode(MAGIC + canonical.encode(fields))


@pytest.mark.parametrize("key", sorted(_plain()))
def test_a_missing_field_is_refused(key: str) -> None:
    fields = _plain()
    del fields[key]
    with pytest.raises(CorruptManifest):
        Manifest.decode(MAGIC + canonical.encode(fields))


def test_files_in_another_order_are_refused() -> None:
    """Equal content must have one tree id."""
    fields = _plain()
    fields["files"].reverse()
    fields["tree"] = ObjectId.of(canonical.encode({"dirs": fields["dirs"], "files": fields["files"]})).raw
    with pytest.raises(CorruptManifest, match="not sorted"):
        Manifest.decode(MAGIC + canonical.encode(fields))


def test_a_manifest_of_a_later_release_is_refused_by_name() -> None:
    with pytest.raises(UnsupportedFormat, match="mvs-manifest 2"):
        Manifest.decode(b"mvs-manifest 2\n\x80")


def test_keys_of_a_later_release_are_kept() -> None:
    """Dropping them would give the manifest another id when it is written to another store."""
    data = MAGIC + canonical.encode({**_plain(), "signature": {"by": b"\0\1", "of": [1, None]}})
    manifest = Manifest.decode(data)
    assert manifest.extra == {"signature": {"by": b"\0\1", "of": [1, None]}}
    assert manifest.encode() == data


def test_labels_that_another_program_wrote_are_read() -> None:
    """The format holds any string; only what a user may type is narrower."""
    data = MAGIC + canonical.encode({**_plain(), "labels": {"a=b": "", " x": "y"}})
    assert Manifest.decode(data).encode() == data


def test_equal_files_have_one_tree_id_in_any_order() -> None:
    entries = [FileEntry("b", 1, ObjectId(bytes(32))), FileEntry("a", 1, ObjectId(bytes(32)))]
    assert Tree.of(entries, ["y", "x"]) == Tree.of(entries[::-1], ["x", "y"])
    assert Tree.of(entries, []).id != Tree.of(entries, ["x"]).id


def test_a_tree_with_colliding_paths_cannot_be_made() -> None:
    with pytest.raises(InvalidPath):
        Tree.of([FileEntry("a", 1, ObjectId(bytes(32))), FileEntry("A", 1, ObjectId(bytes(32)))], [])
