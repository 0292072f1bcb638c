"""list, show and log: facts on standard output, whole, for people and for programs."""

import json
import subprocess
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest
from click.testing import Result

import mvs

Cli = Callable[..., Result]

KEYS = ["tag", "name", "version", "id", "tree", "created", "size"]
KEYS += ["labels", "metadata", "context", "parents", "message", "aliases", "saved_labels", "notes"]


@pytest.fixture
def three(repo: mvs.Repository, folder: Path) -> list[mvs.Version]:
    return [
        repo.save(
            folder, "bert:v1", labels={"stage": "production"}, metadata={"f1": 0.5}, message="first\nsecond line"
        ),
        repo.save(folder, "acme/gpt:v1", labels={"stage": "test"}),
        repo.save(folder, "bert:v2", parents=["bert:v1"]),
    ]


def first_column(result: Result) -> list[str]:
    return [line.split()[0] for line in result.stdout.splitlines()]


@pytest.mark.usefixtures("three")
@pytest.mark.parametrize("verb", ["list", "ls"])
def test_list_prints_a_table_newest_first(cli: Cli, verb: str) -> None:
    result = cli(verb)
    assert first_column(result) == ["TAG", "bert:v2", "acme/gpt:v1", "bert:v1"]
    assert "stage=production" in result.stdout
    assert result.stderr == ""


@pytest.mark.usefixtures("three")
@pytest.mark.parametrize(
    ("arguments", "tags"),
    [
        (["bert"], ["bert:v2", "bert:v1"]),
        (["*gpt"], ["acme/gpt:v1"]),
        (["-l", "stage=production"], ["bert:v1"]),
        (["-l", "stage=production", "-l", "lang=de"], []),
        (["bert", "-n", "1"], ["bert:v2"]),
        (["--label", "stage=test", "--limit", "5"], ["acme/gpt:v1"]),
        (["-n", "0"], []),
        (["nothing*"], []),
        (["--where", "metadata.f1 = 0.5 or labels.stage = 'test'"], ["acme/gpt:v1", "bert:v1"]),
        (["bert", "--where", "metrics.f1 is null"], ["bert:v2"]),
        (["*", "-l", "stage=production", "--where", "size > 1kB"], ["bert:v1"]),
        (["--sort", "metadata.f1,name:asc"], ["bert:v1", "acme/gpt:v1", "bert:v2"]),
        (["--offset", "1"], ["acme/gpt:v1", "bert:v1"]),
        (["--offset", "1", "-n", "1"], ["acme/gpt:v1"]),
        (["--offset", "9"], []),
    ],
)
def test_list_chooses_by_name_label_and_number(cli: Cli, arguments: list[str], tags: list[str]) -> None:
    assert cli("list", "-q", *arguments).stdout.split() == tags
    assert [version["tag"] for version in json.loads(cli("list", "--json", *arguments).stdout)] == tags


@pytest.mark.usefixtures("three")
def test_list_as_json_has_the_promised_keys(cli: Cli, three: list[mvs.Version]) -> None:
    found = json.loads(cli("list", "--json").stdout)
    assert [list(version) for version in found] == [KEYS] * 3
    assert [version["id"] for version in found] == [three[i].id for i in (2, 1, 0)]


def test_list_of_nothing_is_nothing(cli: Cli) -> None:
    assert (cli("list").stdout, cli("list").stderr) == ("", "")
    assert json.loads(cli("list", "--json").stdout) == []


@pytest.mark.usefixtures("three")
def test_list_of_an_unknown_name_is_an_error(cli: Cli) -> None:
    result = cli("list", "brt", code=21)
    assert result.stdout == ""
    assert result.stderr == "error: no model 'brt'\nhint:  mvs list bert\n"


