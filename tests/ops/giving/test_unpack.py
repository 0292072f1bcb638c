"""Archives that somebody sends: whatever they say, nothing is written outside staging, and nothing half is saved."""

import contextlib
import gzip
import io
import os
import struct
import tarfile
import zipfile
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import mvs
from mvs.backends.archives import reading
from mvs.errors import CorruptArchive, InvalidInput, InvalidPath, MvsError, SourceNotFound, StorageFull

BAD_PATHS = ["../out", "/etc/passwd", "a/../../out", "a//b", "a/./b", ".mvs/config.toml", "a/.MVS/x", "x" * 300, "a\0b"]


@pytest.fixture
def refused(repo: mvs.Repository, tmp_path: Path) -> Callable[..., MvsError]:
    """Save what is in an archive, which must fail and leave nothing."""

    def check(data: bytes, kind: type[MvsError]) -> MvsError:
        inner = tmp_path / "inner"
        inner.mkdir(exist_ok=True)
        (inner / "archive").write_bytes(data)
        before = seen(tmp_path)
        with pytest.raises(kind) as caught:
            repo.save(inner / "archive", "m:v1", unpack=True)
        assert seen(tmp_path) == before
        assert repo.list() == []
        return caught.value

    return check


def seen(folder: Path) -> set[str]:
    return {str(path) for path in folder.rglob("*") if "/cache" not in str(path)}


def tar(*members: tuple[str, bytes], change: Callable[[tarfile.TarInfo], None] = lambda _: None) -> bytes:
    held = io.BytesIO()
    with tarfile.open(fileobj=held, mode="w") as made:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            change(info)
            made.addfile(info, io.BytesIO(content))
    return held.getvalue()


