"""Repositories that share a store: each is known to it, and what it pins is needed."""

import os
import stat
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from mvs.backends.directory import Directory
from mvs.backends.failures import storage
from mvs.errors import (
    UNREADABLE,
    Conflict,
    Corrupt,
    NotFound,
    StorageFailed,
    StorageFull,
    SyncFailed,
    UnsupportedFormat,
    command,
)
from mvs.format.ids import ObjectId
from mvs.format.layout import REPOSITORIES, STAGING
from mvs.format.lines.pins import Pin as Lock
from mvs.format.lines.refs import Pin, Ref, Registration
from mvs.format.manifest import Manifest
from mvs.format.paths import FORBIDDEN as CONTROL
from mvs.ops.pins import identity
from mvs.ops.pins.lockfile import needed
from mvs.store.store import Store


class Shared(NamedTuple):
    """A repository that is registered: how to call it, what is kept for it, whether it is gone, and what it says now.

    `said` is what it pins, None where it could not be asked.
    """

    registration: Registration
    shown: str
    pins: tuple[Pin, ...]
    gone: bool
    said: tuple[Pin, ...] | None


def register(store: Store, control: Path, host: str, *, adding: Iterable[Lock] = ()) -> bool:
    """Let the store know of a repository and of what it pins; return whether it does.

    A repository whose own store it is need not be known while it pins nothing. What is about to be pinned is
    `adding`, before `mvs.lock` says so: cut off in between, too much is kept.

    Raises:
        SyncFailed: the disk failed, so that it may have forgotten after a power cut.
    """
    if control.name != CONTROL:
        # The home of mvs, which pins nothing.
        return True
    path = os.fsencode(os.path.join(os.path.realpath(control.parent), control.name))
    own = _is_same(control, store.root)
    added = {Pin(pin.tag, pin.id) for pin in adding}
    disk = _disk(store)

    def wanted(id: bytes) -> tuple[Registration | None, Registration]:
        bare = Registration(host, path, id=id)
        known = _known(disk, _key(bare))
        before = known.pins if known else ()
        try:
            pins = {*pins_of(control), *added, *(before if added else ())}
        except (StorageFailed, *UNREADABLE):
            # Whoever collects must know whom to ask.
            pins = {*before, *added}
        return known, bare._replace(pins=tuple(sorted(pins)))

    try:
        id = b"" if own else identity.of(control)
        if id is not None:
            known, new = wanted(id)
            if new == known or (own and not new.pins and not os.path.lexists(disk.path(_key(new)))):
                return True
        with store.exclusive():
            if id is None:
                # Under the lock, so that of two processes one draws it.
                id = identity.of(control) or _drawn(control)
            # Again: another process may have pinned something meanwhile.
            known, new = wanted(id)
            if new != known:
                if disk.size(_key(new)) is None:
                    store.trash.take(_key(new))
                disk.put(_key(new), new.encode())
    except SyncFailed:
        raise
    except (OSError, StorageFailed, *UNREADABLE):
        return False
    return True


def shared(store: Store, host: str) -> list[Shared]:
    """Return the repositories that are registered.

    Raises:
        Corrupt, UnsupportedFormat: a registration or its pins cannot be read.
    """
    decoded = map(_decoded, _entries(store))
    return [_shared(store, registration, host) for registration in decoded if registration is not None]


def vanished(store: Store, found: Collection[Shared]) -> tuple[str, ...]:
    """Return the repositories that are gone.

    One whose own store this is has moved with it, unless it pinned what nobody pins who is there.
    """
    there = {pin.id for pin in (*_own(store), *(pin for known in found if not known.gone for pin in known.pins))}
    return tuple(
        known.shown
        for known in found
        if known.gone and (known.registration.id or not there.issuperset(pin.id for pin in known.pins))
    )


def note(store: Store, found: Iterable[Shared], now: int) -> None:
    """Remember what repositories pin, and which are gone, for the time when they cannot be asked.

    On a full disk that waits until there is room.
    """
    for known in found:
        before = known.registration
        pins = before.pins if known.said is None else tuple(sorted(set(known.said)))
        renewed = before._replace(pins=pins, missing=(before.missing or max(1, now)) if known.gone else 0)
        if renewed != before:
            with suppress(StorageFull), store.exclusive():
                # What it says of itself since it was asked is newer.
                if _known(_disk(store), _key(before)) == before:
                    _disk(store).put(_key(renewed), renewed.encode())


