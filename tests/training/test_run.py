"""A command that runs under mvs: its output saved, its signals and its end passed on, its secrets kept out."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import mvs
from mvs.errors import InvalidInput, SourceNotFound
from mvs.handles.training import command

SHELL = ["sh", "-c"]


def run(repo: mvs.Repository, out: Path, script: str, **options: Any) -> int:
    return repo.run([*SHELL, script], watch=out, name="net", settle=0.05, **options)


def test_checkpoints_know_the_command_they_come_from(repo: mvs.Repository, tmp_path: Path) -> None:
    out = tmp_path / "out"
    code = run(repo, out, f"mkdir -p {out}/checkpoint-7; echo w > {out}/checkpoint-7/w; exit 3")
    assert code == 3
    (version,) = repo.list("net")
    told = version.context["command"]
    assert told["words"][:2] == SHELL
    assert told["exit_code"] == 3
    assert told["seconds"] >= 0
    assert version.metadata == {"step": 7}
    assert version.labels == {"kind": "checkpoint", "exit-code": "3"}
    assert version.context["run"]


def test_what_was_saved_before_the_end_gets_the_exit_code_as_a_label(repo: mvs.Repository, tmp_path: Path) -> None:
    out, go = tmp_path / "out", tmp_path / "go"
    script = f"""mkdir -p {out}/checkpoint-1; echo w > {out}/checkpoint-1/w
                 until [ -e {go} ]; do sleep 0.02; done"""
    run(repo, out, script, saved=lambda _: go.touch())
    (version,) = repo.list("net")
    assert "exit_code" not in version.context["command"]
    assert version.labels["exit-code"] == "0"


def test_without_checkpoints_all_of_the_folder_is_saved(repo: mvs.Repository, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert run(repo, out, f"mkdir {out}; echo w > {out}/model.bin") == 0
    assert repo.get("net").read_bytes("model.bin") == b"w\n"
    assert repo.get("net").context["command"]["exit_code"] == 0
    assert run(repo, out, "true") == 0
    assert run(repo, out, f"echo half > {out}/model.bin; exit 1") == 1
    assert len(repo.list("net")) == 1


def test_what_was_there_before_is_not_of_this_run(repo: mvs.Repository, tmp_path: Path) -> None:
    out = tmp_path / "out"
    (out / "checkpoint-1").mkdir(parents=True)
    (out / "checkpoint-1" / "w").write_text("old")
    run(repo, out, f"mkdir {out}/checkpoint-2; echo w > {out}/checkpoint-2/w")
    assert [version.metadata["step"] for version in repo.list("net")] == [2]


def test_a_command_that_is_not_there_is_an_error(repo: mvs.Repository, tmp_path: Path) -> None:
    with pytest.raises(SourceNotFound, match="no-such-program"):
        repo.run(["no-such-program"], watch=tmp_path / "out", name="net")
    with pytest.raises(InvalidInput):
        repo.run([], watch=tmp_path / "out", name="net")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1])
def test_signals_and_the_exit_code_are_passed_on(number: signal.Signals, repo: mvs.Repository, tmp_path: Path) -> None:
    out = tmp_path / "out"
    child = (
        "import signal, sys, os\n"
        f"signal.signal({int(number)}, lambda *_: (os.makedirs('{out}/checkpoint-9'), "
        f"open('{out}/checkpoint-9/w', 'w').close(), sys.exit(42)))\n"
        "print('ready', flush=True)\n"
        "while True: signal.pause()\n"
    )
    words = [sys.executable, "-m", "mvs", "-C", str(repo.root.parent), "run", "--watch", str(out), "--name", "net"]
    with subprocess.Popen(
        [*words, "--", sys.executable, "-c", child], stdout=subprocess.PIPE, start_new_session=True
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == b"ready\n"
        process.send_signal(number)
        assert process.wait() == 42
    assert repo.get("net").metadata["step"] == 9


def test_a_command_that_a_signal_ends_is_told_as_a_shell_does(repo: mvs.Repository, tmp_path: Path) -> None:
    assert run(repo, tmp_path / "out", "kill -9 $$") == 128 + 9


def test_the_signals_are_our_own_again(repo: mvs.Repository, tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGTERM)
    run(repo, tmp_path / "out", "true")
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        (["train", "--lr", "1e-3"], ["train", "--lr", "1e-3"]),
        (["train", "--api-key", "abc", "x"], ["train", "--api-key", "***", "x"]),
        (["train", "--hf_token=abc"], ["train", "--hf_token=***"]),
        (["env", "WANDB_API_KEY=abc", "train"], ["env", "WANDB_API_KEY=***", "train"]),
        (["train", "--db", "postgres://me:pw@host/x"], ["train", "--db", "postgres://***@host/x"]),
        (["train", "--password=a=b"], ["train", "--password=***"]),
        (["train", os.fsdecode(b"\xff")], ["train", "?"]),
    ],
)
def test_secrets_are_not_kept(words: list[str], shown: list[str]) -> None:
    assert command.told(words) == shown


def test_only_chosen_variables_are_kept() -> None:
    environment = {"HOME": "/home/me", "RANK": "0", "SEED": "7", "HF_TOKEN": "abc", "PROXY": "http://me:pw@proxy"}
    assert command.chosen(environment, ["SEED", "PROXY", "MISSING"]) == {
        "RANK": "0",
        "SEED": "7",
        "PROXY": "http://***@proxy",
    }
    with pytest.raises(InvalidInput, match="HF_TOKEN"):
        command.chosen(environment, ["HF_TOKEN"])
