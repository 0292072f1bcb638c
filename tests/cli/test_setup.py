"""init, config and completion."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

import mvs

Cli = Callable[..., Result]


def test_init_makes_a_repository_and_prints_it(cli: Cli, tmp_path: Path) -> None:
    result = cli("init", tmp_path / "new" / "one")
    assert result.stdout == f"{tmp_path / 'new' / 'one' / '.mvs'}\n"
    assert mvs.open(tmp_path / "new" / "one").list() == []


def test_init_is_here_unless_told(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert json.loads(cli("init", "--json").stdout) == {"path": f"{tmp_path}/.mvs", "store": f"{tmp_path}/.mvs"}


def test_init_twice_is_fine_and_keeps_everything(cli: Cli, folder: Path) -> None:
    cli("save", folder, "bert:v1")
    cli("init")
    assert cli("-q", "list").stdout == "bert:v1\n"


def test_two_repositories_share_a_store(cli: Cli, tmp_path: Path, folder: Path) -> None:
    for name in ("one", "two"):
        cli("init", tmp_path / name, "--store", tmp_path / "shared")
    cli("-C", tmp_path / "one", "save", folder, "bert:v1")
    assert cli("-C", tmp_path / "two", "-q", "list").stdout == "bert:v1\n"
    assert cli("-C", tmp_path / "repo", "-q", "list").stdout == ""


def test_init_with_another_store_is_refused(cli: Cli, tmp_path: Path) -> None:
    cli("init", tmp_path / "one", "--store", tmp_path / "shared")
    result = cli("init", tmp_path / "one", "--store", tmp_path / "other", code=10)
    assert result.stdout == ""
    assert str(tmp_path / "shared") in result.stderr
    assert not (tmp_path / "other").exists()


def test_init_below_another_directory_goes_by_that_directory(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    found = json.loads(cli("-C", tmp_path / "there", "init", "new", "--store", "shared", "--json").stdout)
    assert found == {"path": str(tmp_path / "there/new/.mvs"), "store": str(tmp_path / "there/shared")}


def test_config_lists_every_setting_with_its_meaning(cli: Cli) -> None:
    defaults = {
        "store.path": "",
        "store.remote": "",
        "store.cache-size": "20GB",
        "store.durable": True,
        "store.max-size": "",
        "gc.auto": "off",
        "dedup.auto": False,
        "prune.names": [],
        "prune.where": "",
        "prune.keep-last": 0,
        "prune.keep-within": "",
        "prune.keep-daily": 0,
        "prune.keep-weekly": 0,
        "prune.keep-monthly": 0,
        "prune.keep-best": [],
        "prune.keep-parents": False,
        "prune.only-pushed": False,
        "hooks.timeout": "10m",
        "alias.protected": [],
        "cache.max-size": "20GB",
    }
    lines = cli("config", "list").stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["KEY", *defaults]
    assert json.loads(cli("config", "list", "--json").stdout) == defaults


def test_what_is_set_is_got(cli: Cli, repo: mvs.Repository) -> None:
    assert cli("config", "get", "store.durable").stdout == "true\n"
    result = cli("config", "set", "store.durable", "FALSE")
    assert (result.stdout, result.stderr) == ("", "")
    assert cli("config", "get", "store.durable").stdout == "false\n"
    assert (repo.root / "config.toml").read_text() == "[store]\ndurable = false\n"


def test_a_change_keeps_comments(cli: Cli, repo: mvs.Repository) -> None:
    (repo.root / "config.toml").write_text("# ask Ada first\n[store]\ndurable = true # for now\n")
    cli("config", "set", "store.durable", "false")
    assert (repo.root / "config.toml").read_text() == "# ask Ada first\n[store]\ndurable = false # for now\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ("get", "store.nothing"),
        ("set", "store.nothing", "x"),
        ("set", "store.durable", "maybe"),
        ("set", "prune.keep-last", "all"),
    ],
)
def test_a_setting_that_is_not_understood_is_refused(cli: Cli, arguments: tuple[str, ...]) -> None:
    result = cli("config", *arguments, code=14)
    assert result.stdout == ""
    assert "hint:  mvs config " in result.stderr


def test_a_damaged_configuration_stops_every_verb(cli: Cli, repo: mvs.Repository) -> None:
    (repo.root / "config.toml").write_text("[store\n")
    for arguments in (["list"], ["config", "list"], ["config", "set", "store.durable", "true"], ["init"]):
        assert "config.toml" in cli(*arguments, code=14).stderr


def test_the_home_can_be_configured_before_it_is_used(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    cli("config", "set", "store.durable", "false")
    assert cli("config", "get", "store.durable").stdout == "false\n"
    assert cli("list").stdout == ""


def test_where_there_is_no_repository_the_home_is_used(
    cli: Cli, tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    cli("save", folder, "bert:v1")
    assert (tmp_path / "home" / "refs" / "tags" / "bert" / "@v1").exists()
    monkeypatch.delenv("MVS_HOME")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "xdg"))
    cli("save", folder, "gpt:v1")
    assert cli("-q", "list").stdout == "gpt:v1\n"


def test_the_nearest_repository_upward_is_used(cli: Cli, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cli("save", folder, "bert:v1")
    Path("a/b").mkdir(parents=True)
    monkeypatch.chdir("a/b")
    assert cli("-q", "list").stdout == "bert:v1\n"


def test_another_directory_that_is_not_there_is_a_usage_error(cli: Cli, tmp_path: Path) -> None:
    assert "No such file" in cli("-C", tmp_path / "nowhere", "list", code=2).stderr


def test_paths_are_taken_from_the_other_directory(cli: Cli, repo: mvs.Repository, tmp_path: Path, folder: Path) -> None:
    """`-C DIR` says: as if started there; `git -C` and `make -C` mean it."""
    other = mvs.init(tmp_path / "other")
    (tmp_path / "other" / "weights.bin").write_text("theirs")
    Path("weights.bin").write_text("ours")
    cli("-C", tmp_path / "other", "save", "weights.bin", "bert:v1")
    assert other.get("bert").read_bytes("weights.bin") == b"theirs"
    cli("-C", tmp_path / "other", "checkout", "bert", "out")
    assert (tmp_path / "other" / "out" / "weights.bin").read_text() == "theirs"


@pytest.mark.parametrize(
    ("shell", "words"), [("bash", "complete "), ("zsh", "#compdef mvs"), ("fish", "complete --no-files --command mvs")]
)
def test_completion_prints_a_script(cli: Cli, shell: str, words: str) -> None:
    result = cli("completion", shell)
    assert words in result.stdout
    assert "_MVS_COMPLETE" in result.stdout
    assert result.stderr == ""


def test_completion_of_another_shell_is_a_usage_error(cli: Cli) -> None:
    assert "'bash'" in cli("completion", "tcsh", code=2).stderr
