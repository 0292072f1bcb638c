"""What is about to happen to the names of a store, as the entry of a log that makes it happen elsewhere."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from mvs.errors import AliasMoved, VersionNotFound
from mvs.format.ids import ObjectId
from mvs.format.lines.journal import Entry as Line
from mvs.format.lines.journal import Event, Moved, Noted
from mvs.format.lines.refs import Ref
from mvs.format.names import Tag
from mvs.format.remote import Entry, Move, Note
from mvs.ops.transfer.push import Sender, parted
from mvs.store.remote.remote import Remote
from mvs.store.remote.state import State
from mvs.store.store import Store


@dataclass(slots=True)
class Step:
    """What lines of a journal come to at a remote."""

    at: int
    by: str
    saved: list[Ref] = field(default_factory=list)
    deleted: list[tuple[str, ObjectId]] = field(default_factory=list)
    moves: list[Move] = field(default_factory=list)
    notes: list[tuple[ObjectId, Note]] = field(default_factory=list)

    @classmethod
    def of(cls, store: Store, name: str, lines: Sequence[Line]) -> "Step":
        """Return what lines come to that are to be appended to the journal of a name."""
        step = cls(lines[0].at, lines[0].by)
        for line in lines:
            if isinstance(line, Event):
                tag = Tag(name, line.version)
                if line.new is None:
                    step.deleted += [(str(tag), line.old)] if line.old else []
                    continue
                ref = Ref(tag, line.new, line.created)
                step.saved.append(ref)
                # Of one that comes back, which has them still.
                step.notes += [(ref.id, Note(str(tag), key, value)) for key, value in store.notes.of(ref).items()]
            elif isinstance(line, Moved):
                ref_before = store.refs.alias(name, line.alias) if line.old else None
                before = ref_before.id if ref_before else None
                step.moves.append(Move(f"{name}@{line.alias}", before, line.new.id if line.new else None))
            elif isinstance(line, Noted):
                tag = Tag(name, line.version)
                step.notes += [(line.id, Note(str(tag), key, new)) for key, (_, new) in line.labels.items()]
        return step

    @property
    def is_empty(self) -> bool:
        """Whether nothing of it concerns a remote."""
        return not (self.saved or self.deleted or self.moves or self.notes)

    def entries(self, remote: Remote, state: State, sender: Sender) -> list[Entry]:
        """Return the entry that does it, for a remote in a state; none where it is so already.

        Raises:
            TagExists, AliasMoved, VersionNotFound: it can no longer be done.
        """
        _, new = parted(remote, state, self.saved)
        coming = {str(ref.tag): ref.id for ref in new}
        there = {tag: known.id for tag, known in state.versions.items()} | coming
        ids = {(tag.partition(":")[0], id) for tag, id in there.items()} if self.moves else set()
        for move in self.moves:
            if state.aliases.get(move.alias) != move.old:
                raise AliasMoved(f"somebody else has just moved the alias '{move.alias}'", hint="mvs alias list")
            if move.new and (move.alias.partition("@")[0], move.new) not in ids:
                raise VersionNotFound(f"what '{move.alias}' was to point at has just been deleted", hint="mvs list")
        for id, note in self.notes:
            if there.get(note.tag) != id:
                raise VersionNotFound(f"'{note.tag}' has just been deleted", hint="mvs list")
        deleted = tuple((tag, id) for tag, id in self.deleted if there.get(tag) == id)
        moves = tuple(move for move in self.moves if move.old != move.new)
        notes = tuple(
            note for _, note in self.notes if state.notes.get(note.tag, {}).get(note.key) != (note.value or None)
        )
        versions, places, _ = sender.send(state, new) if new else ([], [], 0)
        if not (versions or deleted or moves or notes):
            return []
        entry = state.next_entry(
            self.at,
            self.by,
            packs=tuple(places),
            versions=tuple(versions),
            deleted=deleted,
            aliases=moves,
            notes=notes,
        )
        return [entry]
