"""Removing what a plan says, unless a new version needs it by now."""

import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

from mvs.backends.failures import storage
from mvs.errors import StorageFull, StoreBusy
from mvs.format.ids import ObjectId
from mvs.ops.gc.cap import Fitted
from mvs.ops.gc.marking import Needed, newer
from mvs.ops.gc.plan import Plan, plan
from mvs.ops.sharing import note
from mvs.running.parallel import cores
from mvs.running.progress import Progress
from mvs.store.packs.writing import PackWriter
from mvs.store.staging import Session
from mvs.store.store import Store

# Each time a pack that was about to go is needed again meanwhile, all is looked at anew.
_ATTEMPTS = 5
# What is taken out while the lock is held once: some 10 ms. A pack costs an fsync.
_OBJECTS = 500
_PACKS = 8


class Result(NamedTuple):
    """What gc did.

    Attributes:
        freed: bytes that came back, those of `staging` included.
        versions: deleted versions that can no longer be restored.
        objects: objects with files of their own that went.
        packs: packs that went or were written again.
        staging: bytes that dead processes had left.
        held: bytes that would come back as well if nothing deleted were kept.
        vanished: repositories that shared the store and are gone; what they pinned is kept.
        fitted: what was done to keep the store within its size, where it has one.
    """

    freed: int = 0
    versions: int = 0
    objects: int = 0
    packs: int = 0
    staging: int = 0
    held: int = 0
    vanished: tuple[str, ...] = ()
    fitted: Fitted | None = None


def run(
    store: Store,
    since: int,
    *,
    host: str,
    now: int,
    progress: Progress,
    jobs: int | None = None,
    purge: Collection[str] = (),
) -> Result:
    """Remove what no version needs which is there, or was deleted after `since`; return what was done.

    Of the names in `purge` what was deleted goes at once. `jobs` packs are written again at a time, as many as there
    are cores unless it is said.
    Cut off anywhere, the store is whole: what was taken out lies in `trash/`, and goes with the next gc.

    Raises:
        Corrupt, UnsupportedFormat: something that is needed cannot be read; nothing was removed.
        StoreBusy: another gc or dedup is at work, or saves keep bringing back what is to go.
    """
    with store.packing():
        # It may be all the room there is.
        store.trash.empty()
        done = _Done()
        try:
            look = partial(plan, store, since, host=host, progress=progress, purge=purge)
            for _ in range(_ATTEMPTS):
                if _attempt(store, look, done, now, jobs, progress):
                    return done.result
        finally:
            store.journal.unwatch()
    raise StoreBusy("versions that need what is to go are saved as fast as it is found", hint="mvs gc")


class Rewritten(NamedTuple):
    """A pack with what stays of another; `goes` is the one that it bridges the end of, and goes after."""

    name: ObjectId
    goes: ObjectId | None
    writer: PackWriter


@dataclass
class _Done:
    """What was done so far: what one attempt took out before it had to begin anew is gone all the same."""

    result: Result = field(default_factory=Result)

    def add(self, **counts: int) -> None:
        more: dict[str, Any] = {what: getattr(self.result, what) + count for what, count in counts.items()}
        self.result = self.result._replace(**more)

    def swept(self, size: int) -> None:
        self.add(staging=size, freed=size)


def _attempt(
    store: Store, look: Callable[..., Plan], done: _Done, now: int, jobs: int | None, progress: Progress
) -> bool:
    try:
        with store.exclusive():
            # Before the refs are read: whatever changes from here on is told.
            store.journal.watch()
    except StorageFull:
        # No room even for an empty file. Whoever wants to save has none either, and can as well wait.
        with store.exclusive():
            planned = look(rewrite=False)
            return _collect(store, planned, done, now, jobs, progress, alone=True)
    try:
        planned = look()
        note(store, planned.repositories, now)
        return _collect(store, planned, done, now, jobs, progress)
    except StorageFull:
        # No room for packs to be written again: what goes without makes some.
        return _collect(store, look(rewrite=False), done, now, jobs, progress)


def _collect(
    store: Store,
    planned: Plan,
    done: _Done,
    now: int,
    jobs: int | None,
    progress: Progress,
    *,
    alone: bool = False,
) -> bool:
    """Do what was planned; tell whether all of it was right until the end. `alone`: the lock is held all the time."""
    for id in planned.relied:
        # The last copy of it but for one in a pack that goes.
        store.objects.read_through(id)
    done.result = done.result._replace(held=planned.held, vanished=planned.vanished)
    progress.start("collecting", planned.freed)
    try:
        with _rewritten(store, planned, jobs) as finished:
            there = set(store.objects.packs.names())
            done.swept(store.trash.sweep_staging(now=now, since=planned.since))
            for pack in finished:
                with _locked(store, alone=alone):
                    store.publisher().publish(pack.writer, pack.name)
            # Of two packs of the same records one stays, whichever was to come and which to go.
            stay = {pack.name for pack in finished if pack.goes is None} | (there - planned.packs.keys())
            bridges = {pack.goes: pack.name for pack in finished if pack.goes and pack.name not in stay}
            if not _take_all(store, planned, done, stay, bridges, progress, alone=alone):
                return False
        store.objects.packs.forget()
        store.views.sweep(now=now)
        done.swept(store.arriving.clear())
        _drop_notes(store, alone=alone)
        _drop_partials(store, alone=alone)
        _drop_marks(store, planned, alone=alone)
        _drop_views(store)
        _drop_sketches(store)
    finally:
        progress.finish()
        store.objects.packs.forget()
    return True


def _locked(store: Store, *, alone: bool) -> AbstractContextManager[None]:
    return nullcontext() if alone else store.exclusive()


