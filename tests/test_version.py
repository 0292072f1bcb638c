"""A version tells what was saved, for ever, and gives the files back."""

import io
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from blake3 import blake3

import mvs
from mvs.errors import CorruptObject, FileNotInVersion, InvalidTag, MissingObject, VersionNotFound

METADATA = {"accuracy": 0.94, "layers": [2, {"deep": None}], "big": 2**63, "ok": True, "none": None, "text": "ü"}


@pytest.fixture
def version(repo: mvs.Repository, folder: Path) -> mvs.Version:
    (folder / "logs").mkdir()
    return repo.save(
        folder,
        "acme/bert:v1",
        labels={"stage": "production"},
        metadata=METADATA,
        context={"run": "7"},
        message="first\nline",
    )


def object_of(repo: mvs.Repository, version: mvs.Version, path: str) -> Path:
    blob = next(file.blob for file in version.files if file.path == path)
    return repo.store / "objects" / blob[:2] / blob[2:]


def test_it_tells_what_was_saved(version: mvs.Version, repo: mvs.Repository) -> None:
    for told in (version, repo.get("acme/bert"), mvs.open(repo.root.parent).get("acme/bert:v1")):
        assert (str(told.tag), told.name, told.version) == ("acme/bert:v1", "acme/bert", "v1")
        assert told.tag == mvs.Tag.parse("acme/bert:v1")
        assert told.labels == {"stage": "production"}
        assert told.metadata == METADATA
        assert told.context["run"] == "7"
        assert told.message == "first\nline"
        assert told.parents == ()
        assert told == version


def test_it_was_created_just_now_in_utc(version: mvs.Version) -> None:
    assert version.created.tzinfo is UTC
    assert timedelta(0) <= datetime.now(UTC) - version.created < timedelta(minutes=10)


def test_files_are_told_by_what_b3sum_prints(version: mvs.Version, folder: Path) -> None:
    assert [(f.path, f.size, f.blob, f.executable) for f in version.files] == [
        (path, len(data), blake3(data).hexdigest(), path == "run.sh")
        for path in ("config.json", "run.sh", "sub/vocab.txt", "weights.bin")
        for data in [(folder / path).read_bytes()]
    ]
    assert version.size == sum(file.size for file in version.files)


def test_its_id_is_the_hash_of_its_manifest(version: mvs.Version, repo: mvs.Repository) -> None:
    manifest = repo.store / "objects" / version.id[:2] / version.id[2:]
    assert blake3(manifest.read_bytes()).hexdigest() == version.id


def test_equal_files_have_an_equal_tree_and_another_id(
    version: mvs.Version, repo: mvs.Repository, folder: Path
) -> None:
    again = repo.save(folder, "gpt:v1")
    assert again.tree == version.tree
    assert again.id != version.id
    assert again != version
    assert len({again, version, repo.get("gpt")}) == 2


def test_what_it_hands_out_cannot_change_it(version: mvs.Version) -> None:
    version.labels["stage"] = "changed"
    version.metadata["layers"].append(3)
    version.context.clear()
    assert version.labels == {"stage": "production"}
    assert version.metadata == METADATA
    assert version.context["run"] == "7"
    with pytest.raises(AttributeError):
        version.message = "changed"  # type: ignore[misc]
    with pytest.raises(AttributeError):
        version.files[0].size = 1  # type: ignore[misc]


def test_its_path_is_a_read_only_folder_of_links_to_the_objects(
    version: mvs.Version, repo: mvs.Repository, folder: Path
) -> None:
    for name in ("config.json", "sub/vocab.txt", "weights.bin"):
        assert (version.path / name).samefile(object_of(repo, version, name))
        assert (version.path / name).read_bytes() == (folder / name).read_bytes()
    assert os.access(version.path / "run.sh", os.X_OK)
    assert (version.path / "logs").is_dir()
    for place in (version.path, *version.path.rglob("*")):
        assert not place.stat().st_mode & 0o222, place


