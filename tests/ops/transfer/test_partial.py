"""A version that was pulled in part: what is here of it serves, and what is not is told as what it is."""

from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

import mvs
from mvs.errors import Corrupt, FileNotInVersion, MissingObject, NotPulled, RemoteFailed
from mvs.format.layout import PARTIAL
from tests.ops.dedup.families import model, safetensors, tuned
from tests.ops.transfer.test_push_pull import counted, joined, same
from tests.store.remote.buckets import Broken

WEIGHTS = model()
FILES = {"model.safetensors": safetensors(WEIGHTS), "optimizer.pt": bytes(range(251)) * 999, "config.json": b"{}"}
NEXT = {**FILES, "model.safetensors": safetensors(tuned(WEIGHTS)), "optimizer.pt": bytes(range(1, 250)) * 999}


@pytest.fixture
def url(tmp_path: Path) -> str:
    return str(tmp_path / "remote")


@pytest.fixture
def ours(tmp_path: Path, url: str) -> mvs.Repository:
    repo = joined(tmp_path / "ours", url)
    for tag, files in (("m:v1", FILES), ("m:v2", NEXT)):
        with repo.create(tag) as draft:
            for path, data in files.items():
                (draft.path / path).write_bytes(data)
    repo.push()
    return repo


@pytest.fixture
def theirs(tmp_path: Path, url: str, ours: mvs.Repository) -> mvs.Repository:
    repo = joined(tmp_path / "theirs", url)
    repo.pull("m:v2", include=["*.safetensors", "*.json"])
    return repo


def lists(repo: mvs.Repository) -> list[Path]:
    return sorted(Path(repo.store, PARTIAL).glob("*"))


def test_only_the_files_that_match_travel(ours: mvs.Repository, tmp_path: Path, url: str) -> None:
    repo = joined(tmp_path / "theirs", url)
    whole = repo.plan_pull("m:v2").bytes
    plan = repo.plan_pull("m:v2", include=["*.pt"])
    done = repo.pull("m:v2", include=["*.pt"])
    assert done.received == plan.bytes < whole / 10
    assert done.left == plan.left_bytes == len(NEXT["model.safetensors"]) + len(NEXT["config.json"])
    assert repo.get("m:v2").read_bytes("optimizer.pt") == NEXT["optimizer.pt"]
    assert repo.get("m:v2").id == ours.get("m:v2").id
    assert repo.get("m:v2").absent == ("config.json", "model.safetensors")


def test_refs_and_manifests_come_without_any_file(ours: mvs.Repository, tmp_path: Path, url: str) -> None:
    repo = joined(tmp_path / "theirs", url)
    assert repo.pull("m", exclude=["*"]).received == 0
    assert [version.tag.version for version in repo.list("m")] == ["v2", "v1"]
    assert repo.get("m:v1").files == ours.get("m:v1").files
    assert repo.fsck(level="full").ok


def test_globs_that_match_nothing_are_told(ours: mvs.Repository, tmp_path: Path, url: str) -> None:
    """A misspelled glob would else bring nothing, and look like success."""
    repo = joined(tmp_path / "theirs", url)
    with pytest.raises(FileNotInVersion, match="matches"):
        repo.pull("m:v2", include=["*.gguf"])
    assert not repo.list()


def test_a_file_that_was_not_pulled_is_told_with_the_command_that_brings_it(
    theirs: mvs.Repository, tmp_path: Path
) -> None:
    version = theirs.get("m:v2")
    for use in (
        lambda: version.read_bytes("optimizer.pt"),
        lambda: version.open("optimizer.pt"),
        lambda: list(version.blocks("optimizer.pt")),
        lambda: version.path,
        version.tensors,
        lambda: version.tensor("no such"),
        lambda: theirs.checkout("m:v2", tmp_path / "out"),
        lambda: theirs.export("m:v2", tmp_path / "out.tar"),
        lambda: theirs.export("m:v2", tmp_path / "out", include=["*.pt"]),
    ):
        with pytest.raises(NotPulled, match=r"'optimizer.pt' of 'm:v2' was not pulled; it is at 'origin'") as told:
            use()
        assert told.value.hint == "mvs pull -r origin m:v2 --include optimizer.pt"
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "out.tar").exists()
    assert version.tensor(next(iter(WEIGHTS))).size
    theirs.pull("m:v2", include=["optimizer.pt"])
    assert version.read_bytes("optimizer.pt") == NEXT["optimizer.pt"]


def test_what_is_here_is_checked_out_without_the_remote(theirs: mvs.Repository, tmp_path: Path, url: str) -> None:
    Path(url).rename(tmp_path / "away")
    out = theirs.checkout("m:v2", tmp_path / "out", include=["*.safetensors"])
    assert {path.name: path.read_bytes() for path in out.iterdir()} == {"model.safetensors": NEXT["model.safetensors"]}


