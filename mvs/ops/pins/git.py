"""Questions to git, which answers in time or not at all."""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

# A repository on a slow network disk must not hold up its user for longer.
_SECONDS = 20
# Where a hook was started, which is not where it is asked from. The index of the commit stays.
_PLACES = ("GIT_DIR", "GIT_WORK_TREE", "GIT_PREFIX")


def is_work_tree(folder: Path) -> bool:
    """Tell whether a folder lies in a work tree of git, without asking git."""
    return any(os.path.lexists(place / ".git") for place in (folder, *folder.parents))


def blob(root: Path, what: str, environment: Mapping[str, str]) -> bytes | None:
    """Return a file as git has it, by id or as `REV:./PATH`, relative to `root`; None where it has none."""
    return ask(root, ["cat-file", "blob", what], environment)


def commit(root: Path, revision: str, environment: Mapping[str, str]) -> str | None:
    """Return the id of the commit that a revision stands for, None where it stands for none."""
    if revision.startswith("-"):
        return None
    found = ask(root, ["rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}"], environment)
    return found.decode("ascii", "replace").strip() if found else None


def sizes(root: Path, ids: Iterable[str], environment: Mapping[str, str]) -> dict[str, int]:
    """Return the sizes of objects of git that it has, by id."""
    asked = "".join(f"{id}\n" for id in sorted(ids)).encode("ascii")
    told = ask(root, ["cat-file", "--batch-check=%(objectname) %(objectsize)"], environment, told=asked) or b""
    rows = [line.split() for line in told.decode("ascii", "replace").splitlines()]
    return {row[0]: int(row[1]) for row in rows if row[1].isdecimal()}


def ask(root: Path, words: list[str], environment: Mapping[str, str], *, told: bytes = b"") -> bytes | None:
    """Return what a command of git prints, `told` being its input; None where it fails, or takes too long."""
    import subprocess  # noqa: PLC0415 - `mvs status` asks git nothing

    own = {key: value for key, value in environment.items() if key not in _PLACES}
    try:
        done = subprocess.run(  # noqa: S603 - words of ours, and a revision that is no option
            ["git", "-C", str(root), *words],  # noqa: S607 - the git of whoever asks
            capture_output=True,
            timeout=_SECONDS,
            check=True,
            env={**own, "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"},
            input=told,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout
