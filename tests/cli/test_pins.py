"""pin, unpin, checkout without a version."""

import json
from collections.abc import Callable
from pathlib import Path

import click
import pytest
from click.testing import Result

import mvs
from mvs.cli.main import main
from mvs.cli.verb import complete_pin

Cli = Callable[..., Result]


def test_a_version_is_pinned_checked_out_and_unpinned(cli: Cli, repo: mvs.Repository, folder: Path) -> None:
    root = repo.root.parent
    cli("save", folder, "bert:v1")
    assert cli("pin", "bert", "--to", "models/bert").stdout == "bert:v1  models/bert\n"
    facts = json.loads(cli("pin", "--json").stdout)
    assert facts[0]["path"] == "models/bert"
    assert set(facts[0]) == {"tag", "name", "version", "id", "path", "follows"}
    assert cli("pin").stdout.splitlines()[1].split() == ["bert:v1", facts[0]["id"][:12], "models/bert", "latest"]
    assert cli("checkout").stdout == "bert:v1  models/bert\n"
    assert (root / "models/bert/config.json").exists()
    assert json.loads(cli("checkout", "--json").stdout) == []
    cli("save", folder, "bert:v2")
    assert cli("pin", "--update").stdout == "bert:v1 -> v2  models/bert\n"
    assert "up to date" in cli("pin", "--update", "bert").stderr
    assert json.loads(cli("pin", "--update", "--json").stdout) == []
    assert json.loads(cli("unpin", "models/bert", "--json").stdout)[0]["tag"] == "bert:v2"
    assert cli("pin").stdout == ""


def test_paths_are_meant_as_the_shell_means_them(
    cli: Cli, repo: mvs.Repository, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (repo.root.parent / "sub").mkdir()
    cli("save", folder, "bert:v1")
    monkeypatch.chdir(repo.root.parent / "sub")
    assert cli("pin", "bert", "--to", "model").stdout == "bert:v1  sub/model\n"


@pytest.mark.parametrize(
    "words",
    [
        ["bert", "--update", "--resolve"],
        ["--to", "x"],
        ["bert", "--to", "x", "--update"],
        ["bert", "--resolve"],
        ["--prefer", "ours"],
    ],
)
def test_options_that_exclude_each_other_are_refused(cli: Cli, words: list[str]) -> None:
    cli("pin", *words, code=2)


def test_errors_have_their_codes(cli: Cli, repo: mvs.Repository) -> None:
    cli("pin", "bert", code=21)
    cli("unpin", "bert", code=20)
    cli("checkout", "--include", "x", code=2)
    (repo.root.parent / "mvs.lock").write_text("mvs-lock 9\n")
    assert "mvs-lock 9" in cli("pin", code=41).stderr
    (repo.root.parent / "mvs.lock").write_text("<<<<<<< a\n")
    assert "hint:  mvs pin --resolve" in cli("checkout", code=57).stderr


def test_status_names_what_differs_and_exits_with_1(
    cli: Cli, repo: mvs.Repository, folder: Path, tmp_path: Path
) -> None:
    assert cli("status").stderr == "nothing is pinned\n"
    cli("save", folder, "bert:v1")
    cli("pin", "bert")
    assert cli("status", code=1).stdout == "bert:v1  bert\n  not checked out: mvs checkout\n"
    cli("checkout")
    assert cli("status").stderr == "1 pin, and nothing differs\n"
    cli("save", folder, "bert:v2")
    cli("remote", "add", "origin", tmp_path / "there")
    (repo.root.parent / "bert/config.json").write_text("{}")
    (repo.root.parent / "bert/run.sh").unlink()
    assert cli("status", code=1).stdout.splitlines() == [
        "bert:v1  bert",
        "  edited   config.json",
        "  missing  run.sh",
        "  behind   'latest', which is bert:v2: mvs pin --update bert",
        "  not pushed: mvs push bert:v1",
    ]
    facts = json.loads(cli("status", "--json", code=1).stdout)[0]
    assert (facts["edited"], facts["missing"], facts["behind"]) == (["config.json"], ["run.sh"], "bert:v2")
    assert (facts["clean"], facts["pushed"]) == (False, False)


def test_the_shell_offers_what_is_pinned(cli: Cli, repo: mvs.Repository, folder: Path) -> None:
    cli("save", folder, "bert:v1")
    cli("pin", "bert", "--to", "models/bert")
    unpin = main.get_command(click.Context(main), "unpin")
    assert unpin is not None

    def offered(incomplete: str) -> list[str]:
        context = click.Context(unpin, parent=click.Context(main))
        return [item.value for item in complete_pin(context, unpin.params[0], incomplete)]

    assert offered("") == ["bert", "models/bert"]
    assert offered("mo") == ["models/bert"]
    (repo.root.parent / "mvs.lock").write_text("?")
    assert offered("") == []


def test_what_is_pinned_is_pushed(cli: Cli, repo: mvs.Repository, folder: Path, tmp_path: Path) -> None:
    cli("save", folder, "bert:v1")
    cli("save", folder, "gpt:v1")
    assert cli("checkout").stderr == "nothing is pinned: mvs pin SPEC\n"
    cli("pin", "bert")
    cli("push", "--pinned", code=28)
    cli("remote", "add", "origin", tmp_path / "there")
    cli("push", "--pinned", "--all", code=2)
    assert json.loads(cli("push", "--pinned", "--json").stdout)["versions"] == ["bert:v1"]
    assert json.loads(cli("push", "--pinned", "--json").stdout)["versions"] == []
    cli("checkout")
    assert cli("checkout").stderr == "all that is pinned is there\n"
    cli("fsck", "--full")
