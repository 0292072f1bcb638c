"""One store: its parts, its lock, and whether this release may touch it."""

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from mvs.backends.directory import Directory
from mvs.backends.failures import storage
from mvs.errors import UNREADABLE, CorruptManifest, LocksFail, NotARepository, StoreBusy, UnsupportedFormat
from mvs.format.ids import ObjectId
from mvs.format.layout import (
    CACHE,
    FORMAT_FILE,
    LOCK,
    PACKING,
    PACKS,
    RESCUED,
    STAGING,
    check_format,
    new_format,
    with_packs,
)
from mvs.format.lines.refs import Ref
from mvs.format.manifest import FileEntry, Manifest, Said, said
from mvs.store.names.journal import Journal
from mvs.store.names.notes import NoteBook
from mvs.store.names.partials import Partials
from mvs.store.names.refs import Refs
from mvs.store.objects import Adding, Objects

if TYPE_CHECKING:
    from mvs.backends.buckets import Address, Pace
    from mvs.backends.filesystem import Traits
    from mvs.store.aside.quarantine import Quarantine
    from mvs.store.aside.trash import Trash
    from mvs.store.cache.catalog.catalog import Catalog
    from mvs.store.cache.sketches import Sketches
    from mvs.store.cache.views import Views
    from mvs.store.packs.arriving import Arrival
    from mvs.store.packs.writing import PackWriter, Publisher
    from mvs.store.probes import Probes
    from mvs.store.remote.arriving import Arriving
    from mvs.store.remote.remote import Remote
    from mvs.store.remote.state import Known, State
    from mvs.store.staging import Session
    from mvs.store.tensors import Tensors


