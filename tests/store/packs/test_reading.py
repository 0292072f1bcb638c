"""Objects in packs: read as those that are loose, whole or in part, wherever their parts lie."""

import io
import os
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mvs
from mvs.errors import CorruptObject, MissingObject
from mvs.format.ids import ObjectId
from mvs.format.layout import pack_path
from mvs.format.pack import Record, Span
from mvs.store.packs import reading
from mvs.store.packs.files import Pack, Packs
from mvs.store.store import Store
from tests.golden import make_pack
from tests.store.packs.made import CONTENTS, LOOSE, Made, id_of, joined, publish, put

A, B, C = b"a" * 10, bytes(range(200)), os.urandom(500)


@pytest.fixture
def packed(tmp_path: Path) -> Store:
    """A store with a pack that has a record of every encoding."""
    make_pack.make(tmp_path / "packed")
    return Store(tmp_path / "packed")


@pytest.mark.parametrize("name", CONTENTS)
def test_every_encoding_comes_back_in_every_way(packed: Store, name: str) -> None:
    data, id, objects = CONTENTS[name], id_of(name), packed.objects
    assert objects.is_loose(id) is (name == LOOSE)
    assert objects.read(id) == data
    assert b"".join(objects.blocks(id)) == data
    objects.read_through(id)
    with objects.open(id) as file:
        assert file.read() == data
    assert objects.has(id, len(data))
    assert not objects.has(id, len(data) + 1)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """One store for all examples of a property that only reads."""
    path = tmp_path_factory.mktemp("shared") / "store"
    make_pack.make(path)
    return Store(path)


def test_the_sample_has_every_encoding(shared: Store) -> None:
    found = [shared.objects.packs.find(id_of(name)) for name in CONTENTS if name != LOOSE]
    encodings = {record.encoding for _, record in filter(None, found)}
    assert encodings == {"raw", "fill", "zstd", "planes", "delta", "derive", "concat"}


@given(st.data())
@settings(deadline=None, max_examples=60)
def test_any_run_of_any_object_is_that_run_of_its_bytes(shared: Store, data: st.DataObject) -> None:
    packed = shared
    name = data.draw(st.sampled_from(sorted(CONTENTS)))
    plain = CONTENTS[name]
    start = data.draw(st.integers(0, len(plain)))
    stop = data.draw(st.integers(start, len(plain)))
    run = Span(id_of(name), start, stop - start)
    assert packed.objects.packed.read(run) == plain[start:stop]
    assert b"".join(packed.objects.packed.run(run)) == plain[start:stop]


@given(st.data())
@settings(deadline=None, max_examples=40)
def test_any_parts_of_parts_are_joined(data: st.DataObject) -> None:
    """A blob is joined from tensors, which are joined from blocks, some of which are runs of another blob."""
    with tempfile.TemporaryDirectory() as folder:
        store = _new(Path(folder, "store"))
        put(store, C)
        level: list[bytes] = [A, B, C]
        records = [Made(A), Made(B)]
        for _ in range(data.draw(st.integers(1, 4))):
            parts = []
            for plain in data.draw(st.lists(st.sampled_from(level), max_size=5)):
                start = data.draw(st.integers(0, len(plain)))
                parts.append((plain, start, data.draw(st.integers(start, len(plain)))))
            records.append(joined(*parts))
            level.append(records[-1].plain)
        # A run of nothing is there already, or is one of the others.
        known = {ObjectId.of(A), ObjectId.of(B), ObjectId.of(C)}
        fresh = [made for made in records if made.encoding == "raw" or ObjectId.of(made.plain) not in known]
        publish(store, *fresh)
        for plain in level:
            start = data.draw(st.integers(0, len(plain)))
            stop = data.draw(st.integers(start, len(plain)))
            assert store.objects.read(ObjectId.of(plain)) == plain
            with store.objects.open(ObjectId.of(plain)) as file:
                file.seek(start)
                assert file.read(stop - start) == plain[start:stop]


