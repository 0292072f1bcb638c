"""Properties of everything that is written: it comes back whole; damaged, it is refused and nothing else happens."""

import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mvs.errors import CorruptManifest, CorruptRef, UnsupportedFormat
from mvs.format import canonical
from mvs.format.ids import MAX_TIME, ObjectId
from mvs.format.lines.journal import Event
from mvs.format.lines.refs import Ref
from mvs.format.manifest import MAGIC, FileEntry, Manifest, Tree
from mvs.format.names import Tag

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
VALUES = st.recursive(
    JSON | st.binary(max_size=40),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
IDS = st.binary(min_size=32, max_size=32).map(ObjectId)
TAGS = st.sampled_from([Tag("bert", "v1"), Tag("acme/bert-base", "20261123-104512-4f2a91")])
METADATA = st.dictionaries(st.text(max_size=8), JSON, max_size=4)
# Drawn so that no two of them collide.
PATHS = st.lists(st.sampled_from(["a", "b/c", "b/d", "é/ü", "z z", "0.bin", "b/e/f"]), unique=True, max_size=7)
EXTRA = st.dictionaries(st.sampled_from(["a", "notes", "zz"]), JSON, max_size=2)


@st.composite
def manifests(draw: st.DrawFn) -> Manifest:
    files = [FileEntry(path, draw(st.integers(0, 2**50)), draw(IDS), draw(st.booleans())) for path in draw(PATHS)]
    tree = Tree.of(files, draw(st.lists(st.sampled_from(["empty", "x/y"]), unique=True)))
    return Manifest(
        tag=draw(TAGS),
        created=draw(st.integers(0, MAX_TIME)),
        tree=tree,
        tree_id=tree.id,
        labels=draw(st.dictionaries(st.sampled_from(["stage", "größe", "a b"]), st.text(max_size=9))),
        metadata=draw(METADATA),
        context=draw(METADATA),
        parents=tuple(draw(st.lists(IDS, max_size=3))),
        message=draw(st.text(max_size=20)),
        extra=draw(EXTRA),
    )


@st.composite
def refs(draw: st.DrawFn) -> Ref:
    return Ref(draw(TAGS), draw(IDS), draw(st.integers(0, MAX_TIME)))


@st.composite
def events(draw: st.DrawFn) -> Event:
    moments = st.integers(0, MAX_TIME)
    return Event(
        draw(st.sampled_from(["save", "delete", "restore"])),
        draw(TAGS).version,
        draw(st.none() | IDS),
        draw(st.none() | IDS),
        draw(st.none() | IDS),
        draw(moments),
        draw(moments),
        draw(st.text(max_size=30)),
        draw(st.booleans()),
    )


@st.composite
def damaged(draw: st.DrawFn, data: bytes) -> bytes:
    """Return `data` with a bit flipped, an end cut off, something added, left out, repeated or exchanged."""
    at = draw(st.integers(0, max(0, len(data) - 1)))
    end = draw(st.integers(at, min(len(data), at + 40)))
    other = draw(st.binary(max_size=12))
    return draw(
        st.sampled_from(
            [
                data[:at] + bytes([data[at] ^ 1 << draw(st.integers(0, 7))]) + data[at + 1 :],
                data[:at],
                data[at:],
                data + other,
                data[:at] + other + data[at:],
                data[:at] + data[end:],
                data[:end] + data[at:],
                data[:at] + other + data[end:],
            ]
        )
    )


@given(VALUES)
def test_every_value_comes_back_with_its_types(value: Any) -> None:
    back = canonical.decode(canonical.encode(value))
    assert repr(_sorted(back)) == repr(_sorted(value))


@given(st.dictionaries(st.text(max_size=4), st.integers(), max_size=6).map(lambda d: dict.fromkeys(d, 0)), st.randoms())
def test_the_order_in_which_a_map_was_built_does_not_show(value: dict[str, int], random: Any) -> None:
    """Otherwise saving the same metadata twice gives two ids."""
    keys = list(value)
    random.shuffle(keys)
    assert canonical.encode({key: value[key] for key in keys}) == canonical.encode(value)


@given(VALUES.flatmap(lambda value: damaged(canonical.encode(value))))
def test_damaged_bytes_are_refused_or_canonical_themselves(data: bytes) -> None:
    _refused_or_canonical(data)


@given(st.binary(max_size=60))
def test_garbage_is_refused_or_canonical_itself(data: bytes) -> None:
    _refused_or_canonical(data)


@given(VALUES, st.data())
def test_a_value_written_in_another_way_is_refused(value: Any, data: st.DataObject) -> None:
    """Wide headers, other orders and repeated keys are legal msgpack of the same value."""
    loose = data.draw(_loose(value))
    if loose == canonical.encode(value):
        assert repr(_sorted(canonical.decode(loose))) == repr(_sorted(value))
    else:
        with pytest.raises(ValueError):  # noqa: PT011 - the message is msgpack's
            canonical.decode(loose)


@given(manifests())
def test_a_manifest_comes_back_whole(manifest: Manifest) -> None:
    data = manifest.encode()
    assert Manifest.decode(data) == manifest
    assert Manifest.decode(data).encode() == data


@given(manifests(), st.data())
def test_a_damaged_manifest_is_refused_or_canonical_itself(manifest: Manifest, data: st.DataObject) -> None:
    """Any other error would reach the user as a traceback."""
    _refused_or_manifest(data.draw(damaged(manifest.encode())))


@given(st.binary(max_size=80), st.booleans())
def test_garbage_is_refused(data: bytes, dressed: bool) -> None:
    with pytest.raises((CorruptManifest, UnsupportedFormat)):
        Manifest.decode(MAGIC + data if dressed else data)


@given(manifests(), st.data())
def test_a_manifest_with_any_field_of_another_type_is_refused(manifest: Manifest, data: st.DataObject) -> None:
    fields = canonical.decode(manifest.encode()[len(MAGIC) :])
    key = data.draw(st.sampled_from(sorted(fields)))
    fields[key] = data.draw(JSON | st.binary(max_size=33) | st.lists(st.binary(min_size=31, max_size=33), max_size=2))
    _refused_or_manifest(MAGIC + canonical.encode(fields))


@given(refs())
def test_a_ref_comes_back_whole(ref: Ref) -> None:
    assert Ref.decode(ref.encode()) == ref


@given(refs().flatmap(lambda ref: damaged(ref.encode())))
def test_a_damaged_ref_is_refused_or_spells_itself(data: bytes) -> None:
    """A ref read differently from how it is written would believe a `latest` that nobody wrote."""
    try:
        ref = Ref.decode(data)
    except (CorruptRef, UnsupportedFormat):
        return
    assert ref.encode() == data


@given(st.binary(max_size=120))
def test_garbage_is_no_ref(data: bytes) -> None:
    with pytest.raises((CorruptRef, UnsupportedFormat)):
        Ref.decode(data)


@given(events())
def test_an_event_comes_back_whole(event: Event) -> None:
    line = event.encode()
    assert line.count(b"\n") == 1
    assert Event.decode(line[:-1]) == event


@given(events(), st.data())
def test_a_damaged_event_is_passed_over(event: Event, data: st.DataObject) -> None:
    """An event that is half right would restore a tag to something it never was."""
    line = event.encode()[:-1]
    changed = data.draw(damaged(line))
    assert Event.decode(changed) == (event if changed == line else None)


@given(st.binary(max_size=120))
def test_garbage_is_no_event(data: bytes) -> None:
    assert Event.decode(data) is None


def _refused_or_manifest(data: bytes) -> None:
    try:
        manifest = Manifest.decode(data)
    except (CorruptManifest, UnsupportedFormat):
        return
    assert manifest.encode() == data


def _refused_or_canonical(data: bytes) -> None:
    try:
        value = canonical.decode(data)
    except ValueError:
        return
    assert canonical.encode(value) == data


def _sorted(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _sorted(value[key]) for key in sorted(value)}
    return [_sorted(item) for item in value] if isinstance(value, list) else value


@st.composite
def _loose(draw: st.DrawFn, value: Any) -> bytes:
    """Return some legal msgpack of `value`, any of its headers wider than need be."""
    if value is None or isinstance(value, bool):
        return canonical.encode(value)
    if isinstance(value, list):
        return draw(_header(len(value), 0x90, 0xDD)) + b"".join(draw(_loose(item)) for item in value)
    if isinstance(value, dict):
        keys: list[str] = draw(st.permutations(sorted(value)))
        repeated = draw(st.booleans())
        keys += keys[:1] if repeated else []
        pairs = b"".join(draw(_loose(key)) + draw(_loose(value[key])) for key in keys)
        return draw(_header(len(keys), 0x80, 0xDF)) + pairs
    return draw(st.sampled_from([canonical.encode(value), *_wide(value)]))


def _wide(value: int | float | str | bytes) -> list[bytes]:
    if isinstance(value, str | bytes):
        data = value.encode() if isinstance(value, str) else value
        return [(b"\xdb" if isinstance(value, str) else b"\xc6") + struct.pack(">I", len(data)) + data]
    if isinstance(value, float):
        exact = abs(value) < 3e38 and struct.unpack(">f", struct.pack(">f", value))[0] == value
        return [b"\xca" + struct.pack(">f", value)] if exact else []
    wide = [b"\xcf" + struct.pack(">Q", value)] if value >= 0 else []
    if -(2**63) <= value < 2**63:
        wide.append(b"\xd3" + struct.pack(">q", value))
    return wide


def _header(count: int, short: int, wide: int) -> st.SearchStrategy[bytes]:
    return st.sampled_from([bytes([short + count]), bytes([wide]) + struct.pack(">I", count)])
