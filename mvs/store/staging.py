"""Staging: the files of one running save, until they are published.

A session's lock dies with its process; whatever is staged without a held lock is rubbish.
"""

import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from blake3 import blake3

from mvs.backends.directory import NO_LINKS, Directory
from mvs.backends.failures import storage
from mvs.backends.locks import exclusive, is_open_for_writing
from mvs.errors import MvsError, SourceChanged, SourceNotFound, command
from mvs.format.ids import ObjectId
from mvs.format.layout import LOCK, RESCUED, STAGING
from mvs.running.parallel import Advance
from mvs.store.hashing import copy_open, hash_open
from mvs.store.objects import Objects
from mvs.store.probes import Probes

Buffer = bytes | memoryview


@dataclass(frozen=True, slots=True)
class Staged:
    """The content of one file, ready to be published: from `path`, or None where the store has it already."""

    id: ObjectId
    size: int
    path: str | None


class Session:
    """A folder of its own for one save."""

    def __init__(self, disk: Directory, objects: Objects, probes: Probes, key: str) -> None:
        self._disk = disk
        self._objects = objects
        self._probes = probes
        self.path = disk.path(key)
        # The folder that a draft writes into.
        self.tree = f"{self.path}/tree"
        self.stays = False
        self._owner = os.getpid()

    @property
    def is_mine(self) -> bool:
        """Whether this process opened it: a fork inherits it and must leave it alone."""
        return os.getpid() == self._owner

    def take(self, source: str, advance: Advance, *, wide: bool) -> Staged:
        """Copy a file in, unless the store has its content; hash what was written.

        A small file, or one that looks like an object from afar, is hashed first.

        Raises:
            SourceNotFound: it cannot be read.
            SourceChanged: it changed or shrank meanwhile.
        """
        if self._probes.likely(source):
            with _source(source, source) as fd:
                id, size = hash_open(fd, advance, wide=wide)
            # A move that was killed leaves its source linked to the object; a copy parts them.
            if self._objects.has(id, size) and not self._objects.is_file(id, source):
                return Staged(id, size, None)
            advance(-size)
        return self._copy(source, advance)

    def link(self, source: str, advance: Advance, *, wide: bool) -> Staged:
        """Link a file in and make it durable; copy it where that cannot be, or must not.

        Raises:
            SourceNotFound, SourceChanged: as `take`.
        """
        place = self._place()
        with storage(self.path):
            try:
                if _must_be_copied(source):
                    return self._copy(source, advance)
                os.link(source, place, follow_symlinks=False)
            except FileNotFoundError:
                raise SourceNotFound(f"'{source}' is gone") from None
            except OSError as error:
                if error.errno not in NO_LINKS:
                    raise
                return self._copy(source, advance)
        return self._hash(place, advance, source, wide=wide)

    def adopt(self, place: str, advance: Advance, *, wide: bool) -> Staged:
        """Hash a file that lies in this session already, and make it durable.

        Raises:
            SourceChanged: the file changed meanwhile.
        """
        if _must_be_copied(place):
            return self._copy(place, advance)
        return self._hash(place, advance, place, wide=wide)

    def write(self, blocks: Iterable[Buffer]) -> tuple[ObjectId, str]:
        """Write bytes to a file and make it durable; return the id of what was written, and the path."""
        place = self._place()
        hasher = blake3()
        try:
            with storage(self.path), open(place, "xb") as file:
                for block in blocks:
                    hasher.update(block)
                    file.write(block)
                file.flush()
                self._disk.sync_file(file.fileno(), place)
        except BaseException:
            self._disk.discard(place)
            raise
        return ObjectId(hasher.digest()), place

    def drop(self, path: str) -> None:
        """Remove a file of the session that is of no more use."""
        self._disk.discard(path)

    def keep(self) -> str:
        """Move the draft's files to where nothing removes them, and return that folder."""
        kept = self._disk.path(f"{RESCUED}/{os.path.basename(self.path)}")
        try:
            self._disk.ensure(RESCUED)
            os.rename(self.tree, kept)
        except (OSError, MvsError):
            # Nowhere to go: the session then stays as it is.
            self.stays = True
            return self.tree
        return kept

    def _copy(self, source: str, advance: Advance) -> Staged:
        place = self._place()
        with _source(source, source) as fd, storage(self.path):
            target = os.open(place, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            try:
                id, size = copy_open(fd, target, advance)
                self._disk.sync_file(target, place)
            except BaseException:
                self._disk.discard(place)
                raise
            finally:
                os.close(target)
        return Staged(id, size, place)

    def _hash(self, place: str, advance: Advance, shown: str, *, wide: bool) -> Staged:
        with _source(place, shown) as fd:
            id, size = hash_open(fd, advance, wide=wide)
            self._disk.sync_file(fd, place)
        return Staged(id, size, place)

    def _place(self) -> str:
        return f"{self.path}/{os.urandom(8).hex()}"


@contextmanager
def new_session(disk: Directory, objects: Objects, probes: Probes) -> Iterator[Session]:
    """Open a session; when it ends, everything in it is gone."""
    with ExitStack() as stack:
        key = _locked_folder(disk, stack)
        session = Session(disk, objects, probes, key)
        try:
            yield session
        finally:
            if session.is_mine and not session.stays:
                shutil.rmtree(session.path, ignore_errors=True)


def _locked_folder(disk: Directory, stack: ExitStack) -> str:
    """Make a folder and lock it, until `stack` is closed."""
    while True:
        key = f"{STAGING}/{os.urandom(8).hex()}"
        disk.ensure(key)
        with ExitStack() as attempt:
            attempt.enter_context(exclusive(f"{disk.path(key)}/{LOCK}"))
            # Before it was locked a gc could take it for one of a dead process, and lock it, and move it away.
            if disk.size(f"{key}/{LOCK}") is not None:
                stack.push(attempt.pop_all())
                return key


def _must_be_copied(path: str) -> bool:
    """Tell whether a file cannot itself become an object.

    Another name of it, or a program that has it open for writing, could change the
    store, and an executable file would lose its right, which an object does not have.
    """
    found = os.stat(path, follow_symlinks=False)
    return found.st_nlink > 1 or bool(found.st_mode & 0o111) or is_open_for_writing(path)


@contextmanager
def _source(path: str, shown: str) -> Iterator[int]:
    """Open a file to be saved, and check at the end that it is still what it was."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        raise SourceNotFound(f"cannot read '{shown}': {error.strerror}", hint=command("ls", "-l", shown)) from error
    try:
        with storage(shown):
            before = os.fstat(fd)
            yield fd
            after = os.fstat(fd)
    finally:
        os.close(fd)
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        raise SourceChanged(f"'{shown}' changed while it was saved", hint=command("fuser", "-v", shown))
