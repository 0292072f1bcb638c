"""A folder of another machine through ssh: OpenSSH's own server, and ones that misbehave."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

import mvs
from mvs.backends.buckets.sftp import Connection, Lost
from mvs.backends.buckets.ssh import SshBucket
from mvs.errors import InvalidConfig, InvalidInput, RemoteDenied, RemoteFailed, TagExists
from tests.ops.dedup.families import save
from tests.ops.transfer.test_push_pull import BASE, TUNED, same
from tests.remotes.test_servers import at_once


def joined(path: Path, url: str) -> mvs.Repository:
    repo = mvs.init(path)
    repo.add_remote("origin", url)
    return repo


def program(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """Put another `ssh` before the system's."""
    folder.mkdir()
    (folder / "ssh").write_text(f"#!/bin/sh\n{script}\n")
    (folder / "ssh").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")


@pytest.mark.deep
def test_what_is_pulled_is_what_was_pushed(far: str, tmp_path: Path) -> None:
    ours, theirs = joined(tmp_path / "ours", far), joined(tmp_path / "theirs", far)
    save(ours, "m:base", BASE)
    save(ours, "m:tuned", TUNED)
    ours.push(jobs=4)
    theirs.pull(jobs=4)
    assert all(same(theirs.get(tag), ours.get(tag)) for tag in ("m:base", "m:tuned"))
    assert theirs.remote().fsck(share=1.0).findings == ()
    ours.remote().delete("m:base")
    ours.remote().gc()
    # The same folder is a remote for whoever has it on his disk.
    local = joined(tmp_path / "local", str(tmp_path / "far"))
    local.pull()
    assert same(local.get("m:tuned"), ours.get("m:tuned"))
    assert list((tmp_path / "far" / "uploads").iterdir()) == []


@pytest.mark.deep
def test_of_those_who_push_one_tag_at_once_one_wins(far: str, tmp_path: Path) -> None:
    repos = [joined(tmp_path / f"repo{number}", far) for number in range(4)]
    for repo in repos:
        save(repo, "shared:v1", os.urandom(1000))
    failed = at_once([lambda repo=repo: repo.push("shared:v1") for repo in repos])  # type: ignore[misc]
    assert [type(error) for error in failed] == [TagExists] * 3


@pytest.mark.parametrize(
    "url", ["ssh://-oProxyCommand=x/path", "ssh://host", "ssh://host/", "ssh://a b/c", "ssh://h;id/c", "ssh://-l@h/c"]
)
def test_a_url_that_could_mean_something_else_to_ssh_is_refused(repo: mvs.Repository, url: str) -> None:
    with pytest.raises(InvalidConfig, match="not of the form"):
        repo.add_remote("origin", url)


def test_a_password_in_a_url_is_refused(repo: mvs.Repository) -> None:
    with pytest.raises(InvalidInput, match="no password"):
        repo.add_remote("origin", "ssh://me:secret@host/path")


def test_user_and_port_are_given_to_ssh() -> None:
    bucket = SshBucket("ssh://me@host:2222/~/models/", patience=1)
    words = bucket.command
    assert words[words.index("-p") + 1 : words.index("-p") + 2] == ["2222"]
    assert words[words.index("-l") + 1 : words.index("-l") + 2] == ["me"]
    assert words[-3:] == ["--", "host", "sftp"]
    assert bucket.root == "models"


@pytest.mark.parametrize(
    ("script", "error", "says"),
    [
        ("echo 'me@host: Permission denied (publickey).' >&2; exit 255", RemoteDenied, "Permission denied"),
        ("echo 'Host key verification failed.' >&2; exit 255", RemoteDenied, "Host key"),
        ("echo 'ssh: connect to host h port 22: Connection refused' >&2; exit 255", RemoteFailed, "Connection refused"),
        ("exit 1", RemoteFailed, "the connection broke; tried 4 times"),
        ("echo This account is not available.", RemoteFailed, "does not speak SFTP"),
        pytest.param("cat >/dev/null", RemoteFailed, "no answer in time; tried 4 times", marks=pytest.mark.deep),
    ],
)
def test_what_ssh_says_is_told(
    repo: mvs.Repository,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    script: str,
    error: type[RemoteFailed],
    says: str,
) -> None:
    monkeypatch.setattr("mvs.backends.buckets.ssh.PAUSES", (0, 0, 0))
    program(tmp_path / "bin", monkeypatch, script)
    with pytest.raises(error, match=says) as told:
        repo.add_remote("origin", "ssh://host/path", timeout=1)
    assert told.value.hint == "ssh host true"


def test_a_folder_that_may_not_be_written_to_is_told(far: str, repo: mvs.Repository) -> None:
    with pytest.raises(RemoteFailed, match="cannot be made"):
        repo.add_remote("origin", "ssh://far/proc/models")


def test_a_connection_that_is_cut_is_made_anew(far: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each connection carries so much and breaks; the work gets done."""
    monkeypatch.setattr("mvs.backends.buckets.ssh.PAUSES", (0, 0, 0))
    ours = joined(tmp_path / "ours", far)
    save(ours, "m:v1", BASE)
    real: Callable[[Connection, bytes], None] = Connection._write
    written: dict[int, int] = {}

    def write(connection: Connection, data: bytes) -> None:
        written[id(connection)] = written.get(id(connection), 0) + 1
        if written[id(connection)] > 60:
            raise Lost("cut")
        real(connection, data)

    monkeypatch.setattr(Connection, "_write", write)
    ours.push()
    theirs = joined(tmp_path / "theirs", far)
    theirs.pull()
    monkeypatch.undo()
    assert same(theirs.get("m:v1"), ours.get("m:v1"))
