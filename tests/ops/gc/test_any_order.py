"""Whatever is saved, deleted, packed and collected in any order: what is there is whole, what nobody needs goes."""

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from mvs.errors import TagExists
from mvs.format.names import Tag
from tests.ops.dedup.families import as_files, quick, save
from tests.ops.gc.stores import (
    CONTENTS,
    DAY,
    Clock,
    check_closed,
    check_deleted,
    check_tidy,
    files_of,
    small_packs,
)

TAGS = st.sampled_from([Tag("bert", "v1"), Tag("bert", "v2"), Tag("gpt", "v1")])
WORDS = st.sampled_from(sorted(CONTENTS))
WINDOWS = {"now": 0, "12h": DAY // 2, "3d": 3 * DAY}


@dataclass(frozen=True)
class Buried:
    """A version that was deleted, and when."""

    content: str
    id: str
    created: int
    at: int


class CollectedMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.patch = pytest.MonkeyPatch()
        self.clock = Clock(self.patch)
        self.packs = small_packs()
        self.packs.__enter__()
        self.root = Path(tempfile.mkdtemp())
        self.repo = quick(self.root / "repo")
        self.live: dict[Tag, str] = {}
        self.buried: dict[Tag, Buried] = {}

    def teardown(self) -> None:
        self.packs.__exit__(None, None, None)
        self.patch.undo()
        shutil.rmtree(self.root)

    @rule(tag=TAGS, content=WORDS, packed=st.booleans())
    def save(self, tag: Tag, content: str, packed: bool) -> None:
        if tag in self.live:
            return
        save(self.repo, str(tag), CONTENTS[content], reuse_tag=True, dedup=packed)
        self.live[tag] = content
        self.buried.pop(tag, None)

    @rule(tag=TAGS)
    def delete(self, tag: Tag) -> None:
        if tag in self.live:
            version = self.repo.get(tag)
            self.repo.delete(tag)
            ref_time = self.created(tag)
            self.buried[tag] = Buried(self.live.pop(tag), version.id, ref_time, self.clock.now)

    def created(self, tag: Tag) -> int:
        event = self.repo._store.journal.last_deletion(tag.name, tag.version)
        assert event is not None
        return event.created

    @precondition(lambda self: self.buried)
    @rule(data=st.data())
    def restore(self, data: st.DataObject) -> None:
        tag = data.draw(st.sampled_from(sorted(self.buried)))
        if tag in self.live:
            with pytest.raises(TagExists):
                self.repo.restore(tag)
        else:
            self.repo.restore(tag)
            self.live[tag] = self.buried.pop(tag).content

    @rule()
    def dedup(self) -> None:
        self.repo.dedup()

    @precondition(lambda self: self.live)
    @rule(data=st.data())
    def undo(self, data: st.DataObject) -> None:
        self.repo.undo_dedup(data.draw(st.sampled_from(sorted(self.live))))

    @precondition(lambda self: self.live)
    @rule(data=st.data(), link=st.booleans())
    def check_out(self, data: st.DataObject, link: bool) -> None:
        tag = data.draw(st.sampled_from(sorted(self.live)))
        dest = self.repo.checkout(tag, self.root / "dest", link=link)
        assert as_files(dest) == CONTENTS[self.live[tag]]
        shutil.rmtree(dest)

    @precondition(lambda self: self.live)
    @rule(data=st.data())
    def view(self, data: st.DataObject) -> None:
        tag = data.draw(st.sampled_from(sorted(self.live)))
        assert as_files(self.repo.get(tag).path) == CONTENTS[self.live[tag]]

    @rule(days=st.sampled_from([0.3, 1, 5]))
    def wait(self, days: float) -> None:
        self.clock.now += int(days * DAY)

    @rule(window=st.sampled_from(sorted(WINDOWS)))
    def gc(self, window: str) -> None:
        since = self.clock.now - WINDOWS[window]
        planned = self.repo.plan_gc(expire=window)
        result = self.repo.gc(expire=window)
        assert (len(planned.versions), len(planned.loose), len(planned.packs)) == (
            result.versions,
            result.objects,
            result.packs,
        )
        assert planned.held == result.held
        self.buried = {tag: buried for tag, buried in self.buried.items() if buried.at > since and window != "now"}
        if not self.buried:
            assert result.held == 0
        if window == "now":
            check_tidy(self.repo)
            again = self.repo.gc(expire="now")
            assert (again.freed, again.objects, again.packs, again.held) == (0, 0, 0, 0)

    @invariant()
    def what_is_there_reads_back(self) -> None:
        for tag, content in self.live.items():
            assert files_of(self.repo, str(tag)) == CONTENTS[content], tag
        check_closed(self.repo)

    @invariant()
    def what_was_deleted_inside_the_window_reads_back(self) -> None:
        for tag, buried in self.buried.items():
            check_deleted(self.repo, buried.id, tag, buried.created, CONTENTS[buried.content])


def run(examples: int, steps: int) -> None:
    run_state_machine_as_test(
        CollectedMachine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow],
        ),
    )


def test_any_sequence_of_calls_and_collections_keeps_what_is_there_and_nothing_else() -> None:
    run(examples=4, steps=15)


@pytest.mark.deep
def test_any_long_sequence_of_calls_and_collections_keeps_what_is_there_and_nothing_else() -> None:
    run(examples=300, steps=60)
