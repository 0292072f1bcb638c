"""Bad input gets an error of the right class that names the thing, and changes nothing."""

import errno
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import msgpack
import pytest

import mvs
from mvs.errors import (
    CorruptManifest,
    CorruptObject,
    CorruptRef,
    DestinationExists,
    EmptyFolder,
    ForbiddenPlace,
    InvalidInput,
    InvalidMetadata,
    InvalidPath,
    InvalidTag,
    MissingObject,
    MvsError,
    NotARepository,
    ReadOnlyStore,
    SourceChanged,
    SourceNotFound,
    TagExists,
    UnsupportedFormat,
)
from mvs.format.ids import ObjectId
from mvs.format.manifest import MAGIC

Snapshot = dict[bytes, tuple[int, bytes]]


def snapshot(root: Path) -> Snapshot:
    """Return every file, link and special file below a folder: rights, and content or target."""
    found: Snapshot = {}
    for parent, folders, files in os.walk(os.fsencode(root)):
        for name in [*folders, *files]:
            path = os.path.join(parent, name)
            mode = os.lstat(path).st_mode
            if os.path.islink(path):
                found[path] = (mode, os.readlink(path))
            elif os.path.isfile(path):
                found[path] = (mode, Path(os.fsdecode(path)).read_bytes())
            elif name not in folders:
                found[path] = (mode, b"")
    return found


@pytest.fixture
def saved(repo: mvs.Repository, folder: Path) -> mvs.Version:
    """A version that is there before, so that the store has something to lose."""
    return repo.save(folder, "bert:v1")


@pytest.fixture
def refused(repo: mvs.Repository, folder: Path, saved: mvs.Version) -> Callable[..., MvsError]:
    """Check that a call is refused by an error whose message holds a word, and that it changes nothing."""

    def check(kind: type[MvsError], word: str, call: Callable[[], object]) -> MvsError:
        before = snapshot(folder), snapshot(repo.store)
        with pytest.raises(kind) as failure:
            call()
        assert type(failure.value) is kind
        assert word in failure.value.message
        assert (snapshot(folder), snapshot(repo.store)) == before
        assert repo.get("bert:latest") == saved
        return failure.value

    return check


Refused = Callable[[type[MvsError], str, Callable[[], object]], MvsError]


BAD_NAMES = ["", "-bert", "bert-", "a//b", "/a", "a/", "../a", "a/..", "b\u00e9rt", "a b", "a\n", "a\0", "a*", "a" * 64]
BAD_VERSIONS = [":v1", "bert:", "bert:latest", "bert:v/1", "bert:v:1", "bert:.v", "bert:a b", "bert@prod", "bert#4f"]


@pytest.mark.parametrize("move", [False, True], ids=["copy", "move"])
@pytest.mark.parametrize("tag", [*BAD_NAMES, *BAD_VERSIONS, "/".join(["a" * 63] * 5)])
def test_a_name_or_version_of_another_form_is_refused(
    repo: mvs.Repository, folder: Path, refused: Refused, tag: str, move: bool
) -> None:
    error = refused(InvalidTag, "", lambda: repo.save(folder, tag, move=move))
    assert isinstance(error, ValueError)
    refused(InvalidTag, "", lambda: repo.create(tag))


@pytest.mark.parametrize("move", [False, True], ids=["copy", "move"])
@pytest.mark.parametrize("size", ["same size", "other size"])
def test_a_tag_that_exists_is_refused_to_other_content(
    repo: mvs.Repository, folder: Path, refused: Refused, move: bool, size: str
) -> None:
    (folder / "config.json").write_text('{"layers": 3}' if size == "same size" else "{}")
    refused(TagExists, "'bert:v1'", lambda: repo.save(folder, "bert:v1", move=move))
    refused(TagExists, "'bert:v1'", lambda: repo.create("bert:v1"))


@pytest.mark.parametrize("move", [False, True], ids=["copy", "move"])
@pytest.mark.parametrize("path", ["", "missing", "model/config.json/below", "nul\0", "a" * 300])
def test_a_path_that_is_not_there_is_refused(
    repo: mvs.Repository, folder: Path, refused: Refused, monkeypatch: pytest.MonkeyPatch, path: str, move: bool
) -> None:
    (folder.parent / "elsewhere").mkdir()
    monkeypatch.chdir(folder.parent / "elsewhere")
    place = f"../{path}" if path.startswith("model") else path
    refused(SourceNotFound, "empty" if not path else path[:20].rstrip("\0"), lambda: repo.save(place, "a", move=move))


