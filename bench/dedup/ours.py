"""mvs, as its users call it."""

import functools
import operator
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import mvs
from bench.dedup.peers import tree_size
from bench.dedup.reading import Model
from bench.place import Place, command, remove


@functools.cache
def can(verb: str) -> bool:
    """Return whether this mvs has a command."""
    quiet = subprocess.DEVNULL
    asked = [sys.executable, "-m", "mvs", verb, "--help"]
    return not subprocess.run(asked, check=False, stdout=quiet, stderr=quiet).returncode


def can_read_tensors() -> bool:
    return hasattr(mvs.Version, "tensor")


def tag(model: Model) -> str:
    return re.sub(r"[^a-z0-9._-]", "-", model.path.name.lower()) + ":v1"


class Store:
    """A repository of its own. Its size is that of all its files: objects, packs, refs, journal, indexes, sketches."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @classmethod
    def new(cls, place: Place, name: str, models: Sequence[Model] = ()) -> "Store":
        """Return a new one that has models, deduplicated."""
        place.repository(name)
        store = cls(place.work / name)
        for model in models:
            store.add(model)
        return store

    @property
    def size(self) -> int:
        return tree_size(self.folder / ".mvs")

    def add(self, model: Model) -> None:
        self.save(model)
        self.dedup(model)

    def save(self, model: Model) -> None:
        command(self.folder, "save", str(model.path.absolute()), tag(model))

    def dedup(self, model: Model, *, jobs: int = 2) -> None:
        command(self.folder, "dedup", tag(model), "-j", str(jobs))

    def checkout(self, model: Model, target: Path) -> None:
        command(self.folder, "checkout", tag(model), str(target))

    def check(self, model: Model, target: Path) -> None:
        """Check a model out and compare every byte."""
        self.checkout(model, target)
        root = model.path if model.path.is_dir() else model.path.parent
        for path in model.files:
            if (target / path.relative_to(root)).read_bytes() != path.read_bytes():
                raise AssertionError(f"'{path}' has come back as something else")
        remove(target)

    def tensor(self, model: Model, name: str) -> bytes:
        """Return the bytes of one tensor, read in process."""
        version = mvs.open(self.folder).get(tag(model))
        array = operator.methodcaller("tensor", name)(version)
        return bytes(array.tobytes())
