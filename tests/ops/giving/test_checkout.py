"""A checkout gives back exactly what was saved, and touches nothing else."""

import os
from pathlib import Path

import pytest

import mvs
from mvs.errors import CorruptObject, DestinationExists, FileNotInVersion, ForbiddenPlace, InvalidInput, MissingObject

Contents = dict[str, bytes]


@pytest.fixture
def version(repo: mvs.Repository, folder: Path) -> mvs.Version:
    (folder / "logs" / "old").mkdir(parents=True)
    return repo.save(folder, "bert:v1")


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


def contents(folder: Path) -> Contents:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def inodes(folder: Path) -> dict[str, int]:
    return {path: (folder / path).stat().st_ino for path in contents(folder)}


def object_of(repo: mvs.Repository, version: mvs.Version, path: str) -> Path:
    blob = next(file.blob for file in version.files if file.path == path)
    return repo.store / "objects" / blob[:2] / blob[2:]


def damage(repo: mvs.Repository, version: mvs.Version, path: str) -> None:
    """Flip one bit of a stored file."""
    place = object_of(repo, version, path)
    data = bytearray(place.read_bytes())
    data[len(data) // 2] ^= 1
    place.chmod(0o644)
    place.write_bytes(data)


@pytest.mark.usefixtures("version")
def test_a_checkout_is_what_was_saved(repo: mvs.Repository, folder: Path, out: Path) -> None:
    assert repo.checkout("bert", out) == out
    assert contents(out) == contents(folder)
    assert os.access(out / "run.sh", os.X_OK)
    assert not (out / "weights.bin").stat().st_mode & 0o111
    assert (out / "logs" / "old").is_dir()


@pytest.mark.usefixtures("version")
def test_a_copy_can_be_written_to_and_the_store_stays_as_it_is(repo: mvs.Repository, folder: Path, out: Path) -> None:
    repo.checkout("bert", out)
    for path in contents(out):
        (out / path).write_text("mine")
    assert repo.get("bert").read_bytes("weights.bin") == (folder / "weights.bin").read_bytes()


def test_a_linked_checkout_is_read_only_and_costs_no_bytes(
    repo: mvs.Repository, version: mvs.Version, folder: Path, out: Path
) -> None:
    repo.checkout(version, out, link=True)
    assert contents(out) == contents(folder)
    assert (out / "weights.bin").samefile(object_of(repo, version, "weights.bin"))
    assert (out / "weights.bin").stat().st_mode & 0o777 == 0o444
    assert os.access(out / "run.sh", os.X_OK)
    assert not os.access(object_of(repo, version, "run.sh"), os.X_OK)


@pytest.mark.usefixtures("version")
@pytest.mark.parametrize("link", [False, True])
def test_a_second_checkout_changes_nothing(repo: mvs.Repository, out: Path, link: bool) -> None:
    repo.checkout("bert", out, link=link)
    before = inodes(out)
    repo.checkout("bert", out, link=link)
    assert inodes(out) == before


@pytest.mark.usefixtures("version")
@pytest.mark.parametrize(
    ("include", "exclude", "paths"),
    [
        (["*.json"], [], {"config.json"}),
        (["*.txt", "weights.*"], [], {"sub/vocab.txt", "weights.bin"}),
        (["sub/*"], [], {"sub/vocab.txt"}),
        ([], ["*.bin", "run.sh"], {"config.json", "sub/vocab.txt"}),
        (["*.json", "*.bin"], ["weights*"], {"config.json"}),
        (["c?nfig.jso[mn]"], [], {"config.json"}),
    ],
)
def test_globs_choose_files(
    repo: mvs.Repository, out: Path, include: list[str], exclude: list[str], paths: set[str]
) -> None:
    repo.checkout("bert", out, include=include, exclude=exclude)
    assert contents(out).keys() == paths


@pytest.mark.usefixtures("version")
def test_globs_that_leave_nothing_are_refused(repo: mvs.Repository, out: Path) -> None:
    with pytest.raises(FileNotInVersion, match="no file of 'bert:v1' matches"):
        repo.checkout("bert", out, include=["*.onnx"])
    assert not out.exists()


@pytest.mark.usefixtures("version")
def test_missing_parents_are_made(repo: mvs.Repository, tmp_path: Path) -> None:
    repo.checkout("bert", tmp_path / "a" / "b" / "c")
    assert (tmp_path / "a" / "b" / "c" / "config.json").exists()
    assert os.listdir(tmp_path / "a" / "b") == ["c"]


@pytest.mark.usefixtures("version")
@pytest.mark.parametrize("dest", [".", "./", "../here", "here2/", "~"])
def test_a_destination_may_be_written_in_many_ways(
    repo: mvs.Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dest: str
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    repo.checkout("bert", dest)
    assert (tmp_path / "here" / dest / "sub" / "vocab.txt").read_text() == "a\nb\n"


@pytest.mark.usefixtures("version")
def test_an_empty_destination_is_refused(repo: mvs.Repository) -> None:
    with pytest.raises(InvalidInput, match="empty"):
        repo.checkout("bert", "")


@pytest.mark.usefixtures("version")
def test_an_empty_folder_is_filled_and_stays_the_same_folder(repo: mvs.Repository, out: Path) -> None:
    """It may be a mount point, or a shell's working directory."""
    out.mkdir()
    before = out.stat().st_ino
    repo.checkout("bert", out)
    assert out.stat().st_ino == before
    assert (out / "config.json").exists()


@pytest.mark.usefixtures("version")
def test_a_link_to_a_folder_is_followed_and_stays(repo: mvs.Repository, tmp_path: Path, out: Path) -> None:
    (tmp_path / "disk").mkdir()
    out.symlink_to(tmp_path / "disk")
    repo.checkout("bert", out)
    assert out.is_symlink()
    assert (tmp_path / "disk" / "config.json").exists()


@pytest.mark.usefixtures("version")
@pytest.mark.parametrize("force", [False, True])
def test_a_file_in_the_way_is_never_replaced_by_a_folder(repo: mvs.Repository, out: Path, force: bool) -> None:
    out.write_text("mine")
    with pytest.raises(DestinationExists, match="is a file"):
        repo.checkout("bert", out, force=force)
    assert out.read_text() == "mine"


@pytest.mark.usefixtures("version")
def test_a_file_above_the_destination_is_in_the_way(repo: mvs.Repository, out: Path) -> None:
    out.write_text("mine")
    with pytest.raises(DestinationExists):
        repo.checkout("bert", out / "deep" / "er")
    assert out.read_text() == "mine"


@pytest.mark.usefixtures("version")
def test_a_dangling_link_is_in_the_way(repo: mvs.Repository, out: Path) -> None:
    out.symlink_to("nowhere")
    with pytest.raises(DestinationExists):
        repo.checkout("bert", out, force=True)
    assert os.readlink(out) == "nowhere"


@pytest.mark.usefixtures("version")
def test_edits_are_overwritten_only_by_force(repo: mvs.Repository, folder: Path, out: Path) -> None:
    repo.checkout("bert", out)
    (out / "config.json").write_text("mine")
    (out / "weights.bin").unlink()
    with pytest.raises(DestinationExists, match=r"'config\.json'") as caught:
        repo.checkout("bert", out)
    assert caught.value.hint == f"mvs checkout bert:v1 {out} --force"
    assert (out / "config.json").read_text() == "mine"
    assert not (out / "weights.bin").exists()
    repo.checkout("bert", out, force=True)
    assert contents(out) == contents(folder)


@pytest.mark.usefixtures("version")
@pytest.mark.parametrize("link", [False, True])
def test_files_that_are_not_in_the_version_are_left_alone(
    repo: mvs.Repository, folder: Path, out: Path, link: bool
) -> None:
    (out / "sub").mkdir(parents=True)
    (out / "notes.txt").write_text("mine")
    (out / "sub" / "more.txt").write_text("mine too")
    with pytest.raises(DestinationExists, match="not empty"):
        repo.checkout("bert", out, link=link)
    repo.checkout("bert", out, link=link, force=True)
    assert contents(out) == contents(folder) | {"notes.txt": b"mine", "sub/more.txt": b"mine too"}


@pytest.mark.usefixtures("version")
def test_force_in_a_repository_leaves_its_store(repo: mvs.Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(repo.root.parent)
    before = contents(repo.root)
    repo.checkout("bert", ".", force=True)
    assert contents(repo.root) == before
    assert Path("config.json").exists()


@pytest.mark.usefixtures("version")
@pytest.mark.parametrize("inside", ["", "objects", "new/folder"])
def test_nothing_is_checked_out_into_the_store(repo: mvs.Repository, inside: str) -> None:
    with pytest.raises(ForbiddenPlace):
        repo.checkout("bert", repo.store / inside, force=True)
    assert not (repo.store / inside / "config.json").exists()


@pytest.mark.usefixtures("version")
@pytest.mark.parametrize("force", [False, True])
def test_a_link_inside_the_destination_is_not_followed(
    repo: mvs.Repository, tmp_path: Path, out: Path, force: bool
) -> None:
    """Whoever can plant a link must not be able to redirect what is written."""
    (tmp_path / "elsewhere").mkdir()
    out.mkdir()
    (out / "sub").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(DestinationExists, match="sub"):
        repo.checkout("bert", out, force=force)
    assert os.listdir(tmp_path / "elsewhere") == []


@pytest.mark.usefixtures("version")
def test_force_replaces_a_link_by_the_file_and_not_what_it_points_at(
    repo: mvs.Repository, tmp_path: Path, out: Path
) -> None:
    (tmp_path / "precious").write_text("mine")
    out.mkdir()
    (out / "config.json").symlink_to(tmp_path / "precious")
    repo.checkout("bert", out, force=True)
    assert (tmp_path / "precious").read_text() == "mine"
    assert (out / "config.json").read_text() == '{"layers": 2}'


@pytest.mark.usefixtures("version")
def test_a_folder_where_a_file_must_be_is_refused(repo: mvs.Repository, out: Path) -> None:
    (out / "config.json").mkdir(parents=True)
    (out / "config.json" / "precious").write_text("mine")
    with pytest.raises(DestinationExists, match="is a folder"):
        repo.checkout("bert", out, force=True)
    assert contents(out) == {"config.json/precious": b"mine"}


@pytest.mark.usefixtures("version")
def test_a_lost_executable_bit_is_a_difference(repo: mvs.Repository, out: Path) -> None:
    repo.checkout("bert", out)
    (out / "run.sh").chmod(0o644)
    with pytest.raises(DestinationExists, match=r"run\.sh"):
        repo.checkout("bert", out)
    repo.checkout("bert", out, force=True)
    assert os.access(out / "run.sh", os.X_OK)


def test_a_flipped_bit_is_refused_and_leaves_nothing(
    repo: mvs.Repository, version: mvs.Version, tmp_path: Path, out: Path
) -> None:
    damage(repo, version, "weights.bin")
    before = set(tmp_path.iterdir())
    with pytest.raises(CorruptObject, match=r"'weights\.bin' of 'bert:v1'"):
        repo.checkout("bert", out)
    assert set(tmp_path.iterdir()) == before


def test_a_flipped_bit_leaves_an_existing_destination_as_it_was(
    repo: mvs.Repository, version: mvs.Version, out: Path
) -> None:
    out.mkdir()
    (out / "config.json").write_text("mine")
    damage(repo, version, "weights.bin")
    with pytest.raises(CorruptObject):
        repo.checkout("bert", out, force=True)
    assert contents(out) == {"config.json": b"mine"}
    assert os.listdir(out) == ["config.json"]


@pytest.mark.parametrize("link", [False, True])
def test_a_lost_object_is_refused_and_leaves_nothing(
    repo: mvs.Repository, version: mvs.Version, out: Path, link: bool
) -> None:
    object_of(repo, version, "weights.bin").unlink()
    with pytest.raises(MissingObject):
        repo.checkout("bert", out, link=link)
    assert not out.exists()
