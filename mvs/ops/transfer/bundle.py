"""Bundles: a remote in one file, for where no network leads."""

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from mvs.backends.buckets import Address
from mvs.backends.buckets.bundle import BundleBucket, NewBundle
from mvs.backends.directory import Directory
from mvs.backends.failures import storage
from mvs.errors import CorruptRemote, DestinationExists, SourceNotFound
from mvs.format.ids import ObjectId
from mvs.format.lines.refs import Ref
from mvs.ops.transfer.push import Pushed, plan_push, push
from mvs.running.progress import Progress
from mvs.store.remote.remote import Remote
from mvs.store.store import Store


def create(
    store: Store,
    path: str,
    refs: Iterable[Ref],
    since: Iterable[Ref],
    *,
    now: Callable[[], int],
    by: str,
    progress: Progress,
    jobs: int | None,
) -> Pushed:
    """Write versions into a new file, without the files of those `since`: whoever reads it has these.

    Raises:
        DestinationExists: there is a file.
        Corrupt: a version cannot be read.
        StorageFailed: the disk is full, read-only or failing; then there is no file.
    """
    if os.path.lexists(path):
        raise DestinationExists(f"'{path}' is there already")
    assumed = frozenset[ObjectId](entry.blob for ref in since for entry in store.manifest(ref).tree.files)
    beside = f"{path}.{os.urandom(4).hex()}.tmp"
    try:
        bundle = NewBundle(beside)
        with contextlib.closing(bundle), store.session() as session:
            disk = Directory(session.path, durable=False, temps="temps")
            remote = Remote(os.path.basename(path), Address(path), disk, bundle)
            remote.log.begin(single_writer=False)
            plan = plan_push(store, remote, refs, remote.log.state(), progress=progress)
            # A file grows at its end, and is the same each time.
            done = push(store, remote, plan, now=now, by=by, progress=progress, jobs=jobs, requests=1, assumed=assumed)
        folder, name = os.path.split(os.path.abspath(path))
        place = Directory(folder, durable=True, temps="")
        if not place.adopt(beside, name):
            raise DestinationExists(f"'{path}' appeared meanwhile")
        place.sync([""])
    finally:
        with contextlib.suppress(OSError), storage(path):
            os.unlink(beside)
    return done


@contextmanager
def opened(store: Store, path: str) -> Iterator[Remote]:
    """Open a bundle; what is learned of it is forgotten at the end.

    Raises:
        SourceNotFound: there is no file.
        CorruptRemote: it is no bundle.
    """
    try:
        bucket = BundleBucket(path)
    except (FileNotFoundError, IsADirectoryError):
        raise SourceNotFound(f"no bundle '{path}'") from None
    with store.session() as session:
        disk = Directory(session.path, durable=False, temps="temps")
        remote = Remote(os.path.basename(path), Address(path), disk, bucket)
        if not remote.log.exists():
            raise CorruptRemote(f"'{path}' is no bundle: it has no 'format'")
        # Nobody writes to it: an entry that is not found under its name is lost, and is not yet to come.
        if remote.log.state().number < remote.log.tip():
            raise CorruptRemote(f"'{path}' is damaged: an entry of its log is gone")
        yield remote
