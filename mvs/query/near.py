"""Keys that no version has, and which one was probably meant."""

import re
from collections.abc import Iterable, Iterator

from mvs.query.tree import And, Expression, Field, Not, Or, Sort

# Of `Field.key`: what is escaped, what is not, and the dots between.
_PIECES = re.compile(r"\\.|\.|[^.\\]+", re.DOTALL)
_PLAIN = re.compile(r"[\w/-]+")


def keyed(where: Expression | None, order: Iterable[Sort]) -> list[Field]:
    """Return the fields with keys that an expression and an order name, each once."""
    named = [*(_fields(where) if where is not None else ()), *(sort.field for sort in order)]
    return list(dict.fromkeys(field for field in named if field.path))


def meant(field: Field, known: Iterable[str]) -> str | None:
    """Return which of the keys that are known (as `Field.key`) was meant, as it is written in an expression."""
    import difflib  # noqa: PLC0415 - only for keys that no version has

    _, _, key = field.key.partition(".")
    tails: dict[str, list[str]] = {}
    for each in known:
        root, _, tail = each.partition(".")
        tails.setdefault(root, []).append(tail)
    if near := difflib.get_close_matches(key, tails.get(field.root, ()), n=1):
        return _spelled(field.root, near[0])
    return next((_spelled(root, key) for root in sorted(tails) if key in tails[root]), None)


def spelled(field: Field) -> str:
    """Return a field as it is written in an expression."""
    return _spelled(*field.key.split(".", 1))


def _fields(expression: Expression) -> Iterator[Field]:
    if isinstance(expression, And | Or):
        for part in expression.parts:
            yield from _fields(part)
    elif isinstance(expression, Not):
        yield from _fields(expression.part)
    else:
        yield expression.field


def _spelled(root: str, key: str) -> str:
    parts = [""]
    for piece in _PIECES.findall(key):
        if piece == ".":
            parts.append("")
        else:
            parts[-1] += piece[1:] if piece.startswith("\\") else piece
    quoted = [part if _PLAIN.fullmatch(part) else '"' + part.replace('"', '""') + '"' for part in parts]
    return ".".join((root, *quoted))
