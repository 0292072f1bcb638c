"""Repositories that share a store: each is known to it, and what it pins is needed."""

import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from mvs.backends.directory import Directory
from mvs.errors import UNREADABLE, Conflict, NotFound, StorageFailed, StorageFull, UnsupportedFormat, command
from mvs.format.ids import ObjectId
from mvs.format.layout import REPOSITORIES, STAGING
from mvs.format.lines.refs import Pin, Ref, Registration
from mvs.format.manifest import Manifest
from mvs.format.paths import FORBIDDEN as CONTROL
from mvs.ops.pins.lockfile import needed
from mvs.store.store import Store


class Shared(NamedTuple):
    """A repository that is registered: how to call it, what it pins now, and whether it is gone."""

    registration: Registration
    shown: str
    pins: tuple[Pin, ...]
    gone: bool


def register(store: Store, control: Path, host: str) -> None:
    """Let the store know of a repository that uses it, unless it does, or the store is the repository's own.

    Where the store cannot be written to it stays unknown: it can pin nothing that it did not find there.
    """
    path = os.path.realpath(control)
    if path == os.path.realpath(store.root):
        return
    registration = Registration(host, os.fsencode(path))
    disk = _disk(store)
    if disk.size(_key(registration)) is None:
        with suppress(StorageFailed, UnsupportedFormat), store.exclusive():
            disk.put(_key(registration), registration.encode())


def shared(store: Store, host: str) -> list[Shared]:
    """Return the repositories that are registered.

    Raises:
        Corrupt, UnsupportedFormat: a registration or its pins cannot be read.
    """
    found = []
    for registration in _registrations(store):
        path = os.fsdecode(registration.path)
        here = registration.host == host
        there = _is_there(path) if here else None
        gone = there is False
        pins = pins_of(Path(path)) if there else registration.pins
        name = os.path.dirname(path) if os.path.basename(path) == CONTROL else path
        found.append(Shared(registration, name if here else f"{registration.host}:{name}", pins, gone))
    return found


def note(store: Store, found: Iterable[Shared], now: int) -> None:
    """Remember what repositories pin, and which are gone, for the time when they cannot be asked.

    On a full disk that waits until there is room.
    """
    for known in found:
        missing = (known.registration.missing or max(1, now)) if known.gone else 0
        renewed = known.registration._replace(pins=tuple(sorted(known.pins)), missing=missing)
        if renewed != known.registration:
            with suppress(StorageFull), store.exclusive():
                _disk(store).put(_key(renewed), renewed.encode())


def pinned(store: Store, found: Iterable[Shared]) -> dict[ObjectId, Ref]:
    """Return the refs that pins stand for, by manifest, of those that the store has; also its own repository's.

    Raises:
        Corrupt, UnsupportedFormat: one cannot be read.
    """
    refs: dict[ObjectId, Ref] = {}
    for pin in (*pins_of(store.root), *(pin for known in found for pin in known.pins)):
        if pin.id not in refs and store.objects.is_loose(pin.id):
            try:
                manifest = Manifest.decode(store.objects.read(pin.id))
            except UNREADABLE as error:
                raise type(error)(f"version '{pin.tag}', which is pinned: {error.message}", hint="mvs fsck") from error
            # What the pin calls it is somebody's text; it is needed whatever its name.
            refs[pin.id] = Ref(manifest.tag, pin.id, manifest.created)
    return refs


def forget(store: Store, place: str, host: str, *, since: int) -> None:
    """Forget a repository that is gone, and was before `since`: what it pinned is needed no more.

    Raises:
        NotFound: none of that name is registered.
        Conflict: it is there, or was until lately.
    """
    places = {place, os.path.abspath(place), os.path.realpath(place)}
    for known in shared(store, host):
        if places & {known.shown, os.fsdecode(known.registration.path)}:
            break
    else:
        raise NotFound(f"no repository '{place}' uses this store", hint=command("ls", store.root / REPOSITORIES))
    if known.registration.host == host and not known.gone:
        raise Conflict(f"the repository '{known.shown}' is there, and uses this store", hint=command("ls", known.shown))
    missing = known.registration.missing
    if known.gone and not 0 < missing <= since:
        raise Conflict(
            f"the repository '{known.shown}' was there until lately; what it pinned is kept for a while",
            hint=command("mvs", "gc", "--forget", place, "--expire", "now"),
        )
    with store.exclusive(), suppress(FileNotFoundError):
        _disk(store).remove(_key(known.registration))
    _disk(store).sync([REPOSITORIES])


def pins_of(control: Path) -> tuple[Pin, ...]:
    """Return what the repository of a control folder pins.

    Raises:
        Corrupt, UnsupportedFormat: it pins something, and what cannot be told.
    """
    if control.name != CONTROL:
        return ()
    return tuple(Pin(pin.tag, pin.id) for pin in needed(control.parent))


def _is_there(path: str) -> bool | None:
    """Tell whether a folder is there; None where this user may not know."""
    try:
        return stat.S_ISDIR(os.stat(path).st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return None


def _registrations(store: Store) -> Iterator[Registration]:
    disk = _disk(store)
    for entry in list(disk.entries(REPOSITORIES)):
        with suppress(ValueError, FileNotFoundError):
            ObjectId.from_hex(entry.name)
            data = disk.read(f"{REPOSITORIES}/{entry.name}")
            try:
                yield Registration.decode(data)
            except UNREADABLE as error:
                raise type(error)(
                    f"'{entry.path}' is damaged: {error.message}", hint=command("ls", "-l", entry.path)
                ) from None


def _key(registration: Registration) -> str:
    return f"{REPOSITORIES}/{registration.key}"


def _disk(store: Store) -> Directory:
    return Directory(str(store.root), durable=store.durable, temps=STAGING)
