"""dedup on the command line: facts on standard output, everything else beside it, and nothing by accident."""

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

import mvs
from mvs.errors import InvalidInput, NameNotFound, VersionNotFound
from tests.cli.conftest import Terminal
from tests.ops.dedup.families import gguf_q8, loose_files, model, pack_bytes, pack_files, safetensors, tuned

Cli = Callable[..., Result]

BASE = model()
TUNED = tuned(BASE)


@pytest.fixture
def family(repo: mvs.Repository, tmp_path: Path) -> list[mvs.Version]:
    """A base, a fine-tune and a quantised copy."""
    source = tmp_path / "model.safetensors"
    versions = []
    for tag, data in (("bert:v1", safetensors(BASE)), ("bert:v2", safetensors(TUNED)), ("q8:v1", gguf_q8(BASE))):
        source.write_bytes(data)
        versions.append(repo.save(source, tag))
    return versions


@pytest.mark.usefixtures("family")
def test_dedup_tells_what_it_did_in_one_line(cli: Cli, repo: mvs.Repository) -> None:
    plain = sum(version.size for version in repo.list())
    result = cli("dedup")
    assert result.stdout.count("\n") == 1
    assert result.stdout.startswith(f"{plain / 1e6:.1f} MB in 3 files now take ")
    assert f"({pack_bytes(repo) / plain:.1%})" in result.stdout
    assert result.stderr == ""
    assert loose_files(repo) == []


@pytest.mark.usefixtures("family")
def test_dedup_again_has_nothing_to_do(cli: Cli) -> None:
    cli("dedup")
    result = cli("dedup")
    assert (result.stdout, result.stderr) == ("", "nothing to pack\n")


@pytest.mark.usefixtures("family")
def test_dedup_prints_the_facts_as_json(cli: Cli, repo: mvs.Repository) -> None:
    result = cli("dedup", "--json")
    facts = json.loads(result.stdout)
    assert facts.keys() == {"packed", "stored", "freed", "blobs", "skipped", "encodings"}
    plain = sum(version.size for version in repo.list())
    assert (facts["packed"], facts["freed"], facts["blobs"], facts["skipped"]) == (plain, plain, 3, [])
    assert facts["stored"] == pack_bytes(repo)
    assert {"planes", "delta", "derive", "concat"} <= facts["encodings"].keys()
    assert all(figures.keys() == {"size", "stored"} for figures in facts["encodings"].values())
    assert facts["encodings"]["delta"]["stored"] < facts["encodings"]["delta"]["size"] / 2
    assert result.stderr == ""


@pytest.mark.usefixtures("family")
def test_a_dry_run_shows_the_plan_and_does_nothing(cli: Cli, repo: mvs.Repository) -> None:
    result = cli("dedup", "--dry-run")
    lines = [line.split() for line in result.stdout.splitlines()]
    assert lines[0] == ["TAG", "FILE", "SIZE", "ABOUT", "BASE"]
    told = {line[0]: (line[1], line[-1]) for line in lines[1:]}
    assert told["bert:v1"][0] == "model.safetensors"
    assert told["bert:v2"] == ("model.safetensors", "bert:v1/model.safetensors")
    assert told["q8:v1"] == ("model.safetensors", "bert:v1/model.safetensors")
    assert "would take about" in result.stderr
    assert pack_files(repo) == []
    assert cli("dedup", "-n").stdout == result.stdout


def test_a_dry_run_prints_the_plan_as_json(cli: Cli, repo: mvs.Repository, family: list[mvs.Version]) -> None:
    result = cli("dedup", "--dry-run", "--json", "--keep-loose", "latest")
    facts = json.loads(result.stdout)
    assert facts.keys() == {"items", "size", "estimate", "kept", "packed"}
    assert [item["tag"] for item in facts["items"]] == ["bert:v1"]
    assert facts["kept"] == family[1].size + family[2].size
    assert (facts["size"], facts["packed"]) == (family[0].size, 0)
    cli("dedup", "bert:v1")
    facts = json.loads(cli("dedup", "--dry-run", "--json").stdout)
    [tuned_item, quantised] = facts["items"]
    assert tuned_item == {
        "tag": "bert:v2",
        "path": "model.safetensors",
        "blob": family[1].files[0].blob,
        "size": family[1].size,
        "estimate": tuned_item["estimate"],
        "bases": ["bert:v1/model.safetensors"],
    }
    assert facts["estimate"] == tuned_item["estimate"] + quantised["estimate"]
    assert facts["packed"] == family[0].size
    assert result.stderr == ""


