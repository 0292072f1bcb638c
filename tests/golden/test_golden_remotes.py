"""Remotes that earlier releases wrote are read, and what was read is written the same again."""

import shutil
from pathlib import Path

import pytest

import mvs
from mvs.errors import UnsupportedFormat
from mvs.format.lines.journal import MAGIC, Agreed, decode
from mvs.format.remote import Entry, Move, Note, Taken, id_of, split

GOLDEN = Path(__file__).parent / "remotes-1"
ENTRIES = sorted(path for path in (GOLDEN / "remote" / "log").iterdir() if "-" not in path.name)


@pytest.fixture
def golden(tmp_path: Path) -> mvs.Repository:
    """A clone of a copy that may be written to."""
    shutil.copytree(GOLDEN / "remote", tmp_path / "remote", copy_function=shutil.copyfile)
    return mvs.clone(str(tmp_path / "remote"), tmp_path / "clone")


def test_versions_aliases_and_notes_come_as_they_were(golden: mvs.Repository) -> None:
    assert [(v.version, v.aliases, v.notes) for v in golden.list()] == [
        ("v2", ("prod",), {}),
        ("v1", (), {"größe": 'mini "1"\n\U0001f600'}),
    ]
    assert golden.get("acme/bert@prod").read_bytes("weights.bin") == b"v2" * 200
    golden.alias("acme/bert@prod", "acme/bert:v1")
    assert golden.push().beside.aliases == ("acme/bert@prod",)


@pytest.mark.parametrize("path", ENTRIES, ids=lambda path: path.name)
def test_every_entry_is_written_as_it_was(path: Path) -> None:
    data = path.read_bytes()
    assert Entry.decode(data).encode() == data


def test_moves_and_notes_of_the_entries() -> None:
    first, second, *_ = (Entry.decode(path.read_bytes()) for path in ENTRIES)
    assert [(move.alias, move.old is None) for move in first.aliases] == [
        ("acme/bert@old", True),
        ("acme/bert@prod", True),
    ]
    assert second.aliases[0] == Move("acme/bert@old", first.aliases[0].new, None)
    assert second.notes == (Note("acme/bert:v1", "stage", None),)
    run = (GOLDEN / "remote" / "log" / "000000000001-000000000004").read_bytes()
    assert split(run) == [path.read_bytes() for path in ENTRIES]


def test_a_store_elsewhere_goes_on_where_it_was(golden: mvs.Repository, tmp_path: Path) -> None:
    repo = mvs.init(tmp_path / "working", store=f"file://{tmp_path}/remote")
    assert [(v.id, v.aliases, v.notes) for v in repo.list()] == [(v.id, v.aliases, v.notes) for v in golden.list()]
    taken = (GOLDEN / "taken").read_bytes()
    assert (repo.root / "taken").read_bytes() == taken
    assert Taken.decode(taken) == (4, id_of(ENTRIES[3].read_bytes()))


def test_what_both_sides_had_in_common_is_read() -> None:
    head, *lines = (GOLDEN / "events").read_bytes().split(b"\n")
    assert head + b"\n" == MAGIC
    events = [decode(line) for line in lines if line]
    assert [event.encode()[:-1] for event in events if event] == lines[:-1]
    agreed = [event for event in events if isinstance(event, Agreed)]
    assert [sorted(event.aliases) for event in agreed] == [["old", "prod"], ["old", "prod"]]
    assert agreed[1].aliases["old"] is None
    assert agreed[1].notes["v1"][1] == {"größe": 'mini "1"\n\U0001f600'}


def test_an_entry_that_needs_more_is_refused_by_name() -> None:
    """Whoever passes over what he does not understand lets a later push undo it."""
    entry = Entry.decode(ENTRIES[0].read_bytes())
    later = type(entry)(number=1, previous=entry.previous, at=0, by="", nonce=bytes(8), needs=("tombstones",))
    with pytest.raises(UnsupportedFormat, match="tombstones"):
        Entry.decode(later.encode())
