"""Aliases: they point at what they were told to, and the journal knows how they came there."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mvs
from mvs.errors import (
    AliasMoved,
    AliasNotFound,
    InvalidConfig,
    InvalidTag,
    NameNotFound,
    NotFound,
    Protected,
    VersionNotFound,
)
from mvs.format.lines.journal import Moved, Target
from mvs.format.names import Alias
from mvs.ops.refs import aliases
from mvs.repository.workspace import write_setting
from mvs.store.store import Store


@pytest.fixture(autouse=True)
def three(repo: mvs.Repository, folder: Path) -> list[mvs.Version]:
    repo.save(folder, "gpt:v1")
    return [repo.save(folder, f"bert:v{number}") for number in (1, 2, 3)]


def target(repo: mvs.Repository, alias: str = "bert@prod") -> str:
    return str(repo.get(alias).tag)


def told(repo: mvs.Repository, alias: str = "bert@prod") -> list[tuple[str | None, str | None]]:
    """Return from where to where an alias moved, newest first."""
    return [
        (str(change.before) if change.before else None, str(change.tag) if change.new else None)
        for change in repo.log(alias)
    ]


def test_an_alias_is_made_moved_and_deleted_and_the_journal_tells_of_it(repo: mvs.Repository) -> None:
    assert repo.alias("bert@prod", "bert:v1").tag == repo.get("bert@prod").tag
    assert repo.alias("BERT@Prod", "bert:latest").version == "v3"
    assert target(repo) == "bert:v3"
    repo.delete_alias("bert@prod")
    with pytest.raises(AliasNotFound, match="'bert@prod'"):
        repo.get("bert@prod")
    assert told(repo) == [("bert:v3", None), ("bert:v1", "bert:v3"), (None, "bert:v1")]
    assert all(re.fullmatch(r"tester@\S+", change.by) for change in repo.log("bert@prod"))
    times = [change.at for change in repo.log("bert")]
    assert times == sorted(set(times), reverse=True)
    assert [change.alias for change in repo.log("bert")] == ["bert@prod"] * 3 + [None] * 3


def test_an_alias_may_be_told_by_another_one(repo: mvs.Repository) -> None:
    repo.alias("bert@staging", "bert:v2")
    repo.alias("bert@prod", "bert@staging")
    repo.alias("bert@staging", "bert:v3")
    assert target(repo) == "bert:v2"


def test_every_verb_that_takes_a_spec_takes_an_alias(repo: mvs.Repository, folder: Path, tmp_path: Path) -> None:
    repo.alias("bert@prod", "bert:v2")
    assert repo.checkout("bert@prod", tmp_path / "out").is_dir()
    assert repo.save(folder, "bert:v4", parents=["bert@prod"]).parents == (repo.get("bert:v2").id,)
    assert not repo.diff("bert@prod", "bert:v2").files
    assert repo.du("bert@prod").versions[0].tag == repo.get("bert:v2").tag
    assert repo.fsck("bert@prod").versions == 1


def test_pointing_an_alias_where_it_points_moves_nothing(repo: mvs.Repository) -> None:
    repo.alias("bert@prod", "bert:v1")
    repo.alias("bert@prod", "bert:v1")
    assert len(repo.log("bert@prod")) == 1


def test_versions_tell_their_aliases(repo: mvs.Repository) -> None:
    repo.alias("bert@prod", "bert:v2")
    repo.alias("bert@canary", "bert:v2")
    assert repo.get("bert:v2").aliases == ("canary", "prod")
    assert [version.aliases for version in repo.list("bert")] == [(), ("canary", "prod"), ()]
    assert repo.get("bert:v2").to_dict()["aliases"] == ["canary", "prod"]


@pytest.mark.parametrize(
    ("alias", "spec", "error"),
    [
        ("bert@latest", "bert:v1", InvalidTag),
        ("bert", "bert:v1", InvalidTag),
        ("bert:v1", "bert:v1", InvalidTag),
        ("bert@", "bert:v1", InvalidTag),
        ("bert@a/b", "bert:v1", InvalidTag),
        ("bert@" + "a" * 64, "bert:v1", InvalidTag),
        ("bert@prod", "gpt:v1", InvalidTag),
        ("bert@prod", "bert:v9", VersionNotFound),
        ("nothing@prod", "bert:v1", InvalidTag),
        ("bert@prod", "bert@prod", AliasNotFound),
    ],
)
def test_what_cannot_be_an_alias_is_refused(
    repo: mvs.Repository, alias: str, spec: str, error: type[Exception]
) -> None:
    with pytest.raises(error):
        repo.alias(alias, spec)
    assert repo.aliases() == []
    assert [change.event for change in repo.log("bert")] == ["save"] * 3


def test_an_expectation_that_does_not_hold_moves_nothing(repo: mvs.Repository) -> None:
    """Of two that promote a model at once, the one that decided by the old state must be told."""
    repo.alias("bert@prod", "bert:v1", expect="")
    for expect in ("", "bert:v2", "bert", "gpt:v1"):
        with pytest.raises(AliasMoved, match="'bert:v1'") as caught:
            repo.alias("bert@prod", "bert:v2", expect=expect)
        assert caught.value.hint == "mvs log bert@prod"
        with pytest.raises(AliasMoved):
            repo.delete_alias("bert@prod", expect=expect)
        with pytest.raises(AliasMoved):
            repo.rollback_alias("bert@prod", expect=expect)
    assert told(repo) == [(None, "bert:v1")]
    for expect in ("bert:v1", "bert:latest~2", f"bert#{repo.get('bert:v1').id}", "bert@prod"):
        repo.alias("bert@prod", "bert:v1", expect=expect)
    repo.alias("bert@prod", "bert:v2", expect=repo.get("bert:v1"))
    with pytest.raises(AliasMoved, match="there is no alias 'bert@new'"):
        repo.alias("bert@new", "bert:v2", expect="bert:v1")


def test_an_alias_of_a_deleted_version_is_expected_by_its_tag(repo: mvs.Repository) -> None:
    repo.alias("bert@prod", "bert:v1")
    repo.delete("bert:v1", force=True)
    repo.alias("bert@prod", "bert:v2", expect="bert:v1")
    assert target(repo) == "bert:v2"


def test_a_rollback_goes_back_and_back_again(repo: mvs.Repository) -> None:
    """On call at night, twice is further back, and not forth again."""
    for version in ("v1", "v2", "v3"):
        repo.alias("bert@prod", f"bert:{version}")
    assert [repo.rollback_alias("bert@prod").version for _ in range(2)] == ["v2", "v1"]
    with pytest.raises(VersionNotFound, match="never pointed"):
        repo.rollback_alias("bert@prod")
    repo.alias("bert@prod", "bert:v3")
    assert repo.rollback_alias("bert@prod").version == "v1"
    assert [change.back for change in repo.log("bert@prod")] == [True, False, True, True, False, False, False]


def test_a_rollback_brings_a_deleted_alias_back(repo: mvs.Repository) -> None:
    repo.alias("bert@prod", "bert:v1")
    repo.delete_alias("bert@prod")
    assert repo.rollback_alias("bert@prod").version == "v1"
    with pytest.raises(AliasNotFound):
        repo.rollback_alias("bert@other")


def test_a_rollback_to_a_deleted_version_says_how_to_get_it_back(repo: mvs.Repository) -> None:
    repo.alias("bert@prod", "bert:v1")
    repo.alias("bert@prod", "bert:v2")
    repo.delete("bert:v1")
    with pytest.raises(VersionNotFound, match="deleted") as caught:
        repo.rollback_alias("bert@prod")
    assert caught.value.hint == "mvs restore bert:v1"
    repo.restore("bert:v1")
    assert repo.rollback_alias("bert@prod").version == "v1"


@given(st.lists(st.sampled_from(["v1", "v2", "v3", "", "back"]), max_size=12))
@settings(max_examples=200)
def test_the_way_back_is_a_stack(steps: list[str]) -> None:
    """Whatever was moved, removed and taken back, one more rollback leads where the last move began."""
    stack: list[Target | None] = [None]
    moves = []
    for at, step in enumerate(steps):
        present = stack[-1]
        if step == "back":
            if len(stack) < 2:
                continue
            stack.pop()
        elif (new := target_named(step)) == present:
            continue
        else:
            stack.append(new)
        moves.append(Moved("prod", present, stack[-1], at, "", back=step == "back"))
    assert aliases._way(moves) == (stack if moves else [])


def target_named(version: str) -> Target | None:
    return Target(version, mvs.format.ids.ObjectId.of(version.encode())) if version else None


def test_a_protected_alias_takes_force(repo: mvs.Repository) -> None:
    repo.alias("bert@prod", "bert:v1")
    repo.alias("bert@prod", "bert:v2")
    write_setting(repo.root, "alias.protected", "Prod, gpt@canary")
    repo = mvs.open(repo.root)
    changes: list[Callable[[bool], object]] = [
        lambda force: repo.alias("bert@prod", "bert:v3", force=force),
        lambda force: repo.rollback_alias("bert@prod", force=force),
        lambda force: repo.delete_alias("bert@prod", force=force),
        lambda force: repo.alias("gpt@canary", "gpt:v1", force=force),
    ]
    for change in changes:
        before = repo.aliases()
        with pytest.raises(Protected, match="protected"):
            change(False)
        assert repo.aliases() == before
        change(True)
        assert repo.aliases() != before
    repo.alias("bert@canary", "bert:v1")
    assert {alias.alias: alias.protected for alias in repo.aliases()} == {"bert@canary": False, "gpt@canary": True}


@pytest.mark.parametrize("text", ["[alias]\nprotected = 'prod'\n", "[alias]\nprotected = [1]\n"])
def test_a_list_of_protected_aliases_that_is_none_is_refused(repo: mvs.Repository, text: str) -> None:
    (repo.root / "config.toml").write_text(text)
    with pytest.raises(InvalidConfig, match="list of str"):
        mvs.open(repo.root)


def test_what_an_alias_points_at_is_deleted_with_force_only(repo: mvs.Repository) -> None:
    """A model in production must not go with a tidy-up."""
    repo.alias("bert@prod", "bert:v2")
    for specs, all_versions in ((["bert:v1", "bert:v2"], False), (["bert"], True), (["bert@prod"], False)):
        with pytest.raises(Protected, match="'bert@prod' points at 'bert:v2'"):
            repo.delete(*specs, all_versions=all_versions)
        with pytest.raises(Protected):
            repo.matching(*specs, all_versions=all_versions)
    assert len(repo.list("bert")) == 3
    repo.delete("bert:v1")
    assert repo.delete("bert@prod", force=True) == [mvs.Tag("bert", "v2")]
    (alias,) = repo.aliases("bert")
    assert (alias.tag, alias.deleted) == (mvs.Tag("bert", "v2"), True)


def test_an_alias_set_after_the_question_was_asked_still_holds_its_version(repo: mvs.Repository, store: Store) -> None:
    """Between the preview and the yes, somebody deployed it."""
    from mvs.format.names import Spec
    from mvs.ops.refs import delete

    doomed = delete.plan(store, [Spec.parse("bert:v2")], all_versions=False)
    repo.alias("bert@prod", "bert:v2")
    with pytest.raises(Protected):
        delete.delete(store, doomed, now=lambda: 0, by="")
    assert target(repo) == "bert:v2"


def test_a_version_deleted_with_force_stays_whole_as_long_as_an_alias_points_at_it(
    repo: mvs.Repository, folder: Path
) -> None:
    (folder / "weights.bin").write_bytes(b"its own")
    version = repo.save(folder, "bert:v4")
    repo.alias("bert@prod", "bert:v4")
    repo.delete("bert:v4", force=True)
    repo.gc(expire="now")
    with pytest.raises(VersionNotFound, match="deleted"):
        repo.get("bert@prod")
    assert repo.restore("bert:v4") == version
    assert repo.get("bert@prod").read_bytes("weights.bin") == b"its own"
    repo.delete("bert:v4", force=True)
    repo.alias("bert@prod", "bert:v1")
    repo.gc(expire="now")
    with pytest.raises(NotFound):
        repo.get("bert:v4")
    assert not (repo.store / "objects" / version.id[:2] / version.id[2:]).exists()


def test_a_tag_used_again_is_not_what_its_alias_pointed_at(repo: mvs.Repository, folder: Path) -> None:
    repo.alias("bert@prod", "bert:v2")
    repo.delete("bert:v2", force=True)
    (folder / "weights.bin").write_bytes(b"other")
    repo.save(folder, "bert:v2", reuse_tag=True)
    with pytest.raises(VersionNotFound):
        repo.get("bert@prod")
    assert repo.get("bert:v2").aliases == ()
    repo.delete("bert:v2")


def test_aliases_are_listed_by_name(repo: mvs.Repository) -> None:
    repo.alias("gpt@prod", "gpt:v1")
    repo.alias("bert@prod", "bert:v1")
    repo.alias("bert@canary", "bert:v3")
    assert [alias.alias for alias in repo.aliases()] == ["bert@canary", "bert@prod", "gpt@prod"]
    (alias,) = repo.aliases("gpt")
    (change,) = repo.log("gpt@prod")
    assert (alias.tag, alias.id, alias.at, alias.by) == (change.tag, change.new, change.at, change.by)
    with pytest.raises(NameNotFound):
        repo.aliases("nothing")


def test_a_damaged_alias_is_mended_by_setting_it_anew(repo: mvs.Repository) -> None:
    repo.alias("bert@prod", "bert:v1")
    (repo.store / "refs/aliases/bert/@prod").write_bytes(b"?")
    assert repo.aliases() == []
    with pytest.raises(mvs.errors.CorruptRef):
        repo.alias("bert@prod", "bert:v2", expect="bert:v1")
    repo.alias("bert@prod", "bert:v2")
    assert told(repo) == [("bert:v1", "bert:v2"), (None, "bert:v1")]
    (repo.store / "refs/aliases/bert/@prod").write_bytes(b"?")
    repo.delete_alias("bert@prod")
    assert repo.rollback_alias("bert@prod").version == "v2"


def test_an_alias_of_a_later_release_is_left_alone(repo: mvs.Repository) -> None:
    place = repo.store / "refs/aliases/bert/@prod"
    place.parent.mkdir(parents=True)
    place.write_bytes(b"mvs-ref 2 whatever\n")
    for change in (lambda: repo.alias("bert@prod", "bert:v1"), lambda: repo.delete_alias("bert@prod")):
        with pytest.raises(mvs.errors.UnsupportedFormat):
            change()
    assert place.read_bytes() == b"mvs-ref 2 whatever\n"


def test_a_move_that_was_cut_off_is_not_told(repo: mvs.Repository, store: Store) -> None:
    """The journal is written first: a move that a crash prevented must not be laid at anybody's door."""
    repo.alias("bert@prod", "bert:v1")
    v1, v2 = (Target(v, mvs.format.ids.ObjectId.from_hex(repo.get(f"bert:{v}").id)) for v in ("v1", "v2"))
    store.journal.append("bert", [Moved("prod", v1, v2, store.next_time("bert", 0), "crashed@host")])
    assert told(repo) == [(None, "bert:v1")]
    (alias,) = repo.aliases("bert")
    assert alias.at is None
    repo.alias("bert@prod", "bert:v3")
    assert told(repo) == [("bert:v1", "bert:v3"), (None, "bert:v1")]
    assert repo.rollback_alias("bert@prod").version == "v1"
    assert Alias.parse("bert@prod") == Alias("bert", "prod")
