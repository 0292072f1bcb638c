"""A save makes exactly one version of exactly these files, or nothing."""

import errno
import os
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

import mvs
from mvs.errors import (
    EmptyFolder,
    ForbiddenPlace,
    InvalidInput,
    InvalidMetadata,
    InvalidTag,
    NotFound,
    ReadOnlyStore,
    SourceChanged,
    SourceNotFound,
    StorageFull,
    SyncFailed,
    TagExists,
    VersionNotFound,
)
from mvs.format.names import Bump
from mvs.running.parallel import Advance
from mvs.store import hashing, staging


def blobs(repo: mvs.Repository) -> dict[str, int]:
    """Every object of the store, by id, with its inode."""
    return {path.parent.name + path.name: path.stat().st_ino for path in (repo.store / "objects").glob("*/*")}


def staged(repo: mvs.Repository) -> list[Path]:
    return [path for path in (repo.store / "staging").rglob("*") if path.is_file()]


def test_a_generated_version_is_time_and_content(repo: mvs.Repository, folder: Path) -> None:
    before = datetime.now(UTC).replace(microsecond=0)
    version = repo.save(folder, "bert")
    found = re.fullmatch(r"(\d{8}-\d{6})-([0-9a-f]{6})", version.version)
    assert found
    assert before <= datetime.strptime(found[1], "%Y%m%d-%H%M%S").replace(tzinfo=UTC) <= datetime.now(UTC)
    assert found[1] == f"{version.created:%Y%m%d-%H%M%S}"
    assert found[2] == version.tree[:6]


