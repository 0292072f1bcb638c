"""Two versions side by side: their files, labels, metadata and messages."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from mvs.format.ids import ObjectId
from mvs.format.manifest import FileEntry, Tree
from mvs.format.names import Tag
from mvs.ops.diff.facts import FileDiff, TensorDiff, ValueDiff
from mvs.ops.diff.layers import Layer, by_layer
from mvs.ops.find.query import Stored
from mvs.running.progress import Progress
from mvs.store.store import Store


@dataclass(frozen=True, slots=True)
class Diff:
    """What differs between two versions. Two versions of the same content and facts do not.

    Attributes:
        before: the tag of the first version.
        after: the tag of the second version.
        files: those that differ, sorted by path.
        labels: those that differ, by key.
        metadata: the values that differ, by key.
        message: None where it is the same.
        tensors: all of them, by name; None where they were not asked for.
    """

    before: Tag
    after: Tag
    files: tuple[FileDiff, ...]
    labels: tuple[ValueDiff, ...]
    metadata: tuple[ValueDiff, ...]
    message: ValueDiff | None
    tensors: tuple[TensorDiff, ...] | None

    @property
    def same(self) -> bool:
        """Whether nothing differs."""
        return not (self.files or self.labels or self.metadata or self.message)

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The tensors by layer; none where they were not asked for."""
        return by_layer(self.tensors or ())

    def to_dict(self) -> dict[str, Any]:
        """Return the facts as JSON holds them, the form `--json` prints."""
        asked = self.tensors is not None
        return {
            "before": str(self.before),
            "after": str(self.after),
            "same": self.same,
            "files": [file.to_dict() for file in self.files],
            "labels": [value.to_dict() for value in self.labels],
            "metadata": [value.to_dict() for value in self.metadata],
            "message": self.message.to_dict() if self.message else None,
            "layers": [layer.to_dict() for layer in self.layers] if asked else None,
            "tensors": [tensor.to_dict() for tensor in self.tensors or ()] if asked else None,
        }


def diff(store: Store, before: Stored, after: Stored, *, tensors: bool, progress: Progress) -> Diff:
    """Return what differs between two versions; files are only read for `tensors`.

    Raises:
        Corrupt: a file that must be read is damaged or lost.
    """
    compared = None
    if tensors:
        from mvs.ops.diff.tensors import compare  # noqa: PLC0415 - numpy, only where numbers are wanted

        compared = compare(store, before, after, progress)
    ours, theirs = before.manifest, after.manifest
    return Diff(
        before=before.ref.tag,
        after=after.ref.tag,
        files=tuple(sorted(_files(ours.tree, theirs.tree), key=lambda file: file.path)),
        labels=tuple(_values(ours.labels, theirs.labels)),
        metadata=tuple(_values(ours.metadata, theirs.metadata)),
        message=None
        if ours.message == theirs.message
        else ValueDiff("changed", "message", ours.message, theirs.message),
        tensors=compared,
    )


def _files(before: Tree, after: Tree) -> Iterator[FileDiff]:
    ours, theirs = _entries(before), _entries(after)
    for path in ours.keys() & theirs.keys():
        if ours[path] != theirs[path]:
            yield FileDiff("changed", ours[path], theirs[path])
    gone = {path: ours[path] for path in sorted(ours.keys() - theirs.keys())}
    # An empty file is like any other, whatever it was called.
    by_blob: dict[ObjectId, list[str]] = {}
    for path, entry in gone.items():
        if entry.size:
            by_blob.setdefault(entry.blob, []).append(path)
    for path in sorted(theirs.keys() - ours.keys()):
        if same := by_blob.get(theirs[path].blob):
            yield FileDiff("renamed", gone.pop(same.pop(0)), theirs[path])
        else:
            yield FileDiff("added", None, theirs[path])
    yield from (FileDiff("removed", entry, None) for entry in gone.values())


def _entries(tree: Tree) -> dict[str, FileEntry]:
    nothing = ObjectId.of(b"")
    folders = {f"{path}/": FileEntry(f"{path}/", 0, nothing) for path in tree.dirs}
    return {entry.path: entry for entry in tree.files} | folders


def _values(before: Mapping[str, Any], after: Mapping[str, Any], path: str = "") -> Iterator[ValueDiff]:
    for key in sorted(before.keys() | after.keys()):
        name = f"{path}.{key}" if path else key
        if key not in before:
            yield ValueDiff("added", name, None, after[key])
        elif key not in after:
            yield ValueDiff("removed", name, before[key], None)
        elif isinstance(before[key], dict) and isinstance(after[key], dict):
            yield from _values(before[key], after[key], name)
        # 1, 1.0 and True are equal in Python, and three things in a manifest.
        elif json.dumps(before[key], sort_keys=True) != json.dumps(after[key], sort_keys=True):
            yield ValueDiff("changed", name, before[key], after[key])
