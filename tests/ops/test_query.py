"""A spec stands for exactly one version or is refused; lists are newest first."""

from collections.abc import Callable
from pathlib import Path

import pytest

import mvs
from mvs.errors import (
    AliasNotFound,
    AmbiguousSpec,
    CorruptRef,
    InvalidTag,
    NameNotFound,
    NotFound,
    VersionNotFound,
)

Saver = Callable[..., list[mvs.Version]]


@pytest.fixture
def save(repo: mvs.Repository, folder: Path) -> Saver:
    def save(*tags: str, labels: dict[str, str] | None = None) -> list[mvs.Version]:
        return [repo.save(folder, tag, labels=labels) for tag in tags]

    return save


def tags(versions: list[mvs.Version]) -> list[str]:
    return [str(version.tag) for version in versions]


@pytest.mark.parametrize("spec", ["bert", "bert:latest", "bert@latest", "bert:latest~0", "bert:v2", "Bert:V2"])
def test_many_specs_for_the_latest_version(repo: mvs.Repository, save: Saver, spec: str) -> None:
    save("bert:v1", "bert:v2", "other:v9")
    assert str(repo.get(spec).tag) == "bert:v2"


def test_latest_is_the_last_saved_and_not_the_last_in_the_alphabet(repo: mvs.Repository, save: Saver) -> None:
    save("bert:z", "bert:a")
    assert str(repo.get("bert").tag) == "bert:a"


@pytest.mark.parametrize(("back", "version"), [(0, "v3"), (1, "v2"), (2, "v1")])
def test_latest_tilde_counts_saves_back(repo: mvs.Repository, save: Saver, back: int, version: str) -> None:
    save("bert:v1", "bert:v2", "bert:v3")
    assert repo.get(f"bert:latest~{back}").version == version


def test_further_back_than_the_first_save_is_nothing(repo: mvs.Repository, save: Saver) -> None:
    save("bert:v1")
    with pytest.raises(VersionNotFound, match="'bert:latest~1'"):
        repo.get("bert:latest~1")


def test_a_bare_prefix_never_matches(repo: mvs.Repository, save: Saver) -> None:
    """`v1` that comes to mean `v10` deploys the wrong model."""
    save("bert:v10")
    with pytest.raises(VersionNotFound, match="'bert:v1'") as caught:
        repo.get("bert:v1")
    assert caught.value.hint == "mvs list bert"


def test_a_star_matches_exactly_one_version(repo: mvs.Repository, save: Saver) -> None:
    save("bert:20261123-a", "bert:20261201-b")
    assert repo.get("bert:202611*").version == "20261123-a"


def test_a_star_matches_the_prefix_itself(repo: mvs.Repository, save: Saver) -> None:
    save("bert:v1")
    assert repo.get("bert:v1*").version == "v1"


def test_a_star_that_matches_several_is_refused_with_all_of_them(repo: mvs.Repository, save: Saver) -> None:
    save("bert:v1", "bert:v10", "bert:v2")
    with pytest.raises(AmbiguousSpec, match="'bert:v10', 'bert:v1'"):
        repo.get("bert:v1*")


def test_a_star_that_matches_none_is_not_found(repo: mvs.Repository, save: Saver) -> None:
    save("bert:v1")
    with pytest.raises(VersionNotFound):
        repo.get("bert:w*")


@pytest.mark.parametrize("spec", ["bert:*", "bert:v*1", "bert:v1**", "bert*", "bert:v1~1", "bert:latest~x", "bert#xyz"])
def test_what_is_no_spec_is_refused(repo: mvs.Repository, save: Saver, spec: str) -> None:
    save("bert:v1")
    with pytest.raises(InvalidTag):
        repo.get(spec)


def test_an_id_prefix_finds_its_version(repo: mvs.Repository, save: Saver) -> None:
    first, _ = save("bert:v1", "bert:v2")
    assert repo.get(f"bert#{first.id}") == first
    assert repo.get(f"bert#{first.id[:16].upper()}") == first


