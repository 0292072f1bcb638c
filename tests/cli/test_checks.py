"""fsck on the command line: what was checked, what was found, a last line that says it all, and an exit code."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

import mvs
from mvs.cli.verbs.checks import share
from tests.ops.dedup.families import loose_path

Cli = Callable[..., Result]


@pytest.fixture
def damaged(repo: mvs.Repository, folder: Path) -> str:
    """Damage a file of ten versions; return its id."""
    for number in range(10):
        (folder / "sub" / "vocab.txt").write_text(f"{number}\n")
        repo.save(folder, f"bert:v{number}")
    id = next(file.blob for file in repo.get("bert").files if file.path == "config.json")
    path = loose_path(repo, id)
    path.chmod(0o644)
    path.write_bytes(b"?" * path.stat().st_size)
    return id


def test_a_clean_store_is_ok(cli: Cli, repo: mvs.Repository, folder: Path) -> None:
    repo.save(folder, "bert:v1")
    result = cli("fsck")
    assert result.stdout == "1 version, 4 files (100.0 kB), 5 loose objects (100.6 kB)\nok\n"
    assert result.stderr == ""
    lines = cli("fsck", "--full").stdout.splitlines()
    assert lines[1:] == ["5 objects verified, 100.6 kB", "ok"]


def test_damage_is_told_with_its_versions_and_exits_with_1(cli: Cli, damaged: str) -> None:
    lines = cli("fsck", "--full", code=1).stdout.splitlines()
    assert f"object-damaged  {damaged}" in lines
    shown = " ".join(f"bert:v{number}" for number in range(8))
    assert f"  versions: {shown} and 2 more" in lines
    assert lines[-1] == "not ok: 1 finding, 10 versions suffer"
    assert cli("fsck", "bert:v3", "--full", code=1).stdout.splitlines()[-1] == "not ok: 1 finding, 1 version suffers"


def test_all_of_it_is_there_as_json(cli: Cli, damaged: str) -> None:
    facts = json.loads(cli("fsck", "--full", "--json", code=1).stdout)
    assert (facts["ok"], facts["level"], facts["versions"]) == (False, "full", 10)
    (finding,) = facts["findings"]
    assert (finding["kind"], finding["what"], finding["harmless"]) == ("object-damaged", damaged, False)
    assert finding["versions"] == [f"bert:v{number}" for number in range(10)]
    assert facts["verified"]["count"] == facts["objects"]["count"]


def test_what_is_no_damage_is_a_note(cli: Cli, repo: mvs.Repository, folder: Path) -> None:
    repo.save(folder, "bert:v1")
    (repo.store / "refs" / "tags" / "bert" / "@latest").write_bytes(b"?")
    (repo.store / "staging" / "0123456789abcdef.tmp").write_bytes(b"12345")
    lines = cli("fsck").stdout.splitlines()
    assert lines[-2:] == ["not needed by any version: 1 temporary file (5 B)", "ok, with 1 note"]
    assert "latest-stale  refs/tags/bert/@latest" in lines


def test_only_one_level_can_be_chosen(cli: Cli) -> None:
    for levels in (["--quick", "--full"], ["--full", "--sample", "2%"]):
        assert "choose one of" in cli("fsck", *levels, code=2).stderr


@pytest.mark.parametrize(("text", "meant"), [("2%", 0.02), ("0.5", 0.5), ("100%", 1.0), ("0.1%", 0.001)])
def test_a_share_may_be_written_as_percents(text: str, meant: float) -> None:
    assert share(text) == pytest.approx(meant)


@pytest.mark.parametrize("text", ["0", "-1%", "101%", "2", "x", "nan", "%", ""])
def test_what_is_no_share_is_refused(cli: Cli, text: str) -> None:
    assert "is no share" in cli("fsck", "--sample", text, code=2).stderr


def test_a_repair_tells_what_it_did(cli: Cli, repo: mvs.Repository, damaged: str, folder: Path) -> None:
    lines = cli("fsck", "--repair", "--from", folder).stdout.splitlines()
    assert lines[0] == f"mended  {damaged}"
    assert lines[1] == f"  made again from '{folder / 'config.json'}'"
    assert lines[-1] == "ok"
    assert cli("fsck", "--repair").stdout.splitlines()[-1] == "ok"
    assert repo.get("bert").read_bytes("config.json") == (folder / "config.json").read_bytes()


def test_what_stays_broken_is_told_and_exits_with_1(cli: Cli, damaged: str) -> None:
    result = cli("fsck", "--repair", code=1)
    kept = f"quarantine/objects/{damaged[:2]}/{damaged[2:]}"
    assert result.stdout.splitlines()[0] == f"moved to  {kept}"
    assert "in quarantine: 1 file (13 B)" in result.stdout
    assert result.stdout.splitlines()[-1] == "not ok: 1 finding, 10 versions suffer"
    assert "mvs fsck --repair --from PATH" in result.stderr
    assert "broken:   config.json" in cli("show", "bert:v3").stdout
    assert json.loads(cli("show", "bert:v3", "--json").stdout)["broken"] == ["config.json"]
    listed = cli("list", "bert")
    assert listed.stderr.count("is broken") == 10
    assert "could not be mended" in cli("cat", "bert:v3", "config.json", code=52).stderr


def test_all_of_a_repair_is_there_as_json(cli: Cli, damaged: str, folder: Path) -> None:
    facts = json.loads(cli("fsck", "--repair", "--json", code=1).stdout)
    assert (facts["ok"], facts["mended"], len(facts["broken"])) == (False, [], 10)
    assert facts["quarantined"] == [f"quarantine/objects/{damaged[:2]}/{damaged[2:]}"]
    assert [finding["kind"] for finding in facts["found"]] == ["object-damaged"]
    assert [finding["kind"] for finding in facts["findings"]] == ["object-missing"]
    facts = json.loads(cli("fsck", "--repair", "--from", folder, "--json").stdout)
    assert (facts["ok"], facts["broken"], facts["quarantined"]) == (True, [], [])
    assert [mended["what"] for mended in facts["mended"]] == [damaged]


def test_a_repair_is_of_everything(cli: Cli, folder: Path) -> None:
    for options in (["--quick"], ["--sample", "2%"], ["bert"]):
        assert "the whole store" in cli("fsck", "--repair", *options, code=2).stderr
    assert "--from needs --repair" in cli("fsck", "--from", folder, code=2).stderr
    assert "no folder" in cli("fsck", "--repair", "--from", "nowhere", code=25).stderr
