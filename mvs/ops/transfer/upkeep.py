"""What keeps a remote in order: versions deleted, garbage collected, everything checked."""

import random
from collections.abc import Callable, Container, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from blake3 import blake3

from mvs.backends.buckets import UPLOADS, Found
from mvs.errors import Corrupt, CorruptRemote, Protected, command
from mvs.format.ids import ObjectId
from mvs.format.manifest import Manifest
from mvs.format.remote import Entry, Move, PackPlace, index_key
from mvs.ops.transfer.holdings import Holdings, closure
from mvs.ops.transfer.receiving import REQUESTS, RUN
from mvs.running.parallel import ahead
from mvs.running.progress import Progress
from mvs.store.remote.remote import Remote
from mvs.store.remote.state import State

# Seconds after which a file that is being written counts as left behind, by the clock of whoever looks: a request
# is given up in minutes, so this is margin for clocks that differ.
_STALE = 86400


@dataclass(frozen=True, slots=True)
class Collection:
    """What a collection at a remote removes, or would: packs that no version needs, and files that no entry names.

    `unfinished` are files that somebody began to write and was cut off. `bytes` are those of all.
    """

    packs: tuple[PackPlace, ...]
    strays: tuple[str, ...]
    unfinished: tuple[str, ...]
    bytes: int

    @property
    def files(self) -> int:
        """How many files that are."""
        return len(self.packs) + len(self.strays) + len(self.unfinished)

    def to_dict(self) -> dict[str, Any]:
        """Return the facts as JSON holds them, the form `--json` prints."""
        return {
            "packs": len(self.packs),
            "strays": len(self.strays),
            "unfinished": len(self.unfinished),
            "bytes": self.bytes,
        }


@dataclass(frozen=True, slots=True)
class Health:
    """What a check of a remote found: how much was looked at, and what is wrong, with the versions that suffer.

    `unfinished` are files, and their bytes, that somebody began to write and was cut off: no damage.
    """

    versions: int
    packs: int
    bytes: int
    findings: tuple[tuple[str, tuple[str, ...]], ...]
    unfinished: tuple[int, int]

    def to_dict(self) -> dict[str, Any]:
        """Return the facts as JSON holds them, the form `--json` prints."""
        return {
            "versions": self.versions,
            "packs": self.packs,
            "bytes": self.bytes,
            "unfinished": {"count": self.unfinished[0], "size": self.unfinished[1]},
            "findings": [{"message": message, "versions": list(tags)} for message, tags in self.findings],
        }


def delete(remote: Remote, tags: Iterable[str], *, now: Callable[[], int], by: str, force: bool = False) -> list[str]:
    """Let a remote have versions no longer, in one step; return those that it had. Their files go with `collect`.

    Raises:
        Protected: an alias there points at one, and not `force`, with which it goes too.
        RemoteFailed: it cannot be reached.
    """
    wanted = list(tags)
    gone: list[str] = []

    def make(state: State) -> Entry | None:
        gone[:] = [tag for tag in wanted if tag in state.versions]
        if not gone:
            return None
        deleted = tuple((tag, state.versions[tag].id) for tag in gone)
        tags = {(tag.partition(":")[0], id): tag for tag, id in deleted}
        lost = {alias: id for alias, id in state.aliases.items() if (alias.partition("@")[0], id) in tags}
        if lost and not force:
            alias, id = min(lost.items())
            raise Protected(
                f"the alias '{alias}' points at '{tags[alias.partition('@')[0], id]}' at '{remote.name}': move it "
                "first, or pass --force (force=True), which removes it there",
                hint=command("mvs", "list", "--remote", remote.name),
            )
        moves = tuple(Move(alias, id, None) for alias, id in sorted(lost.items()))
        return state.next_entry(now(), by, deleted=deleted, aliases=moves)

    remote.log.commit(make)
    return gone


def plan_collect(remote: Remote, now: int) -> Collection:
    """Return what `collect` would remove now; nothing is changed anywhere."""
    state = remote.log.state()
    return _collection(remote, state, _needless(state), state.generation, now)