def test_an_id_prefix_of_several_is_refused_with_all_of_them(repo: mvs.Repository, save: Saver) -> None:
    """Seventeen ids cannot all begin with another of sixteen digits."""
    seen: dict[str, mvs.Version] = {}
    for count in range(17):
        (version,) = save(f"bert:v{count}")
        other = seen.setdefault(version.id[0], version)
        if other != version:
            break
    with pytest.raises(AmbiguousSpec) as caught:
        repo.get(f"bert#{version.id[0]}")
    assert f"'{other.tag}'" in caught.value.message
    assert f"'{version.tag}'" in caught.value.message


def test_an_id_of_another_name_is_not_found(repo: mvs.Repository, save: Saver) -> None:
    _, other = save("bert:v1", "gpt:v1")
    with pytest.raises(VersionNotFound):
        repo.get(f"bert#{other.id}")


def point(repo: mvs.Repository, alias: str, version: mvs.Version) -> None:
    """Write an alias as docs/format.md has it."""
    path = repo.store / "refs" / "aliases" / version.name / f"@{alias}"
    path.parent.mkdir(parents=True, exist_ok=True)
    tag = repo.store / "refs" / "tags" / version.name / f"@{version.version}"
    path.write_bytes(tag.read_bytes())


def test_an_alias_is_the_version_it_points_at(repo: mvs.Repository, save: Saver) -> None:
    first, _ = save("acme/bert:v1", "acme/bert:v2")
    point(repo, "prod", first)
    assert repo.get("acme/bert@prod") == first
    assert repo.get("Acme/Bert@Prod") == first


def test_an_alias_is_no_version(repo: mvs.Repository, save: Saver) -> None:
    (version,) = save("bert:v1")
    point(repo, "prod", version)
    with pytest.raises(VersionNotFound):
        repo.get("bert:prod")


def test_an_alias_that_nobody_made_is_not_found(repo: mvs.Repository, save: Saver) -> None:
    save("bert:v1")
    with pytest.raises(AliasNotFound, match="'bert@prod'"):
        repo.get("bert@prod")


def test_an_alias_of_a_deleted_version_says_how_to_get_it_back(repo: mvs.Repository, save: Saver) -> None:
    first, _ = save("bert:v1", "bert:v2")
    point(repo, "prod", first)
    repo.delete("bert:v1", force=True)
    with pytest.raises(VersionNotFound, match="deleted") as caught:
        repo.get("bert@prod")
    assert caught.value.hint == "mvs restore bert:v1"


def test_an_alias_that_points_at_another_name_is_damaged(repo: mvs.Repository, save: Saver) -> None:
    version, _ = save("gpt:v1", "bert:v1")
    point(repo, "prod", version)
    aliases = repo.store / "refs" / "aliases"
    (aliases / "gpt").rename(aliases / "bert")
    with pytest.raises(CorruptRef):
        repo.get("bert@prod")


def test_a_name_with_components_stands_beside_a_version_of_the_first(repo: mvs.Repository, save: Saver) -> None:
    outer, inner = save("acme:bert", "acme/bert:v1")
    assert repo.get("acme:bert") == outer
    assert repo.get("acme/bert:v1") == inner
    assert repo.list("acme") == [outer]


@pytest.mark.parametrize("spec", ["nobody", "nobody:v1", "nobody:v*", "nobody#ab", "nobody:latest~1"])
def test_a_name_that_nobody_saved_is_not_found(repo: mvs.Repository, spec: str) -> None:
    with pytest.raises(NameNotFound, match="no model 'nobody'") as caught:
        repo.get(spec)
    assert isinstance(caught.value, NotFound)
    assert isinstance(caught.value, KeyError)
    assert str(caught.value) == "no model 'nobody'"


def test_a_slip_of_the_finger_is_hinted_at(repo: mvs.Repository, save: Saver) -> None:
    save("sentiment:v1")
    with pytest.raises(NameNotFound) as caught:
        repo.get("sentimnet")
    assert caught.value.hint == "mvs list sentiment"


def test_lists_are_newest_first_across_names(repo: mvs.Repository, save: Saver) -> None:
    save("b:v1", "a:v1", "acme/c:v1", "b:v2")
    assert tags(repo.list()) == ["b:v2", "acme/c:v1", "a:v1", "b:v1"]