@pytest.mark.usefixtures("family")
def test_only_what_is_asked_for_is_packed(cli: Cli, repo: mvs.Repository) -> None:
    cli("dedup", "bert:v1", "q8")
    assert [path.name for path in loose_files(repo)] == [repo.get("bert:v2").files[0].blob[2:]]
    cli("dedup", "bert")
    assert loose_files(repo) == []


@pytest.mark.usefixtures("family")
def test_packed_versions_are_read_as_before(cli: Cli, repo: mvs.Repository) -> None:
    before = [cli(*command).stdout for command in (("list",), ("show", "bert:v2"), ("list", "--json"))]
    cli("dedup")
    shown = cli("show", "bert:v2").stdout.splitlines(keepends=True)
    assert [line.split(":")[0] for line in shown if line.startswith(("stored", "base"))] == ["stored", "base"]
    unpacked = "".join(line for line in shown if not line.startswith(("stored", "base")))
    assert [cli("list").stdout, unpacked, cli("list", "--json").stdout] == before
    facts = json.loads(cli("show", "bert:v2", "--json").stdout)
    assert facts["stored"] < facts["size"]
    assert facts["bases"] == ["bert:v1/model.safetensors"]
    assert cli("cat", "bert:v2", "model.safetensors").stdout_bytes == safetensors(TUNED)
    cli("checkout", "q8", "out")
    assert Path("out/model.safetensors").read_bytes() == gguf_q8(BASE)
    path = Path(cli("path", "bert:v1").stdout.strip())
    assert (path / "model.safetensors").read_bytes() == safetensors(BASE)


@pytest.mark.usefixtures("family")
def test_undo_makes_files_loose_again(cli: Cli, repo: mvs.Repository) -> None:
    cli("dedup")
    size = repo.get("bert:v2").size
    assert cli("dedup", "--undo", "bert:v2").stdout == f"{size / 1e3:.1f} kB unpacked\n"
    assert [path.name for path in loose_files(repo)] == [repo.get("bert:v2").files[0].blob[2:]]
    assert json.loads(cli("dedup", "--undo", "bert", "--json").stdout) == {"written": repo.get("bert:v1").size}
    assert json.loads(cli("dedup", "--undo", "bert", "--json").stdout) == {"written": 0}


@pytest.mark.usefixtures("family")
def test_since_last_looks_only_at_what_is_new(cli: Cli, repo: mvs.Repository, tmp_path: Path) -> None:
    cli("dedup")
    cli("dedup", "--undo", "q8")
    (tmp_path / "new").write_bytes(b"new" * 1000)
    repo.save(tmp_path / "new", "new:v1")
    facts = json.loads(cli("dedup", "--since-last", "--dry-run", "--json").stdout)
    assert [item["tag"] for item in facts["items"]] == ["new:v1"]


