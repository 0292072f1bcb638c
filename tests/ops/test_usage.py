"""What versions take: exclusive bytes are those that nothing else needs, counted in one pass."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from hypothesis import given, settings
from hypothesis import strategies as st

import mvs
from mvs.format.ids import ObjectId
from mvs.ops.gc import marking
from mvs.store.store import Store
from tests.ops.dedup.families import model, quick, safetensors, save, tuned
from tests.ops.gc.stores import CONTENTS, worked


@pytest.fixture(scope="module")
def various(tmp_path_factory: pytest.TempPathFactory) -> mvs.Repository:
    """Loose files, packs, deltas whose base was deleted, files that versions share, an alias and deleted versions."""
    repo = worked(tmp_path_factory.mktemp("various") / "repo")
    save(repo, "tuned:v3", {**CONTENTS["tuned twice"], "more.txt": b"more"})
    save(repo, "text:v3", CONTENTS["text"])
    save(repo, "lone:v1", {"weights.safetensors": safetensors(tuned(model(20, {"a": (64, 64)})))}, dedup=True)
    return repo


def needed(repo: mvs.Repository, versions: set[str]) -> dict[ObjectId, int]:
    """Return what some versions need, with its size, by walking from each: slow, and plain to see."""
    store = Store(repo.store)
    found: dict[ObjectId, int] = {}
    for tag in versions:
        version = repo.get(tag)
        pending = [ObjectId.from_hex(id) for id in (version.id, *(file.blob for file in version.files))]
        while pending:
            id = pending.pop()
            if store.objects.is_loose(id):
                found[id] = store.objects.size(id)
            else:
                place = store.objects.packs.place(id)
                assert place is not None
                found[id] = place[1].length
                pending += [part.id for part in place[1].refs]
    return found


def only(repo: mvs.Repository, versions: set[str]) -> int:
    """Return the bytes that only these versions need."""
    others = needed(repo, {str(version.tag) for version in repo.list()} - versions)
    return sum(size for id, size in needed(repo, versions).items() if id not in others)


def test_exclusive_bytes_are_those_that_no_other_version_needs(various: mvs.Repository) -> None:
    total = various.du()
    assert {str(v.tag): v.exclusive for v in total.versions} == {
        str(v.tag): only(various, {str(v.tag)}) for v in total.versions
    }
    of_name = {name.name: {str(v.tag) for v in total.versions if v.tag.name == name.name} for name in total.names}
    assert {name.name: name.exclusive for name in total.names} == {
        name: only(various, tags) for name, tags in of_name.items()
    }
    assert total.exclusive == only(various, {str(v.tag) for v in total.versions})
    # Some of each kind: of a version's own, shared within a name, shared with others.
    own = {name: sum(v.exclusive or 0 for v in total.versions if v.tag.name == name) for name in of_name}
    assert any(name.exclusive > own[name.name] for name in total.names)
    assert total.exclusive > sum(name.exclusive for name in total.names)


@settings(max_examples=20, deadline=None)
@given(st.data())
def test_of_versions_that_are_chosen_the_others_count_as_others(various: mvs.Repository, data: st.DataObject) -> None:
    chosen = data.draw(st.sets(st.sampled_from([str(version.tag) for version in various.list()]), min_size=1))
    total = various.du(*chosen)
    assert total.exclusive == only(various, chosen)
    for name in total.names:
        assert name.exclusive == only(various, {tag for tag in chosen if tag.startswith(f"{name.name}:")})
        assert name.versions == sum(tag.startswith(f"{name.name}:") for tag in chosen)


def test_what_an_alias_or_a_pin_needs_is_not_exclusive(tmp_path: Path) -> None:
    for name in ("one", "two"):
        mvs.init(tmp_path / name, store=tmp_path / "shared")
    one, two = mvs.open(tmp_path / "one"), mvs.open(tmp_path / "two")
    for version in ("v1", "v2", "v3", "v4"):
        save(one, f"same:{version}", {"file": b"the same"})
    one.alias("same@old", "same:v1")
    two.pin("same:v2", to=tmp_path / "two" / "here")
    one.delete("same:v1", "same:v2", "same:v4", force=True)
    (left,) = one.du().versions
    assert left.exclusive == only(one, {"same:v3"}) - len(b"the same")
    one.delete_alias("same@old")
    two.unpin("same")
    (left,) = one.du().versions
    assert left.exclusive == only(one, {"same:v3"})


def test_a_name_holds_what_its_versions_share_once(tmp_path: Path) -> None:
    repo = quick(tmp_path / "repo")
    for version in ("v1", "v2"):
        save(repo, f"net:{version}", {"weights": b"x" * 1000, "version": version.encode()})
    (name,) = repo.du().names
    assert (name.size, name.stored) == (2004, 1004)


def test_what_gc_would_give_back_now_is_told_of_the_whole_store(tmp_path: Path) -> None:
    repo = worked(tmp_path / "repo")
    total = repo.du()
    planned = repo.plan_gc()
    assert (total.collectable, total.held) == (planned.freed, planned.held)
    assert total.held
    repo.gc(expire="now")
    after = repo.du()
    assert (after.collectable, after.held) == (0, 0)
    assert repo.du("text").collectable is None


def test_a_damaged_version_is_told_and_the_others_are_not(tmp_path: Path) -> None:
    repo = quick(tmp_path / "repo")
    save(repo, "net:v1", {"weights": b"one"})
    id = save(repo, "net:v2", {"weights": b"two"}).id
    (repo.store / "objects" / id[:2] / id[2:]).unlink()
    total = repo.du()
    assert [str(version.tag) for version in total.versions] == ["net:v1"]
    assert total.versions[0].exclusive == only(repo, {"net:v1"})
    assert total.collectable is None


def test_each_object_is_looked_at_a_few_times_however_many_versions_need_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hundred thousand checkpoints of one base must not each be followed through it."""
    repo = quick(tmp_path / "repo")
    looked: list[ObjectId] = []
    of = marking.Places.of

    def counted(places: marking.Places, name: ObjectId) -> object:
        looked.append(name)
        return of(places, name)

    monkeypatch.setattr(marking.Places, "of", counted)
    shared = {f"part-{number}": str(number).encode() for number in range(30)}
    for version in range(20):
        save(repo, f"net-{version % 3}:v{version}", shared)
    repo.du()
    objects = 30 + 20
    assert len(set(looked)) == objects
    assert len(looked) <= 3 * objects


