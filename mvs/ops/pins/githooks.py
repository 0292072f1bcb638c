"""Hooks of git: put beside those that are there, which run first, and taken out again."""

import os
import shlex
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from mvs.backends.failures import storage
from mvs.errors import Conflict, NotARepository, command
from mvs.ops.pins import git

NAMES = ("post-checkout", "post-merge", "pre-commit", "pre-push")
_MARK = "# Written by `mvs hook install`, removed by `mvs hook uninstall`."
_BEFORE = ".before-mvs"
# Where `pre-commit install` puts a hook that it finds, and runs it from.
_LEGACY = ".legacy"

_SCRIPT = """#!/bin/sh
{mark}
# What was here before is {name}{suffix}; it runs first.
before="$(dirname "$0")/{name}{suffix}"
status=0
{input}
if [ -x "$before" ]; then
    {pipe}"$before" "$@" || {failed}
fi
[ -d {control} ] || exit $status
if ! command -v mvs >/dev/null 2>&1; then
    echo "mvs is not on the PATH: nobody looks after what is pinned" >&2
    exit $status
fi
# The index of this commit, from wherever it is asked for.
case "${{GIT_INDEX_FILE-/}}" in /*) ;; *) GIT_INDEX_FILE="$PWD/$GIT_INDEX_FILE" && export GIT_INDEX_FILE ;; esac
{pipe}mvs -C {folder} hook git {name} -- "$@" || exit
exit $status
"""
# As it is, with the newline at its end or without one.
_INPUT = 'input="$(cat; echo x)" && input="${input%x}"'
_PIPE = 'printf %s "$input" | '


def install(root: Path, environment: Mapping[str, str]) -> list[Path]:
    """Write the hooks of git that look after what the repository in a folder pins, and return them.

    Hooks that are there are kept beside them, and run first. Hooks of ours are written anew.

    Raises:
        NotARepository: git has none here.
        Conflict: hooks are shared with other repositories; or a hook was kept before, and is about to be lost.
    """
    top, folder = _places(root, environment)
    within = os.path.relpath(os.path.realpath(root), top)
    with storage(str(folder)):
        folder.mkdir(parents=True, exist_ok=True)
        return [_install(folder, name, within) for name in NAMES]


def uninstall(root: Path, environment: Mapping[str, str]) -> list[Path]:
    """Take the hooks out again, let those be there that were there before, and return what was taken out.

    Raises:
        NotARepository: git has none here.
        Conflict: hooks are shared with other repositories.
    """
    _, folder = _places(root, environment)
    gone = []
    with storage(str(folder)):
        for name in NAMES:
            for place in (folder / name, folder / f"{name}{_LEGACY}"):
                if _is_ours(place):
                    before = folder / f"{name}{_BEFORE}"
                    if os.path.lexists(before):
                        os.replace(before, place)
                    else:
                        place.unlink()
                    gone.append(place)
    return gone


def pushed_revisions(lines: str) -> Iterator[str]:
    """Yield the commits that git is about to push, from what it tells a `pre-push` hook (githooks(5))."""
    for line in lines.splitlines():
        words = line.split()
        if len(words) == 4 and words[1].strip("0"):
            yield words[1]


def _places(root: Path, environment: Mapping[str, str]) -> tuple[str, Path]:
    told = git.ask(
        root,
        ["rev-parse", "--path-format=absolute", "--show-toplevel", "--git-common-dir", "--git-path", "hooks"],
        environment,
    )
    lines = os.fsdecode(told or b"").splitlines()
    if len(lines) != 3:
        raise NotARepository(f"'{root}' is in no work tree of git", hint=command("git", "init", root))
    top, common, hooks = map(os.path.realpath, lines)
    if not any(hooks.startswith(f"{place}{os.sep}") for place in (top, common)):
        raise Conflict(
            f"git takes its hooks from '{hooks}', for other repositories as well; "
            'let those run `mvs hook git NAME -- "$@"`',
            hint="git config --show-origin core.hooksPath",
        )
    return top, Path(hooks)


def _install(folder: Path, name: str, within: str) -> Path:
    place, before = folder / name, folder / f"{name}{_BEFORE}"
    if os.path.lexists(place) and not _is_ours(place):
        if os.path.lexists(before):
            raise Conflict(
                f"'{place}' is not of mvs, and '{before}' was kept before; one of them must go",
                hint=command("ls", "-l", folder),
            )
        os.link(place, before, follow_symlinks=False)
    piped = name == "pre-push"
    script = _SCRIPT.format(
        mark=_MARK,
        name=name,
        suffix=_BEFORE,
        input=_INPUT if piped else ":",
        pipe=_PIPE if piped else "",
        failed="exit" if name.startswith("pre-") else "status=$?",
        control=shlex.quote(os.path.join(within, ".mvs")),
        folder=shlex.quote(within),
    )
    temp = folder / f".{name}.{os.urandom(8).hex()}.tmp"
    try:
        temp.write_text(script, encoding="utf-8", errors="surrogateescape")
        temp.chmod(0o755)
        os.replace(temp, place)
    finally:
        temp.unlink(missing_ok=True)
    return place


def _is_ours(place: Path) -> bool:
    with suppress(OSError):
        return _MARK in place.read_text(encoding="utf-8", errors="replace")
    return False
