"""Labels that change stand beside those that do not, and come and go with their version."""

import contextlib
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import mvs
from mvs.errors import CorruptRef, InvalidMetadata, Protected, UnsupportedFormat, VersionNotFound
from mvs.format.ids import ObjectId
from mvs.format.lines.journal import Noted
from mvs.format.lines.notes import MAX_BYTES, Notes
from mvs.format.names import Tag
from mvs.store.store import Store

NOTES = Notes(Tag("acme/bert", "v1"), ObjectId(b"\1" * 32), {"stage": "größer\n", "owner": "ann"})


@pytest.fixture(autouse=True)
def version(repo: mvs.Repository, folder: Path) -> mvs.Version:
    return repo.save(folder, "bert:v1", labels={"kind": "base", "stage": "staging"})


def changes(repo: mvs.Repository) -> list[dict[str, tuple[str | None, str | None]]]:
    return [change.labels for change in repo.log("bert") if change.event == "label"]


def test_labels_are_set_changed_and_removed_beside_those_it_was_saved_with(repo: mvs.Repository) -> None:
    labelled = repo.label("bert:v1", {"stage": "production", "owner": "ann"})
    assert labelled.notes == {"stage": "production", "owner": "ann"}
    assert labelled.saved_labels == {"kind": "base", "stage": "staging"}
    assert labelled.labels == {"kind": "base", "stage": "production", "owner": "ann"}
    assert repo.label("bert", {"owner": None, "stage": "", "none": ""}).labels == {"kind": "base", "stage": "staging"}
    assert not list((repo.store / "refs/notes").rglob("@*"))
    assert changes(repo) == [
        {"owner": ("ann", None), "stage": ("production", None)},
        {"owner": (None, "ann"), "stage": (None, "production")},
    ]
    (change, *_) = repo.log("bert")
    assert (change.tag, change.new) == (labelled.tag, labelled.id)
    assert re.fullmatch(r"tester@\S+", change.by)


def test_nothing_that_changes_is_part_of_the_version(repo: mvs.Repository, version: mvs.Version, folder: Path) -> None:
    """A label set today must not make another version of what was saved yesterday."""
    labelled = repo.label("bert:v1", {"stage": "production"})
    assert labelled == version
    assert labelled.id == version.id
    again = repo.save(folder, "bert:v1", labels={"kind": "base", "stage": "staging"})
    assert again.labels["stage"] == "production"


def test_a_label_that_is_so_already_is_no_change(repo: mvs.Repository) -> None:
    for _ in range(2):
        repo.label("bert:v1", {"owner": "ann"})
    repo.label("bert:v1", {"other": ""})
    repo.label("bert:v1", {})
    assert changes(repo) == [{"owner": (None, "ann")}]


def test_a_label_it_was_saved_with_cannot_be_removed(repo: mvs.Repository) -> None:
    with pytest.raises(InvalidMetadata, match="'kind' was saved with 'bert:v1'"):
        repo.label("bert:v1", {"kind": "", "owner": "ann"})
    assert repo.get("bert:v1").notes == {}


@pytest.mark.parametrize("labels", [{"a=b": "x"}, {"": "x"}, {" a": "x"}, {"a": 0}, {"a": "\ud800"}, {"a\n": "x"}])
def test_labels_that_cannot_be_stored_are_refused(repo: mvs.Repository, labels: dict[str, str]) -> None:
    with pytest.raises(InvalidMetadata):
        repo.label("bert:v1", labels)
    with pytest.raises(InvalidMetadata):
        repo.label("bert:v1", list(labels))  # type: ignore[arg-type]
    assert changes(repo) == []


def test_labels_have_a_limit(repo: mvs.Repository) -> None:
    with pytest.raises(InvalidMetadata, match="MiB"):
        repo.label("bert:v1", {"text": "x" * MAX_BYTES})
    with pytest.raises(VersionNotFound):
        repo.label("bert:v9", {"a": "b"})
    assert changes(repo) == []


def test_lists_find_by_what_labels_are_now(repo: mvs.Repository, folder: Path) -> None:
    repo.save(folder, "bert:v2", labels={"stage": "staging"})
    repo.label("bert:v1", {"stage": "production"})
    found = {
        stage: [version.version for version in repo.list("bert", labels={"stage": stage})]
        for stage in ("staging", "production")
    }
    assert found == {"staging": ["v2"], "production": ["v1"]}
    assert [version.notes for version in repo.list()] == [{}, {"stage": "production"}]


def test_labels_are_there_again_when_a_deleted_version_is_restored(repo: mvs.Repository) -> None:
    repo.label("bert:v1", {"stage": "production"})
    repo.delete("bert:v1")
    assert changes(repo) == [{"stage": (None, "production")}]
    repo.gc()
    assert repo.restore("bert:v1").notes == {"stage": "production"}


def test_labels_of_a_deleted_version_are_not_those_of_what_takes_its_tag(repo: mvs.Repository, folder: Path) -> None:
    repo.label("bert:v1", {"stage": "production"})
    repo.delete("bert:v1")
    (folder / "weights.bin").write_bytes(b"other")
    assert repo.save(folder, "bert:v1", reuse_tag=True).notes == {}
    assert repo.list("bert", labels={"stage": "production"}) == []
    assert repo.label("bert:v1", {"owner": "bob"}).notes == {"owner": "bob"}
    assert changes(repo) == [{"owner": (None, "bob")}, {"stage": (None, "production")}]


