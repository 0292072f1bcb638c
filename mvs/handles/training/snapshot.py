"""What is to be saved as it is at one moment, taken in no time; the work is done later.

Refuses to link: a file of the user's that he may go on writing to never shares its bytes with the store.
"""

import os
import resource
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mvs import ops
from mvs.backends.copying import cloned, copy_block
from mvs.backends.failures import storage
from mvs.errors import ForbiddenPlace, MvsError, SourceChanged, SourceNotFound, command
from mvs.handles.training.state import State, check_file, state_of
from mvs.handles.version import Version
from mvs.ops.saving.walk import Found, stamp

if TYPE_CHECKING:
    import numpy as np

# Writes a snapshot into the folder of a draft, once.
Write = Callable[[str], None]

# Of the files that a process may have open; more of them are found again by their paths.
_SHARE = 4


class Memory:
    """Room for the copy of one state, kept for the next: new memory costs more than the copying."""

    def __init__(self) -> None:
        self._room: np.ndarray[Any, Any] | None = None

    def copy(self, state: State) -> State:
        """Return the same state with copies of its arrays, which last until the next call."""
        import numpy as np  # noqa: PLC0415 - 100 ms, only when numbers are wanted

        if self._room is None or self._room.nbytes < state.size:
            # The old one goes first, or there would be three.
            self._room = None
            self._room = np.empty(state.size, "u1")
        arrays = []
        end = 0
        for array in state.arrays:
            place = self._room[end : end + array.size]
            np.copyto(place, array.data)
            arrays.append(replace(array, data=place))
            end += array.size
        return replace(state, arrays=tuple(arrays))

    def free(self) -> None:
        """Give the memory back."""
        self._room = None


def state(given: Mapping[Any, Any], file: str, memory: Memory) -> Write:
    """Copy a state.

    Raises:
        InvalidInput: as `state_of`.
    """
    check_file(file)
    copy = memory.copy(state_of(given))
    return lambda folder: copy.write(folder, file)


def hold(source: str, store: str, notice: Callable[[str], None]) -> Write:
    """Take hold of a file or the files of a folder, as they are.

    Raises:
        SourceNotFound, InvalidPath, EmptyFolder: as `walk`.
        SourceChanged: a file was replaced or written to this very moment.
    """
    folder = ops.walk.walk(source)
    if folder.skipped:
        notice(f"left out {', '.join(map(repr, folder.skipped))}, which belongs to mvs")
    room = resource.getrlimit(resource.RLIMIT_NOFILE)[0] // _SHARE
    with ExitStack() as stack:
        files = [
            _Held(found, _opened(found, store, stack) if at < room else None) for at, found in enumerate(folder.files)
        ]
        closing = stack.pop_all()

    def write(tree: str) -> None:
        with closing:
            for path in folder.dirs:
                os.makedirs(os.path.join(tree, path), exist_ok=True)
            for held in files:
                held.copy(tree)

    return write


class _Held:
    """One file, by a descriptor of its own or by its path."""

    def __init__(self, found: Found, fd: int | None) -> None:
        self._found = found
        self._fd = fd
        self._stamp = stamp(os.fstat(fd)) if fd is not None else found.stamp

    def copy(self, tree: str) -> None:
        target = os.path.join(tree, self._found.path)
        with ExitStack() as stack:
            fd = _opened(self._found, None, stack) if self._fd is None else self._fd
            stack.enter_context(storage(target))
            os.makedirs(os.path.dirname(target), exist_ok=True)
            mode = 0o777 if self._found.executable else 0o666
            out = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
            stack.callback(os.close, out)
            offset = 0
            while count := copy_block(fd, out, offset):
                offset += count
            if stamp(os.fstat(fd)) != self._stamp:
                raise _changed(self._found)


def _opened(found: Found, store: str | None, stack: ExitStack) -> int:
    """Open a file, or a clone of it where it can be cloned into the store."""
    try:
        fd = os.open(found.place, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        raise SourceNotFound(
            f"cannot read '{found.place}': {error.strerror}", hint=command("ls", "-l", found.place)
        ) from error
    with ExitStack() as opened:
        opened.callback(os.close, fd)
        clone = cloned(fd, store) if store else None
        if stamp(os.fstat(fd)) != found.stamp:
            if clone is not None:
                os.close(clone)
            raise _changed(found)
        if clone is not None:
            stack.callback(os.close, clone)
            return clone
        stack.push(opened.pop_all())
    return fd


def _changed(found: Found) -> SourceChanged:
    return SourceChanged(f"'{found.path}' changed while it was saved", hint=command("fuser", "-v", found.place))


class Aside:
    """A file or a folder, renamed into a hidden folder beside it until it is saved.

    A process that is killed leaves it there, whole.
    """

    def __init__(self, source: str) -> None:
        if os.path.islink(source):
            raise ForbiddenPlace(
                f"'{source}' is a link, and what it leads to is not moved", hint=command("ls", "-l", source)
            )
        # What cannot be saved is refused where it is.
        ops.walk.walk(source)
        self._source = os.path.abspath(source)
        parent, name = os.path.split(self._source)
        self._folder = os.path.join(parent, f".{name}.saving-{os.urandom(4).hex()}")
        self._place = os.path.join(self._folder, name)
        with storage(parent):
            os.mkdir(self._folder)
            try:
                os.rename(self._source, self._place)
            except BaseException:
                os.rmdir(self._folder)
                raise

    def saved(self, save: Callable[[str], Version]) -> Version:
        """Save it, or bring it back."""
        try:
            version = save(self._place)
        except BaseException as error:
            self._bring_back(error)
            raise
        # What was in it and did not belong into the version stays with the user.
        with suppress(OSError):
            os.rmdir(self._folder)
        return version

    def _bring_back(self, error: BaseException) -> None:
        with suppress(OSError):
            if not os.path.lexists(self._source):
                os.rename(self._place, self._source)
                os.rmdir(self._folder)
                return
        error.add_note(f"what was to be saved is in '{self._place}'")
        if isinstance(error, MvsError):
            error.kept = Path(self._place)
            error.message += f"; what was to be saved is in '{self._place}'"
