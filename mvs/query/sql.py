"""An expression as a condition of SQL, every value and every key a parameter.

It is about a row `v` of a table with `id`, `context`, `name`, `version`, `created`, `size` and `files`, none of
a declared type, and a table `facts` of `key`, `owner` and `value`, whose owner is `v.context` for what is under
"context" and `v.id` for all else. SQLite puts numbers before texts before bytes: one comparison more keeps to a type.
Nothing of the user's is in the text.
"""

from typing import Any, NamedTuple

from mvs.query.facts import Type, fits, number, type_of
from mvs.query.fields import SETS
from mvs.query.tree import Among, And, Compare, Expression, Field, Like, Not, Null, Or, Sort

COLUMNS = ("name", "version", "created", "size", "files")
# The name of the function that tells whether a value fits a pattern.
FITS = "fits"
_TRUTH = {False: b"\x00", True: b"\x01"}
_OTHER = b"\x02"
_RANGES: dict[Type, str] = {
    "number": "{0} < ''",
    "text": "{0} >= '' AND {0} < x''",
    "truth": "{0} >= x'' AND {0} < x'02'",
}


class Sql(NamedTuple):
    """A piece of SQL and its parameters, in order."""

    text: str
    parameters: tuple[Any, ...] = ()


def stored(value: Any) -> int | float | str | bytes:
    """Return a value as the table `facts` has it."""
    kind = type(value)
    if kind is str or kind is float:
        return value  # type: ignore[no-any-return]
    if kind is int:
        return number(value)
    return _TRUTH[value] if kind is bool else _OTHER


def function(kind: Any, pattern: str, value: Any) -> int:
    """Be the function `FITS`."""
    return fits(kind, pattern, value)


def condition(expression: Expression, *, narrow: bool = False) -> Sql:
    """Return the condition that an expression is; it is never NULL.

    With `narrow` few rows are looked at, and facts are looked up for each; else all that fit are looked up first.
    """
    return _Writer(narrow).condition(expression)


def order(sorts: tuple[Sort, ...]) -> tuple[Sql, str]:
    """Return columns to select, each with a comma before it, and what to order by: what is missing is last."""
    columns: list[str] = []
    terms: list[str] = []
    parameters: list[Any] = []
    for index, sort in enumerate(sorts):
        if sort.field.root in COLUMNS:
            value = f"v.{sort.field.root}"
        else:
            value = f"s{index}"
            columns.append(f", (SELECT value FROM facts WHERE key = ? AND owner = {_owner(sort.field)}) AS {value}")
            parameters.append(sort.field.key)
        terms.append(f"{value} {'DESC' if sort.descending else 'ASC'} NULLS LAST")
    return Sql("".join(columns), tuple(parameters)), "".join(f"{term}, " for term in terms)


class _Writer:
    """What turns expressions into conditions, in one of two ways."""

    def __init__(self, narrow: bool) -> None:
        self._narrow = narrow

    def condition(self, expression: Expression) -> Sql:
        if isinstance(expression, And | Or):
            word = "AND" if isinstance(expression, And) else "OR"
            return _joined(word, list(map(self.condition, expression.parts)))
        if isinstance(expression, Not):
            text, parameters = self.condition(expression.part)
            return Sql(f"NOT {text}", parameters)
        field = expression.field
        place = _place(field)
        if isinstance(expression, Null):
            if field.root in COLUMNS:
                return Sql("(1)" if expression.negated else "(0)")
            text, parameters = self.there(field, Sql("1"))
            return Sql(text if expression.negated else f"(NOT {text})", parameters)
        if isinstance(expression, Like):
            test = Sql(f"{FITS}(?, ?, {place})", (expression.kind, expression.pattern))
            if field.root == "name":
                # Once a name, not once a version. The limit, which is none, keeps SQLite from undoing that.
                names = "SELECT DISTINCT name AS value FROM versions LIMIT -1"
                test = Sql(f"v.name IN (SELECT value FROM ({names}) WHERE {FITS}(?, ?, value))", test.parameters)
            return self.asked(field, test, {"text"}, negated=expression.negated)
        if isinstance(expression, Among):
            marks = ", ".join("?" * len(expression.values))
            test = Sql(f"{place} IN ({marks})", tuple(map(stored, expression.values)))
            return self.asked(field, test, set(map(type_of, expression.values)), negated=expression.negated)
        return self.compared(expression)

    def compared(self, expression: Compare) -> Sql:
        field, operator = expression.field, expression.operator
        place, kind, value = _place(field), type_of(expression.value), stored(expression.value)
        if operator in ("=", "!="):
            return self.asked(field, Sql(f"{place} = ?", (value,)), {kind}, negated=operator == "!=")
        return self.there(field, Sql(f"{place} {operator} ? AND {_RANGES[kind].format(place)}", (value,)))

    def asked(self, field: Field, test: Sql, types: set[Type], *, negated: bool) -> Sql:
        """Return that a value of the field passes a test, or that there is one of these types and none passes."""
        passed = self.there(field, test)
        if not negated:
            return passed
        able = _joined("OR", [Sql(f"({_RANGES[kind].format(_place(field))})") for kind in sorted(types)])
        if field.root in SETS:
            return _joined("AND", [self.there(field, able), Sql(f"NOT {passed.text}", passed.parameters)])
        return self.there(field, Sql(f"{able.text} AND NOT {test.text}", test.parameters))

    def there(self, field: Field, test: Sql) -> Sql:
        """Return that the field has a value that passes a test."""
        if field.root in COLUMNS:
            return Sql(f"({test.text})", test.parameters)
        owner = _owner(field)
        if self._narrow:
            text = f"EXISTS (SELECT 1 FROM facts WHERE key = ? AND owner = {owner} AND ({test.text}))"
        else:
            text = f"({owner} IN (SELECT owner FROM facts WHERE key = ? AND ({test.text})))"
        return Sql(text, (field.key, *test.parameters))


def _joined(word: str, parts: list[Sql]) -> Sql:
    """Return parts in parentheses, joined two by two: SQLite bounds how deep, not how long an expression is."""
    while len(parts) > 1:
        pairs = [parts[index : index + 2] for index in range(0, len(parts), 2)]
        parts = [
            Sql(f"({pair[0].text} {word} {pair[1].text})", pair[0].parameters + pair[1].parameters)
            if len(pair) == 2
            else pair[0]
            for pair in pairs
        ]
    return parts[0]


def _place(field: Field) -> str:
    return f"v.{field.root}" if field.root in COLUMNS else "value"


def _owner(field: Field) -> str:
    return "v.context" if field.root == "context" else "v.id"