def test_gc_removes_the_notes_of_what_cannot_come_back_and_no_others(repo: mvs.Repository, folder: Path) -> None:
    (folder / "weights.bin").write_bytes(b"other")
    repo.save(folder, "bert:v2")
    for tag in ("bert:v1", "bert:v2"):
        repo.label(tag, {"stage": "production"})
    damaged = repo.store / "refs/notes/bert/@v9"
    damaged.write_bytes(b"?")
    repo.delete("bert:v1")
    repo.gc(expire="now")
    assert sorted(path.name for path in (repo.store / "refs/notes/bert").iterdir()) == ["@v2", "@v9"]
    assert len(changes(repo)) == 2
    assert repo.get("bert:v2").notes == {"stage": "production"}


def test_a_version_whose_notes_are_damaged_is_used_without_them(repo: mvs.Repository) -> None:
    """A model must be served though somebody's remark about it is lost."""
    repo.label("bert:v1", {"stage": "production"})
    place = repo.store / "refs/notes/bert/@v1"
    place.write_bytes(place.read_bytes()[:-3])
    assert repo.get("bert:v1").notes == repo.list()[0].notes == {}
    with pytest.raises(CorruptRef, match=r"notes of 'bert:v1'.*@v1"):
        repo.label("bert:v1", {"owner": "ann"})
    report = repo.fsck()
    assert [(finding.kind, finding.what) for finding in report.findings] == [("notes-damaged", "refs/notes/bert/@v1")]
    assert not report.ok
    assert len(changes(repo)) == 1


def test_a_change_that_was_cut_off_is_not_told(repo: mvs.Repository, store: Store, version: mvs.Version) -> None:
    repo.label("bert:v1", {"stage": "production"})
    cut = {"stage": ("production", "archived")}
    id = ObjectId.from_hex(version.id)
    store.journal.append("bert", [Noted("v1", id, cut, store.next_time("bert", 0), "crashed@host")])
    repo.label("bert:v1", {"owner": "ann"})
    assert changes(repo) == [{"owner": (None, "ann")}, {"stage": (None, "production")}]


def test_the_bytes_of_notes_never_change() -> None:
    assert NOTES.encode().decode() == (f'mvs-notes 1 acme/bert:v1 {"01" * 32} {{"owner":"ann","stage":"größer\\n"}}\n')
    assert Notes.decode(NOTES.encode()) == NOTES


LABEL = st.text(st.characters(exclude_categories=["C"], exclude_characters="="), min_size=1).filter(
    lambda key: key == key.strip() and key.isprintable()
)


@given(st.dictionaries(LABEL, st.text(st.characters(exclude_categories=["Cs"])), max_size=5))
def test_any_labels_are_read_as_they_were_written(labels: dict[str, str]) -> None:
    notes = NOTES._replace(labels=labels)
    assert Notes.decode(notes.encode()) == notes


@given(st.binary(max_size=40), st.integers(0, len(NOTES.encode())), st.integers(0, 30))
def test_any_other_bytes_are_no_notes(junk: bytes, at: int, length: int) -> None:
    data = NOTES.encode()
    changed = data[:at] + junk + data[at + length :]
    with contextlib.suppress(CorruptRef, UnsupportedFormat):
        assert Notes.decode(changed).encode() == changed


@pytest.mark.parametrize(
    "text",
    [
        '{"a":"b","a":"b"}',
        '{"b":"","a":""}',
        '{"a": "b"}',
        '{"a":1}',
        '{"a":"\\u0062"}',
        '{"a":"\\ud800"}',
        '{"a=b":""}',
        "{}\n{}",
        "{" * 100_000 + "}",
        '["a"]',
    ],
)
def test_what_was_not_written_by_these_rules_is_no_notes(text: str) -> None:
    with pytest.raises(CorruptRef):
        Notes.decode(f"mvs-notes 1 bert:v1 {'01' * 32} {text}\n".encode())


def test_queries_see_labels_as_they_are_now(repo: mvs.Repository, folder: Path) -> None:
    """The catalog must not answer by what a version was labelled with yesterday."""
    repo.save(folder, "bert:v2", labels={"stage": "staging"})
    where = "labels.stage = 'production' or alias = 'prod'"
    assert repo.list(where=where) == []
    repo.label("bert:v1", {"stage": "production"})
    assert [(version.version, version.notes) for version in repo.list(where=where)] == [("v1", {"stage": "production"})]
    repo.alias("bert@prod", "bert:v2")
    assert [version.aliases for version in repo.list(where=where, sort="version:desc")] == [("prod",), ()]
    repo.label("bert:v1", {"stage": ""})
    assert [version.version for version in repo.list("bert", where=where)] == ["v2"]
    assert [version.version for version in repo.list(labels={"stage": "staging"}, sort="version")] == ["v1", "v2"]
    with pytest.raises(Protected):
        repo.delete(where="alias = 'prod'")
    assert repo.delete(where="alias = 'prod'", force=True) == [Tag("bert", "v2")]
