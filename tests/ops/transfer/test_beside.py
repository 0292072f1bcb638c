"""Aliases and notes between stores: who changed is followed, and where both did nothing is lost."""

import json
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import mvs
from mvs.errors import Protected, RemoteFailed
from mvs.ops.transfer.beside import Differs
from tests.ops.dedup.families import save
from tests.ops.transfer.test_push_pull import counted, joined
from tests.store.remote.buckets import Broken


@pytest.fixture
def url(tmp_path: Path) -> str:
    return str(tmp_path / "remote")


@pytest.fixture
def ours(tmp_path: Path, url: str) -> mvs.Repository:
    """A repository with three small versions."""
    repo = joined(tmp_path / "ours", url)
    for number in (1, 2, 3):
        save(repo, f"m:v{number}", bytes([number]))
    return repo


@pytest.fixture
def theirs(tmp_path: Path, url: str) -> mvs.Repository:
    return joined(tmp_path / "theirs", url)


@pytest.fixture
def same(ours: mvs.Repository, theirs: mvs.Repository) -> None:
    """Both sides have the versions, `m@prod` at v1, and a label."""
    ours.alias("m@prod", "m:v1")
    ours.label("m:v1", {"stage": "new"})
    ours.push()
    theirs.pull()


def aliases(repo: mvs.Repository) -> dict[str, str]:
    return {alias.alias: alias.tag.version for alias in repo.aliases()}


def test_they_go_with_their_versions(ours: mvs.Repository, theirs: mvs.Repository) -> None:
    ours.alias("m@prod", "m:v1")
    ours.alias("m@next", "m:v2")
    ours.label("m:v1", {"stage": "new"})
    done = ours.push("m:v1").beside
    assert (done.aliases, done.notes, done.differs) == (("m@prod",), ("m:v1",), ())
    assert theirs.pull().beside == done
    assert aliases(theirs) == {"m@prod": "v1"}
    assert theirs.get("m@prod").notes == {"stage": "new"}
    assert [(change.event, change.before) for change in theirs.log("m@prod")] == [("alias", None)]
    assert ours.push().beside.aliases == ("m@next",)
    assert not theirs.fsck(level="full").findings


def test_nothing_new_is_no_entry(ours: mvs.Repository, theirs: mvs.Repository, same: None, url: str) -> None:
    entries = sorted(Path(url, "log").iterdir())
    assert ours.push().beside == theirs.push().beside == theirs.pull().beside == ours.pull().beside
    assert sorted(Path(url, "log").iterdir()) == entries


@pytest.mark.usefixtures("same")
def test_a_remote_shows_them_and_finds_by_them(ours: mvs.Repository, theirs: mvs.Repository) -> None:
    far = theirs.remote()
    assert far.get("m@prod").tag == far.get("m:v1").tag
    assert far.get("m:latest").version == "v3"
    assert (far.get("m:v1").aliases, far.get("m:v1").labels) == (("prod",), {"stage": "new"})
    assert {version.version: version.aliases for version in far.list("m")} == {"v1": ("prod",), "v2": (), "v3": ()}


@pytest.mark.usefixtures("same")
def test_who_did_not_move_it_follows(ours: mvs.Repository, theirs: mvs.Repository) -> None:
    theirs.alias("m@prod", "m:v2")
    theirs.label("m:v1", {"stage": "old", "owner": "ada"})
    assert ours.push().beside.differs == ()
    theirs.push()
    assert ours.push().beside.aliases == ()
    done = ours.pull().beside
    assert (done.aliases, done.notes, done.differs) == (("m@prod",), ("m:v1",), ())
    assert aliases(ours) == {"m@prod": "v2"}
    assert ours.get("m:v1").notes == {"stage": "old", "owner": "ada"}


