"""Lineage: who was made from whom, across names, deletions and whatever a hostile manifest says."""

import math
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import mvs
from mvs.cli.family import draw
from mvs.errors import NameNotFound, VersionNotFound
from mvs.format.ids import ObjectId
from mvs.format.lines.refs import Ref
from mvs.format.manifest import FileEntry, Manifest, Tree
from mvs.format.names import Tag
from mvs.handles.version import Relative
from mvs.store.store import Store

Save = Callable[..., mvs.Version]


@pytest.fixture
def save(repo: mvs.Repository, folder: Path) -> Save:
    def saved(tag: str, *parents: str) -> mvs.Version:
        return repo.save(folder, tag, parents=parents)

    return saved


@pytest.fixture
def family(repo: mvs.Repository, save: Save) -> mvs.Repository:
    save("base:v1")
    save("bert:v1", "base:v1")
    save("bert:v2", "bert:v1", "base:v1")
    save("bert:v3", "bert:v2")
    save("tuned:v1", "bert:v1")
    save("other:v1")
    return repo


def tags(versions: list[mvs.Version]) -> list[str]:
    return [str(version.tag) for version in versions]


def drawn(repo: mvs.Repository, spec: str) -> list[str]:
    return list(draw(repo.lineage(spec)))


def test_ancestors_and_descendants_come_nearest_first(family: mvs.Repository) -> None:
    assert tags(family.ancestors("bert:v3")) == ["bert:v2", "bert:v1", "base:v1"]
    assert tags(family.descendants("base:v1")) == ["bert:v1", "bert:v2", "tuned:v1", "bert:v3"]
    assert tags(family.descendants("bert:v2")) == ["bert:v3"]
    assert family.ancestors("base:v1") == family.descendants("other:v1") == []
    with pytest.raises(VersionNotFound):
        family.ancestors("bert:v9")
    with pytest.raises(NameNotFound):
        family.lineage("nothing")


def test_the_tree_is_drawn_with_parents_above_children(family: mvs.Repository) -> None:
    family.alias("bert@prod", "bert:v2")
    assert drawn(family, "bert") == [
        "* base:v1",
        "* bert:v1",
        "|-* tuned:v1",
        "* bert:v2 @prod (also from base:v1)",
        "* bert:v3",
    ]
    assert drawn(family, "tuned") == ["* base:v1", "* bert:v1", "* tuned:v1"]
    assert drawn(family, "other:v1") == ["* other:v1"]


def test_versions_without_a_common_ancestor_are_trees_of_their_own(repo: mvs.Repository, save: Save) -> None:
    for tag, parents in (("bert:v1", []), ("bert:v2", []), ("bert:v3", ["bert:v1"])):
        save(tag, *parents)
    assert drawn(repo, "bert") == ["* bert:v1", "* bert:v3", "", "* bert:v2"]


def test_what_was_deleted_is_shown_as_such_as_long_as_it_is_known(family: mvs.Repository) -> None:
    deleted = family.get("bert:v1")
    family.delete("bert:v1")
    assert drawn(family, "bert") == [
        "* base:v1",
        "* bert:v1 (deleted)",
        "* bert:v2 (also from base:v1)",
        "* bert:v3",
    ]
    assert tags(family.ancestors("bert:v3")) == ["bert:v2", "base:v1"]
    assert tags(family.descendants("base:v1")) == ["bert:v2", "tuned:v1", "bert:v3"]
    family.gc(expire="now")
    assert drawn(family, "tuned") == [f"* {deleted.id[:12]} (missing)", "* tuned:v1"]
    assert [kin.to_dict()["state"] for kin in family.lineage("tuned")] == ["missing", "there"]
    assert tags(family.ancestors("tuned:v1")) == []


def test_a_tag_that_was_used_again_is_not_the_parent_it_was(family: mvs.Repository, folder: Path) -> None:
    family.delete("bert:v1")
    (folder / "weights.bin").write_bytes(b"other")
    family.save(folder, "bert:v1", reuse_tag=True)
    assert drawn(family, "tuned") == ["* base:v1", "* bert:v1 (deleted)", "* tuned:v1"]
    assert family.descendants("bert:v1") == []


def test_a_damaged_version_does_not_hide_the_others(family: mvs.Repository) -> None:
    id = family.get("bert:v3").id
    (family.store / "objects" / id[:2] / id[2:]).unlink()
    assert tags(family.descendants("base:v1")) == ["bert:v1", "bert:v2", "tuned:v1"]


def test_parents_that_are_no_manifests_are_missing(repo: mvs.Repository, store: Store, folder: Path) -> None:
    """A manifest from elsewhere may name anything a parent: a blob, nothing, the same again and again."""
    saved = repo.save(folder, "bert:v1")
    blob = ObjectId.from_hex(saved.files[0].blob)
    parents = (blob, ObjectId(b"\0" * 32), blob, *(ObjectId.of(str(n).encode()) for n in range(1000)))
    adding = store.adding()
    tree = Tree.of([FileEntry("x", 1, adding.put(b"x"))], [])
    manifest = Manifest(Tag("evil", "v1"), 1, tree, tree.id, {}, {}, {}, parents, "")
    store.refs.prepare(Ref(manifest.tag, adding.put(manifest.encode()), 1), newest=True).commit()
    family = repo.lineage("evil")
    assert [kin.state for kin in family] == ["missing"] * 1002 + ["there"]
    assert repo.ancestors("evil") == []
    assert sum("evil:v1" in line for line in draw(family)) == 1


def related(parents: list[list[int]]) -> list[Relative]:
    return [
        Relative(str(number), Tag("m", str(number)), "there", None, tuple(map(str, above)), ())
        for number, above in enumerate(parents)
    ]


def depth(line: str) -> int:
    return line.index("*") // 2


@given(st.lists(st.lists(st.integers(0, 60), max_size=3), max_size=60))
def test_any_family_is_drawn_once_each_and_no_wider_than_a_terminal(parents: list[list[int]]) -> None:
    """Whatever parents a version names, itself and unborn ones included."""
    lines = [line for line in draw(related(parents)) if line]
    assert sorted(int(line.partition("m:")[2].partition(" ")[0]) for line in lines) == list(range(len(parents)))
    assert max(map(depth, lines), default=0) <= math.log2(len(parents) + 1)


@pytest.mark.parametrize("shape", ["chain", "comb", "star"])
def test_long_families_are_drawn_in_little_space(shape: str) -> None:
    """Ten thousand checkpoints in a row must not be ten thousand columns wide, nor nest as many calls."""
    count = 10_000
    parents: dict[str, Callable[[int], list[int]]] = {
        "chain": lambda n: [n - 1] if n else [],
        "comb": lambda n: [n - 1 - (n + 1) % 2] if n else [],
        "star": lambda n: [0] if n else [],
    }
    lines = list(draw(related([parents[shape](number) for number in range(count)])))
    assert len(lines) == count
    assert max(map(depth, lines)) <= 1
