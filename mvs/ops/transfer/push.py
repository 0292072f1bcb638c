"""Pushing: versions of this store become versions of a remote."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from mvs.errors import MissingObject, TagExists, command
from mvs.format.ids import ObjectId
from mvs.format.lines.refs import Ref
from mvs.format.pack import Index
from mvs.format.remote import Entry, PackPlace, Sent
from mvs.ops.find.absent import check as check_pulled
from mvs.ops.find.query import telling_deleted
from mvs.ops.transfer import beside
from mvs.ops.transfer.beside import Beside, Changes
from mvs.ops.transfer.holdings import Held, Holdings, closure
from mvs.ops.transfer.receiving import REQUESTS
from mvs.ops.transfer.sending import send
from mvs.running.progress import Progress
from mvs.store.remote.remote import Remote
from mvs.store.remote.state import State
from mvs.store.store import Store

if TYPE_CHECKING:
    from mvs.ops import dedup


@dataclass(frozen=True, slots=True)
class PushPlan:
    """Versions that would go, those that are there, and the plain bytes of what is not.

    `packing` is what would have to be packed for it, None for nothing.
    """

    remote: str
    refs: tuple[Ref, ...]
    present: tuple[Ref, ...]
    size: int
    packing: "dedup.Plan | None"
    changes: Changes
    force: bool

    @property
    def beside(self) -> Beside:
        """Aliases and notes that would go, and what differs."""
        return self.changes.facts()


@dataclass(frozen=True, slots=True)
class Pushed:
    """What went over: versions, packs and bytes on the wire."""

    refs: tuple[Ref, ...]
    present: tuple[Ref, ...]
    packs: int
    sent: int
    beside: Beside


def plan_push(
    store: Store, remote: Remote, refs: Iterable[Ref], state: State, *, progress: Progress, force: bool = False
) -> PushPlan:
    """Return what a push would send to a remote in a state; nothing is changed anywhere.

    With `force` aliases and notes win that are here.

    Raises:
        TagExists: the remote has a tag with other content.
        NotPulled: a file was not pulled from elsewhere, and that remote lacks it.
        RemoteFailed: it cannot be reached.
        VersionNotFound: a version was deleted meanwhile, and its files are gone.
        Corrupt: a version cannot be read.
    """
    present, new = parted(remote, state, refs)
    there = Holdings(remote.packs.indexes(state.packs.values() if new else ()))
    sizes: dict[ObjectId, int] = {}
    with telling_deleted(store, new):
        for ref in new:
            manifest = store.manifest(ref)
            lacking = [entry for entry in manifest.tree.files if there.find(entry.blob) is None]
            check_pulled(store, ref, manifest, lacking)
            sizes.update((entry.blob, entry.size) for entry in lacking)
    packing = _packing(store, new, {blob for blob in sizes if _is_unpacked(store, blob)}, progress)
    found = beside.sending(store, remote, state, [*new, *present], force=force)
    return PushPlan(remote.name, tuple(new), tuple(present), sum(sizes.values()), packing, found, force)


def push(
    store: Store,
    remote: Remote,
    plan: PushPlan,
    *,
    now: Callable[[], int],
    by: str,
    progress: Progress,
    jobs: int | None,
    requests: int | None = None,
    assumed: frozenset[ObjectId] = frozenset(),
) -> Pushed:
    """Do what a plan says: pack what is loose, send what the remote lacks, and let it have the versions in one step.

    Their aliases and notes go in the same step.

    What is loose stays loose. An interrupted push has changed nothing that anybody sees; the next one goes on.
    `jobs` threads pack, and so many `requests` are under way, as many as there are jobs where it is not said.
    What is `assumed` is not sent: whoever reads there has it.

    Raises:
        TagExists: the remote has a tag with other content by now.
        RemoteFailed: it cannot be reached.
        StoreBusy: another process makes packs.
        VersionNotFound: a version was deleted meanwhile, and its files are gone.
    """
    sender = Sender(store, remote, progress, jobs, requests or jobs or REQUESTS, assumed)
    sent = 0
    packs: set[ObjectId] = set()
    changes = Changes()

    def make(state: State) -> Entry | None:
        # Again for every entry of others: what they brought need not go, and what they gave up must go again.
        nonlocal sent, changes
        _, new = parted(remote, state, plan.refs)
        changes = beside.sending(store, remote, state, [*plan.refs, *plan.present], force=plan.force)
        versions, places, count = sender.send(state, new) if new else ([], [], 0)
        if not (versions or changes.aliases or changes.notes):
            return None
        sent += count
        packs.update(place.name for place in places)
        return state.next_entry(
            now(),
            by,
            packs=tuple(places),
            versions=tuple(versions),
            aliases=changes.moves(),
            notes=changes.labels(),
        )

    if not (plan.refs or plan.changes):
        return Pushed((), plan.present, 0, 0, plan.beside)
    if plan.packing:
        from mvs.ops import dedup  # noqa: PLC0415 - numpy, which a push of nothing new does without

        dedup.run(store, plan.packing, progress=progress, jobs=jobs, keep_loose=True)
    with telling_deleted(store, plan.refs):
        remote.log.commit(make)
    beside.agree(store, remote, changes, now=now, by=by)
    return Pushed(plan.refs, plan.present, len(packs), sent, changes.facts())


def _packing(store: Store, refs: list[Ref], blobs: set[ObjectId], progress: Progress) -> "dedup.Plan | None":
    """Return how some blobs of these versions are packed. Bases are looked for in all versions, which takes its time.

    Raises:
        Corrupt: a version cannot be read.
    """
    if not blobs:
        return None
    from mvs.ops import dedup  # noqa: PLC0415 - as above

    plan = dedup.plan(store, refs, progress=progress)
    return replace(plan, items=tuple(item for item in plan.items if item.blob in blobs))


def _is_unpacked(store: Store, blob: ObjectId) -> bool:
    return store.objects.is_loose(blob) and store.objects.packs.find(blob) is None


class Sender:
    """One push under way: it remembers what it has sent."""

    def __init__(
        self,
        store: Store,
        remote: Remote,
        progress: Progress,
        jobs: int | None,
        requests: int,
        assumed: frozenset[ObjectId],
    ) -> None:
        self._store = store
        self._assumed = assumed
        self._remote = remote
        self._progress = progress
        self._jobs = jobs
        self._requests = requests
        self._sent: dict[ObjectId, PackPlace] = {}
        self._indexes: dict[ObjectId, Index] = {}

    def send(self, state: State, refs: list[Ref]) -> tuple[list[Sent], list[PackPlace], int]:
        """Send what a remote in this state lacks; return what it then has, the packs that are new, and bytes sent."""
        # What was sent may have been given up since, as nothing named it.
        ours = {name: place for name, place in self._sent.items() if state.counts(place)}
        have = self._remote.packs.indexes(state.packs.values())
        there = Holdings({**have, **{name: self._indexes[name] for name in ours}})
        manifests = {ref: self._store.manifest(ref) for ref in refs}
        blobs = {entry.blob for manifest in manifests.values() for entry in manifest.tree.files}
        records = self._records(blobs, there)
        count = 0
        with self._store.session() as session:
            sending = send(
                self._store,
                self._remote,
                records,
                state.generation,
                session=session,
                progress=self._progress,
                requests=self._requests,
            )
            for place, index, sent in sending:
                count += sent
                self._sent[place.name] = ours[place.name] = place
                self._indexes[place.name] = index
        there = Holdings({**have, **{name: self._indexes[name] for name in ours}})
        versions = []
        for ref in refs:
            needed, missing = closure({entry.blob for entry in manifests[ref].tree.files}, there.find, self._assumed)
            if missing:
                raise MissingObject(
                    f"object {min(missing)} of '{ref.tag}' is gone", hint=command("mvs", "fsck", ref.tag)
                )
            names = tuple(sorted({held.pack for held in needed.values()}))
            versions.append(Sent(self._store.objects.read(ref.id), names))
        used = {name for version in versions for name in version.packs}
        return versions, [ours[name] for name in sorted(used & ours.keys())], count

    def _records(self, blobs: set[ObjectId], there: Holdings) -> dict[ObjectId, Held]:
        """Return the records that the other side lacks, whatever is loose packed for it.

        What it has may lean on what it lacks, where it gave up packs.
        """
        while True:
            found, missing = closure(blobs, lambda other: there.find(other) or self._find(other), self._assumed)
            if missing:
                # Of a store that is elsewhere itself.
                self._store.bring(missing)
                found, missing = closure(blobs, lambda other: there.find(other) or self._find(other), self._assumed)
            if not missing:
                return {id: held for id, held in found.items() if there.find(id) is None}
            # Bases of what is packed may be loose themselves, and belong to other versions.
            if gone := [id for id in missing if not self._store.objects.is_loose(id)]:
                raise MissingObject(f"object {min(gone)} is gone, and something to be pushed needs it", hint="mvs fsck")
            from mvs.ops import dedup  # noqa: PLC0415 - as above

            plan = dedup.alone({id: self._store.objects.size(id) for id in missing})
            dedup.run(self._store, plan, progress=self._progress, jobs=self._jobs, keep_loose=True)

    def _find(self, id: ObjectId) -> Held | None:
        found = self._store.objects.packs.place(id)
        return Held(*found) if found else None


def parted(remote: Remote, state: State, refs: Iterable[Ref]) -> tuple[list[Ref], list[Ref]]:
    """Return the versions that the remote has, and those that it lacks."""
    present, new = [], []
    for ref in sorted(set(refs), key=lambda ref: ref.created):
        known = state.versions.get(str(ref.tag))
        if known is None:
            new.append(ref)
        elif known.id == ref.id:
            present.append(ref)
        else:
            raise TagExists(
                f"'{ref.tag}' is another version at '{remote.name}'; a tag never changes",
                hint=command("mvs", "show", f"{remote.name}/{ref.tag}"),
            )
    return present, new