def pinned(store: Store, found: Iterable[Shared]) -> dict[ObjectId, Ref]:
    """Return the refs that pins stand for, by manifest, of those that the store has; also its own repository's.

    Raises:
        Corrupt, UnsupportedFormat: one cannot be read.
    """
    refs: dict[ObjectId, Ref] = {}
    for pin in (*_own(store), *(pin for known in found for pin in known.pins)):
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

    Or a registration, by its own path, that is damaged: of which repository it was nobody can tell.

    Raises:
        NotFound: none of that name is registered.
        Conflict: it is there, or was until lately.
    """
    places = _spelled(place)
    named = []
    for entry in _entries(store):
        try:
            registration = _decoded(entry)
        except Corrupt:
            if places & _spelled(entry.path):
                with store.exclusive():
                    store.trash.take(f"{REPOSITORIES}/{entry.name}")
                _disk(store).sync([REPOSITORIES])
                return
            continue
        except UnsupportedFormat:
            continue
        if registration and places & {_shown(registration, host), os.fsdecode(registration.path)}:
            named.append(registration)
    if not named:
        raise NotFound(f"no repository '{place}' uses this store", hint=command("ls", store.root / REPOSITORIES))
    # Where one has moved away and another been made, both have this name.
    found = [_shared(store, registration, host) for registration in named]
    gone = [known for known in found if known.gone or known.registration.host != host]
    if not gone:
        shown = found[0].shown
        raise Conflict(f"the repository '{shown}' is there, and uses this store", hint=command("ls", shown))
    if any(known.gone and not 0 < known.registration.missing <= since for known in gone):
        raise Conflict(
            f"the repository '{gone[0].shown}' was there until lately; what it pinned is kept for a while",
            hint=command("mvs", "gc", "--forget", place, "--expire", "now"),
        )
    with store.exclusive():
        for known in gone:
            with suppress(FileNotFoundError):
                _disk(store).remove(_key(known.registration))
    _disk(store).sync([REPOSITORIES])


def _spelled(path: str) -> set[str]:
    return {path, os.path.abspath(path), os.path.realpath(path)}


def pins_of(control: Path) -> tuple[Pin, ...]:
    """Return what the repository of a control folder pins.

    Raises:
        Corrupt, UnsupportedFormat: it pins something, and what cannot be told.
    """
    if control.name != CONTROL:
        return ()
    return tuple(Pin(pin.tag, pin.id) for pin in needed(control.parent))


def _own(store: Store) -> list[Pin]:
    """Return what the repository pins whose own store it is; by both names where the store was reached by a link."""
    return [pin for root in {store.root, Path(os.path.realpath(store.root))} for pin in pins_of(root)]


def _shared(store: Store, registration: Registration, host: str) -> Shared:
    shown = _shown(registration, host)
    if registration.host != host:
        return Shared(registration, shown, registration.pins, gone=False, said=None)
    gone, said = _asked(store, registration)
    # Both: git may just be writing `mvs.lock` anew.
    pins = tuple(sorted({*registration.pins, *(said or ())}))
    return Shared(registration, shown, pins, gone, said)


def _asked(store: Store, registration: Registration) -> tuple[bool, tuple[Pin, ...] | None]:
    """Tell whether a repository of this machine is gone, and what it pins now, None where this user may not know.

    Gone is one also where another was made in its place.

    Raises:
        Corrupt, UnsupportedFormat: it pins something, and what cannot be told.
    """
    control = Path(os.fsdecode(registration.path))
    try:
        if not stat.S_ISDIR(os.stat(control).st_mode):
            return True, None
        same = identity.of(control) == registration.id if registration.id else _is_same(control, store.root)
        return not same, pins_of(control) if same else None
    except (FileNotFoundError, NotADirectoryError):
        return True, None
    except (OSError, StorageFailed):
        return False, None


def _is_same(one: Path, other: Path) -> bool:
    try:
        return os.path.samefile(one, other)
    except (FileNotFoundError, NotADirectoryError):
        return False


def _drawn(control: Path) -> bytes:
    """Return the number of a repository that has none yet, empty where it cannot be given one."""
    try:
        return identity.draw(control)
    except StorageFailed:
        return b""


def _shown(registration: Registration, host: str) -> str:
    path = os.fsdecode(registration.path)
    name = os.path.dirname(path) if os.path.basename(path) == CONTROL else path
    return name if registration.host == host else f"{registration.host}:{name}"


def _known(disk: Directory, key: str) -> Registration | None:
    """Return a registration, None where there is none that is whole.

    Raises:
        UnsupportedFormat: it was written by a later release.
    """
    try:
        return Registration.decode(disk.read(key)) if disk.size(key) is not None else None
    except (FileNotFoundError, Corrupt):
        return None


def _entries(store: Store) -> Iterator["os.DirEntry[str]"]:
    folder = store.root / REPOSITORIES
    if os.path.lexists(folder) and not folder.is_dir():
        raise Corrupt(
            f"'{folder}' is no folder, and should say what repositories pin", hint=command("ls", "-ld", folder)
        )
    for entry in list(_disk(store).entries(REPOSITORIES)):
        with suppress(ValueError):
            ObjectId.from_hex(entry.name)
            yield entry


def _decoded(entry: "os.DirEntry[str]") -> Registration | None:
    """Return a registration, None where it has just gone.

    Raises:
        Corrupt, UnsupportedFormat: it cannot be read.
    """
    forgetting = command("mvs", "gc", "--forget", entry.path)
    if not entry.is_file(follow_symlinks=False):
        raise Corrupt(f"'{entry.path}' is no file, and should say what a repository pins", hint=forgetting)
    try:
        with storage(entry.path), open(entry.path, "rb") as file:
            return Registration.decode(file.read())
    except FileNotFoundError:
        return None
    except UNREADABLE as error:
        hint = forgetting if isinstance(error, Corrupt) else command("ls", "-l", entry.path)
        raise type(error)(f"'{entry.path}' is damaged: {error.message}", hint=hint) from None


def _key(registration: Registration) -> str:
    return f"{REPOSITORIES}/{registration.key}"


def _disk(store: Store) -> Directory:
    return Directory(str(store.root), durable=store.durable, temps=STAGING)
