"""Ids: the names of immutable bytes."""

import re
from dataclasses import dataclass

from blake3 import blake3

# Nanoseconds since the epoch that 63 bits hold: until the year 2262.
MAX_TIME = 2**63 - 1

_HEX = re.compile(r"[0-9a-f]{64}\Z")


@dataclass(frozen=True, slots=True, order=True)
class ObjectId:
    """The BLAKE3 digest (32 bytes) of an object's plain bytes, whatever their stored form."""

    raw: bytes

    @classmethod
    def of(cls, data: bytes) -> "ObjectId":
        """Return the id of `data`."""
        return cls(blake3(data).digest())

    @classmethod
    def from_hex(cls, text: str) -> "ObjectId":
        """Return the id that 64 lower-case hex digits spell.

        Raises:
            ValueError: `text` is anything else.
        """
        if not _HEX.match(text):
            raise ValueError(f"not an id: {text!r}")
        return cls(bytes.fromhex(text))

    def __str__(self) -> str:
        return self.raw.hex()