@contextmanager
def _rewritten(store: Store, planned: Plan, jobs: int | None) -> Iterator[list[Rewritten]]:
    """Write again, in a session, the packs of which something stays, and bridges; `jobs` of them at once."""
    wanted: list[tuple[ObjectId | None, Mapping[ObjectId, Iterable[ObjectId]]]] = []
    wanted += ((None, {name: ids}) for name, ids in planned.kept.items())
    wanted += planned.bridges.items()
    if not wanted:
        yield []
        return
    from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415 - 9 ms

    with store.session() as session:
        writers: list[PackWriter] = []

        def write(goes: ObjectId | None, parts: Mapping[ObjectId, Iterable[ObjectId]]) -> Rewritten:
            writer = store.rewritten(parts, _place(session))
            writers.append(writer)
            return Rewritten(writer.finish(), goes, writer)

        try:
            with ThreadPoolExecutor(jobs or cores(), thread_name_prefix="mvs") as pool:
                written = [pool.submit(write, *each) for each in wanted]
                try:
                    found = [each.result() for each in written]
                finally:
                    for each in written:
                        each.cancel()
            yield found
        finally:
            for writer in writers:
                writer.discard()


def _place(session: Session) -> str:
    return os.path.join(session.path, os.urandom(8).hex())


def _take_all(
    store: Store,
    planned: Plan,
    done: _Done,
    stay: Collection[ObjectId],
    bridges: Mapping[ObjectId, ObjectId],
    progress: Progress,
    *,
    alone: bool,
) -> bool:
    """Take out what was planned, what refers to something before that; stop where a pack is needed by now.

    Packs that `stay` do; a bridge, by the pack it goes after, goes where it has served.

    The lock is let go again and again, so that no save waits long. Whenever it is free, the store is as whole as
    if gc had been cut off there: no record lacks what it refers to.
    """
    manifests = [id for id in planned.loose if id in planned.manifests]
    others = [id for id in planned.loose if id not in planned.manifests]
    packs: list[ObjectId] = []
    for name in planned.packs:
        if name not in stay and name not in bridges.values():
            packs.append(name)
        if name in bridges:
            packs.append(bridges[name])
    versions = {version.id for version in planned.versions}
    unsettled = manifests
    for ids, names in [
        *((part, ()) for part in _parts(manifests, _OBJECTS)),
        *(((), part) for part in _parts(packs, _PACKS)),
        *((part, ()) for part in _parts(others, _OBJECTS)),
    ]:
        if unsettled and (names or ids[0] not in planned.manifests):
            # After a power cut, too, no version must be there again whose files are gone.
            store.trash.settle(unsettled)
            unsettled = []
        with _locked(store, alone=alone):
            spared = set() if alone else _spared(store, planned)
            if spared is None:
                return False
            gone = [id for id in ids if id not in spared]
            for id in gone:
                store.trash.take_object(id)
            for name in names:
                store.trash.take_pack(name)
        # Meanwhile whoever waits for the lock gets it.
        store.trash.empty()
        freed = sum(planned.loose[id] for id in gone) + sum(planned.packs.get(name, 0) for name in names)
        done.add(
            freed=freed,
            versions=len(versions.intersection(gone)),
            objects=len(gone),
            packs=sum(name in planned.packs for name in names),
        )
        progress.advance(freed)
    with _locked(store, alone=alone):
        done.swept(store.trash.sweep_temps())
    store.trash.empty()
    return True


def _parts(ids: Sequence[ObjectId], size: int) -> Iterator[Sequence[ObjectId]]:
    for first in range(0, len(ids), size):
        yield ids[first : first + size]


def _spared(store: Store, planned: Plan) -> set[ObjectId] | None:
    """Return, under the lock, what is needed by now; None where a pack is that was to go, or it cannot be told.

    What was saved, restored or deleted since the mark began is needed, whether it is there or may be wanted back.
    """
    found = newer(store)
    if found is None:
        return None
    needed = Needed(store, {}, {})
    needed.add(ref for id, ref in found.items() if id not in planned.roots)
    for id, name in needed.packed.items():
        if name in planned.packs and id not in planned.kept.get(name, ()):
            return None
    return needed.loose


def _drop_notes(store: Store, *, alone: bool) -> None:
    """Drop the notes of versions that can no longer be restored."""
    gone = [notes for notes in store.notes.all() if not store.objects.is_loose(notes.id)]
    if gone:
        with _locked(store, alone=alone):
            for notes in gone:
                if not store.objects.is_loose(notes.id) and store.notes.read(notes.tag) == notes:
                    store.notes.remove(notes.tag)


def _drop_partials(store: Store, *, alone: bool) -> None:
    """Say no longer of versions that are gone that they were pulled in part."""
    gone = [id for id in store.partials.ids() if not store.objects.is_loose(id)]
    if gone:
        with _locked(store, alone=alone):
            for id in gone:
                # A pull may have brought it again.
                if not store.objects.is_loose(id):
                    store.partials.remove(id)


def _drop_marks(store: Store, planned: Plan, *, alone: bool) -> None:
    """Say no longer of manifests that they are lost when nothing asks for them: else they stop every gc from now on."""
    if planned.lost:
        with _locked(store, alone=alone):
            for id in planned.lost.intersection(store.quarantine.lost()):
                store.quarantine.unmark(id)


def _drop_views(store: Store) -> None:
    """Drop the views of versions that are gone, also of those that an earlier gc took: they keep the bytes."""
    with storage(str(store.root)):
        for id in list(store.views.ids()):
            if not store.objects.is_loose(id):
                store.views.drop(id)


def _drop_sketches(store: Store) -> None:
    """Drop what is kept of blobs that are gone, also of those that an earlier gc took."""
    packed = store.objects.packs.holds()
    with storage(str(store.root)):
        store.sketches.sweep(lambda blob: store.objects.is_loose(blob) or packed(blob))
