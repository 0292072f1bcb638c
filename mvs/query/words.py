"""Text to tokens, and errors that point at the place in the text."""

import re
from typing import Literal, NamedTuple, NoReturn

from mvs.errors import QueryError

# Longer ones are made by programs that should ask several times.
MAX_LENGTH = 8192
# Of a long expression so many characters are shown on either side of the mistake.
_SHOWN = 60

Kind = Literal["field", "quoted", "string", "number", "operator", "end"]

_QUOTED = r'"(?:[^"]|"")*"|`(?:[^`]|``)*`'
# Slashes and hyphens belong to keys (`metrics.eval/loss`): there is no arithmetic.
_COMPONENT = rf"(?:{_QUOTED}|[\w/-]+)"
_TOKENS = re.compile(
    rf"""
      (?P<blank>\s+)
    | (?P<number>[+-]?(?:[0-9]+(?:\.[0-9]+)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?(?:[A-Za-z]+)?(?![\w.]))
    | (?P<field>[^\W\d][\w/-]*(?:\.{_COMPONENT})*)
    | (?P<string>'(?:[^']|'')*')
    | (?P<quoted>{_QUOTED})
    | (?P<operator>==|!=|<>|<=|>=|[=<>(),:])
    """,
    re.VERBOSE,
)
_PART = re.compile(rf"\.?({_COMPONENT})")


class Token(NamedTuple):
    """One token: what it is, its text as written, and where it begins."""

    kind: Kind
    text: str
    column: int

    @property
    def word(self) -> str:
        """The text in lower case, for keywords and operators; nothing else is equal to one."""
        return self.text.lower() if self.kind in ("field", "operator") else ""

    @property
    def content(self) -> str:
        """What stands between the quotes."""
        return unquoted(self.text)

    @property
    def components(self) -> tuple[str, ...]:
        """The parts of a field, without quotes."""
        return tuple(unquoted(part) for part in _PART.findall(self.text))


def unquoted(text: str) -> str:
    """Return what a word means: itself, or what is between its quotes."""
    mark = text[:1]
    return text[1:-1].replace(mark * 2, mark) if mark in ("'", '"', "`") else text


def tokens(text: str) -> list[Token]:
    """Return the tokens of an expression, the last of kind "end".

    Raises:
        QueryError: it is no text, too long, or holds what is no token.
    """
    if not isinstance(text, str):
        raise QueryError(f"an expression is a string, not {type(text).__name__}")
    if len(text) > MAX_LENGTH:
        fail(text, MAX_LENGTH, f"the expression is longer than {MAX_LENGTH} characters")
    if bad := re.search("[\ud800-\udfff]", text):
        fail(text, bad.start(), "this is not valid Unicode")
    found = []
    at = 0
    while at < len(text):
        match = _TOKENS.match(text, at)
        if match is None:
            if text[at] in "'\"`":
                fail(text, at, "this quote is not closed")
            fail(text, at, f"'{shown(text[at])}' means nothing here")
        if match.lastgroup != "blank":
            found.append(Token(match.lastgroup, match[0], at))  # type: ignore[arg-type]
        at = match.end()
    found.append(Token("end", "", len(text)))
    return found


def shown(text: str) -> str:
    """Return text with what a terminal would obey, or would shift the line, replaced by one character each."""
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)


def fail(text: str, column: int, what: str, *, hint: str = "") -> NoReturn:
    """Raise the error that shows an expression with a mark under a column.

    Raises:
        QueryError: always.
    """
    start = max(0, column - _SHOWN)
    before = ("..." if start else "") + text[start:column]
    after = text[column : column + _SHOWN] + ("..." if column + _SHOWN < len(text) else "")
    raise QueryError(f"{what}\n  {shown(before + after)}\n  {' ' * len(before)}^", hint=hint)
