"""A real S3 server: what was pushed is pulled, whoever pushes at the same time."""

import json
import os
import threading
from collections.abc import Callable
from pathlib import Path

from click.testing import Result

import mvs
from mvs.errors import TagExists
from tests.ops.dedup.families import save
from tests.ops.transfer.test_push_pull import BASE, TUNED, same
from tests.remotes.conftest import Join
from tests.remotes.servers import Proxy


def at_once(work: list[Callable[[], object]]) -> list[Exception]:
    """Do all of it on threads; return the errors."""
    failed: list[Exception] = []

    def run(one: Callable[[], object]) -> None:
        try:
            one()
        except Exception as error:  # noqa: BLE001 - it is returned
            failed.append(error)

    workers = [threading.Thread(target=run, args=(one,)) for one in work]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return failed


def test_what_is_pulled_is_what_was_pushed(join: Join, folder: Path) -> None:
    ours, theirs = join("ours"), join("theirs")
    save(ours, "m:base", BASE)
    save(ours, "m:tuned", TUNED)
    ours.save(folder, "bert:v1")
    ours.push()
    theirs.pull()
    assert all(same(theirs.get(tag), ours.get(tag)) for tag in ("m:base", "m:tuned", "bert:v1"))
    assert theirs.remote().fsck(share=1.0).findings == ()
    assert theirs.fsck(level="full").findings == ()
    assert theirs.remote().get("bert").read_bytes("sub/vocab.txt") == b"a\nb\n"


def test_eight_who_push_at_once_all_succeed_and_a_tag_has_one_winner(join: Join, tmp_path: Path) -> None:
    repos = [join(f"repo{number}") for number in range(8)]
    for number, repo in enumerate(repos):
        save(repo, f"own{number}:v1", os.urandom(1000))
        save(repo, "shared:v1", os.urandom(1000))
    work = [lambda repo=repo, n=n: repo.push(f"own{n}:v1") for n, repo in enumerate(repos)]
    assert at_once([*work]) == []
    failed = at_once([lambda repo=repo: repo.push("shared:v1") for repo in repos])  # type: ignore[misc]
    assert [type(error) for error in failed] == [TagExists] * 7
    last = join("last")
    last.pull()
    assert {str(version.tag) for version in last.list()} == {"shared:v1", *(f"own{n}:v1" for n in range(8))}
    assert last.fsck(level="full").findings == ()


def test_garbage_is_collected_beside_those_who_push(join: Join) -> None:
    keeper, ours = join("keeper"), join("ours")
    save(ours, "m:base", BASE)
    ours.push()
    versions = [save(ours, f"m:t{number}", TUNED + bytes([number])) for number in range(3)]

    def push() -> None:
        for version in versions:
            ours.push(version.tag)

    def collect() -> None:
        for number in range(4):
            if number == 1:
                keeper.remote().delete("m:base")
            keeper.remote().gc()

    assert at_once([push, collect]) == []
    keeper.remote().gc()
    assert keeper.remote().fsck(share=1.0).findings == ()
    theirs = join("theirs")
    theirs.pull()
    assert all(same(theirs.get(version.tag), version) for version in versions)


def test_a_server_that_ignores_conditions_is_found_out(
    proxy: Callable[..., Proxy], join: Join, cli: Callable[..., Result], bucket_url: str, repo: mvs.Repository
) -> None:
    """Those of rclone and s3rver do: two writers would overwrite each other."""
    careless = proxy(lambda request: "careless")
    told = cli("remote", "add", "origin", bucket_url, "--endpoint", careless.url, "--region", "us-east-1", code=83)
    assert "--single-writer" in told.stderr
    assert repo.remotes == {}
    ours = join("ours", careless.url, single_writer=True)
    save(ours, "m:v1", BASE)
    ours.push()
    theirs = join("theirs", careless.url)
    theirs.pull()
    assert same(theirs.get("m:v1"), ours.get("m:v1"))


def test_the_command_line_pushes_and_pulls(
    cli: Callable[..., Result], repo: mvs.Repository, s3: str, bucket_url: str, folder: Path
) -> None:
    repo.save(folder, "bert:v1")
    cli("remote", "add", "origin", bucket_url, "--endpoint", s3, "--region", "us-east-1", "--timeout", "5")
    told = cli("push", "--all", "--json").stdout
    assert json.loads(told)["versions"] == ["bert:v1"]
    assert "bert:v1" in cli("list", "--remote", "origin").stdout
