"""save, delete and restore: the tag on standard output, a question before anything goes."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

import mvs

Cli = Callable[..., Result]


def left(repo: mvs.Repository) -> list[str]:
    return [str(version.tag) for version in repo.list()]


def test_save_prints_the_tag_and_nothing_else(cli: Cli, repo: mvs.Repository, folder: Path) -> None:
    result = cli("save", folder, "bert")
    assert result.stdout == f"{repo.get('bert').tag}\n"
    assert result.stderr == ""


def test_save_takes_all_facts(cli: Cli, repo: mvs.Repository, folder: Path) -> None:
    repo.save(folder, "base:v1")
    Path("meta.json").write_text('{"f1": 0.1, "deep": {"x": null}}')
    options = ["-l", "stage=production", "--label", "lang=de", "--meta", "f1=0.94", "--meta", "note=fine"]
    options += ["--meta-file", "meta.json", "-m", "hello", "-p", "base", "--parent", "base:v1"]
    facts = json.loads(cli("save", folder, "Bert:V1", *options, "--json").stdout)
    version = repo.get("bert:v1")
    assert facts == version.to_dict()
    assert version.labels == {"stage": "production", "lang": "de"}
    assert version.metadata == {"f1": 0.94, "note": "fine", "deep": {"x": None}}
    assert version.message == "hello"
    assert version.parents == (repo.get("base").id,) * 2


def test_save_says_that_a_name_was_lowered(cli: Cli, folder: Path) -> None:
    result = cli("save", folder, "Bert:V1")
    assert result.stdout == "bert:v1\n"
    assert result.stderr == "'Bert:V1' is written 'bert:v1': names are in lower case\n"
    assert cli("-q", "save", folder, "Bert:V2").stderr == ""


def test_a_retry_is_a_success_that_says_so(cli: Cli, folder: Path) -> None:
    cli("save", folder, "bert:v1")
    result = cli("save", folder, "bert:v1")
    assert result.stdout == "bert:v1\n"
    assert result.stderr == "'bert:v1' has this content already; nothing was saved\n"


def test_save_if_changed_prints_the_tag_that_has_these_files(cli: Cli, repo: mvs.Repository, folder: Path) -> None:
    cli("save", folder, "bert:v1")
    assert cli("save", folder, "bert", "--if-changed").stdout == "bert:v1\n"
    assert left(repo) == ["bert:v1"]


def test_save_move_takes_the_files(cli: Cli, repo: mvs.Repository, folder: Path) -> None:
    cli("save", folder, "bert:v1", "--move")
    assert not folder.exists()
    assert repo.get("bert").read_bytes("config.json") == b'{"layers": 2}'


def test_save_of_a_deleted_tag_needs_reuse_tag(cli: Cli, repo: mvs.Repository, folder: Path) -> None:
    cli("save", folder, "bert:v1")
    cli("delete", "-y", "bert:v1")
    (folder / "config.json").write_text("{}")
    result = cli("save", folder, "bert:v1", code=32)
    assert "--reuse-tag" in result.stderr
    assert result.stderr.endswith("hint:  mvs restore bert:v1\n")
    assert left(repo) == []
    assert cli("save", folder, "bert:v1", "--reuse-tag").stdout == "bert:v1\n"


@pytest.mark.parametrize("options", [["-l", "stage"], ["-l", "=x"], ["--meta", "f1"], ["--nothing"], ["too", "much"]])
def test_save_with_options_of_another_form_is_a_usage_error(
    cli: Cli, repo: mvs.Repository, folder: Path, options: list[str]
) -> None:
    result = cli("save", folder, "bert:v1", *options, code=2)
    assert result.stdout == ""
    assert "Usage: mvs save" in result.stderr
    assert left(repo) == []


@pytest.mark.parametrize("options", [["--meta", "loss=NaN"], ["--meta", "loss=[1, Infinity]"], ["-l", " a=b"]])
def test_save_refuses_what_json_cannot_hold(cli: Cli, folder: Path, options: list[str]) -> None:
    assert cli("save", folder, "bert:v1", *options, code=12).stdout == ""


@pytest.fixture
def three(repo: mvs.Repository, folder: Path) -> None:
    for number in (1, 2, 3):
        repo.save(folder, f"bert:v{number}")


@pytest.mark.usefixtures("three")
@pytest.mark.parametrize("verb", ["delete", "rm"])
def test_delete_prints_what_is_gone(cli: Cli, repo: mvs.Repository, verb: str) -> None:
    result = cli(verb, "bert:latest", "bert:v1", "-y")
    assert result.stdout == "bert:v3\nbert:v1\n"
    assert result.stderr == ""
    assert left(repo) == ["bert:v2"]


@pytest.mark.usefixtures("three")
def test_delete_as_json_is_a_list_of_tags(cli: Cli) -> None:
    assert json.loads(cli("delete", "-y", "--json", "--all", "bert").stdout) == ["bert:v3", "bert:v2", "bert:v1"]


@pytest.mark.usefixtures("three")
def test_delete_of_a_bare_name_needs_all(cli: Cli, repo: mvs.Repository) -> None:
    result = cli("delete", "-y", "bert", code=17)
    assert result.stderr.endswith("hint:  mvs delete bert --all\n")
    assert len(left(repo)) == 3
    cli("delete", "-y", "bert", "--all")
    assert left(repo) == []


@pytest.mark.usefixtures("three")
def test_delete_deletes_nothing_when_one_spec_is_unknown(cli: Cli, repo: mvs.Repository) -> None:
    result = cli("delete", "-y", "bert:v1", "bert:v9", code=22)
    assert result.stdout == ""
    assert len(left(repo)) == 3


@pytest.mark.usefixtures("three")
def test_delete_deletes_nothing_when_nobody_can_be_asked(cli: Cli, repo: mvs.Repository) -> None:
    """A script that forgot -y must not lose a model, nor hang."""
    result = cli("delete", "bert:v1", code=2, stdin="y\n")
    assert result.stdout == ""
    assert "-y" in result.stderr
    assert len(left(repo)) == 3


@pytest.mark.usefixtures("three")
@pytest.mark.parametrize(("answer", "code", "count"), [("y\n", 0, 2), ("n\n", 1, 3), ("\n", 1, 3), ("", 1, 3)])
def test_delete_asks_on_a_terminal_and_goes_by_the_answer(
    cli: Cli, repo: mvs.Repository, monkeypatch: pytest.MonkeyPatch, answer: str, code: int, count: int
) -> None:
    monkeypatch.setattr("mvs.cli.verb.sys", Seated())
    result = cli("delete", "bert:v1", stdin=answer, code=code)
    assert "Delete 1 version?" in result.stderr
    assert result.stdout == ("bert:v1\n" if code == 0 else "")
    assert ("nothing was changed" in result.stderr) == (code != 0)
    assert len(left(repo)) == count


class Seated:
    """The part of `sys` that the question looks at, with somebody at the keyboard."""

    class stdin:
        @staticmethod
        def isatty() -> bool:
            return True


@pytest.mark.usefixtures("three")
def test_restore_prints_the_tag(cli: Cli, repo: mvs.Repository) -> None:
    version = repo.get("bert:v2")
    cli("delete", "-y", "bert:v2")
    result = cli("restore", "BERT:v2")
    assert result.stdout == "bert:v2\n"
    assert repo.get("bert:v2") == version
    cli("delete", "-y", "bert:v2")
    assert json.loads(cli("restore", "bert:v2", "--json").stdout) == version.to_dict()


@pytest.mark.usefixtures("three")
@pytest.mark.parametrize(("tag", "code"), [("bert:v1", 31), ("bert:v9", 22), ("bert", 11), ("bert:latest", 11)])
def test_restore_of_what_was_not_deleted_is_refused(cli: Cli, tag: str, code: int) -> None:
    assert cli("restore", tag, code=code).stdout == ""


@pytest.fixture
def pruned(cli: Cli, folder: Path) -> Cli:
    for number in range(3):
        (folder / "config.json").write_text(f"{number}")
        cli("save", folder, f"bert:v{number}", "--meta", f"loss=0.{number}")
    return cli


def test_prune_without_a_rule_is_refused_with_the_way_out(pruned: Cli) -> None:
    result = pruned("prune", "bert", "--where", "size > 0", code=71)
    assert result.stderr.endswith("hint:  mvs prune --keep-last 10 --dry-run\n")


def test_prune_shows_why_each_version_is_kept_and_deletes_nothing(pruned: Cli) -> None:
    result = pruned("prune", "bert", "--keep-last", "1", "--keep-best", "metadata.loss:min", "-n")
    rows = [line.split() for line in result.stdout.splitlines()[1:]]
    assert [(row[0], *row[3:]) for row in rows] == [
        ("bert:v2", "keep", "last"),
        ("bert:v1", "delete"),
        ("bert:v0", "keep", "best", "metadata.loss:min"),
    ]
    assert result.stderr.startswith("1 version to delete, 2 to keep; ")
    assert len(pruned("-q", "list").stdout.splitlines()) == 3


def test_prune_asks_before_it_deletes(pruned: Cli) -> None:
    assert "bert:v1" in pruned("prune", "--keep-last", "1", code=2).stderr
    assert len(pruned("-q", "list").stdout.splitlines()) == 3
    assert pruned("-q", "prune", "--keep-last", "1", "-y").stdout == "bert:v1\nbert:v0\n"
    assert "0 versions deleted" in pruned("prune", "--keep-last", "1").stderr


def test_prune_tells_programs_what_it_keeps_and_what_it_did(pruned: Cli) -> None:
    planned = json.loads(pruned("prune", "--keep-last", "2", "--json", "--dry-run").stdout)
    assert planned["doomed"] == ["bert:v0"]
    assert planned["kept"] == [{"tag": "bert:v2", "why": ["last"]}, {"tag": "bert:v1", "why": ["last"]}]
    assert planned["exclusive"] > 0
    done = json.loads(pruned("prune", "--keep-last", "2", "--json", "-y").stdout)
    assert done == planned | {"deleted": ["bert:v0"]}