def test_what_is_there_already_need_not_be_here(theirs: mvs.Repository, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "optimizer.pt").write_bytes(NEXT["optimizer.pt"])
    out = theirs.checkout("m:v2", tmp_path / "out")
    assert {path.name: path.read_bytes() for path in out.iterdir()} == NEXT


def test_the_rest_comes_with_the_next_pull_and_nothing_twice(theirs: mvs.Repository, ours: mvs.Repository) -> None:
    plan = theirs.plan_pull("m:v2")
    assert [manifest.tag.version for manifest in plan.completed] == ["v2"]
    done = theirs.pull("m:v2")
    assert [str(tag) for tag in done.completed] == ["m:v2"]
    assert not done.refs
    assert 0 < done.received == plan.bytes < len(NEXT["optimizer.pt"])
    assert same(theirs.get("m:v2"), ours.get("m:v2"))
    assert theirs.get("m:v2").absent == ()
    assert not lists(theirs)
    again = theirs.pull("m:v2")
    assert (again.received, again.completed) == (0, ())
    assert [change.event for change in theirs.log("m")] == ["save"]


def test_a_check_tells_what_was_not_pulled_and_calls_it_no_damage(theirs: mvs.Repository) -> None:
    report = theirs.fsck(level="full")
    assert report.ok
    assert not report.findings
    assert (report.amounts["not-pulled"].count, report.amounts["not-pulled"].size) == (1, len(NEXT["optimizer.pt"]))


def test_what_was_pulled_and_lost_is_damage(theirs: mvs.Repository) -> None:
    """The list of what is elsewhere must not hide what was here and is not."""
    for pack in theirs.store.rglob("*.pack"):
        pack.unlink()
    report = theirs.fsck()
    assert not report.ok
    assert {finding.kind for finding in report.findings} >= {"object-missing"}
    assert report.amounts["not-pulled"].count == 1
    with pytest.raises(MissingObject):
        theirs.get("m:v2").read_bytes("config.json")


def test_another_version_that_needs_the_file_suffers_without_it(theirs: mvs.Repository, tmp_path: Path) -> None:
    """What one version left at a remote is damage where another one had it."""
    (tmp_path / "optimizer.pt").write_bytes(NEXT["optimizer.pt"])
    version = theirs.save(tmp_path / "optimizer.pt", "own:v1")
    assert theirs.get("m:v2").absent == ()
    blob = version.files[0].blob
    (theirs.store / "objects" / blob[:2] / blob[2:]).unlink()
    [finding] = theirs.fsck().findings
    assert (finding.kind, finding.what) == ("object-missing", blob)
    assert version.tag in finding.versions


def test_gc_keeps_what_is_here_and_does_not_stop_at_what_is_not(theirs: mvs.Repository, tmp_path: Path) -> None:
    (tmp_path / "optimizer.pt").write_bytes(NEXT["optimizer.pt"])
    theirs.save(tmp_path / "optimizer.pt", "own:v1")
    theirs.save(tmp_path / "optimizer.pt", "own:v2", message="other")
    theirs.delete("own", all_versions=True)
    theirs.gc(expire="now")
    # It came by another way, and is needed as if it had been pulled.
    assert theirs.get("m:v2").read_bytes("optimizer.pt") == NEXT["optimizer.pt"]
    assert theirs.get("m:v2").read_bytes("model.safetensors") == NEXT["model.safetensors"]
    assert theirs.fsck(level="full").ok


def test_gc_removes_the_list_with_its_version(theirs: mvs.Repository) -> None:
    assert len(lists(theirs)) == 1
    theirs.delete("m:v2")
    theirs.gc()
    assert len(lists(theirs)) == 1
    theirs.restore("m:v2")
    assert theirs.get("m:v2").absent == ("optimizer.pt",)
    theirs.delete("m:v2")
    theirs.gc(expire="now")
    assert not lists(theirs)
    assert not list(theirs.store.rglob("*.pack"))


