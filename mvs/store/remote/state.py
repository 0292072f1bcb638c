"""What the entries of a remote's log come to."""

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import msgpack

from mvs.errors import Corrupt, CorruptRemote, InvalidMetadata, InvalidTag
from mvs.format.ids import ObjectId
from mvs.format.manifest import Manifest
from mvs.format.names import Alias
from mvs.format.remote import NO_ENTRY, Entry, Note, PackPlace, id_of
from mvs.format.values import labels_of

# The form of a state that is kept in the cache.
_VERSION = 2


@dataclass(frozen=True, slots=True)
class Known:
    """A version of a remote: id and time of its manifest, the packs with what it needs, the entry it came in."""

    id: ObjectId
    created: int
    packs: tuple[ObjectId, ...]
    number: int


@dataclass(slots=True)
class State:
    """A remote after entry `number`, whose id is `last`. Versions are by tag, aliases by `name@alias`.

    Packs are written in `generation`. Those of one before `fence` that are no part of the remote are given up,
    and so are those `condemned`, which are kept in mind until the fence is behind them.
    """

    number: int = 0
    last: ObjectId = NO_ENTRY
    generation: int = 0
    fence: int = 0
    condemned: set[tuple[ObjectId, int]] = field(default_factory=set)
    packs: dict[ObjectId, PackPlace] = field(default_factory=dict)
    versions: dict[str, Known] = field(default_factory=dict)
    aliases: dict[str, ObjectId] = field(default_factory=dict)
    notes: dict[str, dict[str, str]] = field(default_factory=dict)

    def next_entry(self, at: int, by: str, **fields: Any) -> Entry:
        """Return the entry that changes a remote in this state: `fields` are those of `Entry`."""
        return Entry(number=self.number + 1, previous=self.last, at=at, by=by, nonce=os.urandom(8), **fields)

    def counts(self, place: PackPlace) -> bool:
        """Tell whether a pack that was written there may become part of the remote."""
        return place.generation >= self.fence and (place.name, place.generation) not in self.condemned

    def apply(self, data: bytes) -> None:
        """Go on to the next entry, whose bytes are `data`.

        Raises:
            CorruptRemote: it does not follow.
            UnsupportedFormat: a later release wrote it.
        """
        entry = Entry.decode(data)
        if entry.number != self.number + 1 or entry.previous != self.last:
            raise CorruptRemote(f"entry {self.number + 1} of the remote's log does not follow from the one before")
        gone = set(entry.condemned)
        packs = {name: place for name, place in self.packs.items() if name not in gone}
        for place in entry.packs:
            if not self.counts(place) or place.generation < entry.fence:
                raise CorruptRemote(f"entry {entry.number} of the remote's log counts on a pack that was given up")
            packs[place.name] = place
        versions, notes = dict(self.versions), dict(self.notes)
        for tag, id in entry.deleted:
            if tag not in versions or versions[tag].id != id:
                raise CorruptRemote(f"entry {entry.number} of the remote's log deletes '{tag}', which is not there")
            del versions[tag]
            notes.pop(tag, None)
        for sent in entry.versions:
            tag, known = _known(sent.manifest, sent.packs, entry.number)
            if tag in versions or any(name not in packs for name in sent.packs):
                raise CorruptRemote(f"entry {entry.number} of the remote's log brings '{tag}' against the rules")
            versions[tag] = known
        if any(name not in packs for known in versions.values() for name in known.packs):
            raise CorruptRemote(f"entry {entry.number} of the remote's log gives up a pack that a version needs")
        aliases = dict(self.aliases)
        there = {(tag.partition(":")[0], known.id) for tag, known in versions.items()} if entry.aliases else set()
        for move in entry.aliases:
            if aliases.get(move.alias) != move.old:
                raise CorruptRemote(f"entry {entry.number} of the remote's log moves '{move.alias}' from elsewhere")
            if not _is_alias(move.alias) or (move.new and (move.alias.partition("@")[0], move.new) not in there):
                raise CorruptRemote(f"entry {entry.number} of the remote's log moves '{move.alias}' to nowhere")
            if move.new is None:
                aliases.pop(move.alias, None)
            else:
                aliases[move.alias] = move.new
        for note in entry.notes:
            if note.tag not in versions or not _is_label(note):
                raise CorruptRemote(f"entry {entry.number} of the remote's log has a label that no version can have")
            labels = dict(notes.get(note.tag, {}))
            if note.value is None:
                labels.pop(note.key, None)
            else:
                labels[note.key] = note.value
            notes[note.tag] = labels
        self.condemned |= {(name, self.packs[name].generation) for name in gone & self.packs.keys()}
        self.fence = max(self.fence, entry.fence)
        self.condemned = {place for place in self.condemned if place[1] >= self.fence}
        self.generation = entry.number if entry.collects else self.generation
        self.packs, self.versions, self.aliases, self.notes = packs, versions, aliases, notes
        self.number, self.last = entry.number, id_of(data)

    def encode(self) -> bytes:
        """Return the state as bytes, for the cache."""
        packed: bytes = msgpack.packb(
            [
                _VERSION,
                self.number,
                self.last.raw,
                self.generation,
                self.fence,
                [[name.raw, generation] for name, generation in self.condemned],
                [[place.name.raw, place.generation, place.size] for place in self.packs.values()],
                [
                    [tag, known.id.raw, known.created, [name.raw for name in known.packs], known.number]
                    for tag, known in self.versions.items()
                ],
                {alias: id.raw for alias, id in self.aliases.items()},
                self.notes,
            ]
        )
        return packed

    @classmethod
    def decode(cls, data: bytes) -> "State | None":
        """Return the state whose bytes are `data`; None where they are of another form: it can be made again."""
        try:
            form, number, last, generation, fence, condemned, packs, versions, aliases, notes = msgpack.unpackb(data)
            if form != _VERSION:
                return None
            return cls(
                number,
                ObjectId(last),
                generation,
                fence,
                {(ObjectId(name), at) for name, at in condemned},
                {ObjectId(name): PackPlace(ObjectId(name), generation, size) for name, generation, size in packs},
                {
                    tag: Known(ObjectId(id), created, tuple(map(ObjectId, names)), at)
                    for tag, id, created, names, at in versions
                },
                {alias: ObjectId(id) for alias, id in aliases.items()},
                notes,
            )
        except (ValueError, TypeError, AttributeError, msgpack.UnpackException):
            return None


def _known(data: bytes, packs: Iterable[ObjectId], number: int) -> tuple[str, Known]:
    try:
        manifest: Any = Manifest.decode(data)
    except Corrupt as error:
        raise CorruptRemote(f"entry {number} of the remote's log has a damaged manifest: {error.message}") from error
    return str(manifest.tag), Known(ObjectId.of(data), manifest.created, tuple(packs), number)


def _is_alias(text: str) -> bool:
    try:
        return str(Alias.parse(text)) == text
    except InvalidTag:
        return False


def _is_label(note: Note) -> bool:
    if note.value == "":
        return False
    try:
        labels_of({note.key: note.value or ""})
    except InvalidMetadata:
        return False
    return True