def zipped(*members: tuple[str | zipfile.ZipInfo, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", method) as made:
        for name, content in members:
            made.writestr(name, content)
    return held.getvalue()


def packed(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo("x")
    info.filename = name
    return info


@pytest.mark.parametrize("path", BAD_PATHS)
def test_a_path_that_no_version_holds_is_refused(refused: Callable[..., MvsError], path: str) -> None:
    if "\0" not in path:
        refused(tar((path, b"evil")), InvalidPath)
    refused(zipped((packed(path), b"evil")), InvalidPath)


@pytest.mark.parametrize(
    "kind",
    [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE, tarfile.GNUTYPE_SPARSE],
)
def test_what_is_no_file_is_refused(refused: Callable[..., MvsError], kind: bytes) -> None:
    """A link is a way out of the folder, for the file that comes after it."""

    def change(info: tarfile.TarInfo) -> None:
        info.type, info.linkname = kind, "/etc"

    error = refused(tar(("a", b""), change=change), MvsError)
    assert isinstance(error, InvalidPath | CorruptArchive)


def test_a_link_in_a_zip_file_is_refused(refused: Callable[..., MvsError]) -> None:
    for kind in (0o120777, 0o020666, 0o010666):
        info = zipfile.ZipInfo("a")
        info.create_system, info.external_attr = 3, kind << 16
        refused(zipped((info, b"/etc/passwd")), InvalidPath)


@pytest.mark.parametrize("names", [("a", "a"), ("a", "A"), ("a", "a/b"), ("a/b", "a"), ("\u00e9", "e\u0301")])
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_files_of_one_name_are_refused(refused: Callable[..., MvsError], names: tuple[str, str]) -> None:
    """Which one is meant, programs do not agree on: one is shown, and the other one is used."""
    members = [(name, name.encode()) for name in names]
    refused(tar(*members), InvalidPath)
    refused(zipped(*members), InvalidPath)


def test_an_encrypted_file_is_refused(refused: Callable[..., MvsError]) -> None:
    data = bytearray(zipped(("a", b"secret")))
    data[6] |= 1
    data[data.index(b"PK\1\2") + 8] |= 1
    assert "encrypted" in str(refused(bytes(data), CorruptArchive))


def test_a_zip_file_that_lies_about_a_size_is_refused(refused: Callable[..., MvsError]) -> None:
    """A bomb says that it is small."""
    data = zipped(("a", bytes(1 << 20)), method=zipfile.ZIP_DEFLATED)
    lying = bytearray(data)
    at = data.index(b"PK\1\2")
    struct.pack_into("<L", lying, at + 24, 10)
    refused(bytes(lying), CorruptArchive)
    struct.pack_into("<L", lying, at + 24, 1 << 21)
    refused(bytes(lying), CorruptArchive)


def test_more_than_there_is_room_for_is_refused_before_it_is_written(
    refused: Callable[..., MvsError], monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage(0, 0, 1000))
    assert "no room" in str(refused(zipped(("a", bytes(1001))), StorageFull))
    refused(gzip.compress(tar(("a", bytes(1001)))), StorageFull)


def test_a_huge_header_is_not_read_into_memory(refused: Callable[..., MvsError]) -> None:
    """Compressed, a gigabyte of a path takes a megabyte."""
    for kind in (tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE, tarfile.XGLTYPE):
        info = tarfile.TarInfo("a")
        info.type, info.size = kind, 3 << 20
        data = gzip.compress(info.tobuf(tarfile.GNU_FORMAT) + bytes(4 << 20))
        assert "1 MiB" in str(refused(data, CorruptArchive))


def test_a_million_files_are_refused(refused: Callable[..., MvsError], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "MAX_MEMBERS", 5)
    members = [(str(number), b"") for number in range(6)]
    refused(tar(*members), CorruptArchive)
    refused(zipped(*members), CorruptArchive)


def test_a_directory_of_a_million_files_is_not_read_into_memory(
    refused: Callable[..., MvsError], monkeypatch: pytest.MonkeyPatch
) -> None:
    full = bytearray(zipped(*[(str(number), b"") for number in range(6)]))
    small = zipped(("a", b""))
    monkeypatch.setattr(reading, "_MAX_DIRECTORY", 100)
    monkeypatch.setattr(zipfile, "ZipFile", None)
    refused(bytes(full), CorruptArchive)
    # An end that lies in the comment of the true one.
    struct.pack_into("<H", full, len(full) - 2, len(small[-22:]) + 1)
    assert reading._directory_size(io.BytesIO(bytes(full) + small[-22:] + b"x")) > 0


def test_what_is_no_archive_is_refused(refused: Callable[..., MvsError], repo: mvs.Repository, tmp_path: Path) -> None:
    for data in (b"", b"PK", b"PK\3\4", b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"weights" * 1000, bytes(10240)):
        refused(data, MvsError)
    with pytest.raises(SourceNotFound):
        repo.save(tmp_path / "nowhere.tar", "m", unpack=True)
    with pytest.raises(SourceNotFound):
        repo.save(tmp_path, "m", unpack=True)


def test_leading_dots_folders_and_executables_are_understood(repo: mvs.Repository, tmp_path: Path) -> None:
    """As `tar -C folder -c .` makes it."""
    folder = tmp_path / "folder"
    (folder / "sub").mkdir(parents=True)
    (folder / "sub" / "run").write_bytes(b"#!")
    (folder / "sub" / "run").chmod(0o755)
    with tarfile.open(tmp_path / "made.tar", "w") as made:
        made.add(folder, ".")
    version = repo.save(folder, "m:v1")
    assert repo.save(tmp_path / "made.tar", "m:v2", unpack=True).tree == version.tree


@pytest.fixture(params=["tar", "tar.gz", "tar.zst", "zip"])
def whole(request: pytest.FixtureRequest, repo: mvs.Repository, tmp_path: Path, folder: Path) -> bytes:
    repo.save(folder, "whole:v1")
    return repo.export("whole", tmp_path / f"whole.{request.param}").read_bytes()


@given(data=st.data())
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_cut_off_anywhere_it_is_refused(
    repo: mvs.Repository, tmp_path: Path, whole: bytes, data: st.DataObject
) -> None:
    """Half a download must not become a model with fewer layers."""
    # A tar file ends with blocks of zeros, of which one is enough.
    end = len(whole.rstrip(b"\0")) + 512
    cut = data.draw(st.integers(0, min(end, len(whole)) - 1))
    (tmp_path / "cut").write_bytes(whole[:cut])
    with pytest.raises(MvsError):
        repo.save(tmp_path / "cut", "cut", unpack=True)


@given(data=st.data())
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_comes_is_saved_or_refused(
    repo: mvs.Repository, tmp_path: Path, whole: bytes, data: st.DataObject
) -> None:
    flipped = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 4))):
        flipped[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    place = tmp_path / os.urandom(4).hex()
    place.write_bytes(flipped)
    # Anything else is an error of ours.
    with contextlib.suppress(InvalidInput, CorruptArchive, StorageFull):
        repo.save(place, "any", unpack=True)
    assert not list((repo.store / "staging").iterdir())


def test_the_command_line_says_what_is_wrong(cli: Callable[..., Result], tmp_path: Path) -> None:
    (tmp_path / "evil.tar").write_bytes(tar(("../out", b"evil")))
    said = cli("save", tmp_path / "evil.tar", "m:v1", "--unpack", code=InvalidPath.exit_code).output
    assert "cannot be unpacked: path '../out' is not a clean relative path" in said
    (tmp_path / "cut.tar").write_bytes(tar(("a", bytes(2000)))[:1000])
    cli("save", tmp_path / "cut.tar", "m:v1", "--unpack", code=58)
