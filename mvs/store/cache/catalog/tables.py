"""The tables of the catalog: their layout, and what is written about a version."""

import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from mvs.format.ids import ObjectId
from mvs.query import sql
from mvs.query.facts import Facts, entries
from mvs.store.cache.catalog.folders import Stamp

# "mvsC", so that a file of another program is not taken for one of ours.
_PROGRAM = 0x6D767343
VERSION = 1
# Pages in memory while it is written, in KiB: more than most catalogs have.
_MEMORY = 65536
_BATCH = 2000

# What is compared with a value of the user's has no type: SQLite would turn the one into the type of the other.
# What is compared with the number of a row has: else SQLite would not use the index.
_VERSIONS = "(id INTEGER PRIMARY KEY, name, version, manifest, created, size, files, context INTEGER, moving)"
_FACTS = "(key, owner INTEGER, value, PRIMARY KEY (key, owner, value)) WITHOUT ROWID"
_LAYOUT = f"""
CREATE TABLE versions {_VERSIONS};
CREATE TABLE facts {_FACTS};
CREATE TABLE folders (key PRIMARY KEY, inode, modified, changed) WITHOUT ROWID;
CREATE TABLE state (next INTEGER);
INSERT INTO state VALUES (1);
PRAGMA application_id = {_PROGRAM};
PRAGMA user_version = {VERSION};
"""
_INDEXES = """
CREATE INDEX IF NOT EXISTS by_name ON versions (name, version);
CREATE INDEX IF NOT EXISTS by_time ON versions (created);
CREATE INDEX IF NOT EXISTS by_value ON facts (key, value, owner);
"""
# Views hide the tables of the same name: what is asked of the catalog need not know.
_OVERLAY = f"""
CREATE TEMP TABLE new_versions {_VERSIONS};
CREATE TEMP TABLE new_facts {_FACTS};
CREATE TEMP TABLE gone (id INTEGER PRIMARY KEY);
CREATE TEMP VIEW versions AS SELECT * FROM main.versions WHERE id NOT IN gone UNION ALL SELECT * FROM new_versions;
CREATE TEMP VIEW facts AS SELECT * FROM main.facts UNION ALL SELECT * FROM new_facts;
"""


class Known(NamedTuple):
    """A version as the catalog has it: the number of its row, and all that can change while its tag stays."""

    id: int
    manifest: bytes
    created: int
    moving: str


class Row(NamedTuple):
    """A version as the catalog is to have it."""

    manifest: ObjectId
    facts: Facts
    moving: str


