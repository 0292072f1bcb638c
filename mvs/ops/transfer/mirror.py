"""Mirroring: everything of one remote into another, packs as they are."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from mvs.errors import CorruptRemote, TagExists, command
from mvs.format.ids import ObjectId
from mvs.format.manifest import Manifest
from mvs.format.remote import Entry, Move, Note, PackPlace, Sent, index_key
from mvs.ops.transfer.holdings import Holdings, closure
from mvs.ops.transfer.receiving import REQUESTS, RUN
from mvs.running.parallel import ahead
from mvs.running.progress import Progress
from mvs.store.packs.files import Pack
from mvs.store.remote.remote import Remote
from mvs.store.remote.state import State
from mvs.store.staging import Session
from mvs.store.store import Store


@dataclass(frozen=True, slots=True)
class Mirrored:
    """What came to the other remote, or would: versions, aliases that moved, versions with other notes, packs."""

    versions: tuple[str, ...]
    aliases: tuple[str, ...]
    notes: tuple[str, ...]
    packs: int
    bytes: int

    def to_dict(self) -> dict[str, Any]:
        """Return the facts as JSON holds them, the form `--json` prints."""
        return {
            "versions": list(self.versions),
            "aliases": list(self.aliases),
            "notes": list(self.notes),
            "packs": self.packs,
            "bytes": self.bytes,
        }


@dataclass(frozen=True, slots=True)
class _Lack:
    """What one remote has and another one lacks."""

    tags: tuple[str, ...]
    packs: tuple[PackPlace, ...]
    moves: tuple[Move, ...]
    notes: tuple[Note, ...]

    def __bool__(self) -> bool:
        return bool(self.tags or self.moves or self.notes)

    def facts(self) -> Mirrored:
        moved, noted = (move.alias for move in self.moves), (note.tag for note in self.notes)
        size = sum(place.size for place in self.packs)
        return Mirrored(self.tags, tuple(moved), tuple(dict.fromkeys(noted)), len(self.packs), size)


def plan_mirror(source: Remote, target: Remote) -> Mirrored:
    """Return what `mirror` would do; nothing is changed anywhere.

    Raises:
        TagExists, CorruptRemote, RemoteFailed: as `mirror`.
    """
    # It may be that `mirror` makes it.
    there = target.log.state() if target.log.exists() else State()
    return _lack(source, source.log.state(), target, there).facts()


def mirror(
    store: Store,
    source: Remote,
    target: Remote,
    *,
    now: Callable[[], int],
    by: str,
    progress: Progress,
    jobs: int | None = None,
) -> Mirrored:
    """Let a remote have every version of another one, with its aliases and notes, in one step.

    Packs pass through the staging of `store`, so many `jobs` of them at a time, and are compared with their names. What
    is at the target only stays there. Cut off, nothing is seen of it, and packs that had arrived are not sent again.

    Raises:
        TagExists: a tag is another version there.
        CorruptRemote: a pack is gone, or not what it is named after; or the source is a bundle that needs others.
        RemoteFailed: one of them cannot be reached.
    """
    state = source.log.state()
    sent: dict[ObjectId, PackPlace] = {}
    last = _lack(source, state, target, target.log.state())
    _check_whole(source, state, last)

    def make(theirs: State) -> Entry | None:
        # Again for every entry of others: they may have given up what was counted on.
        nonlocal last
        last = _lack(source, state, target, theirs)
        if not last:
            return None
        pending = [place for place in last.packs if place.name not in sent or not theirs.counts(sent[place.name])]
        progress.start("copying", 2 * sum(place.size for place in pending))
        try:
            with store.session() as session:
                copied = ahead(
                    lambda place: _copy(session, source, target, place, theirs.generation, progress),
                    pending,
                    jobs or REQUESTS,
                )
                sent.update((place.name, place) for place in copied)
        finally:
            progress.finish()
        versions = tuple(Sent(source.log.manifest(tag, state), state.versions[tag].packs) for tag in last.tags)
        packs = tuple(sent[place.name] for place in last.packs)
        return theirs.next_entry(now(), by, packs=packs, versions=versions, aliases=last.moves, notes=last.notes)

    target.log.commit(make)
    return last.facts()


def _lack(source: Remote, ours: State, target: Remote, theirs: State) -> _Lack:
    for tag, known in ours.versions.items():
        there = theirs.versions.get(tag)
        if there is not None and there.id != known.id:
            raise TagExists(
                f"'{tag}' is another version at '{target.name}' than at '{source.name}'; a tag never changes",
                hint=command("mvs", "list", "--remote", target.name),
            )
    tags = tuple(tag for tag in ours.versions if tag not in theirs.versions)
    needed = {name for tag in tags for name in ours.versions[tag].packs} - theirs.packs.keys()
    moves = tuple(
        Move(alias, theirs.aliases.get(alias), id)
        for alias, id in sorted(ours.aliases.items())
        if theirs.aliases.get(alias) != id
    )
    notes = tuple(Note(*change) for tag in ours.versions for change in _notes(tag, ours, theirs))
    return _Lack(tags, tuple(ours.packs[name] for name in sorted(needed)), moves, notes)


def _notes(tag: str, ours: State, theirs: State) -> Iterator[tuple[str, str, str | None]]:
    mine, other = ours.notes.get(tag, {}), theirs.notes.get(tag, {})
    for key in sorted(mine.keys() | other.keys()):
        if mine.get(key) != other.get(key):
            yield tag, key, mine.get(key)


def _check_whole(source: Remote, state: State, lack: _Lack) -> None:
    """Refuse a bundle that goes without what its reader has: whoever reads the target may not have that."""
    if not source.is_bundle:
        return
    there = Holdings(source.packs.indexes(state.packs.values()))
    for tag in lack.tags:
        tree = Manifest.decode(source.log.manifest(tag, state)).tree
        _, missing = closure({entry.blob for entry in tree.files}, there.find)
        if missing:
            raise CorruptRemote(
                f"'{source.name}' has only a part of '{tag}': it was made with --since",
                hint=command("mvs", "import", source.address.url),
            )


def _copy(
    session: Session, source: Remote, target: Remote, place: PackPlace, generation: int, progress: Progress
) -> PackPlace:
    """Bring a pack to the target, unless an earlier attempt did, and return where it is there."""
    there = PackPlace(place.name, generation, place.size)
    if target.bucket.size(there.key) == there.size and target.bucket.size(index_key(there.name)) is not None:
        progress.advance(2 * place.size)
        return there
    path = _received(session, source, place, progress)
    target.bucket.upload(there.key, path, progress.advance)
    target.bucket.write(index_key(there.name), Pack(path).end())
    session.drop(path)
    return there


def _received(session: Session, source: Remote, place: PackPlace, progress: Progress) -> str:
    def blocks() -> Iterator[bytes]:
        for at in range(0, place.size, RUN):
            data = source.bucket.read_range(place.key, at, min(RUN, place.size - at))
            yield data
            progress.advance(len(data))

    try:
        id, path = session.write(blocks())
    except FileNotFoundError:
        raise CorruptRemote(f"pack {place.name} of '{source.name}' is gone") from None
    if id != place.name:
        raise CorruptRemote(f"pack {place.name} of '{source.name}' is not what it is named after")
    return path
