"""Making the files of versions loose again. What packs hold of them stays until gc finds it needless."""

import os
from collections.abc import Iterable, Iterator

from mvs.format.lines.refs import Ref
from mvs.running.progress import Progress
from mvs.store.staging import Buffer
from mvs.store.store import Store


def undo(store: Store, chosen: Iterable[Ref], *, progress: Progress) -> int:
    """Give every file of these versions a file of its own in the store again; return the bytes written.

    Raises:
        Corrupt: one cannot be read; those before it are loose.
        StorageFailed: the disk is full, read-only or failing.
    """
    entries = {entry.blob: entry for ref in chosen for entry in store.here(ref.id, store.manifest(ref))}
    packed = [entry for entry in entries.values() if not store.objects.is_loose(entry.blob)]
    progress.start("unpacking", sum(entry.size for entry in packed))
    try:
        with store.packing(), store.session() as session:
            for entry in packed:
                _, path = session.write(_counted(store.objects.verified(entry.blob), progress))
                with store.exclusive(), store.adding() as adding:
                    adding.adopt(path, entry.blob)
                    adding.sync()
                os.unlink(path)
    finally:
        progress.finish()
    return sum(entry.size for entry in packed)


def _counted(blocks: Iterable[Buffer], progress: Progress) -> Iterator[Buffer]:
    for block in blocks:
        yield block
        progress.advance(len(block))
