"""What can be told of one version, and whether an expression is true of it.

This is what the language means. The SQL that `sql.py` makes must say the same of the
rows that `entries` makes; a test compares the two.
"""

import fnmatch
import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, Literal, NamedTuple

from mvs.query.tree import Among, And, Compare, Expression, Field, Like, Not, Null, Or, Pattern, Scalar, Sort, escaped

_MIN, _MAX = -(2**63), 2**63 - 1

Type = Literal["number", "text", "truth", "other"]
# The order of types in a sort.
TYPES: tuple[Type, ...] = ("number", "text", "truth", "other")


class Facts(NamedTuple):
    """What a query sees of a version: `labels` with what was changed since, `parents` as ids in hex."""

    name: str
    version: str
    created: int
    size: int
    files: int
    message: str
    parents: tuple[str, ...]
    aliases: tuple[str, ...]
    labels: Mapping[str, str]
    metadata: Mapping[str, Any]
    context: Mapping[str, Any]


def number(value: int | float) -> int | float:
    """Return a number as it is compared: whole numbers of more than 64 bits as floats."""
    return value if _MIN <= value <= _MAX or type(value) is float else float(value)


def type_of(value: Any) -> Type:
    """Return the type of a value; those of different types are neither equal nor unequal."""
    kind = type(value)
    if kind is str:
        return "text"
    if kind is bool:
        return "truth"
    return "number" if kind is int or kind is float else "other"


def entries(root: str, facts: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield key (as `Field.key`) and value of everything under a root, the insides of maps as well, without nulls."""
    for key, value in facts.items():
        if value is None:
            continue
        name = f"{root}.{escaped(key)}"
        yield name, value
        if type(value) is dict:
            yield from entries(name, value)


def matches(expression: Expression, facts: Facts) -> bool:
    """Tell whether an expression is true of a version."""
    if isinstance(expression, And):
        return all(matches(part, facts) for part in expression.parts)
    if isinstance(expression, Or):
        return any(matches(part, facts) for part in expression.parts)
    if isinstance(expression, Not):
        return not matches(expression.part, facts)
    values = _values(expression.field, facts)
    if isinstance(expression, Null):
        return bool(values) == expression.negated
    if isinstance(expression, Like):
        return _holds(values, {"text"}, expression.negated, lambda v: fits(expression.kind, expression.pattern, v))
    if isinstance(expression, Among):
        types = {type_of(value) for value in expression.values}
        return _holds(values, types, expression.negated, lambda v: any(_same(v, value) for value in expression.values))
    return _compare(expression, values)


def sort_key(field: Field, facts: Facts) -> tuple[int, Any]:
    """Return what a version is sorted by, smaller first; (-1, None) where it lacks the field."""
    values = _values(field, facts)
    if not values:
        return -1, None
    kind = type_of(values[0])
    return TYPES.index(kind), 0 if kind == "other" else values[0]


def sort(found: list[tuple[Facts, Any]], order: tuple[Sort, ...]) -> None:
    """Sort versions in place, each with something that goes along; who lacks a field is behind, in either direction."""
    for by in reversed(order):
        keys = [(sort_key(by.field, pair[0]), pair) for pair in found]
        there = sorted((item for item in keys if item[0][0] >= 0), key=lambda item: item[0], reverse=by.descending)
        found[:] = [pair for _, pair in there] + [pair for key, pair in keys if key[0] < 0]


@lru_cache(maxsize=64)
def _pattern(kind: Pattern, pattern: str) -> re.Pattern[str]:
    if kind != "glob":
        pattern = "".join({"%": "*", "_": "?"}.get(c, f"[{c}]" if c in "*?[" else c) for c in pattern)
    # It makes no pattern that takes long.
    return re.compile(fnmatch.translate(pattern), re.IGNORECASE if kind == "ilike" else 0)


def fits(kind: Pattern, pattern: str, value: Any) -> bool:
    """Tell whether a value is a text that fits a pattern."""
    return type(value) is str and _pattern(kind, pattern).match(value) is not None


def _values(field: Field, facts: Facts) -> tuple[Any, ...]:
    if field.path:
        found: Any = getattr(facts, field.root)
        for key in field.path:
            found = found.get(key) if isinstance(found, Mapping) else None
        if found is None:
            return ()
        return (number(found) if type_of(found) == "number" else found,)
    if field.root == "parent":
        return facts.parents
    if field.root == "alias":
        return facts.aliases
    value = getattr(facts, field.root)
    if value == "":
        return ()
    return (number(value) if type(value) is int else value,)


def _compare(expression: Compare, values: tuple[Any, ...]) -> bool:
    wanted, operator = expression.value, expression.operator
    if operator in ("=", "!="):
        return _holds(values, {type_of(wanted)}, operator == "!=", lambda value: _same(value, wanted))
    return any(
        (value < wanted if operator == "<" else value <= wanted)
        if operator in ("<", "<=")
        else (value > wanted if operator == ">" else value >= wanted)
        for value in values
        if type_of(value) == type_of(wanted)
    )


def _same(value: Any, wanted: Scalar) -> bool:
    return type_of(value) == type_of(wanted) and bool(value == wanted)


def _holds(values: tuple[Any, ...], types: set[Type], negated: bool, test: Any) -> bool:
    """Tell whether one of the values passes a test, or that there are some it could be put to and none passes."""
    able = [value for value in values if type_of(value) in types]
    return bool(able) and any(map(test, able)) != negated
