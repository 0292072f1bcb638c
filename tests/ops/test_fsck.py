"""fsck finds what is damaged, names who suffers, accuses nobody else, and changes nothing."""

import os
import re
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

import mvs
from mvs.backends.directory import Directory
from mvs.errors import InvalidInput, MvsError, NameNotFound, VersionNotFound
from mvs.format.ids import ObjectId
from mvs.format.layout import STAGING
from mvs.ops.fsck import Finding, Report
from mvs.ops.fsck.report import HARMLESS, KINDS
from mvs.ops.fsck.sampling import Sample
from mvs.store.packs.lookup import Table
from mvs.store.store import Store
from tests.ops.dedup.families import loose_path, model, pack_files, quick, records, safetensors, save, tuned

SHAPES = {"a": (64, 64), "b": (32, 64), "norm": (64,)}
BASE = model(shapes=SHAPES)
TUNED = tuned(BASE)
PAGE = Path(__file__).resolve().parents[2] / "docs" / "fsck.md"
DIGITS = "0123456789abcdef"


@pytest.fixture
def repo(tmp_path: Path) -> mvs.Repository:
    """Two models; `bert:v2` was trained from `bert:v1`, and `other:v1` has nothing to do with them."""
    made = quick(tmp_path / "repo")
    save(made, "bert:v1", {"model.safetensors": safetensors(BASE), "config.json": b'{"layers": 2}'})
    save(made, "bert:v2", {"model.safetensors": safetensors(TUNED), "config.json": b'{"layers": 2}'})
    save(made, "other:v1", {"weights.bin": bytes(range(256)) * 40})
    return made


@pytest.fixture
def packed(repo: mvs.Repository) -> mvs.Repository:
    repo.dedup()
    return repo


def change(path: Path, how: Callable[[bytes], bytes]) -> None:
    data = how(path.read_bytes())
    path.chmod(0o644)
    path.write_bytes(data)


def flip(at: int) -> Callable[[bytes], bytes]:
    def flipped(data: bytes) -> bytes:
        some = bytearray(data)
        some[at] ^= 1
        return bytes(some)

    return flipped


