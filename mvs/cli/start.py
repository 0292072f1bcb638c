"""Where the program `mvs` begins: an interrupt ends it in the same way while it is still being imported."""

import sys


def run() -> None:
    """Run the command line and exit, with 130 when interrupted."""
    try:
        from mvs.cli.main import run as begin  # noqa: PLC0415 - so that an interrupt meanwhile is caught
    except KeyboardInterrupt:
        sys.stderr.write("interrupted; nothing was begun\n")
        # The shell's custom, as `mvs.cli.main` has it, which is not imported.
        sys.exit(130)
    begin()
