"""Stores for gc to work on, and what must be true of them whatever it did."""

import importlib
import os
import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace

import pytest

import mvs
from mvs.format.ids import ObjectId
from mvs.format.lines.refs import Ref
from mvs.format.names import Tag
from mvs.format.pack import Record
from mvs.store.store import Store
from tests.ops.dedup.families import model, quick, safetensors, save, tuned

SHAPES = {"embed": (128, 64), "a": (64, 64), "norm": (64,)}
BASE = model(0, SHAPES)
OTHER = model(7, SHAPES)
DAY = 24 * 3600 * 10**9
Files = Mapping[str, bytes]

CONTENTS: dict[str, Files] = {
    "base": {"model.safetensors": safetensors(BASE), "vocab.txt": b"a\nb\n"},
    "tuned": {"model.safetensors": safetensors(tuned(BASE))},
    "tuned twice": {"model.safetensors": safetensors(tuned(tuned(BASE), 2)), "run.sh": b"#!/bin/sh\n"},
    "half": {"model.safetensors": safetensors({**OTHER, "a": BASE["a"]}), "empty.txt": b""},
    "other": {"model.safetensors": safetensors(OTHER), "vocab.txt": b"a\nb\n"},
    "text": {"vocab.txt": b"a\nb\n", "notes.txt": b"some words\n" * 300},
}
# Several packs, so that one outlives what another holds.
PACK_BYTES = 12_000


@contextmanager
def small_packs() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(importlib.import_module("mvs.ops.dedup.run"), "_PACK_BYTES", PACK_BYTES)
        yield


