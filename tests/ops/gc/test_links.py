"""A link that leads out of the store: nothing behind it is removed, whatever it is called."""

import os
import shutil
from pathlib import Path

import pytest

import mvs
from mvs.ops.gc import cap
from mvs.store.store import Store
from tests.ops.gc.stores import check_kept, worked

# What somebody keeps elsewhere, by names that gc removes in a store.
NAMES = ("thesis.txt", "views/draft.old/a", "sketches/ab/" + "0" * 62, "0123456789abcdef/a", "a.tmp")


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    folder = tmp_path / "outside"
    for name in NAMES:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("mine")
    for parent, _, _ in os.walk(folder, topdown=False):
        os.utime(parent, (0, 0))
    return folder


def check_untouched(outside: Path) -> None:
    assert [name for name in NAMES if not (outside / name).exists()] == []


@pytest.mark.parametrize(
    ("place", "target"),
    [
        ("trash", ""),
        ("staging", ""),
        ("cache", ""),
        ("cache/views", "views"),
        ("cache/sketches", "sketches"),
        ("cache/sketches/ab", "sketches/ab"),
        ("cache/views/" + "0" * 64, ""),
    ],
)
def test_what_a_link_in_the_store_leads_to_is_left_alone(
    tmp_path: Path, outside: Path, place: str, target: str
) -> None:
    repo = worked(tmp_path / "repo")
    link = repo.store / place
    if link.exists():
        shutil.rmtree(link)
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(outside / target)
    repo = mvs.open(repo.root)
    assert repo.gc(expire="now").objects > 0
    check_untouched(outside)
    check_kept(repo)
    if place == "trash":
        assert sum(path.is_file() for path in outside.rglob("*")) == len(NAMES), "what gc took out was moved there"


def test_nor_is_it_where_a_store_is_to_fit_into_a_size(tmp_path: Path, outside: Path) -> None:
    repo = worked(tmp_path / "repo")
    shutil.rmtree(repo.store / "cache")
    (repo.store / "cache").symlink_to(outside)
    cap.evict(Store(repo.store))
    check_untouched(outside)
