"""A gc that a save starts: in a process of its own that outlives it, at the lowest priority, now and then.

It never runs twice at once (a second one finds `packing` held), and whoever saves neither waits for it nor hears of
it: what it has to say is kept in `cache/gc/log`.
"""

import contextlib
import os
import sys
from pathlib import Path

from mvs.format.layout import CACHE
from mvs.store.store import Store

# When the last gc began, and when a save last started one.
BEGAN = "gc/began"
STARTED = "gc/started"
_LOG = "gc/log"
# What a shell needs to start a program that is nobody's child: a long training must not collect zombies.
_DETACHED = '"$@" &'


def is_due(store: Store, what: str, every: int, now: int) -> bool:
    """Tell whether BEGAN or STARTED was `every` nanoseconds ago, or in the future, or never."""
    try:
        last = int(store.recalled(what) or b"")
    except ValueError:
        return True
    return not now - every < last <= now


def note(store: Store, what: str, now: int) -> None:
    """Remember BEGAN or STARTED; where that cannot be, it was never."""
    store.note(what, str(now).encode())


def start(store: Store, control: Path) -> None:
    """Start `mvs gc --auto` for a repository and return at once; what cannot be started is left for the next time."""
    import subprocess  # noqa: PLC0415 - only where it is wanted

    log = store.root / CACHE / _LOG
    with contextlib.suppress(OSError):
        log.parent.mkdir(parents=True, exist_ok=True)
        with open(log, "wb") as output:
            subprocess.run(  # noqa: S603 - this very program
                ["/bin/sh", "-c", _DETACHED, "sh", sys.executable, "-m", "mvs", "-C", str(control), "gc", "--auto"],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                # Its own, so that neither Ctrl-C nor the end of the terminal reaches it.
                start_new_session=True,
                check=False,
            )


def give_way() -> None:
    """Let everything else on this machine go first; Linux derives the priority of reads and writes from it."""
    with contextlib.suppress(OSError):
        os.nice(19)
