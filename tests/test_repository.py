"""The Python API as a whole: repositories are made, found, shared between them and between threads."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import mvs
from mvs.errors import InvalidInput, InvalidTag, NameNotFound, NotARepository, TagExists, UnsupportedFormat


def test_init_makes_a_repository_and_open_finds_it(tmp_path: Path, folder: Path) -> None:
    made = mvs.init(tmp_path / "new" / "repo")
    assert made.root == made.store == tmp_path / "new" / "repo" / ".mvs"
    version = made.save(folder, "bert")
    (tmp_path / "new" / "repo" / "src").mkdir()
    assert mvs.open(tmp_path / "new" / "repo" / "src").get("bert") == version


def test_init_is_here_unless_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert mvs.init().root == mvs.open().root == tmp_path / ".mvs"


def test_init_again_leaves_what_is_there(repo: mvs.Repository, folder: Path) -> None:
    version = repo.save(folder, "bert")
    again = mvs.init(repo.root.parent)
    assert again.list() == [version]


def test_two_repositories_share_a_store(tmp_path: Path, folder: Path) -> None:
    one = mvs.init(tmp_path / "one", store=tmp_path / "shared")
    two = mvs.init(tmp_path / "two", store=tmp_path / "shared")
    version = one.save(folder, "bert:v1")
    assert one.store == two.store == tmp_path / "shared"
    assert two.get("bert") == version
    assert mvs.open(tmp_path / "two").list() == [version]
    assert not (tmp_path / "one" / ".mvs" / "objects").exists()


def test_init_with_the_same_store_again_is_fine_and_with_another_refused(tmp_path: Path) -> None:
    mvs.init(tmp_path / "one", store=tmp_path / "shared")
    assert mvs.init(tmp_path / "one", store=tmp_path / "shared").store == tmp_path / "shared"
    assert mvs.init(tmp_path / "one").store == tmp_path / "shared"
    with pytest.raises(InvalidInput, match="already"):
        mvs.init(tmp_path / "one", store=tmp_path / "other")


def test_a_folder_with_other_files_does_not_become_a_store(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(NotARepository, match="no store"):
        mvs.init(tmp_path / "repo", store=folder)
    assert not (folder / "format").exists()
    assert not (tmp_path / "repo" / ".mvs").exists()


def test_open_prefers_the_nearest_repository_to_the_home(
    repo: mvs.Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(repo.root.parent)
    assert mvs.open().root == repo.root
    monkeypatch.chdir(tmp_path)
    assert mvs.open().root == tmp_path / "home"
    assert mvs.open().list() == []


def test_open_of_the_home_makes_it_once(tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    version = mvs.open().save(folder, "bert")
    assert mvs.open().get("bert") == version
    assert (tmp_path / "home" / "format").read_text() == "mvs-store 1\n"


def test_open_of_a_path_makes_nothing(tmp_path: Path) -> None:
    with pytest.raises(NotARepository):
        mvs.open(tmp_path / "nowhere")
    assert list(tmp_path.iterdir()) == []


def test_a_control_folder_that_is_no_store_is_refused(tmp_path: Path) -> None:
    (tmp_path / ".mvs").mkdir()
    with pytest.raises(NotARepository, match="is not a store"):
        mvs.open(tmp_path)


@pytest.mark.parametrize("text", ["mvs-store 2\n", "mvs-store 1\nneeds-read shards\n"])
def test_a_store_of_a_later_release_is_refused(repo: mvs.Repository, text: str) -> None:
    (repo.store / "format").write_text(text)
    with pytest.raises(UnsupportedFormat):
        mvs.open(repo.root.parent)


def test_a_store_that_may_only_be_read_is_not_changed(repo: mvs.Repository, folder: Path) -> None:
    version = repo.save(folder, "bert:v1")
    (repo.store / "format").write_text("mvs-store 1\nneeds-write aliases\n")
    reader = mvs.open(repo.root.parent)
    assert reader.get("bert") == version
    changes: list[Callable[[], object]] = [
        lambda: reader.save(folder, "bert:v2"),
        lambda: reader.create("bert:v2"),
        lambda: reader.delete("bert:v1"),
        lambda: reader.restore("bert:v1"),
    ]
    for change in changes:
        with pytest.raises(UnsupportedFormat, match="'aliases'"):
            change()
    assert reader.list() == [version]


@pytest.mark.parametrize("given", [None, 5, b"bert", ["bert"]])
def test_what_is_no_spec_at_all_is_refused(repo: mvs.Repository, given: str) -> None:
    for call in (repo.get, repo.delete, repo.restore, repo.log):
        with pytest.raises(InvalidTag):
            call(given)


def test_specs_may_be_versions_and_tags(repo: mvs.Repository, folder: Path, tmp_path: Path) -> None:
    version = repo.save(folder, mvs.Tag("bert", "v1"))
    assert repo.get(version) == repo.get(version.tag) == version
    assert repo.checkout(version, tmp_path / "out").is_dir()


def test_capitals_are_lowered_with_a_word(repo: mvs.Repository, folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    version = repo.save(folder, "bert:v1")
    assert not caplog.text
    assert repo.get("BERT:v1") == version
    assert "'bert:v1'" in caplog.text


def test_errors_are_caught_by_what_they_are(repo: mvs.Repository) -> None:
    with pytest.raises(KeyError):
        repo.get("nobody")
    with pytest.raises(ValueError, match="be rt"):
        repo.get("be rt")
    with pytest.raises(mvs.MvsError) as caught:
        repo.get("nobody")
    assert (caught.value.kind, caught.value.exit_code) == ("name-not-found", 21)


def test_the_public_names_are_there() -> None:
    assert set(mvs.__all__) == set(dir(mvs))
    assert all(getattr(mvs, name) for name in mvs.__all__)
    with pytest.raises(AttributeError, match="nothing"):
        _ = mvs.nothing


def test_threads_share_one_repository(repo: mvs.Repository, tmp_path: Path) -> None:
    def save(number: int) -> mvs.Version:
        source = tmp_path / f"source-{number}"
        source.write_text(str(number))
        return repo.save(source, f"bert:v{number}")

    with ThreadPoolExecutor(8) as pool:
        saved = list(pool.map(save, range(24)))
    assert set(repo.list("bert")) == set(saved)
    assert repo.get("bert") == max(saved, key=lambda version: version.created)
    assert len({version.created for version in saved}) == 24


def test_of_threads_that_save_one_tag_one_wins(repo: mvs.Repository, tmp_path: Path) -> None:
    def save(number: int) -> mvs.Version | None:
        source = tmp_path / str(number)
        source.mkdir()
        (source / "weights.bin").write_bytes(bytes([number]) * 50_000)
        try:
            return repo.save(source, "bert:v1")
        except TagExists:
            return None

    with ThreadPoolExecutor(4) as pool:
        (winner,) = [version for version in pool.map(save, range(4)) if version]
    assert repo.get("bert:v1") == winner
    assert len(set(winner.read_bytes("weights.bin"))) == 1
    assert os.listdir(repo.store / "staging") == []


def test_a_repository_stays_good_when_another_process_deletes(repo: mvs.Repository, folder: Path) -> None:
    repo.save(folder, "bert:v1")
    mvs.open(repo.root.parent).delete("bert:v1")
    with pytest.raises(NameNotFound):
        repo.get("bert")


@pytest.mark.parametrize(
    "verb",
    [
        lambda repo, out, **options: repo.save_state({}, "net", **options),
        lambda repo, out, **options: repo.save_async({}, "net", **options),
        lambda repo, out, **options: list(repo.watch(out, "net", once=True, **options)),
        lambda repo, out, **options: repo.run(["touch", f"{out}/ran"], watch=out, name="net", **options),
        lambda repo, out, **options: repo.prune(keep_last=1, **options),
    ],
    ids=["save_state", "save_async", "watch", "run", "prune"],
)
def test_a_misspelled_option_that_a_verb_passes_on_is_refused_before_anything_happens(
    repo: mvs.Repository, folder: Path, verb: Callable[..., Any]
) -> None:
    """A prune that passes over `where` deletes too much."""
    saved = [repo.save(folder, "net:v1"), repo.save(folder, "net:v2")]
    with pytest.raises(TypeError, match="wheer"):
        verb(repo, folder, wheer="metadata.loss > 1")
    assert repo.list() == saved[::-1]
    assert not (folder / "ran").exists()