def collect(remote: Remote, *, now: Callable[[], int], by: str) -> Collection:
    """Remove from a remote what no version there needs.

    First an entry says what goes; whoever writes a later one knows it, so nothing that goes is counted on. What was
    sent and never named goes one collection later, as its sender may be at work. What was being written a day ago,
    and not since, goes at once: who is still at it, after all, is told that it failed, and nothing was counted on.

    Raises:
        RemoteFailed: it cannot be reached. What the entry gave up goes with the next collection.
    """
    doomed: list[PackPlace] = []
    before = 0

    def make(state: State) -> Entry:
        nonlocal before
        before = state.generation
        doomed[:] = _needless(state)
        names = tuple(place.name for place in doomed)
        return state.next_entry(now(), by, condemned=names, collects=True, fence=before)

    state = remote.log.commit(make)
    found = _collection(remote, state, doomed, before, now())
    keys = [*(place.key for place in found.packs), *found.strays, *found.unfinished]
    kept = {place.name for place in state.packs.values()}
    remote.bucket.remove([*keys, *(index_key(place.name) for place in found.packs if place.name not in kept)])
    return found


def check(
    remote: Remote, *, share: float, progress: Progress, now: int, known: Container[ObjectId] = frozenset()
) -> Health:
    """Check that a remote has what its versions need, but for what is `known`, and read a share of its packs.

    Nothing is changed.

    Raises:
        CorruptRemote, RemoteChanged: its log is damaged: nothing else can be told then.
        RemoteFailed: it cannot be reached.
    """
    state = remote.log.state()
    sizes = {found.key: found.size for found in remote.bucket.keys("packs/")}
    drawn = set(random.sample(sorted(state.packs), round(share * len(state.packs)))) if share < 1 else set(state.packs)
    wrong: dict[ObjectId, str] = {}
    read = 0
    progress.start("checking", sum(place.size for place in state.packs.values()))
    try:
        for place in state.packs.values():
            try:
                if sizes.get(place.key) != place.size:
                    raise CorruptRemote(f"pack {place.name} is {'cut off' if place.key in sizes else 'gone'}")
                remote.packs.index(place)
                if place.name in drawn:
                    _read_through(remote, place)
                    read += place.size
            except Corrupt as error:
                wrong[place.name] = error.message
            progress.advance(place.size)
    finally:
        progress.finish()
    findings = [
        (message, tuple(tag for tag, known in state.versions.items() if name in known.packs))
        for name, message in sorted(wrong.items())
    ]
    there = Holdings(remote.packs.indexes(place for place in state.packs.values() if place.name not in wrong))
    for data in remote.log.manifests(state):
        manifest = Manifest.decode(data)
        _, missing = closure({entry.blob for entry in manifest.tree.files}, there.find, known)
        if missing and not wrong.keys() & set(state.versions[str(manifest.tag)].packs):
            findings.append((f"object {min(missing)} is in no pack", (str(manifest.tag),)))
    unfinished = list(_unfinished(remote, now))
    amount = len(unfinished), sum(found.size for found in unfinished)
    return Health(len(state.versions), len(state.packs), read, tuple(findings), amount)


def _needless(state: State) -> list[PackPlace]:
    needed = {name for known in state.versions.values() for name in known.packs}
    return [place for name, place in sorted(state.packs.items()) if name not in needed]


def _unfinished(remote: Remote, now: int) -> Iterator[Found]:
    """Yield the files that nobody has written to for a day, and that have not got their names."""
    for found in remote.bucket.keys(f"{UPLOADS}/"):
        if found.key.endswith(".tmp") and found.written is not None and found.written < now // 10**9 - _STALE:
            yield found


def _collection(remote: Remote, state: State, doomed: list[PackPlace], fence: int, now: int) -> Collection:
    """Return what goes: packs that are given up, and files of packs that no entry names and none will."""
    named = {place.key for place in state.packs.values()} | {place.key for place in doomed}
    condemned = {PackPlace(name, generation, 0).key for name, generation in state.condemned}
    strays = [
        found
        for found in remote.bucket.keys("packs/")
        if found.key not in named and (found.key in condemned or _generation(found.key) < fence)
    ]
    unfinished = list(_unfinished(remote, now))
    size = sum(place.size for place in doomed) + sum(found.size for found in (*strays, *unfinished))
    return Collection(
        tuple(doomed), tuple(found.key for found in strays), tuple(found.key for found in unfinished), size
    )


def _generation(key: str) -> int:
    digits = key.split("/")[1]
    # What is no pack of ours is left alone.
    return int(digits) if digits.isdigit() else 1 << 63


def _read_through(remote: Remote, place: PackPlace) -> None:
    hasher = blake3()
    places = range(0, place.size, RUN)
    for data in ahead(lambda at: remote.bucket.read_range(place.key, at, RUN), places, REQUESTS):
        hasher.update(data)
    if hasher.digest() != place.name.raw:
        raise CorruptRemote(f"pack {place.name} is not what it is named after")
