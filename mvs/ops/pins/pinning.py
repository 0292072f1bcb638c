"""Pinning: which versions a repository needs, and where they go."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from mvs.errors import Conflict, DestinationExists, InvalidInput, InvalidPath, NotFound, command
from mvs.format.lines.pins import Pin, check_pin_path
from mvs.format.lines.refs import Ref
from mvs.format.names import LATEST, Spec
from mvs.ops.find import query
from mvs.store.store import Store


class Moved(NamedTuple):
    """What became of one pin from one time to another; None where there was none, or is none."""

    before: Pin | None
    after: Pin | None


def relative(root: Path, path: str) -> str:
    """Return a path of the user's as pins have it: relative to the repository.

    Raises:
        InvalidPath: it is not in the repository, or no pin may be there.
    """
    whole = os.path.normpath(os.path.join(root, path))
    # The folder above may be a link to where it is; the place itself is not there yet.
    real = os.path.join(os.path.realpath(os.path.dirname(whole)), os.path.basename(whole))
    found = os.path.relpath(real, os.path.realpath(root)).replace(os.sep, "/")
    if found == "." or found == ".." or found.startswith("../"):
        raise InvalidPath(f"'{path}' is no folder within the repository '{root}'", hint="mvs pin SPEC --to PATH")
    check_pin_path(found)
    return found


def place(pins: Iterable[Pin], name: str, to: str | None) -> str:
    """Return where a name is to be checked out: as it was pinned before, or at `to`, or in a folder of its name.

    Raises:
        InvalidInput: it is pinned to several places.
        DestinationExists: another name has that place.
    """
    there = [pin.path for pin in pins if pin.tag.name == name]
    if to is None and len(there) > 1:
        raise InvalidInput(
            f"'{name}' is pinned at {', '.join(there)}; which of them?",
            hint=command("mvs", "pin", name, "--to", there[0]),
        )
    path = to if to is not None else there[0] if there else name.rpartition("/")[2]
    for pin in pins:
        if pin.path == path and pin.tag.name != name:
            raise DestinationExists(f"'{path}' is the place of '{pin.tag}'", hint=command("mvs", "unpin", path))
    return path


def pinned(ref: Ref, path: str, spec: Spec) -> Pin:
    """Return the pin of a version, which a spec stood for."""
    return Pin(ref.tag, ref.id, ref.created, path, spec.value if spec.kind == "alias" else LATEST)


def replaced(pins: Iterable[Pin], new: Pin) -> list[Pin]:
    """Return pins with one more, or in the place of the one of its name and path."""
    return [*(pin for pin in pins if pin.key != new.key), new]


def chosen(pins: Sequence[Pin], what: str) -> list[Pin]:
    """Return the pins of a name, or the one of a path.

    Raises:
        NotFound: nothing is pinned there.
    """
    path = what.removeprefix("./").rstrip("/")
    found = [pin for pin in pins if pin.path == path] or [pin for pin in pins if what in (pin.tag.name, str(pin.tag))]
    if not found:
        raise NotFound(f"nothing is pinned as '{what}'", hint="mvs pin")
    return found


def target(store: Store, pin: Pin) -> Ref:
    """Return the ref that a pin would be updated to.

    Raises:
        NotFound: there is none.
        CorruptRef: it is damaged.
    """
    name = pin.tag.name
    spec = Spec(name, "latest") if pin.follows == LATEST else Spec(name, "alias", pin.follows)
    return query.resolve(store, spec)


def updated(store: Store, pin: Pin) -> Pin:
    """Return a pin as it is after an update.

    Raises:
        NotFound, CorruptRef: as `target`.
    """
    ref = target(store, pin)
    return Pin(ref.tag, ref.id, ref.created, pin.path, pin.follows, pin.unknown)


def compared(before: Iterable[Pin], after: Iterable[Pin]) -> list[Moved]:
    """Return the pins that differ."""
    left, right = ({pin.key: pin for pin in side} for side in (before, after))
    keys = sorted(left.keys() | right.keys())
    return [Moved(left.get(key), right.get(key)) for key in keys if left.get(key) != right.get(key)]


def merged(ours: Iterable[Pin], theirs: Iterable[Pin], base: Iterable[Pin] | None, prefer: str | None) -> list[Pin]:
    """Return what two sides of a merge pin together; `base` is what both began with, where that is known.

    A pin that is the same on both sides, or that only one side has or changed, is taken as it is. Where they
    differ, `prefer` decides: "newest" the version that was saved later, "ours" or "theirs" that side.

    Raises:
        Conflict: without `prefer` they differ.
    """
    left, right = ({pin.key: pin for pin in side} for side in (ours, theirs))
    began = None if base is None else {pin.key: pin for pin in base}
    found: list[Pin | None] = []
    unresolved = []
    for key in sorted(left.keys() | right.keys()):
        a, b = left.get(key), right.get(key)
        if a == b:
            found.append(a)
        elif began is not None and (a == began.get(key) or b == began.get(key)):
            found.append(b if a == began.get(key) else a)
        elif began is None and (a is None or b is None):
            found.append(a or b)
        elif prefer in ("ours", "theirs"):
            found.append(a if prefer == "ours" else b)
        elif prefer == "newest" and a and b and a.created != b.created:
            found.append(max(a, b, key=lambda pin: pin.created))
        else:
            unresolved.append(f"'{key[0]}' in '{key[1]}' is {_said(a)} on our side and {_said(b)} on theirs")
    if unresolved:
        raise Conflict("; ".join(unresolved), hint="mvs pin --resolve --prefer newest")
    return [pin for pin in found if pin is not None]


def _said(pin: Pin | None) -> str:
    if pin is None:
        return "not pinned"
    return f"{pin.tag.version} ({str(pin.id)[:12]})" + (
        f", following '{pin.follows}'," if pin.follows != LATEST else ""
    )
