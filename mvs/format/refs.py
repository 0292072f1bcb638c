"""Refs: the line that says which manifest a tag is."""

import re
from typing import NamedTuple

from mvs.errors import CorruptRef, InvalidTag, UnsupportedFormat
from mvs.format.ids import MAX_TIME, ObjectId
from mvs.format.names import Tag, parse_name, parse_version

MAGIC = "mvs-ref 1"
# The longest tag, id and number that fit a line, and some room: anything longer is no ref.
MAX_BYTES = 1024

_LINE = re.compile(rf"{MAGIC} ([a-z0-9._/-]+):([a-z0-9._-]+) ([0-9a-f]{{64}}) (0|[1-9][0-9]{{0,19}})\n\Z")


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
        text = data.decode("utf-8", "replace")
        match = _LINE.match(text)
        if match is None:
            later = re.match(r"(mvs-ref [0-9]+) ", text)
            if later and later[1] != MAGIC:
                raise UnsupportedFormat(f"this release does not know the format '{later[1]}'")
            raise CorruptRef("not a ref")
        try:
            tag = Tag(parse_name(match[1]), parse_version(match[2]))
        except InvalidTag as error:
            raise CorruptRef(f"not a ref: {error}") from error
        if (created := int(match[4])) > MAX_TIME:
            raise CorruptRef("not a ref: its time is out of range")
        return cls(tag, ObjectId(bytes.fromhex(match[3])), created)