@pytest.mark.usefixtures("family")
@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["gpt"], NameNotFound.exit_code, "'gpt'"),
        (["bert:v1", "bert:v9"], VersionNotFound.exit_code, "'bert:v9'"),
        (["--undo", "gpt"], NameNotFound.exit_code, "'gpt'"),
        (["--keep-loose", "newest"], InvalidInput.exit_code, "'newest'"),
        (["--keep-loose", "latest,newest"], InvalidInput.exit_code, "aliased, latest"),
        (["--max-memory", "much"], 2, "'much' is no size, such as 500MB or 1.5GiB"),
        (["--max-memory", "-5MB"], 2, "no size"),
        (["--jobs", "0"], 2, "0"),
        (["--undo"], 2, "--undo needs a SPEC"),
        (["--undo", "--dry-run", "bert"], 2, "--undo has no --dry-run"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_cannot_be_meant_is_refused_before_anything_is_done(
    cli: Cli, repo: mvs.Repository, arguments: list[str], code: int, said: str
) -> None:
    result = cli("dedup", *arguments, code=code)
    assert said in result.stderr
    assert result.stdout == ""
    assert pack_files(repo) == []


@pytest.mark.usefixtures("family")
@pytest.mark.parametrize("size", ["256MiB", "1.5GB", "1073741824", "300 mb"])
def test_a_size_can_be_said_in_any_unit(cli: Cli, repo: mvs.Repository, size: str) -> None:
    cli("dedup", "--max-memory", size, "-j", "1")
    assert loose_files(repo) == []


def test_a_damaged_file_is_told_and_left_alone(cli: Cli, repo: mvs.Repository, family: list[mvs.Version]) -> None:
    blob = family[0].files[0].blob
    path = repo.store / "objects" / blob[:2] / blob[2:]
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.chmod(0o644)
    path.write_bytes(data)
    result = cli("dedup", "--json", code=1)
    assert "'model.safetensors' of 'bert:v1' stays as it is" in result.stderr
    assert result.stderr.strip() in "\n".join(json.loads(result.stdout)["skipped"])
    assert path.exists()


@pytest.mark.usefixtures("family")
def test_on_pipes_there_is_no_progress(program: Callable[..., "subprocess.Popen[bytes]"]) -> None:
    """A log of a night's cron must not be a thousand bars."""
    out, err = program("dedup").communicate()
    assert out.count(b"\n") == 1
    assert err == b""


@pytest.mark.usefixtures("family")
def test_on_a_terminal_progress_goes_beside_the_facts(terminal: Terminal, repo: mvs.Repository) -> None:
    code, shown = terminal(
        "from mvs.cli import bar; bar.PATIENCE = -1\nfrom mvs.cli.main import run; run(['dedup'])",
        COLUMNS="80",
    )
    assert code == 0
    assert "planning" in shown
    assert "packing" in shown
    assert "now take" not in shown
    assert loose_files(repo) == []
    assert os.listdir(repo.store / "staging") == []


@pytest.fixture
def deleted(repo: mvs.Repository, tmp_path: Path) -> mvs.Version:
    """A version that was deleted a moment ago; another one stays."""
    for name, data in (("gone", b"gone" * 1000), ("stays", b"stays" * 1000)):
        (tmp_path / name).write_bytes(data)
        repo.save(tmp_path / name, f"{name}:v1")
    version = repo.get("gone:v1")
    repo.delete("gone:v1")
    return version


def test_gc_keeps_what_was_deleted_of_late_and_names_the_command_that_does_not(
    cli: Cli, repo: mvs.Repository, deleted: mvs.Version
) -> None:
    """A full disk must never puzzle anyone."""
    for command in (["gc", "--dry-run"], ["gc"]):
        result = cli(*command)
        assert "mvs gc --expire now" in result.stderr
    assert "0 deleted versions, 0 objects" in cli("gc").stdout
    cli("restore", "gone:v1")
    assert repo.get("gone:v1").id == deleted.id


def test_gc_shows_the_versions_that_would_go_and_removes_nothing(cli: Cli, deleted: mvs.Version) -> None:
    result = cli("gc", "--dry-run", "--expire", "now")
    assert result.stdout.splitlines()[0].split() == ["TAG", "ID", "DELETED"]
    assert result.stdout.splitlines()[1].split()[:2] == ["gone:v1", deleted.id[:12]]
    assert "would come back" in result.stderr
    cli("restore", "gone:v1")


def test_gc_tells_programs_what_would_go_and_what_went(cli: Cli, repo: mvs.Repository, deleted: mvs.Version) -> None:
    planned = json.loads(cli("gc", "-n", "--expire", "now", "--json").stdout)
    assert list(planned) == ["versions", "objects", "packs", "freed", "held", "vanished"]
    at = planned["versions"][0].pop("at")
    assert isinstance(at, int)
    assert planned["versions"] == [{"tag": "gone:v1", "id": deleted.id}]
    assert (planned["objects"], planned["packs"], planned["held"]) == (2, 0, 0)
    held = json.loads(cli("gc", "--json").stdout)
    nothing = {
        "freed": 0,
        "versions": 0,
        "objects": 0,
        "packs": 0,
        "staging": 0,
        "held": 0,
        "vanished": [],
        "fitted": None,
    }
    assert held == nothing | {"held": planned["freed"]}
    done = json.loads(cli("gc", "--expire", "now", "--json").stdout)
    assert done == nothing | {"freed": planned["freed"], "versions": 1, "objects": 2}
    assert [str(version.tag) for version in repo.list()] == ["stays:v1"]
    assert "not in the store" in cli("restore", "gone:v1", code=52).stderr


@pytest.mark.usefixtures("deleted")
@pytest.mark.parametrize("expire", ["", "7", "-1d", "soon", "1y", "9" * 400 + "d"])
def test_a_window_that_is_no_time_is_refused_before_anything_goes(cli: Cli, expire: str) -> None:
    result = cli("gc", "--expire", expire, code=InvalidInput.exit_code)
    assert result.stdout == ""
    assert "hint:  mvs gc --expire 7d" in result.stderr
    cli("restore", "gone:v1")


@pytest.mark.usefixtures("deleted")
def test_gc_that_meets_damage_says_what_and_what_to_do(cli: Cli, repo: mvs.Repository) -> None:
    manifest = repo.get("stays:v1").id
    (repo.store / "objects" / manifest[:2] / manifest[2:]).unlink()
    result = cli("gc", "--expire", "now", code=52)
    assert "'stays:v1'" in result.stderr
    assert "hint:  mvs delete stays:v1" in result.stderr
    cli("restore", "gone:v1")
