"""Progress is drawn on a terminal, for long work, and nowhere else."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

import mvs
from mvs.cli import bar

Cli = Callable[..., Result]
Terminal = Callable[..., tuple[int, str]]

RUN = "from mvs.cli import bar, main; bar.PATIENCE = {patience}; main.run({arguments})"


@pytest.fixture
def large(repo: mvs.Repository) -> Path:
    path = repo.root.parent / "large.bin"
    path.touch()
    os.truncate(path, 30_000_000)
    return path


@pytest.mark.usefixtures("large")
def test_on_a_terminal_bytes_speed_and_time_are_drawn(terminal: Terminal) -> None:
    code, shown = terminal(RUN.format(patience=-1, arguments=["save", "large.bin", "bert:v1"]))
    assert code == 0, shown
    assert "saving" in shown
    assert "/30.0 MB" in shown
    assert "B/s" in shown
    assert "0:00:" in shown


@pytest.mark.usefixtures("large")
@pytest.mark.parametrize(
    ("patience", "arguments", "environment"),
    [
        (60, ["save", "large.bin", "bert:v1"], {}),
        (-1, ["-q", "save", "large.bin", "bert:v1"], {}),
        (-1, ["save", "large.bin", "bert:v1", "-q"], {}),
        (-1, ["save", "large.bin", "bert:v1"], {"TERM": "dumb"}),
    ],
    ids=["short work", "quiet", "quiet behind", "dumb terminal"],
)
def test_nothing_is_drawn_where_it_would_disturb(
    terminal: Terminal, patience: int, arguments: list[str], environment: dict[str, str]
) -> None:
    assert terminal(RUN.format(patience=patience, arguments=arguments), **environment) == (0, "")


@pytest.mark.usefixtures("large")
def test_nothing_is_drawn_into_a_pipe(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bar, "PATIENCE", -1)
    assert cli("save", "large.bin", "bert:v1").stderr == ""


def test_notices_are_printed_unless_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    bar.Bar(quiet=True).notice("hush")
    bar.Bar(quiet=False).notice("hello")
    assert capsys.readouterr() == ("", "hello\n")
