"""The catalog makes and mends itself, and is never believed where it can be wrong."""

import os
import sqlite3
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import mvs
from mvs.errors import NameNotFound
from mvs.ops.find import query
from mvs.ops.saving import save
from mvs.store.cache.catalog import catalog, drafts, folders, tables
from mvs.store.store import Store

WHERE = "labels.stage = 'production'"


@pytest.fixture(autouse=True)
def no_save_refreshes(monkeypatch: pytest.MonkeyPatch) -> None:
    """One save in so many, by what it saved, would bring the catalog up to date."""
    monkeypatch.setattr(save, "_CATALOGUED", 1 << 32)


@pytest.fixture
def three(repo: mvs.Repository, folder: Path) -> list[mvs.Version]:
    return [
        repo.save(folder, "bert:v1", labels={"stage": "production"}, metadata={"loss": 3}),
        repo.save(folder, "acme/gpt:v1", labels={"stage": "production"}, metadata={"loss": 1}),
        repo.save(folder, "bert:v2", labels={"stage": "test"}, metadata={"loss": 2}),
    ]


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is read of manifests for the sake of the catalog."""
    read: list[str] = []
    plain = Store.said

    def said(store: Store, ref: Any) -> Any:
        read.append(str(ref.tag))
        return plain(store, ref)

    monkeypatch.setattr(Store, "said", said)
    return read


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """How often everything was read because the catalog could not answer."""
    asked: list[str] = []
    plain = query._filtered

    def filtered(*arguments: Any) -> Any:
        asked.append("all")
        return plain(*arguments)

    monkeypatch.setattr(query, "_filtered", filtered)
    return asked


def found(repo: mvs.Repository, where: str | None = WHERE, **more: Any) -> list[str]:
    return [str(version.tag) for version in repo.list(where=where, **more)]


def file_of(repo: mvs.Repository) -> Path:
    return repo.store / catalog.FILE


def let_time_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let drafts be begun so late that every folder is settled."""
    plain = drafts.new_draft

    def later(*arguments: Any) -> Any:
        draft = plain(*arguments)
        return draft and draft._replace(now=draft.now + 10 * folders.SETTLED)

    monkeypatch.setattr(catalog, "new_draft", later)


