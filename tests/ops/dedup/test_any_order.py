"""Save, dedup, undo and delete in any order: everything reads back, and nothing is ever made of itself."""

import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

import mvs
from mvs.ops.dedup import pieces
from mvs.ops.dedup.plan import MAX_DEPTH
from tests.codecs.cut import samples
from tests.ops.dedup import families
from tests.ops.dedup.families import check, check_graph, pack_bytes, quick, safetensors, save

BLOCK = 4096
# The first tensor has several pieces and the second a part of one; the third is one piece.
BASE = families.model(0, {"w": (96, 64), "v": (70, 32), "n": (64,)})
ONE, OTHER = families.tuned(BASE, 1), families.tuned(BASE, 2)
MERGED = families.mean(ONE, OTHER)
INNER = safetensors({"w": ONE["w"]})
CONTENTS = {
    "base": safetensors(BASE),
    "one": safetensors(ONE),
    "other": safetensors(OTHER),
    "mean": safetensors(MERGED),
    "next": safetensors(families.tuned(ONE, 3)),
    "same with one more": safetensors({**BASE, "x": ONE["n"]}),
    "only its largest": safetensors({"w": BASE["w"]}),
    "another part": safetensors({"v": ONE["v"], "w": BASE["w"]}),
    "grown": safetensors({**ONE, "w": np.concatenate([ONE["w"], BASE["w"][:16]])}),
    "f16": families.gguf_f16(BASE),
    "q8": families.gguf_q8({"w": ONE["w"], "v": ONE["v"]}),
    # A file that is the tensor of another.
    "inner": INNER,
    "outer": samples.safetensors(
        {
            "inner": samples.entry("U8", (len(INNER),), 0, len(INNER)),
            "w": samples.entry("BF16", OTHER["w"].shape, len(INNER), len(INNER) + OTHER["w"].nbytes),
        },
        INNER + OTHER["w"].tobytes(),
    ),
}


class DedupMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp())
        self.repo = quick(self.root / "repo")
        self.live: dict[str, bytes] = {}
        self.deleted: dict[str, bytes] = {}
        self.count = 0

    def teardown(self) -> None:
        shutil.rmtree(self.root)

    @rule(content=st.sampled_from(sorted(CONTENTS)), name=st.sampled_from(["a", "b"]), data=st.data())
    def save(self, content: str, name: str, data: st.DataObject) -> None:
        self.count += 1
        tag = f"{name}:v{self.count}"
        parents = data.draw(st.lists(st.sampled_from(sorted(self.live)), max_size=2)) if self.live else []
        save(self.repo, tag, CONTENTS[content], parents=parents)
        self.live[tag] = CONTENTS[content]

    @rule()
    def dedup_all(self) -> None:
        self.repo.dedup(jobs=2)
        assert families.loose_files(self.repo) == [] or self.deleted
        before = pack_bytes(self.repo)
        assert self.repo.dedup().packed == 0
        assert pack_bytes(self.repo) == before

    @precondition(lambda self: self.live)
    @rule(data=st.data(), reopen=st.booleans())
    def dedup(self, data: st.DataObject, reopen: bool) -> None:
        if reopen:
            self.repo = mvs.open(self.repo.root)
        self.repo.dedup(data.draw(st.sampled_from(sorted(self.live))))

    @precondition(lambda self: self.live)
    @rule(data=st.data())
    def undo(self, data: st.DataObject) -> None:
        tag = data.draw(st.sampled_from(sorted(self.live)))
        self.repo.undo_dedup(tag)
        for file in self.repo.get(tag).files:
            assert families.loose_path(self.repo, file.blob).exists()

    @precondition(lambda self: self.live)
    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        tag = data.draw(st.sampled_from(sorted(self.live)))
        self.repo.delete(tag)
        self.deleted[tag] = self.live.pop(tag)

    @precondition(lambda self: self.deleted)
    @rule(data=st.data())
    def restore(self, data: st.DataObject) -> None:
        tag = data.draw(st.sampled_from(sorted(self.deleted)))
        self.repo.restore(tag)
        self.live[tag] = self.deleted.pop(tag)

    @invariant()
    def everything_reads_back(self) -> None:
        check(self.repo, self.live)

    @invariant()
    def nothing_is_made_of_itself_or_leans_too_deep(self) -> None:
        check_graph(self.repo, MAX_DEPTH)