def test_dedup_and_its_undo_pass_over_what_is_not_here(theirs: mvs.Repository, tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(safetensors(tuned(WEIGHTS, seed=7)))
    version = theirs.save(tmp_path / "model.safetensors", "m:v3")
    theirs.dedup()
    assert version.is_packed
    assert theirs.undo_dedup()
    assert theirs.get("m:v2").absent == ("optimizer.pt",)
    assert theirs.get("m:v2").read_bytes("model.safetensors") == NEXT["model.safetensors"]
    assert theirs.fsck(level="full").ok


def test_a_partial_version_is_pushed_where_the_rest_is_and_nowhere_else(
    theirs: mvs.Repository, ours: mvs.Repository, tmp_path: Path
) -> None:
    assert not theirs.push().refs
    theirs.add_remote("other", str(tmp_path / "other"))
    with pytest.raises(NotPulled, match=r"'optimizer.pt' of 'm:v2'"):
        theirs.push(remote="other")
    with pytest.raises(NotPulled):
        theirs.bundle(tmp_path / "m.mvs", "m:v2")
    ours.add_remote("other", str(tmp_path / "other"))
    ours.push("m:v1", remote="other")
    with pytest.raises(NotPulled):
        theirs.push(remote="other")
    theirs.pull("m:v2")
    assert len(theirs.push(remote="other").refs) == 1


def test_du_tells_what_is_not_here(theirs: mvs.Repository) -> None:
    [used] = theirs.du().versions
    assert used.encodings["not-pulled"] == (len(NEXT["optimizer.pt"]), 0)
    assert used.size == sum(map(len, NEXT.values()))


def test_a_pull_that_fails_leaves_no_version_and_a_list_at_most(
    ours: mvs.Repository, tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A version without its list would be taken for damaged."""
    monkeypatch.setattr("mvs.store.names.journal.Journal.append", lambda *_: 1 / 0)
    repo = joined(tmp_path / "theirs", url)
    with pytest.raises(ZeroDivisionError):
        repo.pull("m:v2", include=["*.json"])
    assert not repo.list()
    assert len(lists(repo)) == 1
    monkeypatch.undo()
    assert repo.fsck().ok
    repo.gc(expire="now")
    assert not lists(repo)
    repo.pull("m:v2")
    assert same(repo.get("m:v2"), ours.get("m:v2"))


def test_two_pulls_of_other_files_both_count(
    ours: mvs.Repository, tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    repo = joined(tmp_path / "theirs", url)
    module = import_module("mvs.ops.transfer.pull")
    before = module._publish
    ran: list[str] = []

    def slow(*args: Any, **options: Any) -> Any:
        if not ran:
            ran.append("other")
            mvs.open(tmp_path / "theirs").pull("m:v2", include=["*.pt"])
        return before(*args, **options)

    monkeypatch.setattr(module, "_publish", slow)
    repo.pull("m:v2", include=["*.json"])
    assert repo.get("m:v2").absent == ("model.safetensors",)
    repo.pull("m:v2")
    assert same(repo.get("m:v2"), ours.get("m:v2"))


def test_a_pull_that_is_cut_off_anywhere_is_as_good_as_none(
    theirs: mvs.Repository, ours: mvs.Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        counted(patched, lambda bucket: Broken(bucket, 2))
        with pytest.raises(RemoteFailed):
            theirs.pull("m:v2")
    assert theirs.get("m:v2").absent == ("optimizer.pt",)
    theirs.pull("m:v2")
    assert same(theirs.get("m:v2"), ours.get("m:v2"))


@pytest.mark.parametrize("data", [b"", b"mvs-partial 1 x\n", b"\xff" * 99])
def test_a_damaged_list_is_found_stops_gc_and_is_mended_by_a_pull(
    theirs: mvs.Repository, ours: mvs.Repository, data: bytes
) -> None:
    [path] = lists(theirs)
    path.write_bytes(data)
    assert "partial-damaged" in {finding.kind for finding in theirs.fsck().findings}
    with pytest.raises(Corrupt, match="m:v2"):
        theirs.gc(expire="now")
    with pytest.raises(Corrupt):
        theirs.get("m:v2").read_bytes("optimizer.pt")
    theirs.pull("m:v2", include=["*.json"])
    assert theirs.get("m:v2").absent == ("optimizer.pt",)
    theirs.pull("m:v2")
    assert same(theirs.get("m:v2"), ours.get("m:v2"))
    assert theirs.fsck(level="full").ok


def test_a_pinned_version_gets_the_rest_when_it_is_checked_out(theirs: mvs.Repository, tmp_path: Path) -> None:
    theirs.pin("m:v2", to="serving")
    theirs.checkout_pins()
    assert {path.name: path.read_bytes() for path in (tmp_path / "theirs" / "serving").iterdir()} == NEXT
    assert not lists(theirs)


def test_a_pinned_version_whose_files_are_in_place_needs_no_remote(
    theirs: mvs.Repository, tmp_path: Path, url: str
) -> None:
    folder = tmp_path / "theirs" / "serving"
    folder.mkdir()
    for path, data in NEXT.items():
        (folder / path).write_bytes(data)
    Path(url).rename(tmp_path / "away")
    theirs.pin("m:v2", to="serving")
    assert theirs.checkout_pins() == []
    assert theirs.get("m:v2").absent == ("optimizer.pt",)
    (folder / "optimizer.pt").unlink()
    with pytest.raises(RemoteFailed):
        theirs.checkout_pins()