def test_parts_may_lie_in_another_pack(store: Store) -> None:
    publish(store, A, B)
    whole = joined((A, 3, 7), (B, 0, 200))
    publish(store, whole)
    other = joined((whole.plain, 2, 50), (A, 0, 10))
    publish(store, other)
    assert store.objects.read(ObjectId.of(other.plain)) == other.plain


def test_of_several_records_the_one_of_least_depth_is_used(store: Store) -> None:
    """A chain of deltas would be decoded where the bytes lie beside it; worse, two could need one another."""
    publish(store, A, C)
    deep = joined((A, 0, 10), (C, 0, 500), depth=2)
    whole = [deep, Made(deep.plain), joined((A, 0, 10), (C, 0, 200), (C, 200, 500), depth=1)]
    for made, depth in zip(whole, (2, 0, 0), strict=True):
        publish(store, made)
        found = store.objects.packs.find(ObjectId.of(deep.plain))
        assert found
        assert found[1].depth == depth


def test_of_records_of_one_depth_that_without_refs_is_used(store: Store) -> None:
    publish(store, A, C)
    both = joined((A, 0, 10), (C, 0, 500))
    for records in ([both], [Made(both.plain)], [joined((A, 0, 10), (C, 0, 9), (C, 9, 500))]):
        publish(store, *records)
    found = store.objects.packs.find(ObjectId.of(both.plain))
    assert found
    assert found[1].refs == ()


def test_what_is_loose_and_packed_is_read_from_either(store: Store) -> None:
    put(store, B)
    path = publish(store, B)
    assert store.objects.read(ObjectId.of(B)) == B
    with store.exclusive():
        assert store.publisher().unloose(ObjectId.of(B)) == len(B)
        assert store.publisher().unloose(ObjectId.of(B)) == 0
    assert store.objects.read(ObjectId.of(B)) == B
    put(store, B)
    path.unlink()
    assert store.objects.read(ObjectId.of(B)) == B


def test_what_no_pack_has_stays_loose(store: Store) -> None:
    """The only copy would be gone."""
    put(store, B)
    publish(store, A)
    with store.exclusive():
        assert store.publisher().unloose(ObjectId.of(B)) == 0
    assert store.objects.read(ObjectId.of(B)) == B


def test_a_missing_object_is_named_beside_packs(store: Store) -> None:
    publish(store, A)
    id = ObjectId.of(B)
    assert not store.objects.has(id, len(B))
    reads: list[Callable[[ObjectId], object]] = [
        store.objects.read,
        store.objects.path,
        store.objects.open,
        store.objects.read_through,
        lambda missing: store.objects.packed.read(Span(missing, 0, 1)),
    ]
    for read in reads:
        with pytest.raises(MissingObject, match=str(id)):
            read(id)


def test_readers_that_were_there_before_find_what_moved(store: Store) -> None:
    """A server that holds a version open would lose it to the dedup of somebody else."""
    put(store, A, B, C)
    whole = joined((B, 5, 150), (C, 20, 400))
    publish(store, whole)
    reader, held = Store(store.root), Store(store.root)
    assert reader.objects.read(ObjectId.of(whole.plain)) == whole.plain
    pieces = list(held.objects.packed.pieces(Span(ObjectId.of(whole.plain), 0, len(whole.plain))))
    with held.objects.open(ObjectId.of(whole.plain)) as file:
        file.read(1)
        publish(store, B, C, A)
        with store.exclusive():
            for data in (A, B, C):
                assert store.publisher().unloose(ObjectId.of(data))
        assert b"".join(held.objects.packed._piece(piece, 0, verify=True) for piece in pieces) == whole.plain
        file.seek(0)
        assert file.read() == whole.plain
    for data in (A, B, C, whole.plain):
        assert reader.objects.read(ObjectId.of(data)) == data
        assert b"".join(reader.objects.blocks(ObjectId.of(data))) == data


