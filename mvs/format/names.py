"""Names, versions, tags and specs, parsed once at the edge."""

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, NamedTuple

from mvs.errors import InvalidTag

# One pattern and two lengths, as docs/format.md gives them.
COMPONENT = r"[a-z0-9](?:[a-z0-9._-]*[a-z0-9])?"
COMPONENT_LENGTH = 63
NAME_LENGTH = 255
LATEST = "latest"

Bump = Literal["major", "minor", "patch"]
BUMPS: tuple[Bump, ...] = ("major", "minor", "patch")

_COMPONENT = re.compile(COMPONENT + r"\Z")
_PREFIX = re.compile(r"[a-z0-9][a-z0-9._-]*\Z")
_RANGE = re.compile(r"[\^~<>=!][\^~<>=!,.* a-z0-9_-]{0,254}\Z")
_HEX_PREFIX = re.compile(r"[0-9a-f]{1,64}\Z")

_ALPHABET = "letters a-z, digits, and '.', '_', '-' between them"


@lru_cache(maxsize=1024)
def parse_name(text: str) -> str:
    """Return `text` as a name, lowered.

    Raises:
        InvalidTag: it is not of the allowed form.
    """
    name = _lower(text)
    if len(name) > NAME_LENGTH:
        raise InvalidTag(f"name '{text}' is longer than {NAME_LENGTH} characters")
    for component in name.split("/"):
        _check_component(component, "name", text)
    return name


@lru_cache(maxsize=4096)
def parse_version(text: str) -> str:
    """Return `text` as a version, lowered; `latest` is none.

    Raises:
        InvalidTag: it is not of the allowed form.
    """
    version = _lower(text)
    _check_component(version, "version", text)
    if version == LATEST:
        raise InvalidTag(f"version '{LATEST}' is reserved for the most recently saved version")
    return version


@dataclass(frozen=True, slots=True, order=True)
class Tag:
    """The full name of one version: `name:version`."""

    name: str
    version: str

    @classmethod
    def parse(cls, text: "str | Tag") -> "Tag":
        """Return the tag that `text` spells, lowered.

        Raises:
            InvalidTag: name or version is missing or not of the allowed form.
        """
        if isinstance(text, Tag):
            return text
        name, version = parse_target(text)
        if version is None:
            raise InvalidTag(f"tag '{text}' has no version", hint=f"mvs log {name}")
        return cls(name, version)

    def __str__(self) -> str:
        return f"{self.name}:{self.version}"


def parse_target(text: "str | Tag") -> tuple[str, str | None]:
    """Return name and version of `name` or `name:version`, the version None where it is to be made.

    Raises:
        InvalidTag: it is of neither form.
    """
    if isinstance(text, Tag):
        return text.name, text.version
    if not isinstance(text, str):
        raise InvalidTag(f"a tag is a string, not {type(text).__name__}")
    name, colon, version = text.partition(":")
    if not colon:
        return parse_name(name), None
    if not version:
        raise InvalidTag(f"'{text}' has no version behind the ':'")
    return parse_name(name), parse_version(version)


class Alias(NamedTuple):
    """The full name of an alias: `name@alias`."""

    name: str
    alias: str

    @classmethod
    def parse(cls, text: "str | Alias") -> "Alias":
        """Return the alias that `text` spells, lowered; `latest` is none.

        Raises:
            InvalidTag: it is not of the form `name@alias`.
        """
        if isinstance(text, Alias):
            return text
        if not isinstance(text, str):
            raise InvalidTag(f"an alias is a string, not {type(text).__name__}")
        name, at, alias = text.partition("@")
        if not at:
            raise InvalidTag(f"'{text}' is not NAME@ALIAS", hint="mvs alias list")
        found = cls(parse_name(name), _parse_alias(alias))
        if found.alias == LATEST:
            raise InvalidTag(
                f"the alias '{found}' is reserved: it is always the most recently saved version",
                hint=f"mvs show {found.name}",
            )
        return found

    def __str__(self) -> str:
        return f"{self.name}@{self.alias}"


