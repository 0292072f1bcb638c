"""What versions take on disk, and what dedup made of them."""

import contextlib
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from mvs.errors import UNREADABLE
from mvs.format.ids import ObjectId
from mvs.format.layout import OBJECTS, PACKS
from mvs.format.lines.refs import Ref
from mvs.format.manifest import FileEntry
from mvs.format.names import Tag
from mvs.format.pack import Span
from mvs.ops.find.exclusive import owned, standing
from mvs.store.store import Store

LOOSE = "loose"
# What did not come when the version was pulled: it takes nothing.
NOT_PULLED = "not-pulled"
# The owner of what nothing but the versions that were asked about needs.
_ASKED = "asked"


@dataclass(frozen=True, slots=True)
class Usage:
    """What one version takes. What several versions share is counted in each.

    Attributes:
        tag: the version.
        size: bytes of its files.
        stored: bytes of the store that hold them, not counting what they are differences from.
        encodings: for each encoding ("loose" for a file of its own, "same" for a part of the loose file of
            another version, "not-pulled" for what is at a remote and not here), plain bytes and stored bytes.
        bases: the files of other versions that it is stored as differences from.
        exclusive: bytes of the store that nothing but this version needs, its manifest included; None where nobody
            asked.
    """

    tag: Tag
    size: int
    stored: int
    encodings: Mapping[str, tuple[int, int]]
    bases: tuple[str, ...]
    exclusive: int | None = None

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
            **({} if self.exclusive is None else {"exclusive": self.exclusive}),
        }


@dataclass(frozen=True, slots=True)
class Together:
    """What several versions of a name take: what they share is counted once in `stored`.

    Attributes:
        name: their name.
        versions: how many there are.
        size: bytes of their files, if every version were checked out.
        stored: bytes of the store that hold them, not counting what they are differences from.
        exclusive: bytes of the store that nothing but these versions needs, their manifests included.
    """

    name: str
    versions: int
    size: int
    stored: int
    exclusive: int

    def to_dict(self) -> dict[str, Any]:
        """Return the facts as JSON holds them."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Total:
    """What all of it takes.

    Attributes:
        versions: what each version takes.
        names: what the versions of each name take together; empty where nobody asked.
        size: bytes if every version were checked out.
        stored: bytes of all objects and packs, whoever needs them.
        exclusive: bytes that nothing but these versions needs.
        collectable: bytes that gc would give back now, None where that was not asked, or cannot be told.
        held: bytes that gc would give back as well if it kept nothing that was deleted of late.
    """

    versions: tuple[Usage, ...]
    names: tuple[Together, ...]
    size: int
    stored: int
    exclusive: int
    collectable: int | None = None
    held: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the facts as JSON holds them."""
        return {
            "versions": [version.to_dict() for version in self.versions],
            "names": [name.to_dict() for name in self.names],
            "size": self.size,
            "stored": self.stored,
            "exclusive": self.exclusive,
            "collectable": self.collectable,
            "held": self.held,
        }


def usage(
    store: Store,
    refs: Iterable[Ref],
    everything: Iterable[Ref],
    damaged: Callable[[str], None],
    *,
    pinned: Collection[ObjectId] | None,
) -> Total:
    """Return what some versions take; `everything` are all versions, which bases are named by.

    With `pinned`, what else than versions is needed, also what nothing but they need, which takes a look at the
    whole store. A version that is damaged is told to `damaged` and left out.
    """
    called: dict[ObjectId, str] = {}
    for ref in sorted(everything, key=lambda ref: ref.created):
        with contextlib.suppress(*UNREADABLE):
            for entry in store.manifest(ref).tree.files:
                called.setdefault(entry.blob, f"{ref.tag}/{entry.path}")
    versions: list[tuple[Ref, Usage]] = []
    together: dict[str, dict[ObjectId, int]] = defaultdict(dict)
    for ref in refs:
        try:
            versions.append((ref, _of_version(store, ref, called, together[ref.tag.name])))
        except UNREADABLE as error:
            damaged(f"version '{ref.tag}' is damaged: {error.message}")
    size, stored = sum(used.size for _, used in versions), store.disk_usage(OBJECTS, PACKS)
    if pinned is None:
        return Total(tuple(used for _, used in versions), (), size, stored, 0)
    asked = {ref.id: (_ASKED, ref.tag.name, ref.tag.version) for ref, _ in versions}
    found = owned(store, {id: asked.get(id, ()) for id in standing(store, pinned)})
    names: dict[str, list[Usage]] = defaultdict(list)
    for _, used in versions:
        names[used.tag.name].append(used)
    return Total(
        tuple(replace(used, exclusive=found.get(asked[ref.id], 0)) for ref, used in versions),
        tuple(
            Together(
                name,
                len(each),
                sum(used.size for used in each),
                sum(together[name].values()),
                found.get((_ASKED, name), 0),
            )
            for name, each in sorted(names.items())
        ),
        size,
        stored,
        found.get((_ASKED,), 0),
    )


def _of_version(store: Store, ref: Ref, called: Mapping[ObjectId, str], together: dict[ObjectId, int]) -> Usage:
    """Return what one version takes; add to `together` what holds it, each object once."""
    manifest = store.manifest(ref)
    files = {entry.blob: entry for entry in store.here(ref.id, manifest)}
    absent = {entry.blob: entry.size for entry in manifest.tree.files if entry.blob not in files}
    encodings: dict[str, tuple[int, int]] = {NOT_PULLED: (sum(absent.values()), 0)} if absent else {}
    bases: dict[str, None] = {}
    held: dict[ObjectId, int] = {}
    for entry in files.values():
        for id, name, plain, taken, used in _held(store, entry, held):
            before = encodings.get(name, (0, 0))
            encodings[name] = before[0] + plain, before[1] + taken
            held[id] = held.get(id, 0) + taken
            bases.update((called[other], None) for other in used if other in called)
    for id, taken in held.items():
        # What one version has as a part of another's loose file takes no room but there.
        together[id] = max(together.get(id, 0), taken)
    return Usage(ref.tag, sum(entry.size for entry in manifest.tree.files), sum(held.values()), encodings, tuple(bases))


def _held(
    store: Store, entry: FileEntry, seen: Collection[ObjectId]
) -> Iterator[tuple[ObjectId, str, int, int, tuple[ObjectId, ...]]]:
    """Yield, for what holds a blob: its id, its encoding, its plain bytes, its stored bytes, and what it leans on.

    Records that were `seen` before are passed over.
    """
    if store.objects.is_loose(entry.blob):
        yield entry.blob, LOOSE, entry.size, entry.size, ()
        return
    for piece in store.objects.packed.pieces(Span(entry.blob, 0, entry.size)):
        if isinstance(piece, Span):
            # The same bytes as in the loose file of another version.
            yield piece.id, "same", piece.length, 0, (piece.id,)
        elif piece.record.id not in seen:
            record = piece.record
            yield record.id, record.encoding, record.size, record.length, tuple(ref.id for ref in record.refs)