@pytest.mark.parametrize("move", [False, True], ids=["copy", "move"])
def test_an_unreadable_file_is_refused(
    repo: mvs.Repository, folder: Path, saved: mvs.Version, monkeypatch: pytest.MonkeyPatch, move: bool
) -> None:
    secret = folder / "secret.bin"
    secret.write_bytes(b"secret")
    before = snapshot(folder), snapshot(repo.store)
    inode = secret.stat().st_ino
    really = os.open

    def deny(path: Any, *args: Any, **options: Any) -> int:
        # By hand, because rights do not stop root.
        if os.path.exists(path) and os.stat(path).st_ino == inode:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
        return really(path, *args, **options)

    monkeypatch.setattr(os, "open", deny)
    with pytest.raises(SourceNotFound, match=r"secret\.bin"):
        repo.save(folder, "bert:v2", move=move)
    assert (snapshot(folder), snapshot(repo.store)) == before


@pytest.mark.parametrize("move", [False, True], ids=["copy", "move"])
def test_a_folder_without_files_is_refused(repo: mvs.Repository, tmp_path: Path, refused: Refused, move: bool) -> None:
    (tmp_path / "empty" / "sub").mkdir(parents=True)
    refused(EmptyFolder, "empty'", lambda: repo.save(tmp_path / "empty", "bert:v2", move=move))
    assert (tmp_path / "empty" / "sub").is_dir()
    with pytest.raises(EmptyFolder), repo.create("bert:v2"):
        pass


def grow(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"more")


def shrink(path: Path) -> None:
    os.truncate(path, 10)


def overwrite(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(b"other")


def replace(path: Path) -> None:
    path.with_name("new").write_bytes(path.read_bytes())
    path.with_name("new").rename(path)


def remove(path: Path) -> None:
    path.unlink()


def add_another(path: Path) -> None:
    path.with_name("another").write_bytes(b"")


@pytest.mark.parametrize("move", [False, True], ids=["copy", "move"])
@pytest.mark.parametrize("large", [False, True], ids=["small", "large"])
@pytest.mark.parametrize("change", [grow, shrink, overwrite, replace, remove, add_another])
def test_a_file_that_changes_while_it_is_saved_is_refused(
    repo: mvs.Repository,
    folder: Path,
    saved: mvs.Version,
    monkeypatch: pytest.MonkeyPatch,
    change: Callable[[Path], None],
    large: bool,
    move: bool,
) -> None:
    """Half of one checkpoint and half of the next must not become a version."""
    path = folder / "weights.bin"
    path.write_bytes(os.urandom((3 << 20) if large else 5000))
    os.utime(path, ns=(1, 1))
    before = snapshot(repo.store)
    inode = path.stat().st_ino
    really = os.preadv
    changed: list[bytes] = []

    def meanwhile(fd: int, *args: Any) -> int:
        count = really(fd, *args)
        if os.fstat(fd).st_ino == inode and not changed:
            changed.append(b"")
            change(path)
        return count

    def copied(source: int, target: int, offset: int) -> int:
        data = os.pread(source, 1 << 20, offset)
        os.pwrite(target, data, offset)
        if os.fstat(source).st_ino == inode and not changed:
            changed.append(b"")
            change(path)
        return len(data)

    monkeypatch.setattr("mvs.store.hashing.copy_block", copied)
    monkeypatch.setattr(os, "preadv", meanwhile)
    with pytest.raises((SourceChanged, SourceNotFound), match=r"weights\.bin|another"):
        repo.save(folder, "bert:v2", move=move)
    assert changed
    assert snapshot(repo.store) == before
    assert (folder / "config.json").exists()
    assert path.exists() is (change is not remove)


def test_a_link_inside_the_folder_is_followed(repo: mvs.Repository, folder: Path) -> None:
    (folder / "link.bin").symlink_to("weights.bin")
    (folder / "again").symlink_to("sub")
    version = repo.save(folder, "bert:v1")
    assert version.read_bytes("link.bin") == (folder / "weights.bin").read_bytes()
    assert version.read_bytes("again/vocab.txt") == b"a\nb\n"


def test_a_folder_with_links_inside_is_moved_whole(repo: mvs.Repository, folder: Path) -> None:
    (folder / "link.bin").symlink_to("weights.bin")
    data = (folder / "weights.bin").read_bytes()
    version = repo.save(folder, "bert:v1", move=True)
    assert version.read_bytes("link.bin") == version.read_bytes("weights.bin") == data
    assert not folder.exists()


def special(path: Path) -> None:
    os.mkfifo(path)


def listening(path: Path) -> None:
    here = Path.cwd()
    # The path of a socket is at most 107 bytes long.
    os.chdir(path.parent)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path.name)
    os.chdir(here)


