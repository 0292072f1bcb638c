"""Aliases and notes against plain dicts: whatever is saved, moved, labelled, deleted, collected and restored."""

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

import mvs
from mvs.errors import AliasMoved, AliasNotFound, MissingObject, NotFound, Protected, TagExists, VersionNotFound
from mvs.repository.workspace import write_setting

VERSIONS = st.sampled_from(["v1", "v2", "v3"])
ALIASES = st.sampled_from(["prod", "canary"])
KEYS = st.sampled_from(["stage", "owner"])
VALUES = st.sampled_from(["", "a", "b"])


@dataclass(eq=False)
class Held:
    """What a tag means; another one where the tag is used again."""

    version: str
    notes: dict[str, str] = field(default_factory=dict)


class RefsMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp())
        write_setting(mvs.init(self.root / "repo").root, "store.durable", "false")
        self.repo = mvs.open(self.root / "repo")
        self.live: dict[str, Held] = {}
        self.deleted: dict[str, Held] = {}
        # The way of each alias to where it is, without what was taken back.
        self.ways: dict[str, list[Held | None]] = {"prod": [None], "canary": [None]}
        self.count = 0

    def teardown(self) -> None:
        shutil.rmtree(self.root)

    @rule(version=VERSIONS)
    def save(self, version: str) -> None:
        self.count += 1
        (self.root / "weights").write_text(str(self.count))
        if version in self.live:
            with pytest.raises(TagExists):
                self.repo.save(self.root / "weights", f"bert:{version}", reuse_tag=True)
        else:
            self.repo.save(self.root / "weights", f"bert:{version}", reuse_tag=True)
            self.live[version] = Held(version)

    @rule(version=VERSIONS, force=st.booleans())
    def delete(self, version: str, force: bool) -> None:
        held = self.live.get(version)
        pointed = held in (way[-1] for way in self.ways.values())
        refusal = NotFound if held is None else Protected if pointed and not force else None
        with self.refused(refusal):
            self.repo.delete(f"bert:{version}", force=force)
            self.deleted[version] = self.live.pop(version)

    @rule(version=VERSIONS)
    def restore(self, version: str) -> None:
        gone = (NotFound, MissingObject)
        with self.refused(TagExists if version in self.live else None if version in self.deleted else gone):
            self.repo.restore(f"bert:{version}")
            self.live[version] = self.deleted.pop(version)

    @rule()
    def collect(self) -> None:
        self.repo.gc(expire="now")
        pointed = {way[-1] for way in self.ways.values()}
        self.deleted = {version: held for version, held in self.deleted.items() if held in pointed}

    @rule(alias=ALIASES, version=VERSIONS, expect=st.sampled_from([None, "", "v1", "v2", "v3"]))
    def move(self, alias: str, version: str, expect: str | None) -> None:
        way = self.ways[alias]
        present = way[-1].version if way[-1] else ""
        refusal = AliasMoved if expect not in (None, present) else NotFound if version not in self.live else None
        with self.refused(refusal):
            self.repo.alias(f"bert@{alias}", f"bert:{version}", expect=f"bert:{expect}" if expect else expect)
            if self.live[version] is not way[-1]:
                way.append(self.live[version])

    @rule(alias=ALIASES)
    def remove(self, alias: str) -> None:
        way = self.ways[alias]
        with self.refused(None if way[-1] else AliasNotFound):
            self.repo.delete_alias(f"bert@{alias}")
            way.append(None)

    @rule(alias=ALIASES)
    def roll_back(self, alias: str) -> None:
        way = self.ways[alias]
        before = way[-2] if len(way) > 1 else None
        with self.refused(None if before and self.live.get(before.version) is before else NotFound):
            self.repo.rollback_alias(f"bert@{alias}")
            way.pop()

    @rule(version=VERSIONS, key=KEYS, value=VALUES)
    def label(self, version: str, key: str, value: str) -> None:
        with self.refused(None if version in self.live else NotFound):
            self.repo.label(f"bert:{version}", {key: value})
            self.live[version].notes.pop(key, None)
            self.live[version].notes.update({key: value} if value else {})

    @invariant()
    def every_alias_points_where_it_was_moved(self) -> None:
        told = {info.alias: (info.tag.version, info.deleted) for info in self.repo.aliases()}
        there = {f"bert@{alias}": way[-1] for alias, way in self.ways.items() if way[-1]}
        assert told == {alias: (held.version, self.live.get(held.version) is not held) for alias, held in there.items()}
        for alias, held in there.items():
            with self.refused(None if self.live.get(held.version) is held else VersionNotFound):
                assert self.repo.get(alias).version == held.version

    @invariant()
    def every_version_has_its_notes_and_aliases(self) -> None:
        for version, held in self.live.items():
            found = self.repo.get(f"bert:{version}")
            assert found.notes == held.notes
            assert found.aliases == tuple(sorted(alias for alias, way in self.ways.items() if way[-1] is held))

    @invariant()
    def nothing_is_damaged(self) -> None:
        report = self.repo.fsck()
        assert {finding.kind for finding in report.findings} <= {"alias-dangling"}

    @contextlib.contextmanager
    def refused(self, error: type[Exception] | tuple[type[Exception], ...] | None) -> Iterator[None]:
        with pytest.raises(error) if error else contextlib.nullcontext():
            yield


def run(examples: int, steps: int) -> None:
    run_state_machine_as_test(
        RefsMachine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow],
        ),
    )


def test_any_sequence_of_moves_leaves_what_dicts_would_hold() -> None:
    run(examples=12, steps=30)


@pytest.mark.deep
def test_any_long_sequence_of_moves_leaves_what_dicts_would_hold() -> None:
    run(examples=500, steps=80)
