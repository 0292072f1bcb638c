"""What the catalog answers is what a plain filter over all manifests answers."""

import os
import shutil
import tempfile
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

import mvs
from mvs.backends.directory import Directory
from mvs.errors import MvsError
from mvs.format.ids import MAX_TIME
from mvs.ops.find import query
from mvs.query.tree import Expression
from mvs.store.cache.catalog import catalog, folders
from mvs.store.cache.catalog.folders import Stamp
from mvs.store.store import Store
from tests.query.expressions import EXPRESSIONS, LABELS, METADATA, ORDERS

NOW = 1_800_000_000_000_000_000
NAMES = ["m", "m/x", "other"]


def plain(store: Store, where: Expression | None, order: str | None) -> list[str]:
    """Return what is found by reading everything."""
    found = query._filtered(store, None, where, query.order(order), pytest.fail)
    return [str(stored.ref.tag) for stored in found]


def catalogued(
    store: Store, where: Expression | None, order: str | None, limit: int | None = None, offset: int = 0
) -> list[str]:
    """Return what the catalog finds."""
    found = store.catalog.find(where, pytest.fail, order=query.order(order), limit=limit, offset=offset)
    assert found is not None
    return [str(ref.tag) for ref in found]


def settled_stamp(disk: Directory, key: str) -> Stamp | None:
    """Be `folders.stamp` where the clock never stands still, and half of what happened did so long ago."""
    try:
        entries = sorted((entry.name, entry.inode()) for entry in os.scandir(disk.path(key)))
    except FileNotFoundError:
        return None
    state = crc32(repr(entries).encode())
    return Stamp(0, state, 0 if state % 2 else MAX_TIME)


