"""Removing what a plan says, unless a new version needs it by now."""

import os
from typing import NamedTuple

from mvs.errors import StoreBusy
from mvs.format.ids import ObjectId
from mvs.ops.gc.marking import Needed, roots
from mvs.ops.gc.plan import Plan, plan
from mvs.progress import Progress
from mvs.store.store import Store

# Each time something that was about to go was saved again meanwhile, all is looked at anew.
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
    with store.packing(), store.session() as session:
        for _ in range(_ATTEMPTS):
            planned = plan(store, since)
            done = _attempt(store, planned, session.path, now, progress)
            if done is not None:
                store.trash.empty()
                return done
    raise StoreBusy("versions that need what is to go are saved as fast as it is found", hint="mvs gc")


def _attempt(store: Store, planned: Plan, folder: str, now: int, progress: Progress) -> Result | None:
    """Do what was planned; None, and nothing done, where it is no longer right."""
    progress.start("collecting", planned.freed)
    writers = []
    try:
        for name, ids in planned.kept.items():
            writers.append((store.rewritten(name, ids, os.path.join(folder, str(name))), name))
            progress.advance(planned.packs[name])
        finished = [(writer, writer.finish()) for writer, _ in writers]
        staging = store.trash.sweep_staging(now=now, since=planned.since)
        with store.exclusive():
            if not _still_right(store, planned):
                return None
            publisher = store.publisher()
            for writer, name in finished:
                publisher.publish(writer, name)
            for id in planned.loose:
                store.trash.take_object(id)
            for name in planned.packs:
                store.trash.take_pack(name)
            staging += store.trash.sweep_temps()
            store.objects.packs.forget()
        for id in planned.loose:
            store.views.drop(id)
    finally:
        for writer, _ in writers:
            writer.discard()
        progress.finish()
    return Result(
        planned.freed + staging, len(planned.versions), len(planned.loose), len(planned.packs), staging, planned.held
    )


def _still_right(store: Store, planned: Plan) -> bool:
    """Tell, under the lock, whether what is new since the plan was made needs nothing that is to go."""
    now = roots(store, planned.since)
    new = [ref for id, ref in now.items() if id not in planned.roots]
    needed = Needed(store)
    needed.add(new)
    doomed: set[ObjectId] = set(planned.loose)
    if needed.loose & doomed:
        return False
    return all(
        name not in planned.packs or id in planned.kept.get(name, frozenset()) for id, name in needed.packed.items()
    )
