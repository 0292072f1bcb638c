"""How the program starts and how it ends: exit codes, errors with a way out, interrupts, pipes."""

import errno
import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import obstore
import pytest
from click.testing import Result

import mvs
from mvs import errors
from mvs.backends import locks
from mvs.backends.buckets import objects
from mvs.backends.buckets.folder import FolderBucket
from mvs.backends.locks import exclusive
from mvs.cli.main import ALIASES, VERBS
from mvs.store import hashing, staging

Cli = Callable[..., Result]
Program = Callable[..., "subprocess.Popen[bytes]"]
Terminal = Callable[..., tuple[int, str]]


def test_the_version_is_printed(cli: Cli) -> None:
    result = cli("--version")
    assert (result.stdout, result.stderr) == (f"mvs {mvs.__version__}\n", "")


def test_help_names_every_verb_in_the_order_of_a_working_day(cli: Cli) -> None:
    commands = cli("--help").stdout.partition("Commands:\n")[2].partition("\n\n")[0]
    assert [line.split()[0] for line in commands.splitlines()] == list(VERBS)
    assert cli("-h").stdout == cli("--help").stdout


@pytest.mark.parametrize("verb", [*VERBS, *ALIASES, "config get", "config set", "config list"])
def test_every_verb_has_help(cli: Cli, verb: str) -> None:
    assert "--help" in cli(*verb.split(), "--help").stdout


@pytest.mark.parametrize(
    "arguments",
    [["nothing"], ["show"], ["show", "a", "b"], ["list", "--wrong"], ["list", "-n", "x"], ["list", "-n", "-1"]],
)
def test_a_wrong_use_exits_with_2_and_prints_nothing_on_standard_output(cli: Cli, arguments: list[str]) -> None:
    result = cli(*arguments, code=2)
    assert result.stdout == ""
    assert "Usage: mvs" in result.stderr


@pytest.mark.parametrize(("typed", "meant"), [("sav", "save"), ("lst", "list"), ("chekout", "checkout")])
def test_a_slip_of_the_finger_is_hinted_at(cli: Cli, typed: str, meant: str) -> None:
    assert f"Did you mean '{meant}'?" in cli(typed, code=2).stderr