def test_generated_versions_of_one_second_are_numbered(
    repo: mvs.Repository, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.time_ns", lambda: 1_800_000_000 * 10**9)
    first = repo.save(folder, "bert")
    second = repo.save(folder, "bert", message="again")
    repo.delete(second)
    third = repo.save(folder, "bert", message="and again")
    assert first.version.startswith("20270115-080000-")
    assert [second.version, third.version] == [f"{first.version}.2", f"{first.version}.3"]
    assert repo.get("bert") == third


def test_a_tag_never_comes_to_mean_other_files(repo: mvs.Repository, folder: Path) -> None:
    version = repo.save(folder, "bert:v1")
    (folder / "config.json").write_text('{"layers": 3}')
    with pytest.raises(TagExists, match="'bert:v1'") as caught:
        repo.save(folder, "bert:v1")
    assert caught.value.hint == "mvs show bert:v1"
    assert repo.get("bert:v1") == version
    assert version.read_bytes("config.json") == b'{"layers": 2}'


@pytest.mark.parametrize(
    "other",
    [{"labels": {"stage": "test"}}, {"metadata": {"accuracy": 0.9}}, {"message": "second"}, {"parents": ["base"]}],
)
def test_a_tag_never_comes_to_mean_other_facts(repo: mvs.Repository, folder: Path, other: dict[str, object]) -> None:
    repo.save(folder, "base")
    repo.save(folder, "bert:v1")
    with pytest.raises(TagExists):
        repo.save(folder, "bert:v1", **other)  # type: ignore[arg-type]


def test_a_retry_is_a_success_that_says_so(
    repo: mvs.Repository, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A job that is started again after its save must not fail, whatever its context is now."""
    base = repo.save(folder, "base")
    facts = {"labels": {"a": "b"}, "metadata": {"x": [1, None]}, "parents": [base], "message": "hello"}
    first = repo.save(folder, "bert:v1", **facts, context={"run": 1})  # type: ignore[arg-type]
    assert not caplog.text
    again = repo.save(folder, "bert:v1", **facts, context={"run": 2})  # type: ignore[arg-type]
    assert again == first
    assert again.created == first.created
    assert "'bert:v1' has this content already" in caplog.text


def test_if_changed_returns_the_latest_when_it_has_these_files(
    repo: mvs.Repository, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first = repo.save(folder, "bert", if_changed=True)
    assert repo.save(folder, "bert", if_changed=True, labels={"other": "labels"}) == first
    assert "nothing was saved" in caplog.text
    (folder / "config.json").write_text("{}")
    second = repo.save(folder, "bert", if_changed=True)
    assert repo.list("bert") == [second, first]


def test_if_changed_looks_at_the_latest_only(repo: mvs.Repository, folder: Path) -> None:
    repo.save(folder, "bert:v1")
    (folder / "config.json").write_text("{}")
    repo.save(folder, "bert:v2")
    (folder / "config.json").write_text('{"layers": 2}')
    assert repo.save(folder, "bert:v3", if_changed=True).version == "v3"


def test_if_changed_sees_modes_and_empty_folders(repo: mvs.Repository, folder: Path) -> None:
    repo.save(folder, "bert:v1")
    (folder / "config.json").chmod(0o755)
    assert repo.save(folder, "bert:v2", if_changed=True).version == "v2"
    (folder / "logs").mkdir()
    assert repo.save(folder, "bert:v3", if_changed=True).version == "v3"


def test_parents_may_be_versions_specs_and_tags(repo: mvs.Repository, folder: Path) -> None:
    a, b, c = (repo.save(folder, f"base:{name}") for name in "abc")
    version = repo.save(folder, "bert:v1", parents=[a, "base:latest~1", c.tag])
    assert version.parents == (a.id, b.id, c.id)
    assert repo.save(folder, "bert:v2", parents="base").parents == (c.id,)
    assert repo.save(folder, "bert:v3", parents=iter([a])).parents == (a.id,)


def test_an_unknown_parent_is_refused_before_anything_is_read(repo: mvs.Repository) -> None:
    with pytest.raises(NotFound, match="no model 'nobody'"):
        repo.save("/no/such/path", "bert", parents=["nobody"])


def test_content_that_is_there_is_not_stored_again(repo: mvs.Repository, folder: Path) -> None:
    repo.save(folder, "bert:v1")
    before = blobs(repo)
    version = repo.save(folder, "gpt:v1")
    after = blobs(repo)
    assert after.keys() - before.keys() == {version.id}
    assert before.items() <= after.items()


def test_the_source_is_left_as_it_is(repo: mvs.Repository, folder: Path) -> None:
    before = {path: path.stat() for path in folder.rglob("*")}
    repo.save(folder, "bert")
    after = {path: path.stat() for path in folder.rglob("*")}
    assert {path: (s.st_ino, s.st_mode, s.st_mtime_ns, s.st_nlink) for path, s in before.items()} == {
        path: (s.st_ino, s.st_mode, s.st_mtime_ns, s.st_nlink) for path, s in after.items()
    }


def test_writing_to_the_source_does_not_change_the_version(repo: mvs.Repository, folder: Path) -> None:
    version = repo.save(folder, "bert")
    with open(folder / "weights.bin", "r+b") as file:
        file.write(b"overwritten in place")
    assert version.read_bytes("weights.bin") == bytes(range(250)) * 400


def test_a_single_file_is_a_version_of_one_file(repo: mvs.Repository, folder: Path) -> None:
    version = repo.save(folder / "config.json", "config")
    assert [file.path for file in version.files] == ["config.json"]


def test_move_takes_the_files_themselves(repo: mvs.Repository, folder: Path) -> None:
    inode = (folder / "weights.bin").stat().st_ino
    version = repo.save(folder, "bert", move=True)
    assert not folder.exists()
    assert blobs(repo)[version.files[-1].blob] == inode
    assert version.read_bytes("weights.bin") == bytes(range(250)) * 400


def test_move_of_a_single_file_takes_only_that(repo: mvs.Repository, folder: Path) -> None:
    repo.save(folder / "config.json", "config", move=True)
    assert not (folder / "config.json").exists()
    assert (folder / "weights.bin").exists()


def test_move_of_what_the_store_has_still_removes_the_source(repo: mvs.Repository, folder: Path) -> None:
    repo.save(folder, "bert:v1")
    repo.save(folder, "bert:v2", move=True)
    assert not folder.exists()
    assert repo.get("bert:v2").read_bytes("config.json") == b'{"layers": 2}'


def test_a_file_with_another_name_is_copied_by_move(repo: mvs.Repository, folder: Path, tmp_path: Path) -> None:
    """Whoever writes to the other name would write into the store."""
    os.link(folder / "config.json", tmp_path / "other")
    version = repo.save(folder, "bert", move=True)
    (tmp_path / "other").write_text("changed")
    assert version.read_bytes("config.json") == b'{"layers": 2}'


def test_move_keeps_the_source_when_the_tag_is_taken(repo: mvs.Repository, folder: Path) -> None:
    repo.save(folder, "bert:v1")
    (folder / "config.json").write_text("precious")
    with pytest.raises(TagExists):
        repo.save(folder, "bert:v1", move=True)
    assert (folder / "config.json").read_text() == "precious"
    assert os.access(folder / "config.json", os.W_OK)
    assert (folder / "weights.bin").stat().st_nlink == 1
    assert staged(repo) == []


def test_move_refuses_a_folder_that_holds_the_store(repo: mvs.Repository, folder: Path) -> None:
    (repo.root.parent / "weights.bin").write_text("x")
    for root in (repo.root.parent, repo.root.parent.parent):
        with pytest.raises(ForbiddenPlace):
            repo.save(root, "bert", move=True)
    assert (repo.root.parent / "weights.bin").exists()
    assert repo.list() == []


def test_move_refuses_a_folder_that_holds_another_repository(repo: mvs.Repository, folder: Path) -> None:
    other = mvs.init(folder / "sub")
    kept = other.save(folder / "config.json", "config")
    with pytest.raises(ForbiddenPlace):
        repo.save(folder, "bert", move=True)
    assert mvs.open(folder / "sub").list() == [kept]


def test_a_repository_can_be_saved_without_what_belongs_to_mvs(
    repo: mvs.Repository, caplog: pytest.LogCaptureFixture
) -> None:
    (repo.root.parent / "weights.bin").write_text("x")
    version = repo.save(repo.root.parent, "bert")
    assert [file.path for file in version.files] == ["weights.bin"]
    assert "left out '.mvs'" in caplog.text


@pytest.mark.parametrize("inside", ["", "objects", "refs/tags"])
def test_the_store_is_not_saved_into_itself(repo: mvs.Repository, folder: Path, inside: str) -> None:
    repo.save(folder, "bert:v1")
    with pytest.raises(ForbiddenPlace):
        repo.save(repo.store / inside, "store")


@pytest.mark.parametrize(("path", "error"), [("", SourceNotFound), ("nowhere", SourceNotFound), ("empty", EmptyFolder)])
def test_nothing_is_left_of_a_refused_source(
    repo: mvs.Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str, error: type[Exception]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(error):
        repo.save(path, "bert:v1")
    assert repo.list() == []
    assert blobs(repo) == {}
    assert staged(repo) == []


@pytest.mark.parametrize("tag", ["", ":v1", "bert:", "be rt", "bert:latest", "a//b", "/bert", "bert:v/1", "bërt", "-b"])
def test_what_is_no_tag_is_refused_before_the_files_are_touched(repo: mvs.Repository, tag: str) -> None:
    with pytest.raises(InvalidTag):
        repo.save("/no/such/path", tag)


@pytest.mark.parametrize(
    "facts",
    [
        {"labels": {"stage": 1}},
        {"labels": {1: "stage"}},
        {"labels": ["stage"]},
        {"metadata": {"loss": float("nan")}},
        {"metadata": {"blob": b"bytes"}},
        {"metadata": {"deep": [{"z": 1j}]}},
        {"metadata": {"objects": {object()}}},
        {"context": {"x": float("inf")}},
    ],
)
def test_what_cannot_be_stored_is_refused_before_the_files_are_touched(
    repo: mvs.Repository, facts: dict[str, object]
) -> None:
    with pytest.raises(InvalidMetadata) as caught:
        repo.save("/no/such/path", "bert", **facts)  # type: ignore[arg-type]
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize("message", [1, None, "\ud800"])
def test_a_message_is_text(repo: mvs.Repository, message: str) -> None:
    with pytest.raises(InvalidInput, match="message"):
        repo.save("/no/such/path", "bert", message=message)


def test_names_are_lowered_with_a_word(repo: mvs.Repository, folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A training run that finished must not fail on a capital."""
    version = repo.save(folder, "Acme/BERT:V1")
    assert str(version.tag) == "acme/bert:v1"
    assert "'acme/bert:v1'" in caplog.text
    caplog.clear()
    repo.save(folder, "acme/bert:v2")
    assert not caplog.text


@pytest.mark.parametrize("change", ["grow", "shrink", "rewrite"])
def test_a_file_that_changes_while_it_is_copied_is_refused(
    repo: mvs.Repository, folder: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    real = hashing.copy_open
    weights = folder / "weights.bin"

    def copy_and_change(source: int, target: int, advance: Advance) -> tuple[object, int]:
        done = real(source, target, advance)
        if done[1] == 100_000:
            if change == "shrink":
                os.truncate(weights, 5)
            else:
                with open(weights, "ab" if change == "grow" else "r+b") as file:
                    file.write(b"new")
        return done

    monkeypatch.setattr(staging, "copy_open", copy_and_change)
    with pytest.raises(SourceChanged, match=r"weights\.bin"):
        repo.save(folder, "bert")
    assert repo.list() == []
    assert staged(repo) == []


@pytest.mark.parametrize(
    ("call", "number", "error"),
    [
        ("fsync", errno.EIO, SyncFailed),
        ("write", errno.ENOSPC, StorageFull),
        ("link", errno.EROFS, ReadOnlyStore),
    ],
)
def test_a_failing_disk_saves_nothing_and_says_why(
    repo: mvs.Repository, folder: Path, monkeypatch: pytest.MonkeyPatch, call: str, number: int, error: type[Exception]
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as broken:
        broken.setattr(os, call, fail)
        with pytest.raises(error):
            repo.save(folder, "bert:v1")
    assert repo.list() == []
    assert staged(repo) == []
    assert str(repo.save(folder, "bert:v1").tag) == "bert:v1"


def test_a_bump_takes_the_number_after_the_highest(repo: mvs.Repository, folder: Path) -> None:
    bumps: list[Bump] = ["minor", "patch", "minor", "major"]
    assert [repo.save(folder, "bert", bump=bump).version for bump in bumps] == ["0.1.0", "0.1.1", "0.2.0", "1.0.0"]
    with repo.create("bert", bump="minor") as draft:
        (draft.path / "x").write_bytes(b"x")
    assert draft.version.version == "1.1.0"
    assert repo.save(folder, "bert", bump="patch", if_changed=True).version == "1.1.1"
    assert repo.save(folder, "bert", bump="patch", if_changed=True).version == "1.1.1"
    assert repo.get("bert:^1.0").version == "1.1.1"
    assert repo.get("bert:~0.1").version == "0.1.1"
    with pytest.raises(VersionNotFound, match=r"no version 'bert:\^2'"):
        repo.get("bert:^2")


def test_a_bump_leaves_out_what_was_deleted(repo: mvs.Repository, folder: Path) -> None:
    """A number that was deployed must not come to mean something else."""
    for version in ("1.0.0", "1.1.0", "1.2.0"):
        repo.save(folder, f"bert:{version}")
    repo.delete("bert:1.1.0", "bert:1.2.0")
    (folder / "weights.bin").write_bytes(b"other")
    assert repo.save(folder, "bert", bump="minor").version == "1.3.0"


@pytest.mark.parametrize(("tag", "bump"), [("bert:v1", "minor"), ("bert", "tiny")])
def test_a_bump_that_makes_no_sense_is_refused(repo: mvs.Repository, folder: Path, tag: str, bump: Bump) -> None:
    with pytest.raises(InvalidInput):
        repo.save(folder, tag, bump=bump)
    with pytest.raises(InvalidInput):
        repo.create(tag, bump=bump)


def test_of_one_number_spelled_twice_a_range_means_what_was_saved_last(repo: mvs.Repository, folder: Path) -> None:
    for version in ("1.0.0", "v1.0", "1.0"):
        repo.save(folder, f"bert:{version}")
    assert repo.get("bert:^1").version == "1.0"
    repo.delete("bert:1.0")
    assert repo.get("bert:^1").version == "v1.0"
