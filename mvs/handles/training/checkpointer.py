"""Checkpoints of a training run: saved beside it, the older ones deleted, the last one found again."""

import math
import os
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from contextlib import suppress
from types import TracebackType
from typing import Any, Literal, Protocol, Self, Unpack

from mvs.errors import InvalidInput, MvsError, NameNotFound, NotFound, StoreBusy
from mvs.format.names import Tag, parse_name
from mvs.handles.training.options import About
from mvs.handles.training.saver import Busy
from mvs.handles.version import PathLike, SpecLike, Version
from mvs.running.progress import Silent

# What tells a checkpoint from versions that were saved otherwise, which are never deleted here.
LABEL = {"kind": "checkpoint"}
Source = PathLike | Mapping[Any, Any]


class Versions(Protocol):
    """What is needed of a repository."""

    def save_async(
        self, source: Source, tag: str | Tag, *, move: bool = False, busy: Busy = "wait", **about: Unpack[About]
    ) -> Future[Version]:
        """Save beside the caller."""

    def close(self) -> None:
        """Wait for what is being saved."""

    def delete(self, *specs: SpecLike) -> list[Tag]:
        """Delete tags."""

    def gc(self, *, purge: Iterable[str] = ()) -> Any:
        """Give back what deleted versions took."""

    def fsck(self, *specs: SpecLike, level: Literal["full"]) -> Any:
        """Read every byte of versions."""

    # The last one: below it, its name is not the type.
    def list(self, name: str | None = None, *, labels: Mapping[str, str] | None = None) -> list[Version]:
        """Return versions, newest first."""


