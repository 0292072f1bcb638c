"""The files of a folder that is to be saved, and proof that it held still meanwhile."""

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass

from mvs.errors import EmptyFolder, ForbiddenPlace, InvalidInput, InvalidPath, SourceChanged, SourceNotFound, command
from mvs.format.layout import FORMAT_FAMILY, FORMAT_FILE
from mvs.format.paths import check_paths, is_forbidden

# Deeper trees are links gone wrong, and would exhaust the stack.
MAX_DEPTH = 200


@dataclass(frozen=True, slots=True)
class Found:
    """One file: its path in the version, where it really lies, and what tells whether it changed."""

    path: str
    place: str
    size: int
    executable: bool
    stamp: tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class Folder:
    """Everything that a version made from `root` will hold, sorted; `skipped` are folders of mvs left out."""

    root: str
    files: tuple[Found, ...]
    dirs: tuple[str, ...]
    skipped: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        """Bytes in all files."""
        return sum(found.size for found in self.files)

    def check_movable(self) -> None:
        """Refuse a folder that holds a store of other repositories.

        Raises:
            ForbiddenPlace: it does.
        """
        for found in self.files:
            if found.path.rpartition("/")[2] == FORMAT_FILE:
                with open(found.place, "rb") as file:
                    if file.read(len(FORMAT_FAMILY)) == FORMAT_FAMILY:
                        raise ForbiddenPlace(f"'{os.path.dirname(found.place)}' is a store, which must not be moved")

    def check_unchanged(self) -> None:
        """Look again, and refuse what is no longer the same.

        Raises:
            SourceChanged: a file was added, removed, replaced or written to.
        """
        again = walk(self.root)
        if again.files != self.files or again.dirs != self.dirs:
            changed = sorted(set(again.files) ^ set(self.files), key=lambda found: found.path)
            what = changed[0].path if changed else self.root
            raise SourceChanged(f"'{what}' changed while it was saved", hint=command("fuser", "-v", self.root))


def walk(root: str) -> Folder:
    """Return the files of a folder, or of one file.

    Links are followed when they stay inside the folder. `.mvs` folders are left out.

    Raises:
        SourceNotFound: the path, or something in it, is missing or unreadable.
        InvalidPath: a version cannot hold something in it.
        EmptyFolder: it holds no file.
    """
    if not root:
        raise SourceNotFound("the path to save is empty")
    try:
        found = os.stat(root)
    except OSError as error:
        raise SourceNotFound(f"cannot read '{root}': {error.strerror}") from error
    except ValueError as error:
        raise SourceNotFound(f"cannot read {root!r}: {error}") from error
    real = os.path.realpath(root)
    if stat.S_ISREG(found.st_mode):
        name = os.path.basename(os.path.abspath(root))
        check_paths([name])
        return Folder(root, (_found(name, real, found),), ())
    if not stat.S_ISDIR(found.st_mode):
        raise InvalidPath(f"'{root}' is neither a file nor a folder")
    files: list[Found] = []
    dirs: list[str] = []
    skipped: list[str] = []
    _descend(real, "", real, frozenset([real]), files, dirs, skipped)
    check_paths((file.path for file in files), dirs)
    if not files:
        raise EmptyFolder(f"'{root}' holds no file to save")
    by_path = tuple(sorted(files, key=lambda file: file.path))
    return Folder(root, by_path, tuple(sorted(dirs)), tuple(skipped))


def files_of(root: str) -> tuple[Found, ...]:
    """Return the files of a folder as far as there are any; to be compared with those of another time."""
    try:
        return walk(root).files
    except (InvalidInput, SourceNotFound):
        return ()


def check_place(root: str, stores: list[str], *, taking: bool) -> None:
    """Refuse to save the store's own files, and to take (move) a folder that holds a store.

    Raises:
        ForbiddenPlace: `root` lies in one of `stores`, or, when taking, one lies in it.
    """
    for place in stores:
        if contains(place, root):
            raise ForbiddenPlace(f"'{root}' lies in the store '{place}', which cannot be saved into itself")
        if taking and contains(root, place):
            raise ForbiddenPlace(f"'{root}' holds the store '{place}', which must not be moved")


def contains(folder: str, place: str) -> bool:
    """Tell whether `place` is `folder` or lies in it, links resolved."""
    folder, place = os.path.realpath(folder), os.path.realpath(place)
    return place == folder or place.startswith(folder.rstrip("/") + "/")


def _descend(
    folder: str,
    prefix: str,
    root: str,
    above: frozenset[str],
    files: list[Found],
    dirs: list[str],
    skipped: list[str],
) -> None:
    if prefix.count("/") > MAX_DEPTH:
        raise InvalidPath(f"'{folder}' lies deeper than {MAX_DEPTH} folders")
    empty = True
    for entry in _entries(folder):
        path = prefix + entry.name
        _check_unicode(path)
        if is_forbidden(entry.name):
            skipped.append(path)
            continue
        empty = False
        place = entry.path
        if entry.is_symlink():
            place = _inside(entry.path, root)
        try:
            found = os.stat(place, follow_symlinks=False)
        except OSError as error:
            raise SourceNotFound(f"cannot read '{entry.path}': {error.strerror}") from error
        if stat.S_ISREG(found.st_mode):
            files.append(_found(path, place, found))
        elif stat.S_ISDIR(found.st_mode):
            if place in above:
                raise InvalidPath(f"the link '{entry.path}' leads back to a folder above it")
            _descend(place, path + "/", root, above | {place}, files, dirs, skipped)
        else:
            raise InvalidPath(f"'{entry.path}' is neither a file nor a folder")
    if empty and prefix:
        dirs.append(prefix[:-1])


def _entries(folder: str) -> Iterator["os.DirEntry[str]"]:
    try:
        with os.scandir(folder) as entries:
            yield from sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        raise SourceNotFound(f"cannot read '{folder}': {error.strerror}") from error


def _check_unicode(path: str) -> None:
    try:
        path.encode()
    except UnicodeEncodeError:
        raise InvalidPath(f"path {os.fsencode(path)!r} is not UTF-8") from None


def _inside(link: str, root: str) -> str:
    place = os.path.realpath(link)
    if not contains(root, place):
        raise InvalidPath(
            f"the link '{link}' leaves the folder: it leads to '{place}'",
            hint=command("cp", "-rL", root, f"{root}.copy"),
        )
    return place


def _found(path: str, place: str, found: os.stat_result) -> Found:
    return Found(path, place, found.st_size, bool(found.st_mode & 0o100), stamp(found))


def stamp(found: os.stat_result) -> tuple[int, int, int, int]:
    """Return what tells whether a file is still the same and unchanged."""
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns
