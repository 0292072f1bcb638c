"""A plan says what would be done, changes nothing, and outlives what happens before it is run."""

from pathlib import Path

import pytest

import mvs
from mvs.errors import InvalidInput, NameNotFound, VersionNotFound
from mvs.ops.dedup.plan import Plan
from tests.codecs.cut import samples
from tests.ops.dedup import families
from tests.ops.dedup.families import (
    check,
    loose_files,
    loose_path,
    model,
    pack_bytes,
    pack_files,
    quick,
    safetensors,
    save,
    tuned,
)

BASE = model()
TUNED = tuned(BASE)


@pytest.fixture
def repo(tmp_path: Path) -> mvs.Repository:
    return quick(tmp_path / "repo")


def planned(plan: Plan) -> list[str]:
    return [str(item.tag) for item in plan.items]


def snapshot(repo: mvs.Repository) -> dict[str, bytes]:
    """All of the store but what is derived, and locks."""
    return {
        path: data
        for path, data in families.as_files(repo.store).items()
        if not path.startswith("cache/") and path not in ("lock", "packing")
    }


def test_a_plan_changes_nothing(repo: mvs.Repository) -> None:
    save(repo, "bert:v1", safetensors(BASE))
    save(repo, "bert:v2", safetensors(TUNED))
    before = snapshot(repo)
    plan = repo.plan_dedup()
    assert snapshot(repo) == before
    assert planned(plan) == ["bert:v1", "bert:v2"]
    assert plan.size == len(safetensors(BASE)) + len(safetensors(TUNED))
    assert (plan.kept, plan.done) == (0, 0)


def test_the_estimate_is_near_what_comes_out(repo: mvs.Repository) -> None:
    """A night's work is decided on it."""
    save(repo, "base:v1", safetensors(BASE))
    save(repo, "tuned:v1", safetensors(TUNED))
    save(repo, "tuned:v2", safetensors(tuned(BASE, 2, step=3e-5)))
    save(repo, "frozen:v1", safetensors(tuned(BASE, 3, only="layers.0")))
    save(repo, "quantised:v1", {"model.gguf": families.gguf_q8(BASE)})
    save(repo, "other:v1", {"text.txt": b"".join(b"line %d\n" % number for number in range(20_000))})
    plan = repo.plan_dedup()
    for item in plan.items:
        before = pack_bytes(repo)
        repo.dedup(item.tag)
        stored = pack_bytes(repo) - before
        # Of what costs next to nothing, next to nothing is to be said.
        slack = 0.01 * item.size
        assert item.estimate / 1.3 - slack <= stored <= item.estimate * 1.3 + slack, f"{item.tag}: {item.estimate}"
    assert plan.estimate / 1.3 <= pack_bytes(repo) <= plan.estimate * 1.3


def test_a_bare_name_stands_for_all_its_versions(repo: mvs.Repository) -> None:
    save(repo, "bert:v1", safetensors(BASE))
    save(repo, "bert:v2", safetensors(TUNED))
    save(repo, "gpt:v1", b"else")
    assert planned(repo.plan_dedup("bert")) == ["bert:v1", "bert:v2"]
    assert planned(repo.plan_dedup("bert:latest", "gpt")) == ["bert:v2", "gpt:v1"]


def test_a_file_that_several_versions_have_is_planned_once(repo: mvs.Repository) -> None:
    save(repo, "bert:v1", {"a": b"same", "b": b"same"})
    save(repo, "bert:v2", {"c": b"same"})
    assert len(repo.plan_dedup().items) == 1


@pytest.mark.parametrize(("spec", "error"), [("gpt", NameNotFound), ("bert:v9", VersionNotFound)])
def test_an_unknown_spec_is_told_before_anything_is_done(
    repo: mvs.Repository, spec: str, error: type[Exception]
) -> None:
    save(repo, "bert:v1", safetensors(BASE))
    with pytest.raises(error, match=spec):
        repo.dedup("bert:v1", spec)
    with pytest.raises(error, match=spec):
        repo.undo_dedup("bert:v1", spec)
    assert pack_files(repo) == []


def test_latest_versions_are_kept_loose_when_asked_for(repo: mvs.Repository) -> None:
    """What is being trained and served is to be read at once."""
    shared = {"vocab.txt": b"a\nb\n"}
    save(repo, "bert:v1", {"model.safetensors": safetensors(BASE), **shared})
    save(repo, "bert:v2", {"model.safetensors": safetensors(TUNED), **shared})
    save(repo, "gpt:v1", b"only one")
    plan = repo.plan_dedup(keep_loose=["latest"])
    assert planned(plan) == ["bert:v1"]
    assert plan.kept == sum(repo.get(spec).size for spec in ("bert", "gpt"))
    repo.dedup(plan=plan)
    assert {path.name for path in loose_files(repo)} == {
        file.blob[2:] for spec in ("bert", "gpt") for file in repo.get(spec).files
    }


def test_what_an_alias_points_at_is_kept_loose_when_asked_for(repo: mvs.Repository) -> None:
    save(repo, "bert:v1", safetensors(BASE))
    save(repo, "bert:v2", safetensors(TUNED))
    ref = repo.store / "refs" / "tags" / "bert" / "@v1"
    alias = repo.store / "refs" / "aliases" / "bert" / "@prod"
    alias.parent.mkdir(parents=True)
    alias.write_bytes(ref.read_bytes())
    assert planned(repo.plan_dedup(keep_loose=["aliased"])) == ["bert:v2"]
    assert planned(repo.plan_dedup(keep_loose=["aliased", "latest"])) == []
    assert planned(repo.plan_dedup()) == ["bert:v1", "bert:v2"]


def test_only_what_is_known_can_be_kept_loose(repo: mvs.Repository) -> None:
    with pytest.raises(InvalidInput, match=r"'newest'.*aliased, latest"):
        repo.dedup(keep_loose=["newest"])


def test_since_last_looks_only_at_what_is_new(repo: mvs.Repository) -> None:
    save(repo, "bert:v1", safetensors(BASE))
    assert planned(repo.plan_dedup(since_last=True)) == ["bert:v1"]
    repo.dedup()
    repo.undo_dedup()
    save(repo, "bert:v2", safetensors(TUNED))
    assert planned(repo.plan_dedup(since_last=True)) == ["bert:v2"]
    assert planned(repo.plan_dedup()) == ["bert:v1", "bert:v2"]
    repo.dedup(since_last=True)
    assert planned(repo.plan_dedup(since_last=True)) == []


def test_since_last_forgets_no_version_that_was_not_chosen(repo: mvs.Repository) -> None:
    """A dedup of one version has not looked at the others."""
    save(repo, "bert:v1", safetensors(BASE))
    save(repo, "bert:v2", safetensors(TUNED))
    repo.dedup("bert:v2")
    assert planned(repo.plan_dedup(since_last=True)) == ["bert:v1"]