class Store:
    """Objects, refs and journal in one directory."""

    # Seconds that whoever wants to make packs waits for another one who does.
    _packing_patience = 0.0

    def __init__(self, path: Path, *, durable: bool = True, view_bytes: int = 1 << 62) -> None:
        """Open the store at `path`; views keep at most `view_bytes` of files made from packs.

        Raises:
            NotARepository: there is no store.
            UnsupportedFormat: a later release wrote it.
        """
        self.root = path
        self.durable = durable
        self._view_bytes = view_bytes
        self._disk = Directory(str(path), durable=durable, temps=STAGING)
        self._read_format()
        self.objects = Objects(self._disk)
        self.refs = Refs(self._disk)
        self.notes = NoteBook(self._disk)
        self.journal = Journal(self._disk)
        self.partials = Partials(self._disk)

    @cached_property
    def probes(self) -> "Probes":
        """Guesses at what the store has already."""
        from mvs.store.probes import Probes  # noqa: PLC0415 - only saving needs it

        return Probes(self._disk, self.objects)

    @cached_property
    def views(self) -> "Views":
        """Folders with the files of a version."""
        from mvs.store.cache.views import Views  # noqa: PLC0415 - listing does not need it

        return Views(self._disk, self.objects, self._view_bytes)

    def is_draft(self, path: str) -> bool:
        """Tell whether a folder in the store holds a draft whose save failed: the user's files, not the store's."""
        parts = os.path.relpath(os.path.realpath(path), os.path.realpath(self.root)).split(os.sep)
        if parts[0] == RESCUED:
            return len(parts) > 1
        if parts[0] != STAGING or parts[2:3] != ["tree"]:
            return False
        from mvs.backends.locks import is_held  # noqa: PLC0415 - readers take no lock

        return not is_held(self._disk.path(f"{STAGING}/{parts[1]}/{LOCK}"))

    @classmethod
    def make(cls, path: Path) -> "Traits | None":
        """Make an empty store at `path` and return what its file system can do; None where there is a store.

        One that lost its `format` file, or has an empty one, gets it back, with what its packs need.

        Raises:
            ReadOnlyStore, StorageFull: the folder cannot be made.
        """
        disk = Directory(str(path), durable=True, temps=STAGING)
        if disk.size(FORMAT_FILE):
            return None
        with storage(str(path)):
            path.mkdir(parents=True, exist_ok=True)
        Directory(str(path.parent), durable=True, temps=STAGING).sync(["."])
        # Made now, because a full disk could not make it when it is needed most.
        disk.ensure(RESCUED)
        disk.put(FORMAT_FILE, with_packs(new_format()) if any(disk.entries(PACKS)) else new_format())
        from mvs.backends.filesystem import probe  # noqa: PLC0415 - only once in the life of a store

        return probe(disk)

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Hold the store's lock: nobody else changes a ref meanwhile.

        Raises:
            UnsupportedFormat: this release may only read the store.
            StoreBusy: another process does not let go of it.
        """
        self._check_writable()
        from mvs.backends.locks import exclusive  # noqa: PLC0415 - readers take no lock

        with exclusive(self._disk.path(LOCK)):
            # While it waited, a later release may have made the store another.
            self._check_writable()
            yield

    @contextmanager
    def packing(self) -> Iterator[None]:
        """Be the only one who makes packs or takes objects away.

        Raises:
            UnsupportedFormat: this release may only read the store.
            StoreBusy: another process does.
            LocksFail: that cannot be told here.
        """
        self._check_writable()
        if not self.traits.locks:
            raise LocksFail(
                f"the locks of the file system under '{self.root}' do nothing, so nobody could be kept out; "
                "move the store to another one, and tell the repository",
                hint="mvs config set store.path PATH",
            )
        from mvs.backends.locks import exclusive  # noqa: PLC0415 - readers take no lock

        try:
            with exclusive(self._disk.path(PACKING), patience=self._packing_patience):
                # Whoever held it before may have made packs.
                self.objects.packs.forget()
                yield
        except StoreBusy as error:
            if error.__cause__ is None and PACKING in error.message:
                raise StoreBusy("another dedup, gc or repair is at work in this store", hint=error.hint) from error
            raise

    @cached_property
    def traits(self) -> "Traits":
        """What the file system of the store can do, tried once for each device.

        Raises:
            StorageFailed: that is not known yet, and the store cannot be written to.
        """
        from mvs.store.cache.place import traits_of  # noqa: PLC0415 - readers need none of it

        return traits_of(self._disk)

    def pack_writer(self, path: str) -> "PackWriter":
        """Begin a pack, in a file of a session."""
        from mvs.store.packs.writing import PackWriter  # noqa: PLC0415 - only dedup needs it

        return PackWriter(self._disk, path)

    def accept(self, arrivals: "list[Arrival]", folder: str) -> None:
        """Let packs from elsewhere be part of the store, each of their records decoded before; under `packing`.

        `folder` is that of a session, to work in.

        Raises:
            Corrupt: one of them is not what it says it is; then none of them comes in.
        """
        from mvs.store.packs.arriving import bases_first, check, merged  # noqa: PLC0415 - only transfers need it

        check(self._disk, arrivals)
        # Whoever is killed between two of them leaves nothing that leans on what has not come.
        ordered, tangled = bases_first(arrivals)
        if tangled:
            ordered.append(merged(tangled, self.pack_writer(os.path.join(folder, os.urandom(8).hex()))))
        publisher = self.publisher()
        with self.exclusive():
            for arrival in ordered:
                publisher.publish(arrival, arrival.name)

    def look(self) -> None:
        """See to it that the names are those of now; here they always are."""

    def bring(self, ids: Iterable[ObjectId]) -> None:
        """See to it that objects which are about to be read whole are here, as far as they are anywhere."""

    def check_kept_here(self, verb: str) -> None:
        """Refuse a verb that is about the files of the store, where these are elsewhere."""

    @property
    def arriving(self) -> "Arriving":
        """What was on its way here; under `packing`."""
        from mvs.store.remote.arriving import Arriving  # noqa: PLC0415 - only transfers and gc need it

        return Arriving(self._disk)

    def remote(self, name: str, address: "Address", pace: "Pace | None" = None) -> "Remote":
        """Return a remote, what this store knows of it included; with a `pace`, bytes travel no faster."""
        from mvs.store.remote.remote import Remote  # noqa: PLC0415 - only transfers need it

        return Remote(name, address, self._disk, pace=pace)

    def reaching(self, remote: "Remote", known: "Known", state: "State") -> "Store":
        """Return this store with what a version of a remote needs in sight: it is fetched as it is read."""
        from mvs.store.cache.sketches import Sketches  # noqa: PLC0415 - only transfers need it
        from mvs.store.remote.reaching import ReachingPacks  # noqa: PLC0415 - as above

        store = Store(self.root, durable=self._disk.durable, view_bytes=self._view_bytes)
        places = [state.packs[name] for name in known.packs]
        store.objects = Objects(store._disk, ReachingPacks(store._disk, remote.packs, lambda: [places]))
        store.sketches = Sketches(store._disk, store.objects, far=True)
        return store

    def disk_usage(self, *folders: str) -> int:
        """Return the bytes of all files in some folders of the store."""
        return sum(found.st_size for folder in folders for found in self._disk.below(folder))

    def recalled(self, key: str) -> bytes | None:
        """Return a note from the cache, None where there is none."""
        try:
            return self._disk.read(f"{CACHE}/{key}")
        except OSError:
            return None

    def note(self, key: str, data: bytes) -> None:
        """Leave a note in the cache, if that can be done."""
        self._disk.cache(f"{CACHE}/{key}", data)

    def publisher(self) -> "Publisher":
        """Return a way to publish packs, for whoever holds the lock."""
        from mvs.store.packs.writing import Publisher  # noqa: PLC0415 - only dedup needs it

        return Publisher(self._disk, self.objects, self.trash)

    @cached_property
    def sketches(self) -> "Sketches":
        """What the blobs of the store look like."""
        from mvs.store.cache.sketches import Sketches  # noqa: PLC0415 - only dedup and tensors need it

        return Sketches(self._disk, self.objects)

    @cached_property
    def catalog(self) -> "Catalog":
        """What queries ask of all versions."""
        from mvs.store.cache.catalog.catalog import Catalog  # noqa: PLC0415 - sqlite3

        return Catalog(self._disk, self.refs, self.notes, self.said)

    @cached_property
    def trash(self) -> "Trash":
        """Where gc puts what it takes out."""
        from mvs.store.aside.trash import Trash  # noqa: PLC0415 - only gc needs it

        return Trash(self._disk)

    @cached_property
    def quarantine(self) -> "Quarantine":
        """What is damaged and could not be mended."""
        from mvs.store.aside.quarantine import Quarantine  # noqa: PLC0415 - few stores have one

        return Quarantine(self._disk)

    def rewritten(self, kept: Mapping[ObjectId, Iterable[ObjectId]], path: str) -> "PackWriter":
        """Begin a pack with some of the records of others, by pack, as they are; their checksums are verified.

        Raises:
            CorruptPack: one of them is damaged.
        """
        writer = self.pack_writer(path)
        try:
            for name, ids in kept.items():
                pack = self.objects.packs.pack(name)
                for record in sorted((pack.index.records[id] for id in ids), key=lambda record: record.offset):
                    stored = pack.stored(record)
                    writer.add(record.id, record.size, record.encoding, stored, record.refs, depth=record.depth)
        except BaseException:
            writer.discard()
            raise
        return writer

    @cached_property
    def tensors(self) -> "Tensors":
        """The tensors of the blobs of the store."""
        from mvs.store.tensors import Tensors  # noqa: PLC0415 - numpy

        return Tensors(self._disk, self.objects, self.sketches)

    def session(self) -> "AbstractContextManager[Session]":
        """Open a staging session; what is in it when it ends is removed."""
        from mvs.store.staging import new_session  # noqa: PLC0415 - only saving needs it

        self._check_writable()
        return new_session(self._disk, self.objects, self.probes)

    def adding(self) -> Adding:
        """Return a way to add objects, for whoever holds the lock."""
        return Adding(self._disk)

    def manifest(self, ref: Ref) -> Manifest:
        """Return the manifest a ref names, verified.

        Raises:
            CorruptManifest, CorruptObject, MissingObject: it is damaged, missing, or another version's.
        """
        try:
            manifest = Manifest.decode(self.objects.read(ref.id))
        except UNREADABLE as error:
            raise type(error)(f"version '{ref.tag}': {error.message}", hint=f"mvs log {ref.tag.name}") from error
        if manifest.tag != ref.tag or manifest.created != ref.created:
            raise CorruptManifest(f"the ref of '{ref.tag}' names the manifest of '{manifest.tag}'")
        return manifest

    def here(self, id: ObjectId, manifest: Manifest) -> tuple[FileEntry, ...]:
        """Return the files that must be here of the version with manifest `id`: all but what was not pulled.

        Raises:
            CorruptRef, UnsupportedFormat: what was not pulled cannot be told.
        """
        files = manifest.tree.files
        partial = self.partials.read(id)
        if partial is None:
            return files
        absent = {blob for blob in partial.blobs if not self.objects.is_here(blob)}
        if absent:
            # What is known of packs may be old.
            self.objects.packs.forget()
        return tuple(each for each in files if each.blob not in absent or self.objects.is_here(each.blob))

    def said(self, ref: Ref) -> Said:
        """Return what the manifest says that a ref names: its bytes are verified, but what they say is checked in part.

        Raises:
            CorruptManifest, CorruptObject, MissingObject: it is damaged, missing, or another version's.
        """
        try:
            found = said(self.objects.read(ref.id))
        except (ValueError, *UNREADABLE):
            # It knows better what is wrong.
            return self.manifest(ref).said()
        if (found.name, found.version, found.created) != (ref.tag.name, ref.tag.version, ref.created):
            return self.manifest(ref).said()
        return found

    def next_time(self, name: str, now: int) -> int:
        """Return a time for a change under `name`: `now`, or just after every earlier one. Under the lock."""
        try:
            latest = self.refs.latest(name)
        except UNREADABLE:
            latest = None
        return max(now, latest.created + 1 if latest else 0, self.journal.last_time(name) + 1)

    def _check_writable(self) -> None:
        """Read again what the store needs: it may be long since it was opened."""
        if unwritable := self._read_format():
            raise UnsupportedFormat(
                f"the store '{self.root}' may not be changed: it needs the feature '{unwritable}', "
                "unknown to this release"
            )

    def _read_format(self) -> str | None:
        """Return the feature that forbids writing, if any; raise where this release may not even read."""
        try:
            data = self._disk.read(FORMAT_FILE)
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            raise NotARepository(
                f"'{self.root}' is not a store: it has no '{FORMAT_FILE}' file", hint="mvs init"
            ) from None
        return check_format(data, place=str(self.root))