def opened(path: str) -> sqlite3.Connection | None:
    """Open a catalog that nobody changes any more, None where there is none that this release knows.

    Raises:
        sqlite3.Error: it is damaged.
    """
    try:
        found = sqlite3.connect(f"{Path(path).as_uri()}?mode=ro&immutable=1", uri=True, isolation_level=None)
    except sqlite3.OperationalError:
        return None
    try:
        marks = [found.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version")]
        if marks == [_PROGRAM, VERSION]:
            _prepare(found)
            return found
    except BaseException:
        found.close()
        raise
    found.close()
    return None


def writable(path: str, base: sqlite3.Connection | None) -> sqlite3.Connection:
    """Open an empty file of our own to write a catalog: an empty one, or a copy of `base`.

    Torn, it is thrown away, and nobody else has it, so nothing is synced and nothing locked.
    """
    if path == ":memory:":
        found = sqlite3.connect(path, isolation_level=None)
    else:
        found = sqlite3.connect(f"{Path(path).as_uri()}?nolock=1", uri=True, isolation_level=None)
    try:
        _prepare(found)
        found.execute("PRAGMA journal_mode = OFF")
        found.execute("PRAGMA synchronous = OFF")
        found.execute(f"PRAGMA cache_size = -{_MEMORY}")
        if base is None:
            found.executescript(_LAYOUT)
        else:
            base.backup(found)
        found.execute("BEGIN")
    except BaseException:
        found.close()
        raise
    return found


def finish(connection: sqlite3.Connection) -> None:
    """End what `writable` began."""
    connection.execute("COMMIT")
    connection.executescript(_INDEXES)


def overlay(connection: sqlite3.Connection) -> None:
    """Make room, in memory, for what a catalog that cannot be changed does not know yet."""
    connection.executescript(_OVERLAY)


def folders(connection: sqlite3.Connection, keys: Iterable[str] | None = None) -> dict[str, Stamp]:
    """Return folders that there were, all or some, those that were not settled with a stamp that no folder has."""
    if keys is None:
        return {key: Stamp(*rest) for key, *rest in connection.execute("SELECT * FROM folders")}
    rows = (connection.execute("SELECT * FROM folders WHERE key = ?", (key,)).fetchone() for key in keys)
    return {key: Stamp(*rest) for key, *rest in filter(None, rows)}


def known(connection: sqlite3.Connection, name: str) -> dict[str, Known]:
    """Return the versions of a name that the catalog has."""
    rows = connection.execute("SELECT version, id, manifest, created, moving FROM versions WHERE name = ?", (name,))
    return {version: Known(*rest) for version, *rest in rows}


def count(connection: sqlite3.Connection) -> int:
    """Return how many versions the catalog has."""
    found: int = connection.execute("SELECT count(*) FROM versions").fetchone()[0]
    return found


def has_key(connection: sqlite3.Connection, key: str) -> bool:
    """Tell whether some version has a key."""
    return connection.execute("SELECT 1 FROM facts WHERE key = ? LIMIT 1", (key,)).fetchone() is not None


def keys(connection: sqlite3.Connection, roots: Iterable[str], most: int) -> Iterator[str]:
    """Yield the keys below some roots that versions have, or had lately, `most` of each; one look-up for each."""
    for root in roots:
        last = f"{root}."
        for _ in range(most):
            found = connection.execute(
                "SELECT key FROM main.facts WHERE key > ? ORDER BY key LIMIT 1", (last,)
            ).fetchone()
            if found is None or not found[0].startswith(f"{root}."):
                break
            last = found[0]
            yield last


def waste(connection: sqlite3.Connection) -> int:
    """Return how many versions it had that are gone: some of what was written about them is still there."""
    found: int = connection.execute("SELECT next FROM state").fetchone()[0] - 1 - count(connection)
    return found


def remove(connection: sqlite3.Connection, ids: Iterable[int], *, over: bool) -> None:
    """Take versions out. Their facts stay, as nobody's: numbers are never given twice."""
    text = "INSERT INTO gone VALUES (?)" if over else "DELETE FROM versions WHERE id = ?"
    connection.executemany(text, ((id,) for id in ids))


def add(connection: sqlite3.Connection, rows: Iterable[Row], *, over: bool) -> None:
    """Put versions in; equal contexts of one call are kept once."""
    prefix = "new_" if over else ""
    contexts: dict[str, int] = {}
    number = connection.execute("SELECT next FROM state").fetchone()[0]
    versions: list[tuple[Any, ...]] = []
    facts: list[tuple[str, int, Any]] = []

    def flush() -> None:
        connection.executemany(f"INSERT INTO {prefix}versions VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", versions)
        # In the order of the table, which is as fast as it gets. Only texts ever share key and owner.
        facts.sort()
        connection.executemany(f"INSERT OR IGNORE INTO {prefix}facts VALUES (?, ?, ?)", facts)
        versions.clear()
        facts.clear()

    for row in rows:
        told = row.facts
        context = contexts.get(text := repr(told.context))
        if context is None:
            context = contexts[text] = number
            facts += [(key, context, sql.stored(value)) for key, value in entries("context", told.context)]
        size = sql.stored(told.size)
        plain = (told.name, told.version, row.manifest.raw, told.created, size, told.files)
        versions.append((number, *plain, context, row.moving))
        facts += [(key, number, value) for key, value in _facts(told)]
        number += 1
        if len(versions) == _BATCH:
            flush()
    flush()
    if not over:
        connection.execute("UPDATE state SET next = ?", (number,))


def note(connection: sqlite3.Connection, seen: Mapping[str, tuple[Stamp | None, Stamp | None]]) -> None:
    """Note folders: the stamp each has, None for one that is gone, and the one it is to be believed by, if any."""
    for key, (there, believed) in seen.items():
        connection.execute("DELETE FROM folders WHERE key = ?", (key,))
        if there is not None:
            connection.execute("INSERT INTO folders VALUES (?, ?, ?, ?)", (key, *(believed or (None, None, None))))


def _prepare(connection: sqlite3.Connection) -> None:
    connection.create_function(sql.FITS, 3, sql.function, deterministic=True)
    connection.execute("PRAGMA temp_store = MEMORY")


def _facts(told: Facts) -> Iterator[tuple[str, Any]]:
    if told.message:
        yield "message", told.message
    for alias in told.aliases:
        yield "alias", alias
    for parent in told.parents:
        yield "parent", parent
    for root, held in (("labels", told.labels), ("metadata", told.metadata)):
        for key, value in entries(root, held):
            yield key, sql.stored(value)
