"""path, cat and checkout: bytes on standard output are exactly those that were saved."""

import json
import os
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

import mvs

Cli = Callable[..., Result]


@pytest.fixture
def version(repo: mvs.Repository, folder: Path) -> mvs.Version:
    return repo.save(folder, "acme/bert:v1")


def test_path_prints_a_folder_with_the_files(cli: Cli, version: mvs.Version) -> None:
    result = cli("path", "acme/bert")
    assert result.stdout == f"{version.path}\n"
    assert result.stderr == ""
    assert json.loads(cli("path", "--json", "acme/bert").stdout) == {"tag": "acme/bert:v1", "path": str(version.path)}


@pytest.mark.parametrize("file", ["weights.bin", "sub/vocab.txt"])
def test_cat_writes_the_bytes_of_one_file(cli: Cli, version: mvs.Version, folder: Path, file: str) -> None:
    result = cli("cat", "acme/bert", file)
    assert result.stdout_bytes == (folder / file).read_bytes()
    assert result.stderr == ""


@pytest.mark.usefixtures("version")
def test_cat_of_a_file_that_is_not_there_says_how_to_see_what_is(cli: Cli) -> None:
    result = cli("cat", "acme/bert", "nothing", code=24)
    assert result.stdout == ""
    assert result.stderr == "error: no file 'nothing' in 'acme/bert:v1'\nhint:  mvs show acme/bert:v1\n"


def test_cat_of_damaged_bytes_fails(cli: Cli, version: mvs.Version, repo: mvs.Repository) -> None:
    """A pipe that reads the output must be able to tell that it is not what was saved."""
    blob = version.files[0].blob
    place = repo.store / "objects" / blob[:2] / blob[2:]
    place.chmod(0o644)
    place.write_text('{"layers": 9}')
    assert "'config.json' of 'acme/bert:v1' is damaged" in cli("cat", "acme/bert", "config.json", code=51).stderr


@pytest.mark.usefixtures("version")
def test_checkout_writes_to_a_folder_of_the_name_and_prints_it(cli: Cli) -> None:
    result = cli("checkout", "acme/bert")
    assert result.stdout == "bert\n"
    assert result.stderr == ""
    assert Path("bert/config.json").read_text() == '{"layers": 2}'
    assert os.access("bert/run.sh", os.X_OK)


@pytest.mark.usefixtures("version")
def test_checkout_as_json(cli: Cli) -> None:
    found = json.loads(cli("checkout", "acme/bert:latest", "out", "--json").stdout)
    assert found == {"tag": "acme/bert:v1", "path": "out"}


@pytest.mark.usefixtures("version")
def test_checkout_takes_globs_and_links(cli: Cli, version: mvs.Version) -> None:
    cli("checkout", "acme/bert", "out", "--include", "*.bin", "--include", "*.json", "--exclude", "weights*", "--link")
    assert os.listdir("out") == ["config.json"]
    assert Path("out/config.json").samefile(version.path / "config.json")


@pytest.mark.usefixtures("version")
def test_checkout_over_edits_needs_force(cli: Cli) -> None:
    cli("checkout", "acme/bert", "out")
    Path("out/config.json").write_text("mine")
    result = cli("checkout", "acme/bert", "out", code=33)
    assert result.stderr.splitlines()[1] == "hint:  mvs checkout acme/bert:v1 out --force"
    assert Path("out/config.json").read_text() == "mine"
    cli("checkout", "acme/bert", "out", "--force")
    assert Path("out/config.json").read_text() == '{"layers": 2}'


@pytest.mark.usefixtures("version")
def test_the_hint_of_checkout_is_a_command_whatever_the_folder_is_called(cli: Cli) -> None:
    Path("my out").mkdir()
    Path("my out/config.json").write_text("mine")
    hint = cli("checkout", "acme/bert", "my out", code=33).stderr.splitlines()[1].removeprefix("hint:  mvs ")
    cli(*shlex.split(hint))
    assert Path("my out/config.json").read_text() == '{"layers": 2}'


@pytest.mark.usefixtures("version")
def test_an_empty_destination_is_refused(cli: Cli) -> None:
    assert cli("checkout", "acme/bert", "", code=13).stdout == ""


@pytest.mark.usefixtures("version")
def test_a_file_above_the_destination_is_in_the_way(cli: Cli) -> None:
    Path("taken").write_text("mine")
    assert cli("checkout", "acme/bert", "taken/out", code=33).stderr.startswith("error: ")
    assert Path("taken").read_text() == "mine"