@pytest.mark.parametrize("move", [False, True], ids=["copy", "move"])
@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (lambda path: path.symlink_to("/etc/hostname"), InvalidPath),
        (lambda path: path.symlink_to("../outside.txt"), InvalidPath),
        (lambda path: path.symlink_to(".."), InvalidPath),
        (lambda path: path.symlink_to("."), InvalidPath),
        (lambda path: path.symlink_to("odd"), MvsError),
        (lambda path: path.symlink_to("nowhere"), SourceNotFound),
        (special, InvalidPath),
        (listening, InvalidPath),
    ],
    ids=["absolute", "outside", "folder outside", "loop", "self", "dangling", "fifo", "socket"],
)
def test_what_no_version_can_hold_is_refused(
    repo: mvs.Repository,
    folder: Path,
    saved: mvs.Version,
    make: Callable[[Path], None],
    kind: type[MvsError],
    move: bool,
) -> None:
    (folder.parent / "outside.txt").write_text("secret")
    make(folder / "odd")
    before = snapshot(folder), snapshot(repo.store)
    with pytest.raises(kind, match="odd") as failure:
        repo.save(folder, "bert:v2", move=move)
    assert isinstance(failure.value, InvalidPath | SourceNotFound)
    assert (snapshot(folder), snapshot(repo.store)) == before
    assert (folder.parent / "outside.txt").read_text() == "secret"


@pytest.mark.parametrize("make", [special, listening], ids=["fifo", "socket"])
def test_a_special_file_itself_is_refused(
    repo: mvs.Repository, tmp_path: Path, refused: Refused, make: Callable[[Path], None]
) -> None:
    """Reading a pipe that nobody writes to would hang."""
    make(tmp_path / "odd")
    refused(InvalidPath, "odd'", lambda: repo.save(tmp_path / "odd", "bert:v2"))


@pytest.mark.skipif(sys.platform == "darwin", reason="the file system makes two such names one")
@pytest.mark.parametrize("move", [False, True], ids=["copy", "move"])
@pytest.mark.parametrize(
    "names",
    [
        ("Model.bin", "model.bin"),
        ("caf\N{LATIN SMALL LETTER E WITH ACUTE}", "cafe\N{COMBINING ACUTE ACCENT}"),
        ("stra\N{LATIN SMALL LETTER SHARP S}e", "STRASSE"),
        ("Sub/a", "sub/b"),
        ("SUB", "sub/vocab.txt"),
    ],
)
def test_names_that_collide_elsewhere_are_refused(
    repo: mvs.Repository, folder: Path, saved: mvs.Version, names: tuple[str, str], move: bool
) -> None:
    """On another file system one of the two would overwrite the other."""
    for name in names:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(name)
    before = snapshot(folder), snapshot(repo.store)
    with pytest.raises(InvalidPath) as failure:
        repo.save(folder, "bert:v2", move=move)
    assert all(repr(name.split("/")[0])[1:-1] in failure.value.message for name in names)
    assert (snapshot(folder), snapshot(repo.store)) == before


@pytest.mark.skipif(sys.platform == "darwin", reason="the file system refuses such names")
@pytest.mark.parametrize("move", [False, True], ids=["copy", "move"])
def test_a_name_that_is_not_utf8_is_refused(repo: mvs.Repository, folder: Path, saved: mvs.Version, move: bool) -> None:
    Path(os.fsdecode(os.fsencode(folder) + b"/caf\xe9.bin")).write_bytes(b"1")
    before = snapshot(folder), snapshot(repo.store)
    with pytest.raises(InvalidPath, match="UTF-8") as failure:
        repo.save(folder, "bert:v2", move=move)
    assert r"caf\xe9.bin" in failure.value.message
    assert (snapshot(folder), snapshot(repo.store)) == before


