"""Packs become part of a store when they are whole, durable, and everything they rely on is there."""

import os
from pathlib import Path

import pytest
from blake3 import blake3

import mvs
from mvs.errors import MissingObject, StoreBusy, SyncFailed, UnsupportedFormat
from mvs.format import layout
from mvs.format.ids import ObjectId
from mvs.format.layout import new_format, with_packs
from mvs.format.pack import PACK_END, PACK_LINE
from mvs.store.store import Store
from tests.store.packs.made import Made, fill, joined, publish, put

A, B = b"a" * 10, bytes(range(200))
WHOLE = joined((A, 2, 9), (B, 3, 100))


def files(store: Store, *folders: str) -> list[Path]:
    return [path for folder in folders for path in sorted((store.root / folder).rglob("*")) if path.is_file()]


def test_the_name_of_a_pack_is_the_blake3_of_its_file(store: Store) -> None:
    """Anyone must be able to check a pack with a tool that is not ours."""
    path = publish(store, A, B, WHOLE)
    data = path.read_bytes()
    assert blake3(data).hexdigest() == path.parent.name + path.stem
    assert data.startswith(PACK_LINE + A + B)
    assert data.endswith(PACK_END)
    assert path.stat().st_mode & 0o777 == 0o444
    assert files(store, "packs") == [path]


def test_an_object_is_written_once(store: Store) -> None:
    path = publish(store, A, Made(A, "fill", b"a"), A)
    assert path.read_bytes().count(A) == 1


def test_the_same_pack_may_be_published_twice(store: Store) -> None:
    assert publish(store, A, B) == publish(store, A, B)
    assert store.objects.read(ObjectId.of(A)) == A


@pytest.mark.parametrize("gone", [A, B])
@pytest.mark.parametrize("how", ["loose", "packed", "damaged"])
def test_a_pack_that_relies_on_what_is_gone_is_refused(store: Store, gone: bytes, how: str) -> None:
    """Its objects could not be read, and their loose files would be removed."""
    put(store, *({A, B} - {gone}))
    if how == "packed":
        publish(store, gone).unlink()
    elif how == "damaged":
        path = publish(store, gone)
        path.chmod(0o644)
        path.write_bytes(b"")
    before = files(store, "packs", "objects", "staging")
    format = (store.root / "format").read_bytes()
    with pytest.raises(MissingObject, match=str(ObjectId.of(gone))) as caught:
        publish(store, WHOLE)
    assert caught.value.hint == "mvs dedup"
    assert files(store, "packs", "objects", "staging") == before
    assert (store.root / "format").read_bytes() == format


def test_what_is_relied_on_may_be_in_the_same_pack_another_or_loose(store: Store) -> None:
    put(store, A)
    publish(store, B)
    publish(store, WHOLE)
    publish(store, joined((WHOLE.plain, 1, 20), (A + B, 5, 30)), A + B)
    assert store.objects.read(ObjectId.of(WHOLE.plain)) == WHOLE.plain


def test_the_format_says_that_there_are_packs_before_there_is_one(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A release that does not know packs would take what lies in them for lost."""
    link, seen = os.link, []

    def watched(source: str, target: str, *, follow_symlinks: bool = True) -> None:
        if "/packs/" in target:
            seen.append((store.root / "format").read_bytes())
        link(source, target, follow_symlinks=follow_symlinks)

    monkeypatch.setattr(os, "link", watched)
    assert (store.root / "format").read_bytes() == b"mvs-store 1\n"
    publish(store, A)
    publish(store, B)
    assert seen == [b"mvs-store 1\nneeds-read packs\n"] * 2
    assert (store.root / "format").read_bytes() == b"mvs-store 1\nneeds-read packs\n"


def test_the_line_of_packs_is_added_once_and_to_what_is_there() -> None:
    line = b"needs-read packs\n"
    assert with_packs(new_format()) == b"mvs-store 1\n" + line
    for data in (b"mvs-store 1\nneeds-write notes\n", b"mvs-store 1\nneeds-write packs\n", b"mvs-store 1"):
        once = with_packs(data)
        assert once == data.rstrip(b"\n") + b"\n" + line
        assert with_packs(once) == once


def test_a_release_that_does_not_know_packs_refuses_a_store_with_packs(
    repo: mvs.Repository, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repo.save(folder, "bert:v1")
    with monkeypatch.context() as older:
        older.setattr(layout, "READ_FEATURES", frozenset())
        assert [str(version.tag) for version in mvs.open(repo.root.parent).list()] == ["bert:v1"]
    repo.dedup()
    with monkeypatch.context() as older:
        older.setattr(layout, "READ_FEATURES", frozenset())
        with pytest.raises(UnsupportedFormat, match="needs the feature 'packs'"):
            mvs.open(repo.root.parent)
    assert mvs.open(repo.root.parent).get("bert:v1").read_bytes("weights.bin")


def test_a_pack_is_durable_before_it_has_its_name(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """The loose files go next."""

    def fail(fd: int) -> None:
        raise OSError(5, "Input/output error")

    with store.session() as session:
        writer = store.pack_writer(f"{session.path}/pack")
        fill(writer, [Made(A)])
        monkeypatch.setattr(os, "fsync", fail)
        with pytest.raises(SyncFailed):
            writer.finish()
        writer.discard()
        assert not os.path.exists(writer.path)
    assert files(store, "packs") == []


def test_only_one_makes_packs_at_a_time(store: Store) -> None:
    with (
        store.packing(),
        pytest.raises(StoreBusy, match="another dedup, gc or repair is at work in this store"),
        Store(store.root).packing(),
    ):
        pass
    with store.packing():
        pass


def test_who_begins_to_make_packs_knows_what_the_one_before_made(store: Store) -> None:
    """Two objects could come to need one another, and both be lost."""
    put(store, A)
    waiting = Store(store.root)
    assert not waiting.objects.packs.is_needed(ObjectId.of(A))
    with store.packing():
        publish(store, joined((A, 0, 5)))
    with waiting.packing():
        assert waiting.objects.packs.is_needed(ObjectId.of(A))