class Clock:
    """The time that repositories go by, in nanoseconds."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.now = 1_800_000_000 * 10**9
        patch.setattr("mvs.repository.repository.time", SimpleNamespace(time_ns=self))

    def __call__(self) -> int:
        self.now += 1
        return self.now


def worked(root: Path) -> mvs.Repository:
    """A store with rubbish of every kind: packs that are dead, mostly dead, hardly dead, loose files, views."""
    copied(Path(_template().name), root)
    return mvs.open(root)


def copied(template: Path, root: Path) -> None:
    """Copy a folder as it is, hard links and times included; what is in `root` already stays."""
    subprocess.run(["cp", "-a", f"{template}/.", root], check=True)


@cache
def _template() -> "TemporaryDirectory[str]":
    """The store that `worked` gives, made once in a process."""
    folder = TemporaryDirectory()
    with pytest.MonkeyPatch.context() as patch:
        # Whatever the clock of the test is that needs it first.
        patch.setattr("mvs.repository.repository.time", time)
        _work(quick(Path(folder.name)))
    return folder


def _work(repo: mvs.Repository) -> None:
    with small_packs():
        for name in ("base", "tuned", "half"):
            save(repo, f"{name}:v1", CONTENTS[name])
            repo.dedup()
        save(repo, "tuned:v2", CONTENTS["tuned twice"])
        save(repo, "other:v1", CONTENTS["other"])
        repo.dedup("tuned:v2")
        repo.undo_dedup("half:v1")
        save(repo, "text:v1", CONTENTS["text"])
        save(repo, "text:v2", {"notes.txt": b"others\n" * 300})
    # A pack of which little is needed, by a part that another version has as well.
    mixed = model(11, SHAPES)
    save(repo, "mixed:v1", {"model.safetensors": safetensors(mixed)}, dedup=True)
    save(repo, "part:v1", PART, dedup=True)
    # A pack of which most is needed, and the rest stands on one that goes.
    doomed = model(21, SHAPES)
    save(repo, "doomed:v1", {"model.safetensors": safetensors(doomed)}, dedup=True)
    save(repo, "doomed:v2", {"model.safetensors": safetensors(tuned(doomed, 3))})
    save(repo, "stays:v1", STAYS)
    repo.dedup("doomed:v2", "stays:v1")
    for tag in ("text:v2", "other:v1", "tuned:v2", "mixed:v1"):
        assert repo.get(tag).path.exists()
    repo.delete("text:v2", "tuned:v1", "base:v1", "other:v1", "mixed:v1", "doomed:v1", "doomed:v2")


PART: Files = {"model.safetensors": safetensors({"new": model(12, SHAPES)["embed"], "a": model(11, SHAPES)["a"]})}
STAYS: Files = {"model.safetensors": safetensors(model(20, SHAPES))}
KEPT: dict[str, Files] = {
    "half:v1": CONTENTS["half"],
    "tuned:v2": CONTENTS["tuned twice"],
    "text:v1": CONTENTS["text"],
    "part:v1": PART,
    "stays:v1": STAYS,
}
DELETED: dict[str, Files] = {
    "base:v1": CONTENTS["base"],
    "tuned:v1": CONTENTS["tuned"],
    "other:v1": CONTENTS["other"],
    "mixed:v1": {"model.safetensors": safetensors(model(11, SHAPES))},
    "doomed:v2": {"model.safetensors": safetensors(tuned(model(21, SHAPES), 3))},
}


def files_of(repo: mvs.Repository, tag: str) -> dict[str, bytes]:
    version = mvs.open(repo.root).get(tag)
    return {file.path: version.read_bytes(file.path) for file in version.files}


def check_kept(repo: mvs.Repository, expected: Mapping[str, Files] = KEPT) -> None:
    """Check that versions are what was saved, and that no record anywhere lacks what it refers to."""
    for tag, files in expected.items():
        assert files_of(repo, tag) == files, tag
    check_closed(repo)


def check_deleted(repo: mvs.Repository, id: str, tag: Tag, created: int, files: Files) -> None:
    """Check that a deleted version reads back without restoring it."""
    store = Store(repo.store)
    manifest = store.manifest(Ref(tag, ObjectId.from_hex(id), created))
    assert {entry.path: store.objects.read(entry.blob) for entry in manifest.tree.files} == files


def records(repo: mvs.Repository) -> dict[str, dict[ObjectId, Record]]:
    """The records of each pack that is there, read past every cache."""
    return {str(name): index.records for name, index in Store(repo.store).objects.packs.readable().items()}


def loose(repo: mvs.Repository) -> set[ObjectId]:
    return {id for id, _ in Store(repo.store).objects.loose()}


def check_closed(repo: mvs.Repository) -> None:
    """Check that every ref of every record leads somewhere, also of records that no version needs."""
    found = records(repo)
    there = loose(repo).union(*found.values())
    for name, inside in found.items():
        for record in inside.values():
            assert all(ref.id in there for ref in record.refs), f"{record.id} in {name} lacks what it is made of"


def check_tidy(repo: mvs.Repository) -> None:
    """Check that nothing is left that no version needs, but for rubbish in packs below the threshold."""
    store = Store(repo.store)
    found = records(repo)
    there = loose(repo)
    needed: set[ObjectId] = set()
    for version in repo.list():
        needed.add(ObjectId.from_hex(version.id))
        pending = [ObjectId.from_hex(file.blob) for file in version.files]
        while pending:
            id = pending.pop()
            needed.add(id)
            if id not in there:
                place = store.objects.packs.place(id)
                assert place is not None
                pending += [ref.id for ref in place[1].refs if ref.id not in needed]
    assert there <= needed
    for name, inside in found.items():
        lengths = {id: record.length for id, record in inside.items()}
        dead = sum(length for id, length in lengths.items() if id not in needed)
        assert needed & inside.keys(), f"pack {name} is needed by nothing"
        assert dead <= sum(lengths.values()) / 2, f"pack {name} is mostly rubbish"
    views = repo.store / "cache" / "views"
    if views.exists():
        assert set(os.listdir(views)) <= {version.id for version in repo.list()}
    check_swept(repo)


def check_swept(repo: mvs.Repository) -> None:
    for folder in ("staging", "trash"):
        place = repo.store / folder
        assert not place.exists() or os.listdir(place) == [], folder


def tree(repo: mvs.Repository, *, without: Iterable[str] = ("cache", "lock", "packing", "staging")) -> dict[str, bytes]:
    """Every file of a store and its bytes."""
    return {
        str(path.relative_to(repo.store)): path.read_bytes()
        for path in sorted(repo.store.rglob("*"))
        if path.is_file() and path.relative_to(repo.store).parts[0] not in without
    }
