"""Aliases and notes move whole or not at all: killed, refused by the disk, or moved by two at once."""

import contextlib
import errno
import itertools
import shutil
import signal
from collections.abc import Callable
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest

import mvs
from mvs.errors import AliasMoved, AliasNotFound, MvsError
from mvs.repository.workspace import write_setting
from tests.test_concurrency import FORKS, PATIENCE, in_processes
from tests.test_faults import MEANING, Fault
from tests.test_kill import run_and_die

ROUNDS = 20


@pytest.fixture(autouse=True)
def _importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """A child imports this module by its name."""
    monkeypatch.syspath_prepend(Path(__file__).parents[3])


def prepare(root: Path) -> mvs.Repository:
    """Make a store of three versions of bert, of which prod points at the second and was at the first."""
    root.mkdir(exist_ok=True)
    write_setting(mvs.init(root / "repo").root, "store.durable", "false")
    repo = mvs.open(root / "repo")
    for number in (1, 2, 3):
        (root / "weights").write_text(str(number))
        repo.save(root / "weights", f"bert:v{number}")
    repo.alias("bert@prod", "bert:v1")
    repo.alias("bert@prod", "bert:v2")
    repo.label("bert:v2", {"stage": "staging"})
    return repo


# Each changes what is said of versions; `State` is what that is.
State = tuple[str | None, str | None, str | None]


def make(root: Path, _: str) -> None:
    mvs.open(root / "repo").alias("bert@new", "bert:v3")


def move(root: Path, _: str) -> None:
    mvs.open(root / "repo").alias("bert@prod", "bert:v3")


def remove(root: Path, _: str) -> None:
    with contextlib.suppress(AliasNotFound):
        mvs.open(root / "repo").delete_alias("bert@prod")


def back(root: Path, _: str) -> None:
    with contextlib.suppress(AliasMoved):
        mvs.open(root / "repo").rollback_alias("bert@prod", expect="bert:v2")


def label(root: Path, _: str) -> None:
    mvs.open(root / "repo").label("bert:v2", {"stage": "production"})


def unlabel(root: Path, _: str) -> None:
    mvs.open(root / "repo").label("bert:v2", {"stage": ""})


Operation = Callable[[Path, str], None]
AFTER: dict[Operation, State] = {
    make: ("v2", "v3", "staging"),
    move: ("v3", None, "staging"),
    remove: (None, None, "staging"),
    back: ("v1", None, "staging"),
    label: ("v2", None, "production"),
    unlabel: ("v2", None, None),
}


def state(repo: mvs.Repository) -> State:
    there = {alias.alias: alias.tag.version for alias in repo.aliases()}
    return there.get("bert@prod"), there.get("bert@new"), repo.get("bert:v2").notes.get("stage")


def check(root: Path, operation: Operation) -> State:
    """Check that all is whole and told as it is; return the state."""
    repo = mvs.open(root / "repo")
    found = state(repo)
    assert found in (("v2", None, "staging"), AFTER[operation])
    report = repo.fsck(level="full")
    assert report.ok, report.findings
    # The newest move that is told leads to where the alias is, and each began where the one before it ended.
    told = [
        (change.before and change.before.version, change.new and change.tag.version) for change in repo.log("bert@prod")
    ]
    assert told[-2:] == [("v1", "v2"), (None, "v1")]
    assert told[0][1] == found[0]
    assert [before for before, _ in told[:-1]] == [after for _, after in told[1:]]
    labelled = [change.labels["stage"] for change in repo.log("bert") if change.event == "label"]
    assert labelled[-1] == (None, "staging")
    assert labelled[0][1] == found[2]
    return found


@pytest.mark.parametrize("operation", AFTER, ids=lambda operation: operation.__name__)
def test_killed_at_any_call_all_is_as_it_was_or_as_it_will_be(tmp_path: Path, operation: Operation) -> None:
    """A deployment that reads an alias must never find it gone or torn."""
    prepare(tmp_path / "template")
    for moment in itertools.count(1):
        root = tmp_path / "root"
        shutil.copytree(tmp_path / "template", root)
        process = FORKS.Process(target=run_and_die, args=(operation, root, "", moment))
        process.start()
        process.join()
        if process.exitcode == 0:
            break
        assert process.exitcode == -signal.SIGKILL
        check(root, operation)
        operation(root, "")
        assert check(root, operation) == AFTER[operation]
        shutil.rmtree(root)
    assert moment > 1


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO], ids=["full", "io"])
@pytest.mark.parametrize("operation", AFTER, ids=lambda operation: operation.__name__)
def test_refused_at_any_call_all_is_as_it_was_or_as_it_will_be(
    tmp_path: Path, operation: Operation, number: int
) -> None:
    prepare(tmp_path / "template")
    for moment in itertools.count(1):
        root = tmp_path / "root"
        shutil.copytree(tmp_path / "template", root)
        fault = Fault(moment, number, lasting=False)
        failure: MvsError | None = None
        with fault.active():
            try:
                operation(root, "")
            except MvsError as error:
                failure = error
        found = check(root, operation)
        if failure is None:
            assert found == AFTER[operation]
        else:
            assert isinstance(failure, MEANING[number])
            operation(root, "")
            assert check(root, operation) == AFTER[operation]
        shutil.rmtree(root)
        if not fault.refused:
            break
    assert moment > 1


def compete(root: Path, version: str, start: Barrier, results: "Queue[tuple[int, str, str]]") -> None:
    repo = mvs.open(root / "repo")
    for number in range(ROUNDS):
        start.wait(PATIENCE)
        try:
            repo.alias(f"bert@a{number}", f"bert:{version}", expect="bert:v1")
            results.put((number, version, "moved"))
        except AliasMoved:
            results.put((number, version, "refused"))


def test_of_two_that_move_one_alias_at_once_one_wins_and_the_other_is_told(tmp_path: Path) -> None:
    """Who believes his model is deployed, and is wrong, finds out from his users."""
    repo = prepare(tmp_path)
    for number in range(ROUNDS):
        repo.alias(f"bert@a{number}", "bert:v1")
    results: Queue[tuple[int, str, str]] = FORKS.Queue()
    start = FORKS.Barrier(2)
    in_processes(*((compete, (tmp_path, version, start, results)) for version in ("v2", "v3")))
    told = [results.get(timeout=PATIENCE) for _ in range(2 * ROUNDS)]
    for number in range(ROUNDS):
        outcome = {result: version for at, version, result in told if at == number}
        assert outcome.keys() == {"moved", "refused"}
        assert repo.get(f"bert@a{number}").version == outcome["moved"]
        assert len(repo.log(f"bert@a{number}")) == 2


def note(root: Path, key: str, start: Barrier) -> None:
    repo = mvs.open(root / "repo")
    start.wait(PATIENCE)
    for number in range(ROUNDS):
        repo.label("bert:v1", {key: str(number)})


def test_of_labels_that_are_set_at_once_none_is_lost(tmp_path: Path) -> None:
    repo = prepare(tmp_path)
    start = FORKS.Barrier(3)
    in_processes(*((note, (tmp_path, key, start)) for key in ("a", "b", "c")))
    assert repo.get("bert:v1").notes == dict.fromkeys("abc", str(ROUNDS - 1))
    assert sum(change.event == "label" for change in repo.log("bert")) == 3 * ROUNDS + 1
