"""What all verbs share: K=V, JSON files, -q and --debug, completion of specs."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import click
import pytest
from click.testing import Result

import mvs
from mvs.cli.verb import label, meta, read_json
from mvs.errors import InvalidMetadata

Cli = Callable[..., Result]


@pytest.mark.parametrize(
    ("text", "pair"), [("a=b", ("a", "b")), ("a=", ("a", "")), ("a=b=c", ("a", "b=c")), ("a= b ", ("a", " b "))]
)
def test_a_label_is_cut_at_the_first_equals_sign(text: str, pair: tuple[str, str]) -> None:
    assert label(text) == pair


@pytest.mark.parametrize("text", ["", "a", "=b"])
def test_what_is_no_pair_is_a_usage_error(text: str) -> None:
    for parse in (label, meta):
        with pytest.raises(click.BadParameter, match="KEY=VALUE"):
            parse(text)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0.94", 0.94),
        ("true", True),
        ("null", None),
        ('"0.94"', "0.94"),
        ('{"f1": [1, 2]}', {"f1": [1, 2]}),
        ("hello", "hello"),
        ("1e", "1e"),
        ("", ""),
        ("[" * 100_000, "[" * 100_000),
    ],
)
def test_metadata_is_json_where_it_parses_and_else_a_string(text: str, value: object) -> None:
    assert meta(f"key={text}") == ("key", value)


def test_a_json_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "meta.json").write_text('{"f1": 0.5, "ü": [null]}', encoding="utf-8")
    assert read_json(str(tmp_path / "meta.json")) == {"f1": 0.5, "ü": [None]}


@pytest.mark.parametrize("content", [b"", b"[1]", b"5", b"{", b"\xff", b"[" * 100_000])
def test_a_file_that_holds_no_json_object_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "meta.json").write_bytes(content)
    with pytest.raises(InvalidMetadata, match=r"meta\.json"):
        read_json(str(tmp_path / "meta.json"))


def test_a_missing_json_file_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(InvalidMetadata, match=r"none\.json"):
        read_json(str(tmp_path / "none.json"))


@pytest.mark.parametrize("arguments", [["-q", "list"], ["list", "-q"], ["list", "--quiet"]])
def test_quiet_stands_before_and_behind_the_verb(cli: Cli, folder: Path, arguments: list[str]) -> None:
    cli("save", folder, "bert:v1")
    assert cli(*arguments).stdout == "bert:v1\n"


@pytest.mark.parametrize("arguments", [["--debug", "show", "x"], ["show", "x", "--debug"]])
def test_debug_stands_before_and_behind_the_verb(cli: Cli, arguments: list[str]) -> None:
    assert isinstance(cli(*arguments, code=1).exception, mvs.errors.NameNotFound)


def completed(cli: Cli, monkeypatch: pytest.MonkeyPatch, *words: str) -> list[str]:
    """Return what a shell is offered for the last of these words, by click's own protocol."""
    monkeypatch.setenv("_MVS_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", " ".join(["mvs", *words]))
    monkeypatch.setenv("COMP_CWORD", str(len(words)))
    return [line.partition(",")[2] for line in cli().stdout.splitlines() if line]


@pytest.fixture
def three(repo: mvs.Repository, folder: Path) -> None:
    for tag in ("bert:v1", "bert:v2", "acme/gpt:v1"):
        repo.save(folder, tag)
    repo.alias("bert@prod", "bert:v1")


@pytest.mark.usefixtures("three")
@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["sh"], ["show"]),
        (["show", ""], ["acme/gpt", "bert"]),
        (["show", "b"], ["bert"]),
        (["show", "bert:"], ["bert:v2", "bert:v1"]),
        (["show", "bert:v1"], ["bert:v1"]),
        (["show", "acme/gpt:"], ["acme/gpt:v1"]),
        (["show", "nobody:"], []),
        (["show", "bert@"], ["bert@prod"]),
        (["alias", "set", "bert@p"], ["bert@prod"]),
        (["show", "nobody@"], []),
        (["show", "not a name:"], []),
        (["checkout", "b"], ["bert"]),
        (["rm", "bert:v1", "bert:v2"], ["bert:v2"]),
        (["save", ".", "x", "-p", "bert:v2"], ["bert:v2"]),
        (["completion", "z"], ["zsh"]),
        (["config", "s"], ["set"]),
    ],
)
def test_verbs_and_specs_are_completed(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, words: list[str], offered: list[str]
) -> None:
    assert sorted(completed(cli, monkeypatch, *words)) == sorted(offered)


@pytest.mark.usefixtures("three")
def test_completion_looks_where_the_command_will(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, repo: mvs.Repository
) -> None:
    monkeypatch.chdir(tmp_path)
    assert completed(cli, monkeypatch, "show", "") == []
    assert completed(cli, monkeypatch, "-C", str(repo.root.parent), "show", "b") == ["bert"]


def test_completion_is_silent_when_the_store_is_broken(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, repo: mvs.Repository
) -> None:
    """An error in the middle of a line that is being typed ruins it."""
    (repo.store / "format").write_text("garbage")
    assert completed(cli, monkeypatch, "show", "") == []


@pytest.mark.usefixtures("three")
@pytest.mark.skipif(not shutil.which("bash"), reason="needs bash")
@pytest.mark.parametrize(
    ("cut", "last", "offered"), [("bert : v", "v :", ["v1", "v2"]), ("bert @p", "@p bert", ["@prod"])]
)
def test_bash_completes_the_versions_and_aliases_of_a_name(
    repo: mvs.Repository, tmp_path: Path, cut: str, last: str, offered: list[str]
) -> None:
    """Bash cuts words as no other shell does: it asks for `v` behind `bert` and `:`, and for `@p` behind `bert`."""
    program = tmp_path / "bin" / "mvs"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m mvs "$@"\n')
    program.chmod(0o755)
    script = f"""
eval "$(mvs completion bash)"
COMP_WORDS=(mvs show {cut}) COMP_CWORD=4 COMP_LINE="mvs show {cut.replace(" ", "")}" COMP_POINT=15
$(complete -p mvs | sed 's/.*-F \\([^ ]*\\) .*/\\1/') mvs {last}
printf '%s\\n' "${{COMPREPLY[@]}}"
"""
    path = f"{program.parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=repo.root.parent,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        check=True,
    )
    assert sorted(done.stdout.split()) == offered, done.stderr


def test_json_is_one_document_on_standard_output(cli: Cli, folder: Path) -> None:
    cli("save", folder, "bert:v1")
    for arguments in (["list"], ["show", "bert"], ["path", "bert"], ["log", "bert"], ["config", "list"]):
        result = cli(*arguments, "--json")
        json.loads(result.stdout)
        assert result.stderr == ""
