"""A version as the Python API hands it out: frozen facts, and ways to its files."""

import copy
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

from mvs.errors import UNREADABLE, Corrupt, FileNotInVersion, NotPulled, TensorNotInVersion, VersionNotFound
from mvs.format.lines import journal
from mvs.format.lines.journal import Moved, Noted
from mvs.format.manifest import FileEntry
from mvs.format.names import Tag
from mvs.handles import tensors
from mvs.handles.tensors import TensorInfo
from mvs.ops.find import absent
from mvs.ops.find.query import Stored, was_deleted
from mvs.running.progress import Progress
from mvs.store.store import Store

if TYPE_CHECKING:
    import numpy as np

PathLike = str | os.PathLike[str]

_NS = 1_000_000_000


class File(NamedTuple):
    """One file of a version.

    Attributes:
        path: relative to the version's folder, separated by `/`.
        size: in bytes.
        blob: BLAKE3 of the content, 64 hex digits; `b3sum` prints the same.
        executable: whether the owner may execute it.
    """

    path: str
    size: int
    blob: str
    executable: bool


class Change(NamedTuple):
    """One thing that happened to a tag, to the labels of a version, or to an alias.

    Attributes:
        event: "save", "delete", "restore", "label" or "alias".
        tag: the tag it happened to; what an alias points at since, or pointed at before it was deleted.
        old: the id of what the tag or the alias meant before, None where it meant nothing.
        new: the id of what it means since, None where it means nothing.
        tree: the id of the content of that version, None where it is not known.
        at: when, aware, in UTC, to the microsecond.
        by: who, as `user@host`.
        message: what the user said about the version, where that can still be read.
        alias: the alias that moved, `name@alias`, else None.
        before: the tag that the alias pointed at before, None where there was no such alias.
        back: whether the alias moved back to where it was.
        labels: of the labels that changed, each with its value before and after, None for none.
    """

    event: str
    tag: Tag
    old: str | None
    new: str | None
    tree: str | None
    at: datetime
    by: str
    message: str
    alias: str | None = None
    before: Tag | None = None
    back: bool = False
    labels: dict[str, tuple[str | None, str | None]] = {}  # noqa: RUF012 - a default of a tuple, never changed

    @classmethod
    def of(cls, tag: Tag, entry: journal.Change, message: str) -> "Change":
        """Return what an entry of the journal tells."""
        at = moment(entry.at)
        if isinstance(entry, Moved):
            old, new = (str(target.id) if target else None for target in (entry.old, entry.new))
            before = Tag(tag.name, entry.old.version) if entry.old else None
            alias = f"{tag.name}@{entry.alias}"
            return cls("alias", tag, old, new, None, at, entry.by, message, alias, before, entry.back)
        if isinstance(entry, Noted):
            id = str(entry.id)
            return cls("label", tag, id, id, None, at, entry.by, message, labels=dict(entry.labels))
        old, new, tree = (str(id) if id else None for id in (entry.old, entry.new, entry.tree))
        return cls(entry.event, tag, old, new, tree, at, entry.by, message)

    def to_dict(self) -> dict[str, Any]:
        """Return the facts as JSON holds them, the form `--json` prints."""
        before = str(self.before) if self.before else None
        return {**self._asdict(), "tag": str(self.tag), "at": iso(self.at), "before": before}


class AliasInfo(NamedTuple):
    """An alias.

    Attributes:
        alias: its full name, `name@alias`.
        tag: the version it points at.
        id: the id of that version.
        deleted: whether that version was deleted, so that the alias leads nowhere.
        protected: whether moving it takes force here.
        at: when it was moved there, aware, in UTC; None where nobody noted it.
        by: who moved it there, as `user@host`.
    """

    alias: str
    tag: Tag
    id: str
    deleted: bool
    protected: bool
    at: datetime | None
    by: str | None

    def to_dict(self) -> dict[str, Any]:
        """Return the facts as JSON holds them, the form `--json` prints."""
        return {**self._asdict(), "tag": str(self.tag), "at": iso(self.at) if self.at else None}


