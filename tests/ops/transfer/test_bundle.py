"""Versions in one file."""

import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import mvs
from mvs.backends.buckets.bundle import BundleBucket
from mvs.errors import (
    Conflict,
    Corrupt,
    CorruptRemote,
    DestinationExists,
    MvsError,
    RemoteDenied,
    RemoteFailed,
    SourceNotFound,
)
from tests.ops.dedup.families import save
from tests.ops.transfer.test_push_pull import BASE, TUNED, same


@pytest.fixture
def theirs(tmp_path: Path) -> mvs.Repository:
    return mvs.init(tmp_path / "theirs")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "models.mvs"


def test_what_is_imported_is_what_was_bundled(
    repo: mvs.Repository, theirs: mvs.Repository, file: Path, folder: Path
) -> None:
    save(repo, "m:base", BASE)
    save(repo, "m:tuned", TUNED)
    version = repo.save(folder, "bert:v1", metadata={"loss": 1})
    assert len(repo.bundle(file).refs) == 3
    assert {ref.tag.name for ref in theirs.import_bundle(file, "bert").refs} == {"bert"}
    assert same(theirs.get("bert"), version)
    theirs.import_bundle(file)
    assert same(theirs.get("m:tuned"), repo.get("m:tuned"))
    assert not theirs.fsck(level="full").findings
    assert theirs.import_bundle(file).refs == ()


def test_a_thin_bundle_is_small_and_needs_what_it_was_made_since(
    repo: mvs.Repository, theirs: mvs.Repository, file: Path, tmp_path: Path
) -> None:
    save(repo, "m:base", BASE)
    save(repo, "m:tuned", TUNED)
    repo.bundle(file, "m:base")
    thin = tmp_path / "thin.mvs"
    repo.bundle(thin, "m:tuned", since=["m:base"])
    assert thin.stat().st_size < 0.7 * file.stat().st_size
    with pytest.raises(CorruptRemote, match=r"neither at 'thin\.mvs' nor here"):
        theirs.import_bundle(thin)
    assert theirs.list() == []
    theirs.import_bundle(file)
    theirs.import_bundle(thin)
    assert same(theirs.get("m:tuned"), repo.get("m:tuned"))


def test_a_bundle_is_a_remote_to_read_from(
    repo: mvs.Repository, theirs: mvs.Repository, file: Path, folder: Path
) -> None:
    version = repo.save(folder, "bert:v1")
    repo.bundle(file)
    theirs.add_remote("file", str(file))
    assert same(theirs.remote("file").get("bert"), version)
    theirs.save(folder, "own:v1")
    with pytest.raises(RemoteDenied, match="does not change"):
        theirs.push("own")
    theirs.pull("bert")
    assert same(theirs.get("bert"), version)


def test_a_clone_has_all_versions(repo: mvs.Repository, tmp_path: Path, file: Path, folder: Path) -> None:
    version = repo.save(folder, "bert:v1")
    repo.bundle(file)
    repo.add_remote("origin", str(tmp_path / "remote"))
    repo.push()
    for source in (str(file), str(tmp_path / "remote")):
        clone = mvs.clone(source, tmp_path / f"clone of {Path(source).name}")
        assert same(clone.get("bert:v1"), version)
        with pytest.raises(Conflict, match="with versions"):
            mvs.clone(source, clone.root.parent)
    with pytest.raises(RemoteFailed, match="no remote at"):
        mvs.clone(str(tmp_path / "nowhere"), tmp_path / "x")
    assert not (tmp_path / "nowhere").exists()


def test_every_flipped_byte_is_refused_or_of_no_matter(
    repo: mvs.Repository, tmp_path: Path, file: Path, folder: Path
) -> None:
    version = repo.save(folder, "bert:v1")
    repo.bundle(file)
    whole = file.read_bytes()
    places = [*range(0, len(whole), max(1, len(whole) // 40)), *range(len(whole) - 30, len(whole), 3)]
    for place in places:
        file.write_bytes(whole[:place] + bytes([whole[place] ^ 0x40]) + whole[place + 1 :])
        theirs = mvs.init(tmp_path / f"theirs{place}")
        try:
            theirs.import_bundle(file)
        except MvsError:
            assert theirs.list() == []
        else:
            assert same(theirs.get("bert:v1"), version)
        assert not theirs.fsck(level="full").findings


def test_what_cannot_be_written_whole_is_not_there(repo: mvs.Repository, file: Path, folder: Path) -> None:
    repo.save(folder, "bert:v1")
    file.write_bytes(b"mine")
    with pytest.raises(DestinationExists):
        repo.bundle(file)
    assert file.read_bytes() == b"mine"
    with pytest.raises((MvsError, OSError)):
        repo.bundle(file.parent / "no such folder" / "x")
    assert [path.name for path in file.parent.glob("*.tmp")] == []


def test_what_is_no_bundle_is_told(repo: mvs.Repository, file: Path) -> None:
    with pytest.raises(SourceNotFound):
        repo.import_bundle(file)
    file.write_bytes(b"PK\x05\x06 nothing of the kind")
    with pytest.raises(CorruptRemote, match="no bundle"):
        repo.import_bundle(file)
    file.unlink()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as made:
        made.writestr("format", "mvs-remote 1\n" * 1000)
    with pytest.raises(CorruptRemote, match="compressed"):
        repo.import_bundle(file)
    file.unlink()
    with zipfile.ZipFile(file, "w") as made:
        made.writestr("readme", "hello")
    with pytest.raises(CorruptRemote, match="no 'format'"):
        repo.import_bundle(file)


@given(st.binary(max_size=200) | st.binary(max_size=200).map(lambda data: data + b"PK\x05\x06" + bytes(18)))
def test_hostile_bytes_are_no_bundle(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "hostile"
    path.write_bytes(data)
    try:
        bucket = BundleBucket(str(path))
        for found in bucket.keys(""):
            bucket.read(found.key)
    except (Corrupt, FileNotFoundError):
        return