class Checkpointer:
    """Saves a checkpoint every so many steps, without holding up the steps, and keeps the disk bounded.

    `Checkpointer(repo, name, *, every=1, keep_last=None, keep_best=None, monitor=None, mode="min", labels=None,
    context=None, busy="wait")`, best in a `with` block: its end waits for the last save.

    Checkpoints are versions of `name`, of those steps that can be divided by `every`. With `keep_last` or `keep_best`
    the others are deleted as new ones come, and the disk has their room at once: they cannot be restored, and neither
    can what else is deleted under this name. The newest is always kept. The best are those with the lowest (`mode`
    "min") or highest ("max") of the metric `monitor`. Without both all are kept. What an alias points at is kept, and
    other versions of the name, without the label `kind=checkpoint`, are left alone. `busy` is what to do when the save
    before still runs: "wait" for it or "skip" this one. Runs under one name share its checkpoints: give each its own.
    Their context says which `run` they are of, by an id of its own unless `context` has one.

    A failed save does not end the training: it is told in the log, `failure` holds it, and the next one is tried.

    Attributes:
        failure: what the last save failed of; None when it went well, or there was none.

    Raises:
        InvalidInput: a number is below one, or of `keep_best` and `monitor` one comes without the other.
        InvalidTag: `name` is no name.
    """

    def __init__(
        self,
        repo: Versions,
        name: str,
        *,
        every: int = 1,
        keep_last: int | None = None,
        keep_best: int | None = None,
        monitor: str | None = None,
        mode: Literal["min", "max"] = "min",
        labels: Mapping[str, str] | None = None,
        context: Mapping[str, Any] | None = None,
        busy: Busy = "wait",
    ) -> None:
        for what, number in (("every", every), ("keep_last", keep_last), ("keep_best", keep_best)):
            if number is not None and (type(number) is not int or number < 1):
                raise InvalidInput(f"{what} is a number of one or more, not {number!r}")
        if (keep_best is None) != (monitor is None):
            raise InvalidInput("keep_best and monitor belong together: which are the best, and by what")
        if mode not in ("min", "max"):
            raise InvalidInput(f"mode is 'min' or 'max', not {mode!r}")
        if busy not in ("wait", "skip"):
            raise InvalidInput(f"busy is 'wait' or 'skip', not {busy!r}")
        self.name = parse_name(name)
        self.failure: BaseException | None = None
        self._repo = repo
        self._every = every
        self._last = keep_last
        self._best = keep_best
        self._monitor = monitor
        self._sign = 1 if mode == "min" else -1
        self._labels = {**(labels or {}), **LABEL}
        # What the checkpoints of one run have in common, however often their name is used.
        self._context = {"run": os.urandom(6).hex(), **(context or {})}
        self._busy = busy
        self._count = 0
        self._parent: Version | None = None

    def step(
        self,
        state: Source | Callable[[], Source],
        *,
        step: int | None = None,
        metrics: Mapping[str, Any] | None = None,
        move: bool = False,
    ) -> Future[Version] | None:
        """Save a checkpoint if it is time for one; return its future, None where it is not or it could not begin.

        `state` is what `Repository.save_async` takes, a dict of arrays or a path, or a function that returns it and is
        only called when it is time. Without `step` the calls are counted, from the one that was resumed. `metrics`
        and the step become the metadata of the version; what is no finite number in them becomes text.

        Raises:
            InvalidInput, InvalidMetadata, InvalidPath: what is given cannot be saved.
        """
        self._count = self._count + 1 if step is None else step
        if not self.due(self._count):
            return None
        return self.save(state() if callable(state) else state, step=self._count, metrics=metrics, move=move)

    def save(
        self,
        state: Source,
        *,
        step: int,
        metrics: Mapping[str, Any] | None = None,
        context: Mapping[str, Any] | None = None,
        move: bool = False,
    ) -> Future[Version] | None:
        """Save a checkpoint now, whatever the step is; otherwise as `step`. `context` adds to that of all."""
        try:
            future = self._repo.save_async(
                state,
                self.name,
                labels=self._labels,
                metadata={**{key: _told(value) for key, value in (metrics or {}).items()}, "step": step},
                context={**self._context, **(context or {})},
                parents=[self._parent] if self._parent else [],
                move=move,
                busy=self._busy,
            )
        except InvalidInput:
            raise
        except MvsError as error:
            self._failed(error)
            return None
        if not future.cancelled():
            future.add_done_callback(self._saved)
        return future

    def due(self, step: int) -> bool:
        """Tell whether it is time for a checkpoint at a step (or an epoch, where those are counted)."""
        return step % self._every == 0

    def follow(self, step: int) -> Version | None:
        """Let what is saved from here on name the newest checkpoint of a step as its parent, if there is one."""
        found = next((version for version in self._checkpoints() if version.metadata.get("step") == step), None)
        self._parent = found or self._parent
        return found

    def latest(self) -> Version | None:
        """Return the newest checkpoint, None where there is none."""
        return next(iter(self._checkpoints()), None)

    def resume(self) -> Version | None:
        """Return the newest checkpoint of which every byte is right, None where there is none.

        What is saved from here on names it as its parent, and steps are counted from it.
        """
        for version in self._checkpoints():
            if self._repo.fsck(version, level="full").ok:
                self._parent = version
                step = version.metadata.get("step")
                self._count = step if isinstance(step, int) else 0
                return version
            Silent().notice(f"'{version.tag}' is damaged; the one before it is tried")
        return None

    def close(self) -> None:
        """Wait for the save that runs.

        Raises:
            MvsError: the last save failed: what it would have saved is not in the store.
        """
        self._repo.close()
        if self.failure is not None:
            raise self.failure

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.close()
        except Exception:
            # It was told when it happened; what ended the block is what the caller must see.
            if error is None:
                raise

    def _saved(self, future: Future[Version]) -> None:
        """Make room, before the next save begins."""
        error = future.exception()
        if error is not None:
            self._failed(error)
            return
        self.failure = None
        if self._last is None and self._best is None:
            return
        try:
            if doomed := self._doomed():
                for version in doomed:
                    self._delete(version)
                self._repo.gc(purge=[self.name])
        except StoreBusy:
            # A dedup or another gc is at work: the room comes back after the next checkpoint.
            pass
        except Exception as failure:  # noqa: BLE001 - nobody hears what is raised here
            Silent().notice(f"older checkpoints of '{self.name}' could not be removed: {failure}")

    def _delete(self, version: Version) -> None:
        # Another run under this name may have been faster.
        with suppress(NotFound):
            self._repo.delete(version)

    def _doomed(self) -> list[Version]:
        there = self._checkpoints()
        kept = set(there[: self._last or 1])
        kept.update(version for version in there if version.aliases)
        if self._monitor is not None:
            figures = [(self._figure(version, self._monitor), version) for version in there]
            # Of equal ones the newest stays: it comes first, and sorting leaves it there.
            best = sorted((pair for pair in figures if pair[0] is not None), key=lambda pair: pair[0] or 0)
            kept.update(version for _, version in best[: self._best])
        return [version for version in there if version not in kept]

    def _figure(self, version: Version, monitor: str) -> float | None:
        value = version.metadata.get(monitor)
        return self._sign * value if isinstance(value, int | float) else None

    def _checkpoints(self) -> list[Version]:
        try:
            return self._repo.list(self.name, labels=LABEL)
        except NameNotFound:
            return []

    def _failed(self, error: BaseException) -> None:
        self.failure = error
        Silent().notice(f"a checkpoint of '{self.name}' was not saved: {error}")


def _told(value: Any) -> Any:
    """Return a metric as metadata can hold it: JSON has no NaN, and a run that diverged must still be saved."""
    if getattr(value, "shape", None) == () and hasattr(value, "item"):
        value = value.item()
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
