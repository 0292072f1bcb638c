"""The catalog of a store: opened, brought up to date, asked.

The file is never changed: who has brought it up to date writes another one and renames it over the old one, so
nobody waits for anybody, and a reader keeps what he has open. What is not worth a new file is kept in memory for
one question. No lock is taken and none is needed, on any file system.
"""

import contextlib
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import NamedTuple

from mvs.backends.directory import Directory
from mvs.errors import UNREADABLE, StorageFailed
from mvs.format.ids import ObjectId
from mvs.format.layout import CACHE
from mvs.format.lines.refs import Ref
from mvs.format.manifest import Said
from mvs.format.names import Tag
from mvs.query import near, sql
from mvs.query.tree import Expression, Field, Sort
from mvs.store.cache.catalog import folders, tables
from mvs.store.cache.catalog.drafts import new_draft
from mvs.store.cache.catalog.folders import Stamp
from mvs.store.cache.catalog.moving import Moving, Movings, facts
from mvs.store.names.notes import NoteBook
from mvs.store.names.places import is_name
from mvs.store.names.refs import Refs

FOLDER = f"{CACHE}/catalog"
FILE = f"{FOLDER}/{tables.VERSION}.sqlite"
# A new file is written when one in so many versions is not in it: what a query reads beside it
# then costs about as much as the query.
_SHARE = 1000
# Reading so many refs again costs as much as reading one new version.
_REFS = 20
# So many versions that are gone are not worth building the catalog anew.
_WASTE = 1000
# Among so many keys of a root one is sought that was meant.
_KEYS = 1000
_KEYED = ("labels", "metadata", "context")
_FAILURES = (sqlite3.Error, OSError, StorageFailed)


class _Changes(NamedTuple):
    """What the catalog does not know yet: versions to add, rows to remove, and how many refs were read for it."""

    new: list[tuple[Ref, Moving]]
    gone: list[int]
    read: dict[str, int]


