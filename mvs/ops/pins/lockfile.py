"""`mvs.lock` on the disk, and the lines of `.gitignore` that go with it."""

import contextlib
import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from mvs.backends.directory import Directory
from mvs.backends.failures import storage
from mvs.errors import UNREADABLE, CorruptPins, command
from mvs.format.lines.pins import PINS, Pin, decode, encode, is_conflict, sides
from mvs.ops.pins import git

_IGNORE = ".gitignore"
_LOCK = "pinning"
# What a pattern of git would take for something else than itself.
_SPECIAL = re.compile(r"([\\*?\[])")


def read(root: Path) -> tuple[Pin, ...]:
    """Return what the repository in a folder pins.

    Raises:
        CorruptPins, UnsupportedFormat: that cannot be told.
    """
    try:
        return decode(raw(root))
    except UNREADABLE as error:
        hint = error.hint or command("git", "-C", root, "diff", "HEAD", "--", PINS)
        raise type(error)(f"{error.message} ('{root / PINS}')", hint=hint) from None


def needed(root: Path) -> tuple[Pin, ...]:
    """Return what must be kept for the repository in a folder: of a merge that is not resolved, both sides.

    Raises:
        CorruptPins, UnsupportedFormat: that cannot be told.
    """
    data = raw(root)
    return tuple(pin for side in sides(data) for pin in decode(side)) if is_conflict(data) else read(root)


def raw(root: Path) -> bytes:
    """Return the bytes of `mvs.lock`, those of an empty one where there is none."""
    path = str(root / PINS)
    with storage(path):
        try:
            # What is no file, such as a pipe that nobody writes to, is not waited for.
            with open(path, "rb", opener=lambda path, flags: os.open(path, flags | os.O_NONBLOCK)) as file:
                if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                    raise CorruptPins(f"'{path}' is no file", hint=command("ls", "-ld", path))
                return file.read()
        except FileNotFoundError:
            if os.path.islink(path):
                raise CorruptPins(f"'{path}' is a link that leads nowhere", hint=command("ls", "-ld", path)) from None
            return encode(())
        except IsADirectoryError:
            raise CorruptPins(f"'{path}' is a folder", hint=command("ls", "-ld", path)) from None


@contextmanager
def changing(control: Path) -> Iterator[None]:
    """Be the only one who changes the pins of a repository."""
    from mvs.backends.locks import exclusive  # noqa: PLC0415 - readers take no lock

    with exclusive(str(control / _LOCK)):
        yield


def write(root: Path, pins: Iterable[Pin]) -> None:
    """Replace `mvs.lock`, durably and as a whole.

    Raises:
        InvalidPath: two pins cannot be checked out beside each other.
    """
    _replace(root / PINS, encode(pins))


def ignore(root: Path, pins: Iterable[Pin], gone: Iterable[Pin] = ()) -> None:
    """Let git ignore what is checked out, and no longer what is `gone`; other lines of `.gitignore` stay as they are.

    Only in a work tree of git. A `.gitignore` that is a link is somebody else's, and left alone.
    """
    path = root / _IGNORE
    if not git.is_work_tree(root) or path.is_symlink():
        return
    with storage(str(path)):
        try:
            before = path.read_bytes().decode("utf-8", "surrogateescape")
        except FileNotFoundError:
            before = ""
    wanted = [_pattern(pin) for pin in pins]
    unwanted = {_pattern(pin) for pin in gone} - set(wanted)
    lines = [line for line in before.splitlines(keepends=True) if line.rstrip("\r\n") not in unwanted]
    there = {line.rstrip("\r\n") for line in lines}
    if added := [f"{line}\n" for line in dict.fromkeys(wanted) if line not in there]:
        if lines and not lines[-1].endswith("\n"):
            lines[-1] += "\n"
        lines += added
    after = "".join(lines)
    if after != before:
        _replace(path, after.encode("utf-8", "surrogateescape"))


def committed(root: Path, revision: str, environment: Mapping[str, str]) -> tuple[Pin, ...] | None:
    """Return what was pinned at a revision of git, None where it is none.

    Raises:
        CorruptPins, UnsupportedFormat: that cannot be told.
    """
    commit = git.commit(root, revision, environment)
    if commit is None:
        return None
    if not git.ask(root, ["ls-tree", "--name-only", commit, "--", PINS], environment):
        return ()
    data = git.blob(root, f"{commit}:./{PINS}", environment)
    if data is None:
        raise CorruptPins(f"git has '{PINS}' at '{revision}', and does not show it", hint="git fsck")
    try:
        return decode(data)
    except UNREADABLE as error:
        raise type(error)(
            f"at '{revision}': {error.message}", hint=command("git", "show", f"{revision}:./{PINS}")
        ) from None


def merging(
    root: Path, environment: Mapping[str, str]
) -> tuple[tuple[Pin, ...], tuple[Pin, ...], tuple[Pin, ...] | None] | None:
    """Return what both sides of a merge pin, and what they began with where git knows it; None where there is none.

    Raises:
        CorruptPins, UnsupportedFormat: one of them cannot be read.
    """
    data = raw(root)
    if not is_conflict(data):
        return None
    ours, theirs = map(decode, sides(data))
    # Stage 1 of a path in a merge: the version that both sides come from (gitrevisions(7)).
    base = git.blob(root, f":1:./{PINS}", environment)
    return ours, theirs, decode(base) if base is not None else None


def resolved(root: Path, pins: Iterable[Pin]) -> None:
    """Write what a merge came to, and let `.gitignore` follow.

    Raises:
        InvalidPath: two pins cannot be checked out beside each other.
    """
    write(root, pins)
    ignore(root, pins)


def changed(
    root: Path, change: Callable[[tuple[Pin, ...]], Iterable[Pin]], tell: Callable[[Iterable[Pin]], object]
) -> tuple[tuple[Pin, ...], tuple[Pin, ...]]:
    """Write what `change` makes of the pins, and let `.gitignore` follow; return the pins before and after.

    For whoever is `changing` them. What will be pinned is told before it is written.
    """
    before = read(root)
    after = tuple(sorted(change(before), key=lambda pin: pin.key))
    # First: cut off in between, git ignores too much rather than too little.
    ignore(root, (*before, *after))
    if after != before:
        tell(after)
        write(root, after)
    ignore(root, after, gone=before)
    return before, after


def _pattern(pin: Pin) -> str:
    return "/" + _SPECIAL.sub(r"\\\1", pin.path) + "/"


def _replace(path: Path, data: bytes) -> None:
    folder = Directory(str(path.parent), durable=True, temps=".")
    temp = path.with_name(f".{path.name}.{os.urandom(8).hex()}.tmp")
    with storage(str(path.parent)):
        try:
            with open(temp, "xb") as file:
                file.write(data)
                file.flush()
                folder.sync_file(file.fileno(), str(temp))
            with contextlib.suppress(FileNotFoundError):
                os.chmod(temp, os.stat(path).st_mode & 0o777)
            os.replace(temp, path)
            folder.sync(["."])
        finally:
            temp.unlink(missing_ok=True)
