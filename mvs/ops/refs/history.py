"""The history of a name: its versions, and what happened to their tags, to their notes, and to the aliases."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from mvs.errors import UNREADABLE, NameNotFound
from mvs.format.ids import ObjectId
from mvs.format.lines.journal import Change, Event, Moved, Noted, Target
from mvs.format.lines.refs import Ref
from mvs.format.names import Alias, Tag
from mvs.ops.find import query
from mvs.store.store import Store


class Told(NamedTuple):
    """One thing that took effect: the version it happened to, and what the user said about that, where it can be read.

    For an alias it is the version that it points at since, or pointed at.
    """

    tag: Tag
    event: Change
    message: str


def history(store: Store, name: str, damaged: Callable[[str], None]) -> list[Told]:
    """Return what took effect under a name, newest first.

    A version whose event was lost with the journal is told from its ref. What cannot be
    read is told to `damaged`.

    Raises:
        NameNotFound: nothing was ever saved under the name.
    """
    entries = list(store.journal.entries(name))
    events = [entry for entry in entries if isinstance(entry, Event)]
    deleted = {event.old for event in events if event.event == "delete"}
    refs = {ref.id: ref for ref in store.refs.readable(name, damaged)}
    # An event is written before its ref: where neither the ref nor its deletion followed,
    # the save was cut off and nothing happened.
    events = [event for event in events if event.event == "delete" or event.new in refs or event.new in deleted]
    known = {event.new for event in events}
    told: list[Change] = [*events]
    told += [
        Event("save", ref.tag.version, None, ref.id, None, ref.created, ref.created, "")
        for ref in refs.values()
        if ref.id not in known
    ]
    moved = [entry for entry in entries if isinstance(entry, Moved)]
    for alias in dict.fromkeys(move.alias for move in moved):
        told += _moves(store, Alias(name, alias), moved)
    told += _changes(store, name, refs, [entry for entry in entries if isinstance(entry, Noted)])
    if not told:
        raise NameNotFound(f"no model '{name}'", hint="mvs list")
    told.sort(key=lambda entry: entry.at, reverse=True)
    return [_told(store, name, entry) for entry in told]


def of_alias(store: Store, alias: Alias) -> list[Told]:
    """Return how an alias moved, newest first; a move that was cut off did not happen.

    Raises:
        AliasNotFound: there is no such alias, and never was.
    """
    found = moves(store, alias)
    if not found and not store.refs.has_alias(alias):
        raise query.no_alias(alias)
    return [_told(store, alias.name, move) for move in reversed(found)]


def moves(store: Store, alias: Alias) -> list[Moved]:
    """Return the moves of an alias that happened, oldest first."""
    return _moves(store, alias, [entry for entry in store.journal.entries(alias.name) if isinstance(entry, Moved)])


def target_of(ref: Ref | None) -> Target | None:
    """Return what an alias that is this ref points at."""
    return Target(ref.tag.version, ref.id) if ref else None


def _moves(store: Store, alias: Alias, moved: Iterable[Moved]) -> list[Moved]:
    given = [move for move in moved if move.alias == alias.alias]
    try:
        present = target_of(store.refs.alias(alias.name, alias.alias))
    except UNREADABLE:
        # What it last said is what is known.
        present = given[-1].new if given else None
    happened = []
    for move in reversed(given):
        if move.new == present:
            happened.append(move)
            present = move.old
    return happened[::-1]


def _changes(store: Store, name: str, refs: Mapping[ObjectId, Ref], noted: Iterable[Noted]) -> list[Noted]:
    """Return the changes of notes that happened, in no order."""
    by_version: dict[Target, list[Noted]] = defaultdict(list)
    for change in noted:
        by_version[Target(change.version, change.id)].append(change)
    happened = []
    for (version, id), changes in by_version.items():
        present: dict[str, str | None] | None = {} if id in refs else None
        try:
            if (notes := store.notes.read(Tag(name, version))) and notes.id == id:
                present = dict(notes.labels)
        except UNREADABLE:
            present = None
        for change in reversed(changes):
            if present is None:
                # Nobody can tell what they were at last.
                happened.append(change)
            elif all(present.get(key) == after for key, (_, after) in change.labels.items()):
                happened.append(change)
                present = present | {key: before for key, (before, _) in change.labels.items()}
    return happened


def _told(store: Store, name: str, entry: Change) -> Told:
    if isinstance(entry, Event):
        return Told(Tag(name, entry.version), entry, _message(store, name, entry))
    if isinstance(entry, Moved):
        return Told(Tag(name, entry.target.version), entry, "")
    return Told(Tag(name, entry.version), entry, "")


def _message(store: Store, name: str, event: Event) -> str:
    id = event.new or event.old
    if id is None:
        return ""
    try:
        return store.manifest(Ref(Tag(name, event.version), id, event.created)).message
    except UNREADABLE:
        return ""