class Catalog:
    """The catalog of one store. Any failure of it is no answer, and never a wrong one."""

    def __init__(self, disk: Directory, refs: Refs, notes: NoteBook, said: Callable[[Ref], Said]) -> None:
        self._disk = disk
        self._refs = refs
        self._notes = notes
        self._said = said
        self._path = os.path.abspath(disk.path(FILE))

    def find(
        self,
        where: Expression | None,
        damaged: Callable[[str], None],
        *,
        order: tuple[Sort, ...] = (),
        limit: int | None = None,
        offset: int = 0,
        name: str | None = None,
        unknown: Callable[[str, str], None] = lambda key, meant: None,
    ) -> list[Ref] | None:
        """Return the refs of the versions that an expression is true of, in order; None where it cannot be told.

        With `name` the expression is about no other one. What cannot be read is told to `damaged` and left out.
        A key that no version has is told to `unknown`, where another one was probably meant, with that one.
        """
        told: list[str] = []
        try:
            with ExitStack() as stack:
                catalog = self._current(stack, name, told.append)
                test = sql.condition(where, narrow=name is not None) if where else sql.Sql("1")
                found = _asked(catalog, test, order, -1 if limit is None else limit, offset)
                misspelt = _misspelt(catalog, near.keyed(where, order))
        except (*_FAILURES, OverflowError, ValueError):
            # The last two: a value that SQLite cannot hold.
            return None
        for message in told:
            damaged(message)
        for field, meant in misspelt.items():
            unknown(field, meant)
        return found

    def refresh(self) -> None:
        """Bring it up to date, if that can be done; for whoever has the time now."""
        with contextlib.suppress(*_FAILURES), ExitStack() as stack:
            self._current(stack, None, lambda _: None)

    def _current(self, stack: ExitStack, name: str | None, damaged: Callable[[str], None]) -> sqlite3.Connection:
        """Return the catalog as it must be now, at least for one name."""
        base, known = self._known(stack, name)
        if base is not None and not self._changed(known, name):
            return base
        if base is not None and tables.waste(base) > tables.count(base) + _WASTE:
            base, known = None, {}
        # The time first, then what folders are like, then what is in them: what changes meanwhile is seen next time.
        draft = new_draft(self._disk, FOLDER)
        if draft is not None:
            stack.callback(draft.discard)
        changed = self._changed(known, name if base is not None else None)
        changes = self._changes(base, changed, damaged)
        settled = {key: now for key, now in changed.items() if draft and (now is None or now.settled(draft.now))}
        if base is not None and (draft is None or not _worth(base, changes, settled)):
            if changes.new or changes.gone:
                tables.overlay(base)
                self._write(base, changes, damaged, over=True)
            return base
        target = tables.writable(draft.path if draft else ":memory:", base)
        stack.callback(target.close)
        unsound = self._write(target, changes, damaged, over=False)
        sound = {key: now for key, now in settled.items() if folders.name_of(key) not in unsound}
        tables.note(target, {key: (now, sound.get(key)) for key, now in changed.items()})
        tables.finish(target)
        if draft is not None:
            with contextlib.suppress(OSError, StorageFailed):
                draft.publish(self._disk, self._path)
        return target

    def _changed(self, known: dict[str, Stamp], name: str | None) -> dict[str, Stamp | None]:
        if name is None:
            return folders.all_changed(self._disk, known)
        return folders.changed(self._disk, known, folders.of_name(name))

    def _changes(
        self, base: sqlite3.Connection | None, changed: dict[str, Stamp | None], damaged: Callable[[str], None]
    ) -> _Changes:
        """Read the refs of what changed, and compare them with what the catalog has."""
        changes = _Changes([], [], {})
        for name in sorted(filter(is_name, {folders.name_of(key) for key in changed})):
            have = tables.known(base, name) if base is not None else {}
            movings = Movings(self._refs, self._notes, name)
            problems: list[str] = []
            refs = list(self._refs.readable(name, problems.append))
            for message in problems:
                damaged(message)
            # A ref that cannot be read may be mended in its place, which does not change the folder.
            changes.read[name] = -1 if problems else len(refs)
            for ref in refs:
                moving = movings.of(ref)
                old = have.pop(ref.tag.version, None)
                if old is not None:
                    if (old.manifest, old.created, old.moving) == (ref.id.raw, ref.created, moving.encode()):
                        continue
                    changes.gone.append(old.id)
                changes.new.append((ref, moving))
            changes.gone.extend(old.id for old in have.values())
        return changes

    def _write(
        self, target: sqlite3.Connection, changes: _Changes, damaged: Callable[[str], None], *, over: bool
    ) -> set[str]:
        """Write what changed, and return the names of which something cannot be read."""
        unsound = {name for name, count in changes.read.items() if count < 0}

        def rows() -> Iterator[tables.Row]:
            for ref, moving in changes.new:
                try:
                    said = self._said(ref)
                except UNREADABLE as error:
                    # A version deleted since it was listed is no damage.
                    if self._refs.exists(ref.tag):
                        damaged(error.message)
                        unsound.add(ref.tag.name)
                    continue
                yield tables.Row(ref.id, facts(said, moving), moving.encode())

        tables.remove(target, changes.gone, over=over)
        tables.add(target, rows(), over=over)
        return unsound

    def _known(self, stack: ExitStack, name: str | None) -> tuple[sqlite3.Connection | None, dict[str, Stamp]]:
        """Return the catalog as it was written last, and the folders it is right about."""
        try:
            if (found := tables.opened(self._path)) is not None:
                stack.callback(found.close)
                return found, tables.folders(found, None if name is None else folders.of_name(name))
        except sqlite3.Error:
            # Damaged: a new one takes its place.
            pass
        return None, {}


def _asked(
    connection: sqlite3.Connection, test: sql.Sql, order: tuple[Sort, ...], limit: int, offset: int
) -> list[Ref]:
    columns, terms = sql.order(order)
    text = (
        f"SELECT name, version, manifest, created{columns.text} FROM versions AS v WHERE {test.text} "
        f"ORDER BY {terms}created DESC, name DESC, version DESC LIMIT ? OFFSET ?"
    )
    rows = connection.execute(text, (*columns.parameters, *test.parameters, limit, offset))
    return [Ref(Tag(row[0], row[1]), ObjectId(row[2]), row[3]) for row in rows]


def _misspelt(connection: sqlite3.Connection, fields: list[Field]) -> dict[str, str]:
    """Return, for keys that no version has, the ones that were probably meant, each as it is written."""
    lacking = [field for field in fields if not tables.has_key(connection, field.key)]
    known = list(tables.keys(connection, _KEYED, _KEYS)) if lacking else []
    return {near.spelled(field): meant for field in lacking if (meant := near.meant(field, known))}


def _worth(base: sqlite3.Connection, changes: _Changes, settled: dict[str, Stamp | None]) -> bool:
    """Tell whether a new file spares later questions more than it costs."""
    spared = len(changes.new) + len(changes.gone) + len(settled)
    spared += sum(changes.read.get(name, 0) for name in {folders.name_of(key) for key in settled}) // _REFS
    return spared * _SHARE > tables.count(base)
