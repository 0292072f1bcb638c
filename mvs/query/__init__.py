"""The language in which versions are asked for (docs/query.md): text, tokens, tree, and what a tree means.

Pure: it knows what can be told of a version, and nothing of stores. A tree is evaluated
against the facts of one version (`facts.py`) or translated to SQL (`sql.py`); both mean the same.
"""
