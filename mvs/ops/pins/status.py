"""What differs between what is pinned, what is on the disk, and what there is by now; asked of this machine alone."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from mvs.errors import UNREADABLE, ForbiddenPlace
from mvs.format.lines.pins import Pin
from mvs.format.names import LATEST, Tag
from mvs.ops.pins.looking import Look, Memory, look
from mvs.store.store import Store

if TYPE_CHECKING:
    from mvs.store.remote.state import State


class Facts(NamedTuple):
    """How one pin stands.

    `here` is whether the store has the version, `behind` what an update would pin, `pushed` whether the remote had
    it when it was last looked at (None without a remote), `problem` why something of this could not be told.
    """

    pin: Pin
    look: Look
    here: bool
    behind: Tag | None
    pushed: bool | None
    problem: str


def status(
    store: Store, root: Path, pins: Iterable[Pin], memory: Memory, remote: "State | None", now: int
) -> list[Facts]:
    """Return how pins stand; files that changed since they were last seen are read."""
    found = []
    for pin in pins:
        here = store.objects.is_loose(pin.id)
        problem = ""
        seen = Look(is_there=False)
        try:
            seen = look(store, root, pin, memory, now)
        except (*UNREADABLE, ForbiddenPlace) as error:
            # Without its manifest nobody can tell what should be there.
            problem = error.message if here else ""
        behind = None
        try:
            latest = pin.follows == LATEST
            ref = store.refs.latest(pin.tag.name) if latest else store.refs.alias(pin.tag.name, pin.follows)
            behind = ref.tag if ref and ref.id != pin.id else None
            if ref is None and not latest:
                problem = problem or f"the alias '{pin.tag.name}@{pin.follows}', which it follows, is gone"
        except UNREADABLE as error:
            problem = problem or error.message
        pushed = None
        if remote is not None:
            known = remote.versions.get(str(pin.tag))
            there = known is not None and known.id == pin.id
            # What is not here is somebody else's to push.
            pushed = there if there or here else None
        found.append(Facts(pin, seen, here, behind, pushed, problem))
    return found
