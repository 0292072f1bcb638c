"""Exporting: the files of a version in one archive, for people who have no mvs.

The archive gets its name when every file in it was compared with its id, and not before.
"""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from mvs.backends import archives
from mvs.backends.directory import Directory
from mvs.backends.failures import storage
from mvs.errors import Corrupt, CorruptObject, DestinationExists, ForbiddenPlace, SourceNotFound, command
from mvs.format.manifest import FileEntry
from mvs.format.names import Tag
from mvs.ops.find.absent import check as check_pulled
from mvs.ops.find.query import Stored
from mvs.ops.giving.checkout import choose, explained
from mvs.ops.saving.walk import contains
from mvs.running.progress import Progress
from mvs.store.store import Store

is_archive = archives.is_archive


def export(
    store: Store,
    stored: Stored,
    dest: str,
    *,
    include: Iterable[str],
    exclude: Iterable[str],
    force: bool,
    progress: Progress,
) -> Path:
    """Write files of a version into an archive, of the kind that `dest` ends as, and return `dest`.

    The same files make the same archive: in order of their paths, of one time, and of no owner.

    Raises:
        FileNotInVersion: the globs leave no file.
        NotPulled: one of them was not pulled.
        ForbiddenPlace: `dest` lies in the store.
        DestinationExists: there is something, and not `force`; or a folder.
        CorruptObject, MissingObject: the store's bytes are damaged; `dest` is as before.
        VersionNotFound: the version was deleted meanwhile, and its files are gone; likewise.
        StorageFailed: the disk is full, read-only or failing; likewise.
    """
    tag, tree = stored.ref.tag, stored.manifest.tree
    files = choose(tree.files, include, exclude, tag)
    check_pulled(store, stored.ref, stored.manifest, files)
    folders = tree.dirs if len(files) == len(tree.files) else ()
    _check_place(store, dest, tag, force=force)
    store.bring(entry.blob for entry in files)
    beside = f"{dest}.{os.urandom(4).hex()}.tmp"
    place = Directory(os.path.dirname(os.path.abspath(dest)), durable=True, temps="")
    progress.start("exporting", sum(entry.size for entry in files))
    try:
        with archives.create(beside, dest) as archive:
            for path, entry in sorted([(entry.path, entry) for entry in files] + [(path, None) for path in folders]):
                if entry is None:
                    archive.folder(path)
                else:
                    blocks = _verified(store, entry, tag, progress)
                    archive.file(path, entry.size, blocks, executable=entry.executable)
        with storage(beside), open(beside, "rb") as file:
            place.sync_file(file.fileno(), beside)
        _name(place, beside, dest, force=force)
    except FileNotFoundError as error:
        raise SourceNotFound(f"there is no folder '{place.root}' to write to") from error
    finally:
        progress.finish()
        place.discard(beside)
    return Path(dest)


def _check_place(store: Store, dest: str, tag: Tag, *, force: bool) -> None:
    if contains(str(store.root), dest):
        raise ForbiddenPlace(f"'{dest}' lies in the store, where nothing is written to")
    if os.path.isdir(dest):
        raise DestinationExists(f"'{dest}' is a folder", hint=command("ls", "-ld", dest))
    if os.path.lexists(dest) and not force:
        raise DestinationExists(f"'{dest}' is there already", hint=command("mvs", "export", tag, dest, "--force"))


def _verified(store: Store, entry: FileEntry, tag: Tag, progress: Progress) -> Iterator[bytes | memoryview]:
    size = 0
    try:
        for block in store.objects.verified(entry.blob):
            yield block
            progress.advance(len(block))
            size += len(block)
        if size != entry.size:
            raise CorruptObject(f"object {entry.blob} has {size} bytes, not {entry.size}")
    except Corrupt as error:
        raise explained(store, entry, tag, error) from error


def _name(place: Directory, beside: str, dest: str, *, force: bool) -> None:
    """Give what was written its name, durably."""
    if force:
        with storage(dest):
            os.replace(beside, dest)
    elif not place.adopt(beside, os.path.basename(dest)):
        raise DestinationExists(f"'{dest}' appeared meanwhile", hint=command("ls", "-l", dest))
    place.sync([""])
