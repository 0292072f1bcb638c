"""Pruning: rules say which versions are kept.

Part of the Python API: `Repository` is a `Retention` that also saves and finds.
"""

from abc import abstractmethod
from collections.abc import Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

from mvs import ops
from mvs.errors import UNREADABLE, HookRefused, InvalidConfig, InvalidInput, NameNotFound, RemoteFailed, StorageFailed
from mvs.format.ids import ObjectId
from mvs.format.names import Tag
from mvs.repository import workspace
from mvs.repository.choosing import Choosing
from mvs.repository.events import told

if TYPE_CHECKING:
    from mvs.ops.refs.prune import Plan as PrunePlan


class Pruning(TypedDict, total=False):
    """What `Repository.prune` keeps, and what it looks at, as `Repository.plan_prune` takes it."""

    keep_last: int | None
    keep_within: str | None
    keep_daily: int | None
    keep_weekly: int | None
    keep_monthly: int | None
    keep_best: str | Iterable[str]
    where: str | None
    keep_parents: bool
    only_pushed: bool


class Retention(Choosing):
    """The verb that lets versions go by rules."""

    @abstractmethod
    def _pushed(self) -> frozenset[ObjectId]:
        """Return the manifests that some remote has."""

    def plan_prune(
        self,
        name: str | None = None,
        *,
        keep_last: int | None = None,
        keep_within: str | None = None,
        keep_daily: int | None = None,
        keep_weekly: int | None = None,
        keep_monthly: int | None = None,
        keep_best: str | Iterable[str] = (),
        where: str | None = None,
        keep_parents: bool = False,
        only_pushed: bool = False,
    ) -> "PrunePlan":
        """Return what `prune` would delete with the same arguments, and why it keeps the rest; delete nothing.

        Raises:
            KeepsNothing, InvalidInput, QueryError, NameNotFound, RemoteFailed: as `prune`.
        """
        rules = ops.keeping.rules(
            last=keep_last,
            within=keep_within,
            daily=keep_daily,
            weekly=keep_weekly,
            monthly=keep_monthly,
            best=keep_best,
        )
        self._store.look()
        return ops.prune.plan(
            self._store,
            ops.query.Wanted(name, self._expression(where)),
            rules,
            pinned=self._pinned(),
            pushed=self._pushed() if only_pushed else None,
            keep_parents=keep_parents,
            notice=self._progress.notice,
        )

    def prune(self, name: str | None = None, *, plan: "PrunePlan | None" = None, **rules: Unpack[Pruning]) -> list[Tag]:
        """Delete the versions that no rule keeps, of all names or those of a name or glob; return their tags.

        The rules are applied to each name by itself, and each keeps what it would keep alone: the `keep_last` most
        recently saved versions; those saved less than `keep_within` ("30d", "12h") before the most recent one; of
        `keep_daily` days, `keep_weekly` weeks (from Monday) and `keep_monthly` months in which versions were saved,
        the last one of each; those with the `keep_best` numbers ("metadata.val_loss:min:3": the three lowest; without
        a count, one). With `where` only versions for which it is true are looked at; others stay, and do not count.

        Never deleted are versions that an alias points at or that a repository on this store pins in its `mvs.lock`,
        with `keep_parents` the parents of what is kept, with `only_pushed` what no remote has. `restore` takes it
        back, one by one, as long as `gc` keeps what was deleted. With a `plan`, that is done.

        Raises:
            KeepsNothing: no rule says what to keep.
            InvalidInput, QueryError: a rule, or `where`, is not understood.
            NameNotFound: `name` is no glob and has no version.
            Corrupt: an alias, a pin, or with `keep_parents` a version, cannot be read; nothing was deleted.
            RemoteFailed: with `only_pushed` a remote cannot be reached; nothing was deleted.
            HookRefused: the hook `pre-delete` forbids it; nothing was deleted.
        """
        if plan is None:
            plan = self.plan_prune(name, **rules)
        if plan.doomed:
            self._events.before("pre-delete", lambda: {"versions": told(plan.doomed)})
        gone = ops.prune.run(
            self._store,
            plan,
            pinned=self._pinned(),
            now=self._now,
            by=workspace.actor(),
            notice=self._progress.notice,
        )
        if gone:
            self._events.after("post-delete", lambda: {"versions": told(gone)})
        return [ref.tag for ref in gone]

    def _rules(self) -> dict[str, Any]:
        """Return what the settings let gc keep where it prunes, empty where it does not.

        Raises:
            InvalidConfig: that makes no sense.
        """
        rules = self._space.prune_rules
        if rules:
            try:
                ops.keeping.rules(**{rule.removeprefix("keep_"): value for rule, value in rules.items()})
                self._expression(workspace.setting(self._space, "prune.where") or None)
            except InvalidInput as error:
                raise InvalidConfig(f"the settings of 'prune': {error.message}", hint="mvs config list") from None
        return rules

    def _pruned(self, rules: Mapping[str, Any], *, only_pushed: bool) -> list[str]:
        """Prune what the settings name, and return the tags; what stands against it is told, and leaves versions."""
        setting = partial(workspace.setting, self._space)
        gone: list[str] = []
        for name in setting("prune.names") or [None]:
            try:
                gone += map(
                    str,
                    self.prune(
                        name,
                        **rules,
                        where=setting("prune.where") or None,
                        keep_parents=setting("prune.keep-parents"),
                        only_pushed=only_pushed or setting("prune.only-pushed"),
                    ),
                )
            except NameNotFound:
                continue
            except (*UNREADABLE, HookRefused, InvalidInput, RemoteFailed, StorageFailed) as error:
                self._progress.notice(f"not all could be pruned: {error.message}")
        return gone

    def _pinned(self) -> frozenset[ObjectId]:
        """Return the manifests that this repository, and all that share its store, pin."""
        pins = [*ops.sharing.pins_of(self._space.control), *ops.sharing.pins_of(self._store.root)]
        for known in ops.sharing.shared(self._store, workspace.host()):
            pins += known.pins
        return frozenset(pin.id for pin in pins)
