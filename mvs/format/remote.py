"""Remotes: their keys, and the entries of their log."""

import contextlib
import struct
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from blake3 import blake3

from mvs.errors import CorruptRemote, UnsupportedFormat
from mvs.format.canonical import decode, encode
from mvs.format.ids import ObjectId

REMOTE_LINE = "mvs-remote 1"
SINGLE_WRITER = "single-writer"
FORMAT_KEY = "format"
TIP_KEY = "tip"
LOG_LINE = b"mvs-log 1\n"
# Entries are merged by so many.
MERGED = 4
NO_ENTRY = ObjectId(bytes(32))
TAKEN_LINE = "mvs-taken 1"

_HEAD = struct.Struct("<Q32s")
_START = len(LOG_LINE) + _HEAD.size
_DIGITS = 12


class PackPlace(NamedTuple):
    """A pack of a remote: its name, the generation its key is in, and its size in bytes."""

    name: ObjectId
    generation: int
    size: int

    @property
    def key(self) -> str:
        """The key of the pack."""
        return f"packs/{self.generation:0{_DIGITS}}/{self.name}.pack"


class Sent(NamedTuple):
    """A version that comes to a remote: the bytes of its manifest, and the packs that hold what it needs."""

    manifest: bytes
    packs: tuple[ObjectId, ...]


class Move(NamedTuple):
    """An alias that moves: `name@alias`, and manifest ids."""

    alias: str
    old: ObjectId | None
    new: ObjectId | None


