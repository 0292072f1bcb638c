"""Notes: the line with the labels that a version was given after it was saved."""

import json
import re
from collections.abc import Mapping
from typing import NamedTuple

from mvs.errors import CorruptRef, InvalidMetadata
from mvs.format.ids import ObjectId
from mvs.format.lines.refs import TAG, matched, tag_of
from mvs.format.names import Tag
from mvs.format.values import labels_of

MAGIC = "mvs-notes 1"
# What a person writes about a version is far below; what a program puts there by mistake is not.
MAX_BYTES = 1 << 20

_LINE = re.compile(rf"{MAGIC} {TAG} (\{{[^\n]*\}})\n\Z")


class Notes(NamedTuple):
    """The labels that were given to a version after it was saved; `id` is that of its manifest."""

    tag: Tag
    id: ObjectId
    labels: Mapping[str, str]

    def encode(self) -> bytes:
        """Return the bytes of the notes file."""
        text = json.dumps(dict(self.labels), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return f"{MAGIC} {self.tag} {self.id} {text}\n".encode()

    @classmethod
    def decode(cls, data: bytes) -> "Notes":
        """Return the notes whose bytes are `data`.

        Raises:
            CorruptRef: they are none.
            UnsupportedFormat: they were written by a later release.
        """
        match = matched(_LINE, data, MAGIC, "notes")
        try:
            found = cls(tag_of(match, "notes"), ObjectId(bytes.fromhex(match[3])), labels_of(json.loads(match[4])))
        except (ValueError, RecursionError, InvalidMetadata) as error:
            raise CorruptRef(f"not notes: {error}") from error
        if found.encode() != data:
            raise CorruptRef("not notes: they are not as they are written")
        return found