class Relative(NamedTuple):
    """A version in a lineage.

    Attributes:
        id: its id.
        tag: its tag, None where it is missing.
        state: "there", "deleted", or "missing": its id is all that is known.
        created: when it was saved, aware, in UTC; None where it is missing.
        parents: the ids of the versions it was made from.
        aliases: the aliases that point at it, without the name.
    """

    id: str
    tag: Tag | None
    state: str
    created: datetime | None
    parents: tuple[str, ...]
    aliases: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the facts as JSON holds them, the form `--json` prints."""
        tag, created = str(self.tag) if self.tag else None, iso(self.created) if self.created else None
        return {**self._asdict(), "tag": tag, "created": created}


class Version:
    """One saved version. It never changes; two are equal when their ids are.

    Its aliases and its notes are those it had when it was asked for.
    """

    def __init__(self, store: Store, stored: Stored, progress: Progress) -> None:
        self._store = store
        self._progress = progress
        self._stored = stored
        self._ref = stored.ref
        self._manifest = stored.manifest

    @property
    def tag(self) -> Tag:
        """The full name, `name:version`."""
        return self._ref.tag

    @property
    def name(self) -> str:
        """The name without the version."""
        return self._ref.tag.name

    @property
    def version(self) -> str:
        """The version without the name."""
        return self._ref.tag.version

    @property
    def id(self) -> str:
        """The id of the manifest, 64 hex digits: everything about this version."""
        return str(self._ref.id)

    @property
    def tree(self) -> str:
        """The id of the content alone, 64 hex digits: equal files, equal tree."""
        return str(self._manifest.tree_id)

    @property
    def created(self) -> datetime:
        """When it was saved, aware, in UTC, to the microsecond."""
        return moment(self._manifest.created)

    @property
    def labels(self) -> dict[str, str]:
        """Its labels: those it was saved with, and its notes, which decide where both have one (a copy)."""
        return self._stored.labels

    @property
    def saved_labels(self) -> dict[str, str]:
        """The labels it was saved with, which never change (a copy)."""
        return dict(self._manifest.labels)

    @property
    def notes(self) -> dict[str, str]:
        """The labels that it was given since, and that may change (a copy)."""
        return dict(self._stored.moving.notes)

    @property
    def aliases(self) -> tuple[str, ...]:
        """The aliases that point at it, without the name, sorted."""
        return self._stored.moving.aliases

    @property
    def metadata(self) -> dict[str, Any]:
        """The metadata (a copy)."""
        return copy.deepcopy(dict(self._manifest.metadata))

    @property
    def context(self) -> dict[str, Any]:
        """What was gathered about the program that saved it (a copy)."""
        return copy.deepcopy(dict(self._manifest.context))

    @property
    def parents(self) -> tuple[str, ...]:
        """The ids of the versions it was made from."""
        return tuple(str(parent) for parent in self._manifest.parents)

    @property
    def message(self) -> str:
        """What the user said about it."""
        return self._manifest.message

    @property
    def size(self) -> int:
        """Bytes in all files, as they are checked out."""
        return sum(entry.size for entry in self._manifest.tree.files)

    @property
    def files(self) -> tuple[File, ...]:
        """Its files, sorted by path."""
        return tuple(
            File(entry.path, entry.size, str(entry.blob), entry.executable) for entry in self._manifest.tree.files
        )

    @property
    def is_packed(self) -> bool:
        """Whether some of its files lie in packs; `Repository.du` tells more."""
        return any(not self._store.objects.is_loose(entry.blob) for entry in self._manifest.tree.files)

    @property
    def broken(self) -> tuple[str, ...]:
        """The paths of files that `Repository.repair` found damaged and could not mend; empty where all is well."""
        lost = {id for id in self._store.quarantine.lost() if not self._store.objects.is_loose(id)}
        return tuple(entry.path for entry in self._manifest.tree.files if entry.blob in lost) if lost else ()

    @property
    def absent(self) -> tuple[str, ...]:
        """The paths of files that were not pulled, and are not here; empty where the version is whole."""
        try:
            return tuple(entry.path for entry in absent.absent(self._store, self._ref, self._manifest))
        except UNREADABLE:
            return ()

    @property
    def path(self) -> Path:
        """A read-only folder with the files, made without copying where the store has them loose.

        A dedup that packs one of the files removes the folder, because links would keep the bytes: files that are
        open or mapped can be read on, others are gone until `path` is asked for again.

        Raises:
            NotPulled: it is at a remote, and not here.
            MissingObject: the store lost a file.
            VersionNotFound: the version was deleted meanwhile, and its files are gone.
        """
        try:
            self._store.bring(entry.blob for entry in self._manifest.tree.files)
            return self._store.views.path(self._ref.id, self._manifest.tree)
        except Corrupt as error:
            raise self._explained(error) from error

    def open(self, path: str) -> BinaryIO:
        """Open a file of the version for reading bytes, at any offset; what is read is not verified.

        Raises:
            FileNotInVersion: there is no such file in it.
            NotPulled: it is at a remote, and not here.
            MissingObject: the store lost the file.
        """
        entry = self._entry(path)
        try:
            return self._store.objects.open(entry.blob)
        except Corrupt as error:
            raise self._explained(error, path) from error

    def read_bytes(self, path: str) -> bytes:
        """Return the verified content of a file of the version.

        Raises:
            FileNotInVersion: there is no such file in it.
            CorruptObject, MissingObject: the store's bytes are damaged or lost.
        """
        entry = self._entry(path)
        try:
            self._store.bring([entry.blob])
            return self._store.objects.read(entry.blob)
        except Corrupt as error:
            raise self._explained(error, path) from error

    def blocks(self, path: str) -> Iterator[bytes]:
        """Yield the content of a file of the version in blocks; after the last one it is verified.

        Raises:
            FileNotInVersion: there is no such file in it.
            NotPulled: it is at a remote, and not here.
            MissingObject: the store lost the file.
            CorruptObject: what was yielded is not what was saved.
        """
        entry = self._entry(path)
        try:
            self._store.bring([entry.blob])
            for block in self._store.objects.verified(entry.blob):
                yield bytes(block)
        except Corrupt as error:
            raise self._explained(error, path) from error

    def tensors(self) -> list[TensorInfo]:
        """Return the tensors in its files: safetensors, GGUF, PyTorch, npz and npy.

        What dedup has packed is not read for it; of anything else the ids are hashed once.

        Raises:
            Corrupt: a file is damaged or lost.
        """
        try:
            return list(tensors.listed(self._store, self._manifest.tree.files))
        except Corrupt as error:
            raise self._explained(error) from error

    def tensor(self, name: str, *, file: str | None = None) -> "np.ndarray[Any, Any]":
        """Return one tensor as a numpy array of its own, read without the rest of its file.

        BF16 and FP8 need the package ml_dtypes; without it their bits are returned as integers, with a notice.
        What is quantised, or of no known type, is returned as its bytes.

        Raises:
            TensorNotInVersion: there is none of that name.
            InvalidInput: several files have one, and `file` does not say which.
            Corrupt: it is damaged or lost.
        """
        try:
            # It may lie in a file that is here.
            files = self._store.here(self._ref.id, self._manifest)
            return tensors.read(self._store, self.tag, files, name, file=file, progress=self._progress)
        except TensorNotInVersion:
            absent.check(self._store, self._ref, self._manifest, self._manifest.tree.files)
            raise
        except Corrupt as error:
            raise self._explained(error) from error

    def load_torch(self) -> dict[str, Any]:
        """Return all tensors as torch tensors by name, what is quantised as its bytes.

        Raises:
            ImportError: PyTorch is not installed.
            Corrupt: a file is damaged or lost.
        """
        try:
            self._store.bring(entry.blob for entry in self._manifest.tree.files)
            return tensors.loaded(self._store, self._manifest.tree.files)
        except Corrupt as error:
            raise self._explained(error) from error

    def to_dict(self, *, files: bool = True) -> dict[str, Any]:
        """Return the facts as JSON holds them, the form `--json` prints."""
        facts: dict[str, Any] = {
            "tag": str(self.tag),
            "name": self.name,
            "version": self.version,
            "id": self.id,
            "tree": self.tree,
            "created": iso(self.created),
            "size": self.size,
            "labels": self.labels,
            "metadata": self.metadata,
            "context": self.context,
            "parents": list(self.parents),
            "message": self.message,
            "aliases": list(self.aliases),
            "saved_labels": self.saved_labels,
            "notes": self.notes,
        }
        if self.broken:
            facts["broken"] = list(self.broken)
        if self.absent:
            facts["absent"] = list(self.absent)
        if files:
            facts["files"] = [file._asdict() for file in self.files]
        return facts

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Version) and other._ref == self._ref

    def __hash__(self) -> int:
        return hash(self._ref)

    def __repr__(self) -> str:
        return f"<mvs.Version {self.tag} {self.id[:12]}>"

    def __str__(self) -> str:
        return str(self.tag)

    def _entry(self, path: str) -> FileEntry:
        for entry in self._manifest.tree.files:
            if entry.path == path:
                return entry
        raise FileNotInVersion(f"no file '{path}' in '{self.tag}'", hint=f"mvs show {self.tag}")

    def _explained(self, error: Corrupt, path: str = "") -> Corrupt | VersionNotFound | NotPulled:
        files = [entry for entry in self._manifest.tree.files if path in ("", entry.path)]
        try:
            absent.check(self._store, self._ref, self._manifest, files)
        except NotPulled as found:
            return found
        except UNREADABLE:
            # What is wrong already is told.
            pass
        if not self._store.refs.exists(self.tag):
            return was_deleted(self.tag)
        what = f"file '{path}' of '{self.tag}'" if path else f"version '{self.tag}'"
        return type(error)(f"{what} is damaged in the store: {error.message}", hint=f"mvs log {self.name}")


# What says which version is meant.
SpecLike = str | Tag | Version


def moment(at: int) -> datetime:
    """Return nanoseconds since the epoch as an aware time in UTC, to the microsecond."""
    seconds, rest = divmod(at, _NS)
    return datetime.fromtimestamp(seconds, UTC).replace(microsecond=rest // 1000)


def iso(when: datetime) -> str:
    """Return a time as JSON holds it."""
    return when.isoformat(timespec="microseconds").replace("+00:00", "Z")
