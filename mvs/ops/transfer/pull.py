"""Pulling: versions of a remote become versions of this store."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from mvs.errors import UNREADABLE, CorruptRemote, FileNotInVersion, MissingObject, TagExists, command
from mvs.format.ids import ObjectId
from mvs.format.lines.journal import Event
from mvs.format.lines.partial import Partial
from mvs.format.lines.refs import Ref
from mvs.format.manifest import Manifest
from mvs.format.names import Tag
from mvs.format.pack import Record
from mvs.format.remote import PackPlace
from mvs.ops.giving.checkout import matching
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
    """Versions that would come, those that are here, and the bytes that would travel.

    Attributes:
        remote: the name of the remote.
        manifests: the versions that would come.
        present: the versions that are here.
        completed: those of them that files would come of, which were not pulled before.
        left: for each version that would come, or be completed, the blobs that would stay there, with their sizes.
        packs: where what travels lies: whole packs, or records of them.
        state: what the remote has.
    """

    remote: str
    manifests: tuple[Manifest, ...]
    present: tuple[Ref, ...]
    completed: tuple[Manifest, ...]
    left: Mapping[Tag, Mapping[ObjectId, int]]
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

    @property
    def left_bytes(self) -> int:
        """Plain bytes of the files that would stay at the remote, each file once."""
        return sum({id: size for blobs in self.left.values() for id, size in blobs.items()}.values())


class Here:
    """The objects that a store has."""

    def __init__(self, store: Store) -> None:
        self._objects = store.objects

    def __contains__(self, id: object) -> bool:
        return isinstance(id, ObjectId) and self._objects.is_here(id)


@dataclass(frozen=True, slots=True)
class Pulled:
    """What came: versions, files of those that were here in part, and bytes over the wire; plain bytes that stayed."""

    refs: tuple[Ref, ...]
    present: tuple[Ref, ...]
    completed: tuple[Tag, ...]
    received: int
    left: int
    beside: Beside


def plan_pull(
    store: Store,
    remote: Remote,
    tags: Iterable[str],
    state: State,
    *,
    include: Iterable[str] = (),
    exclude: Iterable[str] = (),
) -> PullPlan:
    """Return what a pull would bring; nothing is changed anywhere.

    Of each version only the files come that match a glob of `include`, all without any, and none of `exclude`.

    Raises:
        FileNotInVersion: no file of any of them matches `include`.
        TagExists: this store has a tag with other content.
        CorruptRemote: something that a version needs is not there.
        RemoteFailed: the remote cannot be reached.
    """
    present: list[Ref] = []
    manifests: list[Manifest] = []
    completed: list[Manifest] = []
    names: set[ObjectId] = set()
    include, exclude = tuple(include), tuple(exclude)
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
            if not _is_partial(store, own):
                continue
        (manifests if own is None else completed).append(manifest)
        names.update(known.packs)
    places = {name: state.packs[name] for name in names}
    there = Holdings(remote.packs.indexes(places.values()))
    blobs: set[ObjectId] = set()
    left: dict[Tag, dict[ObjectId, int]] = {}
    for manifest in (*manifests, *completed):
        chosen = {entry.blob for entry in matching(manifest.tree.files, include, exclude)}
        left[manifest.tag] = {entry.blob: entry.size for entry in manifest.tree.files if entry.blob not in chosen}
        blobs |= chosen
    if include and left and not blobs:
        first = next(iter(left))
        raise FileNotInVersion(f"no file of '{first}' matches", hint=command("mvs", "show", f"{remote.name}/{first}"))
    here = Here(store)
    found, missing = closure(blobs, there.find, here)
    if missing:
        raise CorruptRemote(
            f"object {min(missing)}, which '{(*manifests, *completed)[0].tag}' needs, is neither at '{remote.name}' "
            "nor here"
        )
    # What is here for another reason, or comes for one, need not come.
    left = {
        tag: {id: size for id, size in absent.items() if id not in found and id not in here}
        for tag, absent in left.items()
    }
    packs = coming(remote, places, found)
    return PullPlan(remote.name, tuple(manifests), tuple(present), tuple(completed), left, packs, state)


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
    include: Iterable[str] = (),
    exclude: Iterable[str] = (),
) -> Pulled:
    """Bring versions here: packs first, each record decoded and compared with its id, then refs, then what is beside.

    Of each version only the files come that match; before its ref is written that it lacks the others. Of one that is
    here in part more files come. With `force` aliases and notes win that are there.

    With so many `jobs` at once; what an interrupted pull had received need not come again.

    Raises:
        FileNotInVersion: no file of any of them matches `include`.
        TagExists: this store has a tag with other content.
        Corrupt: what came is not what it says it is; nothing of it is in the store.
        RemoteFailed: the remote cannot be reached.
        StoreBusy: another process makes packs.
    """
    with store.session() as session:
        # Nobody packs meanwhile: so what comes is of objects that this store lacks, and no circle can come about.
        with store.packing():
            plan = plan_pull(store, remote, tags, remote.log.state(), include=include, exclude=exclude)
            arrivals, received = receive(store, remote, plan.packs, session.path, progress, jobs or REQUESTS)
            store.accept(arrivals, session.path)
            store.arriving.clear()
        refs = tuple(_publish(store, remote, manifest, plan, now=now, by=by) for manifest in plan.manifests)
    for manifest in plan.completed:
        with store.exclusive():
            _note(store, remote, manifest, plan)
    found = beside.receive(
        store, remote, plan.state, [*refs, *plan.present], force=force, protects=protects, now=now, by=by
    )
    completed = tuple(manifest.tag for manifest in plan.completed)
    return Pulled(refs, plan.present, completed, received, plan.left_bytes, found)


def _publish(
    store: Store, remote: Remote, manifest: Manifest, plan: PullPlan, *, now: Callable[[], int], by: str
) -> Ref:
    data = manifest.encode()
    ref = Ref(manifest.tag, ObjectId.of(data), manifest.created)
    with store.exclusive():
        own = store.refs.read(ref.tag)
        if own is not None:
            if own.id != ref.id:
                raise TagExists(f"'{ref.tag}' was saved here meanwhile; a tag never changes")
            if _is_partial(store, own):
                # Another pull was quicker, and brought other files.
                _note(store, remote, manifest, plan)
            return own
        with store.adding() as adding:
            adding.put(data)
            adding.sync()
            # Before the ref: nobody finds a version that lacks files and does not say so.
            _note(store, remote, manifest, plan)
            at = store.next_time(ref.tag.name, now())
            event = Event("save", ref.tag.version, None, ref.id, manifest.tree_id, ref.created, at, by)
            store.journal.append(ref.tag.name, [event])
            pending = store.refs.prepare(ref, newest=store.refs.would_be_latest(ref))
        pending.commit()
    return ref


def _note(store: Store, remote: Remote, manifest: Manifest, plan: PullPlan) -> None:
    """Note which files of a version are not here, of those that were left at the remote; under the lock.

    Raises:
        MissingObject: one that was to come is not here.
    """
    store.objects.packs.forget()
    left = plan.left[manifest.tag]
    gone = {entry.blob: entry.path for entry in manifest.tree.files if not store.objects.has(entry.blob, entry.size)}
    for path in (path for id, path in gone.items() if id not in left):
        raise MissingObject(f"the content of '{path}' of '{manifest.tag}' is gone again", hint="mvs pull")
    id = plan.state.versions[str(manifest.tag)].id
    if gone:
        store.partials.write(Partial(manifest.tag, id, frozenset(gone), remote.name, remote.address.url))
    else:
        store.partials.remove(id)


def _is_partial(store: Store, ref: Ref) -> bool:
    """Tell whether files of a version may be lacking that were not pulled."""
    try:
        return store.partials.read(ref.id) is not None
    except UNREADABLE:
        # Then a pull finds out which, and writes it anew.
        return True
