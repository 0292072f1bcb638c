"""What is interrupted in these proofs, on which store, and what must be true afterwards wherever that was."""

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import mvs
from mvs.errors import NotFound
from mvs.repository.workspace import write_setting
from tests.ops.dedup.families import as_files
from tests.ops.gc.stores import CONTENTS, DELETED, KEPT, Files, files_of, worked
from tests.proof.running import Runner

NEW: Files = {
    # What a deleted version left in the store, which a save relies on; a part of it; something new.
    **CONTENTS["other"],
    "notes.txt": CONTENTS["text"]["notes.txt"],
    "sub/run.sh": b"#!/bin/sh\necho new\n",
    "weights.bin": bytes(range(256)) * 300,
}
OLD_FILES: Files = {"notes.txt": b"of the user's own\n", "mine.txt": b"mine\n"}
# What was saved or deleted is printed on a line of its own.
_TAG = re.compile(r"[a-z0-9./-]+:[a-z0-9.-]+\Z")


@dataclass(frozen=True)
class Scene:
    """One command in a prepared folder.

    Attributes:
        words: what is typed.
        brings: what is saved when it is done.
        takes: what is deleted when it is done.
        out: what the folder `out` holds when it is done.
        true: what is so when it is done.
    """

    name: str
    words: tuple[str, ...]
    brings: Mapping[str, Files] = field(default_factory=dict)
    takes: tuple[str, ...] = ()
    out: Files | None = None
    true: Callable[[mvs.Repository], bool] = lambda _: True

    def __str__(self) -> str:
        return self.name


def is_pointed_at(repo: mvs.Repository) -> bool:
    return repo.get("tuned:v2").aliases == ("prod",)


def is_labelled(repo: mvs.Repository) -> bool:
    return repo.get("tuned:v2").labels == {"stage": "production"}


def is_pinned(repo: mvs.Repository) -> bool:
    return [str(pin.tag) for pin in repo.pins()] == ["tuned:v2"]


SCENES = {
    scene.name: scene
    for scene in (
        Scene("save", ("save", "new", "fresh:v1"), brings={"fresh:v1": NEW}),
        Scene("move", ("save", "new", "fresh:v1", "--move"), brings={"fresh:v1": NEW}),
        Scene("delete", ("delete", "-y", "tuned:v2", "text:v1"), takes=("tuned:v2", "text:v1")),
        Scene("restore", ("restore", "base:v1"), brings={"base:v1": DELETED["base:v1"]}),
        Scene("alias", ("alias", "set", "tuned@prod", "tuned:v2"), true=is_pointed_at),
        Scene("label", ("label", "tuned:v2", "stage=production"), true=is_labelled),
        Scene("pin", ("pin", "tuned:v2"), true=is_pinned),
        Scene("gc", ("gc", "--expire", "now")),
        Scene("dedup", ("dedup",)),
        Scene("undo", ("dedup", "--undo", "tuned:v2", "part:v1")),
        Scene("checkout", ("checkout", "tuned:v2", "out"), out=KEPT["tuned:v2"]),
        Scene("overwrite", ("checkout", "half:v1", "old", "--force")),
        Scene("path", ("path", "part:v1")),
    )
}


def prepare(place: Path) -> mvs.Repository:
    """Make a store with something of every kind, and beside it a folder to be saved, and one to be overwritten."""
    repo = worked(place)
    write_setting(repo.root, "store.durable", "true")
    for folder, files in (("new", NEW), ("old", OLD_FILES)):
        for path, data in files.items():
            (place / folder / path).parent.mkdir(parents=True, exist_ok=True)
            (place / folder / path).write_bytes(data)
    (place / "new" / "sub" / "run.sh").chmod(0o755)
    return mvs.open(place)


