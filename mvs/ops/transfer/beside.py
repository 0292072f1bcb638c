"""What travels beside versions: aliases and notes.

What both sides last had in common is in the journal. So it can be told which side changed since: the other one follows.
Where both did, nothing is guessed of an alias, and of a note nothing is lost: it stays as it is on each side, and the
user is told.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, TypeVar

from mvs.format.ids import ObjectId
from mvs.format.lines.journal import Agreed, Entry, Moved, Noted
from mvs.format.lines.notes import Notes
from mvs.format.lines.refs import Ref
from mvs.format.names import Alias, Tag
from mvs.format.remote import Move, Note
from mvs.ops.refs.history import target_of
from mvs.ops.refs.labels import check_size
from mvs.store.remote.remote import Remote
from mvs.store.remote.state import State
from mvs.store.store import Store

Value = TypeVar("Value")
Labels = Mapping[str, str]
Protects = Callable[[Alias], bool]


class Differs(NamedTuple):
    """An alias, or a label of a version, that stays one thing here and another one there; None stands for neither.

    Attributes:
        alias: `name@alias`, None for a label.
        tag: the version whose label it is, None for an alias.
        key: the label, None for an alias.
        here: what it is here: a tag for an alias, a value for a label.
        there: what it is at the remote.
        held: whether only the protection of the alias stands in the way.
    """

    alias: str | None
    tag: str | None
    key: str | None
    here: str | None
    there: str | None
    held: bool = False


@dataclass(frozen=True, slots=True)
class Beside:
    """Aliases that moved and versions whose notes changed, on the receiving side, and what still differs."""

    aliases: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    differs: tuple[Differs, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the facts as JSON holds them, the form `--json` prints."""
        return {
            "aliases": list(self.aliases),
            "notes": list(self.notes),
            "differs": [each._asdict() for each in self.differs],
        }


@dataclass(slots=True)
class Changes:
    """What one side gets from the other, and what both have in common then."""

    aliases: dict[Alias, tuple[ObjectId | None, ObjectId | None]] = field(default_factory=dict)
    """What each is and becomes."""
    notes: dict[Tag, dict[str, tuple[str | None, str | None]]] = field(default_factory=dict)
    differs: list[Differs] = field(default_factory=list)
    agreed_aliases: dict[str, dict[str, ObjectId | None]] = field(default_factory=lambda: defaultdict(dict))
    agreed_notes: dict[str, dict[str, tuple[ObjectId, Labels]]] = field(default_factory=lambda: defaultdict(dict))

    def __bool__(self) -> bool:
        """Tell whether there is anything to be done, or to be noted."""
        return bool(self.aliases or self.notes or self.agreed_aliases or self.agreed_notes)

    def facts(self) -> Beside:
        """Return what is told of them."""
        return Beside(tuple(map(str, self.aliases)), tuple(map(str, self.notes)), tuple(self.differs))

    def moves(self) -> tuple[Move, ...]:
        """Return the moves of aliases as the log of a remote has them."""
        return tuple(Move(str(alias), old, new) for alias, (old, new) in self.aliases.items())

    def labels(self) -> tuple[Note, ...]:
        """Return the changes of notes as the log of a remote has them."""
        return tuple(
            Note(str(tag), key, new) for tag, changed in self.notes.items() for key, (_, new) in changed.items()
        )


def sending(store: Store, remote: Remote, state: State, refs: Iterable[Ref], *, force: bool) -> Changes:
    """Return what a remote gets beside some versions, which it has or gets too; with `force` also what changed there.

    Raises:
        CorruptRef: notes of one of them are damaged.
    """
    return _Sides(store, remote, state, refs, sends=True, force=force, protects=lambda _: False).compare()


def receiving(
    store: Store, remote: Remote, state: State, refs: Iterable[Ref], *, force: bool, protects: Protects
) -> Changes:
    """Return what this store gets beside some versions, which it has or gets too; with `force` also what changed here.

    Raises:
        CorruptRef: notes of one of them are damaged.
    """
    return _Sides(store, remote, state, refs, sends=False, force=force, protects=protects).compare()


