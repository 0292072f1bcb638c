"""Deleting tags, and taking that back.

The journal is written first: whatever happens then, the tag can be restored.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable

from mvs.errors import UNREADABLE, MissingObject, NeedsAll, TagExists, VersionNotFound
from mvs.format.ids import ObjectId
from mvs.format.lines.journal import Event
from mvs.format.lines.refs import Ref
from mvs.format.manifest import Manifest
from mvs.format.names import Spec, Tag
from mvs.ops.find import query
from mvs.ops.find.query import Stored
from mvs.ops.refs.aliases import check_unaliased
from mvs.store.store import Store


def plan(store: Store, specs: Iterable[Spec], *, all_versions: bool, force: bool = False) -> list[Ref]:
    """Return the refs that would be deleted, each once, in the order asked for.

    Raises:
        NeedsAll: a bare name without `all_versions`.
        Protected: an alias points at one, and not `force`.
        NotFound: a spec stands for nothing; then nothing is to be deleted.
    """
    doomed: dict[Tag, Ref] = {}
    for spec in specs:
        for ref in _chosen(store, spec, all_versions=all_versions):
            doomed[ref.tag] = ref
    found = list(doomed.values())
    if not force:
        check_unaliased(store, found)
    return found


def delete(
    store: Store,
    doomed: list[Ref],
    *,
    now: Callable[[], int],
    by: str,
    force: bool = False,
    still: Callable[[list[Ref]], list[Ref]] | None = None,
) -> list[Ref]:
    """Delete the tags of these refs and return those that were there to be deleted.

    A tag that came to mean something else since it was planned, or is damaged, is left alone. `still` is asked,
    under the lock, which of the versions of one name are still to go, aliased ones or not.

    Raises:
        Protected: an alias was pointed at one since it was planned, and not `force`; those of names before are gone.
    """
    by_name: dict[str, list[Ref]] = defaultdict(list)
    for ref in doomed:
        by_name[ref.tag.name].append(ref)
    gone: set[Tag] = set()
    for name, refs in by_name.items():
        # Outside the lock: it costs a read of each manifest, and those never change.
        trees = {ref.tag: _tree_of(store, ref) for ref in refs}
        with store.exclusive():
            there = [ref for ref in refs if store.refs.stands(ref)]
            if there and still is not None:
                there = still(there)
            elif there and not force:
                check_unaliased(store, there)
            if there:
                at = store.next_time(name, now())
                events = [
                    Event("delete", ref.tag.version, ref.id, None, trees[ref.tag], ref.created, at + index, by)
                    for index, ref in enumerate(there)
                ]
                store.journal.append(name, events)
                store.refs.remove(there)
        gone.update(ref.tag for ref in there)
    return [ref for ref in doomed if ref.tag in gone]


def restore(store: Store, tag: Tag, *, now: Callable[[], int], by: str) -> Stored:
    """Give a deleted tag back what it meant, and return that version.

    So is one that lost its ref, or a save that was cut off right before that came to be.

    Raises:
        VersionNotFound: the tag was never deleted, nor lost.
        TagExists: the tag is there.
        MissingObject: some of its files are no longer in the store.
    """
    with store.exclusive():
        if store.refs.exists(tag):
            raise TagExists(f"tag '{tag}' exists; there is nothing to restore", hint=f"mvs show {tag}")
        event = store.journal.last_deletion(tag.name, tag.version)
        event = event or next(store.journal.backwards(tag.name, tag.version), None)
        id = (event.old or event.new) if event else None
        if event is None or id is None:
            known = next(store.journal.events(tag.name), None)
            raise VersionNotFound(f"tag '{tag}' was never deleted", hint=f"mvs log {tag.name}" if known else "mvs list")
        ref = Ref(tag, id, event.created)
        # What is known of packs may be old: a dedup or a gc has moved things since.
        store.objects.packs.forget()
        manifest = store.manifest(ref)
        _check_whole(store, id, manifest)
        at = store.next_time(tag.name, now())
        back = Event("restore", tag.version, None, ref.id, manifest.tree_id, ref.created, at, by)
        store.journal.append(tag.name, [back])
        store.refs.prepare(ref, newest=store.refs.would_be_latest(ref)).commit()
    return query.stored(store, ref, manifest)


def _chosen(store: Store, spec: Spec, *, all_versions: bool) -> list[Ref]:
    found = query.chosen(store, spec)
    if spec.bare and not all_versions:
        raise NeedsAll(
            f"'{spec}' names a model, not a version; deleting all its versions must be asked for",
            hint=f"mvs delete {spec} --all",
        )
    return found


def _tree_of(store: Store, ref: Ref) -> ObjectId | None:
    try:
        return store.manifest(ref).tree_id
    except UNREADABLE:
        # What is damaged may be deleted; what it held is then not known.
        return None


def _check_whole(store: Store, id: ObjectId, manifest: Manifest) -> None:
    for entry in store.here(id, manifest):
        if not store.objects.has(entry.blob, entry.size):
            raise MissingObject(
                f"'{manifest.tag}' cannot be restored: the content of '{entry.path}' is no longer in the store",
                hint=f"mvs log {manifest.tag.name}",
            )
