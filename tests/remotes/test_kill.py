"""Processes killed while they push and pull: the next one goes on, and nothing half was ever seen."""

import os
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import mvs
from tests.ops.dedup.families import save
from tests.ops.transfer.test_push_pull import same
from tests.remotes.conftest import Join
from tests.remotes.servers import Plan, Proxy, Request

SIZE = 3 << 20
PIECE = 256 << 10
# Small pieces, so that little data makes many.
CODE = f"""
import sys
from mvs.ops.transfer import receiving, sending
receiving.RUN = sending.LARGEST = {PIECE}
from mvs.cli.main import run
run(sys.argv[1:])
"""


def command(repo: mvs.Repository, *words: str) -> "subprocess.Popen[bytes]":
    root = str(Path(mvs.__file__).parents[1])
    return subprocess.Popen(
        [sys.executable, "-c", CODE, "-C", str(repo.root.parent), *words],
        stdout=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": root},
    )


def bodies(proxy: Proxy) -> int:
    """How many requests for or with parts of packs have come."""
    return sum(request.is_body for request in proxy.seen)


@pytest.mark.deep
@pytest.mark.parametrize("verb", ["push", "pull"])
def test_who_is_killed_again_and_again_gets_on(
    proxy: Callable[[Plan], Proxy], join: Join, tmp_path: Path, verb: str
) -> None:
    ours = join("ours")
    # The same at each run, so that it is cut into the same pieces.
    save(ours, "m:v1", random.Random(1).randbytes(SIZE))
    if verb == "pull":
        process = command(ours, "push", "--all")
        assert process.wait() == 0
    left = 4

    def plan(request: Request) -> str | None:
        nonlocal left
        if request.is_body:
            left -= 1
        # Whoever comes after it waits too, and is not done when the process dies.
        return "stall" if left < 0 and request.is_body else None

    between = proxy(plan)
    worker = join("worker", between.url, timeout=60) if verb == "pull" else ours
    if verb == "push":
        worker.remove_remote("origin")
        worker.add_remote("origin", join("other").remotes["origin"]["url"], endpoint=between.url, region="us-east-1")
    deaths = 0
    while True:
        between.stalled.clear()
        left = 4
        process = command(worker, verb, "--all", "-j", "2")
        while process.poll() is None and not between.stalled.wait(0.02):
            pass
        if process.poll() is not None:
            break
        process.kill()
        process.wait()
        deaths += 1
        assert deaths < 20
        assert len(worker.list() if verb == "pull" else join(f"looker{deaths}").remote().list()) == 0
    assert process.returncode == 0
    assert deaths >= 2
    last = join("last")
    last.pull()
    sizes = [path.stat().st_size for path in last.store.glob("packs/*/*.pack")]
    pieces = sum(-(-size // PIECE) for size in sizes) if verb == "pull" else len(sizes)
    # Of each life at most what was under way is lost: one piece for each request, and one that was to be kept next.
    assert bodies(between) <= pieces + 3 * deaths
    assert same(last.get("m:v1"), ours.get("m:v1"))
    assert last.remote().fsck(share=1.0).findings == ()
    assert worker.fsck(level="full").findings == ()