def test_lists_keep_the_order_of_saves_when_the_clock_goes_back(
    repo: mvs.Repository, save: Saver, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = iter(range(10**18, 0, -(10**9)))
    monkeypatch.setattr("time.time_ns", lambda: next(now))
    save("bert:v1", "bert:v2", "bert:v3")
    found = repo.list("bert")
    assert tags(found) == ["bert:v3", "bert:v2", "bert:v1"]
    assert repo.get("bert") == found[0]


def test_a_list_of_nothing_is_empty(repo: mvs.Repository) -> None:
    assert repo.list() == []


def test_a_list_of_an_unknown_name_is_refused_and_of_a_glob_empty(repo: mvs.Repository, save: Saver) -> None:
    save("bert:v1")
    with pytest.raises(NameNotFound):
        repo.list("ber")
    assert repo.list("x*") == []


@pytest.mark.parametrize(
    ("glob", "found"),
    [("bert*", ["bert-large:v1", "bert:v1"]), ("ACME/*", ["acme/bert:v1"]), ("*bert", ["acme/bert:v1", "bert:v1"])],
)
def test_a_name_to_list_may_be_a_glob(repo: mvs.Repository, save: Saver, glob: str, found: list[str]) -> None:
    save("bert:v1", "bert-large:v1", "acme/bert:v1", "gpt:v1")
    assert tags(repo.list(glob)) == found


def test_all_labels_must_fit(repo: mvs.Repository, save: Saver) -> None:
    save("bert:v1", labels={"stage": "production"})
    save("bert:v2", labels={"stage": "production", "lang": "de"})
    save("bert:v3", labels={"stage": "test", "lang": "de"})
    assert tags(repo.list(labels={"stage": "production"})) == ["bert:v2", "bert:v1"]
    assert tags(repo.list("bert", labels={"stage": "production", "lang": "de"})) == ["bert:v2"]
    assert repo.list(labels={"stage": "prod"}) == []
    assert repo.list(labels={"owner": ""}) == []


@pytest.mark.parametrize(
    ("limit", "found"), [(0, []), (2, ["bert:v4", "bert:v3"]), (9, ["bert:v4", "bert:v3", "bert:v2", "bert:v1"])]
)
def test_a_limit_keeps_the_newest(repo: mvs.Repository, save: Saver, limit: int, found: list[str]) -> None:
    save("bert:v1", "bert:v2", "bert:v3", "bert:v4")
    assert tags(repo.list(limit=limit)) == found


def test_a_limit_counts_what_has_the_labels(repo: mvs.Repository, save: Saver) -> None:
    save("bert:v1", "bert:v2", labels={"stage": "production"})
    save("bert:v3", "bert:v4")
    assert tags(repo.list("bert", labels={"stage": "production"}, limit=1)) == ["bert:v2"]


def test_a_damaged_version_is_left_out_with_a_word(
    repo: mvs.Repository, save: Saver, caplog: pytest.LogCaptureFixture
) -> None:
    """One flipped bit must not hide every other model."""
    save("bert:v1", "bert:v2", "gpt:v1")
    (repo.store / "refs" / "tags" / "bert" / "@v1").write_text("garbage\n")
    assert tags(repo.list()) == ["gpt:v1", "bert:v2"]
    assert "'bert:v1'" in caplog.text


def test_a_version_with_a_damaged_manifest_is_left_out_with_a_word(
    repo: mvs.Repository, save: Saver, caplog: pytest.LogCaptureFixture
) -> None:
    first, _ = save("bert:v1", "bert:v2")
    (repo.store / "objects" / first.id[:2] / first.id[2:]).unlink()
    assert tags(repo.list("bert")) == ["bert:v2"]
    assert "'bert:v1'" in caplog.text


def test_files_that_are_no_refs_are_passed_over(repo: mvs.Repository, save: Saver) -> None:
    save("bert:v1")
    for name in ("@V2", "note.txt", "@v3.swp~"):
        (repo.store / "refs" / "tags" / "bert" / name).write_text("x")
    assert tags(repo.list()) == ["bert:v1"]
