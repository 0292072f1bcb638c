"""Checking out: the files of a version, verified, where the user wants them.

A destination appears whole or not at all. Where one is there already, nothing of the
user's is overwritten unless that is forced, and what is not in the version is never touched.
"""

import fnmatch
import os
import re
import shutil
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from io import FileIO
from pathlib import Path

from blake3 import blake3

from mvs.backends.directory import NO_LINKS
from mvs.backends.failures import storage
from mvs.errors import (
    Corrupt,
    CorruptObject,
    DestinationExists,
    FileNotInVersion,
    ForbiddenPlace,
    InvalidPath,
    MissingObject,
    VersionNotFound,
    command,
)
from mvs.format.ids import ObjectId
from mvs.format.manifest import FileEntry
from mvs.format.names import Tag
from mvs.ops.find.absent import check as check_pulled
from mvs.ops.find.query import Stored, was_deleted
from mvs.ops.saving.walk import contains
from mvs.running.parallel import Advance, each
from mvs.running.progress import Progress
from mvs.store.hashing import copy_open, hash_open
from mvs.store.store import Store

_SHOWN = 5


@dataclass(frozen=True, slots=True)
class CheckoutPlan:
    """What a checkout would do; nothing is written until `run`."""

    tag: Tag
    dest: str
    files: tuple[FileEntry, ...]
    dirs: tuple[str, ...]
    replaces: tuple[str, ...]
    """Paths that are there with other content and would be overwritten."""
    present: frozenset[str]
    """Paths that are there with the same content already."""


def plan(store: Store, stored: Stored, dest: str, *, include: Iterable[str], exclude: Iterable[str]) -> CheckoutPlan:
    """Find out what checking out a version to `dest` means; only reads.

    Raises:
        FileNotInVersion: the globs leave no file.
        NotPulled: one of them was not pulled.
        ForbiddenPlace: `dest` is the store, or lies in it.
        DestinationExists: a file or a link stands where a folder must be, or the reverse.
    """
    if not dest:
        raise InvalidPath("the path to check out to is empty", hint=command("mvs", "checkout", stored.ref.tag, "DIR"))
    tree = stored.manifest.tree
    files = choose(tree.files, include, exclude, stored.ref.tag)
    _check_place(str(store.root), dest, files)
    dirs = tree.dirs if len(files) == len(tree.files) else ()
    replaces: list[str] = []
    present: set[str] = set()
    if os.path.lexists(dest):
        if not os.path.isdir(dest):
            raise DestinationExists(f"'{dest}' is a file", hint=command("mvs", "checkout", stored.ref.tag, f"{dest}.d"))
        for path in dirs:
            _folder(dest, path)
        for entry in files:
            place = _place(dest, entry.path)
            if os.path.lexists(place):
                (present.add if _is_same(place, entry) else replaces.append)(entry.path)
    check_pulled(store, stored.ref, stored.manifest, (entry for entry in files if entry.path not in present))
    return CheckoutPlan(stored.ref.tag, dest, files, dirs, tuple(replaces), frozenset(present))


def run(store: Store, plan: CheckoutPlan, *, link: bool, force: bool, progress: Progress) -> Path:
    """Check out what was planned and return the destination.

    Raises:
        DestinationExists: without `force`, the destination holds other files.
        CorruptObject, MissingObject: the store's bytes are damaged; the destination is as before.
        VersionNotFound: the version was deleted meanwhile, and its files are gone; likewise.
    """
    # A folder that is there, empty or not, is filled and not replaced: it may be
    # somebody's working directory.
    fresh = not os.path.lexists(plan.dest)
    if not fresh and not force and os.listdir(plan.dest):
        _check_unforced(plan)
    todo = [entry for entry in plan.files if entry.path not in plan.present]
    store.bring(entry.blob for entry in todo)
    parent = os.path.dirname(os.path.abspath(plan.dest)) if fresh else plan.dest
    building = os.path.join(parent, f".mvs-checkout-{os.urandom(8).hex()}")
    with storage(parent):
        try:
            os.makedirs(parent, exist_ok=True)
        except (FileExistsError, NotADirectoryError):
            raise DestinationExists(
                f"'{parent}' is no folder, and nothing can be written below it", hint=command("ls", "-ld", parent)
            ) from None
        try:
            os.mkdir(building)
            _fill(store, building, plan, todo, link=link, progress=progress)
            if fresh:
                os.rename(building, plan.dest)
            else:
                _merge(building, plan.dest, plan, todo, force=force)
        finally:
            shutil.rmtree(building, ignore_errors=True)
    return Path(plan.dest)