Kind = Literal["latest", "version", "prefix", "range", "alias", "id"]


@dataclass(frozen=True, slots=True)
class Spec:
    """What a user may write to choose one version.

    `kind` says what `value` is: a version, a prefix of one (written with `*`), a range of
    numbers, an alias or a prefix of a manifest id. For "latest", `back` counts saves before it.
    `bare` is true for a name alone.
    """

    name: str
    kind: Kind
    value: str = ""
    back: int = 0
    bare: bool = False

    @classmethod
    def parse(cls, text: "str | Tag | Spec") -> "Spec":
        """Return the spec that `text` spells.

        `name`, `name:latest`, `name:latest~N`, `name:version`, `name:prefix*`,
        `name:^1.2`, `name:~1.2`, `name:>=1.0,<2`, `name@alias`, `name#idprefix`.

        Raises:
            InvalidTag: it is none of these.
        """
        if isinstance(text, Spec):
            return text
        if isinstance(text, Tag):
            return cls(text.name, "version", text.version)
        if not isinstance(text, str):
            raise InvalidTag(f"a spec is a string, not {type(text).__name__}")
        cut = re.search(r"[:@#]", text)
        if cut is None:
            return cls(parse_name(text), "latest", bare=True)
        name, rest = parse_name(text[: cut.start()]), text[cut.end() :]
        if cut.group() == "@":
            alias = _parse_alias(rest)
            return cls(name, "latest") if alias == LATEST else cls(name, "alias", alias)
        if cut.group() == "#":
            prefix = _lower(rest)
            if not _HEX_PREFIX.match(prefix):
                raise InvalidTag(f"'{rest}' is not the beginning of a manifest id")
            return cls(name, "id", prefix)
        return cls._parse_version(name, _lower(rest))

    @classmethod
    def _parse_version(cls, name: str, text: str) -> "Spec":
        if _RANGE.match(text):
            # What it means, if anything, is found out by whoever looks for it.
            return cls(name, "range", text)
        version, tilde, back = text.partition("~")
        if tilde:
            # Nine digits: more saves than any store holds, and int() stays cheap.
            if version != LATEST or not re.match(r"[0-9]{1,9}\Z", back):
                raise InvalidTag(f"'{text}' is not '{LATEST}~N'", hint=f"mvs log {name}")
            return cls(name, "latest", back=int(back))
        if version == LATEST:
            return cls(name, "latest")
        if version.endswith("*"):
            if not _PREFIX.match(version[:-1]):
                raise InvalidTag(f"'{text}' is not the beginning of a version with one '*' behind")
            return cls(name, "prefix", version[:-1])
        return cls(name, "version", parse_version(version))

    def __str__(self) -> str:
        if self.bare:
            return self.name
        if self.kind == "latest":
            return f"{self.name}:{LATEST}" + (f"~{self.back}" if self.back else "")
        mark = {"version": ":", "prefix": ":", "range": ":", "alias": "@", "id": "#"}[self.kind]
        return f"{self.name}{mark}{self.value}" + ("*" if self.kind == "prefix" else "")


def _parse_alias(text: str) -> str:
    alias = _lower(text)
    _check_component(alias, "alias", text)
    return alias


def _lower(text: str) -> str:
    # ASCII only: str.lower() turns some other letters into ASCII ones ('K' the Kelvin sign).
    return text.lower() if text.isascii() else text


def _check_component(component: str, what: str, whole: str) -> None:
    if len(component) > COMPONENT_LENGTH:
        raise InvalidTag(f"{what} '{whole}' has a part longer than {COMPONENT_LENGTH} characters")
    if not _COMPONENT.match(component):
        part = "is empty or has an empty part" if not component else f"may hold only {_ALPHABET}"
        raise InvalidTag(f"{what} {whole!r} {part}")