def test_its_path_is_the_same_each_time(version: mvs.Version, repo: mvs.Repository) -> None:
    inode = version.path.stat().st_ino
    assert repo.get("acme/bert").path == version.path
    assert version.path.stat().st_ino == inode


def test_a_path_that_lost_a_file_is_made_again(version: mvs.Version) -> None:
    """The cache may be deleted at any time, in part as well."""
    version.path.chmod(0o755)
    (version.path / "config.json").unlink()
    assert (version.path / "config.json").read_text() == '{"layers": 2}'


def test_open_gives_a_binary_file_that_can_seek(version: mvs.Version) -> None:
    with version.open("weights.bin") as file:
        assert isinstance(file, io.BufferedIOBase)
        file.seek(250)
        assert file.read(3) == b"\0\1\2"
        assert file.seek(-1, os.SEEK_END) == 99_999
        assert file.read() == b"\xf9"
        assert not file.writable()


def test_bytes_are_read_whole_and_in_blocks(version: mvs.Version, folder: Path) -> None:
    data = (folder / "weights.bin").read_bytes()
    assert version.read_bytes("weights.bin") == data
    assert b"".join(version.blocks("weights.bin")) == data


@pytest.mark.parametrize("path", ["nothing", "", "sub", "/config.json", "./config.json", "sub/../config.json"])
def test_a_file_that_is_not_in_it_is_refused(version: mvs.Version, path: str) -> None:
    with pytest.raises(FileNotInVersion, match=r"in 'acme/bert:v1'"):
        version.open(path)
    with pytest.raises(FileNotInVersion):
        version.read_bytes(path)


def test_a_flipped_bit_is_found_when_bytes_are_read(version: mvs.Version, repo: mvs.Repository) -> None:
    place = object_of(repo, version, "config.json")
    place.chmod(0o644)
    place.write_text('{"layers": 9}')
    with pytest.raises(CorruptObject, match=r"'config\.json' of 'acme/bert:v1'"):
        version.read_bytes("config.json")
    with pytest.raises(CorruptObject):
        list(version.blocks("config.json"))


def test_a_lost_object_is_named(version: mvs.Version, repo: mvs.Repository) -> None:
    object_of(repo, version, "config.json").unlink()
    with pytest.raises(MissingObject, match="acme/bert:v1"):
        version.open("config.json")
    with pytest.raises(MissingObject):
        _ = version.path


def test_a_deleted_version_whose_files_are_gone_says_so(version: mvs.Version, repo: mvs.Repository) -> None:
    repo.delete(version)
    object_of(repo, version, "config.json").unlink()
    with pytest.raises(VersionNotFound, match="was deleted") as caught:
        version.open("config.json")
    assert caught.value.hint == "mvs restore acme/bert:v1"


def test_as_a_dict_it_has_the_keys_of_the_command_line(version: mvs.Version) -> None:
    facts = version.to_dict()
    assert facts["files"][0] == {
        "path": "config.json",
        "size": 13,
        "blob": version.files[0].blob,
        "executable": False,
    }
    assert datetime.fromisoformat(facts["created"]) == version.created
    assert version.to_dict(files=False) == {key: value for key, value in facts.items() if key != "files"}


def test_it_can_be_printed(version: mvs.Version) -> None:
    assert str(version) == "acme/bert:v1"
    assert repr(version) == f"<mvs.Version acme/bert:v1 {version.id[:12]}>"


def test_tags_are_parsed_compared_and_printed() -> None:
    tag = mvs.Tag.parse("Acme/Bert:V1")
    assert str(tag) == "acme/bert:v1"
    assert (tag.name, tag.version) == ("acme/bert", "v1")
    assert tag == mvs.Tag("acme/bert", "v1")
    assert mvs.Tag.parse(tag) is tag
    assert sorted([mvs.Tag("b", "a"), mvs.Tag("a", "c"), mvs.Tag("a", "b")])[0] == mvs.Tag("a", "b")
    for text in ("bert", "bert:", "bert:latest", "bert@prod", "bert:v1:v2"):
        with pytest.raises(InvalidTag):
            mvs.Tag.parse(text)