def agree(store: Store, remote: Remote, changes: Changes, *, now: Callable[[], int], by: str) -> None:
    """Note what both sides have in common, once they have it. Cut off before, a later difference may seem one of both.

    That is told, and nothing follows from it.
    """
    for name in sorted(changes.agreed_aliases.keys() | changes.agreed_notes.keys()):
        with store.exclusive():
            _append(store, name, _agreed(store, remote, changes, name, now=now, by=by))


def receive(
    store: Store,
    remote: Remote,
    state: State,
    refs: Iterable[Ref],
    *,
    force: bool,
    protects: Protects,
    now: Callable[[], int],
    by: str,
) -> Beside:
    """Let aliases and notes be what they are at a remote, as far as `receiving` says so.

    For each name the journal is written first, then what changes, then what both sides have in common.

    Raises:
        InvalidMetadata: a version would have too many notes.
        CorruptRef: notes are damaged.
    """
    by_name: dict[str, list[Ref]] = defaultdict(list)
    for ref in refs:
        by_name[ref.tag.name].append(ref)
    done = Changes()
    for name, chosen in sorted(by_name.items()):
        found = receiving(store, remote, state, chosen, force=force, protects=protects)
        if found:
            with store.exclusive():
                # Looked at again: others may have been quicker.
                found = receiving(store, remote, state, chosen, force=force, protects=protects)
                _apply(store, found, {ref.id: ref for ref in chosen}, now=now, by=by)
                _append(store, name, _agreed(store, remote, found, name, now=now, by=by))
        done.aliases |= found.aliases
        done.notes |= found.notes
        done.differs += found.differs
    return done.facts()


def _apply(store: Store, found: Changes, refs: Mapping[ObjectId, Ref], *, now: Callable[[], int], by: str) -> None:
    for alias, (_, new) in found.aliases.items():
        ref = refs[new] if new else None
        old = target_of(store.refs.alias(alias.name, alias.alias))
        at = store.next_time(alias.name, now())
        _append(store, alias.name, Moved(alias.alias, old, target_of(ref), at, by))
        if ref:
            store.refs.point(alias, ref)
        else:
            store.refs.unpoint(alias)
    ids = {ref.tag: ref.id for ref in refs.values()}
    for tag, changed in found.notes.items():
        there = store.notes.read(tag)
        labels = dict(there.labels) if there and there.id == ids[tag] else {}
        labels |= {key: new for key, (_, new) in changed.items() if new is not None}
        for key in [key for key, (_, new) in changed.items() if new is None]:
            labels.pop(key, None)
        notes = Notes(tag, ids[tag], labels)
        check_size(notes)
        at = store.next_time(tag.name, now())
        _append(store, tag.name, Noted(tag.version, ids[tag], changed, at, by))
        store.notes.write(notes)


def _agreed(
    store: Store, remote: Remote, changes: Changes, name: str, *, now: Callable[[], int], by: str
) -> Agreed | None:
    aliases, notes = changes.agreed_aliases.get(name, {}), changes.agreed_notes.get(name, {})
    # A file that somebody carries here is not met again.
    if remote.is_bundle or not (aliases or notes):
        return None
    return Agreed(remote.key, aliases, notes, store.next_time(name, now()), by)


def _append(store: Store, name: str, entry: Entry | None) -> None:
    if entry is not None:
        store.journal.append(name, [entry])


class _Common:
    """What this store and a remote last had in common under one name. The journal is read when it is asked for."""

    def __init__(self, store: Store, remote: str, name: str) -> None:
        self._aliases: dict[str, ObjectId | None] = {}
        self._notes: dict[str, tuple[ObjectId, Labels]] = {}
        for entry in store.journal.entries(name):
            if isinstance(entry, Agreed) and entry.remote == remote:
                self._aliases |= entry.aliases
                self._notes |= entry.notes

    def alias(self, alias: Alias) -> ObjectId | None:
        return self._aliases.get(alias.alias)

    def labels(self, ref: Ref) -> Labels:
        id, labels = self._notes.get(ref.tag.version, (None, {}))
        return labels if id == ref.id else {}


