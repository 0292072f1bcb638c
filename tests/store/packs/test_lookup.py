"""The table over packs: it finds exactly what they hold, and whatever happens to it hides nothing."""

import multiprocessing
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mvs.backends.directory import Directory
from mvs.format.ids import ObjectId
from mvs.format.pack import Index, Record, Span
from mvs.store.packs import lookup
from mvs.store.packs.files import Packs
from mvs.store.packs.lookup import Lookup, Table
from mvs.store.store import Store
from tests.store.packs.made import joined, publish, put, tables

NOWHERE = ObjectId.of(b"nowhere")


def content(number: int) -> bytes:
    return b"content %d" % number


def ids(*numbers: int) -> list[ObjectId]:
    return [ObjectId.of(content(number)) for number in numbers]


def pack_of(*numbers: int, outside: Iterable[ObjectId] = ()) -> Index:
    """An index that has these objects; what it needs besides is no matter of a table."""
    records = {id: Record(id, 1, "raw", 0, 11, 0, b"", ()) for id in sorted(ids(*numbers))}
    return Index(records, tuple(sorted(outside)))


@pytest.fixture
def many(store: Store) -> Store:
    """A store with twelve packs of three objects each, one of them in all, seen pack by pack."""
    put(store, b"loose")
    for number in range(12):
        whole = joined((content(number), 0, 7), (b"loose", 0, 5))
        publish(store, content(number), content(999), whole)
        assert store.objects.packs.find(ids(number)[0])
    return store


def check_many(store: Store) -> None:
    packs = store.objects.packs
    for number in range(12):
        assert store.objects.read(ids(number)[0]) == content(number)
    assert store.objects.read(ids(999)[0]) == content(999)
    for id in [NOWHERE, *ids(12, 13, 998)]:
        assert packs.find(id) is None
        assert not packs.is_needed(id)
    assert packs.is_needed(ObjectId.of(b"loose"))
    assert not packs.is_needed(ids(3)[0])


def test_exactly_what_packs_hold_is_found(many: Store) -> None:
    check_many(many)
    check_many(Store(many.root))
    assert len(list(many.objects.packs._known().places(ids(999)[0]))) == 12


def test_tables_are_merged_and_stay_few(many: Store) -> None:
    """Each one costs a search on every look."""
    assert 1 <= len(tables(many)) <= lookup._MANY
    packs = many.objects.packs
    covered = [name for path in tables(many) for name in Table.mapped(str(path)).packs]
    assert sorted(covered) == sorted(packs.names())


def test_no_table_is_written_again_for_what_is_known(many: Store) -> None:
    before = [(path, path.stat().st_mtime_ns) for path in tables(many)]
    check_many(Store(many.root))
    assert [(path, path.stat().st_mtime_ns) for path in tables(many)] == before


NUMBERS = st.lists(st.integers(0, 30), max_size=8, unique=True)


