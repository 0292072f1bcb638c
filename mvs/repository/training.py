"""What a training run does with a repository: states saved, at once or in the background.

Part of the Python API: `Repository` has these verbs besides those that save files and find versions.
"""

import os
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from mvs import ops
from mvs.format.names import Tag
from mvs.handles.version import PathLike, SpecLike, Version
from mvs.running.progress import Progress
from mvs.store.store import Store

if TYPE_CHECKING:
    from concurrent.futures import Future

    from mvs.handles.draft import Draft
    from mvs.handles.training.saver import Busy, Saver


# Two threads that save first must not make two savers.
_making = threading.Lock()


class Training(ABC):
    """The verbs of a repository that save what is in memory, and in the background."""

    _store: Store
    _progress: Progress
    _in_background: "Saver | None" = None

    @property
    @abstractmethod
    def root(self) -> Path:
        """The folder that controls this repository."""

    @abstractmethod
    def create(
        self,
        tag: str | Tag,
        *,
        labels: Mapping[str, str] | None = None,
        metadata: Mapping[str, Any] | None = None,
        context: Mapping[str, Any] | None = None,
        parents: Iterable[SpecLike] = (),
        message: str = "",
        reuse_tag: bool = False,
    ) -> "Draft":
        """Return a draft."""

    @abstractmethod
    def save(
        self,
        path: PathLike,
        tag: str | Tag,
        *,
        labels: Mapping[str, str] | None = None,
        metadata: Mapping[str, Any] | None = None,
        context: Mapping[str, Any] | None = None,
        parents: Iterable[SpecLike] = (),
        message: str = "",
        move: bool = False,
        reuse_tag: bool = False,
    ) -> Version:
        """Save a file or a folder."""

    def save_state(
        self,
        state: Mapping[Any, Any],
        tag: str | Tag,
        *,
        file: str = "model.safetensors",
        labels: Mapping[str, str] | None = None,
        metadata: Mapping[str, Any] | None = None,
        context: Mapping[str, Any] | None = None,
        parents: Iterable[SpecLike] = (),
        message: str = "",
        reuse_tag: bool = False,
    ) -> Version:
        """Save arrays as a new version that holds one safetensors file, and return it.

        `state` is a dict of arrays of numpy, PyTorch, JAX, or whatever numpy can read, on any device. Dicts in it,
        and lists that hold arrays, are flattened with dots (`optimizer.state.0.exp_avg`). What is no array, but
        numbers, strings and lists of them, goes by the same names to a JSON file beside it (`model.json`). When
        the save fails the files are kept, as those of a draft are.

        Raises:
            InvalidInput: something in `state` can be written neither as an array nor as JSON; the message names it.
            TagExists, InvalidTag, InvalidMetadata, NotFound, StorageFailed: as `create`.
        """
        draft = self.create(
            tag,
            labels=labels,
            metadata=metadata,
            context=context,
            parents=parents,
            message=message,
            reuse_tag=reuse_tag,
        )
        with draft:
            draft.save_state(state, file=file)
        return draft.version

    def save_async(
        self,
        source: PathLike | Mapping[Any, Any],
        tag: str | Tag,
        *,
        file: str = "model.safetensors",
        labels: Mapping[str, str] | None = None,
        metadata: Mapping[str, Any] | None = None,
        context: Mapping[str, Any] | None = None,
        parents: Iterable[SpecLike] = (),
        message: str = "",
        reuse_tag: bool = False,
        move: bool = False,
        busy: "Busy" = "wait",
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
        A process that is killed leaves no version that is not whole, and an error leaves nothing on the disk.

        Raises:
            InvalidTag, InvalidMetadata, InvalidInput, TagExists, NotFound, SourceNotFound: at once.
            MvsError: the save before failed, and nobody asked its future; it is raised here, and nothing is saved.
        """
        saver = self._saver()
        saver.check()
        draft = self.create(
            tag,
            labels=labels,
            metadata=metadata,
            context=context,
            parents=parents,
            message=message,
            reuse_tag=reuse_tag,
        )
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
            return lambda: aside.saved(
                lambda place: self.save(
                    place,
                    tag,
                    labels=draft.labels,
                    metadata=draft.metadata,
                    context=context,
                    parents=parents,
                    message=message,
                    reuse_tag=reuse_tag,
                    move=True,
                )
            )

        return saver.start(taken, busy)

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