@pytest.mark.parametrize(
    "labels", [{"stage": 1}, {"stage": None}, {1: "a"}, {"": "a"}, {"a=b": "c"}, ["stage"], {"a": "\ud800"}]
)
def test_labels_that_are_not_strings_are_refused(
    repo: mvs.Repository, folder: Path, refused: Refused, labels: Any
) -> None:
    refused(InvalidMetadata, "label", lambda: repo.save(folder, "bert:v2", labels=labels, move=True))
    refused(InvalidMetadata, "label", lambda: repo.create("bert:v2", labels=labels))


BAD_VALUES: dict[str, Any] = {
    "nan": float("nan"),
    "infinity": float("inf"),
    "minus infinity": -float("inf"),
    "bytes": b"bytes",
    "complex": 1j,
    "set": {1, 2},
    "object": object(),
    "function": print,
    "large": 2**64,
    "within": {"deep": [float("nan")]},
    "key": {1: "number"},
    "surrogate": "\ud800",
}


@pytest.mark.parametrize("parameter", ["metadata", "context"])
@pytest.mark.parametrize("value", BAD_VALUES.values(), ids=BAD_VALUES)
def test_metadata_that_json_cannot_hold_is_refused_by_its_place(
    repo: mvs.Repository, folder: Path, refused: Refused, parameter: str, value: Any
) -> None:
    bad: dict[str, Any] = {parameter: {"scores": {"accuracy": value}}}
    where = f"{parameter}.scores.accuracy"
    refused(InvalidMetadata, where, lambda: repo.save(folder, "bert:v2", move=True, **bad))
    refused(InvalidMetadata, where, lambda: repo.create("bert:v2", **bad))


@pytest.mark.parametrize("value", BAD_VALUES.values(), ids=BAD_VALUES)
def test_metadata_spoilt_in_a_draft_does_not_cost_its_files(repo: mvs.Repository, value: Any) -> None:
    """Nobody loses a night of training to a typo."""
    draft = repo.create("bert:v1")
    draft.metadata["loss"] = value
    with pytest.raises(InvalidMetadata, match=r"metadata\.loss") as failure, draft:
        (draft.path / "weights.bin").write_bytes(b"night")
    kept = failure.value.kept
    assert kept is not None
    assert str(kept) in failure.value.hint
    assert repo.list() == []
    version = repo.save(kept, "bert:v1", move=True)
    assert version.read_bytes("weights.bin") == b"night"
    assert not kept.exists()


def ref_of(repo: mvs.Repository) -> Path:
    return repo.store / "refs" / "tags" / "bert" / "@v1"


def object_of(repo: mvs.Repository, id: str) -> Path:
    return repo.store / "objects" / id[:2] / id[2:]


def put(path: Path, data: bytes) -> None:
    """Write a file in place of a read-only one."""
    path.parent.mkdir(exist_ok=True)
    path.unlink(missing_ok=True)
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("spoil", "kind"),
    [
        (lambda ref: b"", CorruptRef),
        (lambda ref: ref[:-1], CorruptRef),
        (lambda ref: ref[:40], CorruptRef),
        (lambda ref: ref + b"\n", CorruptRef),
        (lambda ref: ref.replace(b"v1", b"v2"), CorruptRef),
        (lambda ref: ref.replace(b"bert", b"BERT"), CorruptRef),
        (lambda ref: ref.replace(b" bert", b"  bert"), CorruptRef),
        (lambda ref: os.urandom(100), CorruptRef),
        (lambda ref: b"x" * 100_000, CorruptRef),
        (lambda ref: ref.replace(b"mvs-ref 1", b"mvs-ref 2"), UnsupportedFormat),
    ],
    ids=["empty", "no end", "half", "more", "other tag", "upper case", "blanks", "garbage", "long", "future"],
)
def test_a_damaged_ref_is_told_and_never_believed(
    repo: mvs.Repository,
    folder: Path,
    saved: mvs.Version,
    tmp_path: Path,
    spoil: Callable[[bytes], bytes],
    kind: type[MvsError],
) -> None:
    put(ref_of(repo), spoil(ref_of(repo).read_bytes()))
    before = snapshot(repo.store), snapshot(folder)
    for read in (
        lambda: repo.get("bert:v1"),
        lambda: repo.get("bert:latest"),
        lambda: repo.checkout("bert:v1", tmp_path / "out"),
        lambda: repo.save(folder, "bert:v1", move=True),
    ):
        with pytest.raises(kind, match="bert"):
            read()
    assert repo.list("bert") == []
    assert not (tmp_path / "out").exists()
    assert (snapshot(repo.store), snapshot(folder)) == before
    # One damaged version does not keep others from being saved.
    (folder / "config.json").write_text("{}")
    assert repo.get(repo.save(folder, "bert:v2").tag).read_bytes("config.json") == b"{}"


