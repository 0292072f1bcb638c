"""What versions take on disk, and what dedup made of them."""

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from mvs.errors import UNREADABLE
from mvs.format.ids import ObjectId
from mvs.format.layout import OBJECTS, PACKS
from mvs.format.lines.refs import Ref
from mvs.format.manifest import FileEntry
from mvs.format.names import Tag
from mvs.format.pack import Span
from mvs.store.store import Store

LOOSE = "loose"


@dataclass(frozen=True, slots=True)
class Usage:
    """What one version takes. What several versions share is counted in each.

    Attributes:
        tag: the version.
        size: bytes of its files.
        stored: bytes of the store that hold them, not counting what they are differences from.
        encodings: for each encoding ("loose" for a file of its own, "same" for a part of the loose file of
            another version), plain bytes and stored bytes.
        bases: the files of other versions that it is stored as differences from.
    """

    tag: Tag
    size: int
    stored: int
    encodings: Mapping[str, tuple[int, int]]
    bases: tuple[str, ...]

    def by_size(self) -> list[str]:
        """Return the encodings, the one that holds most first."""
        return sorted(self.encodings, key=lambda name: -self.encodings[name][0])

    def to_dict(self) -> dict[str, Any]:
        """Return the facts as JSON holds them."""
        return {
            "tag": str(self.tag),
            "size": self.size,
            "stored": self.stored,
            "encodings": {
                name: {"size": plain, "stored": stored} for name, (plain, stored) in sorted(self.encodings.items())
            },
            "bases": list(self.bases),
        }


@dataclass(frozen=True, slots=True)
class Total:
    """What all of it takes: `size` if every version were checked out, `stored` on disk in objects and packs."""

    versions: tuple[Usage, ...]
    size: int
    stored: int

    def to_dict(self) -> dict[str, Any]:
        """Return the facts as JSON holds them."""
        return {
            "versions": [version.to_dict() for version in self.versions],
            "size": self.size,
            "stored": self.stored,
        }


def usage(store: Store, refs: Iterable[Ref], everything: Iterable[Ref], damaged: Callable[[str], None]) -> Total:
    """Return what some versions take; `everything` are all versions, which bases are named by.

    A version that is damaged is told to `damaged` and left out.
    """
    names: dict[ObjectId, str] = {}
    for ref in sorted(everything, key=lambda ref: ref.created):
        with contextlib.suppress(*UNREADABLE):
            for entry in store.manifest(ref).tree.files:
                names.setdefault(entry.blob, f"{ref.tag}/{entry.path}")
    versions = []
    for ref in refs:
        try:
            versions.append(of_version(store, ref, names))
        except UNREADABLE as error:
            damaged(f"version '{ref.tag}' is damaged: {error.message}")
    return Total(tuple(versions), sum(version.size for version in versions), store.disk_usage(OBJECTS, PACKS))


def of_version(store: Store, ref: Ref, names: Mapping[ObjectId, str]) -> Usage:
    """Return what one version takes; `names` says what blobs are called."""
    files = store.manifest(ref).tree.files
    encodings: dict[str, tuple[int, int]] = {}
    bases: dict[str, None] = {}
    seen: set[ObjectId] = set()
    stored = 0
    for entry in {entry.blob: entry for entry in files}.values():
        for name, plain, taken, used in _held(store, entry, seen):
            before = encodings.get(name, (0, 0))
            encodings[name] = before[0] + plain, before[1] + taken
            stored += taken
            bases.update((names[id], None) for id in used if id in names)
    return Usage(ref.tag, sum(entry.size for entry in files), stored, encodings, tuple(bases))


def _held(store: Store, entry: FileEntry, seen: set[ObjectId]) -> Iterator[tuple[str, int, int, tuple[ObjectId, ...]]]:
    """Yield, for what holds a blob: its encoding, its plain bytes, its stored bytes, and what it leans on."""
    if store.objects.is_loose(entry.blob):
        yield LOOSE, entry.size, entry.size, ()
        return
    for piece in store.objects.packed.pieces(Span(entry.blob, 0, entry.size)):
        if isinstance(piece, Span):
            # The same bytes as in the loose file of another version.
            yield "same", piece.length, 0, (piece.id,)
        elif piece.record.id not in seen:
            seen.add(piece.record.id)
            record = piece.record
            yield record.encoding, record.size, record.length, tuple(ref.id for ref in record.refs)
