"""Pins: the text of `mvs.lock`, made to be read, compared and merged by git."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from mvs.errors import CorruptPins, InvalidPath, InvalidTag, UnsupportedFormat
from mvs.format.ids import MAX_TIME, ObjectId
from mvs.format.names import LATEST, Tag, parse_name, parse_version
from mvs.format.paths import check_path, check_paths

PINS = "mvs.lock"
PINS_LINE = "mvs-lock 1"
_FAMILY = re.compile(r"mvs-lock [0-9]+\Z")
_KNOWN = ("path", "version", "id", "saved", "follows")
# Files that git or mvs obey: a pin that was not made here must not bring them.
_OBEYED = {".git", ".gitignore", ".gitattributes", ".gitmodules", PINS}
_TIME = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)\.(\d{9})Z\Z", re.ASCII)
_NS = 1_000_000_000
_MARKS = ("<" * 7, "|" * 7, "=" * 7, ">" * 7)


@dataclass(frozen=True, slots=True)
class Pin:
    """One version that a repository needs, and the folder it is checked out to, relative to that of `mvs.lock`.

    `created` is the manifest's, in nanoseconds. `follows` is what an update goes by: an alias, or `latest`.
    `unknown` are lines of a later release, kept as they are.
    """

    tag: Tag
    id: ObjectId
    created: int
    path: str
    follows: str = LATEST
    unknown: tuple[str, ...] = ()

    @property
    def key(self) -> tuple[str, str]:
        """What makes it this pin, whatever version it is of; they are sorted by it."""
        return self.tag.name, self.path


def encode(pins: Iterable[Pin]) -> bytes:
    """Return the bytes of `mvs.lock`.

    Raises:
        InvalidPath: two pins cannot be checked out beside each other.
    """
    ordered = sorted(pins, key=lambda pin: pin.key)
    check_places(ordered)
    return "\n".join([f"{PINS_LINE}\n", *map(_entry, ordered)]).encode()


def decode(data: bytes) -> tuple[Pin, ...]:
    """Return the pins in the bytes of `mvs.lock`.

    Raises:
        CorruptPins: it is not of this form, or git left a conflict in it.
        UnsupportedFormat: a later release wrote it.
    """
    if is_conflict(data):
        raise CorruptPins(f"git left a merge conflict in '{PINS}'", hint="mvs pin --resolve")
    try:
        lines = [line.removesuffix("\r") for line in data.decode("utf-8").split("\n")]
    except UnicodeDecodeError:
        raise CorruptPins(f"'{PINS}' is no text") from None
    if lines[0] != PINS_LINE:
        if _FAMILY.match(lines[0]):
            raise UnsupportedFormat(f"'{PINS}' has the format '{lines[0]}'; this release knows '{PINS_LINE}'")
        raise CorruptPins(f"'{PINS}' does not begin with '{PINS_LINE}'")
    entries: list[tuple[int, str, list[str]]] = []
    for number, line in enumerate(lines[1:], 2):
        if line.startswith("pin "):
            entries.append((number, line[4:], []))
        elif line.startswith("  ") and entries:
            entries[-1][2].append(line[2:])
        elif line.strip():
            raise CorruptPins(f"line {number} of '{PINS}' makes no sense: {line[:80]!r}")
    pins = []
    for number, name, fields in entries:
        try:
            pins.append(_pin(name, fields))
        except (ValueError, InvalidPath) as error:
            raise CorruptPins(f"the pin in line {number} of '{PINS}' makes no sense: {error}") from None
    try:
        check_places(pins)
    except InvalidPath as error:
        raise CorruptPins(f"the pins in '{PINS}' are in each other's way: {error.message}") from None
    return tuple(sorted(pins, key=lambda pin: pin.key))


def is_conflict(data: bytes) -> bool:
    """Tell whether git left marks of a conflict."""
    return any(_mark(line) == _MARKS[0] for line in data.decode("utf-8", "replace").split("\n"))


def sides(data: bytes) -> tuple[bytes, bytes]:
    """Return what both sides of a merge have, of a text in which git marked where they differ.

    Raises:
        CorruptPins: the marks are not in order.
    """
    ours: list[str] = []
    theirs: list[str] = []
    within = ""
    follows = {_MARKS[0]: ("",), _MARKS[1]: _MARKS[:1], _MARKS[2]: _MARKS[:2], _MARKS[3]: _MARKS[2:3]}
    for line in data.decode("utf-8", "surrogateescape").split("\n"):
        mark = _mark(line)
        if mark:
            if within not in follows[mark]:
                raise CorruptPins(
                    f"the marks of the merge in '{PINS}' are not in order", hint="git checkout -m mvs.lock"
                )
            within = "" if mark == _MARKS[3] else mark
            continue
        if within in ("", _MARKS[0]):
            ours.append(line)
        if within in ("", _MARKS[2]):
            theirs.append(line)
    if within:
        raise CorruptPins(f"the marks of the merge in '{PINS}' have no end", hint="git checkout -m mvs.lock")
    return _joined(ours), _joined(theirs)


def check_pin_path(path: str) -> None:
    """Check that a pin may be checked out to this path.

    Raises:
        InvalidPath: it is not relative, clean and printable, or belongs to git or mvs.
    """
    check_path(path)
    if not path.isprintable() or path != path.strip():
        raise InvalidPath(f"path {path!r} holds what no line of '{PINS}' can")
    for part in path.split("/"):
        if part.casefold() in _OBEYED:
            raise InvalidPath(f"path '{path}' belongs to git or mvs")


def check_places(pins: Iterable[Pin]) -> None:
    """Check that pins can be checked out beside each other.

    Raises:
        InvalidPath: two would be in one folder, or one in that of another.
    """
    check_paths([pin.path for pin in pins])


def _entry(pin: Pin) -> str:
    lines = [
        f"pin {pin.tag.name}",
        f"  version {pin.tag.version}",
        f"  id {pin.id}",
        f"  saved {_time(pin.created)}",
        *([f"  follows {pin.follows}"] if pin.follows != LATEST else []),
        *(f"  {line}" for line in pin.unknown),
        # Last, and never changed: so neighbours may change, come and go in a merge.
        f"  path {pin.path}",
    ]
    return "\n".join(lines) + "\n"


def _pin(name: str, lines: list[str]) -> Pin:
    fields: dict[str, str] = {}
    unknown = []
    for line in lines:
        key, _, value = line.partition(" ")
        if key not in _KNOWN:
            unknown.append(line)
        elif key in fields:
            raise ValueError(f"it has two lines '{key}'")
        else:
            fields[key] = value
    try:
        path, version, id, saved = (fields[key] for key in _KNOWN[:4])
    except KeyError as error:
        raise ValueError(f"it has no line {error}") from None
    check_pin_path(path)
    follows = fields.get("follows", LATEST)
    tag = Tag(parse_name(name), parse_version(version))
    if (tag.name, tag.version) != (name, version) or (follows != LATEST and parse_version(follows) != follows):
        raise InvalidTag("its name, version or alias is not in lower case")
    return Pin(tag, ObjectId.from_hex(id), _parsed(saved), path, follows, tuple(unknown))


def _time(at: int) -> str:
    seconds, rest = divmod(at, _NS)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest:09}Z"


def _parsed(text: str) -> int:
    match = _TIME.match(text)
    if match is None:
        raise ValueError(f"'{text[:80]}' is no time")
    at = int(datetime.fromisoformat(f"{match[1]}+00:00").timestamp()) * _NS + int(match[2])
    if not 0 <= at <= MAX_TIME:
        raise ValueError(f"'{text}' is out of range")
    return at


def _mark(line: str) -> str:
    mark = line.removesuffix("\r").partition(" ")[0]
    return mark if mark in _MARKS else ""


def _joined(lines: list[str]) -> bytes:
    return "\n".join(lines).encode("utf-8", "surrogateescape")
