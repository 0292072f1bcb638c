"""Deletion removes exactly what was asked for, and can be taken back."""

import os
from itertools import count
from pathlib import Path

import pytest

import mvs
from mvs.errors import MissingObject, NameNotFound, NeedsAll, NotFound, TagExists, TagTaken, VersionNotFound
from mvs.format.names import Spec, Tag
from mvs.ops.refs.delete import delete, plan
from mvs.ops.saving.save import Request, save
from mvs.ops.saving.walk import walk
from mvs.running.progress import Silent
from mvs.store.store import Store


@pytest.fixture
def three(repo: mvs.Repository, folder: Path) -> list[mvs.Version]:
    return [repo.save(folder, f"bert:v{number}") for number in (1, 2, 3)]


def left(repo: mvs.Repository) -> list[str]:
    return [version.version for version in repo.list()]


@pytest.mark.usefixtures("three")
def test_several_specs_of_any_form_are_deleted_in_the_order_given(repo: mvs.Repository) -> None:
    gone = repo.delete("bert:v1", "bert:latest", "bert:v3")
    assert gone == [Tag("bert", "v1"), Tag("bert", "v3")]
    assert left(repo) == ["v2"]


@pytest.mark.usefixtures("three")
def test_latest_is_one_version_and_moves_back(repo: mvs.Repository) -> None:
    for version in ("v3", "v2", "v1"):
        assert repo.get("bert").version == version
        assert repo.delete("bert:latest") == [Tag("bert", version)]
    with pytest.raises(NameNotFound):
        repo.get("bert")


@pytest.mark.usefixtures("three")
def test_deleting_an_older_version_leaves_latest(repo: mvs.Repository) -> None:
    repo.delete("bert:v2")
    assert repo.get("bert").version == "v3"
    assert repo.get("bert:latest~1").version == "v1"


@pytest.mark.usefixtures("three")
def test_a_bare_name_is_refused_unless_all_versions_are_asked_for(repo: mvs.Repository) -> None:
    with pytest.raises(NeedsAll, match="'bert'") as caught:
        repo.delete("bert")
    assert caught.value.hint == "mvs delete bert --all"
    assert left(repo) == ["v3", "v2", "v1"]
    assert repo.delete("bert", all_versions=True) == [Tag("bert", v) for v in ("v3", "v2", "v1")]
    assert repo.list() == []


@pytest.mark.usefixtures("three")
def test_all_versions_does_not_widen_a_full_tag(repo: mvs.Repository) -> None:
    repo.delete("bert:v1", all_versions=True)
    assert left(repo) == ["v3", "v2"]


@pytest.mark.usefixtures("three")
def test_all_of_a_name_leaves_the_names_below_it(repo: mvs.Repository, folder: Path) -> None:
    inner = repo.save(folder, "bert/tiny:v1")
    repo.delete("bert", all_versions=True)
    assert repo.list() == [inner]


@pytest.mark.usefixtures("three")
@pytest.mark.parametrize("unknown", ["bert:v9", "gpt:v1", "bert:x*", "bert@prod", "gpt"])
def test_nothing_is_deleted_when_one_spec_is_unknown(repo: mvs.Repository, unknown: str) -> None:
    with pytest.raises(NotFound):
        repo.delete("bert:v1", unknown, "bert:v2", all_versions=True)
    assert left(repo) == ["v3", "v2", "v1"]


def test_a_version_and_a_tag_are_specs(repo: mvs.Repository, three: list[mvs.Version]) -> None:
    assert repo.delete(three[0], three[1].tag) == [three[0].tag, three[1].tag]


@pytest.mark.usefixtures("three")
def test_matching_is_what_would_go_and_deletes_nothing(repo: mvs.Repository) -> None:
    assert repo.matching("bert:v1*", "bert:latest") == [Tag("bert", "v1"), Tag("bert", "v3")]
    assert left(repo) == ["v3", "v2", "v1"]


def test_a_version_whose_manifest_is_lost_can_be_deleted(repo: mvs.Repository, three: list[mvs.Version]) -> None:
    id = three[1].id
    (repo.store / "objects" / id[:2] / id[2:]).unlink()
    repo.delete("bert:v2")
    assert left(repo) == ["v3", "v1"]


def test_what_was_replaced_since_it_was_planned_is_left_alone(
    repo: mvs.Repository, store: Store, three: list[mvs.Version], folder: Path
) -> None:
    """Between the question and the answer another process may have given the tag other content."""
    doomed = plan(store, [Spec.parse("bert:v1")], all_versions=False)
    repo.delete("bert:v1")
    (folder / "config.json").write_text("{}")
    other = repo.save(folder, "bert:v1", reuse_tag=True)
    assert delete(store, doomed, now=lambda: 1, by="") == []
    assert repo.get("bert:v1") == other


