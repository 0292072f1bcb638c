"""Partial versions: the line that says which blobs of a version were not pulled, and where they are."""

import json
import re
from typing import NamedTuple

from mvs.errors import CorruptRef
from mvs.format.ids import ObjectId
from mvs.format.lines.refs import TAG, matched, tag_of
from mvs.format.names import Tag

MAGIC = "mvs-partial 1"
# 67 bytes a file: a quarter of a million of them, which is more than a version is pulled in part for.
MAX_BYTES = 16 << 20

_LINE = re.compile(rf"{MAGIC} {TAG} (\{{[^\n]*\}})\n\Z")


class Partial(NamedTuple):
    """The blobs of a version that were not pulled; `id` is that of its manifest, `remote` and `url` where they are."""

    tag: Tag
    id: ObjectId
    blobs: frozenset[ObjectId]
    remote: str
    url: str

    def encode(self) -> bytes:
        """Return the bytes of its file."""
        what = {"blobs": sorted(map(str, self.blobs)), "remote": self.remote, "url": self.url}
        text = json.dumps(what, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        # What is no text in the name of a folder becomes question marks: it is for people to read.
        return f"{MAGIC} {self.tag} {self.id} {text}\n".encode("utf-8", "replace")

    @classmethod
    def decode(cls, data: bytes) -> "Partial":
        """Return what a file says whose bytes are `data`.

        Raises:
            CorruptRef: it is no such line.
            UnsupportedFormat: a later release wrote it.
        """
        match = matched(_LINE, data, MAGIC, "a list of what was not pulled")
        try:
            what = json.loads(match[4])
            blobs, remote, url = what["blobs"], what["remote"], what["url"]
            if type(blobs) is not list or not blobs or type(remote) is not str or type(url) is not str:
                raise ValueError("not what must be in it")
            ids = frozenset(ObjectId.from_hex(blob) for blob in blobs)
            found = cls(tag_of(match, "a list"), ObjectId.from_hex(match[3]), ids, remote, url)
            again = found.encode()
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise CorruptRef(f"not a list of what was not pulled: {error}") from error
        if again != data:
            raise CorruptRef("not a list of what was not pulled: it is not as it is written")
        return found