def test_a_reader_that_was_there_before_the_first_pack_finds_it(store: Store) -> None:
    put(store, B)
    reader = Store(store.root)
    assert reader.objects.read(ObjectId.of(B)) == B
    assert not reader.objects.has(ObjectId.of(A), len(A))
    publish(store, A, B)
    with store.exclusive():
        store.publisher().unloose(ObjectId.of(B))
    for data in (A, B):
        assert reader.objects.has(ObjectId.of(data), len(data))
        assert reader.objects.read(ObjectId.of(data)) == data


def test_an_open_file_is_read_to_its_end_when_its_pack_goes(packed: Store) -> None:
    data = CONTENTS["noise"]
    with packed.objects.open(id_of("noise")) as file:
        assert file.read(1) == data[:1]
        pack = next(path for path in packed.root.glob("packs/*/*"))
        pack.unlink()
        assert file.read() == data[1:]


def test_a_loose_object_that_is_too_short_is_not_taken_for_a_part(store: Store) -> None:
    put(store, C)
    whole = joined((C, 100, 500))
    publish(store, whole)
    place = Path(store.objects.path(ObjectId.of(C)))
    place.chmod(0o644)
    place.write_bytes(C[:-1])
    with pytest.raises(CorruptObject, match=str(ObjectId.of(C))):
        store.objects.read(ObjectId.of(whole.plain))