def test_list_into_a_pipe_is_neither_cut_nor_wrapped(
    repo: mvs.Repository,
    folder: Path,
    program: Callable[..., "subprocess.Popen[bytes]"],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A script that cuts columns out of it gets whole ones."""
    monkeypatch.setenv("COLUMNS", "40")
    name, labels = "/".join(["n" * 60] * 4), {f"label-{number}": "x" * 90 for number in range(9)}
    repo.save(folder, f"{name}:v1", labels=labels)
    out, err = program("list").communicate()
    _, line = out.decode().splitlines()
    assert line.startswith(f"{name}:v1  ")
    assert all(f"{key}={value}" in line for key, value in labels.items())
    assert (b"\x1b" in out, err) == (False, b"")


def test_a_damaged_version_is_told_on_standard_error(cli: Cli, repo: mvs.Repository, three: list[mvs.Version]) -> None:
    (repo.store / "refs" / "tags" / "bert" / "@v1").write_text("garbage")
    result = cli("list", "--json")
    assert [version["tag"] for version in json.loads(result.stdout)] == ["bert:v2", "acme/gpt:v1"]
    assert "bert:v1" in result.stderr


@pytest.mark.usefixtures("three")
def test_show_prints_all_facts(cli: Cli, three: list[mvs.Version]) -> None:
    result = cli("show", "bert:v1")
    for fact in (three[0].id, three[0].tree, "stage=production", "f1: 0.5", "second line", "python: ", "sub/vocab.txt"):
        assert fact in result.stdout
    assert result.stderr == ""


def test_show_as_json_is_exactly_as_promised(cli: Cli, three: list[mvs.Version]) -> None:
    version = three[2]
    found = json.loads(cli("show", "--json", "bert:latest").stdout)
    assert list(found) == [*KEYS, "files"]
    assert datetime.fromisoformat(found.pop("created")) == version.created
    assert found == {
        "tag": "bert:v2",
        "name": "bert",
        "version": "v2",
        "id": version.id,
        "tree": version.tree,
        "size": version.size,
        "labels": {},
        "metadata": {},
        "context": version.context,
        "parents": [three[0].id],
        "message": "",
        "aliases": [],
        "saved_labels": {},
        "notes": {},
        "files": [
            {"path": file.path, "size": file.size, "blob": file.blob, "executable": file.executable}
            for file in version.files
        ],
    }


@pytest.mark.usefixtures("three")
def test_log_tells_saves_deletions_and_restores_newest_first(cli: Cli) -> None:
    cli("delete", "-y", "bert:v1")
    cli("restore", "bert:v1")
    header, *lines = cli("log", "bert").stdout.splitlines()
    assert header.split() == ["WHEN", "EVENT", "TAG", "ID", "BY", "MESSAGE"]
    assert [line.split()[2:4] for line in lines] == [
        ["restore", "bert:v1"],
        ["delete", "bert:v1"],
        ["save", "bert:v2"],
        ["save", "bert:v1"],
    ]
    assert lines[0].endswith(" first")
    assert "tester@" in lines[0]


def test_log_as_json_has_both_ids_of_each_event(cli: Cli, three: list[mvs.Version]) -> None:
    cli("delete", "-y", "acme/gpt:v1")
    deleted, saved = json.loads(cli("log", "--json", "acme/gpt").stdout)
    assert (deleted["event"], deleted["old"], deleted["new"]) == ("delete", three[1].id, None)
    assert (saved["event"], saved["old"], saved["new"]) == ("save", None, three[1].id)
    assert saved["tag"] == deleted["tag"] == "acme/gpt:v1"
    assert datetime.fromisoformat(saved["at"]) == three[1].created


@pytest.mark.usefixtures("three")
def test_log_of_a_name_whose_versions_are_all_deleted(cli: Cli) -> None:
    """It is where a user looks who wants them back."""
    cli("delete", "-y", "--all", "bert")
    assert [line.split()[2:4] for line in cli("log", "bert").stdout.splitlines()[1:]] == [
        ["delete", "bert:v1"],
        ["delete", "bert:v2"],
        ["save", "bert:v2"],
        ["save", "bert:v1"],
    ]


@pytest.mark.usefixtures("three")
@pytest.mark.parametrize("spec", ["BERT", "bert:v1", "bert#ab", "bert@latest"])
def test_log_of_a_spec_is_that_of_its_name(cli: Cli, spec: str) -> None:
    events = json.loads(cli("log", "--json", spec).stdout)
    assert [event["tag"] for event in events] == ["bert:v2", "bert:v1"]
    assert "bert:v2" in cli("log", spec).stdout


def test_a_mistake_in_a_query_is_shown_where_it_is(cli: Cli) -> None:
    result = cli("list", "--where", "metdata.f1 > 0", code=19)
    assert result.stderr == ("error: no field 'metdata.f1'; did you mean 'metadata.f1'?\n  metdata.f1 > 0\n  ^\n")


@pytest.mark.usefixtures("three")
def test_what_takes_room_and_what_is_packed_is_chosen_by_a_query(cli: Cli) -> None:
    for where, tags in (("metadata.f1 > 0", ["bert:v1"]), ("metadata.f1 is null", ["bert:v2"])):
        found = json.loads(cli("du", "bert", "--json", "--where", where).stdout)
        assert [version["tag"] for version in found["versions"]] == tags
    assert json.loads(cli("dedup", "--dry-run", "--json", "--where", "metadata.f1 > 0").stdout)["items"]
    assert not json.loads(cli("dedup", "--dry-run", "--json", "--where", "metadata.f1 > 1").stdout)["items"]


@pytest.mark.usefixtures("three")
def test_versions_are_deleted_by_a_query_and_no_others(cli: Cli) -> None:
    assert cli("delete", "bert", "--where", "labels.stage = 'test'", "-y").stdout == ""
    assert cli("delete", "bert", "--where", "metadata.f1 > 0", "-y").stdout.split() == ["bert:v1"]
    assert cli("delete", "--where", "labels.stage = 'test'", "-y").stdout.split() == ["acme/gpt:v1"]
    assert cli("list", "-q").stdout.split() == ["bert:v2"]
    assert "--where" in cli("delete", "-y", code=2).stderr
    cli("delete", "bert", "--where", "nonsense", "-y", code=19)
