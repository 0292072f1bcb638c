"""Removing what a plan says, unless a new version needs it by now."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from mvs.backends.failures import storage
from mvs.errors import StorageFull, StoreBusy
from mvs.format.ids import ObjectId
from mvs.ops.gc.marking import Needed, held, present
from mvs.ops.gc.plan import Plan, plan
from mvs.running.progress import Progress
from mvs.store.packs.writing import PackWriter
from mvs.store.store import Store

# Each time a pack that was about to go is needed again meanwhile, all is looked at anew.
_ATTEMPTS = 5


class Result(NamedTuple):
    """What gc did.

    Attributes:
        freed: bytes that came back, those of `staging` included.
        versions: deleted versions that can no longer be restored.
        objects: objects with files of their own that went.
        packs: packs that went or were written again.
        staging: bytes that dead processes had left.
        held: bytes that would come back as well if nothing deleted were kept.
    """

    freed: int
    versions: int
    objects: int
    packs: int
    staging: int
    held: int


def run(store: Store, since: int, *, now: int, progress: Progress) -> Result:
    """Remove what no version needs which is there, or was deleted after `since`; return what was done.

    Cut off anywhere, the store is whole: what was taken out lies in `trash/`, and goes with the next gc.

    Raises:
        Corrupt, UnsupportedFormat: something that is needed cannot be read; nothing was removed.
        StoreBusy: another gc or dedup is at work, or saves keep bringing back what is to go.
    """
    with store.packing():
        # It may be all the room there is.
        store.trash.empty()
        for _ in range(_ATTEMPTS):
            try:
                done = _attempt(store, plan(store, since), now, progress)
            except StorageFull:
                # No room for packs to be written again: what goes without makes some.
                done = _attempt(store, plan(store, since, rewrite=False), now, progress)
            if done is not None:
                store.trash.empty()
                return done
    raise StoreBusy("versions that need what is to go are saved as fast as it is found", hint="mvs gc")


def _attempt(store: Store, planned: Plan, now: int, progress: Progress) -> Result | None:
    """Do what was planned; None, and nothing removed, where it is no longer right."""
    for id in planned.relied:
        # The last copy of it but for one in a pack that goes.
        store.objects.read_through(id)
    progress.start("collecting", planned.freed)
    try:
        with _rewritten(store, planned, progress) as writers:
            names = {writer.finish(): writer for writer in writers}
            staging = store.trash.sweep_staging(now=now, since=planned.since)
            with store.exclusive():
                spared = _spared(store, planned, now)
                if spared is None:
                    return None
                publisher = store.publisher()
                for name, writer in names.items():
                    publisher.publish(writer, name)
                _take(store, planned, spared | names.keys())
                staging += store.trash.sweep_temps()
                store.objects.packs.forget()
        staging += store.trash.sweep_views(now=now)
        _drop_views(store)
    finally:
        progress.finish()
    gone = planned.loose.keys() - spared
    return Result(
        freed=sum(planned.loose[id] for id in gone) + sum(planned.packs.values()) + staging,
        versions=sum(version.id in gone for version in planned.versions),
        objects=len(gone),
        packs=len(planned.packs),
        staging=staging,
        held=planned.held,
    )


@contextmanager
def _rewritten(store: Store, planned: Plan, progress: Progress) -> Iterator[list[PackWriter]]:
    """Write again the packs of which something stays, in a session."""
    if not planned.kept:
        yield []
        return
    with store.session() as session:
        writers: list[PackWriter] = []
        try:
            for name, ids in planned.kept.items():
                writers.append(store.rewritten(name, ids, os.path.join(session.path, os.urandom(8).hex())))
                progress.advance(planned.packs[name])
            yield writers
        finally:
            for writer in writers:
                writer.discard()


def _spared(store: Store, planned: Plan, now: int) -> set[ObjectId] | None:
    """Return, under the lock, the loose objects that are needed by now; None where a pack is that was to go."""
    found = present(store)
    # What was deleted since the plan was made was there then; what was saved and deleted since may be wanted back.
    since = min(planned.since, now)
    later = held(store, since, strict=planned.since <= now)
    found |= {id: ref for id, ref in later.items() if id not in planned.manifests}
    needed = Needed(store)
    needed.add(ref for id, ref in found.items() if id not in planned.roots)
    for id, name in needed.packed.items():
        if name in planned.packs and id not in planned.kept.get(name, ()):
            return None
    return needed.loose & planned.loose.keys()


def _take(store: Store, planned: Plan, stays: set[ObjectId]) -> None:
    """Take out what was planned, under the lock: what refers to something before that, as a deletion goes down."""
    doomed = [id for id in planned.loose if id not in stays]
    for id in doomed:
        if id in planned.manifests:
            store.trash.take_object(id)
    for name in planned.packs:
        # A gc that was cut off may have written this very pack before.
        if name not in stays:
            store.trash.take_pack(name)
    for id in doomed:
        if id not in planned.manifests:
            store.trash.take_object(id)


def _drop_views(store: Store) -> None:
    """Drop the views of versions that are gone, also of those that an earlier gc took: they keep the bytes."""
    with storage(str(store.root)):
        for id in list(store.views.ids()):
            if not store.objects.is_loose(id):
                store.views.drop(id)
