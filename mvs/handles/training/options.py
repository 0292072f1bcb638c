"""Options that verbs for training pass on, written once.

Their defaults stand where they are used: `Repository.create`, `Watcher` and `Checkpointer`.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Literal, TypedDict

from mvs.handles.version import SpecLike


class About(TypedDict, total=False):
    """What is said of a version when it is saved, as `Repository.create` takes it."""

    labels: Mapping[str, str] | None
    metadata: Mapping[str, Any] | None
    context: Mapping[str, Any] | None
    parents: Iterable[SpecLike]
    message: str
    reuse_tag: bool


class Keeping(TypedDict, total=False):
    """Which checkpoints are kept, and how they are labelled, as `Checkpointer` takes it."""

    keep_last: int | None
    keep_best: int | None
    monitor: str | None
    mode: Literal["min", "max"]
    labels: Mapping[str, str] | None


class Watching(Keeping, total=False):
    """And what a checkpoint is called, and when it is whole, as `Repository.watch` tells."""

    pattern: str
    marker: str | None
    settle: float