def run(examples: int, steps: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        # Tensors of several pieces, without their megabytes.
        patch.setattr(pieces, "BLOCK", BLOCK)
        run_state_machine_as_test(
            DedupMachine,
            settings=settings(
                max_examples=examples,
                stateful_step_count=steps,
                deadline=None,
                suppress_health_check=[HealthCheck.too_slow],
            ),
        )


def test_in_any_order_everything_reads_back() -> None:
    """Two objects that are each made of the other are both lost."""
    run(examples=8, steps=12)


@pytest.mark.deep
def test_in_any_long_order_everything_reads_back() -> None:
    run(examples=300, steps=40)


@pytest.fixture
def repo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> mvs.Repository:
    monkeypatch.setattr(pieces, "BLOCK", BLOCK)
    return quick(tmp_path / "repo")


def in_order(repo: mvs.Repository, steps: list[str]) -> None:
    """Save these contents in order, and pack them in the reverse order, each alone."""
    expected = {f"{number}:v1": CONTENTS[content] for number, content in enumerate(steps)}
    for tag, data in expected.items():
        save(repo, tag, data)
    for tag in reversed(expected):
        repo.dedup(tag)
        check(repo, expected)
        check_graph(repo, MAX_DEPTH)
    assert families.loose_files(repo) == []


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (first, second)
        for first in CONTENTS
        for second in ("same with one more", "one", "only its largest", "outer")
        if first != second
    ],
)
def test_a_base_that_is_packed_after_what_leans_on_it_leans_on_nothing(
    repo: mvs.Repository, first: str, second: str
) -> None:
    in_order(repo, [first, second])


def test_a_file_that_is_also_a_tensor_does_not_come_to_lean_on_what_leans_on_it(repo: mvs.Repository) -> None:
    """It is packed in passing, by the file that holds it."""
    in_order(repo, ["inner", "base", "outer"])
    in_order_of_names = {f"x{number}:v1": CONTENTS[name] for number, name in enumerate(["inner", "next", "outer"])}
    for tag, data in in_order_of_names.items():
        save(repo, tag, data)
    repo.dedup()
    check(repo, in_order_of_names)
    check_graph(repo, MAX_DEPTH)


def test_what_is_leaned_on_does_not_take_the_records_that_another_made_of_its_tensors(repo: mvs.Repository) -> None:
    """The tensor is a difference from the very file that is packed next."""
    expected = {"x:v1": CONTENTS["another part"], "y:v1": INNER}
    save(repo, "x:v1", expected["x:v1"])
    save(repo, "y:v1", expected["y:v1"], parents=["x:v1"])
    save(repo, "z:v1", CONTENTS["same with one more"], parents=["y:v1"])
    expected["z:v1"] = CONTENTS["same with one more"]
    repo.dedup("y:v1")
    # The file is now younger than what leans on it.
    save(repo, "x:v2", expected["x:v1"], parents=["z:v1"])
    repo.delete("x:v1")
    expected["x:v2"] = expected.pop("x:v1")
    repo.dedup()
    check(repo, expected)
    check_graph(repo, MAX_DEPTH)


def test_what_others_packed_since_a_plan_was_made_is_known_when_it_is_run(repo: mvs.Repository) -> None:
    save(repo, "x:v1", CONTENTS["same with one more"])
    save(repo, "y:v1", CONTENTS["base"])
    plan = repo.plan_dedup("x:v1")
    mvs.open(repo.root).dedup("y:v1")
    repo.dedup(plan=plan)
    check(repo, {"x:v1": CONTENTS["same with one more"], "y:v1": CONTENTS["base"]})
    check_graph(repo, MAX_DEPTH)
