"""The progress bar: on a terminal, for work of over a second."""

import threading
import time
from typing import Any

import click

from mvs.repository import workspace

# Shorter work would only flicker.
PATIENCE = 1.0


class Bar:
    """A `Progress` on standard error: bytes, speed, time left."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        self._drawn = not quiet and workspace.is_plain_terminal()
        self._lock = threading.Lock()
        self._bar: Any = None
        self._task: Any = None
        self._began = 0.0
        self._done = 0
        self._label = ""
        self._total = 0
        self._remark = ""

    def start(self, label: str, total: int) -> None:
        """Begin work on `total` bytes."""
        with self._lock:
            self._label, self._total, self._done, self._remark = label, total, 0, ""
            self._began = time.monotonic()

    def advance(self, amount: int) -> None:
        """Count bytes; draw once the work has lasted for `PATIENCE`."""
        if not self._drawn:
            return
        with self._lock:
            self._done += amount
            if self._bar is None and time.monotonic() - self._began > PATIENCE:
                self._draw()
            if self._bar is not None:
                self._bar.update(self._task, completed=self._done)

    def remark(self, text: str) -> None:
        """Show a few words behind the label."""
        with self._lock:
            self._remark = text
            if self._bar is not None:
                self._bar.update(self._task, description=f"{self._label} {text}")

    def finish(self) -> None:
        """Remove the bar."""
        with self._lock:
            if self._bar is not None:
                self._bar.stop()
                self._bar = None

    def notice(self, message: str) -> None:
        """Print a line on standard error."""
        if not self._quiet:
            click.echo(message, err=True)

    def _draw(self) -> None:
        from rich import progress  # noqa: PLC0415 - 30 ms, only when something is drawn
        from rich.console import Console  # noqa: PLC0415

        self._bar = progress.Progress(
            progress.TextColumn("{task.description}"),
            progress.BarColumn(),
            progress.DownloadColumn(),
            progress.TransferSpeedColumn(),
            progress.TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
        )
        self._task = self._bar.add_task(f"{self._label} {self._remark}".rstrip(), total=self._total)
        self._bar.start()