@given(st.lists(st.tuples(NUMBERS, NUMBERS), max_size=8))
@settings(deadline=None, max_examples=100)
def test_merging_keeps_everything(some: list[tuple[list[int], list[int]]]) -> None:
    packs = {
        ObjectId.of(b"pack %d" % at): pack_of(*inside, outside=ids(*outside))
        for at, (inside, outside) in enumerate(some)
    }
    each = [Table.of([item]) for item in packs.items()]
    # Two processes may have made a table of the same packs.
    merged = Table.merged([*each[: len(each) // 2], Table.of(packs.items()), *each])
    assert sorted(merged.packs) == sorted(packs)
    found = Lookup(Directory("/nowhere", durable=False, temps="staging"))
    found._tables = {"": merged}
    for number in range(31):
        (id,) = ids(number)
        assert sorted(found.places(id)) == sorted(name for name, index in packs.items() if id in index.records)
        assert found.is_outside(id) is any(id in index.outside for index in packs.values())


def test_ids_that_begin_alike_are_told_apart(store: Store) -> None:
    first = ObjectId(b"\0" * 31 + b"\1")
    names = [ObjectId(bytes([number]) * 32) for number in range(3)]
    records = {id: Record(id, 1, "raw", 0, 11, 0, b"", ()) for id in (first,)}
    table = Table.of([(name, Index(records, ())) for name in names])
    found = Lookup(Directory(str(store.root), durable=False, temps="staging"))
    found._tables = {"": table}
    assert list(found.places(ObjectId(b"\0" * 32))) == names
    publish(store, content(1))
    (id,) = ids(1)
    assert store.objects.packs.find(ObjectId(id.raw[:8] + bytes(24))) is None
    assert store.objects.packs.find(id)


@pytest.mark.parametrize("number", [0, 1, 2**63, 2**64 - 1])
def test_the_first_and_the_last_id_are_found(number: int) -> None:
    id = ObjectId(number.to_bytes(8, "big") + bytes(24))
    table = Table.of([(NOWHERE, Index({id: Record(id, 1, "raw", 0, 11, 0, b"", ())}, (id,)))])
    found = Lookup(Directory("/nowhere", durable=False, temps="staging"))
    found._tables = {"": table}
    assert list(found.places(id)) == [NOWHERE]
    assert found.is_outside(id)


def flip(path: Path) -> Iterator[Callable[[], object]]:
    good = path.read_bytes()
    for at in range(len(good)):
        yield partial(path.write_bytes, good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :])


def cut(path: Path) -> Iterator[Callable[[], object]]:
    good = path.read_bytes()
    for length in range(0, len(good), 3):
        yield partial(path.write_bytes, good[:length])


def grown(path: Path) -> Iterator[Callable[[], object]]:
    good = path.read_bytes()
    for more in (b"\0", b"\0" * 8, good):
        yield partial(path.write_bytes, good + more)


@pytest.mark.parametrize("damage", [flip, cut, grown])
def test_a_damaged_table_hides_nothing_and_claims_nothing(
    store: Store, damage: Callable[[Path], Iterator[Callable[[], object]]]
) -> None:
    """A reader would say that a model is gone; whoever collects rubbish would take what a pack stands on."""
    put(store, b"loose")
    publish(store, content(0), joined((content(0), 0, 5), (b"loose", 0, 5)))
    publish(store, content(1))
    assert store.objects.packs.find(ids(0)[0])
    (path,) = tables(store)
    for spoil in damage(path):
        for other in tables(store):
            if other != path:
                other.unlink()
        spoil()
        packs = Packs(Directory(str(store.root), durable=False, temps="staging"))
        for id in ids(0, 1):
            assert packs.find(id)
        assert packs.find(NOWHERE) is None
        assert packs.is_needed(ObjectId.of(b"loose"))
        assert not packs.is_needed(NOWHERE)


GARBAGE = {
    "empty": b"",
    "short": b"mvs-lookup 1\n",
    "later": b"mvs-lookup 2\n" + bytes(100),
    "zeros": bytes(1000),
    "text": b"hello\n" * 50,
}


@pytest.mark.parametrize("data", GARBAGE.values(), ids=GARBAGE)
def test_another_file_among_the_tables_is_passed_over(many: Store, data: bytes) -> None:
    folder = many.root / "cache" / "packs"
    (folder / "foreign.table").write_bytes(data)
    (folder / "README").write_bytes(data)
    (folder / "folder.table").mkdir()
    check_many(Store(many.root))


def test_a_table_of_another_store_claims_nothing(many: Store, tmp_path: Path) -> None:
    Store.make(tmp_path / "other")
    other = Store(tmp_path / "other")
    publish(other, content(12), content(0))
    assert other.objects.packs.find(ids(12)[0])
    shutil.copy(tables(other)[0], many.root / "cache" / "packs")
    check_many(Store(many.root))


def test_tables_may_go_at_any_time(many: Store) -> None:
    held = Store(many.root)
    check_many(held)
    shutil.rmtree(many.root / "cache")
    check_many(held)
    check_many(Store(many.root))


def test_a_pack_that_is_gone_is_forgotten_in_time(many: Store) -> None:
    """Tables would grow with every collection, and what packs needed that are gone would be kept for ever."""
    gone = sorted(many.root.glob("packs/*/*"))[:9]
    for path in gone:
        path.unlink()
    for _ in range(2):
        packs = Store(many.root).objects.packs
        left = sorted(packs.names())
        for number in range(12):
            assert (packs.find(ids(number)[0]) is not None) is any(
                ids(number)[0] in packs.pack(name).index.records for name in left
            )
        assert packs.find(ids(999)[0])
    assert sorted(name for path in tables(many) for name in Table.mapped(str(path)).packs) == left
    for path in many.root.glob("packs/*/*"):
        path.unlink()
    packs = Store(many.root).objects.packs
    assert packs.find(ids(999)[0]) is None
    assert not packs.is_needed(ObjectId.of(b"loose"))
    assert tables(many) == []


def test_a_store_that_cannot_be_written_to_is_searched(many: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.rmtree(many.root / "cache")

    def refused(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "makedirs", refused)
    monkeypatch.setattr(os, "rename", refused)
    for _ in range(2):
        check_many(Store(many.root))
    assert tables(many) == []


def test_a_table_that_cannot_be_finished_leaves_nothing(many: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk would become fuller with every look."""
    shutil.rmtree(many.root / "cache")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "rename", full)
    check_many(Store(many.root))
    assert list((many.root / "cache" / "packs").iterdir()) == []


def test_what_is_written_is_mapped(tmp_path: Path) -> None:
    for number in range(4):
        packs = [(ObjectId.of(bytes([at])), pack_of(at, 9, outside=ids(at + 50))) for at in range(number)]
        table = Table.of(packs)
        path = str(tmp_path / str(number))
        table.write(path)
        again = Table.mapped(path)
        assert again.packs == table.packs
        for one, other in zip(again[1:], table[1:], strict=True):
            assert np.array_equal(one, other)
            assert one.dtype == other.dtype


def _search(root: str, rounds: int) -> None:
    for _ in range(rounds):
        shutil.rmtree(f"{root}/cache", ignore_errors=True)
        check_many(Store(Path(root)))


def test_processes_that_make_tables_at_once_all_find_everything(many: Store) -> None:
    context = multiprocessing.get_context("spawn")
    others = [context.Process(target=_search, args=(str(many.root), 15)) for _ in range(2)]
    for other in others:
        other.start()
    while any(other.is_alive() for other in others):
        check_many(Store(many.root))
    for other in others:
        other.join()
        assert other.exitcode == 0


def test_a_merge_by_another_process_takes_nothing_away(many: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """It removes the tables that were listed, before they are opened."""
    mapped = Table.mapped.__func__  # type: ignore[attr-defined]

    def vanishing(cls: type[Table], path: str) -> Table:
        Path(path).unlink()
        table: Table = mapped(cls, path)
        return table

    monkeypatch.setattr(Table, "mapped", classmethod(vanishing))
    check_many(Store(many.root))


def test_a_run_of_an_outside_object_is_needed_whatever_its_length(store: Store) -> None:
    put(store, b"loose")
    publish(store, joined((b"loose", 2, 3)))
    assert store.objects.packs.is_needed(ObjectId.of(b"loose"))
    assert store.objects.packed.read(Span(ObjectId.of(b"o"), 0, 1)) == b"o"
