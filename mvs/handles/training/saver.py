"""One save at a time on a thread of its own, whose errors do not vanish."""

import atexit
import os
import threading
from collections.abc import Callable
from concurrent.futures import Future, thread
from importlib import import_module
from typing import Literal

from mvs.errors import InvalidInput
from mvs.handles.training.snapshot import Memory
from mvs.handles.version import Version

# What to do when a save is running already: wait for its end, or leave this one out.
Busy = Literal["wait", "skip"]
Notice = Callable[[str], None]
# Those that are at work, or have a failure to tell: they outlive their repository.
_busy: "set[Saver]" = set()
# What a save imports when it needs it, imported before there is a thread: Python forked in the middle of an import
# never gets whole what was imported.
_NEEDED = (
    *("filelock", "importlib.metadata", "pwd", "socket", "subprocess"),
    *("mvs.backends.locks", "mvs.ops.saving.context", "mvs.ops.saving.save", "mvs.running.programs"),
    *("mvs.ops.pins.identity", "mvs.ops.pins.lockfile", "mvs.ops.sharing"),
)


class Saving(Future[Version]):
    """A future that knows whether anybody saw how it ended."""

    def __init__(self) -> None:
        super().__init__()
        self.told = False

    def result(self, timeout: float | None = None) -> Version:
        """Wait for the version."""
        try:
            return super().result(timeout)
        finally:
            self.told |= self.done()

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Wait for the end, and return what went wrong."""
        try:
            return super().exception(timeout)
        finally:
            self.told |= self.done()


class Saver:
    """Runs saves for one repository, one at a time."""

    def __init__(self, notice: Notice) -> None:
        self.memory = Memory()
        self._notice = notice
        self._slot = threading.Lock()
        self._owner = os.getpid()
        self._failed: Saving | None = None
        for module in _NEEDED:
            import_module(module)

    def check(self) -> None:
        """Tell what nobody asked for yet, and refuse where there is no thread to work on.

        Raises:
            InvalidInput: this is another process than the one that saved first.
            BaseException: what the save before failed of.
        """
        if os.getpid() != self._owner:
            raise InvalidInput(
                f"process {os.getpid()} was forked from {self._owner}, which saves in the background: "
                "open the repository again (mvs.open) in the new process"
            )
        failed, self._failed = self._failed, None
        if failed is not None:
            _busy.discard(self)
            # Whoever looked at the future knows it already.
            if not failed.told and (error := failed.exception()):
                raise error

    def start(self, take: Callable[[], Callable[[], Version]], busy: Busy) -> Saving:
        """Take a snapshot once nothing else is being saved, and do what it returns on a thread."""
        if busy not in ("wait", "skip"):
            raise InvalidInput(f"busy is 'wait' or 'skip', not {busy!r}")
        future = Saving()
        if not self._slot.acquire(blocking=busy == "wait"):
            future.cancel()
            future.set_running_or_notify_cancel()
            return future
        try:
            # What failed while this one waited is told before anything else is saved.
            self.check()
            work = take()
            future.set_running_or_notify_cancel()
        except BaseException:
            self._slot.release()
            raise
        _busy.add(self)
        try:
            # No daemon: those are cut off when Python ends.
            threading.Thread(target=self._run, args=(future, work), name="mvs-save", daemon=False).start()
        except RuntimeError:
            # No more threads. What was taken must not be lost: late is better.
            self._run(future, work)
        return future

    def close(self) -> None:
        """Wait for the save that runs, free the memory, and tell what failed.

        Raises:
            BaseException: what the last save failed of, and nobody asked for.
        """
        # A fork has nothing to wait for: the thread is in the other process.
        if os.getpid() == self._owner:
            with self._slot:
                self.memory.free()
            self.check()

    def end(self) -> None:
        """Do the same at the end of Python, where nobody can catch anything."""
        try:
            self.close()
        except BaseException as error:  # noqa: BLE001 - told, to whoever reads the log
            self._notice(f"a save in the background failed: {error}")

    def _run(self, future: Saving, work: Callable[[], Version]) -> None:
        try:
            try:
                version = work()
            except BaseException as error:  # noqa: BLE001 - it is the caller's, by way of the future
                self._failed = future
                future.set_exception(error)
            else:
                future.set_result(version)
        finally:
            # Only now: who hears of the end by a callback may have to make room for the next.
            if self._failed is None:
                _busy.discard(self)
            self._slot.release()


def _end() -> None:
    for saver in list(_busy):
        saver.end()


# Before `concurrent.futures` forbids new work, which saves need; `atexit` comes after that.
assert thread
getattr(threading, "_register_atexit", atexit.register)(_end)
