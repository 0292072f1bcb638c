"""A draft becomes a version when its block ends well, and a night of training is never lost."""

import errno
import os
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

import mvs
from mvs.errors import InvalidMetadata, InvalidTag, NotFound, StorageFull, TagExists


def leftovers(repo: mvs.Repository) -> list[str]:
    return [name for place in ("staging", "rescued") for name in listed(repo.store / place)]


def listed(place: Path) -> list[str]:
    return sorted(os.listdir(place)) if place.exists() else []


def train(repo: mvs.Repository, last: Callable[[mvs.Draft], object], **facts: Any) -> None:
    """Train for a night and do `last` just before the draft is saved."""
    with repo.create("bert:v1", **facts) as draft:
        (draft.path / "the weights.bin").write_text("a night of training")
        last(draft)


def test_what_is_written_inside_is_the_version(repo: mvs.Repository) -> None:
    with repo.create("Sentiment:V1", labels={"stage": "test"}, metadata={"epochs": 3}, message="hello") as draft:
        assert draft.path.is_dir()
        (draft.path / "sub").mkdir()
        (draft.path / "sub" / "weights.bin").write_bytes(b"w" * 1000)
        draft.labels["stage"] = "production"
        draft.labels["lang"] = "de"
        draft.metadata["accuracy"] = 0.94
    version = draft.version
    assert version == repo.get("sentiment:v1")
    assert version.labels == {"stage": "production", "lang": "de"}
    assert version.metadata == {"epochs": 3, "accuracy": 0.94}
    assert version.message == "hello"
    assert version.read_bytes("sub/weights.bin") == b"w" * 1000
    assert leftovers(repo) == []


def test_files_are_adopted_and_not_copied(repo: mvs.Repository) -> None:
    with repo.create("bert") as draft:
        (draft.path / "weights.bin").write_bytes(b"w" * 1000)
        inode = (draft.path / "weights.bin").stat().st_ino
    blob = draft.version.files[0].blob
    assert (repo.store / "objects" / blob[:2] / blob[2:]).stat().st_ino == inode


def test_parents_context_and_a_generated_version(repo: mvs.Repository, folder: Path) -> None:
    base = repo.save(folder, "base:v1")
    with repo.create("bert", parents=["base"], context={"run": "42"}) as draft:
        (draft.path / "x").write_text("x")
    assert draft.version.parents == (base.id,)
    assert draft.version.context["run"] == "42"
    assert draft.version.version.endswith(draft.version.tree[:6])


def test_the_given_dicts_are_not_changed(repo: mvs.Repository) -> None:
    labels, metadata = {"a": "b"}, {"x": [1]}
    with repo.create("bert", labels=labels, metadata=metadata) as draft:
        draft.labels["c"] = "d"
        draft.metadata["x"].append(2)
        (draft.path / "x").write_text("x")
    assert (labels, metadata) == ({"a": "b"}, {"x": [1]})
    assert draft.version.metadata == {"x": [1, 2]}


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_an_exception_inside_saves_nothing_and_leaves_nothing(repo: mvs.Repository, error: type[BaseException]) -> None:
    def fail(_: mvs.Draft) -> None:
        raise error

    with pytest.raises(error):
        train(repo, fail)
    assert repo.list() == []
    assert leftovers(repo) == []
    assert list((repo.store / "objects").glob("*/*")) == []


def test_path_and_version_are_there_when_they_mean_something(repo: mvs.Repository) -> None:
    draft = repo.create("bert")
    with pytest.raises(RuntimeError, match="inside"):
        _ = draft.path
    with draft:
        (draft.path / "x").write_text("x")
        with pytest.raises(RuntimeError, match="ended well"):
            _ = draft.version
    with pytest.raises(RuntimeError, match="inside"):
        _ = draft.path


