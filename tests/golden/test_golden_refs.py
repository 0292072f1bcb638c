"""Aliases and notes that earlier releases wrote are read, and what was read is written the same again."""

import shutil
from pathlib import Path

import pytest

import mvs
from mvs.errors import VersionNotFound
from mvs.format.lines.journal import MAGIC, decode
from mvs.format.lines.notes import Notes
from mvs.format.lines.refs import Ref

GOLDEN = Path(__file__).parent / "refs-1"


@pytest.fixture
def golden(tmp_path: Path) -> mvs.Repository:
    """A copy that may be written to."""
    shutil.copytree(GOLDEN, tmp_path / "golden", copy_function=shutil.copyfile)
    return mvs.open(tmp_path / "golden")


def test_every_alias_leads_where_it_led(golden: mvs.Repository) -> None:
    """A deployment that resolves an alias must not find another model after an upgrade of mvs."""
    assert golden.get("acme/bert@prod").version == "v1.1"
    assert [(alias.alias, alias.tag.version, alias.deleted) for alias in golden.aliases()] == [
        ("acme/bert@canary", "gone", True),
        ("acme/bert@prod", "v1.1", False),
    ]
    with pytest.raises(VersionNotFound, match="deleted"):
        golden.get("acme/bert@canary")
    golden.restore("acme/bert:gone")
    assert golden.get("acme/bert@canary").notes == {"reviewed": "yes"}


def test_every_move_is_told_and_can_be_taken_back(golden: mvs.Repository) -> None:
    assert [(change.tag.version, change.new is not None, change.back) for change in golden.log("acme/bert@prod")] == [
        ("v1.1", True, True),
        ("2.0.0-rc.1", True, False),
        ("v1.1", True, False),
        ("1.0.0", True, False),
    ]
    assert {change.by for change in golden.log("acme/bert")} == {"ann@höst"}
    assert golden.rollback_alias("acme/bert@prod").version == "1.0.0"
    assert golden.rollback_alias("acme/bert@old").version == "1.0.0"


def test_every_note_is_read_and_its_history_told(golden: mvs.Repository) -> None:
    version = golden.get("acme/bert:v1.1")
    assert version.notes == {"stage": "archived", "größe": 'mini "1"\n\U0001f600'}
    assert version.labels == version.notes | {"kind": "base"}
    told = [change.labels for change in golden.log("acme/bert") if change.event == "label"]
    assert told == [
        {"reviewed": (None, "yes")},
        {"owner": ("ann", None), "stage": ("production", "archived")},
        {"stage": (None, "production"), "größe": (None, 'mini "1"\n\U0001f600'), "owner": (None, "ann")},
    ]


@pytest.mark.parametrize(("spec", "version"), [("^1", "v1.1"), (">=1,<1.1", "1.0.0"), (">=2.0.0-rc.1", "2.0.0-rc.1")])
def test_ranges_mean_what_they_meant(golden: mvs.Repository, spec: str, version: str) -> None:
    assert golden.get(f"acme/bert:{spec}").version == version


def test_all_is_written_the_same_again() -> None:
    journal = (GOLDEN / "journal/acme/bert/@events").read_bytes().removeprefix(MAGIC).splitlines(keepends=True)
    entries = [(line, decode(line[:-1])) for line in journal]
    assert len(entries) == 15
    assert [entry.encode() for _, entry in entries if entry] == [line for line, _ in entries]
    for path in (GOLDEN / "refs/aliases").rglob("@*"):
        assert Ref.decode(path.read_bytes()).encode() == path.read_bytes()
    for path in (GOLDEN / "refs/notes").rglob("@*"):
        assert Notes.decode(path.read_bytes()).encode() == path.read_bytes()
