"""Drafts: a folder to write into that becomes a version when the block ends well."""

import json
import os
import shlex
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

from mvs.backends.failures import storage
from mvs.errors import MvsError
from mvs.format.values import labels_of, metadata_of
from mvs.store.staging import Session
from mvs.version import Version

Finish = Callable[[Session, Mapping[str, Any], Mapping[str, Any]], Version]


class Draft:
    """A version in the making, as `Repository.create` gives it.

    Attributes:
        labels: dict of str to str, editable until the block ends.
        metadata: dict of JSON values, editable until the block ends.
    """

    def __init__(
        self,
        target: str,
        labels: dict[str, str],
        metadata: dict[str, Any],
        session: AbstractContextManager[Session],
        finish: Finish,
    ) -> None:
        self.labels = labels
        self.metadata = metadata
        self._target = target
        self._new_session = session
        self._finish = finish
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

    def __enter__(self) -> "Draft":
        with ExitStack() as stack:
            session = stack.enter_context(self._new_session)
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
            if error is None and session is not None:
                try:
                    self._version = self._finish(session, self.labels, self.metadata)
                except BaseException as failure:
                    self._keep(session, failure)
                    raise

    def _keep(self, session: Session, failure: BaseException) -> None:
        """Save the user's work from the clean-up of the session, and say where it is."""
        kept = session.keep()
        command = ["mvs", "save", "--move", kept, self._target]
        try:
            for key, value in labels_of(self.labels).items():
                command += ["-l", f"{key}={value}"]
            if metadata := metadata_of(self.metadata):
                beside = f"{kept}.metadata.json"
                with open(beside, "w", encoding="utf-8") as file:
                    json.dump(metadata, file)
                command += ["--meta-file", beside]
        except (MvsError, OSError):
            # What cannot be stored is what failed; the files are what matters.
            pass
        hint = shlex.join(command)
        if isinstance(failure, MvsError):
            failure.kept = Path(kept)
            failure.message += f"; the draft's files are kept in '{kept}'"
            failure.hint = hint
        else:
            failure.add_note(f"the draft's files are kept in '{kept}'; save them with: {hint}")
