"""Versions that are numbers: which of them a range holds, and which comes next.

They are read, ordered and compared as PEP 440 has it (the package packaging); a range may also be written as npm
and Cargo have it, with `^` and `~`.
"""

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import TYPE_CHECKING, Literal

from mvs.errors import InvalidTag

if TYPE_CHECKING:
    from packaging.specifiers import SpecifierSet
    from packaging.version import Version as Number

# More numbers than three, or longer ones, are a date, an address, or an attack.
_SHAPE = re.compile(r"v?[0-9]{1,18}(\.[0-9]{1,18}){0,2}(?![0-9.])", re.ASCII)
_ROUGHLY = re.compile(r"([\^~])\s*(v?[0-9]{1,9}(?:\.[0-9]{1,9}){0,2}(?![0-9.])[a-z0-9.-]*)\Z")


@lru_cache(maxsize=64)
def parse_range(text: str) -> "SpecifierSet":
    """Return the range that `text` spells: clauses separated by commas, all of which must hold.

    Raises:
        InvalidTag: it is none.
    """
    from packaging.specifiers import InvalidSpecifier, SpecifierSet  # noqa: PLC0415 - 13 ms, only for ranges

    try:
        clauses = ",".join(_plain(clause.strip()) for clause in text.split(","))
        return SpecifierSet(clauses)
    except (InvalidSpecifier, ValueError):
        raise InvalidTag(f"'{text}' is not a range of versions, as '^1.2', '~1.2' or '>=1.0,<2' is") from None


def best(text: str, versions: Iterable[str]) -> list[str]:
    """Return the highest of some versions that a range holds; several where they are the same number.

    A pre-release is held only by a range that names one.
    """
    wanted = parse_range(text)
    found: dict[Number, list[str]] = {}
    for version in versions:
        number = parse_number(version)
        if number is not None and wanted.contains(number, prereleases=bool(wanted.prereleases)):
            found.setdefault(number, []).append(version)
    return found[max(found)] if found else []


def following(versions: Iterable[str], bump: Literal["major", "minor", "patch"]) -> str:
    """Return the version that comes after the highest of some; after none of them it is 1.0.0, 0.1.0 or 0.0.1.

    After a pre-release it is the release that it is for, unless a larger step is asked for.
    """
    numbered = [(number, version) for version in versions if (number := parse_number(version)) is not None]
    if not numbered:
        return {"major": "1.0.0", "minor": "0.1.0", "patch": "0.0.1"}[bump]
    highest, spelled = max(numbered)
    major, minor, patch = highest.major, highest.minor, highest.micro
    if bump == "patch":
        patch += not highest.is_prerelease
    elif bump == "minor":
        minor, patch = minor + (patch > 0 or not highest.is_prerelease), 0
    else:
        major, minor, patch = major + (minor > 0 or patch > 0 or not highest.is_prerelease), 0, 0
    return f"{'v' if spelled.startswith('v') else ''}{major}.{minor}.{patch}"


@lru_cache(maxsize=1 << 16)
def parse_number(version: str) -> "Number | None":
    """Return a version of one to three numbers, `v` or not before, and a suffix that PEP 440 knows; None else."""
    if not _SHAPE.match(version):
        return None
    from packaging.version import InvalidVersion, Version  # noqa: PLC0415 - only for numbers

    try:
        return Version(version)
    except InvalidVersion:
        return None


def _plain(clause: str) -> str:
    """Return a clause with `^` and `~` as those that PEP 440 knows."""
    if clause.startswith("~=") or not clause.startswith(("^", "~")):
        if not clause or clause.startswith("==="):
            raise ValueError(clause)
        return clause
    match = _ROUGHLY.match(clause)
    number = parse_number(match[2]) if match else None
    if match is None or number is None:
        raise ValueError(clause)
    given = list(number.release)
    # What must not change: for `~` the second number if there is one, for `^` the first that is not 0.
    fixed = min(1, len(given) - 1)
    if match[1] == "^":
        fixed = next((place for place, value in enumerate(given) if value), len(given) - 1)
    above = [*given[:fixed], given[fixed] + 1]
    return f">={number},<{'.'.join(map(str, above))}"
