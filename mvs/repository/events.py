"""Hooks: programs and functions of the user that are called when something happens, and may forbid it.

A file in `.mvs/hooks/` may have come with git, from anybody. So it only runs when the user of this machine has
allowed its very bytes, and what runs is a copy that was made then (docs/design/0012-event-hooks.md).
"""

import functools
import json
import os
import sys
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from mvs.backends.failures import storage
from mvs.errors import HookRefused, InvalidInput, command
from mvs.format.ids import ObjectId
from mvs.format.lines.refs import Ref

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

EVENTS = (
    *("pre-save", "post-save", "pre-delete", "post-delete"),
    *("pre-push", "post-push", "post-alias", "post-gc"),
)
# The group of entry points; the name of each is that of the event.
GROUP = "mvs.hooks"
FOLDER = "hooks"
# A hook is a script, mostly; what is larger than this is something else.
_MAX_BYTES = 64 << 20
_SECOND = 1_000_000_000

Facts = Callable[[], Mapping[str, Any]]


@dataclass(frozen=True)
class Hook:
    """One hook: what is called for an event.

    Attributes:
        event: such as "pre-save".
        kind: "file" or "entry point".
        source: where it is: a path, or the name of a Python function.
        state: "allowed"; of files also "not allowed", or "not executable".
    """

    event: str
    kind: Literal["file", "entry point"]
    source: str
    state: Literal["allowed", "not allowed", "not executable"]

    def to_dict(self) -> dict[str, str]:
        """Return it as JSON holds it."""
        return {"event": self.event, "kind": self.kind, "source": self.source, "state": self.state}


