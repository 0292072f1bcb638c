"""Entries of a remote's log as changes of the names of a store.

An entry of which a part was done before, by a replay that was cut off, is done to its end: nothing happens twice.
"""

from collections import defaultdict

from mvs.errors import UNREADABLE
from mvs.format.ids import ObjectId
from mvs.format.lines.journal import Event, Moved, Noted, Target
from mvs.format.lines.notes import Notes
from mvs.format.lines.refs import Ref
from mvs.format.manifest import Manifest
from mvs.format.names import Alias, Tag
from mvs.format.remote import Entry, Move
from mvs.store.store import Store


def replay(store: Store, entry: Entry) -> None:
    """Let what an entry tells happen to the names of a store that agrees with all earlier ones; under its lock.

    Of the versions that come only manifests do. Lines have the time and the author of the entry.
    """
    for text, id in entry.deleted:
        _delete(store, Tag.parse(text), id, entry)
    for sent in entry.versions:
        _save(store, sent.manifest, entry)
    for move in entry.aliases:
        _move(store, move, entry)
    changed: dict[str, dict[str, str | None]] = defaultdict(dict)
    for note in entry.notes:
        changed[note.tag][note.key] = note.value
    for text, labels in changed.items():
        _label(store, Tag.parse(text), labels, entry)


def _delete(store: Store, tag: Tag, id: ObjectId, entry: Entry) -> None:
    ref = store.refs.read(tag)
    if ref is None or ref.id != id:
        return
    last = next(store.journal.backwards(tag.name, tag.version), None)
    if last is None or last.event != "delete":
        at = store.next_time(tag.name, entry.at)
        event = Event("delete", tag.version, id, None, _tree_of(store, ref), ref.created, at, entry.by)
        store.journal.append(tag.name, [event])
    store.refs.remove([ref])


def _tree_of(store: Store, ref: Ref) -> ObjectId | None:
    try:
        return store.manifest(ref).tree_id
    except UNREADABLE:
        return None


def _save(store: Store, data: bytes, entry: Entry) -> None:
    manifest = Manifest.decode(data)
    tag = manifest.tag
    ref = Ref(tag, ObjectId.of(data), manifest.created)
    if store.refs.read(tag) == ref:
        # Whoever was cut off behind it may have taken it for the latest.
        store.refs.settle(tag.name)
        return
    with store.adding() as adding:
        adding.put(data)
        adding.sync()
        last = next(store.journal.backwards(tag.name, tag.version), None)
        if last is None or last.new != ref.id:
            back = last is not None and last.old == ref.id
            at = store.next_time(tag.name, entry.at)
            event = Event(
                "restore" if back else "save",
                tag.version,
                None,
                ref.id,
                manifest.tree_id,
                ref.created,
                at,
                entry.by,
                # Whoever saved it was allowed to.
                reuse=last is not None and not back,
            )
            store.journal.append(tag.name, [event])
        pending = store.refs.prepare(ref, newest=store.refs.would_be_latest(ref))
    pending.commit()


def _move(store: Store, move: Move, entry: Entry) -> None:
    alias = Alias.parse(move.alias)
    there = store.refs.alias(alias.name, alias.alias)
    if (there.id if there else None) == move.new:
        return
    ref = next((ref for ref in store.refs.of_name(alias.name) if ref.id == move.new), None)
    old, new = _target(there), _target(ref)
    moves = [line for line in store.journal.entries(alias.name) if isinstance(line, Moved)]
    last = next((line for line in reversed(moves) if line.alias == alias.alias), None)
    if last is None or (last.old, last.new) != (old, new):
        at = store.next_time(alias.name, entry.at)
        store.journal.append(alias.name, [Moved(alias.alias, old, new, at, entry.by)])
    if ref:
        store.refs.point(alias, ref)
    elif there:
        store.refs.unpoint(alias)


def _target(ref: Ref | None) -> Target | None:
    return Target(ref.tag.version, ref.id) if ref else None


def _label(store: Store, tag: Tag, labels: dict[str, str | None], entry: Entry) -> None:
    ref = store.refs.read(tag)
    if ref is None:
        return
    before = store.notes.of(ref)
    changed = {key: (before.get(key), value) for key, value in labels.items() if before.get(key) != value}
    if not changed:
        return
    noted = [line for line in store.journal.entries(tag.name) if isinstance(line, Noted)]
    last = next((line for line in reversed(noted) if line.version == tag.version and line.id == ref.id), None)
    if last is None or dict(last.labels) != changed:
        at = store.next_time(tag.name, entry.at)
        store.journal.append(tag.name, [Noted(tag.version, ref.id, changed, at, entry.by)])
    after = {**before, **{key: new for key, (_, new) in changed.items() if new is not None}}
    for key in [key for key, (_, new) in changed.items() if new is None]:
        del after[key]
    store.notes.write(Notes(tag, ref.id, after))
