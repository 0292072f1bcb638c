"""The paths a version may hold: what every file system we check out to can hold."""

import unicodedata
from collections.abc import Iterable

from mvs.errors import InvalidPath

COMPONENT_BYTES = 255
PATH_BYTES = 4096
# A checked-out `.mvs` would be taken for a repository, configuration and hooks included.
FORBIDDEN = ".mvs"


def check_paths(files: Iterable[str], dirs: Iterable[str] = ()) -> None:
    """Check that a version can hold these files and empty folders together.

    Raises:
        InvalidPath: a path is not of the allowed form, or two would be one on a file
            system that folds case or normalises Unicode.
    """
    spelled: dict[str, str] = {}
    leaves: set[str] = set()
    folders: set[str] = set()
    for path in [*files, *dirs]:
        check_path(path)
        if path in leaves:
            raise InvalidPath(f"path '{path}' occurs twice")
        leaves.add(path)
        parts = path.split("/")
        for end in range(1, len(parts)):
            prefix = "/".join(parts[:end])
            if prefix not in folders:
                _note(prefix, spelled)
                folders.add(prefix)
        _note(path, spelled)
    for path in leaves & folders:
        raise InvalidPath(f"path '{path}' is both a file and a folder")


def check_path(path: str) -> None:
    """Check the form of one path.

    Raises:
        InvalidPath: it is not relative, clean, UTF-8 and free of `.mvs`.
    """
    try:
        encoded = path.encode()
    except UnicodeEncodeError:
        raise InvalidPath(f"path {path!r} is not UTF-8") from None
    if len(encoded) > PATH_BYTES:
        raise InvalidPath(f"path {path[:80]!r}... is longer than {PATH_BYTES} bytes")
    if b"\0" in encoded:
        raise InvalidPath(f"path {path!r} holds a NUL")
    for part in path.split("/"):
        if part in ("", ".", ".."):
            raise InvalidPath(f"path {path!r} is not a clean relative path")
        if len(part) > COMPONENT_BYTES // 4 and len(part.encode()) > COMPONENT_BYTES:
            raise InvalidPath(f"path {path!r} has a part longer than {COMPONENT_BYTES} bytes")
        if is_forbidden(part):
            raise InvalidPath(f"path {path!r} lies in a '{FORBIDDEN}' folder, which belongs to mvs")


def is_forbidden(part: str) -> bool:
    """Tell whether a path component is `.mvs` on a file system that folds case."""
    # isascii: folding may turn other letters into these, and most names need no folding.
    return len(part) == len(FORBIDDEN) and part.casefold() == FORBIDDEN


def _note(path: str, spelled: dict[str, str]) -> None:
    folded = (
        path.lower() if path.isascii() else unicodedata.normalize("NFC", unicodedata.normalize("NFC", path).casefold())
    )
    other = spelled.setdefault(folded, path)
    if other != path:
        raise InvalidPath(f"paths {other!r} and {path!r} are one path where case or accents are folded")
