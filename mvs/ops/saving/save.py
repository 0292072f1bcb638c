"""Saving a folder as a new version.

Files are staged and fsynced first. Then, under the store's lock: objects, manifest,
journal, `latest`, ref. Cut off anywhere, what is left is rubbish for a cleanup and never
a ref to something unfinished.
"""

import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from mvs.errors import UNREADABLE, SourceChanged, TagExists, TagTaken, command
from mvs.format.ids import ObjectId
from mvs.format.lines.journal import Event
from mvs.format.lines.refs import Ref
from mvs.format.manifest import FileEntry, Manifest, Tree
from mvs.format.names import Bump, Tag
from mvs.ops.find.query import Stored, stored
from mvs.ops.find.ranges import following
from mvs.ops.saving.walk import Folder, Found, stamp
from mvs.running.parallel import Advance, cores, each
from mvs.running.progress import Progress
from mvs.store.objects import Adding
from mvs.store.staging import Session, Staged
from mvs.store.store import Store

# How the bytes come into staging: copied; linked, and the source removed once all is
# published; or there already, because a draft wrote them into its session.
Take = Literal["copy", "move", "adopt"]

_HEX = 6
# One save in so many, as its id falls, brings the catalog up to date: no question ever has many new versions
# to read, and the others do not pay for it.
_CATALOGUED = 256
_NS = 1_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What is to be saved besides the files. A `version` of None is generated: by time, or as the next number."""

    name: str
    version: str | None
    labels: Mapping[str, str]
    metadata: Mapping[str, Any]
    context: Mapping[str, Any]
    parents: tuple[ObjectId, ...]
    message: str
    if_changed: bool = False
    reuse_tag: bool = False
    bump: Bump | None = None

    def told(self, folder: Folder) -> dict[str, Any]:
        """Return what hooks are told of it, before it is saved."""
        return {
            "path": os.path.realpath(folder.root),
            "files": [{"path": found.path, "size": found.size} for found in folder.files],
            "name": self.name,
            "version": self.version,
            "labels": dict(self.labels),
            "metadata": dict(self.metadata),
            "parents": [str(id) for id in self.parents],
            "message": self.message,
        }


@dataclass(frozen=True, slots=True)
class Saved:
    """The version that now has the tag; `new` is false where it was there already with the same content."""

    stored: Stored
    new: bool


class _Vanished(Exception):
    """An object that the store had was taken out before the save could name it."""


def check_free(store: Store, name: str, version: str | None) -> None:
    """Refuse a tag that exists, before anything is spent on it.

    Raises:
        TagExists: a version has this tag.
    """
    if version is not None and store.refs.exists(Tag(name, version)):
        tag = Tag(name, version)
        raise TagExists(f"tag '{tag}' exists; a tag never changes", hint=f"mvs show {tag}")


def save(
    store: Store,
    request: Request,
    folder: Folder,
    take: Take,
    session: Session,
    *,
    now: Callable[[], int],
    by: str,
    progress: Progress,
) -> Saved:
    """Save the files of a folder as a new version.

    Raises:
        TagExists: the tag is taken by other content.
        SourceChanged: a file changed meanwhile.
        StorageFailed: the disk is full, read-only or failing; nothing was saved.
    """
    _check_early(store, request, folder)
    if request.bump:
        # What is read now is not parsed again under the lock.
        _next(store, request.name, request.bump)
    if take == "move":
        folder.check_movable()
    while True:
        staged = _stage(store, session, folder, take, progress)
        folder.check_unchanged()
        tree = Tree.of(
            [
                FileEntry(found.path, content.size, content.id, found.executable)
                for found, content in zip(folder.files, staged, strict=True)
            ],
            list(folder.dirs),
        )
        try:
            saved = _publish(store, request, tree, staged, now=now, by=by)
        except _Vanished:
            continue
        except TagExists:
            if request.version is not None:
                raise
            # Made up at the same moment by somebody elsewhere, where the store is.
            continue
        break
    for content in staged:
        if content.path is not None:
            store.probes.learn(content.id, content.size)
    if take == "move":
        _remove_sources(folder)
    if saved.new and int.from_bytes(saved.stored.ref.id.raw[:4], "big") % _CATALOGUED == 0:
        store.catalog.refresh()
    return saved


def _stage(store: Store, session: Session, folder: Folder, take: Take, progress: Progress) -> list[Staged]:
    # One file at a time cannot keep all cores busy by files; then each is hashed on all.
    wide = len(folder.files) < cores()

    def work(found: Found, advance: Advance) -> Staged:
        if take == "move":
            content = session.link(found.place, advance, wide=wide)
        elif take == "adopt":
            content = session.adopt(found.place, advance, wide=wide)
        else:
            content = session.take(found.place, advance, wide=wide)
        if content.size != found.size:
            raise SourceChanged(f"'{found.path}' changed while it was saved", hint=command("fuser", "-v", found.place))
        return content

    # Largest first, so that no thread is left with the largest at the end.
    order = sorted(range(len(folder.files)), key=lambda index: -folder.files[index].size)
    done = each(work, [folder.files[index] for index in order], label="saving", total=folder.size, progress=progress)
    by_index = dict(zip(order, done, strict=True))
    return [by_index[index] for index in range(len(order))]


def _publish(
    store: Store, request: Request, tree: Tree, staged: list[Staged], *, now: Callable[[], int], by: str
) -> Saved:
    tree_id = tree.id
    with store.exclusive():
        created = store.next_time(request.name, now())
        tag = _tag(store, request, created, tree_id)
        manifest = Manifest(
            tag=tag,
            created=created,
            tree=tree,
            tree_id=tree_id,
            labels=request.labels,
            metadata=request.metadata,
            context=request.context,
            parents=request.parents,
            message=request.message,
        )
        with store.adding() as adding:
            _place(store, adding, staged)
            if there := _there(store, manifest, if_changed=request.if_changed):
                return Saved(there, new=False)
            _check_taken(store, request, manifest)
            ref = Ref(tag, adding.put(manifest.encode()), created)
            adding.sync()
            store.journal.append(
                tag.name,
                [Event("save", tag.version, None, ref.id, tree_id, created, created, by, reuse=request.reuse_tag)],
            )
            pending = store.refs.prepare(ref, newest=True)
        # From here on nothing is taken back: what a failure leaves is rubbish, not loss.
        pending.commit()
    return Saved(Stored(ref, manifest), new=True)


def _place(store: Store, adding: Adding, staged: list[Staged]) -> None:
    """Bring every object into the store, durably; also where a version names it already."""
    for content in staged:
        if content.path is not None:
            adding.adopt(content.path, content.id)
        elif store.objects.has(content.id, content.size):
            adding.rely(content.id)
        else:
            raise _Vanished
    adding.sync()


def _tag(store: Store, request: Request, created: int, tree_id: ObjectId) -> Tag:
    if request.version is not None:
        return Tag(request.name, request.version)
    if request.bump:
        return _next(store, request.name, request.bump)
    moment = datetime.fromtimestamp(created // _NS, UTC)
    version = base = f"{moment:%Y%m%d-%H%M%S}-{str(tree_id)[:_HEX]}"
    count = 1
    while store.refs.exists(Tag(request.name, version)) or store.journal.last_deletion(request.name, version):
        count += 1
        version = f"{base}.{count}"
    return Tag(request.name, version)


def _next(store: Store, name: str, bump: Bump) -> Tag:
    """Return the tag of the next number, which no version has, and none that was deleted."""
    versions = list(store.refs.versions(name))
    while True:
        version = following(versions, bump)
        if not store.refs.exists(Tag(name, version)) and not store.journal.last_deletion(name, version):
            return Tag(name, version)
        versions = [version]


def _there(store: Store, manifest: Manifest, *, if_changed: bool) -> Stored | None:
    """Return the version that makes saving needless: the latest of the same content, or the tag's own.

    Raises:
        TagExists: the tag's own differs.
    """
    if if_changed and (latest := store.refs.latest(manifest.tag.name)):
        there = store.manifest(latest)
        if there.tree_id == manifest.tree_id:
            return stored(store, latest, there)
    if own := store.refs.read(manifest.tag):
        there = store.manifest(own)
        if there.tree_id != manifest.tree_id:
            raise _exists(own.tag)
        if _said(there) != _said(manifest):
            raise TagExists(
                f"tag '{own.tag}' exists with the same files, but other labels, metadata, message or parents; "
                "a tag never changes",
                hint=f"mvs show {own.tag}",
            )
        return stored(store, own, there)
    return None


def _said(of: Manifest | Request) -> tuple[Any, ...]:
    """Return what the user said about the files, which a retry must say again."""
    return of.labels, of.metadata, of.message, of.parents


def _check_taken(store: Store, request: Request, manifest: Manifest) -> None:
    """Refuse a tag that was deleted, unless it would mean again exactly what it meant."""
    tag = manifest.tag
    deleted = None if request.reuse_tag else store.journal.last_deletion(tag.name, tag.version)
    if deleted is None:
        return
    if deleted.tree != manifest.tree_id:
        raise _taken(tag)
    meant = _deleted(store, tag, deleted)
    if meant is not None and _said(meant) != _said(manifest):
        raise _taken(tag)


def _deleted(store: Store, tag: Tag, event: Event) -> Manifest | None:
    """Return what a deleted tag meant, None where that can no longer be read."""
    if event.old is None:
        return None
    try:
        return store.manifest(Ref(tag, event.old, event.created))
    except UNREADABLE:
        return None


def _check_early(store: Store, request: Request, folder: Folder) -> None:
    """Refuse before any copying what would be refused after it."""
    if request.version is None:
        return
    tag = Tag(request.name, request.version)
    shape = [(found.path, found.size, found.executable) for found in folder.files]
    if existing := store.refs.read(tag):
        if _shape(store.manifest(existing)) != shape:
            raise _exists(tag)
    elif not request.reuse_tag and (deleted := store.journal.last_deletion(tag.name, tag.version)):
        meant = _deleted(store, tag, deleted)
        if meant is not None and (_said(meant) != _said(request) or _shape(meant) != shape):
            raise _taken(tag)


def _shape(manifest: Manifest) -> list[tuple[str, int, bool]]:
    return [(entry.path, entry.size, entry.executable) for entry in manifest.tree.files]


def _exists(tag: Tag) -> TagExists:
    return TagExists(f"tag '{tag}' exists with other content; a tag never changes", hint=f"mvs show {tag}")


def _taken(tag: Tag) -> TagTaken:
    return TagTaken(
        f"tag '{tag}' was deleted and stays taken by what it was: get it back, "
        "use another version, or pass --reuse-tag (reuse_tag=True)",
        hint=f"mvs restore {tag}",
    )


def _remove_sources(folder: Folder) -> None:
    """Remove what was moved, and the folders that are empty then; whatever changed meanwhile stays."""
    removed: set[str] = set()
    for found in folder.files:
        with suppress(OSError):
            if stamp(os.stat(found.place, follow_symlinks=False)) == found.stamp:
                os.unlink(found.place)
                removed.add(found.place)
    if not os.path.isdir(folder.root):
        return
    for parent, _, files in os.walk(folder.root, topdown=False):
        for name in files:
            link = os.path.join(parent, name)
            if os.path.islink(link) and os.path.realpath(link) in removed:
                with suppress(OSError):
                    os.unlink(link)
        with suppress(OSError):
            os.rmdir(parent)