def cut(data: bytes) -> bytes:
    return data[: len(data) // 2]


def ref_file(repo: mvs.Repository, tag: str) -> Path:
    name, version = tag.split(":")
    return repo.store / "refs" / "tags" / name / f"@{version}"


def blob(repo: mvs.Repository, tag: str, path: str) -> str:
    return next(file.blob for file in repo.get(tag).files if file.path == path)


def told(report: Report) -> list[tuple[str, list[str]]]:
    return [(finding.kind, list(map(str, finding.versions))) for finding in report.findings]


def one(report: Report) -> Finding:
    (finding,) = report.findings
    assert not report.ok
    return finding


def tree(folder: Path) -> dict[str, tuple[int, int, bytes | None]]:
    """Everything that a check could change, the times at which files were written included."""
    return {
        str(path.relative_to(folder)): (
            path.lstat().st_mode,
            path.lstat().st_mtime_ns,
            path.read_bytes() if path.is_file() else None,
        )
        for path in folder.rglob("*")
    }


@pytest.mark.parametrize("level", ["quick", "full", "sample"])
def test_a_store_that_was_used_in_every_way_is_clean(repo: mvs.Repository, level: str) -> None:
    def clean() -> None:
        report = repo.fsck(level=level)  # type: ignore[arg-type]
        assert (report.ok, report.findings) == (True, ())

    clean()
    repo.dedup("bert")
    clean()
    repo.delete("bert:v2")
    clean()
    repo.restore("bert:v2")
    repo.dedup()
    clean()
    repo.undo_dedup("bert:v1")
    save(repo, "bert:v3", safetensors(tuned(BASE, 4)))
    repo.delete("other:v1")
    clean()
    repo.dedup()
    repo.gc(expire="now")
    clean()


def test_an_empty_store_is_clean(tmp_path: Path) -> None:
    report = quick(tmp_path / "empty").fsck(level="full")
    assert (report.ok, report.versions) == (True, 0)


@pytest.mark.parametrize("level", ["quick", "full", "sample"])
def test_a_check_changes_nothing_but_the_note_of_a_sample(packed: mvs.Repository, level: str) -> None:
    """What looks for damage must not be able to do any."""
    shutil.rmtree(packed.store / "cache")
    (packed.store / "cache").mkdir()
    save(packed, "more:v1", b"loose")
    (packed.store / "staging" / "0123456789abcdef").mkdir()
    before = tree(packed.store)
    mvs.open(packed.root).fsck(level=level)  # type: ignore[arg-type]
    after = tree(packed.store)
    assert after.pop("cache/fsck", None) is None or level == "sample"
    if level == "sample":
        # Where the note came to be, and where it was written.
        for folder in ("cache", "staging"):
            before.pop(folder), after.pop(folder)
    assert after == before


def test_the_facts_are_counted(packed: mvs.Repository) -> None:
    save(packed, "gone:v1", b"g" * 1000)
    packed.delete("gone:v1", "other:v1")
    dead = packed.store / "staging" / "0123456789abcdef"
    dead.mkdir()
    (dead / "part").write_bytes(b"x" * 7)
    (packed.store / "staging" / "0123456789abcdef.tmp").write_bytes(b"y" * 5)
    report = packed.fsck(level="full")
    amounts = {name: (amount.count, amount.size) for name, amount in report.amounts.items()}
    assert report.ok
    assert report.versions == 2
    assert amounts["sessions"] == (1, 7)
    assert amounts["temporary"] == (1, 5)
    assert amounts["packs"][0] == len(pack_files(packed))
    assert amounts["records"][0] == len(list(records(packed)))
    assert amounts["unreferenced"][0] == 3  # two manifests and a blob
    assert amounts["unreferenced-records"][0] >= 1
    assert amounts["files"][0] == 4


@pytest.mark.parametrize("level", ["quick", "full"])
@pytest.mark.parametrize("how", [flip(0), flip(30), cut, lambda _: b""])
def test_a_damaged_ref_is_found(repo: mvs.Repository, how: Callable[[bytes], bytes], level: str) -> None:
    change(ref_file(repo, "bert:v1"), how)
    report = repo.fsck(level=level)  # type: ignore[arg-type]
    kinds = {kind for kind, tags in told(report) if tags == ["bert:v1"]}
    # A digit of an id that changed makes a ref in good form, of nothing.
    assert kinds in ({"ref-damaged"}, {"manifest-missing", "journal-damaged"})
    assert not report.ok


def test_a_lost_ref_is_told_and_is_no_damage(repo: mvs.Repository) -> None:
    """A save that was cut off before its ref looks just the same."""
    ref_file(repo, "bert:v1").unlink()
    report = repo.fsck()
    assert (told(report), report.ok) == ([("ref-missing", ["bert:v1"])], True)
    assert report.findings[0].hint == "mvs restore bert:v1"


def test_a_version_that_lost_its_ref_says_so_and_is_restored(repo: mvs.Repository) -> None:
    before = repo.get("bert:v1")
    ref_file(repo, "bert:v1").unlink()
    with pytest.raises(VersionNotFound, match="has no ref") as told:
        repo.get("bert:v1")
    assert told.value.hint == "mvs restore bert:v1"
    repo.gc(expire="now")
    assert repo.restore("bert:v1") == before
    assert repo.fsck(level="full").findings == ()


def test_a_latest_that_readers_do_not_believe_is_no_damage(repo: mvs.Repository) -> None:
    change(ref_file(repo, "bert:latest"), flip(40))
    report = repo.fsck()
    assert (told(report), report.ok) == ([("latest-stale", [])], True)
    assert repo.get("bert").tag.version == "v2"


def test_a_latest_that_is_not_the_newest_is_found(repo: mvs.Repository) -> None:
    shutil.copyfile(ref_file(repo, "bert:v1"), ref_file(repo, "bert:latest"))
    assert one(repo.fsck()).kind == "latest-wrong"
    assert repo.get("bert").tag.version == "v1"


def test_a_damaged_alias_is_found(repo: mvs.Repository) -> None:
    place = repo.store / "refs" / "aliases" / "bert" / "@prod"
    place.parent.mkdir(parents=True)
    place.write_bytes(ref_file(repo, "bert:v1").read_bytes())
    assert repo.fsck().findings == ()
    change(place, flip(3))
    finding = one(repo.fsck())
    assert (finding.kind, finding.what) == ("alias-damaged", "refs/aliases/bert/@prod")
    repo.alias("bert@prod", "bert:v1")
    assert repo.fsck().findings == ()


def test_an_alias_that_leads_nowhere_is_told_and_is_no_damage(repo: mvs.Repository) -> None:
    repo.alias("bert@prod", "bert:v1")
    repo.delete("bert:v1", force=True)
    report = repo.fsck()
    (finding,) = report.findings
    assert (finding.kind, finding.hint, report.ok) == ("alias-dangling", "mvs restore bert:v1", True)
    repo.restore("bert:v1")
    assert repo.fsck().findings == ()


@pytest.mark.parametrize("level", ["quick", "full"])
def test_a_missing_manifest_is_found(repo: mvs.Repository, level: str) -> None:
    id = repo.get("bert:v2").id
    loose_path(repo, id).unlink()
    finding = one(repo.fsck(level=level))  # type: ignore[arg-type]
    assert (finding.kind, finding.what, [str(tag) for tag in finding.versions]) == ("manifest-missing", id, ["bert:v2"])


@pytest.mark.parametrize("level", ["quick", "full"])
@pytest.mark.parametrize("how", [flip(0), flip(100), cut, lambda _: b""])
def test_a_damaged_manifest_is_found_once(repo: mvs.Repository, how: Callable[[bytes], bytes], level: str) -> None:
    change(loose_path(repo, repo.get("bert:v2").id), how)
    assert told(repo.fsck(level=level)) == [("manifest-damaged", ["bert:v2"])]  # type: ignore[arg-type]


@pytest.mark.parametrize("level", ["quick", "full"])
def test_a_missing_object_is_found_and_all_its_versions_named(repo: mvs.Repository, level: str) -> None:
    id = blob(repo, "bert:v1", "config.json")
    loose_path(repo, id).unlink()
    finding = one(repo.fsck(level=level))  # type: ignore[arg-type]
    assert (finding.kind, finding.what) == ("object-missing", id)
    assert [str(tag) for tag in finding.versions] == ["bert:v1", "bert:v2"]


@pytest.mark.parametrize("level", ["quick", "full"])
def test_a_truncated_object_is_found(repo: mvs.Repository, level: str) -> None:
    id = blob(repo, "other:v1", "weights.bin")
    change(loose_path(repo, id), cut)
    report = repo.fsck(level=level)  # type: ignore[arg-type]
    assert told(report) == [("object-damaged", ["other:v1"])]


def test_a_flipped_bit_is_found_by_full(repo: mvs.Repository) -> None:
    id = blob(repo, "other:v1", "weights.bin")
    change(loose_path(repo, id), flip(9))
    assert repo.fsck().ok
    assert told(repo.fsck(level="full")) == [("object-damaged", ["other:v1"])]


def test_damage_that_no_version_suffers_from_is_damage(repo: mvs.Repository) -> None:
    """A save of the same bytes would count on them."""
    id = blob(repo, "other:v1", "weights.bin")
    manifest = repo.get("other:v1").id
    repo.delete("other:v1")
    change(loose_path(repo, id), flip(9))
    assert told(repo.fsck(level="full")) == [("object-damaged", ["other:v1"])]
    # As a gc leaves it that was cut off.
    loose_path(repo, manifest).unlink()
    assert told(repo.fsck(level="full")) == [("object-damaged", [])]
    assert not repo.fsck(level="full").ok


def base_record(repo: mvs.Repository) -> tuple[Path, int]:
    """Return the pack, and an offset in what a record of it stores that others are differences from."""
    (path,) = pack_files(repo)
    record = next(record for record in records(repo) if record.encoding == "planes")
    return path, record.offset + record.length // 2


def test_a_damaged_base_is_found_with_all_that_stand_on_it(packed: mvs.Repository) -> None:
    path, at = base_record(packed)
    change(path, flip(at))
    assert packed.fsck().ok
    report = packed.fsck(level="full")
    assert told(report) == [("pack-damaged", ["bert:v1", "bert:v2"]), ("record-damaged", ["bert:v1", "bert:v2"])]


def test_damage_in_a_run_that_a_difference_does_not_need_is_not_its_own(packed: mvs.Repository) -> None:
    (path,) = pack_files(packed)
    norm = ObjectId.of(BASE["norm"].tobytes())
    record = next(record for record in records(packed) if record.id == norm)
    assert any(
        ref.id == ObjectId.from_hex(blob(packed, "bert:v1", "model.safetensors"))
        for r in records(packed)
        for ref in r.refs
    )
    change(path, flip(record.offset))
    assert told(packed.fsck(level="full")) == [("pack-damaged", ["bert:v1"]), ("record-damaged", ["bert:v1"])]
    assert packed.fsck("bert:v2", level="full").ok
    with pytest.raises(MvsError):
        mvs.open(packed.root).get("bert:v1").read_bytes("model.safetensors")
    assert mvs.open(packed.root).get("bert:v2").read_bytes("model.safetensors") == safetensors(TUNED)


def test_a_damaged_difference_is_found_with_its_version_alone(packed: mvs.Repository) -> None:
    (path,) = pack_files(packed)
    record = next(record for record in records(packed) if record.encoding == "delta")
    change(path, flip(record.offset + record.length // 2))
    assert told(packed.fsck(level="full")) == [("pack-damaged", ["bert:v2"]), ("record-damaged", ["bert:v2"])]
    assert told(packed.fsck("bert:v2", level="full")) == [("record-damaged", ["bert:v2"])]
    assert packed.fsck("bert:v1", "other", level="full").ok


@pytest.mark.parametrize("level", ["quick", "full"])
@pytest.mark.parametrize("how", [flip(0), flip(-1), flip(-30), flip(-100), cut, lambda _: b""])
@pytest.mark.parametrize("cache", [True, False])
def test_a_pack_that_cannot_be_opened_is_found(
    packed: mvs.Repository, how: Callable[[bytes], bytes], level: str, cache: bool
) -> None:
    if not cache:
        shutil.rmtree(packed.store / "cache")
    (path,) = pack_files(packed)
    change(path, how)
    report = packed.fsck(level=level)  # type: ignore[arg-type]
    kinds = {kind for kind, _ in told(report)}
    assert kinds == {"pack-damaged"} if cache else kinds == {"pack-damaged", "object-missing"}
    assert {str(tag) for finding in report.findings for tag in finding.versions} == {"bert:v1", "bert:v2", "other:v1"}


def test_a_pack_under_another_name_is_found_by_full(packed: mvs.Repository) -> None:
    (path,) = pack_files(packed)
    path.rename(path.with_name(path.stem.translate(str.maketrans("0a", "a0")) + ".pack"))
    shutil.rmtree(packed.store / "cache")
    assert packed.fsck().ok
    finding = one(packed.fsck(level="full"))
    assert (finding.kind, finding.versions) == ("pack-damaged", ())
    assert "every record in it is whole" in finding.message


def test_a_missing_pack_is_told_by_what_was_in_it(packed: mvs.Repository) -> None:
    pack_files(packed)[0].unlink()
    report = packed.fsck()
    assert {kind for kind, _ in told(report)} == {"object-missing"}
    assert {str(tag) for finding in report.findings for tag in finding.versions} == {"bert:v1", "bert:v2", "other:v1"}


def test_a_missing_base_is_found_with_all_that_stand_on_it(repo: mvs.Repository) -> None:
    repo.dedup("bert:v1")
    repo.dedup("bert:v2")
    first = next(
        path for path in pack_files(repo) if path.stat().st_size == max(p.stat().st_size for p in pack_files(repo))
    )
    repo.undo_dedup("bert:v1")
    first.unlink()
    report = repo.fsck()
    assert not report.ok
    assert {(kind, tuple(tags)) for kind, tags in told(report)} == {("object-missing", ("bert:v2",))}
    assert told(repo.fsck("bert:v2")) == told(report)
    assert repo.fsck("bert:v1").ok


def test_a_damaged_loose_base_is_one_finding(repo: mvs.Repository) -> None:
    """What only suffers from it is no damage of its own."""
    id = blob(repo, "bert:v1", "model.safetensors")
    repo.dedup("bert:v2")
    assert any(ref.id == ObjectId.from_hex(id) for record in records(repo) for ref in record.refs)
    change(loose_path(repo, id), flip(-500))
    assert told(repo.fsck(level="full")) == [("object-damaged", ["bert:v1", "bert:v2"])]


def tables(repo: mvs.Repository) -> list[Path]:
    return list((repo.store / "cache" / "packs").glob("*.table"))


def test_a_damaged_table_is_told_and_is_no_damage(packed: mvs.Repository) -> None:
    packed.get("bert:v1").read_bytes("config.json")
    (table,) = tables(packed)
    change(table, flip(60))
    report = packed.fsck()
    assert (told(report), report.ok) == ([("index-stale", [])], True)


@pytest.mark.parametrize("lie", ["hides", "invents"])
def test_a_table_that_lies_is_found(packed: mvs.Repository, lie: str) -> None:
    packed.get("bert:v1").read_bytes("config.json")
    (path,) = tables(packed)
    table = Table.mapped(str(path))
    wanted = int.from_bytes(bytes.fromhex(blob(packed, "other:v1", "weights.bin"))[:8], "big")
    left = table.prefixes != wanted
    if lie == "hides":
        lying = table._replace(prefixes=table.prefixes[left], numbers=table.numbers[left])
    else:
        zeros = np.zeros(1, np.uint32)
        first = np.zeros(1, np.uint64)
        lying = table._replace(
            prefixes=np.concatenate([first, table.prefixes]), numbers=np.concatenate([zeros, table.numbers])
        )
    lying.write(f"{path}.new")
    os.rename(f"{path}.new", path)
    report = packed.fsck()
    if lie == "hides":
        assert told(report) == [("index-wrong", ["other:v1"])]
        with pytest.raises(MvsError):
            mvs.open(packed.root).get("other:v1").read_bytes("weights.bin")
    else:
        assert (told(report), report.ok) == ([("index-stale", [])], True)


def test_a_damaged_line_of_a_journal_is_found(repo: mvs.Repository) -> None:
    journal = repo.store / "journal" / "bert" / "@events"
    change(journal, flip(60))
    assert ("journal-damaged", ["bert:v1"]) in told(repo.fsck())


def test_a_line_that_was_cut_off_is_no_damage(repo: mvs.Repository) -> None:
    """Whoever wrote it may have died: what it was to tell did not happen."""
    with open(repo.store / "journal" / "bert" / "@events", "ab") as file:
        file.write(b'0123456789abcdef {"at":17')
    report = repo.fsck()
    assert (told(report), report.ok) == ([("journal-cut", [])], True)
    save(repo, "bert:v9", b"more")
    assert told(repo.fsck()) == [("journal-cut", [])]


@pytest.mark.parametrize(
    "left", [b"", b"mvs-jou", b"mvs-journal 1", bytes(300)], ids=["empty", "part", "line", "zeros"]
)
def test_a_journal_that_was_cut_off_when_it_was_begun_is_no_damage(repo: mvs.Repository, left: bytes) -> None:
    """A first save that was killed, or lost its power, must not look like a damaged store for ever."""
    (repo.store / "journal" / "fresh").mkdir()
    (repo.store / "journal" / "fresh" / "@events").write_bytes(left)
    assert (told(repo.fsck()), repo.fsck().ok) == ([("journal-cut", [])], True)
    save(repo, "fresh:v1", b"more")
    report = repo.fsck()
    # With the newline that comes first, the whole line is what it must be.
    assert (told(report), report.ok) == ([] if left in (b"", b"mvs-journal 1") else [("journal-cut", [])], True)


@pytest.mark.parametrize("head", [b"mvs-journey 1\n", b"\0mvs-journal 1\n", b"\n"])
def test_a_journal_that_begins_otherwise_is_damaged(repo: mvs.Repository, head: bytes) -> None:
    journal = repo.store / "journal" / "bert" / "@events"
    journal.write_bytes(head + journal.read_bytes())
    assert ("journal-damaged", []) in told(repo.fsck())


def test_a_lost_journal_is_found(repo: mvs.Repository) -> None:
    (repo.store / "journal" / "bert" / "@events").unlink()
    report = repo.fsck()
    assert not report.ok
    assert told(report) == [("journal-damaged", ["bert:v1"]), ("journal-damaged", ["bert:v2"])]


def test_specs_choose_what_is_looked_at(repo: mvs.Repository) -> None:
    loose_path(repo, blob(repo, "other:v1", "weights.bin")).unlink()
    assert repo.fsck("bert").ok
    assert repo.fsck("bert").versions == 2
    assert repo.fsck("bert:v1", "bert:latest").versions == 2
    assert not repo.fsck("bert", "other").ok
    change(ref_file(repo, "bert:v1"), cut)
    assert told(repo.fsck("bert")) == told(repo.fsck("bert:v1")) == [("ref-damaged", ["bert:v1"])]


def test_what_is_not_there_cannot_be_checked(repo: mvs.Repository) -> None:
    with pytest.raises(NameNotFound):
        repo.fsck("nothing")
    with pytest.raises(VersionNotFound):
        repo.fsck("bert:v9")
    with pytest.raises(InvalidInput):
        repo.fsck(level="other")  # type: ignore[arg-type]
    with pytest.raises(InvalidInput):
        repo.fsck(level="sample", share=2)


@pytest.mark.parametrize("dense", [False, True])
def test_samples_come_upon_everything_in_turn(repo: mvs.Repository, dense: bool) -> None:
    """What is never read may have been lost long ago."""
    if dense:
        repo.dedup()
        path, at = base_record(repo)
    else:
        path, at = loose_path(repo, blob(repo, "bert:v1", "config.json")), 3
    change(path, flip(at))
    found = 0
    for _ in range(60):
        report = repo.fsck(level="sample", share=0.1)
        found += not report.ok
        assert report.amounts["verified"].count
    assert found


def test_a_sample_goes_round_in_the_order_of_ids() -> None:
    ids = [ObjectId.of(bytes([number])) for number in range(20)]
    sizes = [(id, 10) for id in ids]
    after = bytes(8)
    seen: list[ObjectId] = []
    for _ in range(10):
        sample = Sample(sizes, 0.1, after)
        seen += sorted(id for id in ids if id in sample)
        after = sample.end
    assert set(seen) == set(ids)
    assert len(seen) <= 30
    assert all(id in Sample(sizes, 1.0, after) for id in ids)


def test_every_kind_is_on_the_page() -> None:
    page = PAGE.read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([a-z-]+)` \| .* \| (yes|no) \|$", page, re.M)
    assert rows == [(kind, "no" if kind in HARMLESS else "yes") for kind in KINDS]


def looks(repo: mvs.Repository) -> dict[str, object]:
    """Return all that a reader can see."""

    def told_or(what: Callable[[], object]) -> object:
        try:
            return what()
        except MvsError as error:
            return type(error).__name__

    mvs_repo = mvs.open(repo.root)
    seen: dict[str, object] = {}
    for tag in ("bert:v1", "bert:v2", "bert", "other:v1"):
        seen[tag] = told_or(
            lambda tag=tag: {file.path: mvs_repo.get(tag).read_bytes(file.path) for file in mvs_repo.get(tag).files}  # type: ignore[misc]
        )
        seen[f"id of {tag}"] = told_or(lambda tag=tag: mvs_repo.get(tag).id)  # type: ignore[misc]
    for name in ("bert", "other"):
        seen[f"log {name}"] = told_or(lambda name=name: mvs_repo.log(name))  # type: ignore[misc]
    seen["list"] = told_or(lambda: [(str(version.tag), version.id) for version in mvs_repo.list()])
    return seen


def small(root: Path) -> mvs.Repository:
    """A store in which every kind of file is small, half of it packed."""
    made = quick(root)
    base = model(shapes={"a": (8, 8)})
    save(made, "bert:v1", {"m.safetensors": safetensors(base)})
    save(made, "bert:v2", {"m.safetensors": safetensors(tuned(base))})
    made.dedup()
    save(made, "other:v1", {"w.bin": b"loose bytes"})
    return made


def places(repo: mvs.Repository, step: int) -> Iterator[tuple[Path, int]]:
    files = sorted(path for path in repo.store.rglob("*") if path.is_file())
    wanted = ("objects", "packs", "refs", "journal", "cache/packs")
    count = 0
    for path in files:
        if str(path.relative_to(repo.store)).startswith(wanted):
            for at in range(path.stat().st_size):
                count += 1
                if count % step == 0:
                    yield path, at


def flip_all(root: Path, step: int) -> None:
    repo = small(root)
    before = looks(repo)
    assert repo.fsck(level="full").findings == ()
    tried = 0
    for path, at in places(repo, step):
        good, mode = path.read_bytes(), path.stat().st_mode
        cache = {file: file.read_bytes() for file in tables(repo)}
        for bit in (1, 0x20) if step == 1 else (1 << at % 8,):
            damaged = bytearray(good)
            damaged[at] ^= bit
            path.chmod(0o644)
            path.write_bytes(damaged)
            report = mvs.open(repo.root).fsck(level="full")
            if not report.findings:
                assert looks(repo) == before, f"{path} {at}"
            tried += 1
            path.write_bytes(good)
            path.chmod(mode)
            for file in tables(repo):
                file.unlink()
            for file, data in cache.items():
                file.write_bytes(data)
    assert tried > 30
    assert repo.fsck(level="full").findings == ()


def test_a_byte_that_is_flipped_anywhere_is_found_or_matters_to_nobody(tmp_path: Path) -> None:
    flip_all(tmp_path / "small", 97)


@pytest.mark.deep
def test_every_byte_that_is_flipped_is_found_or_matters_to_nobody(tmp_path: Path) -> None:
    flip_all(tmp_path / "small", 1)


def beside(root: Path, rounds: int) -> None:
    """Save, delete, pack, unpack and collect in one thread, and check in another."""
    repo = quick(root)
    save(repo, "stays:v1", safetensors(BASE))
    failures: list[BaseException] = []
    done = threading.Event()

    def write() -> None:
        try:
            ours = mvs.open(repo.root)
            for number in range(rounds):
                tag = f"bert:v{number}"
                save(ours, tag, {"m.safetensors": safetensors(tuned(BASE, number % 3)), "n": str(number).encode()})
                ours.dedup(tag)
                if number % 3 == 1:
                    ours.undo_dedup(tag)
                ours.delete(tag)
                if number % 2:
                    ours.gc(expire="now")
        except BaseException as error:  # noqa: BLE001 - told by the thread that waits
            failures.append(error)
        finally:
            done.set()

    writer = threading.Thread(target=write)
    writer.start()
    checks = 0
    try:
        while not done.is_set() or checks < 3:
            report = mvs.open(repo.root).fsck(level="full" if checks % 2 else "quick")
            assert report.findings == ()
            checks += 1
    finally:
        writer.join()
    assert failures == []


def test_nothing_is_accused_that_others_move_or_delete(tmp_path: Path) -> None:
    """A check that cries wolf is soon not run any more."""
    beside(tmp_path / "repo", 8)


@pytest.mark.deep
def test_nothing_is_accused_that_others_move_or_delete_for_long(tmp_path: Path) -> None:
    beside(tmp_path / "repo", 150)


def test_a_check_waits_for_nobody_and_says_what_it_can(repo: mvs.Repository) -> None:
    """A store that somebody handed out read-only has no lock to take."""
    shutil.rmtree(repo.store / "staging")
    (repo.store / "lock").unlink()
    ref_file(repo, "bert:v1").unlink()
    assert told(repo.fsck()) == [("ref-missing", ["bert:v1"])]
    assert not (repo.store / "lock").exists()
    assert Store(repo.store).refs.names() == ["bert", "other"]
    assert Directory(str(repo.store), durable=False, temps=STAGING).size("lock") is None
