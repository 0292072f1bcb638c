"""A store that is to fit into a size: step by step, from what costs least to what costs most."""

import contextlib
import os
from collections.abc import Callable, Iterable
from typing import NamedTuple

from mvs.store.store import Store


class Fitted(NamedTuple):
    """What was done to fit a store into `limit` bytes.

    It took so much `before` and `after`, and each of the `steps` gave something back; versions were `pruned`.
    """

    limit: int
    before: int
    after: int
    steps: tuple[tuple[str, int], ...]
    pruned: tuple[str, ...] = ()


def fit(store: Store, limit: int, steps: Iterable[tuple[str, Callable[[], object]]]) -> Fitted:
    """Take one step after another, each a name and what is done, until the store fits or there is none left."""
    before = after = usage(store)
    done = []
    for name, step in steps:
        if after <= limit:
            break
        step()
        left = usage(store)
        # A step may also write a little, as the catalog.
        done.append((name, max(0, after - left)))
        after = left
    return Fitted(limit, before, after, tuple(done))


def evict(store: Store) -> None:
    """Remove what is derived and large: the folders of `mvs path`, and what tensors look like."""
    for id in list(store.views.ids()):
        store.views.drop(id)
    store.sketches.sweep(lambda blob: False)


def usage(store: Store) -> int:
    """Return the bytes of all files of a store, each once however many names it has there."""
    total = 0
    seen: set[tuple[int, int]] = set()
    for parent, _, names in os.walk(store.root):
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                found = os.lstat(os.path.join(parent, name))
                if found.st_nlink > 1 and (found.st_dev, found.st_ino) in seen:
                    continue
                if found.st_nlink > 1:
                    seen.add((found.st_dev, found.st_ino))
                total += found.st_size
    return total
