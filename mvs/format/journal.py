"""Journal lines: what happened to a ref, each line with its own checksum."""

import json
from dataclasses import dataclass
from typing import Any, Literal

from blake3 import blake3

from mvs.errors import InvalidTag
from mvs.format.ids import MAX_TIME, ObjectId
from mvs.format.names import parse_name

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
        text = json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        payload = text.encode("utf-8", "replace")
        return _checksum(payload) + b" " + payload + b"\n"

    @classmethod
    def decode(cls, line: bytes) -> "Event | None":
        """Return the event of a line without its newline; None where the line is damaged or of a later release."""
        check, _, payload = line.partition(b" ")
        if len(check) != _CHECK or check != _checksum(payload):
            return None
        try:
            fields = json.loads(payload)
            if fields["event"] not in ("save", "delete", "restore"):
                return None
            times = fields["created"], fields["at"]
            if any(type(time) is not int or not 0 <= time <= MAX_TIME for time in times):
                return None
            return cls(
                event=fields["event"],
                version=str(fields["version"]),
                old=_id(fields["old"]),
                new=_id(fields["new"]),
                tree=_id(fields["tree"]),
                created=fields["created"],
                at=fields["at"],
                by=str(fields["by"]),
                reuse=bool(fields.get("reuse", False)),
            )
        except (ValueError, KeyError, TypeError, RecursionError):
            return None


def was_whole(line: bytes) -> bool:
    """Tell whether a line that holds no event this release knows was damaged later, and not cut off when written."""
    check, _, payload = line.partition(b" ")
    if check == _checksum(payload):
        return False
    return line.endswith(b"}") or Event.decode(line[:-1] + b"}") is not None


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


def _checksum(payload: bytes) -> bytes:
    return blake3(payload).hexdigest()[:_CHECK].encode()
