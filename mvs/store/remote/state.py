"""What the entries of a remote's log come to."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import msgpack

from mvs.errors import Corrupt, CorruptRemote
from mvs.format.ids import ObjectId
from mvs.format.manifest import Manifest
from mvs.format.remote import NO_ENTRY, Entry, PackPlace, id_of

# The form of a state that is kept in the cache.
_VERSION = 1


@dataclass(frozen=True, slots=True)
class Known:
    """A version of a remote: id and time of its manifest, the packs with what it needs, the entry it came in."""

    id: ObjectId
    created: int
    packs: tuple[ObjectId, ...]
    number: int


@dataclass(slots=True)
class State:
    """A remote after entry `number`, whose id is `last`. Versions are by tag, aliases by `name@alias`."""

    number: int = 0
    last: ObjectId = NO_ENTRY
    fence: int = 0
    packs: dict[ObjectId, PackPlace] = field(default_factory=dict)
    versions: dict[str, Known] = field(default_factory=dict)
    aliases: dict[str, ObjectId] = field(default_factory=dict)
    notes: dict[str, dict[str, str]] = field(default_factory=dict)

    def apply(self, data: bytes) -> None:
        """Go on to the next entry, whose bytes are `data`.

        Raises:
            CorruptRemote: it does not follow.
            UnsupportedFormat: a later release wrote it.
        """
        entry = Entry.decode(data)
        if entry.number != self.number + 1 or entry.previous != self.last:
            raise CorruptRemote(f"entry {self.number + 1} of the remote's log does not follow from the one before")
        fence = max(self.fence, entry.fence)
        packs = {name: place for name, place in self.packs.items() if name not in set(entry.condemned)}
        for place in entry.packs:
            if place.generation < fence:
                raise CorruptRemote(f"entry {entry.number} of the remote's log counts on a pack that was given up")
            packs[place.name] = place
        versions = dict(self.versions)
        for tag, id in entry.deleted:
            if tag not in versions or versions[tag].id != id:
                raise CorruptRemote(f"entry {entry.number} of the remote's log deletes '{tag}', which is not there")
            del versions[tag]
        for sent in entry.versions:
            tag, known = _known(sent.manifest, sent.packs, entry.number)
            if tag in versions or any(name not in packs for name in sent.packs):
                raise CorruptRemote(f"entry {entry.number} of the remote's log brings '{tag}' against the rules")
            versions[tag] = known
        aliases = dict(self.aliases)
        for move in entry.aliases:
            if aliases.get(move.alias) != move.old:
                raise CorruptRemote(f"entry {entry.number} of the remote's log moves '{move.alias}' from elsewhere")
            if move.new is None:
                aliases.pop(move.alias, None)
            else:
                aliases[move.alias] = move.new
        for note in entry.notes:
            labels = dict(self.notes.get(note.tag, {}))
            if note.value is None:
                labels.pop(note.key, None)
            else:
                labels[note.key] = note.value
            self.notes[note.tag] = labels
        self.fence, self.packs, self.versions, self.aliases = fence, packs, versions, aliases
        self.number, self.last = entry.number, id_of(data)

    def encode(self) -> bytes:
        """Return the state as bytes, for the cache."""
        packed: bytes = msgpack.packb(
            [
                _VERSION,
                self.number,
                self.last.raw,
                self.fence,
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
            form, number, last, fence, packs, versions, aliases, notes = msgpack.unpackb(data)
            if form != _VERSION:
                return None
            return cls(
                number,
                ObjectId(last),
                fence,
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