class Events:
    """The hooks of one repository.

    `allowed` is where copies of allowed hooks are, outside of everything that git versions. `active` is whether
    hooks are called: not where a hook itself is at work, or one that saves would call itself.
    """

    def __init__(
        self,
        control: Path,
        *,
        allowed: Callable[[], Path],
        environment: Callable[[], Mapping[str, str]],
        timeout: int,
        active: bool,
        notice: Callable[[str], None],
    ) -> None:
        self._control = control
        self._folder = control.parent if control.name == ".mvs" else control
        self._allowed = allowed
        self._environment = environment
        self._seconds = timeout / _SECOND
        self._active = active
        self._notice = notice

    def before(self, event: str, facts: Facts) -> None:
        """Ask the hooks of an event that is about to happen.

        Raises:
            HookRefused: one of them forbids it, takes too long or cannot be run.
        """
        if self._active and self._listens(event):
            self.call(event, facts())

    def after(self, event: str, facts: Facts) -> None:
        """Tell the hooks of an event that has happened; what fails in them is told, and changes nothing."""
        if self._active and self._listens(event):
            try:
                self.call(event, facts())
            except HookRefused as error:
                self._notice(error.message)

    def call(self, event: str, facts: Mapping[str, Any]) -> None:
        """Call the hooks of an event, whatever happens otherwise.

        Raises:
            HookRefused: one of them failed.
        """
        given = {"event": event, "repository": str(self._folder), **facts}
        for point in _points(event):
            try:
                point.load()(given)
            except Exception as error:
                raise HookRefused(f"the hook {event} ({point.value}) refused: {error}") from error
        copy = self._copy(event)
        if copy is not None:
            self._run(event, copy, json.dumps(given, ensure_ascii=False, allow_nan=False).encode("utf-8", "replace"))

    def hooks(self) -> list[Hook]:
        """Return all hooks, in the order of the events."""
        found = []
        for event in EVENTS:
            found += [Hook(event, "entry point", point.value, "allowed") for point in _points(event)]
            path = self._path(event)
            if path.is_file():
                state: Any = "allowed" if self._allowed_copy(event) else "not allowed"
                found.append(Hook(event, "file", str(path), state if os.access(path, os.X_OK) else "not executable"))
        return found

    def allow(self, events: Iterable[str] = ()) -> list[Hook]:
        """Let the files that are there now run, those of some events or all, and return them.

        Raises:
            InvalidInput: there is no such event, or no file for it.
        """
        for event in self._chosen(events):
            data = self._read(event)
            if data is None:
                raise InvalidInput(f"there is no hook '{self._path(event)}'", hint="mvs hook list")
            place = self._place(event, data)
            with storage(str(place.parent)):
                place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
                temp = place.with_name(f".{place.name}.{os.getpid()}")
                with suppress(FileNotFoundError):
                    temp.unlink()
                with open(os.open(temp, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o700), "wb") as file:
                    file.write(data)
                os.replace(temp, place)
        chosen = set(self._chosen(events))
        return [hook for hook in self.hooks() if hook.kind == "file" and hook.event in chosen]

    def deny(self, events: Iterable[str] = ()) -> list[Hook]:
        """Let the files that are there now not run any more, those of some events or all, and return them.

        Raises:
            InvalidInput: there is no such event.
        """
        chosen = set(self._chosen(events))
        for event in chosen:
            data = self._read(event)
            if data is not None:
                self._place(event, data).unlink(missing_ok=True)
        return [hook for hook in self.hooks() if hook.kind == "file" and hook.event in chosen]

    def _listens(self, event: str) -> bool:
        return os.path.lexists(self._path(event)) or bool(_points(event))

    def _copy(self, event: str) -> Path | None:
        """Return what may run for an event; None where there is nothing, or it was not allowed, which is told."""
        path = self._path(event)
        if not path.is_file():
            return None
        if not os.access(path, os.X_OK):
            self._notice(f"the hook '{path}' is not executable, and was not run; `chmod +x` makes it so")
            return None
        copy = self._allowed_copy(event)
        if copy is None:
            self._notice(
                f"the hook '{path}' was not run: nobody allowed it on this machine, or it has changed since; "
                f"read it, and then `mvs hook allow {event}`"
            )
        return copy

    def _run(self, event: str, program: Path, given: bytes) -> None:
        from mvs.running import programs  # noqa: PLC0415 - most repositories have no hooks

        # A hook may use mvs, and find what lies beside the file that it is a copy of.
        told = {"MVS_HOOK": event, "MVS_HOOK_FILE": str(self._path(event))}
        environment = {**self._environment(), **told}
        try:
            ended = programs.run(
                str(program), given, folder=str(self._folder), environment=environment, seconds=self._seconds
            )
        except OSError as error:
            raise HookRefused(f"the hook {event} cannot be run: {error.strerror}") from error
        if ended.code is None:
            raise HookRefused(
                f"the hook {event} took longer than {self._seconds:g} s, and was stopped",
                hint="mvs config set hooks.timeout 1h",
            )
        if ended.code:
            raise HookRefused(f"the hook {event} refused: {ended.words or f'it exited with {ended.code}'}")
        if ended.words:
            self._notice(f"{event}: {ended.words}")

    def _allowed_copy(self, event: str) -> Path | None:
        data = self._read(event)
        if data is not None:
            place = self._place(event, data)
            # Its name is a promise; that the bytes are the same is looked at.
            with suppress(OSError):
                return place if place.read_bytes() == data else None
        return None

    def _place(self, event: str, data: bytes) -> Path:
        where = os.fsencode(os.path.realpath(self._control))
        return self._allowed() / str(ObjectId.of(b"\0".join((where, event.encode(), data))))

    def _path(self, event: str) -> Path:
        return self._control / FOLDER / event

    def _read(self, event: str) -> bytes | None:
        path = self._path(event)
        try:
            with open(path, "rb") as file:
                data = file.read(_MAX_BYTES + 1)
        except OSError:
            return None
        if len(data) > _MAX_BYTES:
            raise HookRefused(f"the hook '{path}' is too large for one", hint=command("ls", "-l", path))
        return data

    def _chosen(self, events: Iterable[str]) -> list[str]:
        chosen = list(events)
        unknown = next((event for event in chosen if event not in EVENTS), None)
        if unknown is not None:
            raise InvalidInput(f"no event '{unknown}'; there are {', '.join(EVENTS)}", hint="mvs hook list")
        return chosen or [event for event in EVENTS if self._path(event).is_file()]


@functools.cache
def _points(event: str) -> "tuple[EntryPoint, ...]":
    if not _are_there():
        return ()
    from importlib.metadata import entry_points  # noqa: PLC0415 - 40 ms, which a save has no time for

    return tuple(sorted(entry_points(group=GROUP, name=event), key=lambda point: point.value))


def told(refs: Iterable[Ref]) -> list[dict[str, str]]:
    """Return what hooks are told of versions."""
    return [{"tag": str(ref.tag), "id": str(ref.id)} for ref in refs]


@functools.cache
def _are_there() -> bool:
    """Tell whether any package that is installed may have hooks: a glance at the files that say so."""
    for folder in sys.path:
        with suppress(OSError), os.scandir(folder or ".") as entries:
            for entry in entries:
                if entry.name.endswith((".dist-info", ".egg-info")):
                    with suppress(OSError), open(os.path.join(entry.path, "entry_points.txt"), "rb") as file:
                        if GROUP.encode() in file.read():
                            return True
    return False
