"""Hooks: called when something happens, able to forbid it, and run only where their user allowed their very bytes."""

import json
import logging
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

import mvs
from mvs.errors import HookRefused, InvalidInput, TagExists
from mvs.repository import events


@pytest.fixture(autouse=True)
def _own_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.delenv("MVS_HOOK", raising=False)
    for remembered in (events._points, events._are_there):
        remembered.cache_clear()


@pytest.fixture
def heard(tmp_path: Path) -> Callable[[], list[dict[str, Any]]]:
    """What the hooks of `write` were told, in order."""

    def read() -> list[dict[str, Any]]:
        path = tmp_path / "heard"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    return read


def write(repo: mvs.Repository, event: str, script: str, *, allow: bool = True) -> Path:
    path = repo.root / "hooks" / event
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    if allow:
        repo.allow_hooks(event)
    return path


def recording(tmp_path: Path) -> str:
    return f"cat >> {tmp_path}/heard; echo >> {tmp_path}/heard"


def test_each_event_is_told_what_happened(
    repo: mvs.Repository, folder: Path, tmp_path: Path, heard: Callable[[], list[dict[str, Any]]]
) -> None:
    for event in events.EVENTS:
        write(repo, event, recording(tmp_path))
    version = repo.save(folder, "bert:v1", labels={"a": "b"}, metadata={"loss": 0.5})
    repo.alias("bert@prod", "bert:v1")
    repo.delete_alias("bert@prod")
    repo.add_remote("origin", str(tmp_path / "remote"))
    repo.push()
    repo.delete("bert:v1")
    repo.gc(expire="now")
    told = heard()
    assert [one["event"] for one in told] == [
        *("pre-save", "post-save", "post-alias", "post-alias"),
        *("pre-push", "post-push", "pre-delete", "post-delete", "post-gc"),
    ]
    before, after, moved, removed, pushing, _, deleting, _, collected = told
    assert {one["repository"] for one in told} == {str(repo.root.parent)}
    assert (before["name"], before["version"], before["labels"]) == ("bert", "v1", {"a": "b"})
    assert before["path"] == str(folder)
    assert {file["path"] for file in before["files"]} == {file.path for file in version.files}
    assert after["version"]["id"] == version.id
    assert (moved["alias"], moved["tag"], removed["tag"]) == ("bert@prod", "bert:v1", None)
    assert (pushing["remote"], pushing["versions"]) == ("origin", [{"tag": "bert:v1", "id": version.id}])
    assert deleting["versions"] == [{"tag": "bert:v1", "id": version.id}]
    assert collected["versions"] == 1


@pytest.mark.parametrize("event", ["pre-save", "pre-delete", "pre-push"])
def test_a_hook_that_fails_forbids_what_is_about_to_happen(
    event: str, repo: mvs.Repository, folder: Path, tmp_path: Path
) -> None:
    repo.save(folder, "bert:v1")
    repo.add_remote("origin", str(tmp_path / "remote"))
    write(repo, event, "echo not on a Friday >&2; exit 1")
    does: dict[str, Callable[[], object]] = {
        "pre-save": lambda: repo.save(folder, "bert:v2"),
        "pre-delete": lambda: repo.delete("bert:v1"),
        "pre-push": repo.push,
    }
    with pytest.raises(HookRefused, match=f"the hook {event} refused: not on a Friday"):
        does[event]()
    assert [str(version.tag) for version in repo.list()] == ["bert:v1"]
    assert repo.remote("origin").list() == []


def test_what_a_hook_keeps_is_not_pruned(repo: mvs.Repository, folder: Path) -> None:
    for number in (1, 2):
        repo.save(folder, f"bert:v{number}")
    write(repo, "pre-delete", "exit 1")
    with pytest.raises(HookRefused):
        repo.prune("bert", keep_last=1)
    assert len(repo.list()) == 2
    assert repo.prune("bert", keep_last=2) == []


