"""A store in a bucket, and behind ssh: many repositories save into it at once."""

import os
import random
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest

import mvs
from mvs.errors import RemoteDenied, TagExists
from tests.ops.dedup.families import save
from tests.ops.transfer.test_push_pull import BASE, TUNED
from tests.ops.transfer.test_working import contents
from tests.remotes.conftest import PATIENCE
from tests.remotes.servers import Proxy, Request
from tests.remotes.test_kill import command
from tests.remotes.test_servers import at_once

Begin = Callable[..., mvs.Repository]


@pytest.fixture
def begin(tmp_path: Path, bucket_url: str, s3: str) -> Begin:
    """Make a repository whose store is the bucket."""

    def begun(name: str, endpoint: str = s3) -> mvs.Repository:
        return mvs.init(tmp_path / name, store=bucket_url, endpoint=endpoint, region="us-east-1", timeout=PATIENCE)

    return begun


def test_a_bucket_is_a_store(begin: Begin, tmp_path: Path) -> None:
    ours, theirs = begin("ours"), begin("theirs")
    save(ours, "m:base", BASE)
    save(theirs, "m:tuned", TUNED, parents=["m:base"])
    np.savez(tmp_path / "big.npz", small=np.arange(10.0), big=np.zeros(100))
    ours.save(tmp_path / "big.npz", "n:v1")
    ours.alias("m@prod", "m:tuned")
    assert theirs.get("m@prod").read_bytes("model.safetensors") == TUNED
    assert (theirs.get("n").path / "big.npz").read_bytes() == (tmp_path / "big.npz").read_bytes()
    assert (theirs.get("n").tensor("small") == np.arange(10.0)).all()
    assert (theirs.checkout("m:base", tmp_path / "out") / "model.safetensors").read_bytes() == BASE
    assert contents(ours) == contents(theirs) == contents(begin("late"))


def test_of_eight_who_save_at_once_all_succeed_and_a_tag_has_one_winner(begin: Begin) -> None:
    repos = [begin(f"repo{number}") for number in range(4)]
    # Two threads in each.
    work = [lambda repo=repo, n=n: save_one(repo, f"own{n}:v1") for n, repo in enumerate([*repos, *repos])]
    assert at_once([*work]) == []
    failed = at_once([lambda repo=repo: save_one(repo, "shared:v1") for repo in repos])  # type: ignore[misc]
    assert [type(error) for error in failed] == [TagExists] * 3
    last = begin("last")
    assert len(last.list()) == 9
    assert {version.id for repo in repos for version in repo.list()} == {version.id for version in last.list()}
    assert last.remote("store").fsck(share=1.0).findings == ()


def save_one(repo: mvs.Repository, tag: str) -> None:
    with repo.create(tag) as draft:
        (draft.path / "weights.bin").write_bytes(os.urandom(1000))


@pytest.mark.deep
def test_a_server_that_refuses_is_an_error_and_nothing_was_saved(begin: Begin, proxy: Callable[..., Proxy]) -> None:
    between = proxy()
    ours, theirs = begin("ours", between.url), begin("theirs")
    save(ours, "m:base", BASE)
    between.plan = lambda request: 403
    with pytest.raises(RemoteDenied):
        save(ours, "m:tuned", TUNED)
    assert [str(version.tag) for version in theirs.list()] == ["m:base"]


@pytest.mark.deep
def test_a_folder_behind_ssh_is_a_store(far: str, tmp_path: Path) -> None:
    ours, theirs = (mvs.init(tmp_path / name, store=far) for name in ("ours", "theirs"))
    save(ours, "m:base", BASE)
    save(theirs, "m:tuned", TUNED, parents=["m:base"])
    assert ours.get("m").read_bytes("model.safetensors") == TUNED
    assert contents(ours) == contents(theirs)


@pytest.mark.parametrize("counts", [pytest.param(False, marks=pytest.mark.deep), True])
def test_who_is_killed_as_the_entry_goes_out_has_saved_all_or_nothing(
    counts: bool, begin: Begin, proxy: Callable[..., Proxy], tmp_path: Path
) -> None:
    """Killed before the entry is there, nobody ever sees a version; behind it, all do, also where it was killed."""
    sent = False

    def plan(request: Request) -> str | None:
        nonlocal sent
        if request.method == "PUT" and "/log/" in request.path and not sent:
            sent = True
            return "deaf" if counts else "stall"
        return "stall" if sent else None

    between = proxy()
    ours, theirs = begin("ours", between.url), begin("theirs")
    save(ours, "m:base", BASE)
    (tmp_path / "tuned.bin").write_bytes(TUNED)
    between.plan = plan
    process = command(ours, "save", str(tmp_path / "tuned.bin"), "m:tuned", "--move")
    while process.poll() is None and not between.stalled.wait(0.02):
        pass
    process.kill()
    assert process.wait() != 0
    assert (tmp_path / "tuned.bin").exists()
    assert [version.version for version in theirs.list()] == ["tuned", "base"][not counts :]
    between.plan = lambda request: None
    assert contents(ours) == contents(theirs)
    assert ours.save(tmp_path / "tuned.bin", "m:tuned") == theirs.get("m:tuned")
    assert theirs.get("m:tuned").read_bytes("tuned.bin") == TUNED


@pytest.mark.deep
def test_readers_and_writers_of_two_repositories_with_hardly_any_room(tmp_path: Path) -> None:
    """What is removed to make room is at the remote, or nobody reads it; whoever misses it fetches it."""
    repos = []
    for name in ("ours", "theirs"):
        repo = mvs.init(tmp_path / name, store=f"file://{tmp_path}/far")
        with open(repo.root / "config.toml", "a") as file:
            file.write('cache-size = "300kB"\n')
        repos.append(repo)

    def write(repo: mvs.Repository, seed: int) -> None:
        for n in range(8):
            with repo.create("net", bump="patch", metadata={"seed": seed * 100 + n}) as draft:
                (draft.path / "w.bin").write_bytes(random.Random(seed * 100 + n).randbytes(100_000))
            if n % 4 == 3:
                repo.delete(draft.version.tag)

    def read(repo: mvs.Repository, seed: int) -> None:
        choose = random.Random(seed)
        for _ in range(60):
            if found := repo.list():
                version = choose.choice(found)
                wanted = random.Random(version.metadata["seed"]).randbytes(100_000)
                assert version.read_bytes("w.bin") == wanted
                assert (version.path / "w.bin").read_bytes() == wanted

    work = [
        partial(does, mvs.open(repo.root), 2 * n + m)
        for n, repo in enumerate(repos)
        for m in range(2)
        for does in (write, read)
    ]
    assert at_once([*work]) == []
    assert contents(repos[0]) == contents(repos[1])
    assert len(repos[0].list()) == 24
    assert repos[0].remote("store").fsck(share=1.0).findings == ()
    assert all(repo._store.disk_usage("objects", "packs") < 400_000 for repo in repos)
