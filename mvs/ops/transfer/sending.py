"""Packs on their way to a remote: cut so small that little is lost when it is interrupted, several at once."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from mvs.format.ids import ObjectId
from mvs.format.layout import pack_path
from mvs.format.pack import Index, Record
from mvs.format.remote import PackPlace, index_key
from mvs.ops.transfer.holdings import Held, by_pack
from mvs.running.parallel import ahead
from mvs.running.progress import Progress
from mvs.store.packs.files import Pack
from mvs.store.remote.remote import Remote
from mvs.store.staging import Session
from mvs.store.store import Store

# Records of so many bytes at most go as one pack: what is sent again after an interruption, for each that was under
# way. Half of the requests are other packs, half are parts of the same one.
LARGEST = 64 << 20


@dataclass(frozen=True, slots=True)
class _Outgoing:
    """A pack to be sent; one of the session is removed when it was."""

    path: str
    name: ObjectId
    index: Index
    is_copy: bool


def send(
    store: Store,
    remote: Remote,
    records: dict[ObjectId, Held],
    generation: int,
    *,
    session: Session,
    progress: Progress,
    requests: int,
) -> Iterator[tuple[PackPlace, Index, int]]:
    """Send records; yield the packs that they lie in there, their indexes, and the bytes that travelled.

    A pack that is there already does not travel again: the same records make the same packs.

    Raises:
        RemoteFailed: it cannot be reached.
        CorruptPack: a record is damaged.
    """

    def upload(pack: _Outgoing) -> tuple[_Outgoing, PackPlace, int]:
        place = PackPlace(pack.name, generation, os.path.getsize(pack.path))
        sent = 0
        # An earlier attempt may have been cut off behind it; the key tells the content.
        if remote.bucket.size(place.key) == place.size:
            progress.advance(place.size)
        else:
            remote.bucket.upload(place.key, pack.path, progress.advance, parts=2 if requests > 1 else 1)
            sent = place.size
        end = Pack(pack.path).end()
        remote.bucket.write(index_key(place.name), end)
        return pack, place, sent + len(end)

    progress.start("sending", sum(held.record.length for held in records.values()))
    try:
        for pack, place, count in ahead(upload, _packed(store, records, session), max(1, requests // 2)):
            if pack.is_copy:
                session.drop(pack.path)
            yield place, pack.index, count
    finally:
        progress.finish()


def _packed(store: Store, records: dict[ObjectId, Held], session: Session) -> Iterator[_Outgoing]:
    """Yield packs with these records; one that has nothing else and is not large goes as it is."""
    for name, wanted in by_pack(records).items():
        index = store.objects.packs.pack(name).index
        pieces = list(_cut(wanted))
        if len(wanted) == len(index.records) and len(pieces) == 1:
            yield _Outgoing(str(store.root / pack_path(name)), name, index, False)
            continue
        for number, piece in enumerate(pieces):
            path = os.path.join(session.path, f"{name}.{number}")
            writer = store.rewritten({name: [record.id for record in piece]}, path)
            yield _Outgoing(writer.path, writer.finish(), _index_of(writer.records), True)


def _cut(records: Iterable[Record]) -> Iterator[list[Record]]:
    """Yield records in pieces."""
    piece: list[Record] = []
    size = 0
    for record in records:
        if piece and size + record.length > LARGEST:
            yield piece
            piece, size = [], 0
        piece.append(record)
        size += record.length
    if piece:
        yield piece


def _index_of(records: dict[ObjectId, Record]) -> Index:
    outside = {ref.id for record in records.values() for ref in record.refs} - records.keys()
    return Index(records, tuple(sorted(outside)))
