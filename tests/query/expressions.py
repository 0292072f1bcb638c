"""Expressions and facts for properties: few names and few values, so that they meet."""

from hypothesis import strategies as st

NUMBERS = st.sampled_from([0, 1, -1, 2, 0.5, 1.0, 1e300, 2**53 + 1, 2**63 - 1, 2**63, 2**64 - 1, -(2**63)])
TEXTS = st.sampled_from(["", "a", "A", "b", "ab", "é", "1", "%", "a_b", "[x]", "\x00", "\U0001f600"])
SCALARS = st.one_of(NUMBERS, TEXTS, st.booleans())
KEYS = ["a", "b", "a.b", "c\\", "", "Ä"]
VALUES = st.recursive(
    st.one_of(SCALARS, st.none()),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=2),
    max_leaves=4,
)
METADATA = st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=3)
LABELS = st.dictionaries(st.sampled_from(["a", "b", "a.b"]), TEXTS, max_size=2)


def quoted(text: str, mark: str = "'") -> str:
    return mark + text.replace(mark, mark * 2) + mark


def literal(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return quoted(value) if isinstance(value, str) else repr(value)


LITERALS = SCALARS.map(literal)
FIELDS = st.one_of(
    st.sampled_from(
        [
            "name", "version", "files", "size", "message", "alias", "framework", "labels.a", "tags.b", "labels.a.b",
            "metrics.a", "metadata.b", "params.a.a", 'metadata."a.b"', 'metadata."c\\"', "context.x", "metadata.a.b.a",
        ]
    ),
    st.lists(st.sampled_from(KEYS), min_size=1, max_size=2).map(
        lambda path: ".".join(["metadata", *(quoted(part, '"') for part in path)])
    ),
)  # fmt: skip
SIZED = st.sampled_from(["0", "1", "2", "1kB", "'1 KiB'", "1e30", "-3"])
TIMES = st.sampled_from(["'now'", "'1 day ago'", "'2001-01-01'", "'9999-12-31'", "'1h'", "'2038-01-19T03:14:07Z'"])
OPERATORS = st.sampled_from(["=", "==", "!=", "<>", "<", "<=", ">", ">="])
PATTERNS = st.sampled_from(["%", "a%", "_", "*", "?", "[a-b]*", "[!a]", "[", "%b", "A%", "[b-a]", ""])


def _among(values: list[str]) -> str:
    return f"({', '.join(values)})"


COMPARISONS = st.one_of(
    st.tuples(FIELDS.filter(lambda field: field != "size"), OPERATORS, LITERALS),
    st.tuples(st.just("size"), OPERATORS, SIZED),
    st.tuples(st.just("created"), OPERATORS, TIMES),
    st.tuples(st.just("parent"), st.sampled_from(["=", "!="]), st.sampled_from(["'m:v0'", "'m/x:v1'"])),
    st.tuples(
        FIELDS.filter(lambda field: field != "size"),
        st.sampled_from(["in", "NOT IN"]),
        st.lists(LITERALS, min_size=1, max_size=3).map(_among),
    ),
    st.tuples(FIELDS, st.sampled_from(["like", "not like", "ilike", "GLOB", "not glob"]), PATTERNS.map(quoted)),
    st.tuples(FIELDS, st.sampled_from(["is null", "IS NOT NULL"])),
).map(" ".join)
EXPRESSIONS = st.recursive(
    COMPARISONS,
    lambda inner: st.one_of(
        inner.map(lambda text: f"not ({text})"),
        st.lists(inner, min_size=2, max_size=3).map(lambda parts: f"({' and '.join(parts)})"),
        st.lists(inner, min_size=2, max_size=3).map(lambda parts: f"({' or '.join(parts)})"),
    ),
    max_leaves=6,
)
ORDERS = st.lists(
    st.tuples(
        st.sampled_from(["name", "size", "files", "created", "metadata.a", "labels.a", "message", 'metadata."a.b"']),
        st.sampled_from(["", ":asc", ":desc", " DESC"]),
    ).map("".join),
    min_size=1,
    max_size=3,
).map(",".join)
