"""Restoring: what is pinned is on the disk again, exactly, and nothing of the user's is lost for it.

What a folder holds may go where it is part of a version: of the one that was checked out there before, or of any
other of that name. Whatever else was changed there is only overwritten when that is forced.
"""

import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from mvs.errors import UNREADABLE, DestinationExists, command
from mvs.format.ids import ObjectId
from mvs.format.lines.pins import Pin
from mvs.format.lines.refs import Ref
from mvs.format.manifest import Manifest
from mvs.ops.find.query import Stored
from mvs.ops.giving import checkout
from mvs.ops.giving.checkout import CheckoutPlan
from mvs.ops.pins.looking import Memory, Place, content, folder, look, manifest_of
from mvs.running.progress import Progress
from mvs.store.store import Store

_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Restoring:
    """What is to be done for one pin: files that come, and those of an earlier version that go."""

    pin: Pin
    plan: CheckoutPlan
    gone: tuple[str, ...]
    edited: tuple[str, ...]


def lacking(store: Store, pins: Iterable[Pin]) -> list[Pin]:
    """Return the pins of versions that the store does not have."""
    return [pin for pin in pins if not store.objects.is_loose(pin.id)]


def unfinished(store: Store, root: Path, pins: Iterable[Pin], memory: Memory, now: int) -> list[Pin]:
    """Return the pins of versions that the store has in part, and whose folders are not as they are pinned.

    Raises:
        CorruptRef, UnsupportedFormat: what was not pulled of one cannot be told.
    """
    return [pin for pin in pins if store.partials.read(pin.id) and not look(store, root, pin, memory, now).clean]


def plan(store: Store, root: Path, pins: Iterable[Pin], memory: Memory, now: int, *, force: bool) -> list[Restoring]:
    """Return what is to be done so that everything pinned is there; only reads.

    Raises:
        DestinationExists: without `force`, something that is in no version would be lost.
        ForbiddenPlace: a link leads elsewhere.
        Corrupt: a version is damaged.
    """
    found = [_planned(store, root, pin, memory, now) for pin in pins if not look(store, root, pin, memory, now).clean]
    edited = [os.path.join(one.pin.path, path) for one in found for path in one.edited]
    if edited and not force:
        shown = ", ".join(f"'{path}'" for path in edited[:_SHOWN])
        more = f" and {len(edited) - _SHOWN} more" if len(edited) > _SHOWN else ""
        raise DestinationExists(
            f"{shown}{more} would be overwritten, and is in no version of what is pinned there",
            hint=command("mvs", "checkout", "--force"),
        )
    return found


def run(store: Store, one: Restoring, memory: Memory, *, link: bool, progress: Progress) -> None:
    """Do what was planned for one pin.

    Raises:
        Corrupt: the store's bytes are damaged; the folder is as before.
    """
    # Forgotten first: cut off in between, files are read again.
    place = memory.place(one.pin.path)
    memory.learn(one.pin.path, Place(place.id, False, place.files))
    memory.keep()
    checkout.run(store, one.plan, link=link, force=True, progress=progress)
    for path in one.gone:
        _remove(one.plan.dest, path)


def _planned(store: Store, root: Path, pin: Pin, memory: Memory, now: int) -> Restoring:
    place = folder(root, pin.path)
    manifest = manifest_of(store, pin)
    stored = Stored(Ref(pin.tag, pin.id, pin.created), manifest)
    planned = checkout.plan(store, stored, place, include=(), exclude=())
    known = memory.place(pin.path)
    before = _before(store, known, pin)
    wanted = {entry.path for entry in manifest.tree.files}
    versions = _Versions(store, pin.tag.name)
    edited: list[str] = []
    gone: list[str] = []
    for path in planned.replaces:
        found = content(place, path, known, now)
        if found and found != before.get(path) and found not in versions.of(path):
            edited.append(path)
    for path, was in before.items():
        if path not in wanted and (found := content(place, path, known, now)):
            (gone if found == was else edited).append(path)
    if not planned.present and not planned.replaces and not before and os.path.isdir(place) and os.listdir(place):
        # Somebody's folder, and nothing of a version is in it.
        edited.append("")
    return Restoring(pin, planned, tuple(gone), tuple(edited))


def _before(store: Store, known: Place, pin: Pin) -> dict[str, tuple[bytes, bool]]:
    """Return the contents of the version that was checked out before, by path, as far as that can be told."""
    if not known.id or known.id == pin.id.raw:
        return {}
    try:
        manifest = Manifest.decode(store.objects.read(ObjectId(known.id)))
    except UNREADABLE:
        return {}
    return {entry.path: (entry.blob.raw, entry.executable) for entry in manifest.tree.files}


class _Versions:
    """What files of all versions of a name hold, read when it is asked for."""

    def __init__(self, store: Store, name: str) -> None:
        self._store = store
        self._name = name

    def of(self, path: str) -> set[tuple[bytes, bool]]:
        """Return what versions have at a path."""
        return self._contents.get(path, set())

    @cached_property
    def _contents(self) -> dict[str, set[tuple[bytes, bool]]]:
        found: dict[str, set[tuple[bytes, bool]]] = {}
        for ref in self._store.refs.readable(self._name, lambda _: None):
            with suppress(*UNREADABLE):
                for entry in self._store.manifest(ref).tree.files:
                    found.setdefault(entry.path, set()).add((entry.blob.raw, entry.executable))
        return found


def _remove(dest: str, path: str) -> None:
    """Remove a file of an earlier version, and the folders that are empty then; not through links."""
    if os.path.realpath(os.path.dirname(os.path.join(dest, path))) != os.path.join(
        os.path.realpath(dest), os.path.dirname(path)
    ).rstrip(os.sep):
        return
    with suppress(OSError):
        os.unlink(os.path.join(dest, path))
        while path := os.path.dirname(path):
            os.rmdir(os.path.join(dest, path))
