"""Exports: for people without mvs, the same each time, and the same content when they come back."""

import hashlib
import os
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import mvs
from mvs.errors import (
    CorruptObject,
    DestinationExists,
    FileNotInVersion,
    ForbiddenPlace,
    InvalidInput,
    MissingObject,
    SourceNotFound,
)

KINDS = ["tar", "tar.gz", "tgz", "tar.zst", "zip"]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A folder with all that a version can hold: nested and executable files, an empty one, an empty folder."""
    root = tmp_path / "model"
    (root / "sub" / "empty").mkdir(parents=True)
    (root / "weights.bin").write_bytes(np.random.default_rng(7).bytes(3 << 20))
    (root / "sub" / ("long-" * 40)).write_bytes(b"a path of more than 100 bytes")
    (root / "grüße.txt").write_text("not ASCII", encoding="utf-8")
    (root / "nothing").write_bytes(b"")
    (root / "run.sh").write_text("#!/bin/sh\n", encoding="utf-8")
    (root / "run.sh").chmod(0o755)
    return root


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_exported_is_saved_as_the_same_tree(
    repo: mvs.Repository, tmp_path: Path, model: Path, kind: str
) -> None:
    version = repo.save(model, "m:v1")
    archive = repo.export("m:v1", tmp_path / f"m.{kind}")
    assert repo.save(archive, "n:v1", unpack=True).tree == version.tree
    assert not list((repo.store / "staging").iterdir())


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_version_makes_the_same_archive_elsewhere_and_later(
    repo: mvs.Repository, tmp_path: Path, model: Path, kind: str
) -> None:
    """Who published a checksum of an archive can make it again."""
    repo.save(model, "m:v1")
    first = repo.export("m:v1", tmp_path / f"one.{kind}").read_bytes()
    os.utime(model / "run.sh", (1, 1))
    other = mvs.init(tmp_path / "other")
    other.save(model, "m:v2", message="said otherwise")
    other.dedup()
    assert other.export("m:v2", tmp_path / f"two.{kind}").read_bytes() == first


def test_plain_archives_are_the_same_for_ever(repo: mvs.Repository, tmp_path: Path) -> None:
    """These do not depend on a compressor: what they were once, they are."""
    folder = tmp_path / "small"
    (folder / "empty").mkdir(parents=True)
    (folder / "a.txt").write_bytes(b"one\n")
    (folder / "b.sh").write_bytes(b"two\n")
    (folder / "b.sh").chmod(0o700)
    repo.save(folder, "m:v1")
    digests = {
        kind: hashlib.sha256(repo.export("m", tmp_path / f"m.{kind}").read_bytes()).hexdigest()
        for kind in ("tar", "zip")
    }
    assert digests == {
        "tar": "0515f0678fc1239d7b25ad397ae9330eedba8fde89bd52ef6ca6005aaa77da64",
        "zip": "ff73b7c0c1940f04c4060be4b0e3d86830d395f61fadd34e232fa44d87166219",
    }


def test_tar_and_unzip_know_what_to_do_with_it(repo: mvs.Repository, tmp_path: Path, model: Path) -> None:
    version = repo.save(model, "m:v1")
    for kind in KINDS:
        archive, folder = repo.export("m:v1", tmp_path / f"m.{kind}"), tmp_path / f"from-{kind}"
        folder.mkdir()
        if kind == "zip":
            with zipfile.ZipFile(archive) as found:
                assert found.testzip() is None
                assert {info.date_time for info in found.infolist()} == {(1980, 1, 1, 0, 0, 0)}
                assert found.getinfo("run.sh").external_attr >> 16 == 0o100755
        elif kind != "tar.zst":
            subprocess.run(["tar", "-xf", archive, "-C", folder], check=True)
            assert mvs.init(tmp_path / f"repo-{kind}").save(folder, "m:v1").tree == version.tree
            with tarfile.open(archive) as tar:
                assert {(info.uid, info.gid, info.uname, info.gname) for info in tar} == {(0, 0, "", "")}


def test_chosen_files_only(repo: mvs.Repository, tmp_path: Path, model: Path) -> None:
    repo.save(model, "m:v1")
    with tarfile.open(repo.export("m", tmp_path / "m.tar", include=["*.bin", "run*"], exclude=["*.sh"])) as tar:
        assert tar.getnames() == ["weights.bin"]
    with pytest.raises(FileNotInVersion):
        repo.export("m", tmp_path / "n.tar", include=["*.gguf"])
    assert not (tmp_path / "n.tar").exists()


def test_nothing_is_overwritten_unasked(repo: mvs.Repository, tmp_path: Path, model: Path) -> None:
    repo.save(model, "m:v1")
    (tmp_path / "m.tar").write_text("mine", encoding="utf-8")
    with pytest.raises(DestinationExists) as caught:
        repo.export("m", tmp_path / "m.tar")
    assert caught.value.hint == f"mvs export m:v1 {tmp_path}/m.tar --force"
    assert (tmp_path / "m.tar").read_text(encoding="utf-8") == "mine"
    repo.export("m", tmp_path / "m.tar", force=True)
    assert tarfile.is_tarfile(tmp_path / "m.tar")
    (tmp_path / "n.tar").mkdir()
    with pytest.raises(DestinationExists):
        repo.export("m", tmp_path / "n.tar", force=True)
    with pytest.raises(ForbiddenPlace):
        repo.export("m", repo.store / "objects" / "m.tar")
    with pytest.raises(SourceNotFound):
        repo.export("m", tmp_path / "nowhere" / "m.tar")


def test_a_folder_is_written_as_a_checkout_is(repo: mvs.Repository, tmp_path: Path, model: Path) -> None:
    version = repo.save(model, "m:v1")
    assert repo.save(repo.export("m", tmp_path / "out"), "n").tree == version.tree


@pytest.mark.parametrize("kind", KINDS)
def test_damage_makes_no_archive(repo: mvs.Repository, tmp_path: Path, model: Path, kind: str) -> None:
    """Somebody without mvs has nothing to find it out with."""
    version = repo.save(model, "m:v1")
    blob = next(file.blob for file in version.files if file.path == "weights.bin")
    object = repo.store / "objects" / blob[:2] / blob[2:]
    object.chmod(0o600)
    data = bytearray(object.read_bytes())
    data[1 << 20] ^= 1
    object.write_bytes(data)
    with pytest.raises(CorruptObject, match=r"weights\.bin"):
        repo.export("m", tmp_path / f"m.{kind}")
    object.unlink()
    with pytest.raises(MissingObject, match=r"weights\.bin"):
        repo.export("m", tmp_path / f"m.{kind}")
    assert [path.name for path in tmp_path.iterdir() if "m." in path.name] == []


def test_what_is_unpacked_is_not_moved(repo: mvs.Repository, tmp_path: Path, model: Path) -> None:
    repo.save(model, "m:v1")
    with pytest.raises(InvalidInput):
        repo.save(repo.export("m", tmp_path / "m.tar"), "n", move=True, unpack=True)
    assert (tmp_path / "m.tar").exists()


NAMES = st.text(st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1, max_size=40).filter(
    lambda name: name not in (".", "..") and len(name.encode()) <= 80
)


@given(
    names=st.lists(NAMES, min_size=1, max_size=6, unique_by=str.casefold),
    contents=st.lists(st.binary(max_size=2000), min_size=6, max_size=6),
    kind=st.sampled_from(KINDS),
)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_files_come_back(
    repo: mvs.Repository, tmp_path: Path, names: list[str], contents: list[bytes], kind: str
) -> None:
    folder = tmp_path / os.urandom(8).hex()
    folder.mkdir()
    for name, content in zip(names, contents, strict=False):
        (folder / name).write_bytes(content)
    try:
        version = repo.save(folder, "any")
    except InvalidInput:
        # Two names that are one where accents are folded, or `.mvs`.
        return
    archive = repo.export(version, tmp_path / f"{folder.name}.{kind}")
    assert repo.save(archive, "again", unpack=True).tree == version.tree


def test_the_command_line(repo: mvs.Repository, tmp_path: Path, model: Path, cli: Callable[..., Result]) -> None:
    repo.save(model, "m:v1")
    assert cli("export", "m:v1", "m.tar.zst").output == "m.tar.zst\n"
    assert cli("save", "m.tar.zst", "n:v1", "--unpack").output == "n:v1\n"
    assert repo.get("n:v1").tree == repo.get("m:v1").tree


@pytest.mark.deep
def test_memory_stays_bounded(tmp_path: Path) -> None:
    code = """
import resource, sys, mvs, os
repo = mvs.init(sys.argv[1])
with open("big", "wb") as file:
    file.truncate(1 << 31)
version = repo.save("big", "m")
for kind in ("tar", "tar.zst", "zip"):
    assert repo.save(repo.export("m", "big." + kind), "n", unpack=True).tree == version.tree
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""
    done = subprocess.run(
        [sys.executable, "-c", code, "repo"], cwd=tmp_path, check=True, capture_output=True, text=True
    )
    assert int(done.stdout) < 300_000