def with_fields(**changed: Any) -> Callable[[bytes], bytes]:
    def spoil(data: bytes) -> bytes:
        fields = {**msgpack.unpackb(data[len(MAGIC) :]), **changed}
        return MAGIC + bytes(msgpack.packb({key: fields[key] for key in sorted(fields)}))

    return spoil


def unsorted(data: bytes) -> bytes:
    fields = msgpack.unpackb(data[len(MAGIC) :])
    return MAGIC + bytes(msgpack.packb({key: fields[key] for key in sorted(fields, reverse=True)}))


FORGERIES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda data: b"",
    "truncated": lambda data: data[: len(data) // 2],
    "more": lambda data: data + b"\0",
    "garbage": lambda data: bytes(range(256)),
    "head": lambda data: MAGIC,
    "nil": lambda data: MAGIC + b"\xc0",
    "not canonical": unsorted,
    "no files": with_fields(files=[]),
    "climbing path": with_fields(files=[{"blob": bytes(32), "executable": False, "path": "../../evil", "size": 0}]),
    "label": with_fields(labels={"a": 1}),
    "other tag": with_fields(version="v2"),
    "other time": with_fields(created=1),
    "future": lambda data: data.replace(b"mvs-manifest 1", b"mvs-manifest 2"),
}


@pytest.mark.parametrize("forgery", FORGERIES)
def test_a_manifest_that_was_forged_is_refused(
    repo: mvs.Repository,
    saved: mvs.Version,
    tmp_path: Path,
    forgery: str,
) -> None:
    """A store from elsewhere may hold a manifest that has its id and yet must not be believed."""
    data = FORGERIES[forgery](object_of(repo, saved.id).read_bytes())
    kind = UnsupportedFormat if forgery == "future" else CorruptManifest
    id = str(ObjectId.of(data))
    put(object_of(repo, id), data)
    put(ref_of(repo), ref_of(repo).read_bytes().replace(saved.id.encode(), id.encode()))
    before = snapshot(repo.store)
    for read in (lambda: repo.get("bert:v1"), lambda: repo.checkout("bert", tmp_path / "out" / "x")):
        with pytest.raises(kind, match="bert:v1"):
            read()
    assert repo.list("bert") == []
    assert snapshot(repo.store) == before
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "evil").exists()


@pytest.mark.parametrize(
    ("spoil", "kind"),
    [(lambda data: data[:-1], CorruptObject), (lambda data: b"", CorruptObject), (None, MissingObject)],
    ids=["truncated", "empty", "missing"],
)
def test_a_damaged_manifest_is_told_with_its_version(
    repo: mvs.Repository, saved: mvs.Version, spoil: Callable[[bytes], bytes] | None, kind: type[MvsError]
) -> None:
    path = object_of(repo, saved.id)
    if spoil:
        put(path, spoil(path.read_bytes()))
    else:
        path.unlink()
    with pytest.raises(kind, match="bert:v1"):
        repo.get("bert:v1")
    assert repo.list() == []
    assert [str(tag) for tag in repo.delete("bert:v1")] == ["bert:v1"]


