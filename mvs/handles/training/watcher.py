"""Checkpoints that somebody else writes: each is saved once, when it is whole.

Looks again and again, which works on every file system; what changed between two looks is still being written.
"""

import glob
import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Unpack

from mvs.errors import EmptyFolder, InvalidInput, SourceNotFound
from mvs.format.ids import ObjectId
from mvs.handles.training.checkpointer import Checkpointer, Versions
from mvs.handles.training.found import is_marked, is_unfinished, metrics_of, step_of
from mvs.handles.training.options import Keeping
from mvs.handles.version import Version
from mvs.ops.saving.walk import walk

# Between two looks: short beside what it takes to write a checkpoint, long beside a look.
_SECONDS = 5.0
# Where what was saved is noted, in the cache of the store.
_NOTES = "watched"


@dataclass(frozen=True)
class Memory:
    """A place for notes that outlive the process, and may be lost."""

    recalled: Callable[[str], bytes | None]
    note: Callable[[str, bytes], None]


class Watcher:
    """Looks for checkpoints in a folder, and saves those that are whole and were not saved before.

    A checkpoint is whole when nothing in it changed for `settle` seconds; when a file is in it that is written last
    (`marker`, or one that frameworks are known to write), from one look to the next.

    Attributes:
        seconds: how long to wait between two looks.
        looks: how many of them are needed to save what is there and does not change.
    """

    def __init__(
        self,
        repo: Versions,
        memory: Memory,
        folder: str,
        name: str,
        *,
        pattern: str = "checkpoint-*",
        marker: str | None = None,
        settle: float = 30.0,
        context: Mapping[str, Any] | None = None,
        notice: Callable[[str], None],
        **keeping: Unpack[Keeping],
    ) -> None:
        if os.path.isabs(pattern) or ".." in pattern.split("/"):
            raise InvalidInput(f"a pattern is relative to the folder that is watched, not '{pattern}'")
        if not settle >= 0:
            raise InvalidInput(f"settle is a number of seconds, not {settle!r}")
        self.seconds = min(_SECONDS, max(settle / 2, 0.01))
        self.looks = max(1, round(settle / self.seconds)) if settle else 0
        self._repo = repo
        self._memory = memory
        self._notice = notice
        self._folder = os.path.abspath(folder)
        self._pattern = pattern
        self._marker = marker
        self._checkpoints = Checkpointer(repo, name, context=context, **keeping)
        self._seen: dict[str, tuple[str, int]] = {}
        self._refused: set[str] = set()
        self._count = 0
        id = ObjectId.of(json.dumps([self._folder, self._checkpoints.name]).encode("utf-8", "surrogateescape"))
        self._note = f"{_NOTES}/{str(id)[:32]}"
        self._done, self._floor = self._recalled()

    def look(
        self,
        *,
        final: bool = False,
        context: Mapping[str, Any] | None = None,
        stop: Callable[[], bool] = lambda: False,
    ) -> Iterator[Version]:
        """Save what is whole, oldest step first, and yield the versions; with `final` nobody writes any more.

        What is deleted or changed meanwhile is left for the next look, and so is what could not be saved.
        """
        there = sorted((self._found(path) for path in self._paths()), key=lambda found: (found[0], found[1]))
        self._seen = {path: self._seen.get(path, ("", 0)) for _, path in there}
        for step, path in there:
            if stop():
                return
            seal = self._seal(path)
            if seal is None or seal in self._done or seal in self._refused:
                continue
            if step <= self._floor:
                self._notice(f"'{path}' is older than what was saved from there, and is left out; `mvs save` saves it")
                self._refused.add(seal)
                continue
            before, count = self._seen[path]
            count = count + 1 if seal == before else 0
            self._seen[path] = (seal, count)
            enough = min(1, self.looks) if is_marked(path, self._marker) else self.looks
            if final or count >= enough:
                version = self._saved(path, seal, context)
                if version is not None:
                    yield version

    def pass_over(self) -> None:
        """Save nothing of what is there now, unless it changes."""
        self._refused.update(seal for path in self._paths() if (seal := self._seal(path)))

    @property
    def failure(self) -> BaseException | None:
        """What the last save failed of; None when it went well."""
        return self._checkpoints.failure

    def close(self) -> None:
        """Wait until older checkpoints are gone, where there are too many."""
        with suppress(Exception):
            # Every failure was told, and will be tried again.
            self._checkpoints.close()

    def _saved(self, path: str, seal: str, context: Mapping[str, Any] | None) -> Version | None:
        self._count += 1
        step = step_of(path)
        told = {**(context or {}), "watched": {"folder": self._folder, "path": self._short(path), "seal": seal}}
        try:
            future = self._checkpoints.save(
                path, step=self._count if step is None else step, metrics=metrics_of(path), context=told
            )
            if future is not None and future.exception() is None:
                self._done.add(seal)
                self._memory.note(self._note, "\n".join(sorted(self._done)).encode())
                return future.result()
        except InvalidInput as error:
            # It will not be better before it changes.
            self._notice(f"'{path}' cannot be saved: {error}")
            self._refused.add(seal)
        # It was deleted, is written to again, or the disk is full: it is given the whole time once more.
        self._seen[path] = (seal, 0)
        return None

    def _paths(self) -> Iterator[str]:
        for found in glob.iglob(self._pattern, root_dir=self._folder):
            path = os.path.join(self._folder, found.rstrip("/"))
            # A link leads to one that is there already, `latest` for example.
            if not os.path.islink(path) and not is_unfinished(path):
                yield os.path.normpath(path)

    def _found(self, path: str) -> tuple[float, str]:
        step = step_of(path)
        return (float("inf") if step is None else step), path

    def _seal(self, path: str) -> str | None:
        """Return what tells a checkpoint from another, and from itself before it changed."""
        try:
            files = [(found.path, *found.stamp[2:]) for found in walk(path).files]
        except (SourceNotFound, EmptyFolder):
            return None
        except InvalidInput as error:
            if path not in self._refused:
                self._refused.add(path)
                self._notice(f"'{path}' cannot be saved: {error}")
            return None
        return str(ObjectId.of(json.dumps([self._short(path), files]).encode("utf-8", "surrogateescape")))[:32]

    def _short(self, path: str) -> str:
        return os.path.relpath(path, self._folder).encode("utf-8", "replace").decode()

    def _recalled(self) -> tuple[set[str], float]:
        """Return what was saved before; and where nobody noted it, the highest step of what is there of it."""
        noted = self._memory.recalled(self._note)
        done = set((noted or b"").decode("ascii", "replace").split())
        floor = -1.0
        with suppress(LookupError):
            for version in self._repo.list(self._checkpoints.name, labels={"kind": "checkpoint"}):
                told = version.context.get("watched")
                if isinstance(told, dict) and told.get("folder") == self._folder:
                    done.add(str(told.get("seal")))
                    step = version.metadata.get("step")
                    if noted is None and isinstance(step, int):
                        floor = max(floor, step)
        return done, floor
