"""Pruning never takes what a rule keeps, and everything it takes can be had back."""

import shutil
import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import mvs
from mvs.errors import CorruptRef, InvalidInput, KeepsNothing, NameNotFound, QueryError, RemoteFailed
from mvs.format.ids import ObjectId
from mvs.format.names import Tag
from mvs.ops.saving.save import Request, save
from mvs.ops.saving.walk import walk
from mvs.repository.workspace import write_setting
from mvs.running.progress import Silent
from mvs.store.store import Store

DAY = 86_400 * 1_000_000_000
START = 1_700_000_000_000_000_000
BEST = "metadata.loss:min"


def made(root: Path) -> mvs.Repository:
    """Return an empty repository that does not wait for the disk."""
    write_setting(mvs.init(root).root, "store.durable", "false")
    return mvs.open(root)


def put(repo: mvs.Repository, tag: str, at: int, **known: Any) -> mvs.Version:
    """Save a file of its own as a version, at a time of our choice."""
    name, _, version = tag.partition(":")
    source = repo.root.parent / "source"
    source.write_text(tag)
    request = Request(
        name=name,
        version=version,
        labels=known.get("labels", {}),
        metadata={key: value for key, value in known.items() if key == "loss"},
        context={},
        parents=tuple(ObjectId.from_hex(repo.get(parent).id) for parent in known.get("parents", ())),
        message="",
    )
    store = Store(repo.store, durable=False)
    with store.session() as session:
        save(store, request, walk(str(source)), "copy", session, now=lambda: at, by="tester", progress=Silent())
    return repo.get(tag)


def tags(versions: list[Tag]) -> list[str]:
    return [str(tag) for tag in versions]


def left(repo: mvs.Repository) -> set[str]:
    return {str(version.tag) for version in repo.list()}


@pytest.fixture
def five(tmp_path: Path) -> mvs.Repository:
    """A name with five versions, a day apart; the third has the lowest loss."""
    repo = made(tmp_path / "repo")
    for number, loss in enumerate([0.9, 0.5, 0.1, 0.4, 0.8]):
        put(repo, f"bert:v{number}", START + number * DAY, loss=loss)
    return repo


@pytest.mark.parametrize(
    ("rules", "kept"),
    [
        ({"keep_last": 2}, {"v3", "v4"}),
        ({"keep_within": "2d"}, {"v3", "v4"}),
        ({"keep_within": "49h"}, {"v2", "v3", "v4"}),
        ({"keep_best": BEST}, {"v2"}),
        ({"keep_best": "metadata.loss:max:2"}, {"v0", "v4"}),
        ({"keep_best": [BEST, "created:min"]}, {"v0", "v2"}),
        ({"keep_last": 1, "keep_best": "metadata.loss:min:2"}, {"v2", "v3", "v4"}),
        ({"keep_last": 10}, {"v0", "v1", "v2", "v3", "v4"}),
    ],
)
def test_what_a_rule_keeps_stays_and_all_else_goes(five: mvs.Repository, rules: dict[str, Any], kept: set[str]) -> None:
    gone = five.prune("bert", **rules)
    assert left(five) == {f"bert:{version}" for version in kept}
    assert set(tags(gone)) == {f"bert:v{number}" for number in range(5)} - left(five)


def test_without_a_rule_nothing_is_pruned(five: mvs.Repository) -> None:
    nothing: list[dict[str, Any]] = [
        {},
        {"where": "size > 0"},
        {"keep_parents": True},
        {"only_pushed": True},
        {"keep_best": []},
    ]
    for arguments in nothing:
        with pytest.raises(KeepsNothing) as caught:
            five.prune("bert", **arguments)
        assert caught.value.hint == "mvs prune --keep-last 10 --dry-run"
    assert len(left(five)) == 5


