"""push, pull, fetch, remote."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

import mvs

Cli = Callable[..., Result]


@pytest.fixture
def there(tmp_path: Path) -> Path:
    return tmp_path / "there"


def test_a_version_goes_and_comes(cli: Cli, repo: mvs.Repository, folder: Path, there: Path, tmp_path: Path) -> None:
    cli("save", folder, "bert:v1")
    cli("remote", "add", "origin", there)
    assert "would send 1 version to 'origin'" in cli("push", "bert", "--dry-run").stdout
    assert json.loads(cli("push", "bert", "--json").stdout)["versions"] == ["bert:v1"]
    assert json.loads(cli("push", "--all", "--json").stdout) == {
        "remote": "origin",
        "versions": [],
        "present": ["bert:v1"],
        "packs": 0,
        "bytes": 0,
        "aliases": [],
        "notes": [],
        "differs": [],
    }
    other = mvs.init(tmp_path / "other")
    other.add_remote("origin", str(there))
    at = ("-C", other.root.parent)
    assert json.loads(cli(*at, "fetch", "--json").stdout) == {"versions": 1}
    assert "bert:v1" in cli(*at, "list", "--remote", "origin").stdout
    assert json.loads(cli(*at, "show", "origin/bert", "--json").stdout)["tag"] == "bert:v1"
    assert cli(*at, "cat", "origin/bert", "sub/vocab.txt").stdout == "a\nb\n"
    assert json.loads(cli(*at, "pull", "bert", "--dry-run", "--json").stdout)["bytes"] > 0
    assert json.loads(cli(*at, "list", "--json").stdout) == []
    assert "received 1 version" in cli(*at, "pull", "bert").stdout
    assert cli(*at, "cat", "bert", "sub/vocab.txt").stdout == "a\nb\n"


def test_some_files_of_a_version_come(
    cli: Cli, repo: mvs.Repository, folder: Path, there: Path, tmp_path: Path
) -> None:
    version = repo.save(folder, "bert:v1")
    rest = version.size - (folder / "config.json").stat().st_size
    repo.add_remote("origin", str(there))
    repo.push()
    other = mvs.init(tmp_path / "other")
    other.add_remote("origin", str(there))
    at = ("-C", tmp_path / "other")
    only = ("pull", "bert", "--include", "*.json")
    planned = json.loads(cli(*at, *only, "--dry-run", "--json").stdout)
    done = json.loads(cli(*at, *only, "--json").stdout)
    assert planned["left"] == done["left"] == rest
    assert planned["bytes"] == done["bytes"] > 0
    assert (done["versions"], done["completed"]) == (["bert:v1"], [])
    assert json.loads(cli(*at, "show", "bert", "--json").stdout)["absent"] == ["run.sh", "sub/vocab.txt", "weights.bin"]
    assert "absent:   run.sh\n" in cli(*at, "show", "bert").stdout
    assert "4 files (100.0 kB), 3 of them not pulled (100.0 kB)" in cli(*at, "fsck").stdout
    assert json.loads(cli(*at, "fsck", "--json").stdout)["not-pulled"] == {"count": 3, "size": rest}
    assert "files of 1 version that was here in part" in cli(*at, "pull", "bert", "--dry-run").stdout
    assert "stayed" not in cli(*at, "pull", "bert").stdout
    assert "absent" not in cli(*at, "show", "bert").stdout


def test_versions_must_be_named_or_all_asked_for(cli: Cli, there: Path) -> None:
    cli("remote", "add", "origin", there)
    for verb in ("push", "pull"):
        assert "--all" in cli(verb, code=2).stderr
        cli(verb, "bert", "--all", code=2)


def test_remotes_are_listed_changed_and_forgotten(cli: Cli, there: Path, tmp_path: Path) -> None:
    assert cli("remote", "list").stdout == ""
    cli("remote", "add", "origin", there)
    cli("remote", "add", "backup", tmp_path / "backup")
    assert json.loads(cli("remote", "list", "--json").stdout)[0] == {
        "name": "origin",
        "url": str(there),
        "default": True,
    }
    assert "default" in cli("remote", "list").stdout
    cli("remote", "set-url", "backup", tmp_path / "elsewhere")
    assert str(tmp_path / "elsewhere") in cli("remote", "list").stdout
    cli("remote", "remove", "backup")
    assert "backup" not in cli("remote", "list").stdout
    assert "mvs remote list" in cli("push", "--all", "-r", "backup", code=28).stderr


def test_what_is_no_remote_is_told(cli: Cli, tmp_path: Path) -> None:
    assert "mvs remote add" in cli("push", "--all", code=28).stderr
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "format").write_text("<html>")
    cli("remote", "add", "site", tmp_path / "site", code=56)
    cli("remote", "add", "site", "gopher://hole", code=14)
    cli("remote", "add", "Not A Name", tmp_path / "x", code=11)


def test_a_remote_is_shown(cli: Cli, folder: Path, tmp_path: Path) -> None:
    there = tmp_path / "there"
    cli("remote", "add", "origin", there)
    assert cli("remote", "show").stdout.splitlines()[-1] == "pushed:    never"
    cli("save", folder, "bert:v1")
    cli("save", folder, "acme/bert:v1")
    cli("push", "--all")
    cli("gc", "--remote", "origin")
    found = json.loads(cli("remote", "show", "origin", "--json").stdout)
    stored = sum(path.stat().st_size for path in there.rglob("*.pack"))
    assert found.pop("pushed").endswith("Z")
    assert found.pop("by").startswith("tester@")
    assert found == {
        "name": "origin",
        "url": str(there),
        "default": True,
        "versions": 2,
        "names": 2,
        "packs": len(list(there.rglob("*.pack"))),
        "bytes": stored,
        "entries": 2,
    }
    shown = cli("remote", "show").stdout
    assert "versions:  2 of 2 names" in shown
    assert "by tester@" in shown
    cli("remote", "show", "nowhere", code=28)
