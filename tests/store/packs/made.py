"""Packs for tests: published into a store as dedup does it, from records put together by hand."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from mvs.format.ids import ObjectId
from mvs.format.layout import pack_path
from mvs.format.pack import Span
from mvs.store.packs.writing import PackWriter
from mvs.store.store import Store
from tests.golden import make_pack

# Of every kind, each made from those before it, and what one of them needs from outside.
CONTENTS = make_pack.contents()
LOOSE = "loose"


class Made(NamedTuple):
    """A record to be: as it is when `encoding` is "raw", else what `stored` and `refs` are taken for."""

    plain: bytes
    encoding: str = "raw"
    stored: bytes | None = None
    refs: Sequence[Span] = ()
    depth: int = 0
    id: ObjectId | None = None
    size: int | None = None


def id_of(name: str) -> ObjectId:
    return ObjectId.of(CONTENTS[name])


def span(plain: bytes, start: int = 0, stop: int | None = None) -> Span:
    return Span(ObjectId.of(plain), start, (len(plain) if stop is None else stop) - start)


def joined(*parts: tuple[bytes, int, int], depth: int = 0) -> Made:
    """A `concat` of runs of other contents: each with where it starts and where it stops."""
    plain = b"".join(data[start:stop] for data, start, stop in parts)
    return Made(plain, "concat", b"", [span(*part) for part in parts], depth)


def fill(writer: PackWriter, records: Sequence[Made]) -> None:
    for made in records:
        id = made.id or ObjectId.of(made.plain)
        size = len(made.plain) if made.size is None else made.size
        stored = made.plain if made.stored is None else made.stored
        writer.add(id, size, made.encoding, stored, tuple(made.refs), depth=made.depth)


def put(store: Store, *contents: bytes) -> None:
    """Let contents be loose objects."""
    with store.exclusive(), store.adding() as adding:
        for data in contents:
            adding.put(data)
        adding.sync()


def publish(store: Store, *records: Made | bytes) -> Path:
    """Publish a pack of records and return where it lies."""
    with store.session() as session:
        writer = store.pack_writer(f"{session.path}/pack")
        fill(writer, [made if isinstance(made, Made) else Made(made) for made in records])
        name = writer.finish()
        with store.exclusive():
            store.publisher().publish(writer, name)
    return store.root / pack_path(name)


def force(store: Store, *records: Made | bytes) -> Path:
    """Put a pack into a store that nobody would publish: what it relies on may not be there."""
    writer = store.pack_writer(str(store.root / "forced"))
    fill(writer, [made if isinstance(made, Made) else Made(made) for made in records])
    place = store.root / pack_path(writer.finish())
    place.parent.mkdir(parents=True, exist_ok=True)
    Path(writer.path).rename(place)
    store.objects.packs.forget()
    return place


def tables(store: Store) -> list[Path]:
    return sorted((store.root / "cache" / "packs").glob("*.table"))


def plain_of(store: Store, contents: Mapping[str, bytes]) -> dict[str, bytes]:
    return {name: store.objects.read(ObjectId.of(data)) for name, data in contents.items()}
