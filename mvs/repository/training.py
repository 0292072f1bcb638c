"""What a training run does with a repository: states saved, at once or in the background.

Part of the Python API: `Repository` has these verbs besides those that save files and find versions.
"""

import os
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, Unpack, cast

from mvs import ops
from mvs.errors import InvalidInput, MvsError, NotFound, SourceNotFound, command
from mvs.format.names import Spec, Tag
from mvs.handles.training.options import About, Watching
from mvs.handles.version import PathLike, Version
from mvs.repository import workspace
from mvs.running.progress import Progress
from mvs.store.store import Store

if TYPE_CHECKING:
    from concurrent.futures import Future

    from mvs.handles.draft import Draft
    from mvs.handles.training.checkpointer import Versions
    from mvs.handles.training.saver import Busy, Saver
    from mvs.handles.training.watcher import Watcher


# Two threads that save first must not make two savers.
_making = threading.Lock()


class Training(ABC):
    """The verbs of a repository that save what is in memory, and in the background."""

    _store: Store
    _progress: Progress
    _in_background: "Saver | None" = None

    @abstractmethod
    def _now(self) -> int:
        """Return the time in nanoseconds since the epoch."""

    @property
    @abstractmethod
    def root(self) -> Path:
        """The folder that controls this repository."""

    @abstractmethod
    def create(self, tag: str | Tag, **about: Unpack[About]) -> "Draft":
        """Return a draft."""

    @abstractmethod
    def save(self, path: PathLike, tag: str | Tag, *, move: bool = False, **about: Unpack[About]) -> Version:
        """Save a file or a folder."""

    def save_state(
        self,
        state: Mapping[Any, Any],
        tag: str | Tag,
        *,
        file: str = "model.safetensors",
        **about: Unpack[About],
    ) -> Version:
        """Save arrays as a new version that holds one safetensors file, and return it.

        `state` is a dict of arrays of numpy, PyTorch, JAX, or whatever numpy can read, on any device. Dicts in it,
        and lists that hold arrays, are flattened with dots (`optimizer.state.0.exp_avg`). What is no array, but
        numbers, strings and lists of them, goes by the same names to a JSON file beside it (`model.json`). When
        the save fails the files are kept, as those of a draft are. The rest is as for `create`: labels, metadata,
        context, parents, message, reuse_tag.

        Raises:
            InvalidInput: something in `state` can be written neither as an array nor as JSON; the message names it.
            TagExists, InvalidTag, InvalidMetadata, NotFound, StorageFailed: as `create`.
        """
        with self.create(tag, **about) as draft:
            draft.save_state(state, file=file)
        return draft.version

    def save_async(
        self,
        source: PathLike | Mapping[Any, Any],
        tag: str | Tag,
        *,
        file: str = "model.safetensors",
        move: bool = False,
        busy: "Busy" = "wait",
        **about: Unpack[About],
    ) -> "Future[Version]":
        """Save a file, a folder or a state beside the caller, and return a future of the version.

        What is saved is what was there when this returns. A state (a dict, see `save_state`) is copied in memory,
        which is kept for the next one until `close`. Of files the blocks are shared where the file system can do
        that; elsewhere they are held open and copied beside: they may be deleted or replaced meanwhile, and one that
        is written to fails the save (`SourceChanged`) instead of being saved half. With `move` they are renamed
        aside at once, so that another folder can take their place, and go into the store without a copy; when that
        fails they come back.

        One save runs at a time. While it does, the next one waits for it, or with `busy="skip"` is left out: its
        future is cancelled. `close`, the end of a `with` block of the repository and the end of Python wait for it.
        A process that is killed leaves no version that is not whole, and an error leaves nothing on the disk. The
        rest is as for `create`: labels, metadata, context, parents, message, reuse_tag.

        Raises:
            InvalidTag, InvalidMetadata, InvalidInput, TagExists, NotFound, SourceNotFound: at once.
            MvsError: the save before failed, and nobody asked its future; it is raised here, and nothing is saved.
        """
        saver = self._saver()
        saver.check()
        draft = self.create(tag, **about)
        # A disk that is full must not stay full of what could not be saved.
        draft.keeps = False
        from mvs.handles.training import snapshot  # noqa: PLC0415 - only training needs it

        def drafted(write: Callable[[str], None]) -> Version:
            with draft:
                write(str(draft.path))
            return draft.version

        def taken() -> Callable[[], Version]:
            if isinstance(source, Mapping):
                state = snapshot.state(source, file, saver.memory)
                return lambda: drafted(state)
            path = os.fsdecode(source)
            ops.walk.check_place(path, [str(self._store.root), str(self.root)], taking=move)
            if not move:
                held = snapshot.hold(path, str(self._store.root), self._progress.notice)
                return lambda: drafted(held)
            aside = snapshot.Aside(path)
            # As they are now, whatever the caller makes of his own.
            about["labels"], about["metadata"], about["parents"] = draft.labels, draft.metadata, draft.parents
            return lambda: aside.saved(lambda place: self.save(place, tag, move=True, **about))

        return saver.start(taken, busy)

    def watch(
        self,
        folder: PathLike,
        name: str,
        *,
        once: bool = False,
        stop: threading.Event | None = None,
        **options: Unpack[Watching],
    ) -> Iterator[Version]:
        """Save each checkpoint that somebody writes into a folder once it is whole, and yield the versions.

        A checkpoint is what matches `pattern` (a glob) in `folder`. It is whole when nothing in it changed for
        `settle` seconds; or, if it holds `marker` or a file that frameworks are known to write last, from one look to
        the next. Each is saved once, also by another process later; one that changed afterwards is another one.
        Its step and metrics are read from `trainer_state.json` and the like. `keep_last`, `keep_best`, `monitor` and
        `mode` are those of a `Checkpointer`, and each gets the `labels`. What cannot be saved is told, and tried again.

        It ends when `stop` is set; with `once`, when what is there is saved or was seen to change.

        Raises:
            MvsError: with `once`, what the last save failed of.
            SourceNotFound: there is no such folder.
            InvalidInput, InvalidTag, InvalidMetadata: what is given makes no sense.
        """
        if not os.path.isdir(folder):
            raise SourceNotFound(f"'{os.fsdecode(folder)}' is no folder", hint=command("mkdir", os.fsdecode(folder)))
        stop = stop or threading.Event()
        watcher = self._watcher(folder, name, **options)
        try:
            left = watcher.looks + 1
            while not stop.is_set():
                yield from watcher.look(stop=stop.is_set)
                left -= 1
                if once and not left:
                    if watcher.failure is not None:
                        raise watcher.failure
                    return
                stop.wait(watcher.seconds)
        finally:
            watcher.close()

    def run(
        self,
        words: Sequence[str],
        *,
        watch: PathLike,
        name: str,
        variables: Sequence[str] = (),
        saved: Callable[[Version], None] = lambda version: None,
        **options: Unpack[Watching],
    ) -> int:
        """Run a command, save the checkpoints that it writes into the folder `watch`, and return its exit code.

        Checkpoints are those of `Repository.watch`, which has the same options; what is whole when the command ends is
        saved then. Where there were none and the command succeeded, all of the folder is saved, if it wrote there.
        `saved` is called with each version. The context has the command, the chosen environment variables (some
        harmless ones, and `variables`), and from its end on the exit code and the seconds it took; what was saved
        before gets the exit code as a label. Words that sound secret are kept as `***`. Signals are passed on to the
        command.

        Raises:
            SourceNotFound: there is no such command.
            InvalidInput: one of `variables` sounds like a secret.
            MvsError: what it wrote could not be saved at its end.
        """
        if not words:
            raise InvalidInput("there is no command to run", hint="mvs run --watch DIR --name NAME -- python train.py")
        from mvs.handles.training import command as running  # noqa: PLC0415 - only this verb needs it

        context = {"run": os.urandom(6).hex()}
        told: dict[str, Any] = {
            "words": running.told(words),
            "environment": running.chosen(workspace.environment(), variables),
        }
        watcher = self._watcher(watch, name, context={**context, "command": told}, **options)
        watcher.pass_over()

        def look() -> Iterator[Version]:
            try:
                yield from watcher.look()
            except MvsError as error:
                # The command goes on, and there is another look.
                self._progress.notice(f"nothing could be saved: {error}")

        before = ops.walk.files_of(os.fsdecode(watch))
        made = []

        def note(version: Version) -> None:
            made.append(version)
            saved(version)

        began = self._now()
        try:
            child = running.start(words)
            with running.signals_passed(child):
                for version in running.watched(child, watcher.seconds, look):
                    note(version)
                code = running.exit_code(child)
            ended = {**told, "exit_code": code, "seconds": round(max(self._now() - began, 0) / 1e9, 3)}
            for version in watcher.look(final=True, context={"command": ended}):
                note(version)
            if not made and code == 0 and ops.walk.files_of(os.fsdecode(watch)) not in ((), before):
                note(self.save(watch, name, labels=options.get("labels"), context={**context, "command": ended}))
            if code == 0 and watcher.failure is not None:
                raise watcher.failure
        finally:
            watcher.close()
        for version in made:
            # Older ones may have made room.
            with suppress(NotFound):
                spec = Spec.parse(str(version.tag))
                ops.labels.label(self._store, spec, {"exit-code": str(code)}, now=self._now, by=workspace.actor())
        return code

    def _watcher(
        self, folder: PathLike, name: str, *, context: Mapping[str, Any] | None = None, **options: Unpack[Watching]
    ) -> "Watcher":
        from mvs.handles.training.watcher import Memory, Watcher  # noqa: PLC0415 - only training needs it

        memory = Memory(self._store.recalled, self._store.note)
        path = os.fsdecode(folder)
        ops.walk.check_place(path, [str(self._store.root), str(self.root)], taking=False)
        notice = self._progress.notice
        return Watcher(cast("Versions", self), memory, path, name, notice=notice, context=context, **options)

    def close(self) -> None:
        """Wait for the save in the background, if there is one; the repository stays usable.

        Raises:
            MvsError: it failed, and nobody asked its future.
        """
        if self._in_background is not None:
            self._in_background.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.close()
        except Exception as failure:
            if error is None:
                raise
            # What ended the block is what the caller must see.
            self._progress.notice(f"a save in the background failed: {failure}")

    def _saver(self) -> "Saver":
        from mvs.handles.training.saver import Saver  # noqa: PLC0415 - only training needs it

        with _making:
            if self._in_background is None:
                self._in_background = Saver(self._progress.notice)
            return self._in_background
