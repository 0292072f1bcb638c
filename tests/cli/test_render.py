"""What is printed is whole, whatever its length."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

import mvs
from mvs.cli import render


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (1_234_567, "1.2 MB"), (5 * 10**9, "5.0 GB"), (10**18, "1000.0 PB")],
)
def test_sizes_are_in_decimal_units(count: int, text: str) -> None:
    assert render.size(count) == text


def test_times_are_in_the_time_zone_of_the_user() -> None:
    when = datetime(2026, 11, 23, 10, 45, 12, tzinfo=UTC)
    assert render.moment(when) == when.astimezone().strftime("%Y-%m-%d %H:%M:%S")


def test_columns_are_as_wide_as_their_widest_cell(capsys: pytest.CaptureFixture[str]) -> None:
    render.table(("A", "B"), [("x" * 300, "y"), ("", "z" * 300)])
    lines = capsys.readouterr().out.splitlines()
    assert lines == ["A" + " " * 301 + "B", "x" * 300 + "  y", " " * 302 + "z" * 300]


def test_a_list_of_nothing_prints_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    render.versions([])
    assert capsys.readouterr().out == ""


def test_labels_are_sorted() -> None:
    assert render.pairs({"stage": "production", "lang": "de"}) == "lang=de stage=production"


def test_json_keeps_every_letter_and_number(capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    facts = {"ü": ["日本", None, True, 1e-7, 2**63]}
    render.as_json(facts)
    out = capsysbinary.readouterr().out
    assert json.loads(out) == facts
    assert "日本".encode() in out


def test_a_version_is_shown_with_all_its_facts(
    repo: mvs.Repository, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = repo.save(folder, "base:v1")
    version = repo.save(
        folder,
        "bert:v1",
        labels={"a": "b"},
        metadata={"f1": [0.5]},
        message="one\ntwo",
        parents=[base],
        context={"run": 7},
    )
    render.version(version)
    shown = capsys.readouterr().out
    assert shown.splitlines()[:8] == [
        "tag:      bert:v1",
        f"id:       {version.id}",
        f"tree:     {version.tree}",
        f"created:  {render.moment(version.created)}",
        "size:     100.0 kB in 4 files",
        f"parent:   {base.id}",
        "labels:   a=b",
        "message:  one",
    ]
    assert "  f1: [0.5]\n" in shown
    assert "  run: 7\n" in shown
    assert f"  {version.files[1].blob}       10 B  run.sh*\n" in shown


@pytest.mark.parametrize("text", ["two\nlines", "carriage\rreturn", "back\bspace"])
def test_control_characters_of_a_label_do_not_reach_the_terminal(
    repo: mvs.Repository, folder: Path, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    """A label somebody else wrote must not rewrite the reader's screen, nor break a line a script reads."""
    render.versions([repo.save(folder, "bert:v1", labels={"note": text})])
    assert len(capsys.readouterr().out.splitlines()) == 2
    render.version(repo.get("bert"))
    assert text not in capsys.readouterr().out
