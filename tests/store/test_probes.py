"""Probes: a guess only chooses what is tried first."""

import os
from pathlib import Path

import pytest

from mvs.format.ids import ObjectId
from mvs.store.probes import MIN_SIZE
from mvs.store.store import Store

SIZE = 2 * MIN_SIZE
SEEN = os.urandom(SIZE)
# Of the same size, and different only where no sample is taken.
ALIKE = SEEN[: SIZE // 4] + bytes([SEEN[SIZE // 4] ^ 1]) + SEEN[SIZE // 4 + 1 :]


def _nothing(amount: int) -> None:
    """Count nothing."""


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return tmp_path / "source.bin"


def _learn(store: Store, data: bytes) -> ObjectId:
    id = store.adding().put(data)
    store.probes.learn(id, MIN_SIZE)
    return id


def _probes(store: Store) -> list[Path]:
    return [path for path in (store.root / "cache" / "probes").rglob("*") if path.is_file()]


def test_what_the_store_has_looks_likely_and_other_content_does_not(store: Store, source: Path) -> None:
    _learn(store, SEEN)
    source.write_bytes(SEEN)
    assert store.probes.likely(str(source))
    source.write_bytes(os.urandom(SIZE))
    assert not store.probes.likely(str(source))
    source.write_bytes(SEEN + b"x")
    assert not store.probes.likely(str(source))


def test_a_small_file_is_always_hashed_first(store: Store, source: Path) -> None:
    source.write_bytes(bytes(MIN_SIZE - 1))
    assert store.probes.likely(str(source))
    source.write_bytes(bytes(MIN_SIZE))
    assert not store.probes.likely(str(source))


def test_a_wrong_guess_never_changes_what_is_saved(store: Store, source: Path) -> None:
    """Two fine-tunes may differ in a single weight."""
    seen = _learn(store, SEEN)
    source.write_bytes(ALIKE)
    assert store.probes.likely(str(source))
    with store.session() as session:
        staged = session.take(str(source), _nothing, wide=True)
        assert staged.id == ObjectId.of(ALIKE) != seen
        assert staged.path is not None
        assert Path(staged.path).read_bytes() == ALIKE


def test_a_probe_that_lies_changes_nothing(store: Store, source: Path) -> None:
    """The cache is derived: it may be damaged, restored from elsewhere, or made by another release."""
    _learn(store, SEEN)
    other = store.adding().put(ALIKE)
    (probe,) = _probes(store)
    probe.write_text(str(other))
    source.write_bytes(SEEN)
    with store.session() as session:
        assert session.take(str(source), _nothing, wide=False).id == ObjectId.of(SEEN)


@pytest.mark.parametrize(
    "content", [b"", b"garbage", b"\xff" * 64, b"0" * 63, b"0" * 64, b"0" * 64 + b"\n"], ids=range(6)
)
def test_a_damaged_probe_is_no_guess(store: Store, source: Path, content: bytes) -> None:
    _learn(store, SEEN)
    (probe,) = _probes(store)
    probe.write_bytes(content)
    source.write_bytes(SEEN)
    assert not store.probes.likely(str(source))


def test_a_missing_object_or_file_is_no_guess(store: Store, source: Path) -> None:
    id = _learn(store, SEEN)
    assert not store.probes.likely(str(source))
    source.write_bytes(SEEN)
    os.unlink(store.objects.path(id))
    assert not store.probes.likely(str(source))


def test_a_cache_that_cannot_be_written_costs_only_the_guess(store: Store, source: Path) -> None:
    """The version is saved by then: an error would tell the user that it is not."""
    (store.root / "cache").write_bytes(b"in the way")
    _learn(store, SEEN)
    source.write_bytes(SEEN)
    assert not store.probes.likely(str(source))


def test_learning_of_a_missing_object_is_no_failure(store: Store) -> None:
    """A deletion and a cleanup may have been faster; the save was a success all the same."""
    store.probes.learn(ObjectId(bytes(32)), MIN_SIZE)
