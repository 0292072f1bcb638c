"""What to push and to pull is chosen by the same expressions as what to list."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import Result

import mvs
from mvs.errors import NameNotFound, QueryError
from mvs.format.ids import ObjectId
from mvs.ops.transfer import matching
from mvs.query.parse import parse
from mvs.store.remote.remote import Remote
from tests.ops.dedup.families import quick


@pytest.fixture
def url(tmp_path: Path) -> str:
    return str(tmp_path / "remote")


@pytest.fixture
def ours(tmp_path: Path, url: str) -> mvs.Repository:
    repo = quick(tmp_path / "ours")
    repo.add_remote("origin", url)
    for name in ("bert", "gpt"):
        for number in range(3):
            with repo.create(f"{name}:v{number}", labels={"by": "ada"}, metadata={"loss": number}) as draft:
                (draft.path / "weights.bin").write_bytes(f"{name}{number}".encode())
    return repo


@pytest.fixture
def theirs(tmp_path: Path, url: str, ours: mvs.Repository) -> mvs.Repository:
    ours.push()
    repo = quick(tmp_path / "theirs")
    repo.add_remote("origin", url)
    return repo


def tags(repo: mvs.Repository) -> list[str]:
    return sorted(str(version.tag) for version in repo.list())


def test_a_push_takes_what_an_expression_is_true_of(ours: mvs.Repository) -> None:
    ours.label("gpt:v0", {"by": "bob"})
    ours.push("gpt", where="labels.by = 'ada' and metadata.loss < 2")
    assert [str(version.tag) for version in ours.remote().list()] == ["gpt:v1"]
    assert ours.plan_push(where="metadata.loss = 0").size == len(b"bert0gpt0")
    ours.push(where="metadata.loss = 7")
    assert len(ours.remote().list()) == 1


def test_a_pull_brings_what_an_expression_is_true_of(theirs: mvs.Repository) -> None:
    assert len(theirs.plan_pull(where="metadata.loss > 0").manifests) == 4
    theirs.pull("bert", where="metadata.loss > 0")
    assert tags(theirs) == ["bert:v1", "bert:v2"]
    theirs.pull(where="name = 'gpt' and version in ('v0', 'v1')")
    assert tags(theirs) == ["bert:v1", "bert:v2", "gpt:v0", "gpt:v1"]


def test_what_is_not_understood_moves_nothing(theirs: mvs.Repository, ours: mvs.Repository) -> None:
    for verb in (theirs.pull, ours.push):
        with pytest.raises(QueryError):
            verb(where="metadata.loss >")
        with pytest.raises(NameNotFound):
            verb("nobody", where="metadata.loss > 0")
    assert tags(theirs) == []


def test_labels_and_aliases_are_those_of_the_remote(theirs: mvs.Repository) -> None:
    place: Remote = theirs._remote("origin")
    state = place.log.state()
    id = state.versions["bert:v1"].id
    state = replace(
        state,
        aliases={"bert@prod": id, "gpt@prod": id, "bert@gone": ObjectId.of(b"")},
        notes={"gpt:v2": {"by": "bob"}},
    )
    for text, expected in (
        ("alias = 'prod'", ["bert:v1"]),
        ("alias = 'gone'", []),
        ("labels.by = 'bob'", ["gpt:v2"]),
        ("labels.by = 'ada' and metadata.loss = 2", ["bert:v2"]),
    ):
        where = parse(text, now=0, parent=str)
        assert matching(place, state, sorted(state.versions), where) == expected
        assert matching(place, state, [], where) == []


def test_the_commands_take_an_expression_in_place_of_names(
    cli: Callable[..., Result], url: str, folder: Path, repo: mvs.Repository
) -> None:
    for number in range(2):
        (folder / "weights.bin").write_bytes(bytes(number))
        cli("save", folder, f"bert:v{number}", "--meta", f"loss={number}")
    cli("remote", "add", "origin", url)
    cli("push", code=2)
    cli("push", "--all", "--where", "metadata.loss = 0", "bert", code=2)
    cli("push", "--pinned", "--where", "metadata.loss = 0", code=2)
    assert "sent 1 version" in cli("push", "--where", "metadata.loss = 0").stdout
    cli("push", "--all")
    repo.delete("bert", all_versions=True)
    cli("gc", "--expire", "now")
    assert "would receive 1 version" in cli("pull", "bert", "--where", "metadata.loss = 1", "--dry-run").stdout
    assert "received 1 version" in cli("pull", "--where", "metadata.loss = 1").stdout
    assert [str(version.tag) for version in repo.list()] == ["bert:v1"]