@pytest.mark.parametrize("existing", [False, True], ids=["new", "existing"])
@pytest.mark.parametrize(
    ("spoil", "kind"),
    [
        (lambda data: data[:500] + bytes([data[500] ^ 1]) + data[501:], CorruptObject),
        (lambda data: data[:-1], CorruptObject),
        (lambda data: data + b"\0", CorruptObject),
        (None, MissingObject),
    ],
    ids=["flipped bit", "shorter", "longer", "missing"],
)
def test_a_damaged_file_is_named_and_never_checked_out(
    repo: mvs.Repository,
    saved: mvs.Version,
    tmp_path: Path,
    spoil: Callable[[bytes], bytes] | None,
    kind: type[MvsError],
    existing: bool,
) -> None:
    blob = next(file.blob for file in saved.files if file.path == "weights.bin")
    path = object_of(repo, blob)
    if spoil:
        put(path, spoil(path.read_bytes()))
    else:
        path.unlink()
    dest = tmp_path / "out"
    if existing:
        dest.mkdir()
        (dest / "config.json").write_text("mine")
    before = snapshot(tmp_path)
    with pytest.raises(kind) as failure:
        repo.checkout("bert:v1", dest, force=existing)
    assert "'weights.bin'" in failure.value.message
    assert "'bert:v1'" in failure.value.message
    assert snapshot(tmp_path) == before
    assert dest.exists() is existing
    with pytest.raises(kind, match=r"'weights\.bin' of 'bert:v1'"):
        repo.get("bert").read_bytes("weights.bin")


def test_a_destination_with_other_files_is_left_alone(repo: mvs.Repository, saved: mvs.Version, tmp_path: Path) -> None:
    dest = repo.checkout("bert", tmp_path / "out")
    (dest / "config.json").write_text("my edits")
    (dest / "mine.txt").write_text("mine")
    before = snapshot(dest)
    with pytest.raises(DestinationExists, match=r"'config\.json'") as failure:
        repo.checkout("bert", dest)
    assert "--force" in failure.value.hint
    assert snapshot(dest) == before
    repo.checkout("bert", dest, force=True)
    assert (dest / "config.json").read_text() == '{"layers": 2}'
    assert (dest / "mine.txt").read_text() == "mine"


@pytest.mark.parametrize("force", [False, True], ids=["", "force"])
@pytest.mark.parametrize(
    "make",
    [
        lambda dest: dest.write_text("mine"),
        lambda dest: dest.symlink_to("nowhere"),
        lambda dest: (dest.mkdir(), (dest / "sub").write_text("mine")),
        lambda dest: (dest.mkdir(), (dest / "config.json").mkdir()),
        lambda dest: (dest.mkdir(), (dest.parent / "far").mkdir(), (dest / "sub").symlink_to("../far")),
    ],
    ids=["file", "dangling link", "file for a folder", "folder for a file", "link for a folder"],
)
def test_a_destination_of_another_kind_is_left_alone_even_by_force(
    repo: mvs.Repository, saved: mvs.Version, tmp_path: Path, make: Callable[[Path], object], force: bool
) -> None:
    dest = tmp_path / "out"
    make(dest)
    before = snapshot(tmp_path)
    with pytest.raises(DestinationExists, match="out"):
        repo.checkout("bert", dest, force=force)
    assert snapshot(tmp_path) == before


@pytest.mark.parametrize("dest", ["file/below", "", "nul\0", "a" * 300])
def test_a_destination_that_cannot_be_is_refused(
    repo: mvs.Repository, saved: mvs.Version, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dest: str
) -> None:
    (tmp_path / "file").write_text("mine")
    monkeypatch.chdir(tmp_path)
    before = snapshot(tmp_path)
    with pytest.raises(MvsError):
        repo.checkout("bert", dest)
    assert snapshot(tmp_path) == before


@pytest.mark.parametrize("force", [False, True], ids=["", "force"])
def test_a_checkout_never_writes_into_a_store(
    repo: mvs.Repository, saved: mvs.Version, refused: Refused, force: bool
) -> None:
    for place in (repo.store, repo.store / "objects", repo.store / "new"):
        refused(ForbiddenPlace, str(repo.store), partial(repo.checkout, "bert", place, force=force))


