"""What says that a manifest is needed: refs, the line that says which one a tag is, and the pins of repositories."""

import re
from typing import Any, NamedTuple

from blake3 import blake3

from mvs.errors import Corrupt, CorruptRef, InvalidTag, UnsupportedFormat
from mvs.format import canonical
from mvs.format.ids import MAX_TIME, ObjectId
from mvs.format.names import Tag, parse_name, parse_version

MAGIC = "mvs-ref 1"
# The longest tag, id and number that fit a line, and some room: anything longer is no ref.
MAX_BYTES = 1024

# The tag and the manifest id in a line.
TAG = r"([a-z0-9._/-]+):([a-z0-9._-]+) ([0-9a-f]{64})"
_LINE = re.compile(rf"{MAGIC} {TAG} (0|[1-9][0-9]{{0,19}})\n\Z")

REGISTRATION = b"mvs-repository 1\n"
_FAMILY = b"mvs-repository "
_KEYS = {"host", "missing", "path", "pins"}


class Ref(NamedTuple):
    """One version as its ref tells it: tag, manifest id, and `created` in nanoseconds."""

    tag: Tag
    id: ObjectId
    created: int

    def encode(self) -> bytes:
        """Return the bytes of the ref file."""
        return f"{MAGIC} {self.tag} {self.id} {self.created}\n".encode()

    @classmethod
    def decode(cls, data: bytes) -> "Ref":
        """Return the ref whose bytes are `data`.

        Raises:
            CorruptRef: it is not a ref.
            UnsupportedFormat: it was written by a later release.
        """
        match = matched(_LINE, data, MAGIC, "a ref")
        if (created := int(match[4])) > MAX_TIME:
            raise CorruptRef("not a ref: its time is out of range")
        return cls(tag_of(match, "a ref"), ObjectId(bytes.fromhex(match[3])), created)


class Pin(NamedTuple):
    """A version that a repository needs, whatever becomes of its tag."""

    tag: Tag
    id: ObjectId


class Registration(NamedTuple):
    """One repository: the machine it is on, the path of its control folder, what it pins, and since when it is gone.

    `missing` is when it was first found to be gone, in nanoseconds, 0 while it is there. `id` is its number, empty
    for the repository whose own store it is.
    """

    host: str
    path: bytes
    pins: tuple[Pin, ...] = ()
    missing: int = 0
    id: bytes = b""

    @property
    def key(self) -> str:
        """The name of its file."""
        return blake3(b"\0".join([self.host.encode(), self.path, *([self.id] if self.id else [])])).hexdigest()

    def encode(self) -> bytes:
        """Return the bytes of its file."""
        return REGISTRATION + canonical.encode(
            {
                "host": self.host,
                "id": self.id,
                "missing": self.missing,
                "path": self.path,
                "pins": [[pin.tag.name, pin.tag.version, pin.id.raw] for pin in sorted(self.pins)],
            }
        )

    @classmethod
    def decode(cls, data: bytes) -> "Registration":
        """Return the registration whose bytes are `data`.

        Raises:
            Corrupt: it is none.
            UnsupportedFormat: it was written by a later release.
        """
        if not data.startswith(REGISTRATION):
            if data.startswith(_FAMILY):
                raise UnsupportedFormat("it was written by a later release")
            raise Corrupt("it is no registration")
        try:
            fields = canonical.decode(data[len(REGISTRATION) :])
            if type(fields) is not dict or not fields.keys() >= _KEYS:
                raise ValueError("not the map it must be")
            host, missing, path, id = fields["host"], fields["missing"], fields["path"], fields.get("id", b"")
            if type(host) is not str or type(path) is not bytes or type(id) is not bytes or not _is_time(missing):
                raise ValueError("a host, path, number or time of another type")
            return cls(host, path, tuple(_pin(item) for item in fields["pins"]), missing, id)
        except (ValueError, TypeError, InvalidTag) as error:
            raise Corrupt(f"it is no registration: {error}") from error


def _pin(item: Any) -> Pin:
    name, version, raw = item
    if type(raw) is not bytes or len(raw) != 32:
        raise ValueError("a pin of no known form")
    return Pin(Tag(parse_name(name), parse_version(version)), ObjectId(raw))


def _is_time(value: Any) -> bool:
    return type(value) is int and 0 <= value <= MAX_TIME


def matched(line: re.Pattern[str], data: bytes, magic: str, what: str) -> re.Match[str]:
    """Return the match of a line of this family.

    Raises:
        CorruptRef: it is none; `what` says of what.
        UnsupportedFormat: a later release wrote it.
    """
    text = data.decode("utf-8", "replace")
    if match := line.match(text):
        return match
    later = re.match(rf"({magic.partition(' ')[0]} [0-9]+) ", text)
    if later and later[1] != magic:
        raise UnsupportedFormat(f"this release does not know the format '{later[1]}'")
    raise CorruptRef(f"not {what}")


def tag_of(match: re.Match[str], what: str) -> Tag:
    """Return the tag in a line.

    Raises:
        CorruptRef: it is not of the allowed form.
    """
    try:
        return Tag(parse_name(match[1]), parse_version(match[2]))
    except InvalidTag as error:
        raise CorruptRef(f"not {what}: {error}") from error