@pytest.mark.usefixtures("same")
def test_what_is_deleted_on_one_side_goes_on_the_other(ours: mvs.Repository, theirs: mvs.Repository) -> None:
    ours.delete_alias("m@prod")
    ours.label("m:v1", {"stage": ""})
    assert ours.push().beside.aliases == ("m@prod",)
    theirs.pull()
    assert aliases(theirs) == {}
    assert theirs.get("m:v1").notes == {}
    assert theirs.rollback_alias("m@prod").version == "v1"
    theirs.push()
    ours.pull()
    assert aliases(ours) == {"m@prod": "v1"}


@pytest.mark.usefixtures("same")
def test_back_and_forth_is_followed(ours: mvs.Repository, theirs: mvs.Repository) -> None:
    """Where it was is where it is again: a history of places alone could not tell who moved last."""
    for version in ("m:v2", "m:v1", "m:v2"):
        ours.alias("m@prod", version)
        assert ours.push().beside.aliases == ("m@prod",)
        assert theirs.pull().beside.aliases == ("m@prod",)
        assert aliases(theirs) == {"m@prod": version[2:]}


@pytest.fixture
def both_moved(ours: mvs.Repository, theirs: mvs.Repository, same: None) -> None:
    theirs.alias("m@prod", "m:v2")
    theirs.label("m:v1", {"stage": "theirs", "b": "b"})
    theirs.push()
    ours.alias("m@prod", "m:v3")
    ours.label("m:v1", {"stage": "ours", "a": "a"})


ALIAS = Differs("m@prod", None, None, "m:v3", "m:v2")
LABEL = Differs(None, "m:v1", "stage", "ours", "theirs")


@pytest.mark.usefixtures("both_moved")
def test_where_both_moved_it_nobody_s_move_is_lost(ours: mvs.Repository, theirs: mvs.Repository) -> None:
    for done in (ours.push().beside, ours.pull().beside):
        assert set(done.differs) == {ALIAS, LABEL}
        assert aliases(ours) == {"m@prod": "v3"}
        assert ours.remote().get("m@prod").version == "v2"
    assert ours.pull().beside.differs == (ALIAS,), "a label that was seen there is not told twice"
    assert ours.get("m:v1").notes == {"stage": "ours", "a": "a", "b": "b"}
    ours.push()
    theirs.pull()
    assert theirs.get("m:v1").notes == {"stage": "ours", "a": "a", "b": "b"}


@pytest.mark.usefixtures("both_moved")
def test_pull_force_takes_theirs(ours: mvs.Repository, theirs: mvs.Repository) -> None:
    assert ours.pull(force=True).beside.differs == ()
    assert aliases(ours) == {"m@prod": "v2"}
    assert ours.get("m:v1").notes == {"stage": "theirs", "a": "a", "b": "b"}
    assert ours.rollback_alias("m@prod").version == "v3"


@pytest.mark.usefixtures("both_moved")
def test_push_force_takes_ours(ours: mvs.Repository, theirs: mvs.Repository) -> None:
    assert ours.push(force=True).beside.differs == ()
    theirs.pull()
    assert aliases(theirs) == {"m@prod": "v3"}
    assert theirs.get("m:v1").notes == {"stage": "ours", "a": "a", "b": "b"}