def test_a_forced_checkout_over_a_repository_leaves_the_repository(
    repo: mvs.Repository, saved: mvs.Version, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(repo.root.parent)
    Path("mine.txt").write_text("mine")
    before = snapshot(repo.store)
    repo.checkout("bert", ".", force=True)
    assert snapshot(repo.store) == before
    assert Path("mine.txt").read_text() == "mine"
    assert Path("sub/vocab.txt").read_text() == "a\nb\n"


def test_a_move_never_takes_a_store(repo: mvs.Repository, refused: Refused, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(repo.root.parent)
    Path("mine.txt").write_text("mine")
    for place in (".", "..", ".mvs", ".mvs/objects", "../repo"):
        refused(ForbiddenPlace, ".mvs", partial(repo.save, place, "bert:v2", move=True))
    assert Path("mine.txt").read_text() == "mine"


def test_a_move_never_takes_a_repository_of_others(
    repo: mvs.Repository, tmp_path: Path, folder: Path, saved: mvs.Version
) -> None:
    other = mvs.init(tmp_path / "work" / "other")
    other.save(folder, "bert:v1")
    (tmp_path / "work" / "other" / "mine.txt").write_text("mine")
    before = snapshot(tmp_path)
    with pytest.raises(ForbiddenPlace, match=r"\.mvs"):
        repo.save(tmp_path / "work", "bert:v2", move=True)
    assert snapshot(tmp_path) == before


def test_a_copy_of_a_folder_with_a_repository_leaves_the_repository_out(
    repo: mvs.Repository, saved: mvs.Version, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(repo.root.parent)
    Path("mine.txt").write_text("mine")
    assert [file.path for file in repo.save(".", "bert:v2").files] == ["mine.txt"]


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"", NotARepository),
        (b"garbage\n", NotARepository),
        (b"mvs-store 2\n", UnsupportedFormat),
        (b"mvs-store 1\nneeds-read shards\n", UnsupportedFormat),
        (b"mvs-store 1\nwhatever shards\n", UnsupportedFormat),
    ],
    ids=["empty", "garbage", "future", "feature", "unknown line"],
)
def test_a_store_of_another_format_is_refused_by_name(
    repo: mvs.Repository, saved: mvs.Version, data: bytes, kind: type[MvsError]
) -> None:
    put(repo.store / "format", data)
    before = snapshot(repo.store)
    with pytest.raises(kind, match="shards" if b"shards" in data else r"\.mvs"):
        mvs.open(repo.root.parent)
    assert snapshot(repo.store) == before


def kept(store: Path) -> object:
    """What a store holds, but for what is derived from that."""
    return {path: facts for path, facts in snapshot(store).items() if b"/cache" not in path}


def test_a_store_that_needs_more_to_be_changed_is_only_read(
    repo: mvs.Repository, folder: Path, saved: mvs.Version, tmp_path: Path
) -> None:
    put(repo.store / "format", b"mvs-store 1\nneeds-write packs\n")
    before = kept(repo.store), snapshot(folder)
    newer = mvs.open(repo.root.parent)
    assert newer.get("bert") == saved
    newer.checkout("bert", tmp_path / "out")
    for change in (
        lambda: newer.save(folder, "bert:v2", move=True),
        lambda: newer.delete("bert:v1"),
        lambda: newer.restore("bert:v1"),
        lambda: newer.create("bert:v2").__enter__(),
        newer.gc,
        newer.dedup,
        newer.undo_dedup,
        newer.repair,
        # One that was opened when the store was still of this release.
        lambda: repo.save(folder, "bert:v2"),
        lambda: repo.delete("bert:v1"),
        repo.gc,
    ):
        with pytest.raises(UnsupportedFormat, match="'packs'"):
            change()
    assert (kept(repo.store), snapshot(folder)) == before


def test_a_store_that_becomes_another_under_a_save_is_not_written(
    repo: mvs.Repository, folder: Path, saved: mvs.Version
) -> None:
    """Somebody upgraded, and saved, while a training went on."""
    draft = repo.create("bert:v2")
    (draft.__enter__().path / "weights.bin").write_bytes(b"weights")
    put(repo.store / "format", b"mvs-store 1\nneeds-read shards\n")
    with pytest.raises(UnsupportedFormat, match="shards"):
        draft.__exit__(None, None, None)
    put(repo.store / "format", b"mvs-store 1\n")
    assert mvs.open(repo.root).list() == [saved]
    assert repo.fsck(level="full").ok


