"""The fields of the language: how each may be written, and which one was meant."""

from mvs.query.tree import Field

# What is told of every version, and of most.
PLAIN = ("name", "version", "created", "size", "files", "message", "alias", "parent", "framework")
# A version has any number of them.
SETS = ("alias", "parent")
_KEYED = {
    "labels": ("labels", "label", "tags", "tag"),
    "metadata": ("metadata", "metrics", "metric", "params", "param"),
    "context": ("context",),
}
_ROOTS = {spelling: root for root, spellings in _KEYED.items() for spelling in spellings}


def field_of(parts: tuple[str, ...]) -> Field | None:
    """Return the field with these parts, None where there is none."""
    root, path = parts[0].lower(), parts[1:]
    if root in PLAIN and not path:
        return Field("context", ("framework",)) if root == "framework" else Field(root)
    keyed = _ROOTS.get(root)
    if keyed is None or not path:
        return None
    # Labels are not nested, so a dot can only belong to the key.
    return Field(keyed, (".".join(path),) if keyed == "labels" else path)


def meant(parts: tuple[str, ...]) -> str:
    """Return what to say of parts that are no field: which one was probably meant."""
    import difflib  # noqa: PLC0415 - only on the way to an error

    root, path = parts[0].lower(), parts[1:]
    written = ".".join(parts)
    if root in PLAIN:
        return f"'{root}' has no parts"
    if root in _ROOTS:
        return f"'{written}' needs a key, such as {root}.{'stage' if _ROOTS[root] == 'labels' else 'accuracy'}"
    near = difflib.get_close_matches(root, _ROOTS if path else PLAIN, n=1)
    if near:
        guess = ".".join((near[0], *path))
    elif path:
        guess = f"metadata.{written}"
    else:
        guess = f"metadata.{written}' or 'labels.{written}"
    return f"no field '{written}'; did you mean '{guess}'?"