@pytest.mark.usefixtures("three")
def test_restore_gives_back_the_same_version(repo: mvs.Repository, three: list[mvs.Version]) -> None:
    repo.delete("bert", all_versions=True)
    assert repo.restore("bert:v3") == three[2]
    assert repo.restore(Tag("bert", "v1")) == three[0]
    assert repo.get("bert") == three[2]
    assert left(repo) == ["v3", "v1"]


@pytest.mark.usefixtures("three")
def test_restore_of_an_older_version_leaves_latest(repo: mvs.Repository) -> None:
    repo.delete("bert:v1")
    repo.restore("bert:v1")
    assert repo.get("bert").version == "v3"


@pytest.mark.usefixtures("three")
def test_restore_of_what_is_there_or_never_was_is_refused(repo: mvs.Repository) -> None:
    with pytest.raises(TagExists, match="nothing to restore"):
        repo.restore("bert:v1")
    with pytest.raises(VersionNotFound, match="never deleted"):
        repo.restore("bert:v9")


@pytest.mark.usefixtures("three")
def test_restore_is_refused_when_a_file_is_gone(repo: mvs.Repository, three: list[mvs.Version]) -> None:
    """A tag that came back without its bytes would fail only when it is deployed."""
    repo.delete("bert:v1")
    blob = three[0].files[0].blob
    (repo.store / "objects" / blob[:2] / blob[2:]).unlink()
    with pytest.raises(MissingObject, match="'bert:v1' cannot be restored"):
        repo.restore("bert:v1")
    assert left(repo) == ["v3", "v2"]


@pytest.mark.usefixtures("three")
def test_a_deleted_tag_stays_taken(repo: mvs.Repository, folder: Path) -> None:
    """A tag that someone deployed must not quietly come to mean something else."""
    repo.delete("bert:v1")
    (folder / "config.json").write_text("{}")
    with pytest.raises(TagTaken, match="was deleted") as caught:
        repo.save(folder, "bert:v1")
    assert caught.value.hint == "mvs restore bert:v1"
    assert left(repo) == ["v3", "v2"]


@pytest.mark.usefixtures("three")
def test_a_deleted_tag_may_be_saved_again_with_the_same_files(repo: mvs.Repository, folder: Path) -> None:
    repo.delete("bert:v1")
    repo.save(folder, "bert:v1")
    assert left(repo) == ["v1", "v3", "v2"]


@pytest.mark.usefixtures("three")
def test_a_deleted_tag_is_reused_only_on_purpose_and_the_journal_says_so(
    repo: mvs.Repository, store: Store, folder: Path
) -> None:
    repo.delete("bert:v1")
    (folder / "config.json").write_text("{}")
    version = repo.save(folder, "bert:v1", reuse_tag=True)
    assert repo.get("bert:v1").read_bytes("config.json") == b"{}"
    *_, deleted, saved = store.journal.events("bert")
    assert (saved.event, saved.reuse, str(saved.new)) == ("save", True, version.id)
    assert (deleted.event, deleted.reuse) == ("delete", False)


@pytest.mark.usefixtures("three")
def test_restore_brings_back_what_the_tag_meant_last(repo: mvs.Repository, folder: Path) -> None:
    repo.delete("bert:v1")
    (folder / "config.json").write_text("{}")
    again = repo.save(folder, "bert:v1", reuse_tag=True)
    repo.delete("bert:v1")
    assert repo.restore("bert:v1") == again


def test_a_thousand_versions_cost_a_thousand_times_one(
    repo: mvs.Repository, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A delete that reads all refs for each ref takes minutes where it should take a second."""
    store, clock = Store(repo.store, durable=False), count(10**18)
    (folder / "weights.bin").unlink()
    found = walk(str(folder))
    with store.session() as session:
        for number in range(1000):
            request = Request(
                name="bert", version=f"v{number}", labels={}, metadata={}, context={}, parents=(), message=""
            )
            save(store, request, found, "copy", session, now=lambda: next(clock), by="", progress=Silent())

    opened: list[object] = []
    real = os.open

    def counted(path: str, *rest: int, **named: int) -> int:
        opened.append(path)
        return real(path, *rest, **named)

    monkeypatch.setattr(os, "open", counted)
    repo.delete(*(f"bert:v{number}" for number in range(1000)))
    monkeypatch.undo()

    assert repo.list() == []
    # Each ref is read when it is found and under the lock, each manifest once.
    assert len(opened) < 4 * 1000
