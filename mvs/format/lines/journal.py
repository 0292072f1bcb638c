"""Journal lines: what happened to a ref, each line with its own checksum."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from blake3 import blake3

from mvs.errors import InvalidTag
from mvs.format.ids import MAX_TIME, ObjectId
from mvs.format.names import parse_name, parse_version

MAGIC = b"mvs-journal 1\n"
_CHECK = 16

EventName = Literal["save", "delete", "restore"]


@dataclass(frozen=True, slots=True)
class Event:
    """One change of the ref of one version. Times are in nanoseconds since the epoch, UTC."""

    event: EventName
    version: str
    old: ObjectId | None
    new: ObjectId | None
    tree: ObjectId | None
    created: int
    at: int
    by: str
    reuse: bool = False

    def encode(self) -> bytes:
        """Return the line of this event."""
        fields: dict[str, Any] = {
            "at": self.at,
            "by": self.by,
            "created": self.created,
            "event": self.event,
            "new": str(self.new) if self.new else None,
            "old": str(self.old) if self.old else None,
            "tree": str(self.tree) if self.tree else None,
            "version": self.version,
        }
        if self.reuse:
            fields["reuse"] = True
        return _line(fields)

    @classmethod
    def decode(cls, line: bytes) -> "Event | None":
        """Return what `decode` does, None as well where that is no event of a version."""
        found = decode(line)
        return found if isinstance(found, cls) else None

    @classmethod
    def of(cls, fields: Any) -> "Event":
        """Return the event that has these fields."""
        return cls(
            event=fields["event"],
            version=str(fields["version"]),
            old=_id(fields["old"]),
            new=_id(fields["new"]),
            tree=_id(fields["tree"]),
            created=_time(fields["created"]),
            at=_time(fields["at"]),
            by=str(fields["by"]),
            reuse=bool(fields.get("reuse", False)),
        )


class Target(NamedTuple):
    """What an alias points at: a version of its name, and the id of its manifest."""

    version: str
    id: ObjectId


class Moved(NamedTuple):
    """One move of an alias; None stands for no alias, not for both. `back`: the move before it was taken back."""

    alias: str
    old: Target | None
    new: Target | None
    at: int
    by: str
    back: bool = False

    def encode(self) -> bytes:
        """Return the line of this event."""
        fields: dict[str, Any] = {
            "alias": self.alias,
            "at": self.at,
            "by": self.by,
            "event": "alias",
            "from": self.old.version if self.old else None,
            "new": str(self.new.id) if self.new else None,
            "old": str(self.old.id) if self.old else None,
            "to": self.new.version if self.new else None,
        }
        if self.back:
            fields["back"] = True
        return _line(fields)

    @property
    def target(self) -> Target:
        """What it points at since, or pointed at."""
        target = self.new or self.old
        assert target is not None
        return target

    @classmethod
    def of(cls, fields: Any) -> "Moved":
        """Return the move that has these fields."""
        old, new = _target(fields["from"], fields["old"]), _target(fields["to"], fields["new"])
        if old is None and new is None:
            raise ValueError("a move from nothing to nothing")
        return cls(
            alias=parse_version(fields["alias"]),
            old=old,
            new=new,
            at=_time(fields["at"]),
            by=str(fields["by"]),
            back=bool(fields.get("back", False)),
        )


class Noted(NamedTuple):
    """One change of the notes of a version: for each label its value before and after, None for no such label."""

    version: str
    id: ObjectId
    labels: Mapping[str, tuple[str | None, str | None]]
    at: int
    by: str

    def encode(self) -> bytes:
        """Return the line of this event."""
        return _line(
            {
                "at": self.at,
                "by": self.by,
                "event": "label",
                "id": str(self.id),
                "labels": {key: list(change) for key, change in self.labels.items()},
                "version": self.version,
            }
        )

    @classmethod
    def of(cls, fields: Any) -> "Noted":
        """Return the change that has these fields."""
        labels: dict[str, tuple[str | None, str | None]] = {}
        for key, (before, after) in fields["labels"].items():
            if not all(value is None or type(value) is str for value in (before, after)):
                raise TypeError("a label is a string")
            labels[key] = before, after
        return cls(
            version=parse_version(fields["version"]),
            id=ObjectId.from_hex(fields["id"]),
            labels=labels,
            at=_time(fields["at"]),
            by=str(fields["by"]),
        )


class Agreed(NamedTuple):
    """What a store and a remote had in common: of aliases what they pointed at, of versions their id and notes."""

    remote: str
    aliases: Mapping[str, ObjectId | None]
    notes: Mapping[str, tuple[ObjectId, Mapping[str, str]]]
    at: int
    by: str

    def encode(self) -> bytes:
        """Return the line of this event."""
        return _line(
            {
                "aliases": {alias: str(id) if id else None for alias, id in self.aliases.items()},
                "at": self.at,
                "by": self.by,
                "event": "agreed",
                "notes": {version: [str(id), dict(labels)] for version, (id, labels) in self.notes.items()},
                "remote": self.remote,
            }
        )

    @classmethod
    def of(cls, fields: Any) -> "Agreed":
        """Return the event that has these fields."""
        notes: dict[str, tuple[ObjectId, dict[str, str]]] = {}
        for version, (id, labels) in fields["notes"].items():
            if not all(type(value) is str for value in labels.values()):
                raise TypeError("a label is a string")
            notes[parse_version(version)] = ObjectId.from_hex(id), labels
        return cls(
            remote=str(fields["remote"]),
            aliases={parse_version(alias): _id(id) for alias, id in fields["aliases"].items()},
            notes=notes,
            at=_time(fields["at"]),
            by=str(fields["by"]),
        )


# What happened, and what is told of it.
Change = Event | Moved | Noted
Entry = Change | Agreed
_KINDS: dict[str, type[Entry]] = {
    "save": Event,
    "delete": Event,
    "restore": Event,
    "alias": Moved,
    "label": Noted,
    "agreed": Agreed,
}


def decode(line: bytes) -> Entry | None:
    """Return what a line without its newline tells; None where the line is damaged or of a later release."""
    check, _, payload = line.partition(b" ")
    if len(check) != _CHECK or check != _checksum(payload):
        return None
    try:
        fields = json.loads(payload)
        return _KINDS[fields["event"]].of(fields)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def is_later(line: bytes) -> bool:
    """Tell whether a line is whole and tells of something that this release does not know."""
    check, _, payload = line.partition(b" ")
    return check == _checksum(payload) and decode(line) is None


def was_whole(line: bytes) -> bool:
    """Tell whether a line that holds no event this release knows was damaged later, and not cut off when written."""
    check, _, payload = line.partition(b" ")
    if check == _checksum(payload):
        return False
    return line.endswith(b"}") or decode(line[:-1] + b"}") is not None


def was_begun(data: bytes) -> bool:
    """Tell whether a journal that does not begin with `MAGIC` is one whose very first line was cut off."""
    line = data.partition(b"\n")[0]
    return not data or (bool(line) and (MAGIC.startswith(line) or not line.strip(b"\0")))


def needle(version: str) -> bytes:
    """Return bytes that every line about `version` holds."""
    return f'"version":"{version}"'.encode()


def encode_change(name: str, offset: int) -> bytes:
    """Return what is written to `changed` before the journal of a name grows beyond `offset` bytes."""
    # The newline in front parts it from one that was cut off.
    return f"\n{offset} {name}\n".encode()


def decode_changes(data: bytes) -> dict[str, int] | None:
    """Return how long the journals of the names in `changed` were before; None where that cannot be told."""
    found: dict[str, int] = {}
    for line in filter(None, data.split(b"\n")):
        offset, _, name = line.decode("utf-8", "replace").partition(" ")
        try:
            if not offset.isdecimal() or len(offset) > _CHECK or parse_name(name) != name:
                return None
        except InvalidTag:
            return None
        # Not the first: a journal that was removed begins anew.
        found[name] = min(int(offset), found.get(name, int(offset)))
    return found


def _id(text: str | None) -> ObjectId | None:
    return None if text is None else ObjectId.from_hex(text)


def _time(value: Any) -> int:
    if type(value) is not int or not 0 <= value <= MAX_TIME:
        raise ValueError("not a time")
    return value


def _target(version: Any, id: Any) -> Target | None:
    if version is None and id is None:
        return None
    return Target(parse_version(version), ObjectId.from_hex(id))


def _line(fields: dict[str, Any]) -> bytes:
    text = json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    payload = text.encode("utf-8", "replace")
    return _checksum(payload) + b" " + payload + b"\n"


def _checksum(payload: bytes) -> bytes:
    return blake3(payload).hexdigest()[:_CHECK].encode()
