"""The Python API: a repository, one method a verb. The only module that asks what time it is."""

import builtins
import os
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mvs import ops
from mvs._about import __version__
from mvs.errors import (
    Corrupt,
    ForbiddenPlace,
    InvalidInput,
    InvalidPath,
    MvsError,
    NotARepository,
    SourceNotFound,
    StorageFailed,
    command,
)
from mvs.format.ids import ObjectId
from mvs.format.lines.refs import Ref
from mvs.format.names import BUMPS, Alias, Bump, Tag, parse_target
from mvs.format.values import labels_of, metadata_of
from mvs.handles.version import Change, PathLike, SpecLike, Version
from mvs.repository import workspace
from mvs.repository.beside import Beside
from mvs.repository.events import Events, told
from mvs.repository.hooking import Hooking
from mvs.repository.training import Training
from mvs.repository.workspace import Workspace
from mvs.running.progress import Progress, Silent
from mvs.store.store import Store

if TYPE_CHECKING:
    from mvs.handles.draft import Draft
    from mvs.ops.diff import Diff
    from mvs.ops.find.query import Stored
    from mvs.ops.saving.save import Request, Take
    from mvs.store.staging import Session


class Repository(Training, Hooking, Beside):
    """Versions of models in one store. Safe to share between threads and to open in many processes."""

    def __init__(self, space: Workspace, *, progress: Progress | None = None) -> None:
        self._space = space
        try:
            self._store = Store(space.store, durable=space.durable, view_bytes=space.cache_size)
        except NotARepository as error:
            if space.store != space.control and not space.store.exists():
                raise NotARepository(
                    f"the store of this repository, '{space.store}', is not there: is its disk mounted?",
                    hint="mvs config get store.path",
                ) from error
            raise
        self._progress: Progress = progress or Silent()
        if space.store_remote:
            self._store = self._working(space.store_remote)
        self._events = Events(
            space.control,
            allowed=workspace.allowed_hooks,
            environment=workspace.environment,
            timeout=space.hooks_timeout,
            # One that saves would call itself.
            active=not workspace.in_hook(),
            notice=self._progress.notice,
        )
        # Read now, so that a setting which is no time does not fail a save that is done.
        self._gc_auto = space.gc_auto
        if space.store != space.control:
            self._register()

    @property
    def root(self) -> Path:
        """The folder that controls this repository: its `.mvs`, or the home of mvs."""
        return self._space.control

    @property
    def store(self) -> Path:
        """The folder of the store: the same as `root`, or one that repositories share."""
        return self._store.root

    def create(
        self,
        tag: str | Tag,
        *,
        labels: Mapping[str, str] | None = None,
        metadata: Mapping[str, Any] | None = None,
        context: Mapping[str, Any] | None = None,
        parents: Iterable[SpecLike] = (),
        message: str = "",
        bump: Bump | None = None,
        reuse_tag: bool = False,
    ) -> "Draft":
        """Return a context manager whose folder becomes a version when its block ends well.

        Files are adopted by rename, not copied. An exception in the block saves nothing
        and leaves nothing. When the save itself fails at the end, the files are kept and
        the error says where (`error.kept`) and how to save them (`error.hint`).

        Raises:
            InvalidTag, InvalidMetadata, TagExists, NotFound: at once, before any file is written.
        """
        from mvs.handles.draft import Draft  # noqa: PLC0415 - only creating needs it

        name, version = self._target(tag, bump)
        self._store.look()
        ops.save.check_free(self._store, name, version)
        given = metadata_of(context, "context")
        parent_ids = self._parents(parents)
        text = _message(message)

        def finish(session: "Session", labels: Mapping[str, Any], metadata: Mapping[str, Any]) -> Version:
            request = ops.save.Request(
                name=name,
                version=version,
                labels=labels_of(labels),
                metadata=metadata_of(metadata),
                context=self._context(given),
                parents=tuple(id for _, id in parent_ids),
                message=text,
                reuse_tag=reuse_tag,
                bump=bump,
            )
            return self._packed(self._save(request, session.tree, "adopt", session), None)

        return Draft(
            f"{name}:{version}" if version else name,
            labels_of(labels),
            metadata_of(metadata),
            self._store.session(),
            finish,
            # The folder from which the same repository is found.
            root=self.root.parent if self.root.name == workspace.CONTROL else self.root,
            parents=[tag for tag, _ in parent_ids],
            message=text,
            bump=bump,
        )

    def save(
        self,
        path: PathLike,
        tag: str | Tag,
        *,
        labels: Mapping[str, str] | None = None,
        metadata: Mapping[str, Any] | None = None,
        context: Mapping[str, Any] | None = None,
        parents: Iterable[SpecLike] = (),
        message: str = "",
        bump: Bump | None = None,
        move: bool = False,
        if_changed: bool = False,
        reuse_tag: bool = False,
        dedup: bool | None = None,
        unpack: bool = False,
    ) -> Version:
        """Save a file or a folder as a new version, durably, and return it.

        A `tag` without a version gets one from the time and the content, or with `bump` ("major", "minor" or
        "patch") the number after the highest one; of two that do so at once each gets its own. Saving what the
        tag means already, again, is a success. With `move` the files are linked into the
        store and removed from `path` once they are saved. With `if_changed` the latest
        version of the name is returned when it has the same content. With `dedup` it is packed at once;
        None leaves that to the setting `dedup.auto`. With `unpack` the files are those in the tar or zip file `path`,
        which is unpacked in the store and nowhere else; what `export` wrote has the same `tree` again.

        Raises:
            TagExists: the tag is taken by other content.
            SourceNotFound, InvalidPath, EmptyFolder, SourceChanged: the files cannot be saved.
            InvalidTag, InvalidMetadata, NotFound: before any file is touched.
            CorruptArchive: with `unpack`, `path` is no archive, cut off, damaged or encrypted.
            StorageFailed: the disk is full, read-only or failing; nothing was saved.
            HookRefused: the hook `pre-save` forbids it; nothing was saved.
        """
        if move and unpack:
            raise InvalidInput("what is unpacked is not moved: leave out one of move and unpack")
        name, version = self._target(tag, bump)
        request = ops.save.Request(
            name=name,
            version=version,
            labels=labels_of(labels),
            metadata=metadata_of(metadata),
            context=self._context(metadata_of(context, "context")),
            parents=tuple(id for _, id in self._parents(parents)),
            message=_message(message),
            if_changed=if_changed,
            reuse_tag=reuse_tag,
            bump=bump,
        )
        source = _path(path, SourceNotFound)
        if move and os.path.islink(source):
            raise ForbiddenPlace(
                f"'{source}' is a link, and what it leads to is not moved", hint=command("ls", "-l", source)
            )
        if not self._store.is_draft(source):
            ops.walk.check_place(source, [str(self._store.root), str(self._space.control)], taking=move)
        with self._store.session() as session:
            if unpack:
                # Not its `tree`, which gc would hold back for a week where this is killed.
                ops.unpack.unpack(source, f"{session.path}/unpacked", progress=self._progress)
                saved = self._save(request, f"{session.path}/unpacked", "adopt", session)
            else:
                saved = self._save(request, source, "move" if move else "copy", session)
        return self._packed(saved, dedup)

    def get(self, spec: SpecLike) -> Version:
        """Return the one version `spec` stands for.

        `name`, `name:latest`, `name:latest~N`, `name:version`, `name:prefix*`, `name:^1.2`, `name:~1.2`,
        `name:>=1.0,<2`, `name@alias`, `name#idprefix`.

        Raises:
            NotFound: none answers, or several do (`AmbiguousSpec`).
            Corrupt: it is damaged in the store.
        """
        return self._version(self._load(spec))

    def list(
        self,
        name: str | None = None,
        *,
        labels: Mapping[str, str] | None = None,
        where: str | None = None,
        sort: str | None = None,
        limit: int | None = None,
        offset: int = 0,
    ) -> builtins.list[Version]:
        """Return versions: all, or those of a name or glob, that have all the labels and for which `where` is true.

        `where` is an expression such as "metadata.accuracy > 0.9 and created > '7 days ago'", `sort` an order such as
        "metadata.val_loss:asc,created:desc"; without one, newest first. A damaged version is left out with a notice.

        Raises:
            NameNotFound: `name` is no glob and has no version.
            QueryError: `where` or `sort` is not understood.
        """
        return [self._version(stored) for stored in self._found(name, labels, where, sort, limit, offset)]

    def delete(
        self, *specs: SpecLike, all_versions: bool = False, where: str | None = None, force: bool = False
    ) -> builtins.list[Tag]:
        """Delete tags and return those that were deleted; all are found before the first is deleted.

        With `where` only versions for which it is true, of all versions without `specs`; a bare name then
        stands for all its versions. `latest` moves back to the most recently saved version that is left.
        `restore` takes it back. With `force` also versions go that aliases point at; those aliases
        lead nowhere then, until they are moved or the version is restored.

        Raises:
            NeedsAll: a bare name without `all_versions` or `where`.
            NotFound: a spec stands for nothing; nothing was deleted.
            Protected: an alias points at one, and not `force`.
            QueryError: `where` is not understood.
            HookRefused: the hook `pre-delete` forbids it; nothing was deleted.
        """
        doomed = self._doomed(specs, where, all_versions=all_versions, force=force)
        self._events.before("pre-delete", lambda: {"versions": told(doomed)})
        gone = ops.delete.delete(self._store, doomed, now=time.time_ns, by=workspace.actor(), force=force)
        if gone:
            self._events.after("post-delete", lambda: {"versions": told(gone)})
        return [ref.tag for ref in gone]

    def matching(
        self, *specs: SpecLike, all_versions: bool = False, where: str | None = None, force: bool = False
    ) -> builtins.list[Tag]:
        """Return the tags that `delete` would delete, and delete nothing.

        Raises:
            NeedsAll, NotFound, Protected, QueryError: as `delete` does.
        """
        return [ref.tag for ref in self._doomed(specs, where, all_versions=all_versions, force=force)]

    def restore(self, tag: str | Tag) -> Version:
        """Give a deleted tag back what it meant, or one that lost its ref; return the version.

        Raises:
            VersionNotFound: it was never deleted, nor lost.
            TagExists: it is there.
            MissingObject: its files are no longer in the store.
        """
        stored = ops.delete.restore(self._store, Tag.parse(tag), now=time.time_ns, by=workspace.actor())
        return self._version(stored)

    def checkout(
        self,
        spec: SpecLike,
        dest: PathLike,
        *,
        include: Iterable[str] = (),
        exclude: Iterable[str] = (),
        link: bool = False,
        force: bool = False,
    ) -> Path:
        """Write the files of a version to the folder `dest`, each copy verified, and return it.

        `include` and `exclude` are globs over paths, in which `*` also matches `/`. With
        `link` the files are read-only hard links into the store, and not verified. A new destination
        appears whole or not at all; files that are there with other content are only
        overwritten with `force`, and files that are not in the version are left alone.

        Raises:
            DestinationExists: without `force`, `dest` holds something else.
            CorruptObject, MissingObject: the store's bytes are damaged; `dest` is as it was.
            VersionNotFound: there is no such version, or it was deleted meanwhile, and its files are gone.
        """
        stored = self._load(spec)
        plan = ops.checkout.plan(self._store, stored, _path(dest, InvalidPath), include=include, exclude=exclude)
        return ops.checkout.run(self._store, plan, link=link, force=force, progress=self._progress)

    def export(
        self,
        spec: SpecLike,
        dest: PathLike,
        *,
        include: Iterable[str] = (),
        exclude: Iterable[str] = (),
        force: bool = False,
    ) -> Path:
        """Write the files of a version for somebody without mvs, each verified, and return `dest`.

        Where `dest` ends as .tar, .tar.gz, .tgz, .tar.zst or .zip it is one file, which appears whole or not at
        all, and is the same for the same files; else a folder, as `checkout` writes it.

        Raises:
            DestinationExists: without `force`, there is something.
            CorruptObject, MissingObject: the store's bytes are damaged; `dest` is as it was.
            VersionNotFound: there is no such version, or it was deleted meanwhile, and its files are gone.
            StorageFailed: the disk is full, read-only or failing; there is no archive then.
        """
        path = _path(dest, InvalidPath)
        if not ops.export.is_archive(path):
            return self.checkout(spec, dest, include=include, exclude=exclude, force=force)
        stored = self._load(spec)
        return ops.export.export(
            self._store, stored, path, include=include, exclude=exclude, force=force, progress=self._progress
        )

    def log(self, name: str) -> builtins.list[Change]:
        """Return what happened to the tags, notes and aliases of a name, newest first; to one alias for `name@alias`.

        Raises:
            NameNotFound: nothing was ever saved under it.
            AliasNotFound: there is no such alias, and never was.
        """
        wanted = self._spec(name)
        self._store.look()
        if wanted.kind == "alias":
            told = ops.history.of_alias(self._store, Alias(wanted.name, wanted.value))
        else:
            told = ops.history.history(self._store, wanted.name, self._progress.notice)
        return [Change.of(*each) for each in told]

    def diff(self, before: SpecLike, after: SpecLike, *, tensors: bool = False) -> "Diff":
        """Return what differs between two versions: files, labels, metadata, message; with `tensors` also weights.

        Tensors are matched by name, else by bytes; those of one id are not read, the others in bounded memory.

        Raises:
            NotFound, Corrupt: a spec stands for nothing; what must be read is damaged.
        """
        ours, theirs = (self._load(spec) for spec in (before, after))
        return ops.diff.diff(self._store, ours, theirs, tensors=tensors, progress=self._progress)

    def _doomed(
        self, specs: tuple[SpecLike, ...], where: str | None, *, all_versions: bool, force: bool
    ) -> builtins.list[Ref]:
        if where is None:
            self._store.look()
            return ops.delete.plan(self._store, map(self._spec, specs), all_versions=all_versions, force=force)
        found = self._chosen(specs, where)
        if not force:
            ops.aliases.check_unaliased(self._store, found)
        return found

    def _load(self, spec: SpecLike) -> "Stored":
        parsed = self._parsed(spec)
        self._store.look()
        stored = ops.query.load(self._store, parsed)
        # Only of one that is there: another may be meant for git.
        self._notice_lowered(spec, str(parsed))
        return stored

    def _save(self, request: "Request", source: str, take: "Take", session: "Session") -> Version:
        self._store.look()
        self._events.before("pre-save", lambda: request.told(ops.walk.walk(source)))
        folder = ops.walk.walk(source)
        if folder.skipped:
            skipped = ", ".join(f"'{path}'" for path in folder.skipped)
            if take != "copy":
                raise ForbiddenPlace(f"'{source}' holds {skipped}, which belongs to mvs and must not be moved")
            self._progress.notice(f"left out {skipped}, which belongs to mvs")
        saved = ops.save.save(
            self._store,
            request,
            folder,
            take,
            session,
            now=time.time_ns,
            by=workspace.actor(),
            progress=self._progress,
        )
        if not saved.new:
            self._progress.notice(f"'{saved.stored.ref.tag}' has this content already; nothing was saved")
        version = self._version(saved.stored)
        if saved.new:
            self._events.after("post-save", lambda: {"version": version.to_dict()})
        return version

    def _packed(self, version: Version, wanted: bool | None) -> Version:
        """Pack a version that was just saved, where that is wanted; the version stays saved whatever happens."""
        if self._space.dedup_auto if wanted is None else wanted:
            try:
                self.dedup(version.tag)
            except (StorageFailed, Corrupt) as error:
                self._progress.notice(f"'{version.tag}' is saved but not packed: {error.message}")
        self._register()
        self._collect()
        return version

    def _collect(self) -> None:
        """Start a gc in the background, where the configuration wants one by now."""
        if self._gc_auto is not None:
            auto, now = ops.gc.auto, self._now()
            if auto.is_due(self._store, auto.STARTED, self._gc_auto, now):
                auto.note(self._store, auto.STARTED, now)
                auto.start(self._store, self._space.control)

    def _reload(self) -> None:
        self._space = Workspace.read(self._space.control)

    def _now(self) -> int:
        return time.time_ns()

    def _seconds(self) -> float:
        return time.monotonic()

    def _actor(self) -> str:
        return workspace.actor()

    def _protects(self, alias: Alias) -> bool:
        return not self._space.protected.isdisjoint({str(alias), alias.alias})

    def _version(self, stored: "Stored") -> Version:
        return Version(self._store, stored, self._progress)

    def _target(self, tag: str | Tag, bump: Bump | None) -> tuple[str, str | None]:
        name, version = parse_target(tag)
        if bump is not None and bump not in BUMPS:
            raise InvalidInput(f"a version is bumped by {', '.join(BUMPS)}, not by '{bump}'")
        if bump and version:
            raise InvalidInput(f"'{tag}' has a version, and bump makes one; give the name alone")
        self._notice_lowered(tag, f"{name}:{version}" if version else name)
        return name, version

    def _parents(self, parents: Iterable[SpecLike]) -> builtins.list[tuple[Tag, ObjectId]]:
        if isinstance(parents, str | Tag | Version):
            parents = [parents]
        return [self._parent(parent) for parent in parents]

    def _parent(self, parent: SpecLike) -> tuple[Tag, ObjectId]:
        if isinstance(parent, Version):
            # It was made from this, even if its tag has been deleted since.
            return parent.tag, ObjectId.from_hex(parent.id)
        self._store.look()
        ref = ops.query.resolve(self._store, self._spec(parent))
        return ref.tag, ref.id

    def _context(self, given: Mapping[str, Any]) -> dict[str, Any]:
        return metadata_of(ops.context.gather(__version__, given, workspace.environment()), "context")


def _path(path: PathLike, error: type[MvsError]) -> str:
    text = os.fsdecode(path)
    if "\0" in text:
        raise error(f"path {text!r} holds a NUL")
    return text


def _message(text: str) -> str:
    if not isinstance(text, str):
        raise InvalidInput(f"a message is a string, not {type(text).__name__}")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InvalidInput("the message is not valid Unicode") from None
    return text
