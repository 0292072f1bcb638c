"""Refs: a tag means one thing, and `latest` the last one, whatever was cut off."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from mvs.errors import CorruptRef, SyncFailed, UnsupportedFormat
from mvs.format.ids import ObjectId
from mvs.format.lines.refs import Ref
from mvs.format.names import Tag
from mvs.store.names.refs import Pending, Refs
from mvs.store.store import Store


def _ref(number: int, name: str = "m") -> Ref:
    """Return a ref whose version, id and time are all made from `number`."""
    return Ref(Tag(name, f"v{number}"), ObjectId(bytes([number]) * 32), number * 1000)


def _prepare(store: Store, ref: Ref) -> Pending:
    return store.refs.prepare(ref, newest=store.refs.would_be_latest(ref))


def _save(store: Store, *numbers: int) -> list[Ref]:
    refs = [_ref(number) for number in numbers]
    for ref in refs:
        store.refs.prepare(ref, newest=True).commit()
    return refs


def _file(store: Store, word: str, name: str = "m") -> Path:
    return store.root / "refs" / "tags" / name / f"@{word}"


class TestReading:
    def test_a_saved_ref_is_read_again(self, store: Store) -> None:
        (saved,) = _save(store, 1)
        assert store.refs.read(saved.tag) == saved
        assert store.refs.exists(saved.tag)
        assert store.refs.latest("m") == saved
        assert _file(store, "v1").read_bytes() == saved.encode()

    def test_what_was_never_saved_is_none(self, store: Store) -> None:
        assert store.refs.read(Tag("m", "v1")) is None
        assert not store.refs.exists(Tag("m", "v1"))
        assert store.refs.latest("m") is None
        assert store.refs.of_name("m") == []
        assert store.refs.names() == []
        assert store.refs.alias("m", "prod") is None

    def test_versions_come_most_recently_saved_first(self, store: Store) -> None:
        one, three, two = _save(store, 1, 3, 2)
        assert store.refs.of_name("m") == [three, two, one]

    def test_a_version_and_a_name_of_the_same_spelling_stay_apart(self, store: Store) -> None:
        """`acme` with a version `bert` beside the name `acme/bert`."""
        version = Ref(Tag("acme", "bert"), ObjectId(bytes(32)), 1)
        below = Ref(Tag("acme/bert", "v1"), ObjectId(bytes(32)), 2)
        for ref in (version, below):
            store.refs.prepare(ref, newest=True).commit()
        assert store.refs.names() == ["acme", "acme/bert"]
        assert store.refs.latest("acme") == version
        assert store.refs.latest("acme/bert") == below

    def test_names_need_a_version(self, store: Store) -> None:
        (ref,) = _save(store, 1)
        _prepare(store, _ref(1, "a/b/c")).commit()
        assert store.refs.names() == ["a/b/c", "m"]
        store.refs.remove([ref])
        assert store.refs.names() == ["a/b/c"]

    def test_stray_files_are_no_versions(self, store: Store) -> None:
        """What an editor, a backup or a file manager leaves must not break a store."""
        (saved,) = _save(store, 1)
        for stray in ("@v2~", "@.v2.swp", "@V2", "@v2.", "@", "v2", ".DS_Store"):
            _file(store, "v1").with_name(stray).write_bytes(b"stray")
        (store.root / "refs" / "tags" / "UPPER").mkdir()
        (store.root / "refs" / "tags" / "UPPER" / "@v1").write_bytes(b"stray")
        (store.root / "refs" / "tags" / "lost+found").mkdir()
        assert store.refs.of_name("m") == [saved]
        assert store.refs.names() == ["m"]
        _save(store, 3)
        assert _file(store, "v1").with_name("@v2~").exists()

    def test_a_reader_that_was_overtaken_looks_again(self, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        """Between listing and reading, the one version was replaced by another."""
        one, two = _save(store, 1, 2)
        store.refs.remove([one])
        _file(store, "latest").unlink()
        listings = [["v1"], ["v1"], ["v2"]]

        def stale(self: Refs, name: str) -> Iterator[str]:
            yield from listings.pop(0)

        monkeypatch.setattr(Refs, "versions", stale)
        assert store.refs.latest("m") == two
        assert listings == []


class TestLatest:
    """Every half-done state of a save or a deletion leaves the right `latest`."""

    def test_it_is_the_most_recently_saved(self, store: Store) -> None:
        for ref in _save(store, 1, 2, 3):
            assert store.refs.read(ref.tag) == ref
        assert store.refs.latest("m") == _ref(3)
        assert _file(store, "latest").read_bytes() == _ref(3).encode()

    def test_a_restored_older_version_does_not_take_it(self, store: Store) -> None:
        _save(store, 1, 3)
        _prepare(store, _ref(2)).commit()
        assert store.refs.latest("m") == _ref(3)

    def test_a_save_cut_off_before_its_ref_does_not_move_it(self, store: Store) -> None:
        _save(store, 1, 2)
        _prepare(store, _ref(3))
        assert _file(store, "latest").read_bytes() == _ref(3).encode()
        assert store.refs.latest("m") == _ref(2)
        assert store.refs.of_name("m") == [_ref(2), _ref(1)]

    def test_a_first_save_cut_off_before_its_ref_leaves_no_version(self, store: Store) -> None:
        _prepare(store, _ref(1))
        assert store.refs.latest("m") is None
        assert store.refs.names() == []

    def test_a_save_after_one_that_was_cut_off_has_it(self, store: Store) -> None:
        _save(store, 1)
        _prepare(store, _ref(2))
        _save(store, 3)
        assert store.refs.latest("m") == _ref(3)

    def test_a_ref_that_was_given_up_leaves_nothing_beside(self, store: Store) -> None:
        _prepare(store, _ref(1)).discard()
        assert list((store.root / "staging").iterdir()) == []

    def test_a_deletion_moves_it_back(self, store: Store) -> None:
        _save(store, 1, 2, 3)
        store.refs.remove([_ref(3)])
        assert store.refs.latest("m") == _ref(2)
        assert _file(store, "latest").read_bytes() == _ref(2).encode()

    def test_a_deletion_of_an_older_version_leaves_it(self, store: Store) -> None:
        _save(store, 1, 2, 3)
        store.refs.remove([_ref(1)])
        assert store.refs.latest("m") == _ref(3)

    def test_the_deletion_of_all_removes_it(self, store: Store) -> None:
        store.refs.remove(_save(store, 1, 2, 3))
        assert store.refs.latest("m") is None
        assert not _file(store, "latest").exists()

    def test_a_deletion_cut_off_after_its_ref_moves_it_back(self, store: Store) -> None:
        _save(store, 1, 2)
        _file(store, "v2").unlink()
        assert _file(store, "latest").read_bytes() == _ref(2).encode()
        assert store.refs.latest("m") == _ref(1)

    def test_a_deletion_of_all_cut_off_leaves_no_version(self, store: Store) -> None:
        _save(store, 1)
        _file(store, "v1").unlink()
        assert store.refs.latest("m") is None

    def test_the_copy_of_what_a_tag_meant_before_is_not_believed(self, store: Store) -> None:
        """A tag deleted and deliberately given other content."""
        _save(store, 1, 2)
        _file(store, "v2").unlink()
        again = Ref(Tag("m", "v2"), ObjectId(b"\x09" * 32), 9000)
        _file(store, "v2").write_bytes(again.encode())
        assert store.refs.latest("m") == again

    @pytest.mark.parametrize(
        "copy", [b"", b"garbage", b"mvs-ref 1 m:v2\n", _ref(1, "other").encode(), b"x" * 5000, None]
    )
    def test_a_damaged_or_missing_copy_is_not_believed(self, store: Store, copy: bytes | None) -> None:
        _save(store, 1, 2)
        _file(store, "latest").unlink()
        if copy is not None:
            _file(store, "latest").write_bytes(copy)
        assert store.refs.latest("m") == _ref(2)
        _save(store, 3)
        assert store.refs.latest("m") == _ref(3)

    def test_a_copy_in_a_later_format_is_not_believed_either(self, store: Store) -> None:
        """It is only a copy: the refs themselves can be read."""
        _save(store, 1, 2)
        _file(store, "latest").write_bytes(b"mvs-ref 2 whatever\n")
        assert store.refs.latest("m") == _ref(2)

    def test_a_restore_beside_a_damaged_version_does_not_take_it(self, store: Store) -> None:
        """`name:latest` would go back to the oldest version, and say nothing."""
        _save(store, 2, 3, 4)
        _file(store, "v4").write_bytes(b"damaged")
        _prepare(store, _ref(1)).commit()
        with pytest.raises(CorruptRef):
            store.refs.latest("m")


class TestDamage:
    @pytest.mark.parametrize("data", [b"", b"\0" * 120, _ref(1).encode()[:-1], _ref(1).encode() * 2, b"x" * 70_000])
    def test_a_damaged_ref_is_refused_by_its_place(self, store: Store, data: bytes) -> None:
        _save(store, 1)
        _file(store, "v1").write_bytes(data)
        with pytest.raises(CorruptRef, match="@v1"):
            store.refs.read(Tag("m", "v1"))
        assert store.refs.exists(Tag("m", "v1"))
        with pytest.raises(CorruptRef):
            store.refs.of_name("m")
        with pytest.raises(CorruptRef):
            store.refs.latest("m")

    def test_a_folder_in_the_place_of_a_ref_is_damage(self, store: Store) -> None:
        _file(store, "v1").mkdir(parents=True)
        with pytest.raises(CorruptRef):
            store.refs.read(Tag("m", "v1"))

    def test_the_ref_of_another_tag_is_damage(self, store: Store) -> None:
        """A file copied over another: `m:v1` would quietly mean `m:v2`."""
        _save(store, 1, 2)
        _file(store, "v1").write_bytes(_ref(2).encode())
        with pytest.raises(CorruptRef, match="m:v2"):
            store.refs.read(Tag("m", "v1"))

    def test_a_ref_of_a_later_release_is_refused_by_name(self, store: Store) -> None:
        _save(store, 1)
        _file(store, "v1").write_bytes(b"mvs-ref 2 m:v1\n")
        with pytest.raises(UnsupportedFormat, match="mvs-ref 2"):
            store.refs.read(Tag("m", "v1"))

    def test_a_damaged_neighbour_does_not_keep_a_version_from_being_saved(self, store: Store) -> None:
        _save(store, 1, 2)
        _file(store, "v2").write_bytes(b"damaged")
        _save(store, 3)
        assert store.refs.latest("m") == _ref(3)

    def test_deletion_beside_a_damaged_version_leaves_no_false_latest(self, store: Store) -> None:
        _save(store, 1, 2, 3)
        _file(store, "v2").write_bytes(b"damaged")
        store.refs.remove([_ref(3)])
        with pytest.raises(CorruptRef):
            store.refs.latest("m")


class TestCreation:
    def test_a_ref_is_never_replaced(self, store: Store) -> None:
        _save(store, 1)
        other = Ref(Tag("m", "v1"), ObjectId(b"\x09" * 32), 9000)
        with pytest.raises(CorruptRef, match="appeared"):
            _prepare(store, other).commit()
        assert store.refs.read(Tag("m", "v1")) == _ref(1)
        assert store.refs.latest("m") == _ref(1)
        assert list((store.root / "staging").iterdir()) == []

    def test_a_ref_whose_name_is_not_durable_is_taken_back(self, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        """The user is told that it failed, so it must not be there tomorrow."""
        _save(store, 1)
        pending = _prepare(store, _ref(2))

        def fail(fd: int) -> None:
            raise OSError(5, "Input/output error")

        with monkeypatch.context() as broken:
            broken.setattr("os.fsync", fail)
            with pytest.raises(SyncFailed):
                pending.commit()
        assert store.refs.read(Tag("m", "v2")) is None
        assert store.refs.latest("m") == _ref(1)
        assert list((store.root / "staging").iterdir()) == []


class TestAliases:
    def test_an_alias_points_at_a_version(self, store: Store) -> None:
        (ref,) = _save(store, 1)
        place = store.root / "refs" / "aliases" / "m" / "@prod"
        place.parent.mkdir(parents=True)
        place.write_bytes(ref.encode())
        assert store.refs.alias("m", "prod") == ref

    def test_an_alias_to_another_name_is_damage(self, store: Store) -> None:
        place = store.root / "refs" / "aliases" / "m" / "@prod"
        place.parent.mkdir(parents=True)
        place.write_bytes(_ref(1, "other").encode())
        with pytest.raises(CorruptRef, match="other:v1"):
            store.refs.alias("m", "prod")
