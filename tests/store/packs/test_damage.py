"""Damaged and hostile packs: said so, and by name; never wrong bytes, another error, or the whole memory."""

import os
import resource
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from struct import pack

import pytest
from blake3 import blake3

import mvs
from mvs.codecs.numbers import KINDS, encode_delta
from mvs.errors import Corrupt, CorruptObject, CorruptPack, MissingObject, MvsError, UnsupportedFormat
from mvs.format.ids import ObjectId
from mvs.format.layout import pack_path
from mvs.format.pack import MAX_INDEX, PACK_LINE, TRAILER_SIZE, Span
from mvs.store.packs import reading
from mvs.store.store import Store
from tests.golden import make_pack
from tests.store.packs.made import CONTENTS, LOOSE, Made, force, id_of, joined, plain_of, publish, put, span

A, B = b"a" * 10, os.urandom(200)
NOWHERE = ObjectId.of(b"nowhere")


@pytest.fixture
def packed(tmp_path: Path) -> Store:
    """A store with a pack that has a record of every encoding, and a table that knows it."""
    name = make_pack.make(tmp_path / "packed")
    store = Store(tmp_path / "packed")
    assert plain_of(store, CONTENTS) == CONTENTS
    place(store).chmod(0o644)
    assert pack_path(name) in str(place(store))
    return store


def place(store: Store) -> Path:
    (found,) = store.root.glob("packs/*/*.pack")
    return found


def forget_tables(store: Store) -> None:
    for path in store.root.glob("cache/packs/*"):
        path.unlink()


def opened(store: Store, id: ObjectId) -> bytes:
    with store.objects.open(id) as file:
        return file.read()


def streamed(store: Store, id: ObjectId) -> bytes:
    return store.objects.read(id)


def errors_of(store: Store, read: Callable[[Store, ObjectId], bytes] = opened) -> list[MvsError]:
    """Read every object with nothing known of the store; what is read is right."""
    fresh = Store(store.root)
    errors: list[MvsError] = []
    for data in CONTENTS.values():
        try:
            assert read(fresh, ObjectId.of(data)) == data
        except MvsError as error:
            errors.append(error)
    return errors


# Every byte in turn takes half a minute; every fourth one in the middle of a working day.
SHARDS = 16
OFTEN = (0, 5, 10, 15)
SELDOM = [pytest.param(shard, marks=pytest.mark.deep) for shard in range(SHARDS) if shard not in OFTEN]


@pytest.mark.parametrize("shard", [*OFTEN, *SELDOM])
def test_every_flipped_byte_is_found_and_the_pack_named(packed: Store, shard: int) -> None:
    """A bit that flips on a disk must not become a weight."""
    read = streamed if shard == 0 else opened
    path = place(packed)
    good = path.read_bytes()
    for at in range(shard, len(good), SHARDS):
        bad = bytearray(good)
        bad[at] ^= 1 << (at % 8)
        path.write_bytes(bad)
        errors = errors_of(packed, read)
        assert errors, at
        for error in errors:
            # One flip makes of this release a later one: the digit of the first line.
            assert isinstance(error, CorruptPack | CorruptObject | UnsupportedFormat), at
            assert str(path) in error.message, error
    path.write_bytes(good)
    assert errors_of(packed) == []


def test_a_first_line_of_a_later_release_is_refused_by_name(packed: Store) -> None:
    path = place(packed)
    path.write_bytes(path.read_bytes().replace(PACK_LINE, b"mvs-pack 2\n"))
    with pytest.raises(UnsupportedFormat, match="mvs-pack 2"):
        Store(packed.root).objects.read(id_of("noise"))


@pytest.mark.parametrize("tables", [True, False], ids=["known", "unknown"])
@pytest.mark.parametrize("step", [23, pytest.param(1, marks=pytest.mark.deep)])
def test_every_cut_is_found_and_the_pack_named(packed: Store, tables: bool, step: int) -> None:
    path = place(packed)
    good = path.read_bytes()
    for length in range(0, len(good), step):
        if not tables:
            forget_tables(packed)
        path.write_bytes(good[:length])
        # All of it but the loose one.
        errors = errors_of(packed)
        assert len(errors) == len(CONTENTS) - 1
        for error in errors:
            assert isinstance(error, CorruptPack)
            assert str(path) in error.message
    forget_tables(packed)
    path.write_bytes(good)
    assert errors_of(packed) == []


