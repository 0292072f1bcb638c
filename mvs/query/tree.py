"""What an expression says, as frozen values, and the order in which results are wanted."""

from typing import Literal, NamedTuple

Scalar = int | float | str | bool
Operator = Literal["=", "!=", "<", "<=", ">", ">="]
# `like` tells capitals apart, `ilike` does not; both have `%` and `_`, `glob` has `*`, `?` and `[...]`.
Pattern = Literal["like", "ilike", "glob"]


class Field(NamedTuple):
    """A fact of a version: a root such as "size", or "labels", "metadata" or "context" and the path of a key there."""

    root: str
    path: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """One string for root and path, no two fields alike."""
        return ".".join((self.root, *map(escaped, self.path)))


class Compare(NamedTuple):
    """A field compared with a value. A missing field, and a value of another type, make it false, also for `!=`."""

    field: Field
    operator: Operator
    value: Scalar


class Among(NamedTuple):
    """A field that is, or (`negated`) is there and of such a type and is not, one of some values."""

    field: Field
    values: tuple[Scalar, ...]
    negated: bool


class Like(NamedTuple):
    """A text that fits a pattern, or (`negated`) is a text and does not."""

    field: Field
    kind: Pattern
    pattern: str
    negated: bool


class Null(NamedTuple):
    """A field that is missing, or (`negated`) is not."""

    field: Field
    negated: bool


class Not(NamedTuple):
    """The opposite."""

    part: "Expression"


class And(NamedTuple):
    """All of them."""

    parts: "tuple[Expression, ...]"


class Or(NamedTuple):
    """One of them, or several."""

    parts: "tuple[Expression, ...]"


Expression = Compare | Among | Like | Null | Not | And | Or


class Sort(NamedTuple):
    """A field to sort by. Numbers come before texts, texts before true and false; who lacks the field is last."""

    field: Field
    descending: bool


def escaped(component: str) -> str:
    """Return a part of a path as it stands in `Field.key`, between dots."""
    if "." not in component and "\\" not in component:
        return component
    return component.replace("\\", "\\\\").replace(".", "\\.")