def test_a_draft_that_a_hook_refuses_is_kept(repo: mvs.Repository) -> None:
    write(repo, "pre-save", "exit 1")
    with pytest.raises(HookRefused) as caught, repo.create("bert:v1") as draft:
        (draft.path / "w").write_text("weights")
    assert caught.value.kept
    assert (caught.value.kept / "w").read_text() == "weights"


def test_a_hook_in_the_background_refuses_by_way_of_the_future(repo: mvs.Repository, folder: Path) -> None:
    write(repo, "pre-save", "exit 1")
    future = repo.save_async(folder, "bert:v1", move=True)
    assert isinstance(future.exception(), HookRefused)
    assert (folder / "weights.bin").exists()
    repo.close()


def test_a_hook_after_it_can_change_nothing(
    repo: mvs.Repository, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(repo, "post-save", "echo too late; exit 1")
    version = repo.save(folder, "bert:v1")
    assert repo.get("bert") == version
    assert "the hook post-save refused: too late" in caplog.text


def test_a_save_that_changes_nothing_is_no_event_afterwards(
    repo: mvs.Repository, folder: Path, tmp_path: Path, heard: Callable[[], list[dict[str, Any]]]
) -> None:
    repo.save(folder, "bert:v1")
    write(repo, "post-save", recording(tmp_path))
    repo.save(folder, "bert:v1")
    with pytest.raises(TagExists):
        repo.save(folder / "sub", "bert:v1")
    assert heard() == []


def test_what_nobody_allowed_does_not_run(
    repo: mvs.Repository, folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It may have come with a git repository that somebody cloned to look at."""
    path = write(repo, "pre-save", f"touch {tmp_path}/ran; exit 1", allow=False)
    repo.save(folder, "bert:v1")
    assert not (tmp_path / "ran").exists()
    assert f"'{path}' was not run" in caplog.text
    assert "mvs hook allow pre-save" in caplog.text
    with pytest.raises(InvalidInput):
        repo.call_hooks("pre-save", "bert:v1")


def test_one_that_changed_must_be_allowed_again(
    repo: mvs.Repository, folder: Path, tmp_path: Path, heard: Callable[[], list[dict[str, Any]]]
) -> None:
    """A pull must not change what runs."""
    good = recording(tmp_path)
    write(repo, "post-save", good)
    repo.save(folder, "bert:v1")
    write(repo, "post-save", f"{good}; touch {tmp_path}/ran", allow=False)
    repo.save(folder, "bert:v2")
    assert len(heard()) == 1
    assert not (tmp_path / "ran").exists()
    assert [hook.state for hook in repo.hooks()] == ["not allowed"]
    write(repo, "post-save", good, allow=False)
    repo.save(folder, "bert:v3")
    assert len(heard()) == 2


def test_what_is_allowed_in_one_folder_is_not_in_another(repo: mvs.Repository, folder: Path, tmp_path: Path) -> None:
    path = write(repo, "pre-save", "exit 1")
    other = mvs.init(tmp_path / "other")
    shutil.copytree(path.parent, other.root / "hooks")
    other.save(folder, "bert:v1")
    shutil.copy(path, repo.root / "hooks" / "pre-delete")
    assert [hook.state for hook in repo.hooks()] == ["allowed", "not allowed"]


def test_nothing_in_a_repository_can_say_that_it_is_allowed(repo: mvs.Repository, folder: Path, tmp_path: Path) -> None:
    """What git brings lies in the work tree; what is allowed lies with the user."""
    write(repo, "pre-save", "exit 1")
    (allowed,) = (tmp_path / "config").rglob("allowed-hooks/*")
    assert not allowed.is_relative_to(repo.root.parent)
    assert allowed.parent.stat().st_mode & 0o777 == 0o700
    # The name alone is no permission either.
    allowed.write_text("#!/bin/sh\ntouch /tmp/never\n")
    repo.save(folder, "bert:v1")
    assert [hook.state for hook in repo.hooks()] == ["not allowed"]


def test_a_clone_by_git_brings_no_hook_that_runs(repo: mvs.Repository, folder: Path, tmp_path: Path) -> None:
    write(repo, "post-save", f"touch {tmp_path}/ran")
    for words in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "all"]):
        names = ["-c", "user.name=a", "-c", "user.email=a@b"]
        subprocess.run(["git", *names, *words], cwd=repo.root.parent, check=True)
    subprocess.run(["git", "clone", "-q", repo.root.parent, tmp_path / "clone"], check=True)
    assert (tmp_path / "clone/.mvs/hooks/post-save").exists()
    mvs.init(tmp_path / "clone").save(folder, "bert:v1")
    assert not (tmp_path / "ran").exists()


def test_denied_is_not_run(repo: mvs.Repository, folder: Path) -> None:
    write(repo, "pre-save", "exit 1")
    assert [hook.state for hook in repo.deny_hooks("pre-save")] == ["not allowed"]
    repo.save(folder, "bert:v1")


@pytest.fixture
def holders(tmp_path: Path) -> Iterator[Callable[[], None]]:
    """Return when nobody is left who has `pipe` open for writing."""
    os.mkfifo(tmp_path / "pipe")
    end = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)

    def wait() -> None:
        os.set_blocking(end, True)
        assert os.read(end, 1) == b""

    yield wait
    os.close(end)


def test_a_hook_that_takes_too_long_is_stopped_with_all_it_started(
    repo: mvs.Repository, folder: Path, tmp_path: Path, holders: Callable[[], None]
) -> None:
    (repo.root / "config.toml").write_text('[hooks]\ntimeout = "0.2s"\n')
    slow = mvs.open(repo.root.parent)
    write(slow, "pre-save", f"exec 3> {tmp_path}/pipe; sleep 1000 & wait")
    with pytest.raises(HookRefused, match=r"longer than 0\.2 s"):
        slow.save(folder, "bert:v1")
    holders()


def test_a_hook_may_use_mvs_and_calls_no_hook(
    repo: mvs.Repository, folder: Path, tmp_path: Path, heard: Callable[[], list[dict[str, Any]]]
) -> None:
    """An evaluation that saves what it found would start the next evaluation."""
    script = f"{recording(tmp_path)}; {sys.executable} -m mvs save {folder}/config.json other:v1"
    write(repo, "post-save", script)
    repo.save(folder, "bert:v1")
    assert repo.get("other:v1")
    assert len(heard()) == 1


def test_what_it_says_and_does_not_read_harms_nobody(repo: mvs.Repository, folder: Path) -> None:
    write(repo, "pre-save", "exec < /dev/null; head -c 10000000 /dev/zero; exit 1")
    many = {f"key-{number}": "x" * 1000 for number in range(500)}
    with pytest.raises(HookRefused) as caught:
        repo.save(folder, "bert:v1", metadata=many)
    assert len(caught.value.message) < 10_000


def test_what_cannot_be_run_refuses(repo: mvs.Repository, folder: Path) -> None:
    path = write(repo, "pre-save", "")
    path.write_bytes(b"\x00\x01\x02")
    repo.allow_hooks()
    with pytest.raises(HookRefused, match="cannot be run"):
        repo.save(folder, "bert:v1")
    path.chmod(0o644)
    assert [hook.state for hook in repo.hooks()] == ["not executable"]
    repo.save(folder, "bert:v1")


def test_ctrl_c_ends_the_hook_too(
    repo: mvs.Repository, folder: Path, tmp_path: Path, holders: Callable[[], None]
) -> None:
    write(repo, "pre-save", f"exec 3> {tmp_path}/pipe; kill -INT $PPID; sleep 1000 & wait")
    command = [sys.executable, "-m", "mvs", "save", str(folder), "bert:v1"]
    done = subprocess.run(command, cwd=repo.root.parent, stderr=subprocess.DEVNULL, check=False)
    assert done.returncode == 130
    assert repo.list() == []
    holders()


def test_functions_of_installed_packages_are_hooks(
    repo: mvs.Repository, folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """They need no permission: whoever installed them runs their code anyway."""

    def refusing(facts: dict[str, Any]) -> None:
        if facts["labels"].get("stage") == "production":
            raise ValueError("not from here")

    point = EntryPoint("pre-save", "policy:check", events.GROUP)
    monkeypatch.setattr(EntryPoint, "load", lambda self: refusing)
    monkeypatch.setattr(events, "_points", lambda event: (point,) if event == "pre-save" else ())
    repo.save(folder, "bert:v1")
    with pytest.raises(HookRefused, match=r"policy:check.*not from here"):
        repo.save(folder, "bert:v2", labels={"stage": "production"})
    assert [hook.to_dict() for hook in repo.hooks()] == [
        {"event": "pre-save", "kind": "entry point", "source": "policy:check", "state": "allowed"}
    ]


def test_an_installed_package_is_found(
    repo: mvs.Repository, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = tmp_path / "site"
    (site / "our_policy-1.0.dist-info").mkdir(parents=True)
    (site / "our_policy-1.0.dist-info" / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: our-policy\nVersion: 1.0\n"
    )
    (site / "our_policy-1.0.dist-info" / "entry_points.txt").write_text("[mvs.hooks]\npre-save = our_policy:check\n")
    (site / "our_policy.py").write_text("def check(facts):\n    raise ValueError(facts['name'])\n")
    monkeypatch.syspath_prepend(str(site))
    with pytest.raises(HookRefused, match=r"our_policy:check\) refused: bert"):
        repo.save(folder, "bert:v1")
    monkeypatch.undo()
    events._are_there.cache_clear()


def test_the_command_line_lists_allows_tries_and_denies(
    cli: Callable[..., Result], repo: mvs.Repository, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    repo.save(folder, "bert:v1")
    write(repo, "pre-push", 'echo "$MVS_HOOK"; cat; exit 3', allow=False)
    assert "not allowed" in cli("hook", "list").stdout
    cli("hook", "run", "pre-push", "bert", code=10)
    cli("hook", "allow", "no-such", code=10)
    (told,) = json.loads(cli("hook", "allow", "--json").stdout)
    assert (told["event"], told["state"]) == ("pre-push", "allowed")
    refused = cli("hook", "run", "pre-push", "bert", "--remote", "prod", code=37)
    assert "pre-push" in refused.stderr
    assert '"remote": "prod"' in refused.stderr
    assert "not allowed" in cli("hook", "deny").stdout


@pytest.mark.parametrize("event", events.EVENTS)
def test_a_trial_tells_what_the_event_does(
    event: str, repo: mvs.Repository, folder: Path, tmp_path: Path, heard: Callable[[], list[dict[str, Any]]]
) -> None:
    repo.save(folder, "bert:v1")
    write(repo, event, recording(tmp_path))
    repo.call_hooks(event, "bert")
    keys = {
        "pre-save": {"path", "files", "name", "version", "labels", "metadata", "parents", "message"},
        "post-save": {"version"},
        "pre-delete": {"versions"},
        "post-delete": {"versions"},
        "pre-push": {"remote", "versions"},
        "post-push": {"remote", "versions"},
        "post-alias": {"alias", "tag", "id"},
        "post-gc": {"freed", "versions", "objects", "packs"},
    }
    assert set(heard()[0]) == {"event", "repository", *keys[event]}


def test_the_example_tells_a_url(
    repo: mvs.Repository, folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    page = (Path(__file__).parent.parent / "docs" / "hooks.md").read_text(encoding="utf-8")
    script = re.search(r"^# notify\.py\n(.*?)^```$", page, re.M | re.S)
    assert script
    told = []

    class Listener(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            told.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing."""

    write(repo, "post-save", "")
    (repo.root / "hooks" / "post-save").write_text(f"#!{sys.executable}\n{script[1]}")
    repo.allow_hooks()
    with HTTPServer(("127.0.0.1", 0), Listener) as server:
        threading.Thread(target=server.handle_request).start()
        monkeypatch.setenv("NOTIFY_URL", f"http://127.0.0.1:{server.server_port}/")
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        version = repo.save(folder, "bert:v1")
    assert told == [{"text": f"saved {version.tag}"}]