@pytest.mark.usefixtures("same")
def test_a_protected_alias_stays_where_it_is(
    ours: mvs.Repository, theirs: mvs.Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A host that serves `prod` decides itself when that moves."""
    theirs.alias("m@prod", "m:v2")
    theirs.push()
    monkeypatch.setattr(mvs.Repository, "_protects", lambda _, alias: alias.alias == "prod")
    assert ours.pull().beside.differs == (Differs("m@prod", None, None, "m:v1", "m:v2", held=True),)
    assert aliases(ours) == {"m@prod": "v1"}
    assert ours.push().beside.aliases == (), "nor does it move back at the remote"
    assert ours.pull(force=True).beside.aliases == ("m@prod",)
    assert aliases(ours) == {"m@prod": "v2"}


@pytest.mark.usefixtures("same")
def test_an_alias_that_cannot_be_read_is_left_alone(ours: mvs.Repository) -> None:
    (place,) = (ours.store / "refs" / "aliases").rglob("@prod")
    place.chmod(0o600)
    place.write_text("damaged", encoding="utf-8")
    assert ours.push().beside == ours.pull().beside
    assert ours.remote().get("m@prod").version == "v1"
    assert place.read_text(encoding="utf-8") == "damaged"


def test_first_met_and_different_is_different(ours: mvs.Repository, theirs: mvs.Repository) -> None:
    ours.alias("m@prod", "m:v1")
    ours.push()
    theirs.pull("m:v2")
    theirs.alias("m@prod", "m:v2")
    assert theirs.pull().beside.differs == (Differs("m@prod", None, None, "m:v2", "m:v1"),)


def test_of_two_that_move_it_at_once_one_is_told(
    ours: mvs.Repository, theirs: mvs.Repository, same: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours.alias("m@prod", "m:v2")
    theirs.alias("m@prod", "m:v3")
    told: list[int] = []
    together = threading.Barrier(2)

    def push(repo: mvs.Repository) -> None:
        together.wait()
        told.append(len(repo.push().beside.differs))

    threads = [threading.Thread(target=push, args=[repo]) for repo in (ours, theirs)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(told) == [0, 1]


def test_a_push_that_is_cut_off_is_taken_up(
    ours: mvs.Repository, theirs: mvs.Repository, same: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours.alias("m@prod", "m:v2")
    for after in range(30):
        with monkeypatch.context() as patch:
            counted(patch, lambda bucket, after=after: Broken(bucket, after))
            try:
                ours.push()
            except RemoteFailed:
                continue
            break
    assert ours.remote().get("m@prod").version == "v2"
    ours.alias("m@prod", "m:v3")
    assert ours.push().beside.differs == ()
    theirs.pull()
    assert aliases(theirs) == {"m@prod": "v3"}


def test_a_version_that_an_alias_leads_to_stays_at_the_remote(ours: mvs.Repository, same: None) -> None:
    with pytest.raises(Protected, match="m@prod"):
        ours.remote().delete("m:v1")
    ours.remote().delete("m:v1", force=True)
    assert ours.remote().list("m")[0].aliases == ()
    assert aliases(ours) == {"m@prod": "v1"}


def test_a_bundle_has_them_too(ours: mvs.Repository, tmp_path: Path, same: None) -> None:
    ours.bundle(tmp_path / "all.mvs")
    third = mvs.clone(str(tmp_path / "all.mvs"), tmp_path / "third")
    assert aliases(third) == {"m@prod": "v1"}
    assert third.get("m@prod").notes == {"stage": "new"}


@pytest.mark.usefixtures("both_moved")
def test_the_command_line_names_both_and_what_settles_it(
    ours: mvs.Repository, cli: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ours.root.parent)
    said = cli("push", "--all", code=35).output
    assert "'m@prod' leads to 'm:v3' here and to 'm:v2' there" in said
    assert "hint:  mvs pull -r origin --force m:v2, or mvs push -r origin --force m:v3" in said
    assert json.loads(cli("push", "--all", "--dry-run", "--json").output)["differs"][0]["alias"] == "m@prod"
    assert "moved m@prod; labelled m:v1" in cli("pull", "--all", "--force").output
    assert "prod" in cli("list", "--remote", "origin").output
    assert "stage=theirs" in cli("show", "origin/m:v1").output


ALIASES = ["prod", "next"]
CHANGES = st.tuples(
    st.sampled_from(["move", "move", "delete", "label", "push", "pull"]),
    st.sampled_from([0, 1]),
    st.sampled_from(ALIASES),
    st.sampled_from(["v1", "v2"]),
)


class World:
    """Two clones and a remote, and for each clone what it and the remote last had in common."""

    def __init__(self, folder: Path) -> None:
        self.repos = [joined(folder / name, str(folder / "remote")) for name in ("a", "b")]
        for version in ("v1", "v2"):
            save(self.repos[0], f"m:{version}", version.encode())
        self.repos[0].push()
        self.repos[1].pull()
        self.common: list[dict[str, str | None]] = [{}, {}]

    def near(self, number: int) -> dict[str, str | None]:
        """Every alias and label of a clone."""
        repo = self.repos[number]
        found: dict[str, str | None] = {f"@{alias}": None for alias in ALIASES}
        found |= {alias.alias[1:]: alias.tag.version for alias in repo.aliases()}
        return found | self.labels(repo.list())

    def far(self) -> dict[str, str | None]:
        """Every alias and label of the remote."""
        versions = self.repos[0].remote().list()
        found: dict[str, str | None] = {f"@{alias}": None for alias in ALIASES}
        found |= {f"@{alias}": version.version for version in versions for alias in version.aliases}
        return found | self.labels(versions)

    def labels(self, versions: list[mvs.Version]) -> dict[str, str | None]:
        return {f"{version.version} {key}": version.notes.get(key) for version in versions for key in ALIASES}

    def do(self, what: str, number: int, alias: str, version: str, *, force: bool = False) -> None:
        repo = self.repos[number]
        if what == "move":
            repo.alias(f"m@{alias}", f"m:{version}")
        elif what == "delete" and f"m@{alias}" in aliases(repo):
            repo.delete_alias(f"m@{alias}")
        elif what == "label":
            # Each value is told apart, for whom it came from.
            value = "" if version == "v1" else f"{number}{len(repo.log('m'))}"
            repo.label("m:v1", {alias: value})
        elif what in ("push", "pull"):
            self.transfer(what, number, force=force)

    def transfer(self, what: str, number: int, *, force: bool) -> None:
        near, far, common = self.near(number), self.far(), self.common[number]
        repo = self.repos[number]
        done = (repo.push(force=force) if what == "push" else repo.pull(force=force)).beside
        told = {f"@{each.alias.partition('@')[2]}" if each.alias else f"v1 {each.key}" for each in done.differs}
        source, target = (near, far) if what == "push" else (far, near)
        after = self.far() if what == "push" else self.near(number)
        assert (self.near(number) if what == "push" else self.far()) == source, "what is sent stays as it is"
        for key in near:
            if after[key] != target[key]:
                assert after[key] == source[key]
                # What is overwritten was seen by who overwrites it, or his who asked for it.
                assert force or target[key] == common.get(key), f"{key} is lost"
            elif source[key] not in (target[key], common.get(key)):
                assert key in told, f"{key} differs, and nobody says so"
        left = {key for key in near if source[key] != after[key]}
        common |= {key: source[key] for key in near.keys() - left}
        if what == "pull":
            # A label that was seen and not wanted goes with the next push.
            common |= {key: source[key] for key in left if not key.startswith("@")}


@given(st.lists(CHANGES, max_size=14))
@example([("label", 0, "prod", "v2"), ("push", 0, "", ""), ("label", 1, "prod", "v2"), ("pull", 1, "", "")])
@example([("move", 0, "prod", "v1"), ("push", 0, "", ""), ("move", 1, "prod", "v2"), ("push", 1, "", "")])
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_nothing_is_lost_silently_and_all_converge(
    tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[str, int, str, str]]
) -> None:
    """Two people move what both may move; at last each one pulls and pushes."""
    world = World(tmp_path_factory.mktemp("world"))
    for change in changes:
        world.do(*change)
    for number in (0, 1):
        world.transfer("pull", number, force=True)
        world.transfer("push", number, force=False)
    world.transfer("pull", 0, force=False)
    assert world.near(0) == world.near(1) == world.far()


@pytest.mark.deep
@given(st.lists(CHANGES, max_size=40))
@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
def test_nothing_is_lost_silently_however_long_it_goes(
    tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[str, int, str, str]]
) -> None:
    test_nothing_is_lost_silently_and_all_converge.hypothesis.inner_test(tmp_path_factory, changes)  # type: ignore[attr-defined]
