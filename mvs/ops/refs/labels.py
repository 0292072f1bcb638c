"""Labels that change: notes, which stand beside the labels that a version was saved with.

The journal is written first: it says what every label was before.
"""

from collections.abc import Callable, Mapping

from mvs.errors import InvalidMetadata
from mvs.format.lines.journal import Noted
from mvs.format.lines.notes import MAX_BYTES, Notes
from mvs.format.names import Spec
from mvs.ops.find import query
from mvs.store.store import Store


def label(store: Store, spec: Spec, labels: Mapping[str, str], *, now: Callable[[], int], by: str) -> query.Stored:
    """Set labels of the version a spec stands for, remove those that are empty, and return the version.

    Raises:
        NotFound: `spec` stands for nothing.
        InvalidMetadata: one to be removed was saved with the version, or all are too much.
        CorruptRef: the notes are damaged.
    """
    with store.exclusive():
        ref = query.resolve(store, spec)
        manifest = store.manifest(ref)
        there = store.notes.read(ref.tag)
        before = dict(there.labels) if there and there.id == ref.id else {}
        after = {key: value for key, value in {**before, **labels}.items() if value}
        for key in labels.keys() - after.keys() - before.keys():
            if key in manifest.labels:
                raise InvalidMetadata(
                    f"label '{key}' was saved with '{ref.tag}' and cannot be removed; it can be given another value",
                    hint=f"mvs show {ref.tag}",
                )
        changed = {key: (before.get(key), after.get(key)) for key in labels if before.get(key) != after.get(key)}
        if changed:
            notes = Notes(ref.tag, ref.id, after)
            check_size(notes)
            at = store.next_time(ref.tag.name, now())
            store.journal.append(ref.tag.name, [Noted(ref.tag.version, ref.id, changed, at, by)])
            store.notes.write(notes)
    return query.stored(store, ref, manifest)


def check_size(notes: Notes) -> None:
    """Refuse notes that are too many to be read again.

    Raises:
        InvalidMetadata: they are.
    """
    if len(notes.encode()) > MAX_BYTES:
        raise InvalidMetadata(f"the labels of '{notes.tag}' would have more than {MAX_BYTES >> 20} MiB")