class World:
    """A repository with `bert:v1` and `bert:v2`, and ways to break it."""

    def __init__(self, repo: mvs.Repository, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.repo = repo
        self.folder = folder
        self.patch = patch
        self.first = repo.save(folder, "bert:v1")
        self.second = repo.save(folder, "bert:v2", message="second")

    def object(self, id: str) -> Path:
        return self.repo.store / "objects" / id[:2] / id[2:]

    def ref(self, version: str) -> Path:
        return self.repo.store / "refs" / "tags" / "bert" / f"@{version}"

    def spoil(self, path: Path, data: bytes = b"garbage\n") -> None:
        path.chmod(0o644)
        path.write_bytes(data)

    def fail(self, call: str, number: int) -> None:
        def failing(*_: object, **__: object) -> None:
            raise OSError(number, os.strerror(number))

        self.patch.setattr(os, call, failing)


def invalid_input(world: World) -> list[str]:
    mvs.init("one", store="shared")
    return ["init", "one", "--store", "other"]


def invalid_path(world: World) -> list[str]:
    os.mkfifo(world.folder / "pipe")
    return ["save", str(world.folder), "bert"]


def invalid_config(world: World) -> list[str]:
    (world.repo.root / "config.toml").write_text("x = ")
    return ["list"]


def empty_folder(world: World) -> list[str]:
    Path("empty").mkdir()
    return ["save", "empty", "bert"]


def tag_taken(world: World) -> list[str]:
    world.repo.delete("bert:v1")
    (world.folder / "config.json").write_text("{}")
    return ["save", str(world.folder), "bert:v1"]


def destination_exists(world: World) -> list[str]:
    Path("out").write_text("mine")
    return ["checkout", "bert", "out"]


def source_changed(world: World) -> list[str]:
    real = hashing.copy_open
    source = Path("large.bin")
    source.write_bytes(bytes(2 << 20))

    def copy_and_change(*arguments: object) -> object:
        source.write_bytes(b"changed")
        return real(*arguments)  # type: ignore[arg-type]

    world.patch.setattr(staging, "copy_open", copy_and_change)
    return ["save", str(source), "bert"]


def protected(world: World) -> list[str]:
    world.repo.alias("bert@prod", "bert:v1")
    return ["delete", "-y", "bert:v1"]


def not_a_repository(world: World) -> list[str]:
    (world.repo.store / "format").unlink()
    return ["list"]


def unsupported_format(world: World) -> list[str]:
    (world.repo.store / "format").write_text("mvs-store 2\n")
    return ["list"]


def corrupt_object(world: World) -> list[str]:
    world.spoil(world.object(world.first.files[0].blob), b'{"layers": 9}')
    return ["checkout", "bert", "out"]


def missing_object(world: World) -> list[str]:
    world.object(world.first.files[0].blob).unlink()
    return ["checkout", "bert", "out"]


def corrupt_manifest(world: World) -> list[str]:
    world.ref("v2").write_text(world.ref("v2").read_text().replace(world.second.id, world.first.id))
    return ["show", "bert:v2"]


def corrupt_ref(world: World) -> list[str]:
    world.spoil(world.ref("v2"))
    return ["show", "bert:v2"]


def corrupt_pack(world: World) -> list[str]:
    world.repo.dedup()
    for path in world.repo.store.glob("packs/*/*.pack"):
        world.spoil(path)
    return ["checkout", "bert", "out"]


def storage(call: str, number: int, world: World) -> list[str]:
    (world.folder / "config.json").write_text("new content")
    world.fail(call, number)
    return ["save", str(world.folder), "bert:v3"]


def store_busy(world: World) -> list[str]:
    world.patch.setattr(locks, "exclusive", partial(exclusive, patience=0))
    return ["delete", "-y", "bert:v1"]


S3 = ["remote", "add", "origin", "s3://models/team", "--endpoint", "http://127.0.0.1:1", "--region", "here"]


def missing_extra(world: World) -> list[str]:
    world.patch.setitem(sys.modules, "obstore", None)
    return S3


def corrupt_pins(world: World) -> list[str]:
    (world.repo.root.parent / "mvs.lock").write_text("?")
    return ["pin"]


def not_pulled(world: World) -> list[str]:
    url = str(world.folder.parent / "remote")
    world.repo.add_remote("origin", url)
    world.repo.push("bert:v1")
    other = mvs.init(world.folder.parent / "other")
    other.add_remote("origin", url)
    other.pull("bert:v1", exclude=["*.bin"])
    return ["-C", str(world.folder.parent / "other"), "cat", "bert:v1", "weights.bin"]


def corrupt_remote(world: World) -> list[str]:
    (world.folder / "format").write_text("<html>")
    return ["remote", "add", "site", str(world.folder)]


def remote_failed(world: World) -> list[str]:
    world.patch.setenv("AWS_ACCESS_KEY_ID", "someone")
    world.patch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    world.patch.setattr(objects, "_RETRIES", 0)
    return S3


def remote_denied(world: World) -> list[str]:
    def refused(*_: object) -> None:
        raise obstore.exceptions.PermissionDeniedError("who are you?")

    world.patch.setattr(obstore, "get", refused)
    return S3


def remote_changed(world: World) -> list[str]:
    world.repo.add_remote("origin", str(world.folder / "remote"))
    world.repo.push("bert:v1")
    for entry in (world.folder / "remote" / "log").iterdir():
        entry.unlink()
    return ["push", "--all"]


def remote_unsafe(world: World) -> list[str]:
    world.patch.setattr(FolderBucket, "create", lambda *_: True)
    return ["remote", "add", "origin", str(world.folder / "remote")]


def locks_fail(world: World) -> list[str]:
    world.patch.setattr(fcntl, "flock", lambda *_: None)
    return ["gc"]


def hook_refused(world: World) -> list[str]:
    hook = world.repo.root / "hooks" / "pre-delete"
    hook.parent.mkdir()
    hook.write_text("#!/bin/sh\nexit 1\n")
    hook.chmod(0o755)
    world.patch.setenv("XDG_CONFIG_HOME", str(world.folder.parent / "configuration"))
    world.repo.allow_hooks()
    return ["delete", "-y", "bert:v1"]


CASES: dict[type[errors.MvsError], list[str] | Callable[[World], list[str]]] = {
    errors.InvalidInput: invalid_input,
    errors.InvalidTag: ["show", "be rt"],
    errors.InvalidMetadata: ["save", ".", "bert", "--meta", "loss=NaN"],
    errors.InvalidPath: invalid_path,
    errors.InvalidConfig: invalid_config,
    errors.EmptyFolder: empty_folder,
    errors.ForbiddenPlace: ["save", ".mvs", "bert"],
    errors.NeedsAll: ["delete", "-y", "bert"],
    errors.QueryError: ["list", "--where", "nam = 1"],
    errors.KeepsNothing: ["prune", "bert"],
    errors.NameNotFound: ["show", "nobody"],
    errors.VersionNotFound: ["show", "bert:v9"],
    errors.AliasNotFound: ["show", "bert@prod"],
    errors.FileNotInVersion: ["cat", "bert", "nothing"],
    errors.SourceNotFound: ["save", "nowhere", "bert"],
    errors.AmbiguousSpec: ["show", "bert:v*"],
    errors.TagExists: ["save", ".mvs/../../model", "bert:v2"],
    errors.TagTaken: tag_taken,
    errors.DestinationExists: destination_exists,
    errors.SourceChanged: source_changed,
    errors.AliasMoved: ["alias", "set", "bert@prod", "bert:v1", "--expect", "bert:v2"],
    errors.Protected: protected,
    errors.HookRefused: hook_refused,
    errors.NotARepository: not_a_repository,
    errors.UnsupportedFormat: unsupported_format,
    errors.CorruptObject: corrupt_object,
    errors.MissingObject: missing_object,
    errors.CorruptManifest: corrupt_manifest,
    errors.CorruptRef: corrupt_ref,
    errors.CorruptPack: corrupt_pack,
    errors.MissingExtra: missing_extra,
    errors.RemoteNotFound: ["push", "--all"],
    errors.NotPulled: not_pulled,
    errors.CorruptRemote: corrupt_remote,
    errors.CorruptPins: corrupt_pins,
    errors.CorruptArchive: ["save", ".mvs/../../model/weights.bin", "new", "--unpack"],
    errors.RemoteFailed: remote_failed,
    errors.RemoteDenied: remote_denied,
    errors.RemoteChanged: remote_changed,
    errors.RemoteUnsafe: remote_unsafe,
    errors.StorageFailed: partial(storage, "link", errno.EIO),
    errors.StorageFull: partial(storage, "link", errno.ENOSPC),
    errors.ReadOnlyStore: partial(storage, "link", errno.EROFS),
    errors.SyncFailed: partial(storage, "fsync", errno.EIO),
    errors.StoreBusy: store_busy,
    errors.LocksFail: locks_fail,
}


@pytest.fixture
def arguments(
    request: pytest.FixtureRequest, repo: mvs.Repository, folder: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> Iterator[list[str]]:
    """Make the world in which an error occurs, and return the command that meets it."""
    case = CASES[request.param]
    world = World(repo, folder, monkeypatch)
    if request.param is errors.StoreBusy:
        with exclusive(str(repo.store / "lock")):
            yield store_busy(world)
    else:
        yield case(world) if callable(case) else case
    monkeypatch.undo()


@pytest.mark.parametrize(
    ("error", "arguments"), [(error, error) for error in CASES], indirect=["arguments"], ids=lambda error: error.kind
)
def test_every_error_exits_with_its_code_and_says_what_to_do(
    cli: Cli, arguments: list[str], error: type[errors.MvsError]
) -> None:
    """A script goes by the code, a person by the hint; a traceback helps neither."""
    result = cli(*arguments, code=error.exit_code)
    assert result.stdout == ""
    said = [line for line in result.stderr.splitlines() if line]
    assert said[0].startswith("error: "), result.stderr
    shown = [line for line in said if line.startswith("  ")]
    assert len(shown) == (2 if error is errors.QueryError else 0)
    assert all(line.startswith("hint:  ") for line in said[1:] if line not in shown), result.stderr
    assert len(said) - len(shown) <= 2
    assert "Traceback" not in result.stderr


def test_every_error_has_a_code_of_its_own() -> None:
    found, pending = [], [errors.MvsError]
    while pending:
        found.append(pending.pop())
        pending.extend(found[-1].__subclasses__())
    assert len({error.exit_code for error in found}) == len({error.kind for error in found}) == len(found)
    assert not {error.exit_code for error in found} & {0, 2, 70, 126, 127, 130}
    assert all(error.exit_code < 126 for error in found)
    groups = {errors.MvsError, errors.NotFound, errors.Conflict, errors.Corrupt}
    # No command names a tensor: tests/test_tensors.py meets it in Python.
    elsewhere = {errors.TensorNotInVersion}
    assert set(found) - groups - elsewhere == set(CASES), "every error that is raised is reached by a command above"


def test_debug_shows_the_traceback(program: Program) -> None:
    process = program("--debug", "show", "nobody")
    out, err = process.communicate()
    assert (out, process.returncode) == (b"", 1)
    assert b"Traceback" in err
    assert b"NameNotFound: no model 'nobody'" in err


def test_an_internal_error_is_told_in_one_line(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("oops")

    monkeypatch.setattr(mvs.Repository, "list", broken)
    monkeypatch.setattr(sys, "argv", ["mvs", "list", "my name*"])
    result = cli("list", "my name*", code=70)
    assert result.stderr.splitlines()[0] == "error: internal error: ZeroDivisionError: oops"
    assert result.stderr.splitlines()[1] == "hint:  mvs --debug list 'my name*'"


def test_a_refusal_of_the_system_is_told_in_one_line(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", "/some/where")

    monkeypatch.setattr(mvs.Repository, "list", refused)
    assert cli("list", code=60).stderr == "error: '/some/where': Permission denied\n"


def test_a_name_that_is_not_utf8_can_be_complained_about(program: Program) -> None:
    process = program("save", os.fsdecode(b"caf\xe9"), "bert")
    out, err = process.communicate()
    assert (out, process.returncode) == (b"", 25)
    assert err.decode().startswith("error: cannot read 'caf\\udce9'")


def test_colours_are_for_terminals(terminal: Terminal, program: Program) -> None:
    code = "from mvs.cli.main import run; run(['show', 'nobody'])"
    assert terminal(code)[1].startswith("\x1b[31m\x1b[1merror: \x1b[0m")
    assert terminal(code, NO_COLOR="1") == (21, "error: no model 'nobody'\r\nhint:  mvs list\r\n")
    assert program("show", "nobody").communicate()[1] == b"error: no model 'nobody'\nhint:  mvs list\n"


def test_an_interrupt_leaves_the_store_whole_and_says_so(repo: mvs.Repository, folder: Path) -> None:
    """A save that copies for ever: nothing but the interrupt can end it."""
    kept = repo.save(folder, "bert:v1")
    (repo.root.parent / "large.bin").write_bytes(bytes(8 << 20))
    script = """
from mvs.store import staging
real = staging.copy_open
def copy_for_ever(source, target, advance):
    print("copying", flush=True)
    while True:
        real(source, target, advance)
staging.copy_open = copy_for_ever
from mvs.cli.main import run
run(["save", "large.bin", "bert:v2"])
"""
    command = [sys.executable, "-c", script]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=repo.root.parent, stdout=pipe, stderr=pipe) as process:
        assert process.stdout
        assert process.stdout.readline() == b"copying\n"
        process.send_signal(signal.SIGINT)
        try:
            out, err = process.communicate(timeout=30)
        finally:
            process.kill()
    assert (process.returncode, out) == (130, b""), err
    assert err.decode().splitlines()[-1].startswith("interrupted")
    assert b"Traceback" not in err
    assert repo.list() == [kept]
    assert os.listdir(repo.store / "staging") == []
    assert kept.read_bytes("config.json") == (folder / "config.json").read_bytes()


@pytest.mark.parametrize(
    "arguments",
    [
        ["list"],
        ["list", "--json"],
        ["show", "bert"],
        ["log", "bert"],
        ["cat", "bert", "config.json"],
        ["cat", "bert", "weights.bin"],
    ],
)
def test_a_reader_that_goes_away_is_no_error_to_talk_about(
    repo: mvs.Repository, folder: Path, program: Program, arguments: list[str]
) -> None:
    """`mvs list | head -1` must not end in a traceback."""
    repo.save(folder, "bert:v1")
    reader, writer = os.pipe()
    os.close(reader)
    process = program(*arguments, stdout=writer)
    os.close(writer)
    assert process.communicate()[1] == b""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
@pytest.mark.parametrize("arguments", [["list"], ["cat", "bert", "config.json"]])
def test_output_that_cannot_be_written_is_an_error(
    repo: mvs.Repository, folder: Path, program: Program, arguments: list[str]
) -> None:
    """`mvs cat bert weights > file` on a full disk must not look like a success."""
    repo.save(folder, "bert:v1")
    with open("/dev/full", "wb") as full:
        process = program(*arguments, stdout=full)
        err = process.communicate()[1].decode()
    assert process.returncode == errors.StorageFailed.exit_code, err
    assert err == "error: No space left on device\n"


def test_an_interrupt_while_the_program_is_loaded_ends_it_quietly(tmp_path: Path) -> None:
    """The third of a second before the first line of ours runs is when a slip is noticed."""
    (tmp_path / "click.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, (str(tmp_path), *sys.path)))}
    for words in (["-m", "mvs", "list"], ["-c", "from mvs.cli.start import run; run()"]):
        done = subprocess.run([sys.executable, *words], capture_output=True, env=environment, check=False)
        assert (done.returncode, done.stdout, done.stderr) == (130, b"", b"interrupted; nothing was begun\n")