class Found(RuleBasedStateMachine):
    """A store that is changed by its verbs and behind their backs, and asked in between."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.repo = mvs.init(self.folder / "repo")
        self.store = Store(self.repo.store, durable=False)
        self.repo._store = self.store
        self.patch = pytest.MonkeyPatch()
        self.count = 0
        self.tags: list[str] = []
        self.gone: list[str] = []

    def teardown(self) -> None:
        self.patch.undo()
        shutil.rmtree(self.folder)

    def put(self, name: str, labels: dict[str, str], metadata: dict[str, Any], **more: Any) -> None:
        source = self.folder / "source"
        source.mkdir(exist_ok=True)
        (source / "file").write_bytes(b"x" * (self.count * 600))
        tag = f"{name}:v{self.count}"
        self.repo.save(source, tag, labels=labels, metadata=metadata, context={"x": self.count % 2}, **more)
        self.tags.append(tag)
        self.count += 1

    @initialize(settles=st.booleans(), share=st.sampled_from([0, 1, 1000]))
    def first(self, settles: bool, share: int) -> None:
        # How much must be new before a new file is written: anything, as much as there is, or never.
        self.patch.setattr(catalog, "_SHARE", share)
        if settles:
            self.patch.setattr(folders, "stamp", settled_stamp)
        self.put("m", {"a": "a"}, {"a": 1, "b": True})
        self.put("m/x", {}, {"a": "a"}, message="a", parents=["m:v0"])

    @rule(name=st.sampled_from(NAMES), labels=LABELS, metadata=METADATA, message=st.sampled_from(["", "a", "b"]))
    def save(self, name: str, labels: dict[str, str], metadata: dict[str, Any], message: str) -> None:
        self.put(name, labels, metadata, message=message, parents=self.tags[:1])

    @precondition(lambda self: len(self.tags) > 1)
    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        tag = data.draw(st.sampled_from(self.tags))
        self.repo.delete(tag, force=True)
        self.tags.remove(tag)
        self.gone.append(tag)

    @precondition(lambda self: self.gone)
    @rule(data=st.data())
    def restore(self, data: st.DataObject) -> None:
        tag = data.draw(st.sampled_from(self.gone))
        self.repo.restore(tag)
        self.gone.remove(tag)
        self.tags.append(tag)

    @precondition(lambda self: self.tags)
    @rule(data=st.data(), alias=st.sampled_from(["a", "b"]))
    def point(self, data: st.DataObject, alias: str) -> None:
        tag = mvs.Tag.parse(data.draw(st.sampled_from(self.tags)))
        path = self.store.root / "refs" / "aliases" / tag.name / f"@{alias}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.with_suffix(".new").write_bytes((self.store.root / f"refs/tags/{tag.name}/@{tag.version}").read_bytes())
        path.with_suffix(".new").rename(path)

    @precondition(lambda self: len(self.tags) > 1)
    @rule(data=st.data())
    def remove_by_hand(self, data: st.DataObject) -> None:
        tag = mvs.Tag.parse(data.draw(st.sampled_from(self.tags)))
        (self.store.root / f"refs/tags/{tag.name}/@{tag.version}").unlink()
        self.tags.remove(str(tag))

    @rule(where=EXPRESSIONS, order=st.none() | ORDERS, limit=st.integers(1, 4), offset=st.integers(0, 3))
    def ask(self, where: str, order: str | None, limit: int, offset: int) -> None:
        try:
            tree = query.expression(self.store, where, NOW)
        except MvsError:
            # A parent that there is not, or an integer that is no literal.
            return
        wanted = plain(self.store, tree, order)
        assert catalogued(self.store, tree, order) == wanted
        assert catalogued(self.store, tree, order, limit=limit, offset=offset) == wanted[offset : offset + limit]
        for name in NAMES:
            one = query.Wanted(name, tree, query.order(order))
            if any(tag.startswith(f"{name}:") for tag in self.tags):
                found = [str(stored.ref.tag) for stored in query.listing(self.store, one, pytest.fail)]
                assert found == [tag for tag in wanted if tag.startswith(f"{name}:")]


def run(examples: int, steps: int) -> None:
    run_state_machine_as_test(
        Found,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow],
        ),
    )


def test_the_catalog_answers_what_the_manifests_say_whatever_is_done_to_the_store() -> None:
    run(examples=5, steps=12)


@pytest.mark.deep
def test_the_catalog_answers_what_the_manifests_say_however_long_it_goes_on() -> None:
    run(examples=300, steps=40)


@pytest.fixture(scope="module")
def some(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A store with a version for each of many values."""
    folder = tmp_path_factory.mktemp("some")
    repo = mvs.init(folder / "repo")
    (folder / "source").write_bytes(b"x")
    values: list[Any] = [None, 0, 1, -1, 0.5, 1.0, True, False, "", "a", "A", "b", "%", "\x00", [], {}, [1], {"a": 1}]
    values += [{"a": {"b": 2}}, {"b": None}, 2**53, 2**53 + 1, float(2**53), 2**63 - 1, 2**63, 2**64 - 1, -(2**63)]
    for index, value in enumerate(values):
        labels = {"a": value} if isinstance(value, str) else {"b": "b", "a.b": "x"}
        repo.save(folder / "source", f"{NAMES[index % 3]}:v{index}", labels=labels, metadata={"a": value, "b": index})
    return Store(repo.store)


@settings(max_examples=80, deadline=None)
@given(where=EXPRESSIONS, order=st.none() | ORDERS)
def test_the_sql_of_an_expression_means_what_the_expression_means(some: Store, where: str, order: str | None) -> None:
    """Two meanings of one language would delete the wrong versions."""
    try:
        tree = query.expression(some, where, NOW)
    except MvsError:
        return
    wanted = plain(some, tree, order)
    assert catalogued(some, tree, order) == wanted
    one = query.Wanted("m", tree, query.order(order))
    found = [str(stored.ref.tag) for stored in query.listing(some, one, pytest.fail)]
    assert found == [tag for tag in wanted if tag.startswith("m:")]


@pytest.mark.deep
@settings(max_examples=20_000, deadline=None)
@given(where=EXPRESSIONS, order=st.none() | ORDERS)
def test_the_sql_of_any_expression_means_what_the_expression_means(some: Store, where: str, order: str | None) -> None:
    try:
        tree = query.expression(some, where, NOW)
    except MvsError:
        return
    assert catalogued(some, tree, order) == plain(some, tree, order)