def test_what_is_exclusive_is_not_looked_for_unless_it_is_asked(tmp_path: Path) -> None:
    repo = quick(tmp_path / "repo")
    save(repo, "net:v1", {"weights": b"x" * 1000}, dedup=True)
    total = repo.du("net:v1", exclusive=False)
    assert total.versions[0].exclusive is None
    assert total.names == ()
    assert "exclusive" not in total.versions[0].to_dict()


def test_the_command_tells_it_by_version_and_by_name(cli: Callable[..., Result], folder: Path) -> None:
    for version in ("v1", "v2"):
        (folder / "weights.bin").write_bytes(version.encode() * 1000)
        cli("save", folder, f"bert:{version}")
    cli("delete", "bert:v1", "-y")
    (header, row) = cli("du").stdout.splitlines()
    assert header.split() == ["TAG", "SIZE", "STORED", "EXCLUSIVE", "SHARE", "AS", "BASE"]
    assert row.split()[:3] == ["bert:v2", "2.0", "kB"]
    header, row = cli("du", "--by-name").stdout.splitlines()
    assert header.split() == ["NAME", "VERSIONS", "SIZE", "STORED", "EXCLUSIVE", "SHARE"]
    assert row.split()[:2] == ["bert", "1"]
    told = cli("du")
    assert "mvs gc --expire now" in told.stderr
    facts = json.loads(cli("du", "--json").stdout)
    assert set(facts) == {"versions", "names", "size", "stored", "exclusive", "collectable", "held"}
    assert set(facts["names"][0]) == {"name", "versions", "size", "stored", "exclusive"}
    assert facts["collectable"] == 0 < facts["held"]
    assert facts["versions"][0]["exclusive"] == facts["names"][0]["exclusive"] == facts["exclusive"]