def damage(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.chmod(0o644)
    path.write_bytes(data)
    path.chmod(0o444)


def test_a_damaged_file_stays_as_it_is_and_the_rest_is_packed(repo: mvs.Repository) -> None:
    """Packing damage would make it look whole."""
    blob = save(repo, "bert:v1", safetensors(BASE)).files[0].blob
    expected = {"bert:v2": safetensors(TUNED), "gpt:v1": b"something else"}
    for tag, data in expected.items():
        save(repo, tag, data)
    damage(loose_path(repo, blob))
    left = loose_path(repo, blob).read_bytes()
    result = repo.dedup()
    assert len(result.skipped) == 1
    assert "'model.safetensors' of 'bert:v1' stays as it is" in result.skipped[0]
    assert result.blobs == 2
    assert loose_files(repo) == [loose_path(repo, blob)]
    assert left == loose_path(repo, blob).read_bytes()
    # Once it is mended, nothing has come to rely on the damage.
    loose_path(repo, blob).unlink()
    loose_path(repo, blob).write_bytes(safetensors(BASE))
    check(repo, {"bert:v1": safetensors(BASE), **expected})
    assert repo.dedup().blobs == 1
    check(repo, {"bert:v1": safetensors(BASE), **expected})


def test_nothing_comes_to_lean_on_a_damaged_file_that_is_not_packed(repo: mvs.Repository) -> None:
    blob = save(repo, "bert:v1", safetensors(BASE)).files[0].blob
    save(repo, "bert:v2", safetensors(TUNED))
    damage(loose_path(repo, blob))
    assert repo.dedup("bert:v2").skipped == []
    loose_path(repo, blob).unlink()
    check(repo, {"bert:v2": safetensors(TUNED)})


def test_a_loose_file_outlives_the_damage_of_its_pack(repo: mvs.Repository) -> None:
    """What is whole must not go because something damaged bears its name."""
    save(repo, "bert:v1", safetensors(BASE))
    repo.dedup()
    repo.undo_dedup()
    damage(pack_files(repo)[0])
    result = mvs.open(repo.root).dedup()
    assert result.blobs == 0
    assert "is damaged" in result.skipped[0]
    check(repo, {"bert:v1": safetensors(BASE)})


def test_what_shares_tensors_with_a_damaged_pack_is_not_given_to_it(repo: mvs.Repository) -> None:
    save(repo, "bert:v1", safetensors(BASE))
    repo.dedup()
    damage(pack_files(repo)[0])
    shared = safetensors({**BASE, "more": TUNED["norm.weight"]})
    save(repo, "bert:v2", shared)
    save(repo, "gpt:v1", {"vocab.txt": b"a\nb\n"})
    mvs.open(repo.root).dedup()
    check(repo, {"bert:v2": shared, "gpt:v1": {"vocab.txt": b"a\nb\n"}})


def test_a_file_that_vanished_since_the_plan_is_left_out(repo: mvs.Repository) -> None:
    blob = save(repo, "bert:v1", safetensors(BASE)).files[0].blob
    save(repo, "bert:v2", safetensors(TUNED))
    plan = repo.plan_dedup()
    loose_path(repo, blob).unlink()
    result = repo.dedup(plan=plan)
    assert len(result.skipped) == 1
    assert f"object {blob} is not in the store" in result.skipped[0]
    check(repo, {"bert:v2": safetensors(TUNED)})
    assert loose_files(repo) == []


def test_what_was_packed_since_the_plan_is_not_packed_again(repo: mvs.Repository) -> None:
    save(repo, "bert:v1", safetensors(BASE))
    plan = repo.plan_dedup()
    mvs.open(repo.root).dedup()
    packs = pack_files(repo)
    repo.dedup(plan=plan)
    assert pack_files(repo) == packs
    check(repo, {"bert:v1": safetensors(BASE)})


def test_what_was_deleted_since_the_plan_can_be_restored(repo: mvs.Repository) -> None:
    save(repo, "bert:v1", safetensors(BASE))
    plan = repo.plan_dedup()
    repo.delete("bert:v1")
    repo.dedup(plan=plan)
    repo.restore("bert:v1")
    check(repo, {"bert:v1": safetensors(BASE)})


def test_undo_of_what_was_never_packed_does_nothing(repo: mvs.Repository) -> None:
    save(repo, "bert:v1", safetensors(BASE))
    before = snapshot(repo)
    assert repo.undo_dedup("bert") == 0
    assert snapshot(repo) == before


def test_result_and_disk_agree(repo: mvs.Repository) -> None:
    """The figures are what a user decides by."""
    save(repo, "bert:v1", safetensors(BASE))
    save(repo, "bert:v2", {"model.safetensors": safetensors(TUNED), "zeros.bin": samples.safetensors({}, bytes(9999))})
    plan = repo.plan_dedup()
    result = repo.dedup(plan=plan)
    assert result.packed == result.freed == plan.size
    assert result.stored == pack_bytes(repo)
    assert result.blobs == 3
    assert sum(stored for _, stored in result.encodings.values()) < result.stored
    assert result.encodings.keys() <= {"raw", "fill", "zstd", "planes", "delta", "derive", "concat"}
    assert sum(plain for plain, _ in result.encodings.values()) <= plan.size