@pytest.mark.parametrize("tables", [True, False], ids=["known", "unknown"])
def test_a_damaged_index_is_found_without_a_table_too(packed: Store, tables: bool) -> None:
    path = place(packed)
    good = path.read_bytes()
    if not tables:
        forget_tables(packed)
    path.write_bytes(good[:-100] + bytes([good[-100] ^ 1]) + good[-99:])
    for error in errors_of(packed):
        assert isinstance(error, CorruptPack)
        assert str(path) in error.message


def test_what_is_added_to_a_pack_is_damage(packed: Store) -> None:
    with place(packed).open("ab") as file:
        file.write(b"\0")
    assert all(isinstance(error, CorruptPack) for error in errors_of(packed))
    assert errors_of(packed)


@pytest.mark.parametrize("tables", [True, False], ids=["known", "unknown"])
def test_a_damaged_pack_does_not_hide_what_others_have(packed: Store, tables: bool) -> None:
    """One bad sector would take every model of the team."""
    path = place(packed)
    publish(packed, CONTENTS["noise"], A)
    path.write_bytes(b"")
    if not tables:
        forget_tables(packed)
    store = Store(packed.root)
    assert store.objects.read(id_of("noise")) == CONTENTS["noise"]
    assert store.objects.read(ObjectId.of(A)) == A
    assert store.objects.read(id_of(LOOSE)) == CONTENTS[LOOSE]
    with pytest.raises(CorruptPack, match=str(path)):
        store.objects.read(id_of("text"))


def test_what_a_damaged_pack_needs_is_kept(packed: Store) -> None:
    """It may yet be mended from a backup."""
    forget_tables(packed)
    assert Store(packed.root).objects.packs.is_needed(id_of(LOOSE))
    assert not Store(packed.root).objects.packs.is_needed(NOWHERE)
    forget_tables(packed)
    place(packed).write_bytes(b"")
    assert Store(packed.root).objects.packs.is_needed(id_of(LOOSE))


def test_saving_again_mends_what_a_damaged_pack_held(repo: mvs.Repository, folder: Path) -> None:
    repo.save(folder, "bert:v1")
    repo.dedup()
    for path in repo.store.glob("packs/*/*"):
        path.chmod(0o644)
        path.write_bytes(b"garbage")
    again = mvs.open(repo.root.parent)
    with pytest.raises(CorruptPack):
        again.get("bert:v1").read_bytes("weights.bin")
    again.save(folder, "bert:v2")
    assert mvs.open(repo.root.parent).get("bert:v1").read_bytes("weights.bin") == (folder / "weights.bin").read_bytes()


