"""Pulling: versions of a remote become versions of this store."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from mvs.errors import CorruptRemote, MissingObject, TagExists, command
from mvs.format.ids import ObjectId
from mvs.format.lines.journal import Event
from mvs.format.lines.refs import Ref
from mvs.format.manifest import Manifest
from mvs.format.pack import Record
from mvs.format.remote import PackPlace
from mvs.ops.transfer import beside
from mvs.ops.transfer.beside import Beside, Protects
from mvs.ops.transfer.holdings import Held, Holdings, by_pack, closure
from mvs.ops.transfer.receiving import REQUESTS, receive
from mvs.running.progress import Progress
from mvs.store.remote.remote import Remote
from mvs.store.remote.state import State
from mvs.store.store import Store

# Packs, which of their records, and whether that is all of them.
Coming = tuple[tuple[PackPlace, tuple[Record, ...], bool], ...]


@dataclass(frozen=True, slots=True)
class PullPlan:
    """Versions that would come, those that are here, and the bytes that would travel."""

    remote: str
    manifests: tuple[Manifest, ...]
    present: tuple[Ref, ...]
    packs: Coming
    state: State

    @property
    def refs(self) -> tuple[Ref, ...]:
        """The refs of all versions that were asked for."""
        new = ((manifest, self.state.versions[str(manifest.tag)]) for manifest in self.manifests)
        return (*(Ref(manifest.tag, known.id, known.created) for manifest, known in new), *self.present)

    @property
    def bytes(self) -> int:
        """Bytes that would travel."""
        return sum(
            place.size if whole else sum(record.length for record in records) for place, records, whole in self.packs
        )


class Here:
    """The objects that a store has."""

    def __init__(self, store: Store) -> None:
        self._objects = store.objects

    def __contains__(self, id: object) -> bool:
        return isinstance(id, ObjectId) and (self._objects.is_loose(id) or self._objects.packs.find(id) is not None)


@dataclass(frozen=True, slots=True)
class Pulled:
    """What came: versions, and bytes over the wire."""

    refs: tuple[Ref, ...]
    present: tuple[Ref, ...]
    received: int
    beside: Beside


def plan_pull(store: Store, remote: Remote, tags: Iterable[str], state: State) -> PullPlan:
    """Return what a pull would bring; nothing is changed anywhere.

    Raises:
        TagExists: this store has a tag with other content.
        CorruptRemote: something that a version needs is not there.
        RemoteFailed: the remote cannot be reached.
    """
    present: list[Ref] = []
    manifests: list[Manifest] = []
    names: set[ObjectId] = set()
    for tag in tags:
        known = state.versions[tag]
        manifest = Manifest.decode(remote.log.manifest(tag, state))
        ref = Ref(manifest.tag, known.id, known.created)
        own = store.refs.read(ref.tag)
        if own is not None and own.id != ref.id:
            raise TagExists(
                f"'{ref.tag}' is another version here than at '{remote.name}'; a tag never changes",
                hint=command("mvs", "show", ref.tag),
            )
        if own is not None:
            present.append(own)
            continue
        manifests.append(manifest)
        names.update(known.packs)
    places = {name: state.packs[name] for name in names}
    there = Holdings(remote.packs.indexes(places.values()))
    blobs = {entry.blob: entry.size for manifest in manifests for entry in manifest.tree.files}
    found, missing = closure(blobs, there.find, Here(store))
    if missing:
        raise CorruptRemote(
            f"object {min(missing)}, which '{manifests[0].tag}' needs, is neither at '{remote.name}' nor here"
        )
    return PullPlan(remote.name, tuple(manifests), tuple(present), coming(remote, places, found), state)


def coming(remote: Remote, places: Mapping[ObjectId, PackPlace], found: Mapping[ObjectId, Held]) -> Coming:
    """Return what travels where some records are to come: of each pack some of them, or all."""
    return tuple(
        (places[name], tuple(records), len(records) == len(remote.packs.index(places[name]).records))
        for name, records in by_pack(found).items()
    )


def pull(
    store: Store,
    remote: Remote,
    tags: Iterable[str],
    *,
    now: Callable[[], int],
    by: str,
    progress: Progress,
    protects: Protects = lambda _: False,
    force: bool = False,
    jobs: int | None = None,
) -> Pulled:
    """Bring versions here: packs first, each record decoded and compared with its id, then refs, then what is beside.

    With `force` aliases and notes win that are there.

    With so many `jobs` at once; what an interrupted pull had received need not come again.

    Raises:
        TagExists: this store has a tag with other content.
        Corrupt: what came is not what it says it is; nothing of it is in the store.
        RemoteFailed: the remote cannot be reached.
        StoreBusy: another process makes packs.
    """
    with store.session() as session:
        # Nobody packs meanwhile: so what comes is of objects that this store lacks, and no circle can come about.
        with store.packing():
            plan = plan_pull(store, remote, tags, remote.log.state())
            arrivals, received = receive(store, remote, plan.packs, session.path, progress, jobs or REQUESTS)
            store.accept(arrivals, session.path)
            store.arriving.clear()
        refs = tuple(_publish(store, manifest, now=now, by=by) for manifest in plan.manifests)
    found = beside.receive(
        store, remote, plan.state, [*refs, *plan.present], force=force, protects=protects, now=now, by=by
    )
    return Pulled(refs, plan.present, received, found)


def _publish(store: Store, manifest: Manifest, *, now: Callable[[], int], by: str) -> Ref:
    data = manifest.encode()
    ref = Ref(manifest.tag, ObjectId.of(data), manifest.created)
    with store.exclusive():
        own = store.refs.read(ref.tag)
        if own is not None:
            if own.id != ref.id:
                raise TagExists(f"'{ref.tag}' was saved here meanwhile; a tag never changes")
            return own
        store.objects.packs.forget()
        for entry in manifest.tree.files:
            if not store.objects.has(entry.blob, entry.size):
                raise MissingObject(f"the content of '{entry.path}' of '{ref.tag}' is gone again", hint="mvs pull")
        with store.adding() as adding:
            adding.put(data)
            adding.sync()
            at = store.next_time(ref.tag.name, now())
            event = Event("save", ref.tag.version, None, ref.id, manifest.tree_id, ref.created, at, by)
            store.journal.append(ref.tag.name, [event])
            pending = store.refs.prepare(ref, newest=store.refs.would_be_latest(ref))
        pending.commit()
    return ref