class _Sides:
    """Both sides, looked at in one direction."""

    def __init__(
        self,
        store: Store,
        remote: Remote,
        state: State,
        refs: Iterable[Ref],
        *,
        sends: bool,
        force: bool,
        protects: Protects,
    ) -> None:
        self._store = store
        self._key = remote.key
        self._state = state
        self._sends = sends
        self._force = force
        self._protects = protects
        self._refs: dict[str, dict[ObjectId, Ref]] = defaultdict(dict)
        for ref in refs:
            self._refs[ref.tag.name][ref.id] = ref
        self._tags = {(tag.partition(":")[0], known.id): tag for tag, known in state.versions.items()}
        self._found = Changes()

    def compare(self) -> Changes:
        far: dict[str, dict[str, ObjectId]] = defaultdict(dict)
        for text, id in self._state.aliases.items():
            name, _, alias = text.partition("@")
            far[name][alias] = id
        for name, refs in sorted(self._refs.items()):
            near = dict(self._store.refs.aliases_of(name))
            noted = self._store.notes.noted(name)
            versions = [ref for ref in refs.values() if ref.tag.version in noted or self._state.notes.get(str(ref.tag))]
            if not (near or name in far or versions):
                continue
            common = _Common(self._store, self._key, name)
            for alias in sorted(near.keys() | far[name].keys()):
                self._alias(Alias(name, alias), near.get(alias), far[name].get(alias), common)
            for ref in sorted(versions):
                self._notes(ref, common)
        return self._found

    def _alias(self, alias: Alias, ref: Ref | None, there: ObjectId | None, common: _Common) -> None:
        if ref is None and self._store.refs.has_alias(alias):
            # It cannot be read, and nobody knows what it is.
            return
        here, before = ref.id if ref else None, common.alias(alias)
        source, target = (here, there) if self._sends else (there, here)
        if source is not None and source not in self._refs[alias.name]:
            return
        changed = _changed(source, target, before)
        if changed == "target":
            return
        if changed != "neither":
            held = not self._force and self._protects(alias)
            if held or (changed == "both" and not self._force):
                near, far = str(ref.tag) if ref else None, self._tag(alias.name, there)
                self._found.differs.append(Differs(str(alias), None, None, near, far, held and changed != "both"))
                return
            self._found.aliases[alias] = target, source
        if source != before:
            self._found.agreed_aliases[alias.name][alias.alias] = source

    def _tag(self, name: str, id: ObjectId | None) -> str | None:
        return self._tags.get((name, id), str(id)) if id else None

    def _notes(self, ref: Ref, common: _Common) -> None:
        there: Labels = self._state.notes.get(str(ref.tag), {})
        notes = self._store.notes.read(ref.tag)
        here: Labels = notes.labels if notes and notes.id == ref.id else {}
        before = common.labels(ref)
        agreed = dict(before)
        changes: dict[str, tuple[str | None, str | None]] = {}
        for key in sorted(here.keys() | there.keys() | before.keys()):
            ours, theirs = here.get(key), there.get(key)
            source, target = (ours, theirs) if self._sends else (theirs, ours)
            changed = _changed(source, target, before.get(key))
            if changed == "target":
                continue
            if changed == "source" or (changed == "both" and self._force):
                changes[key] = target, source
            elif changed == "both":
                self._found.differs.append(Differs(None, str(ref.tag), key, ours, theirs))
                if self._sends:
                    continue
            # Whoever received what it does not want has seen it all the same: its own goes with the next push.
            agreed.pop(key, None)
            if source is not None:
                agreed[key] = source
        if changes:
            self._found.notes[ref.tag] = changes
        if agreed != before:
            self._found.agreed_notes[ref.tag.name][ref.tag.version] = ref.id, agreed


def _changed(source: Value, target: Value, before: Value) -> Literal["neither", "source", "target", "both"]:
    """Return which of two sides is no longer what both were before."""
    if source == target:
        return "neither"
    if target == before:
        return "source"
    return "target" if source == before else "both"
