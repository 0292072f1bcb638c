"""What is done with a repository as a whole: packing, collecting, and what it all takes.

Part of the Python API: `Repository` is an `Upkeep` that also saves and finds.
"""

import os
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mvs import ops
from mvs.errors import UNREADABLE, InvalidInput, SourceNotFound, StorageFailed, StoreBusy, command
from mvs.format.ids import MAX_TIME, ObjectId
from mvs.handles.version import SpecLike
from mvs.query.sizes import parse_duration
from mvs.repository import workspace
from mvs.repository.retention import Retention
from mvs.store.store import Store

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from mvs.ops.dedup import Plan as DedupPlan
    from mvs.ops.dedup import Result as DedupResult
    from mvs.ops.find.usage import Total
    from mvs.ops.fsck import Level, Report
    from mvs.ops.gc import Plan as GcPlan
    from mvs.ops.gc import Result as GcResult
    from mvs.ops.repair import Repaired

# How long what was deleted can be restored.
EXPIRE = "7d"


class Upkeep(Retention):
    """The verbs of a repository that keep its store in order."""

    def plan_dedup(
        self,
        *specs: SpecLike,
        where: str | None = None,
        keep_loose: Iterable[str] = (),
        since_last: bool = False,
    ) -> "DedupPlan":
        """Return what `dedup` would do with the same arguments, and change nothing.

        Raises:
            NotFound: a spec stands for nothing.
            QueryError: `where` is not understood.
            InvalidInput: `keep_loose` names something unknown.
        """
        return ops.dedup.plan(
            self._store,
            self._chosen(specs, where),
            everything=not specs and where is None,
            keep=frozenset(keep_loose),
            since_last=since_last,
            progress=self._progress,
        )

    def dedup(
        self,
        *specs: SpecLike,
        where: str | None = None,
        keep_loose: Iterable[str] = (),
        since_last: bool = False,
        jobs: int | None = None,
        max_memory: int = 1 << 30,
        executor: "Executor | None" = None,
        plan: "DedupPlan | None" = None,
    ) -> "DedupResult":
        """Pack the files of versions, of all without `specs`; a bare name stands for all its versions.

        With `where` only those for which it is true. Ids do not change, and every file stays readable, bit for bit.
        `keep_loose` leaves what is "latest" of its name, or "aliased", as it is. With `since_last` only versions
        saved since the last dedup are looked at. `jobs` is the number of threads, `max_memory` about how many bytes
        they may use together; an `executor` of processes or a cluster does the encoding instead. With a
        `plan`, that is done. Interrupt it at any time: what was packed stays packed, and the next run goes on.

        Raises:
            NotFound: a spec stands for nothing.
            StoreBusy: another process packs.
            StorageFailed: the disk is full, read-only or failing; nothing is lost.
        """
        began = self._now()
        if plan is None:
            plan = self.plan_dedup(*specs, where=where, keep_loose=keep_loose, since_last=since_last)
        result = ops.dedup.run(
            self._store, plan, progress=self._progress, jobs=jobs, memory=max_memory, executor=executor
        )
        if plan.everything:
            ops.dedup.note_done(self._store, began)
        return result

    def undo_dedup(self, *specs: SpecLike) -> int:
        """Give the files of versions, of all without `specs`, files of their own again; return the bytes written.

        Raises:
            NotFound: a spec stands for nothing.
            Corrupt: a file cannot be read.
            StorageFailed: the disk is full, read-only or failing.
        """
        self._store.check_kept_here("undoing a dedup")
        return ops.dedup.undo(self._store, self._chosen(specs), progress=self._progress)

    def du(self, *specs: SpecLike, where: str | None = None, exclusive: bool = True) -> "Total":
        """Return what versions take on disk, all without `specs`; a bare name stands for all its versions.

        With `where` only those for which it is true. What is `exclusive`, needed by nothing but a version, or the
        versions of a name, takes a look at the whole store; where all versions are asked about, what gc would give
        back now is told as well. A version that is damaged is left out, with a notice.

        Raises:
            NotFound: a spec stands for nothing.
            QueryError: `where` is not understood.
        """
        self._store.check_kept_here("du")
        total = ops.usage.usage(
            self._store,
            self._chosen(specs, where),
            self._chosen(()),
            self._progress.notice,
            pinned=self._pinned_or_told() if exclusive else None,
        )
        if not exclusive or specs or where is not None:
            return total
        try:
            planned = self.plan_gc()
        except UNREADABLE as error:
            self._progress.notice(f"what gc would give back cannot be told: {error.message}")
            return total
        return replace(total, collectable=planned.freed, held=planned.held)

    def _pinned_or_told(self) -> frozenset[ObjectId]:
        try:
            return self._pinned()
        except UNREADABLE as error:
            self._progress.notice(f"what is pinned cannot be told: {error.message}")
            return frozenset()

    def fsck(self, *specs: SpecLike, level: "Level" = "quick", share: float = 0.02) -> "Report":
        """Check versions and what they stand on, without `specs` the whole store, and change nothing.

        "quick" reads refs, manifests, the sizes of objects and what packs say of themselves; "full" also
        hashes or decodes every byte; "sample" does that for a `share` of the bytes, another one each time.
        It runs beside everything else; what is moved or deleted meanwhile is no finding.

        Raises:
            NotFound: a spec stands for nothing.
            CorruptRef: what a spec stands for cannot be told; without specs that is a finding.
        """
        self._store.check_kept_here("fsck")
        return ops.fsck.fsck(
            self._store,
            list(map(self._spec, specs)),
            level=level,
            share=share,
            progress=self._progress,
            since=self._since(EXPIRE)[1],
            host=workspace.host(),
        )

    def repair(self, source: "str | os.PathLike[str] | None" = None) -> "Repaired":
        """Check every byte of the store, and mend what is damaged; return what was done, and what stays broken.

        What is damaged is made again from whatever has its bytes: packs, other files of the store, and those below
        the folder `source`, such as a checkout, another repository or store; bytes are matched by their BLAKE3, names
        do not matter. What cannot be mended is moved to `quarantine/` in the store, and nothing is deleted.
        Saves and checkouts go on meanwhile. Interrupt it at any time, and run it again.

        Raises:
            SourceNotFound: `source` is no folder.
            StoreBusy: a dedup, a gc or another repair is at work.
            StorageFailed: the disk is full, read-only or failing; what was mended stays mended.
        """
        self._store.check_kept_here("repair")
        folder = None if source is None else os.path.abspath(os.fsdecode(source))
        if folder is not None and not os.path.isdir(folder):
            raise SourceNotFound(f"'{folder}' is no folder to repair from", hint=command("ls", "-ld", folder))
        found = workspace.store_in(Path(folder)) if folder else None
        stores = [Store(found)] if found and not os.path.samefile(found, self._store.root) else []
        now, since = self._since(EXPIRE)
        return ops.repair.repair(
            self._store,
            folder=folder,
            stores=stores,
            by=workspace.actor(),
            now=now,
            progress=self._progress,
            since=since,
            host=workspace.host(),
        )

    def plan_gc(self, *, expire: str = EXPIRE, purge: Iterable[str] = ()) -> "GcPlan":
        """Return what `gc` would remove, and remove nothing.

        Raises:
            InvalidInput: `expire` is no time.
            Corrupt: something that is needed cannot be read.
        """
        self._store.check_kept_here("gc")
        return ops.gc.plan(
            self._store,
            self._since(expire)[1],
            host=workspace.host(),
            progress=self._progress,
            purge=self._names(purge),
        )

    def gc(
        self,
        *,
        expire: str = EXPIRE,
        jobs: int | None = None,
        purge: Iterable[str] = (),
        forget: Iterable[str] = (),
        only_pushed: bool = False,
    ) -> "GcResult":
        """Remove what no version needs which is there, or was deleted less than `expire` ago ("7d", "12h", "now").

        Of the names in `purge` what was deleted goes at once, and cannot be restored.
        Saves, checkouts and all else go on meanwhile. Interrupt it at any time. Packs of which something stays are
        written again, `jobs` at a time. What repositories that share the store pin is kept, also of those that are
        gone (`vanished`) and were not told to be forgotten (`forget`).
        Where the setting `store.max-size` is exceeded after that, caches are dropped and versions packed, and where
        that is not enough, and settings say what to keep, the others are pruned (`fitted`); with `only_pushed`, or
        the setting of that name, none that no remote has. What was pruned can be restored as all that is deleted.

        Raises:
            InvalidInput: `expire` is no time; a setting makes no sense.
            NotFound, Conflict: a repository to be forgotten is unknown; it is there, or was less than `expire` ago.
            Corrupt: something that is needed cannot be read; nothing was removed.
            StoreBusy: another gc or a dedup is at work.
        """
        self._store.check_kept_here("gc")
        now, since = self._since(expire)
        host = workspace.host()
        for place in forget:
            ops.sharing.forget(self._store, place, host, since=since)
        limit = self._space.store_size
        # Before anything is removed: settings that make no sense.
        rules = self._rules() if limit is not None else {}
        ops.gc.auto.note(self._store, ops.gc.auto.BEGAN, now)
        gone = self._names(purge)
        collect = partial(
            ops.gc.run, self._store, since, host=host, now=now, progress=self._progress, jobs=jobs, purge=gone
        )
        done = collect()
        if limit is not None:
            done = self._fitted(done, limit, rules, collect, only_pushed=only_pushed)
        told = {"freed": done.freed, "versions": done.versions, "objects": done.objects, "packs": done.packs}
        self._events.after("post-gc", lambda: told)
        return done

    def _fitted(
        self,
        done: "GcResult",
        limit: int,
        rules: dict[str, Any],
        collect: Callable[[], "GcResult"],
        *,
        only_pushed: bool,
    ) -> "GcResult":
        """Make the store fit, what costs least first."""
        pruned: list[str] = []
        held = done.held

        def prune() -> None:
            nonlocal held
            pruned.extend(self._pruned(rules, only_pushed=only_pushed))
            held = collect().held

        steps = [("caches", lambda: ops.gc.cap.evict(self._store)), ("packing", self._pack_all)]
        fitted = ops.gc.cap.fit(self._store, limit, [*steps, ("pruning", prune)] if rules else steps)
        return done._replace(held=held, fitted=fitted._replace(pruned=tuple(pruned)))

    def _names(self, names: Iterable[str]) -> frozenset[str]:
        return frozenset(self._spec(name).name for name in names)

    def gc_if_due(self) -> "GcResult | None":
        """Collect at the lowest priority, where the setting `gc.auto` asks for it by now; else return None.

        Also where another gc or a dedup is at work. It is what a save starts in the background.

        Raises:
            Corrupt: something that is needed cannot be read; nothing was removed.
        """
        every = self._space.gc_auto
        if every is None or not ops.gc.auto.is_due(self._store, ops.gc.auto.BEGAN, every, self._now()):
            return None
        ops.gc.auto.give_way()
        try:
            return self.gc()
        except StoreBusy:
            return None

    def _pack_all(self) -> None:
        try:
            self.dedup()
        except StorageFailed as error:
            self._progress.notice(f"not all could be packed: {error.message}")

    def _since(self, expire: str) -> tuple[int, int]:
        try:
            window = parse_duration(expire)
        except ValueError as error:
            raise InvalidInput(str(error), hint="mvs gc --expire 7d") from None
        now = self._now()
        # Without a window nothing deleted is kept, also what a clock that was wrong put into the future.
        return now, max(0, now - window) if window else MAX_TIME
