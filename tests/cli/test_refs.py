"""Aliases and labels on the command line."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

import mvs
from mvs.errors import AliasMoved, AliasNotFound, InvalidMetadata, InvalidTag, Protected

Cli = Callable[..., Result]


@pytest.fixture(autouse=True)
def two(repo: mvs.Repository, folder: Path) -> list[mvs.Version]:
    return [repo.save(folder, f"bert:v{number}", labels={"kind": "base"}) for number in (1, 2)]


def test_an_alias_is_set_moved_told_and_taken_back(cli: Cli) -> None:
    assert cli("alias", "set", "bert@prod", "bert:v1").stdout == "bert:v1\n"
    assert cli("alias", "set", "bert@prod", "bert:v2", "--expect", "bert:v1").stdout == "bert:v2\n"
    refused = cli("alias", "set", "bert@prod", "bert:v2", "--expect", "bert:v1", code=AliasMoved.exit_code)
    assert "'bert@prod' points at 'bert:v2', not at 'bert:v1'" in refused.stderr
    assert "mvs log bert@prod" in refused.stderr
    assert cli("alias", "rollback", "bert@prod").stdout == "bert:v1\n"
    lines = cli("log", "bert@prod").stdout.splitlines()
    assert [line.rpartition("tester@")[2].partition("  ")[2] for line in lines[1:]] == [
        "bert:v2 -> bert:v1 (back)",
        "bert:v1 -> bert:v2",
        "nothing -> bert:v1",
    ]
    assert cli("show", "bert@prod", "--json").stdout == cli("show", "bert:v1", "--json").stdout
    assert cli("alias", "delete", "bert@prod").stdout == ""
    cli("show", "bert@prod", code=AliasNotFound.exit_code)


def test_an_alias_is_only_made_where_none_is_expected(cli: Cli) -> None:
    cli("alias", "set", "bert@prod", "bert:v1", "--expect", "")
    cli("alias", "set", "bert@prod", "bert:v1", "--expect", "", code=AliasMoved.exit_code)
    cli("alias", "set", "bert@latest", "bert:v1", code=InvalidTag.exit_code)


def test_aliases_are_listed_and_shown(cli: Cli, repo: mvs.Repository) -> None:
    assert cli("alias", "list").stdout == ""
    cli("alias", "set", "bert@prod", "bert:v1")
    assert cli("alias", "set", "bert@canary", "bert:v1", "--json").stdout.count('"tag": "bert:v1"') == 1
    assert [line.split()[:2] for line in cli("alias", "list", "bert").stdout.splitlines()] == [
        ["ALIAS", "TAG"],
        ["bert@canary", "bert:v1"],
        ["bert@prod", "bert:v1"],
    ]
    (canary, prod) = json.loads(cli("alias", "list", "--json").stdout)
    assert canary | {"alias": "bert@prod", "at": prod["at"]} == prod
    assert prod.keys() == {"alias", "tag", "id", "deleted", "protected", "at", "by"}
    assert "aliases:  canary prod\n" in cli("show", "bert:v1").stdout
    assert "ALIASES" in cli("list").stdout
    assert [version["aliases"] for version in json.loads(cli("list", "--json").stdout)] == [[], ["canary", "prod"]]
    assert json.loads(cli("log", "bert@prod", "--json").stdout)[0]["alias"] == "bert@prod"


def test_what_an_alias_protects_takes_force(cli: Cli) -> None:
    cli("alias", "set", "bert@prod", "bert:v1")
    assert "--force" in cli("delete", "-y", "bert:v1", code=Protected.exit_code).stderr
    assert cli("config", "get", "alias.protected").stdout == "\n"
    cli("config", "set", "alias.protected", "prod, canary")
    assert cli("config", "get", "alias.protected").stdout == "prod,canary\n"
    for words in (["set", "bert@prod", "bert:v2"], ["rollback", "bert@prod"], ["delete", "bert@prod"]):
        cli("alias", *words, code=Protected.exit_code)
    cli("alias", "set", "bert@prod", "bert:v2", "--force")
    cli("alias", "set", "bert@staging", "bert:v1")
    assert cli("delete", "-y", "--force", "bert:v1").stdout == "bert:v1\n"
    assert "deleted" in cli("alias", "list").stdout


def test_labels_are_set_and_removed_and_told_apart(cli: Cli) -> None:
    assert cli("label", "bert:v1", "stage=production", "owner=ann").stdout == "bert:v1\n"
    assert cli("label", "bert:v1", "stage=archived", "--", "owner=").stdout == "bert:v1\n"
    shown = cli("show", "bert:v1").stdout
    assert "labels:   kind=base\n" in shown
    assert "notes:    stage=archived\n" in shown
    facts = json.loads(cli("label", "bert:v1", "kind=tuned", "--json").stdout)
    assert facts["labels"] == {"kind": "tuned", "stage": "archived"}
    assert facts["saved_labels"] == {"kind": "base"}
    assert facts["notes"] == {"kind": "tuned", "stage": "archived"}
    assert cli("-q", "list", "-l", "stage=archived").stdout == "bert:v1\n"
    assert cli("-q", "list", "-l", "kind=base").stdout == "bert:v2\n"
    assert "kind=tuned stage=archived" in cli("list").stdout
    told = cli("log", "bert").stdout
    assert "owner= stage=archived" in told
    assert "owner=ann stage=production" in told
    cli("label", "bert:v2", "kind=", code=InvalidMetadata.exit_code)
    cli("label", "bert:v2", "kind", code=2)
    cli("label", "bert:v2", code=2)


def test_the_graph_of_a_name_is_drawn(cli: Cli, repo: mvs.Repository, folder: Path) -> None:
    repo.save(folder, "tuned:v1", parents=["bert:v1"])
    assert cli("log", "bert", "--graph").stdout == "* bert:v1\n* tuned:v1\n\n* bert:v2\n"
    kin = json.loads(cli("log", "tuned:v1", "--graph", "--json").stdout)
    assert [relative["tag"] for relative in kin] == ["bert:v1", "tuned:v1"]
    assert kin[1]["parents"] == [kin[0]["id"]]


def test_the_next_number_is_saved_and_found_by_a_range(cli: Cli, folder: Path) -> None:
    assert cli("save", folder, "gpt", "--bump", "major").stdout == "gpt:1.0.0\n"
    assert cli("save", folder, "gpt", "--bump", "minor").stdout == "gpt:1.1.0\n"
    assert cli("show", "gpt:>=1.0,<2").stdout.startswith("tag:      gpt:1.1.0\n")
    assert "'^1..2' is not a range" in cli("show", "gpt:^1..2", code=InvalidTag.exit_code).stderr
    cli("save", folder, "gpt", "--bump", "tiny", code=2)
