"""Servers that drop, stall, corrupt and refuse: the work is done all the same, or the error says what happened."""

import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

import mvs
from mvs.errors import Corrupt, InvalidConfig, MvsError, RemoteDenied, RemoteFailed, UnsupportedFormat
from mvs.repository.workspace import write_remote
from tests.ops.dedup.families import save
from tests.ops.transfer.test_push_pull import BASE, TUNED, same
from tests.remotes import servers
from tests.remotes.conftest import PATIENCE, Join
from tests.remotes.servers import Plan, Proxy, Request

Start = Callable[[Plan], Proxy]


def every(count: int, act: str | int) -> Plan:
    """Do it to one request in so many."""
    return lambda request: act if request.number % count == 0 else None


@pytest.mark.deep
@pytest.mark.parametrize("act", ["lose", "deaf", "cut", 503, 429, 500, "stall"])
def test_what_fails_now_and_then_is_tried_again(proxy: Start, join: Join, act: str | int) -> None:
    ours, theirs = join("ours"), join("theirs")
    save(ours, "m:base", BASE)
    save(ours, "m:tuned", TUNED)
    bad = proxy(every(4, act))
    for repo in (ours, theirs):
        write_remote(repo.root, "origin", {**repo.remotes["origin"], "endpoint": bad.url})
    ours, theirs = mvs.open(ours.root.parent), mvs.open(theirs.root.parent)
    ours.push("m:base")
    ours.push("m:tuned")
    theirs.pull()
    assert all(same(theirs.get(tag), ours.get(tag)) for tag in ("m:base", "m:tuned"))
    assert theirs.remote().fsck(share=1.0).findings == ()
    ours.remote().delete("m:base")
    assert len(ours.remote().list()) == 1


def test_an_entry_whose_answer_is_lost_is_written_once(proxy: Start, join: Join) -> None:
    """Or the push would be told as failed, and a second one find its own tag in the way."""

    def plan(request: Request) -> str | None:
        lost = request.method == "PUT" and "/log/" in request.path and not any("/log/" in r.path for r in done)
        if lost:
            done.append(request)
        return "deaf" if lost else None

    done: list[Request] = []
    ours = join("ours", proxy(plan).url)
    save(ours, "m:v1", BASE)
    assert len(ours.push().refs) == 1
    assert len(done) == 1
    assert [version.version for version in ours.remote().list()] == ["v1"]
    assert join("theirs").fetch() == 1


def test_a_server_that_refuses_for_another_s_sake_is_asked_again(proxy: Start, join: Join) -> None:
    """S3 answers 409 while somebody else creates the same key, who may yet fail."""
    refused: list[Request] = []

    def plan(request: Request) -> int | None:
        if request.method == "PUT" and "/log/" in request.path and len(refused) < 3:
            refused.append(request)
            return 409
        return None

    ours = join("ours", proxy(plan).url)
    save(ours, "m:v1", BASE)
    ours.push()
    assert join("theirs").fetch() == 1
    assert len(refused) == 3


@pytest.mark.deep
@pytest.mark.parametrize(("act", "step"), [("corrupt", 1), ("short", 1), ("cut", 3)])
def test_bytes_that_are_not_those_that_were_sent_never_come_in(proxy: Start, join: Join, act: str, step: int) -> None:
    ours = join("ours")
    save(ours, "m:base", BASE)
    save(ours, "m:tuned", TUNED)
    ours.push()
    # The first answers are sound, so that each of those that a pull needs is damaged once.
    for good in range(0, 30, step):
        theirs = join(f"theirs{good}")
        bad = proxy(lambda request, good=good: act if request.number > good else None)  # type: ignore[misc]
        write_remote(theirs.root, "origin", {**theirs.remotes["origin"], "endpoint": bad.url})
        broken = mvs.open(theirs.root.parent)
        try:
            broken.pull()
        except (Corrupt, RemoteFailed, UnsupportedFormat):
            assert broken.list() == []
        assert broken.fsck(level="full").findings == ()
        # What was kept of the bad answers does not stand in the way.
        theirs.pull()
        assert same(theirs.get("m:tuned"), ours.get("m:tuned"))
        if len(bad.seen) <= good:
            break
    assert good > 5, "a pull asks more than that"


def test_what_is_spoilt_on_its_way_up_is_found_by_fsck_and_refused_by_pull(proxy: Start, join: Join) -> None:
    ours = join("ours", proxy(lambda request: "spoil" if request.is_body else None).url)
    save(ours, "m:v1", BASE)
    ours.push()
    assert join("keeper").remote().fsck(share=1.0).findings
    theirs = join("theirs")
    with pytest.raises(Corrupt):
        theirs.pull()
    assert theirs.list() == []


