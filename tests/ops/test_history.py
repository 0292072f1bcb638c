"""The history of a name tells what happened, and nothing that did not."""

from pathlib import Path

import pytest

import mvs
from mvs.errors import NameNotFound


def told(repo: mvs.Repository, name: str) -> list[tuple[str, str]]:
    return [(change.event, change.tag.version) for change in repo.log(name)]


def test_saves_deletions_and_restores_are_told_newest_first(repo: mvs.Repository, folder: Path) -> None:
    repo.save(folder, "bert:v1")
    repo.save(folder, "bert:v2")
    repo.delete("bert:v1")
    repo.restore("bert:v1")
    assert told(repo, "bert") == [("restore", "v1"), ("delete", "v1"), ("save", "v2"), ("save", "v1")]


def test_an_event_tells_what_who_and_when(repo: mvs.Repository, folder: Path) -> None:
    version = repo.save(folder, "bert:v1", message="first")
    repo.delete("bert:v1")
    deleted, saved = repo.log("bert")
    assert saved.old is None
    assert deleted.new is None
    assert saved.tag == deleted.tag == version.tag
    assert saved.new == deleted.old == version.id
    assert saved.tree == deleted.tree == version.tree
    assert saved.message == deleted.message == "first"
    assert version.created == saved.at < deleted.at
    assert saved.by.startswith("tester@")


def test_a_retry_is_no_event(repo: mvs.Repository, folder: Path) -> None:
    repo.save(folder, "bert:v1")
    repo.save(folder, "bert:v1")
    assert told(repo, "bert") == [("save", "v1")]


def test_the_history_of_a_name_whose_versions_are_all_deleted(repo: mvs.Repository, folder: Path) -> None:
    """It is the way to find out what there is to restore."""
    repo.save(folder, "bert:v1")
    repo.delete("bert:v1")
    assert told(repo, "bert") == [("delete", "v1"), ("save", "v1")]


def test_each_name_has_its_own_history(repo: mvs.Repository, folder: Path) -> None:
    repo.save(folder, "acme:bert")
    repo.save(folder, "acme/bert:v1")
    assert told(repo, "acme") == [("save", "bert")]
    assert told(repo, "acme/bert") == [("save", "v1")]


def test_a_name_that_nobody_saved_has_no_history(repo: mvs.Repository) -> None:
    with pytest.raises(NameNotFound):
        repo.log("bert")


def test_an_event_whose_ref_never_followed_did_not_happen(repo: mvs.Repository, folder: Path) -> None:
    repo.save(folder, "bert:v1")
    repo.save(folder, "bert:v2")
    (repo.store / "refs" / "tags" / "bert" / "@v2").unlink()
    assert told(repo, "bert") == [("save", "v1")]


def test_versions_are_told_when_the_journal_is_lost(repo: mvs.Repository, folder: Path) -> None:
    version = repo.save(folder, "bert:v1")
    (repo.store / "journal" / "bert" / "@events").unlink()
    (change,) = repo.log("bert")
    assert (change.event, change.new, change.at) == ("save", version.id, version.created)


def test_a_damaged_ref_hides_only_itself(repo: mvs.Repository, folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    repo.save(folder, "bert:v1")
    repo.save(folder, "bert:v2")
    (repo.store / "refs" / "tags" / "bert" / "@v2").write_text("garbage")
    assert ("save", "v1") in told(repo, "bert")
    assert "'bert:v2'" in caplog.text


def test_a_damaged_manifest_costs_only_its_message(repo: mvs.Repository, folder: Path) -> None:
    version = repo.save(folder, "bert:v1", message="first")
    (repo.store / "objects" / version.id[:2] / version.id[2:]).unlink()
    (change,) = repo.log("bert")
    assert (change.new, change.message) == (version.id, "")


def test_a_torn_line_of_the_journal_costs_only_itself(repo: mvs.Repository, folder: Path) -> None:
    repo.save(folder, "bert:v1")
    with open(repo.store / "journal" / "bert" / "@events", "ab") as journal:
        journal.write(b'0123456789abcdef {"event":"sa')
    repo.save(folder, "bert:v2")
    assert told(repo, "bert") == [("save", "v2"), ("save", "v1")]