def test_a_taken_tag_is_refused_before_anything_is_written(repo: mvs.Repository, folder: Path) -> None:
    """Not after the night of training that was to be saved."""
    repo.save(folder, "bert:v1")
    with pytest.raises(TagExists):
        repo.create("bert:v1")
    assert leftovers(repo) == []


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"tag": "be rt"}, InvalidTag),
        ({"tag": "bert", "labels": {"a": 1}}, InvalidMetadata),
        ({"tag": "bert", "metadata": {"loss": float("nan")}}, InvalidMetadata),
        ({"tag": "bert", "context": {"x": b"y"}}, InvalidMetadata),
        ({"tag": "bert", "parents": ["nobody"]}, NotFound),
    ],
)
def test_bad_arguments_are_refused_before_anything_is_written(
    repo: mvs.Repository, arguments: dict[str, object], error: type[Exception]
) -> None:
    with pytest.raises(error):
        repo.create(**arguments)  # type: ignore[arg-type]
    assert leftovers(repo) == []


def rescue(cli: Callable[..., Result], hint: str) -> str:
    """Run a hint as the command it is, and return the tag it prints."""
    program, *arguments = shlex.split(hint)
    assert program == "mvs"
    return str(cli(*arguments).stdout.strip())


def spoil(draft: mvs.Draft) -> None:
    draft.metadata["loss"] = float("nan")


def test_metadata_that_cannot_be_stored_does_not_cost_the_files(
    repo: mvs.Repository, cli: Callable[..., Result]
) -> None:
    with pytest.raises(InvalidMetadata, match="kept in") as caught:
        train(repo, spoil)
    assert caught.value.kept is not None
    assert (caught.value.kept / "the weights.bin").read_text() == "a night of training"
    assert str(caught.value.kept) in str(caught.value)
    assert listed(repo.store / "staging") == []
    assert repo.list() == []

    assert rescue(cli, caught.value.hint) == "bert:v1"
    assert repo.get("bert:v1").read_bytes("the weights.bin") == b"a night of training"
    assert not caught.value.kept.exists()


def test_a_tag_taken_meanwhile_does_not_cost_the_files(
    repo: mvs.Repository, folder: Path, cli: Callable[..., Result]
) -> None:
    """The hint must not be a command that fails for the same reason."""
    with pytest.raises(TagExists) as caught:
        train(repo, lambda _: repo.save(folder, "bert:v1"), metadata={"loss": 0.5}, labels={"a": "b c"})
    assert repo.get("bert:v1").read_bytes("config.json") == b'{"layers": 2}'

    version = repo.get(rescue(cli, caught.value.hint))
    assert version.read_bytes("the weights.bin") == b"a night of training"
    assert version.name == "bert"
    assert (version.labels, version.metadata) == ({"a": "b c"}, {"loss": 0.5})


def test_a_full_disk_does_not_cost_the_files(
    repo: mvs.Repository, cli: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch, pytest.raises(StorageFull) as caught:
        train(repo, lambda _: patch.setattr(os, "write", full), labels={"stage": "test"})
    assert repo.list() == []

    assert rescue(cli, caught.value.hint) == "bert:v1"
    version = repo.get("bert:v1")
    assert version.read_bytes("the weights.bin") == b"a night of training"
    assert version.labels == {"stage": "test"}


def test_the_message_and_parents_survive_a_rescue(
    repo: mvs.Repository, folder: Path, cli: Callable[..., Result]
) -> None:
    base = repo.save(folder, "base:v1")
    with pytest.raises(InvalidMetadata) as caught:
        train(repo, spoil, message="it's done", parents=[base])
    rescue(cli, caught.value.hint)
    version = repo.get("bert:v1")
    assert (version.message, version.parents) == ("it's done", (base.id,))


def test_a_rescue_works_from_any_folder(
    repo: mvs.Repository, cli: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever reads the log of the training job is hardly ever in its folder."""
    with pytest.raises(InvalidMetadata) as caught:
        train(repo, spoil)
    monkeypatch.chdir(tmp_path)
    rescue(cli, caught.value.hint)
    assert str(repo.get("bert").tag) == "bert:v1"


def test_an_empty_draft_is_refused(repo: mvs.Repository) -> None:
    with pytest.raises(mvs.MvsError, match="holds no file"), repo.create("bert"):
        pass
    assert repo.list() == []


def test_drafts_of_one_name_run_side_by_side(repo: mvs.Repository) -> None:
    with repo.create("bert:v1") as one, repo.create("bert:v2") as two:
        (one.path / "x").write_text("1")
        (two.path / "x").write_text("2")
    assert [one.version.read_bytes("x"), two.version.read_bytes("x")] == [b"1", b"2"]
    assert repo.list() == [one.version, two.version]
