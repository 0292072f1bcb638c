"""restic and borg, as Debian has them, with their own chunking; left out, with a word, where they are missing."""

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from bench.place import remove

_PACKAGES = {"restic": "restic", "borg": "borgbackup"}


class Peer(Protocol):
    """One repository of another tool in a folder, with all that the tool keeps about it."""

    name: str
    saving: str
    restoring: str
    # How many to make for a size that does not hang on luck.
    repositories: int
    folder: Path

    def create(self) -> None: ...

    def save(self, path: Path) -> None: ...

    def restore(self, path: Path, target: Path) -> None:
        """Write what was saved of a path to a new folder."""

    def stored(self) -> int: ...


class Restic:
    """Its compression is on unless one says otherwise, and there is no way to leave out the encryption."""

    name = "restic"
    saving = "restic backup"
    restoring = "restic restore"
    # Each has a random polynomial to cut by, which is worth one twentieth of the size.
    repositories = 3

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._environment = {
            **os.environ,
            "RESTIC_REPOSITORY": str(folder / "repository"),
            "RESTIC_PASSWORD": "bench",
            "RESTIC_CACHE_DIR": str(folder / "cache"),
        }

    def create(self) -> None:
        self.folder.mkdir(parents=True)
        self._run("init")

    def save(self, path: Path) -> None:
        self._run("backup", "--tag", path.name, path.name, where=path.parent)

    def restore(self, path: Path, target: Path) -> None:
        self._run("restore", "latest", "--tag", path.name, "--target", str(target))

    def stored(self) -> int:
        return tree_size(self.folder / "repository")

    def _run(self, *arguments: str, where: Path | None = None) -> None:
        _run(["restic", "--quiet", *arguments], self._environment, where)


class Borg:
    """Without encryption, which is its fastest way, with the compression of the bounds."""

    name = "borg"
    saving = "borg create"
    restoring = "borg extract"
    # Cuts are the same in all that have no encryption.
    repositories = 1

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._environment = {
            **os.environ,
            "BORG_REPO": str(folder / "repository"),
            "BORG_BASE_DIR": str(folder / "home"),
            "BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK": "yes",
        }

    def create(self) -> None:
        self.folder.mkdir(parents=True)
        self._run("init", "--encryption", "none")

    def save(self, path: Path) -> None:
        self._run("create", "--compression", "zstd,3", f"::{path.name}", path.name, where=path.parent)

    def restore(self, path: Path, target: Path) -> None:
        target.mkdir()
        self._run("extract", f"::{path.name}", where=target)

    def stored(self) -> int:
        return tree_size(self.folder / "repository")

    def _run(self, *arguments: str, where: Path | None = None) -> None:
        _run(["borg", *arguments], self._environment, where)


def installed(folder: Path) -> list[Peer]:
    """Return the tools that are there, each with a folder of its own."""
    peers: Sequence[Peer] = [Restic(folder / "restic"), Borg(folder / "borg")]
    for peer in peers:
        if not shutil.which(peer.name):
            print(f"(without {peer.name}: apt-get install {_PACKAGES[peer.name]})")
    return [peer for peer in peers if shutil.which(peer.name)]


def saved_in_turn(peer: Peer, paths: Sequence[Path]) -> list[int]:
    """Save one path after the other into a new repository; return its size after each, the least of some."""
    return [min(sizes) for sizes in zip(*(_sizes(peer, paths) for _ in range(peer.repositories)), strict=True)]


def tree_size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


def _sizes(peer: Peer, paths: Sequence[Path]) -> list[int]:
    peer.create()
    sizes = []
    for path in paths:
        peer.save(path)
        sizes.append(peer.stored())
    remove(peer.folder)
    return sizes


def _run(command: Sequence[str], environment: dict[str, str], where: Path | None) -> None:
    """Run a command; what it says is only of interest when it fails."""
    done = subprocess.run(
        command, check=False, env=environment, cwd=where, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stdout.decode(errors='replace')}")