@pytest.mark.parametrize(
    "rules",
    [
        {"keep_last": 0},
        {"keep_last": -1},
        {"keep_last": True},
        {"keep_daily": 1.5},
        {"keep_within": "now"},
        {"keep_within": "0d"},
        {"keep_within": "soon"},
        {"keep_within": 30},
        {"keep_best": "metadata.loss"},
        {"keep_best": "metadata.loss:least"},
        {"keep_best": "metadata.loss:min:0"},
        {"keep_best": "metadata.loss:min:x"},
        {"keep_best": ":min"},
        {"keep_best": [3]},
    ],
)
def test_a_rule_that_makes_no_sense_is_refused(five: mvs.Repository, rules: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        five.prune("bert", **rules)
    assert len(left(five)) == 5


@pytest.mark.parametrize("field", ["lss", "alias", "metadata.", "metadata.a b", "metadata.a:asc, name", "'x'", "\n("])
def test_a_field_that_is_none_is_refused(five: mvs.Repository, field: str) -> None:
    with pytest.raises(QueryError):
        five.prune("bert", keep_best=f"{field}:min")


def test_the_best_is_sought_among_numbers(tmp_path: Path) -> None:
    repo = made(tmp_path / "repo")
    for number, loss in enumerate(["0.01", True, None, 0.5, 0.7, -1]):
        put(repo, f"bert:v{number}", START + number, loss=loss)
    repo.prune(keep_best="metadata.loss:min:2")
    assert left(repo) == {"bert:v5", "bert:v3"}


def test_of_equal_ones_the_last_is_the_best(tmp_path: Path) -> None:
    repo = made(tmp_path / "repo")
    for number in range(3):
        put(repo, f"bert:v{number}", START + number, loss=1)
    repo.prune(keep_best="metadata.loss:max")
    assert left(repo) == {"bert:v2"}


def test_a_name_in_which_no_rule_finds_anything_is_left_as_it_is(five: mvs.Repository) -> None:
    """A key that was misspelt must not empty a registry."""
    put(five, "other:v1", START, loss=1)
    plan = five.plan_prune(keep_best="metadata.los:min")
    assert plan.doomed == ()
    assert {str(reason) for kept in plan.kept for reason in kept.why} == {"unmeasured metadata.los:min"}
    assert five.prune(plan=plan) == []


def test_each_name_is_pruned_by_itself(five: mvs.Repository) -> None:
    for number in range(3):
        put(five, f"team/gpt:v{number}", START + 100 * DAY + number)
    assert tags(five.prune("team/*", keep_last=1)) == ["team/gpt:v1", "team/gpt:v0"]
    assert len(five.list("bert")) == 5
    assert len(five.prune(keep_last=1)) == 4
    assert left(five) == {"bert:v4", "team/gpt:v2"}


def test_an_unknown_name_is_an_error_and_a_glob_without_one_is_not(five: mvs.Repository) -> None:
    with pytest.raises(NameNotFound):
        five.prune("gpt", keep_last=1)
    assert five.prune("gpt*", keep_last=1) == []


def test_an_expression_chooses_what_may_go_and_what_counts(five: mvs.Repository) -> None:
    assert tags(five.prune("bert", keep_last=1, where="metadata.loss > 0.4")) == ["bert:v1", "bert:v0"]
    assert left(five) == {"bert:v2", "bert:v3", "bert:v4"}


def test_what_an_alias_points_at_stays(five: mvs.Repository) -> None:
    five.alias("bert@prod", "bert:v1")
    plan = five.plan_prune(keep_last=1)
    assert {str(kept.ref.tag): [str(reason) for reason in kept.why] for kept in plan.kept} == {
        "bert:v4": ["last"],
        "bert:v1": ["alias prod"],
    }
    five.prune(plan=plan)
    assert left(five) == {"bert:v1", "bert:v4"}


def test_what_an_alias_was_pointed_at_since_the_plan_stays(five: mvs.Repository) -> None:
    plan = five.plan_prune(keep_last=1)
    five.alias("bert@prod", "bert:v1")
    assert tags(five.prune(plan=plan)) == ["bert:v3", "bert:v2", "bert:v0"]


def test_an_alias_that_cannot_be_read_stops_it(five: mvs.Repository) -> None:
    """What it protects cannot be told."""
    five.alias("bert@prod", "bert:v1")
    (five.store / "refs/aliases/bert/@prod").write_text("rubbish")
    with pytest.raises(CorruptRef):
        five.prune(keep_last=1)
    assert len(left(five)) == 5


def test_what_is_pinned_stays_also_what_another_repository_on_the_store_pins(tmp_path: Path) -> None:
    for name in ("one", "two"):
        mvs.init(tmp_path / name, store=tmp_path / "shared")
    one, two = mvs.open(tmp_path / "one"), mvs.open(tmp_path / "two")
    for number in range(4):
        put(one, f"bert:v{number}", START + number)
    one.pin("bert:v0", to=tmp_path / "one" / "a")
    plan = one.plan_prune(keep_last=1)
    two.pin("bert:v1", to=tmp_path / "two" / "b")
    assert {str(kept.ref.tag): str(kept.why[0]) for kept in plan.kept} == {"bert:v3": "last", "bert:v0": "pin"}
    assert tags(one.prune(plan=plan)) == ["bert:v2"]
    assert left(one) == {"bert:v3", "bert:v1", "bert:v0"}


def test_parents_of_what_is_kept_stay_where_that_is_asked_for(tmp_path: Path) -> None:
    repo = made(tmp_path / "repo")
    put(repo, "base:v0", START)
    put(repo, "base:v1", START + 1, parents=["base:v0"])
    put(repo, "base:v2", START + 2)
    put(repo, "base:v3", START + 3)
    put(repo, "tuned:v1", START + 4, parents=["base:v1"])
    plan = repo.plan_prune("base", keep_last=1, keep_parents=True)
    assert {str(kept.ref.tag): str(kept.why[0]) for kept in plan.kept} == {
        "base:v3": "last",
        "base:v1": "parent tuned:v1",
        "base:v0": "parent base:v1",
    }
    repo.prune(plan=plan)
    assert left(repo) == {"base:v3", "base:v1", "base:v0", "tuned:v1"}
    assert tags(repo.prune("base", keep_last=1)) == ["base:v1", "base:v0"]


def test_parents_of_what_goes_go(tmp_path: Path) -> None:
    repo = made(tmp_path / "repo")
    put(repo, "bert:v0", START)
    put(repo, "bert:v1", START + 1, parents=["bert:v0"])
    put(repo, "bert:v2", START + 2)
    assert tags(repo.prune("bert", keep_last=1, keep_parents=True)) == ["bert:v1", "bert:v0"]


def test_what_no_remote_has_stays_where_that_is_asked_for(five: mvs.Repository, tmp_path: Path) -> None:
    five.add_remote("origin", str(tmp_path / "remote"))
    five.push("bert:v0", "bert:v2")
    plan = five.plan_prune(keep_last=1, only_pushed=True)
    assert tags([ref.tag for ref in plan.doomed]) == ["bert:v2", "bert:v0"]
    assert str(plan.kept[-1].why[0]) == "unpushed"
    shutil.rmtree(tmp_path / "remote")
    with pytest.raises(RemoteFailed):
        five.prune(keep_last=1, only_pushed=True)
    assert len(left(five)) == 5


def test_a_damaged_version_stays_and_is_told(five: mvs.Repository) -> None:
    id = five.get("bert:v0").id
    (five.store / "objects" / id[:2] / id[2:]).unlink()
    assert tags(five.prune(keep_last=1)) == ["bert:v3", "bert:v2", "bert:v1"]
    assert (five.store / "refs/tags/bert/@v0").exists()


def test_of_two_prunes_with_other_rules_none_takes_what_the_other_keeps(five: mvs.Repository) -> None:
    """Each had left a version; together they would leave none."""
    best, last = five.plan_prune(keep_best=BEST), five.plan_prune(keep_last=1)
    assert len(five.prune(plan=best)) == 4
    assert five.prune(plan=last) == []
    assert left(five) == {"bert:v2"}


def test_of_two_prunes_at_once_each_version_goes_once(five: mvs.Repository) -> None:
    gone: list[str] = []
    start = threading.Barrier(2)

    def work() -> None:
        repo = mvs.open(five.root.parent)
        start.wait()
        gone.extend(tags(repo.prune(keep_last=2)))

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(gone) == ["bert:v0", "bert:v1", "bert:v2"]
    assert left(five) == {"bert:v3", "bert:v4"}


def test_exclusive_bytes_are_those_that_gc_gives_back(five: mvs.Repository) -> None:
    for number in range(2):
        # The same file in two versions, one of which stays.
        put(five, f"same:v{number}", START + number)
        five.save(five.root.parent / "source", f"same:w{number}")
    plan = five.plan_prune(keep_last=1)
    five.prune(plan=plan)
    assert five.gc(expire="now").freed == plan.exclusive > 0


@dataclass(frozen=True)
class Made:
    """A version to be made: when, with which loss, from which others, and whether an alias points at it."""

    name: str
    at: int
    loss: float | None
    parents: tuple[int, ...]
    aliased: bool


@st.composite
def stores(draw: st.DrawFn) -> list[Made]:
    ages = draw(st.lists(st.integers(0, 70 * 24), min_size=1, max_size=7, unique=True))
    return [
        Made(
            draw(st.sampled_from(["a", "b"])),
            START + hours * DAY // 24,
            draw(st.sampled_from([None, 0.1, 0.2, 0.3])),
            tuple(draw(st.sets(st.integers(0, index - 1), max_size=2))) if index else (),
            draw(st.integers(0, 6)) == 0,
        )
        for index, hours in enumerate(sorted(ages))
    ]


RULES = st.fixed_dictionaries(
    {},
    optional={
        "keep_last": st.integers(1, 3),
        "keep_within": st.sampled_from(["1h", "36h", "20d"]),
        "keep_daily": st.integers(1, 3),
        "keep_weekly": st.integers(1, 3),
        "keep_monthly": st.integers(1, 3),
        "keep_best": st.sampled_from([BEST, "metadata.loss:max:2"]),
    },
).filter(bool)
HOURS = {"1h": 1, "36h": 36, "20d": 480}


def by_the_page(versions: list[Made], rules: dict[str, Any]) -> set[Made]:
    """Return what the rules keep of one name, by what docs/retention.md says of each."""

    def day(version: Made) -> datetime:
        return datetime.fromtimestamp(version.at // 1_000_000_000, UTC).astimezone()

    periods: dict[str, Callable[[Made], Any]] = {
        "keep_daily": lambda version: day(version).date(),
        "keep_weekly": lambda version: day(version).isocalendar()[:2],
        "keep_monthly": lambda version: (day(version).year, day(version).month),
    }
    kept = set()
    for version in versions:
        later = [other for other in versions if other.at > version.at]
        if len(later) < rules.get("keep_last", 0):
            kept.add(version)
        if max(v.at for v in versions) - version.at < HOURS.get(rules.get("keep_within", ""), 0) * DAY // 24:
            kept.add(version)
        for rule, period in periods.items():
            after = {period(other) for other in later}
            if period(version) not in after and len(after) < rules.get(rule, 0):
                kept.add(version)
        _, which, *most = rules.get("keep_best", "::0").split(":")
        if version.loss is not None:
            sign = 1 if which == "min" else -1
            measured = [(sign * other.loss, -other.at) for other in versions if other.loss is not None]
            if sorted(measured).index((sign * version.loss, -version.at)) < int(most[0] if most else 1):
                kept.add(version)
    return kept or set(versions)


@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(stores(), RULES, st.booleans())
def test_prune_takes_what_no_rule_keeps_once_and_all_of_it_comes_back(
    versions: list[Made], rules: dict[str, Any], keep_parents: bool
) -> None:
    _check(versions, rules, keep_parents)


@pytest.mark.deep
@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(stores(), RULES, st.booleans())
def test_prune_takes_what_no_rule_keeps_of_many_stores(
    versions: list[Made], rules: dict[str, Any], keep_parents: bool
) -> None:
    _check(versions, rules, keep_parents)


def _check(versions: list[Made], rules: dict[str, Any], keep_parents: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        repo = made(Path(folder) / "repo")
        called = [f"{version.name}:v{index}" for index, version in enumerate(versions)]
        before = {}
        for tag, version in zip(called, versions, strict=True):
            known = {} if version.loss is None else {"loss": version.loss}
            before[tag] = put(repo, tag, version.at, parents=[called[index] for index in version.parents], **known)
        # Now, which is later than all of them: what is saved afterwards would be later still.
        for tag, version in zip(called, versions, strict=True):
            if version.aliased:
                repo.alias(f"{version.name}@for-{tag.partition(':')[2]}", tag)
                before[tag] = repo.get(tag)
        kept = {
            versions.index(version)
            for name in {version.name for version in versions}
            for version in by_the_page([each for each in versions if each.name == name], rules)
        }
        kept |= {index for index, version in enumerate(versions) if version.aliased}
        for index in reversed(range(len(versions)) if keep_parents else ()):
            kept |= set(versions[index].parents) if index in kept else set()
        gone = repo.prune(keep_parents=keep_parents, **rules)
        assert left(repo) == {called[index] for index in kept}
        assert repo.prune(keep_parents=keep_parents, **rules) == []
        repo.gc()
        for each in gone:
            repo.restore(each)
        assert {str(version.tag): version for version in repo.list()} == before
        assert all((version.path / "source").read_text() == tag for tag, version in before.items())
