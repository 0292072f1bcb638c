"""Tokens to a tree: the grammar, and what each field may be compared with."""

from collections.abc import Callable
from typing import NoReturn

from mvs.errors import MvsError
from mvs.query.facts import number
from mvs.query.fields import SETS, field_of, meant
from mvs.query.sizes import parse_size
from mvs.query.times import parse_moment
from mvs.query.tree import Among, And, Compare, Expression, Field, Like, Not, Null, Operator, Or, Scalar, Sort
from mvs.query.words import Token, fail, shown, tokens

# Deeper ones are made by programs that could write them flat.
MAX_DEPTH = 64
_OPERATORS: dict[str, Operator] = {
    "=": "=", "==": "=", "!=": "!=", "<>": "!=", "<": "<", "<=": "<=", ">": ">", ">=": ">=",
}  # fmt: skip
_WORDS = ("and", "or", "not", "in", "is", "null", "like", "ilike", "glob", "true", "false", "asc", "desc")


def parse(text: str, *, now: int, parent: Callable[[str], str]) -> Expression:
    """Return the tree of an expression; `parent` turns the spec of a version into its id.

    Raises:
        QueryError: it is not understood.
    """
    reader = _Reader(text, now, parent)
    found = reader.either(0)
    if reader.next.kind != "end":
        reader.wrong("expected 'and', 'or' or the end")
    return found


def parse_field(text: str) -> Field:
    """Return the one field that `metadata.val_loss` says.

    Raises:
        QueryError: it is not understood, or a version has any number of it.
    """
    reader = _Reader(text, 0, str)
    found = reader.field()
    if found.root in SETS:
        fail(text, 0, f"a version has any number of '{found.root}'")
    if reader.next.kind != "end":
        reader.wrong("expected the end")
    return found


def parse_sort(text: str) -> tuple[Sort, ...]:
    """Return the order that `metadata.val_loss:asc,created:desc` says; ascending where it does not say.

    Raises:
        QueryError: it is not understood.
    """
    reader = _Reader(text, 0, str)
    found = []
    while True:
        column = reader.next.column
        field = reader.field()
        if field.root in SETS:
            fail(text, column, f"a version has any number of '{field.root}': nothing to sort by")
        colon = reader.take(":")
        descending = reader.take("desc")
        if not descending and not reader.take("asc") and colon:
            reader.wrong("expected 'asc' or 'desc'")
        found.append(Sort(field, descending))
        if not reader.take(","):
            break
    if reader.next.kind != "end":
        reader.wrong("expected ':asc', ':desc', ',' or the end")
    return tuple(found)


