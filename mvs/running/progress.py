"""How long work tells whoever started it how far it is.

Verbs report to a `Progress`; they never print. The command line draws a bar, the
Python API stays silent and hands notices to `logging`.
"""

from typing import Protocol


class Progress(Protocol):
    """Receives the progress of one verb, from any thread."""

    def start(self, label: str, total: int) -> None:
        """Begin work on `total` bytes."""

    def advance(self, amount: int) -> None:
        """Count `amount` further bytes as done."""

    def remark(self, text: str) -> None:
        """Show a few words beside the progress, in place of the last ones."""

    def finish(self) -> None:
        """End the work begun by `start`, however it ended."""

    def notice(self, message: str) -> None:
        """Tell the user something that is no error."""


class Silent:
    """Draws nothing; notices go to the logger `mvs`."""

    def start(self, label: str, total: int) -> None:
        """Begin work."""

    def advance(self, amount: int) -> None:
        """Count bytes."""

    def remark(self, text: str) -> None:
        """Ignore it."""

    def finish(self) -> None:
        """End work."""

    def notice(self, message: str) -> None:
        """Log `message`."""
        import logging  # noqa: PLC0415 - costs more than all of mvs at start-up

        logging.getLogger("mvs").warning(message)