class Note(NamedTuple):
    """A label of a version that is set, or removed where `value` is None."""

    tag: str
    key: str
    value: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One step in the history of a remote; docs/format.md has the meaning of each field. `at` is in nanoseconds."""

    number: int
    previous: ObjectId
    at: int
    by: str
    nonce: bytes
    packs: tuple[PackPlace, ...] = ()
    versions: tuple[Sent, ...] = ()
    deleted: tuple[tuple[str, ObjectId], ...] = ()
    aliases: tuple[Move, ...] = ()
    notes: tuple[Note, ...] = ()
    condemned: tuple[ObjectId, ...] = ()
    collects: bool = False
    fence: int = 0
    needs: tuple[str, ...] = field(default=())

    def encode(self) -> bytes:
        """Return the bytes of the entry."""
        body = encode(
            {
                "number": self.number,
                "previous": self.previous.raw,
                "needs": list(self.needs),
                "at": self.at,
                "by": self.by,
                "nonce": self.nonce,
                "packs": [[pack.name.raw, pack.generation, pack.size] for pack in self.packs],
                "versions": [[sent.manifest, [name.raw for name in sent.packs]] for sent in self.versions],
                "deleted": [[tag, id.raw] for tag, id in self.deleted],
                "aliases": [
                    [move.alias, move.old and move.old.raw, move.new and move.new.raw] for move in self.aliases
                ],
                "notes": [list(note) for note in self.notes],
                "condemned": [name.raw for name in self.condemned],
                "collects": self.collects,
                "fence": self.fence,
            }
        )
        return LOG_LINE + _HEAD.pack(len(body), blake3(body).digest()) + body

    @classmethod
    def decode(cls, data: bytes) -> "Entry":
        """Return the entry whose bytes are `data`.

        Raises:
            CorruptRemote: they are not those of an entry.
            UnsupportedFormat: a later release wrote it.
        """
        line = data[: len(LOG_LINE)]
        if line != LOG_LINE:
            if data.startswith(b"mvs-log ") and data[8:].partition(b"\n")[0].isdigit():
                raise UnsupportedFormat("the log of the remote was written by a later release")
            raise CorruptRemote("something else where an entry of the log must be")
        body = data[_START:]
        if len(data) < _START or _HEAD.unpack(data[len(LOG_LINE) : _START]) != (len(body), blake3(body).digest()):
            raise CorruptRemote("an entry of the log is damaged")
        try:
            return cls._of(decode(body))
        except (ValueError, TypeError, KeyError) as error:
            raise CorruptRemote(f"an entry of the log is damaged: {error}") from error

    @classmethod
    def _of(cls, found: dict[str, Any]) -> "Entry":
        needs = tuple(map(_text, _array(found["needs"])))
        if needs:
            raise UnsupportedFormat(f"the log of the remote needs '{needs[0]}', unknown to this release")
        return cls(
            number=_count(found["number"]),
            previous=_id(found["previous"]),
            at=_count(found["at"]),
            by=_text(found["by"]),
            nonce=_bytes(found["nonce"]),
            packs=tuple(PackPlace(_id(a), _count(b), _count(c)) for a, b, c in map(_array, _array(found["packs"]))),
            versions=tuple(
                Sent(_bytes(manifest), tuple(map(_id, _array(packs))))
                for manifest, packs in map(_array, _array(found["versions"]))
            ),
            deleted=tuple((_text(tag), _id(id)) for tag, id in map(_array, _array(found["deleted"]))),
            aliases=tuple(
                Move(_text(alias), old and _id(old), new and _id(new))
                for alias, old, new in map(_array, _array(found["aliases"]))
            ),
            notes=tuple(
                Note(_text(tag), _text(key), value if value is None else _text(value))
                for tag, key, value in map(_array, _array(found["notes"]))
            ),
            condemned=tuple(map(_id, _array(found["condemned"]))),
            collects=_bool(found["collects"]),
            fence=_count(found["fence"]),
        )


def entry_key(number: int) -> str:
    """Return the key of an entry."""
    return f"log/{number:0{_DIGITS}}"


def run_key(first: int, last: int) -> str:
    """Return the key of merged entries."""
    return entry_key(first) if first == last else f"log/{first:0{_DIGITS}}-{last:0{_DIGITS}}"


def index_key(pack: ObjectId) -> str:
    """Return the key of the index of a pack."""
    return f"indexes/{pack}.index"


def id_of(entry: bytes) -> ObjectId:
    """Return what the next entry names this one by."""
    return ObjectId(blake3(entry).digest())


class Taken(NamedTuple):
    """How far the log of a remote was replayed: the number and the id of the last entry."""

    number: int = 0
    last: ObjectId = NO_ENTRY

    def encode(self) -> bytes:
        """Return the bytes of the file."""
        return f"{TAKEN_LINE} {self.number} {self.last}\n".encode()

    @classmethod
    def decode(cls, data: bytes) -> "Taken":
        """Return what the bytes of the file say.

        Raises:
            CorruptRemote: they are not those of such a file.
            UnsupportedFormat: a later release wrote them.
        """
        text = data[:200].decode("ascii", "replace")
        number, _, last = text.removeprefix(f"{TAKEN_LINE} ").removesuffix("\n").partition(" ")
        with contextlib.suppress(ValueError):
            found = cls(int(number[:19]), ObjectId.from_hex(last))
            if found.encode() == data:
                return found
        if text.startswith("mvs-taken ") and not text.startswith(f"{TAKEN_LINE} "):
            raise UnsupportedFormat("what is known of the store was written by a later release")
        raise CorruptRemote("the file that says how far the log of the store was taken is damaged")


def split(run: bytes) -> list[bytes]:
    """Return the bytes of each of some entries that lie back to back.

    Raises:
        CorruptRemote: they do not.
    """
    found, at = [], 0
    while at < len(run):
        if len(run) - at < _START:
            raise CorruptRemote("the log of the remote is cut off")
        length, _ = _HEAD.unpack(run[at + len(LOG_LINE) : at + _START])
        end = at + _START + length
        if end > len(run):
            raise CorruptRemote("the log of the remote is cut off")
        found.append(run[at:end])
        at = end
    return found


def format_line(*, single_writer: bool) -> bytes:
    """Return the value of the key `format`."""
    return f"{REMOTE_LINE} {SINGLE_WRITER}\n".encode() if single_writer else f"{REMOTE_LINE}\n".encode()


def is_single_writer(data: bytes) -> bool:
    """Tell, by the value of `format`, whether the remote has one writer at a time.

    Raises:
        UnsupportedFormat: a later release made it.
        CorruptRemote: it is no such value.
    """
    words = data.decode("utf-8", "replace").rstrip("\n").split(" ")
    if " ".join(words[:2]) != REMOTE_LINE:
        if words[0] == "mvs-remote":
            raise UnsupportedFormat(f"the remote is of the format '{' '.join(words)[:40]}', unknown to this release")
        raise CorruptRemote("something else than a remote is there")
    unknown = set(words[2:]) - {SINGLE_WRITER}
    if unknown:
        raise UnsupportedFormat(f"the remote needs '{sorted(unknown)[0][:40]}', unknown to this release")
    return SINGLE_WRITER in words[2:]


def _array(value: Any) -> list[Any]:
    if type(value) is not list:
        raise ValueError("something else where an array must be")
    return value


def _bytes(value: Any) -> bytes:
    if type(value) is not bytes:
        raise ValueError("something else where bytes must be")
    return value


def _text(value: Any) -> str:
    if type(value) is not str:
        raise ValueError("something else where text must be")
    return value


def _bool(value: Any) -> bool:
    if type(value) is not bool:
        raise ValueError("something else where yes or no must be")
    return value


def _count(value: Any) -> int:
    if type(value) is not int or not 0 <= value < 1 << 63:
        raise ValueError("something else where a number must be")
    return value


def _id(value: Any) -> ObjectId:
    if type(value) is not bytes or len(value) != 32:
        raise ValueError("something else where an id must be")
    return ObjectId(value)