def test_a_long_run_of_a_loose_object_is_read_in_pieces(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A whole checkpoint would be held in memory."""
    monkeypatch.setattr(reading, "MAX_RECORD", 64)
    put(store, C)
    whole = joined((C, 1, 499))
    publish(store, whole)
    blocks = list(store.objects.blocks(ObjectId.of(whole.plain)))
    assert max(map(len, blocks)) == 64
    assert b"".join(blocks) == whole.plain


def test_a_record_is_decoded_once_for_many_small_reads(packed: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: list[Record] = []
    stored = Pack.stored

    def counted(pack: Pack, record: Record) -> bytes:
        decoded.append(record)
        return stored(pack, record)

    monkeypatch.setattr(Pack, "stored", counted)
    for at in range(0, 300, 10):
        packed.objects.packed.read(Span(id_of("text"), at, 10))
    assert len(decoded) == 1


def test_what_is_kept_decoded_is_bounded(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "_KEPT_BYTES", 1000)
    contents = [os.urandom(300) for _ in range(10)]
    publish(store, *contents)
    for data in contents * 2:
        assert store.objects.packed.read(Span(ObjectId.of(data), 0, 300)) == data
        assert sum(map(len, store.objects.packed._kept.values())) == store.objects.packed._kept_bytes <= 1000


def test_threads_may_share_a_store(packed: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "_KEPT_BYTES", 700)
    monkeypatch.setattr("mvs.store.packs.files._KEPT", 1)
    for number in range(4):
        publish(packed, bytes([number]) * 20)

    def read(turn: int) -> bool:
        name = sorted(CONTENTS)[turn % len(CONTENTS)]
        small = bytes([turn % 4]) * 20
        return packed.objects.read(id_of(name)) == CONTENTS[name] and packed.objects.read(ObjectId.of(small)) == small

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(read, range(400)))


SEEKS = [(0, 0), (5, 0), (946, 0), (947, 0), (5000, 0), (3, 1), (-2, 1), (0, 2), (-100, 2), (7, 2)]


@pytest.mark.parametrize("name", ["file", "empty", "tuned"])
def test_a_file_of_a_pack_is_used_as_one_on_disk(packed: Store, tmp_path: Path, name: str) -> None:
    """numpy, torch and zipfile are given it and believe that it is a file."""
    plain = tmp_path / "plain"
    plain.write_bytes(CONTENTS[name])
    with packed.objects.open(id_of(name)) as ours, plain.open("rb") as theirs:
        assert isinstance(ours, io.BufferedReader)
        assert (ours.readable(), ours.seekable(), ours.writable()) == (True, True, False)
        for offset, whence in SEEKS:
            try:
                expected = theirs.seek(offset, whence)
            except OSError:
                with pytest.raises((OSError, ValueError)):
                    ours.seek(offset, whence)
                continue
            assert ours.seek(offset, whence) == expected == ours.tell()
            for size in (0, 1, 10):
                assert ours.read(size) == theirs.read(size)
            one, other = bytearray(20), bytearray(20)
            assert ours.readinto(one) == theirs.readinto(other)
            assert (one, ours.tell()) == (other, theirs.tell())
            assert ours.readline() == theirs.readline()
        ours.seek(0)
        theirs.seek(0)
        assert list(ours) == list(theirs)
        assert ours.read() == theirs.read() == b""
        with pytest.raises(io.UnsupportedOperation):
            ours.write(b"x")
        with pytest.raises(io.UnsupportedOperation):
            ours.fileno()
    assert ours.closed
    with pytest.raises(ValueError, match="closed"):
        ours.read()


def test_an_unbuffered_file_of_a_pack_fills_any_buffer(packed: Store) -> None:
    data = CONTENTS["file"]
    with reading.PackedFile(packed.objects.packed, id_of("file"), len(data)) as file:
        wide = memoryview(bytearray(40)).cast("I")
        assert file.readinto(wide) == 40
        assert wide.tobytes() == data[:40]
        assert file.readall() == data[40:]
        assert file.readall() == file.read(5) == b""
        assert file.seek(2 * len(data)) == 2 * len(data)
        assert file.readinto(bytearray(5)) == 0
        assert file.readall() == b""
        with pytest.raises(ValueError, match="negative"):
            file.seek(-1)
        with pytest.raises(ValueError, match="whence"):
            file.seek(0, 7)
        assert file.tell() == 2 * len(data)


def test_content_that_lies_in_a_pack_is_not_stored_again(repo: mvs.Repository, folder: Path) -> None:
    repo.save(folder, "bert:v1")
    repo.dedup()
    store = Store(repo.store)
    loose = sorted(store.root.glob("objects/*/*"))
    again = repo.save(folder, "bert:v2")
    for file in again.files:
        assert not store.objects.is_loose(ObjectId.from_hex(file.blob))
    # The manifest.
    assert len(sorted(store.root.glob("objects/*/*"))) == len(loose) + 1
    assert again.read_bytes("weights.bin") == (folder / "weights.bin").read_bytes()


def test_a_pack_that_is_gone_is_not_relied_on(repo: mvs.Repository, folder: Path) -> None:
    """A version would be saved whose files were collected a moment ago."""
    repo.save(folder, "bert:v1")
    repo.dedup()
    held = mvs.open(repo.root.parent)
    held.save(folder, "bert:v2")
    for path in repo.store.glob("packs/*/*"):
        path.unlink()
    saved = held.save(folder, "bert:v3")
    assert saved.read_bytes("weights.bin") == (folder / "weights.bin").read_bytes()
    store = Store(repo.store)
    assert all(store.objects.is_loose(ObjectId.from_hex(file.blob)) for file in saved.files)


def test_a_pack_may_go_as_soon_as_it_is_open(
    repo: mvs.Repository, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A gc beside it would make a reader fail with a path that says nothing to a user."""
    blob = ObjectId.from_hex(repo.save(folder, "bert:v1").files[0].blob)
    repo.dedup()
    opened = Packs.pack

    def taken_away(packs: Packs, name: ObjectId) -> Pack:
        pack = opened(packs, name)
        (repo.store / pack_path(name)).unlink()
        return pack

    monkeypatch.setattr(Packs, "pack", taken_away)
    found = Store(repo.store).objects.packs.find(blob)
    assert found is not None
    assert found[1].id == blob


def _new(path: Path) -> Store:
    Store.make(path)
    return Store(path, durable=False)
