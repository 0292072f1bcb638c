"""Drafts: a folder to write into that becomes a version when the block ends well."""

import json
import os
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from mvs.backends.failures import storage
from mvs.errors import MvsError, TagExists, command
from mvs.format.names import Bump, Tag
from mvs.format.values import labels_of, metadata_of
from mvs.handles.version import Version
from mvs.store.staging import Session

Finish = Callable[[Session, Mapping[str, Any], Mapping[str, Any]], Version]


class Draft:
    """A version in the making, as `Repository.create` gives it.

    Attributes:
        labels: dict of str to str, editable until the block ends.
        metadata: dict of JSON values, editable until the block ends.
        parents: the tags of the versions it is made from.
        keeps: whether the files are kept when the save itself fails; to be set before the block.
    """

    def __init__(
        self,
        target: str,
        labels: dict[str, str],
        metadata: dict[str, Any],
        session: AbstractContextManager[Session],
        finish: Finish,
        *,
        root: Path,
        parents: Iterable[Tag],
        message: str,
        bump: Bump | None = None,
    ) -> None:
        self.labels = labels
        self.metadata = metadata
        self.parents = tuple(parents)
        self.keeps = True
        self._target = target
        self._new_session = session
        self._finish = finish
        self._root = root
        self._message = message
        self._bump = bump
        self._used = False
        self._stack = ExitStack()
        self._session: Session | None = None
        self._version: Version | None = None

    @property
    def path(self) -> Path:
        """The folder to write into, while the block runs."""
        if self._session is None:
            raise RuntimeError("a draft has a path only inside its `with` block")
        return Path(self._session.tree)

    @property
    def version(self) -> Version:
        """The saved version, after the block ended well."""
        if self._version is None:
            raise RuntimeError("a draft has a version only after its `with` block ended well")
        return self._version

    def save_state(self, state: Mapping[Any, Any], *, file: str = "model.safetensors") -> None:
        """Write arrays as safetensors to `file` in the folder, as `Repository.save_state` does.

        Raises:
            InvalidInput: something in `state` can be written neither as an array nor as JSON; the message names it.
            StorageFull, StorageFailed: the disk is full, read-only or failing.
        """
        from mvs.handles.training.state import check_file, state_of  # noqa: PLC0415 - most drafts are files

        check_file(file)
        state_of(state).write(str(self.path), file)

    def __enter__(self) -> "Draft":
        if self._used:
            raise RuntimeError("a draft is good for one `with` block; create another")
        self._used = True
        with ExitStack() as stack:
            session = stack.enter_context(self._new_session)
            if not self.keeps:
                # What gc finds here after a crash goes at once; it holds back a `tree` for a week.
                session.tree = f"{session.path}/copy"
            with storage(session.path):
                os.mkdir(session.tree)
            self._stack = stack.pop_all()
        self._session = session
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        session, self._session = self._session, None
        with self._stack:
            if error is None and session is not None and session.is_mine:
                try:
                    self._version = self._finish(session, self.labels, self.metadata)
                except BaseException as failure:
                    if self.keeps:
                        self._keep(session, failure)
                    raise

    def _keep(self, session: Session, failure: BaseException) -> None:
        """Save the user's work from the clean-up of the session, and say where it is."""
        kept = session.keep()
        hint = command("mvs", "-C", self._root, "save", "--move", kept, *self._arguments(kept, failure))
        if isinstance(failure, MvsError):
            failure.kept = Path(kept)
            failure.message += f"; the draft's files are kept in '{kept}'"
            failure.hint = hint
        failure.add_note(f"the draft's files are kept in '{kept}'; save them with: {hint}")

    def _arguments(self, kept: str, failure: BaseException) -> list[str]:
        """Return what `mvs save` needs to know, as far as it can be said."""
        # A tag that is taken would be refused again: then mvs chooses a version.
        name = self._target.partition(":")[0]
        words = [name if isinstance(failure, TagExists) else self._target]
        if self._bump:
            words += ["--bump", self._bump]
        for parent in self.parents:
            words += ["-p", str(parent)]
        if self._message:
            words += ["-m", self._message]
        for key, value in _storable(labels_of, self.labels).items():
            words += ["-l", f"{key}={value}"]
        if metadata := _storable(metadata_of, self.metadata):
            beside = f"{kept}.metadata.json"
            # On a full disk the files are what matters.
            with suppress(OSError):
                with open(beside, "w", encoding="utf-8") as file:
                    json.dump(metadata, file)
                words += ["--meta-file", beside]
        return words


def _storable(convert: Callable[[dict[str, Any]], dict[str, Any]], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return what can be stored of some labels or metadata, each entry by itself."""
    stored: dict[str, Any] = {}
    for key, value in values.items():
        with suppress(MvsError):
            stored |= convert({key: value})
    return stored
