"""Which objects are next in a sample: those after where the last one ended, in the order of their ids.

So each has its turn before any has a second one, and what was verified longest ago is next.
"""

import os
from array import array
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from mvs.format.ids import ObjectId
from mvs.store.packs.lookup import prefix_of
from mvs.store.store import Store

NOTE = "fsck"
_LINE = b"mvs-sample 1 "


class Sample:
    """A stretch of the ring of all ids, told from their first bytes: it may go over the end."""

    def __init__(self, sizes: Iterable[tuple[ObjectId, int]], share: float, after: bytes) -> None:
        """Choose what follows `after`, until it has a share of the bytes of all, or everything."""
        known, bytes_of = array("Q"), array("Q")
        for id, size in sizes:
            known.append(prefix_of(id))
            # An empty object costs something as well.
            bytes_of.append(size + 1)
        prefixes: NDArray[np.uint64] = np.array(known, np.uint64)
        order = np.argsort(prefixes, kind="stable")
        prefixes, weights = prefixes[order], np.array(bytes_of, np.uint64)[order]
        start = int(np.searchsorted(prefixes, np.uint64(int.from_bytes(after, "big")), "right"))
        turned = np.cumsum(np.roll(weights, -start), dtype=np.uint64)
        count = 0
        if len(turned) and share > 0:
            count = min(len(turned), 1 + int(np.searchsorted(turned, np.uint64(int(share * int(turned[-1]))))))
        chosen = np.roll(prefixes, -start)[:count]
        self._chosen = np.sort(chosen)
        self.end = int(chosen[-1]).to_bytes(8, "big") if count else after

    def __contains__(self, id: ObjectId) -> bool:
        prefix = np.uint64(prefix_of(id))
        place = int(np.searchsorted(self._chosen, prefix))
        return place < len(self._chosen) and bool(self._chosen[place] == prefix)


def last_end(store: Store) -> bytes:
    """Return where the last sample ended, anywhere when that is not known."""
    note = store.recalled(NOTE) or b""
    try:
        end = bytes.fromhex(note.removeprefix(_LINE).decode())
    except ValueError:
        end = b""
    return end if len(end) == 8 and note.startswith(_LINE) else os.urandom(8)


def note(sample: Sample) -> bytes:
    """Return what to leave for the next sample."""
    return _LINE + sample.end.hex().encode()