@pytest.mark.parametrize("number", [5, 13], ids=["disk", "rights"])
def test_a_pack_that_the_disk_does_not_give_is_an_error_of_the_store(
    packed: Store, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def failing(*_: object) -> bytes:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "pread", failing)
    assert {error.exit_code // 10 for error in errors_of(packed)} == {6}


@pytest.mark.parametrize("name", ["folder.pack", "x", "0" * 62, "0" * 61 + ".pack", "0" * 62 + ".pack.tmp"])
def test_what_is_not_named_as_a_pack_is_none(packed: Store, name: str) -> None:
    (packed.root / "packs" / "00").mkdir()
    (packed.root / "packs" / "00" / name).write_bytes(b"garbage")
    (packed.root / "packs" / "README").write_bytes(b"garbage")
    (packed.root / "packs" / "11" / ("1" * 62 + ".pack")).mkdir(parents=True)
    (packed.root / "packs" / "222").mkdir()
    (packed.root / "packs" / "222" / ("2" * 61 + ".pack")).write_bytes(b"garbage")
    forget_tables(packed)
    assert len(list(packed.objects.packs.names())) == 1
    assert errors_of(packed) == []


@pytest.fixture
def little_memory() -> Iterator[None]:
    """So that believing a size of 2^40 fails here and not on a server."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (8 << 30, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


HUGE = 1 << 62
WHOLE = ObjectId.of(b"whole")


def hostile(encoding: str, *refs: Span, size: int = 10, stored: bytes = b"", depth: int = 1) -> Made:
    return Made(b"", encoding, stored, refs, depth, WHOLE, size)


@pytest.mark.parametrize(
    "records",
    [
        [hostile("quantum", stored=b"x")],
        [hostile("raw", stored=b"x" * 9)],
        [hostile("raw", stored=b"x" * 10)],
        [hostile("raw", span(A), stored=b"x" * 10)],
        [hostile("fill")],
        [hostile("fill", stored=b"x" * 17)],
        [hostile("zstd", stored=b"x")],
        [hostile("planes", stored=b"\xff\xff\xff\xff")],
        [hostile("planes", span(A), span(A), span(A), stored=b"\0\0\0\0")],
        [hostile("delta", stored=b"\0\0\0\0")],
        [hostile("delta", span(A), stored=b"\1\0\0\0\xc0")],
        [hostile("derive", stored=b"\xc0")],
        [hostile("derive", span(A), stored=b"\x96\xa4copy\xa4BF16\0\0\0\xcf" + b"\xff" * 8)],
        [hostile("raw", size=64 << 20)],
        [hostile("fill", size=(64 << 20) + 1, stored=b"\0")],
        [hostile("raw", size=HUGE)],
        [hostile("concat", span(A), size=9)],
        [hostile("concat", Span(WHOLE, 0, 10))],
        [hostile("concat", Span(WHOLE, 0, 5), Span(WHOLE, 5, 5))],
        [hostile("concat", Span(WHOLE, 0, HUGE), size=HUGE)],
        [hostile("delta", Span(WHOLE, 0, 10), stored=b"\0\0\0\0")],
        [hostile("delta", Span(WHOLE, 0, 10), Span(WHOLE, 0, 10), stored=b"\0\0\0\0")],
        [hostile("concat", span(B, 0, 10)), joined((B, 0, 100), (B, 100, 200))],
        [hostile("concat", Span(ObjectId.of(A), 1, 10))],
        [hostile("concat", Span(ObjectId.of(A), HUGE, 10))],
        [hostile("concat", Span(NOWHERE, 0, 10))],
        [hostile("delta", Span(NOWHERE, 0, 10), stored=b"\0\0\0\0")],
        [hostile("concat", Span(id_of(LOOSE), 41, 10))],
        [hostile("delta", Span(id_of(LOOSE), 0, HUGE), stored=b"\0\0\0\0")],
    ],
    ids=lambda records: f"{records[0].encoding}-{records[0].size}-{len(records[0].refs)}",
)
@pytest.mark.usefixtures("little_memory")
def test_a_record_that_lies_is_damage(store: Store, records: list[Made]) -> None:
    """Whoever shares a store, or restores one, is not to be trusted with more than its bytes."""
    put(store, CONTENTS[LOOSE])
    force(store, Made(A), *records)
    for read in _ways():
        for opened_before in (store, Store(store.root)):
            with pytest.raises(Corrupt):
                read(opened_before)
    assert Store(store.root).objects.read(id_of(LOOSE)) == CONTENTS[LOOSE]


def _ways() -> list[Callable[[Store], object]]:
    return [
        lambda store: store.objects.read(WHOLE),
        lambda store: store.objects.read_through(WHOLE),
        lambda store: store.objects.open(WHOLE).read(10),
        lambda store: store.objects.packed.read(Span(WHOLE, 0, 10)),
    ]


@pytest.mark.usefixtures("little_memory")
def test_a_size_of_exabytes_is_not_made_room_for(store: Store) -> None:
    put(store, CONTENTS[LOOSE])
    force(store, hostile("concat", Span(id_of(LOOSE), 0, HUGE), size=HUGE))
    assert store.objects.packed.read(Span(WHOLE, 0, 10)) == CONTENTS[LOOSE][:10]
    for read in _ways()[:3]:
        with pytest.raises(CorruptObject):
            read(store)


def test_an_encoding_of_a_later_release_is_named(store: Store) -> None:
    force(store, Made(A), hostile("quantum", stored=b"x"))
    with pytest.raises(CorruptPack, match=f"{WHOLE} cannot be decoded: an unknown encoding 'quantum'"):
        store.objects.read(WHOLE)
    assert store.objects.read(ObjectId.of(A)) == A


def test_what_is_referred_to_and_nowhere_is_named(store: Store) -> None:
    force(store, hostile("concat", Span(NOWHERE, 0, 10)))
    with pytest.raises(MissingObject, match=str(NOWHERE)):
        store.objects.read(WHOLE)


def test_a_circle_through_packs_is_damage(store: Store) -> None:
    one, other = ObjectId.of(b"one"), ObjectId.of(b"other")
    for encoding, stored in (("concat", b""), ("delta", b"\0\0\0\0")):
        force(store, Made(b"", encoding, stored, [Span(other, 0, 10)], 1, one, 10))
        force(store, Made(b"", encoding, stored, [Span(one, 0, 10)], 1, other, 10))
        for id in (one, other):
            with pytest.raises(Corrupt, match="by itself"):
                Store(store.root).objects.read(id)


def test_a_long_chain_is_read_and_an_endless_one_is_not(store: Store) -> None:
    data = os.urandom(100)
    records = [Made(data)]
    for length in range(99, 99 - reading._LONGEST_CHAIN - 1, -1):
        records.append(joined((records[-1].plain, 0, length)))
    publish(store, *records)
    longest = records[reading._LONGEST_CHAIN].plain
    assert store.objects.read(ObjectId.of(longest)) == longest
    with pytest.raises(CorruptObject):
        store.objects.read(ObjectId.of(records[-1].plain))


def doubling(levels: int) -> list[Made]:
    """Records each of which needs the one before it twice."""
    records = [Made(make_pack.numbers_of("0", 40))]
    for level in range(1, levels):
        plain, base = make_pack.numbers_of(str(level), 40), records[-1].plain
        stored = encode_delta(plain, [base, base], KINDS["BF16"])
        records.append(Made(plain, "delta", stored, [span(base), span(base)], level))
    return records


def test_what_needs_too_much_to_be_decoded_is_damage(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sixty small records would keep a server at work for ever."""
    monkeypatch.setattr(reading, "_MOST_WORK", 1 << 16)
    records = doubling(60)
    publish(store, *records)
    assert store.objects.read(ObjectId.of(records[8].plain)) == records[8].plain
    for read in (store.objects.read, partial(opened, store)):
        with pytest.raises(CorruptObject, match="too often"):
            read(ObjectId.of(records[-1].plain))


def test_a_depth_that_lies_harms_nothing(store: Store) -> None:
    """It says which record to prefer, and nothing that a reader believes."""
    publish(store, Made(A, depth=9), joined((A, 0, 5), (A, 0, 6), depth=2**63 - 1), B)
    deep = joined((B, 0, 100), (A, 0, 10), depth=0)
    publish(store, deep)
    for data in (A, B, b"a" * 11, deep.plain):
        assert store.objects.read(ObjectId.of(data)) == data


def _with_index(store: Store, index: bytes, *, length: int | None = None, offset: int = 11) -> Path:
    """Put a pack with this index into the store, its trailer right but for what is given."""
    length = len(index) if length is None else length
    data = PACK_LINE + index + pack("<QQ32s8s", offset, length, blake3(index).digest(), b"mvs-pack")
    path = store.root / pack_path(ObjectId.of(data))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    store.objects.packs.forget()
    return path


@pytest.mark.usefixtures("little_memory")
@pytest.mark.parametrize(
    ("index", "length", "offset"),
    [
        (b"", None, 11),
        (b"\x80", None, 11),
        (b"\x91" * 5000, None, 11),
        (b"\xdd\xff\xff\xff\xff", None, 11),
        (b"\xc6\xff\xff\xff\xff", None, 11),
        (b"\x80", 2**64 - 1, 13),
        (b"\x80", 2**63, 11),
        (b"\x80", 0, 12),
    ],
)
def test_an_index_that_lies_is_damage(store: Store, index: bytes, length: int | None, offset: int) -> None:
    path = _with_index(store, index, length=length, offset=offset)
    with pytest.raises(CorruptPack, match=str(path)):
        store.objects.read(WHOLE)


@pytest.mark.usefixtures("little_memory")
def test_a_pack_of_exabytes_is_damage(store: Store) -> None:
    """A sparse file costs nothing to make."""
    path = store.root / pack_path(WHOLE)
    path.parent.mkdir(parents=True)
    with path.open("wb") as file:
        file.write(PACK_LINE)
        size = 1 << 42
        file.seek(size - TRAILER_SIZE)
        file.write(pack("<QQ32s8s", 11, size - TRAILER_SIZE - 11, bytes(32), b"mvs-pack"))
    assert size > MAX_INDEX
    with pytest.raises(CorruptPack, match="too large"):
        store.objects.read(WHOLE)