@pytest.mark.parametrize("inside", [None, "folder", "files"])
def test_a_folder_that_is_no_store_is_refused(tmp_path: Path, inside: str | None) -> None:
    (tmp_path / "work" / ".mvs").mkdir(parents=True)
    if inside == "folder":
        (tmp_path / "work" / ".mvs" / "format").mkdir()
    if inside == "files":
        (tmp_path / "work" / ".mvs" / "notes.txt").write_text("mine")
    before = snapshot(tmp_path)
    with pytest.raises(NotARepository, match=r"work/\.mvs"):
        mvs.open(tmp_path / "work")
    assert snapshot(tmp_path) == before


def test_a_store_is_not_made_among_files_of_others(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.jpg").write_bytes(b"cat")
    with pytest.raises(NotARepository, match="photos"):
        mvs.init(tmp_path / "work", store=tmp_path / "photos")
    assert os.listdir(tmp_path / "photos") == ["cat.jpg"]
    assert not (tmp_path / "work").exists()


def test_a_read_only_store_is_read_and_its_changes_refused(
    repo: mvs.Repository, folder: Path, saved: mvs.Version, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Root is not stopped by rights, so the system calls that would change the store refuse by themselves."""

    def protect(name: str) -> None:
        call = getattr(os, name)

        def guarded(path: Any, *args: Any, **options: Any) -> Any:
            writes = name != "open" or args[0] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
            if writes and any(str(place).startswith(str(repo.store)) for place in (path, *args)):
                raise OSError(errno.EROFS, os.strerror(errno.EROFS), path)
            return call(path, *args, **options)

        monkeypatch.setattr(os, name, guarded)

    before = snapshot(repo.store), snapshot(folder)
    for name in ("chmod", "link", "mkdir", "open", "rename", "replace", "rmdir", "unlink"):
        protect(name)
    for change in (
        lambda: repo.save(folder, "bert:v2"),
        lambda: repo.save(folder, "bert:v2", move=True),
        lambda: repo.delete("bert:v1"),
        lambda: repo.restore("bert:v0"),
        lambda: repo.create("bert:v2").__enter__(),
    ):
        with pytest.raises(ReadOnlyStore, match=r"repo/\.mvs"):
            change()
    assert repo.get("bert") == saved == repo.list()[0]
    assert (repo.checkout("bert", tmp_path / "out") / "run.sh").exists()
    monkeypatch.undo()
    assert (snapshot(repo.store), snapshot(folder)) == before


@pytest.mark.skipif(os.geteuid() == 0, reason="rights do not stop root")
def test_a_store_without_write_rights_is_read(repo: mvs.Repository, folder: Path, saved: mvs.Version) -> None:
    subprocess.run(["chmod", "-R", "a-w", str(repo.store)], check=True)
    try:
        with pytest.raises(ReadOnlyStore, match=r"repo/\.mvs"):
            repo.save(folder, "bert:v2")
        assert repo.get("bert") == saved
    finally:
        subprocess.run(["chmod", "-R", "u+w", str(repo.store)], check=True)


def test_a_version_and_a_name_below_are_kept_apart(repo: mvs.Repository, folder: Path) -> None:
    version = repo.save(folder, "acme:bert")
    (folder / "config.json").write_text("{}")
    below = repo.save(folder, "acme/bert:v1")
    assert repo.get("acme:bert") == repo.get("acme") == version
    assert repo.get("acme/bert:v1") == repo.get("acme/bert") == below
    assert [str(found.tag) for found in repo.list("acme")] == ["acme:bert"]
    repo.delete("acme:bert")
    assert repo.get("acme/bert") == below
    repo.delete("acme/bert", all_versions=True)
    assert repo.list() == []
    assert repo.restore("acme:bert") == version


@pytest.mark.parametrize("message", [1, None, b"text", "\ud800"])
def test_a_message_that_is_no_text_is_refused(
    repo: mvs.Repository, folder: Path, refused: Refused, message: Any
) -> None:
    refused(InvalidInput, "message", lambda: repo.save(folder, "bert:v2", message=message, move=True))
    refused(InvalidInput, "message", lambda: repo.create("bert:v2", message=message))
