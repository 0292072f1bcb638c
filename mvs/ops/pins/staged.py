"""Staged by accident: files that are about to be committed to git and belong into the store."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from mvs.errors import NotARepository, command
from mvs.format.lines.pins import Pin
from mvs.ops.pins import git

# What nothing but a model is called.
_MODELS = (
    *(".safetensors", ".gguf", ".ggml", ".pt", ".pth", ".ckpt", ".onnx"),
    *(".h5", ".keras", ".tflite", ".mlmodel"),
)
# What git-lfs commits in the place of a file is shorter than this, and begins so (its specification).
_POINTER_BYTES = 1024
_POINTER = b"version https://git-lfs"
_FILE = "100"


class Staged(NamedTuple):
    """One file: its path from the top of the work tree, its size, and why it is not for git."""

    path: str
    size: int
    why: str


def staged(root: Path, pins: Iterable[Pin], limit: int, environment: Mapping[str, str]) -> list[Staged]:
    """Return the staged files that are new to git and larger than `limit`, models, or of a pin.

    Raises:
        NotARepository: git has none here, or does not answer.
    """
    told = git.ask(root, ["diff", "--cached", "--raw", "-z", "--no-renames", "--no-abbrev"], environment)
    top = git.ask(root, ["rev-parse", "--show-prefix"], environment)
    if told is None or top is None:
        raise NotARepository(f"git does not tell what is staged in '{root}'", hint=command("git", "-C", root, "status"))
    fields = told.decode("utf-8", "surrogateescape").split("\0")
    entries = [(fields[n].split(), fields[n + 1]) for n in range(0, len(fields) - 1, 2)]
    # Deleted files, links and submodules bring no bytes.
    rows = [(old, new, path) for (_, mode, old, new, *_), path in entries if mode.startswith(_FILE)]
    sizes = git.sizes(root, {id for old, new, _ in rows for id in (old, new)}, environment)
    prefix = top.decode("utf-8", "surrogateescape").strip("\n")
    folders = tuple(f"{prefix}{pin.path}/" for pin in pins)
    found = []
    for old, new, path in rows:
        size, is_new = sizes.get(new, 0), not old.strip("0")
        if path.startswith(folders):
            why = "pinned"
        elif is_new and path.lower().endswith(_MODELS):
            why = "model"
        elif size > limit >= sizes.get(old, 0):
            why = "large"
        else:
            continue
        if size >= _POINTER_BYTES or not (git.blob(root, new, environment) or b"").startswith(_POINTER):
            found.append(Staged(path, size, why))
    return found
