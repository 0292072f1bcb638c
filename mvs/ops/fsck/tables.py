"""Checking the lookup tables, which tell readers what is in which pack. They are derived: deleting them mends them."""

from collections.abc import Iterable, Iterator
from functools import partial

import numpy as np
from numpy.typing import NDArray

from mvs.backends.directory import Directory
from mvs.errors import command
from mvs.format.ids import ObjectId
from mvs.format.layout import CACHE, pack_path
from mvs.ops.fsck import report
from mvs.ops.fsck.suspects import Suspect
from mvs.store.packs.checking import Unkept
from mvs.store.packs.lookup import Table, kept_tables, prefix_of

_PAIR = np.dtype([("prefix", "<u8"), ("pack", "<u4")])

Pairs = NDArray[np.void]


def check_tables(disk: Directory, packs: Unkept) -> Iterator[Suspect]:
    """Yield what is wrong with the tables: one that is damaged, an object that they hide, one that they invent."""
    kept: list[tuple[str, Table]] = []
    for path, table in kept_tables(disk):
        if table is not None:
            kept.append((path, table))
        else:
            key = path[len(disk.root) + 1 :]
            yield Suspect(
                report.INDEX_STALE,
                key,
                "it is not what was written, so readers pass over it",
                still=partial(_is_there, disk, key),
            )
    numbers = {name: number for number, name in enumerate(name for table in packs.tables for name in table.packs)}
    names = list(numbers)
    covered = np.zeros(len(names), bool)
    for _, table in kept:
        covered[[numbers[name] for name in table.packs if name in numbers]] = True
    told = np.unique(np.concatenate([_pairs(table, numbers) for _, table in kept] or [np.zeros(0, _PAIR)]))
    true = np.unique(np.concatenate([_pairs(table, numbers) for table in packs.tables] or [np.zeros(0, _PAIR)]))
    true = true[covered[true["pack"]]]
    hidden = _without(true, told)
    for number in np.unique(hidden["pack"]).tolist():
        name = names[number]
        prefixes = set(hidden["prefix"][hidden["pack"] == number].tolist())
        held = [id for _, index in packs.read([name]) for id in index.records]
        ids = [id for id in held if prefix_of(id) in prefixes]
        yield _wrong(disk, name, f"the tables hide {len(ids)} objects of it from readers", ids=ids)
    for number in np.unique(_without(told, true)["pack"]).tolist():
        yield _wrong(disk, names[number], "the tables tell of objects in it that are not there", report.INDEX_STALE)
    outside = np.concatenate([table.outside for _, table in kept] or [np.zeros(0, "<u8")])
    for name, index in packs.read(name for name in names if covered[numbers[name]]):
        needed = np.array([prefix_of(id) for id in index.outside], "<u8")
        if not np.isin(needed, outside).all():
            yield _wrong(disk, name, "the tables do not tell of all that it needs")


def _is_there(disk: Directory, key: str) -> bool:
    return disk.size(key) is not None


def hidden_in(disk: Directory, unreadable: set[ObjectId]) -> Iterator[tuple[ObjectId, set[int]]]:
    """Yield packs that cannot be read, and the first bytes of the ids that the tables remember of them."""
    for _, table in kept_tables(disk):
        for number, name in enumerate(table.packs if table else ()):
            if table and name in unreadable:
                yield name, set(table.prefixes[table.numbers == number].tolist())


def _wrong(
    disk: Directory, name: ObjectId, message: str, kind: str = report.INDEX_WRONG, *, ids: Iterable[ObjectId] = ()
) -> Suspect:
    return Suspect(
        kind,
        pack_path(name),
        message,
        still=partial(_is_there, disk, pack_path(name)),
        hint=command("rm", "-r", disk.path(f"{CACHE}/packs")),
        ids=list(ids),
    )


def _pairs(table: Table, numbers: dict[ObjectId, int]) -> Pairs:
    """Return the entries of a table, with the packs numbered anew; those of packs that are gone are left out."""
    nowhere = len(numbers)
    renumbered = np.array([*(numbers.get(name, nowhere) for name in table.packs), nowhere], "<u4")
    packs = renumbered[np.minimum(table.numbers, len(table.packs))]
    there = packs != nowhere
    pairs = np.empty(int(there.sum()), _PAIR)
    pairs["prefix"], pairs["pack"] = table.prefixes[there], packs[there]
    return pairs


def _without(some: Pairs, others: Pairs) -> Pairs:
    """Return the pairs of `some` that are not in `others`; each has every pair once."""
    both = np.sort(np.concatenate([some, others, others]))
    once = np.ones(len(both), bool)
    if len(both) > 1:
        same = both[1:] == both[:-1]
        once[1:] &= ~same
        once[:-1] &= ~same
    return both[once]