def _check_place(store: str, dest: str, files: tuple[FileEntry, ...]) -> None:
    if contains(store, dest):
        raise ForbiddenPlace(f"'{dest}' lies in the store, where nothing is checked out")
    if contains(dest, store):
        inner = os.path.relpath(os.path.realpath(store), os.path.realpath(dest)).casefold()
        for entry in files:
            if f"{entry.path.casefold()}/".startswith(f"{inner}/"):
                raise ForbiddenPlace(f"file '{entry.path}' would be written into the store '{store}'")


def _check_unforced(plan: CheckoutPlan) -> None:
    if plan.replaces:
        shown = ", ".join(f"'{path}'" for path in plan.replaces[:_SHOWN])
        more = f" and {len(plan.replaces) - _SHOWN} more" if len(plan.replaces) > _SHOWN else ""
        raise DestinationExists(
            f"'{plan.dest}' has other content in {shown}{more}",
            hint=command("mvs", "checkout", plan.tag, plan.dest, "--force"),
        )
    # A folder that holds part of the version already, and nothing else of it, is completed.
    if not plan.present:
        raise DestinationExists(
            f"'{plan.dest}' exists and is not empty", hint=command("mvs", "checkout", plan.tag, plan.dest, "--force")
        )


def _fill(
    store: Store, building: str, plan: CheckoutPlan, todo: list[FileEntry], *, link: bool, progress: Progress
) -> None:
    for path in sorted({os.path.dirname(entry.path) for entry in plan.files} | set(plan.dirs)):
        os.makedirs(os.path.join(building, path), exist_ok=True)
    copies = [entry for entry in todo if not (link and _link(store, entry, os.path.join(building, entry.path)))]

    def work(entry: FileEntry, advance: Advance) -> None:
        _copy(store, entry, os.path.join(building, entry.path), plan.tag, advance)

    if copies:
        if link:
            progress.notice(f"{len(copies)} of {len(todo)} files had to be copied, not linked")
        copies.sort(key=lambda entry: -entry.size)
        each(work, copies, label="checking out", total=sum(entry.size for entry in copies), progress=progress)


def _link(store: Store, entry: FileEntry, target: str) -> bool:
    if entry.executable:
        return False
    try:
        os.link(store.objects.path(entry.blob), target)
    except (OSError, MissingObject):
        # Copied then; a copy says what is missing.
        return False
    return True


def _copy(store: Store, entry: FileEntry, target: str, tag: Tag, advance: Advance) -> None:
    try:
        with open(target, "xb+", buffering=0) as copy:
            id, size = _written(store, entry.blob, copy, advance)
            if (id, size) != (entry.blob, entry.size):
                raise CorruptObject(f"object {entry.blob} does not hold the bytes it is named after")
            if entry.executable:
                mode = os.fstat(copy.fileno()).st_mode & 0o777
                # Whoever the umask lets read may execute.
                os.fchmod(copy.fileno(), mode | (mode & 0o444) >> 2)
    except Corrupt as error:
        raise explained(store, entry, tag, error) from error


def explained(store: Store, entry: FileEntry, tag: Tag, error: Corrupt) -> Corrupt | VersionNotFound:
    """Return an error that says which file of which version it is about."""
    if not store.refs.exists(tag):
        return was_deleted(tag)
    lost = "lost" if isinstance(error, MissingObject) else "damaged in the store"
    return type(error)(f"file '{entry.path}' of '{tag}' is {lost}: {error.message}", hint=f"mvs log {tag.name}")


