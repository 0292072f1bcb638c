"""Where a benchmark works, what it saves, and the plain tools mvs is compared with."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import TracebackType

from blake3 import blake3

import mvs

_BLOCK = 1 << 24
_HASH = """
import os, sys
from blake3 import blake3
for name in os.listdir(sys.argv[1]):
    blake3(max_threads=blake3.AUTO).update_mmap(os.path.join(sys.argv[1], name)).digest()
"""
# A process of its own in between: a child counts the memory of the process it was forked from as its own.
_PEAK = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""
_MVS = Path(sys.executable).with_name("mvs")


class Place:
    """A folder with the files to save, made once and kept in `kept`, and a `work` folder that is gone in the end.

    `corpus` is a folder with models, for the benchmarks that need real ones, where the user has given one;
    `versions` is how many a large store has.
    """

    def __init__(self, root: Path, size: int, corpus: Path | None = None, versions: int = 0) -> None:
        self.work = root / "work"
        self.kept = root / "data"
        self.size = size
        self.corpus = corpus
        self.versions = versions

    def __enter__(self) -> "Place":
        remove(self.work)
        self.work.mkdir(parents=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        remove(self.work)

    def shapes(self) -> dict[str, Path]:
        """Return the folders to save: all bytes in one file, and in 64; they are in the page cache."""
        shapes = {"in 1 file": self._files(1), "in 64 files": self._files(64)}
        for folder in shapes.values():
            hash_tree(folder)
        return shapes

    def repository(self, name: str, *, durable: bool = True) -> mvs.Repository:
        """Return a new repository; one of that name that is there is removed."""
        folder = self.work / name
        remove(folder)
        repo = mvs.init(folder)
        if not durable:
            command(folder, "config", "set", "store.durable", "false")
            repo = mvs.open(folder)
        return repo

    def _files(self, count: int) -> Path:
        kept = self.kept / str(self.size)
        folder = kept / str(count)
        if not folder.exists():
            building = kept / "building"
            remove(building)
            building.mkdir(parents=True)
            for index in range(count):
                _random_file(building / f"weights-{index:02}.bin", self.size // count)
            building.rename(folder)
        return folder


def command(folder: Path, *arguments: str) -> str:
    """Run the command `mvs` in a repository and return what it prints."""
    return subprocess.run(
        [_MVS, "-C", folder, *arguments], check=True, stdout=subprocess.PIPE, text=True, cwd=folder
    ).stdout


def peak(folder: Path, *arguments: str) -> float:
    """Run the command `mvs` in a repository and return the most memory it had, in MiB."""
    command = [sys.executable, "-c", _PEAK, sys.executable, "-m", "mvs", "-C", str(folder), *arguments]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return int(done.stdout) / (1 << 20 if sys.platform == "darwin" else 1 << 10)


def remove(folder: Path) -> None:
    """Remove a folder, views of a store included, which are read-only."""
    for parent, folders, _ in os.walk(folder):
        for name in folders:
            if not os.path.islink(inner := os.path.join(parent, name)):
                os.chmod(inner, 0o755)
    shutil.rmtree(folder, ignore_errors=True)


def copy(source: Path, target: Path) -> None:
    """Copy a folder with `cp -r`."""
    subprocess.run(["cp", "-r", source, target], check=True)


def clone(source: Path, target: Path) -> None:
    """Copy a folder with the times and modes of its files, such as a repository, in the place of what is there."""
    remove(target)
    subprocess.run(["cp", "-a", source, target], check=True)


def copy_durably(source: Path, target: Path) -> None:
    """Copy a folder with `cp -r` and fsync every file and folder of the copy."""
    copy(source, target)
    sync_tree(target)


def sync_tree(folder: Path) -> None:
    """Fsync every file and folder, and the folder it lies in."""
    for parent, _, files in os.walk(folder, topdown=False):
        for name in files:
            _sync(os.path.join(parent, name))
        _sync(parent)
    _sync(str(folder.parent))


def hash_tree(folder: Path) -> None:
    """Hash every file with BLAKE3 on all cores, mapped: as fast as its library goes."""
    for file in sorted(folder.iterdir()):
        blake3(max_threads=blake3.AUTO).update_mmap(file).digest()


def hash_command(folder: Path) -> None:
    """Do the same in a program of its own, as somebody does who types a command."""
    subprocess.run([sys.executable, "-c", _HASH, folder], check=True)


def _random_file(path: Path, size: int) -> None:
    with open(path, "wb") as file:
        while size:
            size -= file.write(os.urandom(min(_BLOCK, size)))
        os.fsync(file.fileno())


def _sync(path: str) -> None:
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