class _Reader:
    """The tokens that are still to be read."""

    def __init__(self, text: str, now: int, parent: Callable[[str], str]) -> None:
        self._text = text
        self._now = now
        self._parent = parent
        self._tokens = tokens(text)
        self._at = 0

    @property
    def next(self) -> Token:
        return self._tokens[self._at]

    def advance(self) -> Token:
        token = self.next
        self._at += token.kind != "end"
        return token

    def take(self, word: str) -> bool:
        """Read a keyword or an operator, if it is the next token."""
        found = self.next.word == word
        self._at += found
        return found

    def wrong(self, expected: str) -> NoReturn:
        token = self.next
        found = f"'{shown(token.text)}'" if token.text else "the end"
        fail(self._text, token.column, f"{expected}, not {found}")

    def either(self, depth: int) -> Expression:
        parts = [self.all(depth)]
        while self.take("or"):
            parts.append(self.all(depth))
        return parts[0] if len(parts) == 1 else Or(tuple(parts))

    def all(self, depth: int) -> Expression:
        parts = [self.one(depth)]
        while self.take("and"):
            parts.append(self.one(depth))
        return parts[0] if len(parts) == 1 else And(tuple(parts))

    def one(self, depth: int) -> Expression:
        if depth > MAX_DEPTH:
            fail(self._text, self.next.column, f"more than {MAX_DEPTH} levels of 'not' and parentheses")
        if self.take("not"):
            return Not(self.one(depth + 1))
        if self.take("("):
            found = self.either(depth + 1)
            if not self.take(")"):
                self.wrong("expected ')'")
            return found
        return self.comparison()

    def comparison(self) -> Expression:
        field = self.field()
        token = self.next
        if operator := _OPERATORS.get(token.word):
            self.advance()
            if field.root == "parent" and operator not in ("=", "!="):
                fail(self._text, token.column, "a parent is one version: use =, != or in")
            return Compare(field, operator, self.literal(field))
        if self.take("is"):
            negated = self.take("not")
            if not self.take("null"):
                self.wrong("expected 'null'")
            return Null(field, negated)
        negated = self.take("not")
        word = self.next.word
        if word == "in":
            self.advance()
            return Among(field, self.list(field), negated)
        if word in ("like", "ilike", "glob"):
            if field.root == "parent":
                fail(self._text, self.next.column, "a parent is one version: use =, != or in")
            self.advance()
            if self.next.kind not in ("string", "quoted"):
                self.wrong(f"expected a pattern in quotes behind '{word}'")
            return Like(field, word, self.advance().content, negated)  # type: ignore[arg-type]
        return self.wrong("expected 'in', 'like' or 'glob'" if negated else "expected an operator, such as = or <")

    def field(self) -> Field:
        token = self.next
        if token.kind == "quoted":
            fail(self._text, token.column, f"a key in quotes needs what it is a key of: metadata.{shown(token.text)}")
        if token.kind != "field" or token.word in _WORDS:
            self.wrong("expected a field, such as name or metadata.accuracy")
        parts = token.components
        found = field_of(parts)
        if found is None:
            fail(self._text, token.column, meant(tuple(map(shown, parts))))
        self.advance()
        return found

    def list(self, field: Field) -> tuple[Scalar, ...]:
        if not self.take("("):
            self.wrong("expected '('")
        found = [self.literal(field)]
        while self.take(","):
            found.append(self.literal(field))
        if not self.take(")"):
            self.wrong("expected ',' or ')'")
        return tuple(found)

    def literal(self, field: Field) -> Scalar:
        token = self.next
        if token.word in ("true", "false"):
            value: Scalar = token.word == "true"
        elif token.kind == "number":
            value = self._number(token)
        elif token.kind in ("string", "quoted"):
            value = self._text_for(field, token)
        elif token.word == "null":
            fail(self._text, token.column, "nothing is equal to null; write 'is null' or 'is not null'")
        elif token.kind == "field" and token.word not in _WORDS:
            fail(self._text, token.column, f"a text stands in quotes: '{shown(token.text)}'")
        else:
            self.wrong("expected a value")
        if field.root == "created" and token.kind not in ("string", "quoted"):
            fail(self._text, token.column, "a time stands in quotes: '2026-11-23' or '7 days ago'")
        self.advance()
        return value

    def _number(self, token: Token) -> Scalar:
        try:
            return number(int(token.text))
        except (ValueError, OverflowError):
            pass
        try:
            value = float(token.text)
            if value - value == 0:
                return value
        except ValueError:
            pass
        try:
            return number(parse_size(token.text))
        except ValueError:
            fail(self._text, token.column, f"'{shown(token.text)}' is no number, and no size such as 2GB or 1.5GiB")

    def _text_for(self, field: Field, token: Token) -> Scalar:
        text = token.content
        try:
            if field.root == "created":
                return parse_moment(text, self._now)
            if field.root == "size":
                return number(parse_size(text))
        except ValueError as error:
            fail(self._text, token.column, shown(str(error)))
        if field.root == "parent":
            try:
                return self._parent(text)
            except MvsError as error:
                fail(self._text, token.column, error.message, hint=error.hint)
        return text
