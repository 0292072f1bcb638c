"""Rules that say which versions of one name are kept; each keeps what it would keep alone.

They look at nothing but the versions they are given: neither the time of day nor anything else that moves. So a
name that nobody saves under any more loses nothing by waiting, and applying them again changes nothing.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import NamedTuple

from mvs.errors import InvalidInput, KeepsNothing
from mvs.format.lines.refs import Ref
from mvs.query.sizes import parse_duration
from mvs.query.tree import Field

_NS = 1_000_000_000
_BEST = re.compile(r"(?P<field>.+):(?P<which>min|max)(?::(?P<count>[0-9]{1,9}))?", re.DOTALL)


class Reason(NamedTuple):
    """Why a version is kept: a rule, and the day, week, month, field, alias or version that it is kept for."""

    rule: str
    of: str = ""

    def __str__(self) -> str:
        return f"{self.rule} {self.of}".rstrip()


class Best(NamedTuple):
    """The `most` versions with the lowest or highest number in a field; `spelled` as the user wrote it."""

    field: Field
    lowest: bool
    most: int
    spelled: str


@dataclass(frozen=True, slots=True)
class Rules:
    """What is kept of each name.

    Attributes:
        last: so many, the most recently saved ones.
        within: all that were saved less than so many nanoseconds before the most recent one.
        daily, weekly, monthly: of so many days, weeks and months in which versions were saved, the last of each.
        best: those with the best numbers.
    """

    last: int = 0
    within: int = 0
    daily: int = 0
    weekly: int = 0
    monthly: int = 0
    best: tuple[Best, ...] = field(default=())


def rules(
    *,
    last: int | None = None,
    within: str | None = None,
    daily: int | None = None,
    weekly: int | None = None,
    monthly: int | None = None,
    best: Iterable[str] = (),
) -> Rules:
    """Return the rules that the options of `mvs prune` say.

    Raises:
        KeepsNothing: none is given.
        InvalidInput: one makes no sense.
        QueryError: the field of one is no field.
    """
    given = {"last": last, "daily": daily, "weekly": weekly, "monthly": monthly}
    counts = {rule: _count(rule, count) for rule, count in given.items() if count is not None}
    spelled = [best] if isinstance(best, str) else list(best)
    if not counts and within is None and not spelled:
        raise KeepsNothing(
            "no rule says what to keep, and all versions would go", hint="mvs prune --keep-last 10 --dry-run"
        )
    return Rules(**counts, within=0 if within is None else _span(within), best=tuple(map(_best, spelled)))


def kept(rules: Rules, versions: Sequence[Ref], ranked: Mapping[Best, Sequence[Ref]]) -> dict[Ref, list[Reason]]:
    """Return which of the versions of one name are kept, and why; they come most recently saved first.

    `ranked` are, for each rule about the best, those of them that have such a number, the best first.
    Where no rule finds anything to keep (none has the number that the best is sought by), all are kept.
    """
    why: dict[Ref, list[Reason]] = {}

    def keep(ref: Ref, rule: str, of: str = "") -> None:
        why.setdefault(ref, []).append(Reason(rule, of))

    for ref in versions[: rules.last]:
        keep(ref, "last")
    if rules.within:
        for ref in versions:
            if ref.created > versions[0].created - rules.within:
                keep(ref, "within")
    for rule, count, period in (
        ("daily", rules.daily, "{0:%Y-%m-%d}".format),
        ("weekly", rules.weekly, _week),
        ("monthly", rules.monthly, "{0:%Y-%m}".format),
    ):
        for of, ref in _periods(versions, period, count).items():
            keep(ref, rule, of)
    for best in rules.best:
        for ref in ranked[best][: best.most]:
            keep(ref, "best", best.spelled)
    if not why:
        for ref in versions:
            keep(ref, "unmeasured", rules.best[0].spelled)
    return why


def _periods(versions: Sequence[Ref], period: Callable[[datetime], str], count: int) -> dict[str, Ref]:
    """Return the last version of each of the `count` latest periods that have one."""
    found: dict[str, Ref] = {}
    for ref in versions if count else ():
        # In the zone of this machine, as `mvs list` shows it.
        key = period(datetime.fromtimestamp(ref.created // _NS, UTC).astimezone())
        if key not in found:
            if len(found) == count:
                break
            found[key] = ref
    return found


def _week(at: datetime) -> str:
    year, week, _ = at.isocalendar()
    return f"{year}-W{week:02}"


def _count(rule: str, count: object) -> int:
    if type(count) is not int or count < 1:
        raise InvalidInput(
            f"to keep {count!r} {rule} versions is no rule", hint=f"mvs prune --keep-{rule} 10 --dry-run"
        )
    return count


def _span(text: str) -> int:
    try:
        if span := parse_duration(text):
            return span
    except (ValueError, AttributeError):
        pass
    raise InvalidInput(f"'{text}' is no span of time to keep versions within", hint="mvs prune --keep-within 30d")


def _best(text: str) -> Best:
    from mvs.query.parse import parse_field  # noqa: PLC0415 - few rules need it

    found = _BEST.fullmatch(text) if isinstance(text, str) else None
    count = int(found["count"] or 1) if found else 0
    if not found or not count:
        raise InvalidInput(
            f"'{text}' does not say what is best", hint="mvs prune --keep-best metadata.val_loss:min:3 --dry-run"
        )
    return Best(parse_field(found["field"]), found["which"] == "min", count, text)