@pytest.mark.deep
def test_a_server_that_is_silent_is_given_up(proxy: Start, join: Join) -> None:
    ours = join("ours")
    save(ours, "m:v1", BASE)
    silent = proxy(lambda request: "stall")
    with pytest.raises(RemoteFailed, match="no answer in time; tried"):
        join("theirs", silent.url)


@pytest.mark.deep
def test_a_storm_of_refusals_ends_in_an_error_that_says_so(proxy: Start, join: Join) -> None:
    with pytest.raises(RemoteFailed, match=r"503 Service Unavailable \(SlowDown\); tried \d+ times in"):
        join("ours", proxy(lambda request: 503).url)


def test_wrong_credentials_are_told(proxy: Start, join: Join, cli: Callable[..., Result], bucket_url: str) -> None:
    strict = proxy(lambda request: 403)
    with pytest.raises(RemoteDenied, match="403 Forbidden \\(InvalidAccessKeyId\\)"):
        join("ours", strict.url)
    told = cli("remote", "add", "origin", bucket_url, "--endpoint", strict.url, code=81)
    assert "may not be reached with these credentials" in told.stderr


@pytest.mark.deep
def test_missing_credentials_are_told(join: Join, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(RemoteDenied, match="no credentials"):
        join("ours")


def test_a_clock_that_is_wrong_is_told(proxy: Start, join: Join, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(servers.CODES, 403, "RequestTimeTooSkewed")
    with pytest.raises(RemoteDenied, match="clock") as told:
        join("ours", proxy(lambda request: 403).url)
    assert told.value.hint == "date -u"


def test_a_bucket_that_is_missing_is_told(join: Join) -> None:
    with pytest.raises(RemoteFailed, match="no such bucket"):
        join("ours", url="s3://no-bucket-here/models")


def test_a_remote_that_is_gone_is_told(join: Join, s3: str, tmp_path: Path) -> None:
    """A push to it would succeed, and nobody would ever see it."""
    ours = join("ours")
    save(ours, "m:v1", BASE)
    ours.set_remote_url("origin", "s3://no-bucket-here/models")
    for act in (ours.push, ours.pull, ours.fetch):
        with pytest.raises(RemoteFailed, match="no such bucket"):
            act()
    ours.set_remote_url("origin", str(tmp_path / "nowhere"))
    for act in (ours.push, ours.pull, ours.fetch):
        with pytest.raises(RemoteFailed, match="no remote at that place"):
            act()


@pytest.mark.deep
@pytest.mark.parametrize(
    ("endpoint", "reason"),
    [
        ("http://127.0.0.1:9", "Connection refused"),
        ("http://no-such-host.invalid", "the name of the server is not known"),
    ],
)
def test_a_server_that_cannot_be_reached_is_told(join: Join, endpoint: str, reason: str) -> None:
    with pytest.raises(RemoteFailed, match=reason):
        join("ours", endpoint)


@pytest.mark.deep
def test_a_server_without_tls_is_told(join: Join, s3: str) -> None:
    with pytest.raises(RemoteFailed, match="does not speak TLS"):
        join("ours", s3.replace("http:", "https:"))


@pytest.mark.parametrize(("endpoint", "url"), [("127.0.0.1:9", "s3://bucket"), ("http://127.0.0.1:9", "s3://b u/x")])
def test_an_address_that_makes_no_sense_is_refused(join: Join, endpoint: str, url: str) -> None:
    with pytest.raises(InvalidConfig):
        join("ours", endpoint, url)


def test_a_bucket_to_read_from_is_not_written_to(proxy: Start, join: Join, bucket_url: str, tmp_path: Path) -> None:
    ours = join("ours")
    save(ours, "m:v1", BASE)
    ours.push()
    theirs = mvs.init(tmp_path / "theirs")
    public = proxy(lambda request: "vouch")
    theirs.add_remote("origin", f"{public.url}/{bucket_url.removeprefix('s3://')}")
    theirs.pull()
    assert same(theirs.get("m:v1"), ours.get("m:v1"))
    save(theirs, "m:v2", TUNED)
    with pytest.raises(RemoteFailed):
        theirs.push()


def test_ctrl_c_does_not_wait_for_a_server(proxy: Start, join: Join) -> None:
    silent = proxy(lambda request: "stall")

    def interrupt() -> None:
        silent.stalled.wait()
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()
    with pytest.raises(KeyboardInterrupt):
        join("ours", silent.url, timeout=60 * PATIENCE)


@pytest.mark.deep
def test_every_error_has_a_kind_and_says_where(proxy: Start, join: Join) -> None:
    for act in ("lose", "cut", "corrupt", 400, 403, 500):
        with pytest.raises(MvsError) as told:
            join(f"repo{act}", proxy(lambda request, act=act: act).url)  # type: ignore[misc]
        assert told.value.exit_code in (41, 50, 56, 80, 81, 82, 83), act
        assert "\n" not in told.value.message
        assert "Debug" not in told.value.message