def _written(store: Store, blob: ObjectId, copy: FileIO, advance: Advance) -> tuple[ObjectId, int]:
    """Write an object to a file; return id and size of what was written."""
    source = store.objects.open_loose(blob)
    if source is not None:
        with source:
            return copy_open(source.fileno(), copy.fileno(), advance)
    hasher = blake3()
    size = 0
    for block in store.objects.blocks(blob):
        hasher.update(block)
        view = memoryview(block)
        while view:
            view = view[copy.write(view) :]
        size += len(block)
        advance(len(block))
    return ObjectId(hasher.digest()), size


def _merge(building: str, dest: str, plan: CheckoutPlan, todo: list[FileEntry], *, force: bool) -> None:
    for path in plan.dirs:
        os.makedirs(_folder(dest, path), exist_ok=True)
    for entry in todo:
        place = _place(dest, entry.path)
        os.makedirs(os.path.dirname(place), exist_ok=True)
        _bring(os.path.join(building, entry.path), place, force=force)


def _bring(built: str, place: str, *, force: bool) -> None:
    """Give a file its place; without `force` never that of another, which may have appeared just now."""
    if not force:
        try:
            os.link(built, place)
            return
        except FileExistsError:
            raise DestinationExists(f"'{place}' appeared meanwhile", hint=command("ls", "-l", place)) from None
        except OSError as error:
            if error.errno not in NO_LINKS:
                raise
    os.replace(built, place)


def _place(dest: str, path: str) -> str:
    """Return where a file lies in a destination, having checked that no link, file or folder is in its way."""
    place = os.path.join(_folder(dest, os.path.dirname(path)), os.path.basename(path))
    if os.path.lexists(place) and stat.S_ISDIR(os.lstat(place).st_mode):
        raise DestinationExists(
            f"'{place}' is a folder, and the version has a file there", hint=command("ls", "-l", place)
        )
    return place


def _folder(dest: str, path: str) -> str:
    """Return where a folder lies in a destination, having checked that no link or file is in its way."""
    place = dest
    for part in filter(None, path.split("/")):
        place = os.path.join(place, part)
        if os.path.lexists(place) and not stat.S_ISDIR(os.lstat(place).st_mode):
            raise DestinationExists(
                f"'{place}' is no folder, and the version needs one there", hint=command("ls", "-l", place)
            )
    return place


def _is_same(place: str, entry: FileEntry) -> bool:
    found = os.lstat(place)
    if not stat.S_ISREG(found.st_mode) or found.st_size != entry.size:
        return False
    if bool(found.st_mode & 0o100) != entry.executable:
        return False
    with open(place, "rb", buffering=0) as file:
        return hash_open(file.fileno(), lambda _: None, wide=True)[0] == entry.blob


def choose(
    files: tuple[FileEntry, ...], include: Iterable[str], exclude: Iterable[str], tag: Tag
) -> tuple[FileEntry, ...]:
    """Return the files that `matching` leaves.

    Raises:
        FileNotInVersion: none is left.
    """
    chosen = matching(files, include, exclude)
    if not chosen:
        raise FileNotInVersion(f"no file of '{tag}' matches", hint=f"mvs show {tag}")
    return chosen


def matching(files: tuple[FileEntry, ...], include: Iterable[str], exclude: Iterable[str]) -> tuple[FileEntry, ...]:
    """Return the files that match one of the globs to include, all without any, and none of those to exclude."""
    wanted = [re.compile(fnmatch.translate(glob)).match for glob in include]
    unwanted = [re.compile(fnmatch.translate(glob)).match for glob in exclude]
    return tuple(
        entry
        for entry in files
        if (not wanted or any(match(entry.path) for match in wanted))
        and not any(match(entry.path) for match in unwanted)
    )
