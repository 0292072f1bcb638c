"""Packs on their way here: several runs of bytes at once, written in order, gone on with where it was cut off."""

import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from blake3 import blake3

from mvs.errors import CorruptPack, CorruptRemote
from mvs.format.pack import Record, check_of
from mvs.format.remote import PackPlace
from mvs.running.parallel import ahead
from mvs.running.progress import Progress
from mvs.store.packs.files import Pack
from mvs.store.remote.arriving import Arriving, Part
from mvs.store.remote.remote import Remote
from mvs.store.store import Store

if TYPE_CHECKING:
    from mvs.store.packs.arriving import Arrival

# Requests under way when nobody says how many.
REQUESTS = 4
# Of a pack so much is read in one piece, and a gap of so little is read along: so many pieces are in memory as
# there are requests, and one more.
RUN = 8 << 20
_GAP = 1 << 16


@dataclass(slots=True)
class _Coming:
    """Some runs of a pack, which make a file one after the other."""

    place: PackPlace
    records: tuple[Record, ...]
    whole: bool
    part: Part
    runs: list[tuple[int, int]] = field(default_factory=list)

    @property
    def size(self) -> int:
        return sum(length for _, length in self.runs)

    def rest(self) -> Iterator[tuple[int, int]]:
        """Yield the runs that are not here yet: where they start, and their lengths."""
        here = self.part.size
        if here > self.size:
            self.part.discard()
            here = 0
        for start, length in self.runs:
            skipped = min(here, length)
            here -= skipped
            for at in range(start + skipped, start + length, RUN):
                yield at, min(RUN, start + length - at)


def receive(
    store: Store,
    remote: Remote,
    packs: Sequence[tuple[PackPlace, tuple[Record, ...], bool]],
    folder: str,
    progress: Progress,
    requests: int,
) -> "tuple[list[Arrival], int]":
    """Bring packs here, each whole or some records of it; return them, and how many bytes travelled.

    What came before this was cut off need not come again. What came damaged is asked for once more.
    `folder` is that of a session, to work in.

    Raises:
        CorruptRemote: a pack is gone, or is not what it is named after.
        RemoteFailed: the remote cannot be reached.
    """
    pending = [_coming(store.arriving, *pack) for pack in packs]
    arrivals: list[Arrival] = []
    travelled = 0
    progress.start("receiving", sum(coming.size for coming in pending))
    try:
        for last in (False, True):
            damaged = []
            for coming, count in _brought(remote, pending, progress, requests):
                travelled += count
                try:
                    arrivals.append(_arrived(store, remote, coming, folder))
                except (CorruptRemote, CorruptPack, FileNotFoundError):
                    coming.part.discard()
                    if last:
                        raise
                    damaged.append(coming)
            pending = damaged
    finally:
        for coming in pending:
            coming.part.close()
        progress.finish()
    return arrivals, travelled


def _brought(
    remote: Remote, pending: list[_Coming], progress: Progress, requests: int
) -> Iterator[tuple[_Coming, int]]:
    """Bring files to their full length, one after the other; yield each with what travelled for it."""
    jobs = ((coming, start, length) for coming in pending for start, length in coming.rest())
    current = iter(pending)
    coming = next(current, None)
    travelled = 0
    if coming is not None:
        progress.advance(coming.part.size)
    for target, data in ahead(lambda job: (job[0], _run(remote, *job)), jobs, requests):
        while coming is not None and coming is not target:
            yield coming, travelled
            coming, travelled = next(current), 0
            progress.advance(coming.part.size)
        target.part.append(data)
        travelled += len(data)
        progress.advance(len(data))
    while coming is not None:
        yield coming, travelled
        coming, travelled = next(current, None), 0
        if coming is not None:
            progress.advance(coming.part.size)


def _run(remote: Remote, coming: _Coming, start: int, length: int) -> bytes:
    for _ in range(2):
        try:
            data = remote.bucket.read_range(coming.place.key, start, length)
        except FileNotFoundError:
            raise CorruptRemote(f"pack {coming.place.name} of '{remote.name}' is gone", hint="mvs pull") from None
        if len(data) == length:
            return data
    raise CorruptRemote(f"pack {coming.place.name} of '{remote.name}' is cut off")


def _coming(arriving: Arriving, place: PackPlace, records: tuple[Record, ...], whole: bool) -> _Coming:
    if whole:
        return _Coming(place, records, whole, arriving.part(str(place.name)), [(0, place.size)])
    runs = _runs(records)
    # Of the same pack others may come another time.
    name = blake3(f"{place.name} {runs}".encode()).hexdigest()
    return _Coming(place, records, whole, arriving.part(f"{name}.some"), runs)


def _runs(records: tuple[Record, ...]) -> list[tuple[int, int]]:
    """Return where records lie, those that are near each other in one run."""
    runs: list[tuple[int, int]] = []
    for record in records:
        end = runs[-1][0] + runs[-1][1] if runs else 0
        if runs and record.offset - end <= _GAP:
            runs[-1] = (runs[-1][0], max(end, record.offset + record.length) - runs[-1][0])
        else:
            runs.append((record.offset, record.length))
    return runs


def _arrived(store: Store, remote: Remote, coming: _Coming, folder: str) -> "Arrival":
    """Return what has come as a pack.

    Raises:
        CorruptRemote, CorruptPack: it is damaged.
        FileNotFoundError: somebody has removed it.
    """
    from mvs.store.packs.arriving import Arrival  # noqa: PLC0415 - numpy, which is not needed where nothing comes

    place = coming.place
    digest = coming.part.finish()
    if coming.whole:
        if digest != place.name.raw:
            raise CorruptRemote(f"pack {place.name} of '{remote.name}' is not what it is named after")
        return Arrival(coming.part.path, place.name, Pack(coming.part.path).index.records)
    writer = store.pack_writer(os.path.join(folder, os.urandom(8).hex()))
    with contextlib.ExitStack() as undo:
        undo.callback(writer.discard)
        with open(coming.part.path, "rb", buffering=0) as file:
            for record, at in _places(coming):
                stored = os.pread(file.fileno(), record.length, at)
                if check_of(stored) != record.check:
                    raise CorruptRemote(f"object {record.id} in pack {place.name} of '{remote.name}' is damaged")
                writer.add(record.id, record.size, record.encoding, stored, record.refs, depth=record.depth)
        name = writer.finish()
        undo.pop_all()
    return Arrival(writer.path, name, writer.records)


def _places(coming: _Coming) -> Iterator[tuple[Record, int]]:
    """Yield the records with where they lie in the file."""
    before = 0
    records = iter(coming.records)
    record = next(records, None)
    for start, length in coming.runs:
        while record is not None and record.offset + record.length <= start + length:
            yield record, before + record.offset - start
            record = next(records, None)
        before += length