@pytest.mark.usefixtures("three")
def test_what_was_read_once_is_not_read_again(
    repo: mvs.Repository, reads: list[str], slow: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    let_time_pass(monkeypatch)
    assert found(repo) == ["acme/gpt:v1", "bert:v1"]
    assert sorted(reads) == ["acme/gpt:v1", "bert:v1", "bert:v2"]
    assert found(repo, "metadata.loss < 3", sort="metadata.loss") == ["acme/gpt:v1", "bert:v2"]
    assert found(mvs.open(repo.root.parent)) == ["acme/gpt:v1", "bert:v1"]
    assert len(reads) == 3
    assert slow == []


@pytest.mark.usefixtures("three")
def test_only_what_is_new_is_read(repo: mvs.Repository, folder: Path, reads: list[str]) -> None:
    found(repo)
    reads.clear()
    repo.save(folder, "bert:v3", labels={"stage": "production"})
    repo.delete("acme/gpt:v1")
    assert found(repo) == ["bert:v3", "bert:v1"]
    assert reads == ["bert:v3"]
    repo.restore("acme/gpt:v1")
    assert found(repo) == ["bert:v3", "acme/gpt:v1", "bert:v1"]


@pytest.mark.usefixtures("three")
def test_a_tag_that_is_taken_again_is_found_by_what_it_means_now(repo: mvs.Repository, folder: Path) -> None:
    found(repo)
    repo.delete("bert:v1")
    repo.save(folder, "bert:v1", labels={"stage": "new"}, reuse_tag=True)
    assert found(repo) == ["acme/gpt:v1"]
    assert found(repo, "tags.stage = 'new'") == ["bert:v1"]


@pytest.mark.usefixtures("three")
def test_a_change_right_after_the_catalog_was_written_is_seen(
    repo: mvs.Repository, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a file system with a slow clock a folder looks the same before and after."""
    coarse = folders.stamp

    def stamp(*arguments: Any) -> Any:
        seen = coarse(*arguments)
        return seen and folders.Stamp(seen.inode, 10**18 * (seen.modified // 10**18), 10**18 * (seen.changed // 10**18))

    monkeypatch.setattr(folders, "stamp", stamp)
    plain = drafts.new_draft
    monkeypatch.setattr(
        catalog, "new_draft", lambda *a: (draft := plain(*a)) and draft._replace(now=draft.now // 10**18 * 10**18)
    )
    assert len(found(repo)) == 2
    repo.save(folder, "bert:v3", labels={"stage": "production"})
    assert len(found(repo)) == 3


def test_refs_that_are_removed_by_hand_are_gone(
    repo: mvs.Repository, three: list[mvs.Version], monkeypatch: pytest.MonkeyPatch, slow: list[str]
) -> None:
    let_time_pass(monkeypatch)
    found(repo)
    (repo.store / "refs/tags/bert/@v1").unlink()
    assert found(repo) == ["acme/gpt:v1"]
    (repo.store / "refs/tags/acme/gpt/@v1").unlink()
    (repo.store / "refs/tags/acme/gpt/@latest").unlink()
    (repo.store / "refs/tags/acme/gpt").rmdir()
    assert found(repo) == []
    assert slow == []


def test_a_ref_that_is_changed_in_its_place_is_believed_and_not_the_catalog(
    repo: mvs.Repository, three: list[mvs.Version], monkeypatch: pytest.MonkeyPatch
) -> None:
    let_time_pass(monkeypatch)
    found(repo)
    path = repo.store / "refs/tags/bert/@v1"
    other = (repo.store / "refs/tags/acme/gpt/@v1").read_text().replace("acme/gpt", "bert")
    with path.open("r+") as file:
        file.write(other)
        file.truncate()
    assert found(repo) == ["acme/gpt:v1"]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(os.urandom(5000)),
        lambda path: path.write_bytes(path.read_bytes()[:9000]),
        lambda path: path.write_bytes(path.read_bytes()[:100] + bytes(len(path.read_bytes()) - 100)),
        lambda path: path.unlink(),
        lambda path: (path.unlink(), path.mkdir()),
        lambda path: change(path, "PRAGMA user_version = 99"),
        lambda path: change(path, "DROP TABLE facts"),
        lambda path: change(path, "DELETE FROM folders"),
        lambda path: change(path, "UPDATE folders SET inode = 'x', changed = NULL"),
    ],
    ids=["empty", "garbage", "cut", "zeros", "missing", "folder", "future", "table", "folders", "types"],
)
@pytest.mark.usefixtures("three")
def test_a_catalog_that_is_damaged_is_made_again(
    repo: mvs.Repository, spoil: Callable[[Path], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    let_time_pass(monkeypatch)
    found(repo)
    spoil(file_of(repo))
    assert found(repo) == ["acme/gpt:v1", "bert:v1"]
    assert found(repo, "metadata.loss > 1", limit=1) == ["bert:v2"]


def change(path: Path, text: str) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute(text)
    connection.close()


@pytest.mark.usefixtures("three")
def test_a_catalog_that_another_program_has_locked_answers(repo: mvs.Repository, slow: list[str]) -> None:
    found(repo)
    other = sqlite3.connect(file_of(repo), isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    try:
        assert found(repo) == ["acme/gpt:v1", "bert:v1"]
        assert slow == []
    finally:
        other.close()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
@pytest.mark.usefixtures("three")
def test_a_store_that_may_only_be_read_is_searched(repo: mvs.Repository, folder: Path) -> None:
    cache = repo.store / "cache"
    mode = stat.S_IMODE(cache.stat().st_mode)
    cache.chmod(0o555)
    try:
        assert found(repo) == ["acme/gpt:v1", "bert:v1"]
    finally:
        cache.chmod(mode)


@pytest.mark.usefixtures("three")
def test_where_no_catalog_can_be_written_nothing_is_missed(
    repo: mvs.Repository, folder: Path, monkeypatch: pytest.MonkeyPatch, slow: list[str]
) -> None:
    monkeypatch.setattr(catalog, "new_draft", lambda *_: None)
    assert found(repo) == ["acme/gpt:v1", "bert:v1"]
    repo.save(folder, "bert:v3", labels={"stage": "production"})
    assert found(repo) == ["bert:v3", "acme/gpt:v1", "bert:v1"]
    assert not file_of(repo).exists()
    assert slow == []


@pytest.mark.usefixtures("three")
def test_a_little_that_is_new_is_read_without_writing_a_file(
    repo: mvs.Repository, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found(repo)
    monkeypatch.setattr(catalog, "_SHARE", 0)
    before = file_of(repo).stat().st_ino
    repo.save(folder, "bert:v3", labels={"stage": "production"})
    repo.delete("bert:v1")
    assert found(repo) == ["bert:v3", "acme/gpt:v1"]
    assert found(repo, "name = 'bert'", sort="version:desc", limit=1) == ["bert:v3"]
    assert file_of(repo).stat().st_ino == before


@pytest.mark.usefixtures("three")
def test_where_sqlite_fails_everything_is_read(
    repo: mvs.Repository, monkeypatch: pytest.MonkeyPatch, slow: list[str]
) -> None:
    def broken(*_: Any) -> Any:
        raise sqlite3.OperationalError("disk I/O error")

    monkeypatch.setattr(tables, "writable", broken)
    assert found(repo, sort="metadata.loss:desc") == ["bert:v1", "acme/gpt:v1"]
    assert found(repo, limit=1, offset=1) == ["bert:v1"]
    assert slow


def test_what_is_damaged_is_left_out_with_a_notice_each_time(
    repo: mvs.Repository, three: list[mvs.Version], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = repo.store / "objects" / three[0].id[:2] / three[0].id[2:]
    path.chmod(0o644)
    whole = path.read_bytes()
    path.write_bytes(b"garbage")
    let_time_pass(monkeypatch)
    told: list[str] = []
    monkeypatch.setattr(type(repo._progress), "notice", lambda _, text: told.append(text))
    for count in (1, 2):
        assert found(repo) == ["acme/gpt:v1"]
        assert len(told) == count
        assert "bert:v1" in told[-1]
    path.write_bytes(whole)
    assert found(repo) == ["acme/gpt:v1", "bert:v1"]


def test_what_is_damaged_later_is_left_out_and_the_next_takes_its_place(
    repo: mvs.Repository, three: list[mvs.Version], monkeypatch: pytest.MonkeyPatch
) -> None:
    let_time_pass(monkeypatch)
    found(repo)
    path = repo.store / "objects" / three[1].id[:2] / three[1].id[2:]
    path.chmod(0o644)
    path.write_bytes(b"garbage")
    assert found(repo, limit=1) == ["bert:v1"]


@pytest.mark.usefixtures("three")
def test_drafts_of_processes_that_were_killed_are_removed(repo: mvs.Repository) -> None:
    old = repo.store / catalog.FOLDER / "0123456789abcdef"
    old.mkdir(parents=True)
    (old / "catalog").write_bytes(b"half")
    os.utime(old, ns=(1, 1))
    found(repo)
    assert sorted(path.name for path in file_of(repo).parent.iterdir()) == [file_of(repo).name]


@pytest.mark.usefixtures("three")
def test_a_file_system_whose_folders_keep_no_times_has_no_catalog(
    repo: mvs.Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = os.stat

    def timeless(path: Any, **more: Any) -> Any:
        seen = plain(path, **more)
        return os.stat_result((*seen[:7], 0, 0, 0), {"st_mtime_ns": 0}) if stat.S_ISDIR(seen.st_mode) else seen

    monkeypatch.setattr(os, "stat", timeless)
    assert drafts.new_draft(Store(repo.store)._disk, catalog.FOLDER) is None


@pytest.mark.usefixtures("three")
def test_an_unknown_name_is_an_error_with_a_query_as_well(repo: mvs.Repository) -> None:
    with pytest.raises(NameNotFound):
        repo.list("brt", where=WHERE)


def test_saving_brings_the_catalog_up_to_date_now_and_then(
    repo: mvs.Repository, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the first question after a month of saves reads them all."""
    monkeypatch.setattr(save, "_CATALOGUED", 4)
    for count in range(100):
        version = repo.save(folder, f"bert:v{count}")
        assert file_of(repo).exists() == (int(version.id[:8], 16) % 4 == 0)
        if file_of(repo).exists():
            break
    assert len(repo.list(where="name = 'bert'")) == count + 1