def check(place: Path, scene: Scene, said: str) -> dict[str, Files]:
    """Check that the store is whole, and that what was said is so; return what is there."""
    repo = mvs.open(place)
    told = {line for line in said.splitlines() if _TAG.match(line)}
    there = dict(KEPT)
    for tag in scene.takes:
        if not is_there(repo, tag):
            del there[tag]
        else:
            assert tag not in told, f"'{tag}' was said to be deleted and is there"
    for tag, files in scene.brings.items():
        if is_there(repo, tag):
            there[tag] = files
        else:
            assert tag not in told, f"'{tag}' was said to be saved and is lost"
    check_whole(repo, there)
    assert {str(version.tag) for version in repo.list()} == set(there)
    if scene.name == "move" and "fresh:v1" not in there:
        assert as_files(place / "new") == NEW, "neither in the folder nor in the store"
    if scene.out is not None and (place / "out").exists():
        assert as_files(place / "out") == scene.out
    assert scene.true(repo) or not said, "it was said to be done"
    assert as_files(place / "old").items() >= {"mine.txt": b"mine\n"}.items()
    return there


def check_whole(repo: mvs.Repository, there: Mapping[str, Files]) -> None:
    """Check every byte of the store, and that of versions that are there."""
    report = repo.fsck(level="full")
    assert report.ok, [finding for finding in report.findings if not finding.harmless]
    for tag, files in there.items():
        assert files_of(repo, tag) == files, tag


def recover(place: Path, scene: Scene, there: Mapping[str, Files], runner: Runner) -> None:
    """Do it again, as a user does; then collect, and check that nothing is left that was on its way."""
    again = list(scene.words)
    if scene.takes:
        again = ["delete", "-y", *(tag for tag in scene.takes if tag in there)]
    elif scene.name == "restore" and "base:v1" in there:
        again = []
    elif scene.name == "move" and as_files(place / "new") != NEW:
        # It is saved, and a part of what was moved is gone: what is left is something else.
        assert "fresh:v1" in there
        again = []
    if len(again) > 2 or not scene.takes:
        done = runner.run(place, *again) if again else None
        assert done is None or done.code == 0, done
    repo = mvs.open(place)
    assert scene.true(repo)
    for tag in scene.takes:
        assert not is_there(repo, tag)
        repo.restore(tag)
    expected = KEPT | dict(scene.brings)
    for tag, files in expected.items():
        assert files_of(repo, tag) == files, tag
    outlive_a_day(repo)
    done = runner.run(place, "gc", "--expire", "now")
    assert done.code == 0, done
    repo = mvs.open(place)
    check_whole(repo, expected)
    left = strangers(repo)
    assert left == [], left


def outlive_a_day(repo: mvs.Repository) -> None:
    """Make views that nobody finished as old as they must be to be nobody's."""
    for path in (repo.store / "cache" / "views").glob("*.*"):
        os.utime(path, ns=(0, 0))


def is_there(repo: mvs.Repository, tag: str) -> bool:
    try:
        repo.get(tag)
    except NotFound:
        return False
    return True


_KNOWN = re.compile(
    r"""(format | lock | packing | pinning | config\.toml | \.gitignore
    | objects/[0-9a-f]{2}/[0-9a-f]{62}
    | packs/[0-9a-f]{2}/[0-9a-f]{62}\.pack
    | repositories/[0-9a-f]{64} | identity
    | refs/(tags|aliases|notes)/.*/@[a-z0-9.-]+
    | journal/.*/@events
    | cache/views/[0-9a-f]{64}/.*
    | cache/packs/[0-9a-f]{16}\.table
    | cache/catalog/[0-9]+\.sqlite
    | cache/remotes/[0-9a-f]{32}/indexes/[0-9a-f]{64}\.index
    | cache/(?!views|packs)[^.]*
    )\Z""",
    re.VERBOSE,
)


def strangers(repo: mvs.Repository) -> list[str]:
    """Every file of a store that is not part of it: left by somebody who died."""
    files = (str(path.relative_to(repo.store)) for path in repo.store.rglob("*") if not path.is_dir())
    return sorted(file for file in files if not _KNOWN.match(file))
