"""The history of a name: its versions, and what happened to their tags."""

from collections.abc import Callable
from typing import NamedTuple

from mvs.errors import UNREADABLE, NameNotFound
from mvs.format.journal import Event
from mvs.format.names import Tag
from mvs.format.refs import Ref
from mvs.store.store import Store


class Told(NamedTuple):
    """One event that took effect, and what the user said about the version, where that can be read."""

    tag: Tag
    event: Event
    message: str


def history(store: Store, name: str, damaged: Callable[[str], None]) -> list[Told]:
    """Return the events of a name that took effect, newest first.

    A version whose event was lost with the journal is told from its ref. What cannot be
    read is told to `damaged`.

    Raises:
        NameNotFound: nothing was ever saved under the name.
    """
    events = list(store.journal.events(name))
    deleted = {event.old for event in events if event.event == "delete"}
    refs = {ref.id: ref for ref in store.refs.readable(name, damaged)}
    # An event is written before its ref: where neither the ref nor its deletion followed,
    # the save was cut off and nothing happened.
    told = [event for event in events if event.event == "delete" or event.new in refs or event.new in deleted]
    known = {event.new for event in told}
    told += [
        Event("save", ref.tag.version, None, ref.id, None, ref.created, ref.created, "")
        for ref in refs.values()
        if ref.id not in known
    ]
    if not told:
        raise NameNotFound(f"no model '{name}'", hint="mvs list")
    told.sort(key=lambda event: event.at, reverse=True)
    return [Told(Tag(name, event.version), event, _message(store, name, event)) for event in told]


def _message(store: Store, name: str, event: Event) -> str:
    id = event.new or event.old
    if id is None:
        return ""
    try:
        return store.manifest(Ref(Tag(name, event.version), id, event.created)).message
    except UNREADABLE:
        return ""
