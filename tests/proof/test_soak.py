"""Eight writers, four readers, gc, dedup and pushes on one store, killed and suspended: nothing saved is missing."""

import contextlib
import itertools
import os
import random
import signal
import threading
import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

import mvs
from mvs.errors import Corrupt, NotFound, StoreBusy
from tests.ops.dedup.families import as_files, quick
from tests.ops.gc.stores import CONTENTS, DELETED, Files, check_closed, check_tidy, small_packs
from tests.proof.scenes import check_whole, is_there, outlive_a_day, strangers
from tests.test_kill import FORKS

# Seconds between two blows at most, and without a word from anybody.
PAUSE = 0.1
PATIENCE = 60
# A writer deletes what it saved so many saves ago, so that there is always something to read, and to collect.
YOUNG = 3
WORDS = {**CONTENTS, **DELETED}
Tell = Callable[..., None]


@pytest.fixture(autouse=True)
def _importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """A child imports this module by its name."""
    monkeypatch.syspath_prepend(Path(__file__).parents[2])


def content(tag: str, word: str) -> Files:
    """The files of a version: what many have, one way or another, and a file of its own."""
    return {**WORDS[word], "own.txt": tag.encode() * 500}


def write(folder: Path, files: Files) -> Path:
    folder.mkdir(parents=True)
    for path, data in files.items():
        (folder / path).write_bytes(data)
    return folder


def writer(root: Path, name: str, tell: Tell) -> None:
    """Save, look at what was saved, delete, and restore, telling before and after what is done."""
    repo = mvs.open(root / "repo")
    saved: list[tuple[str, str]] = []
    for count in itertools.count():
        tag, word = f"{name.partition('.')[0]}:v{name.partition('.')[2]}.{count}", random.choice(sorted(WORDS))
        source = write(root / name / str(count), content(tag, word))
        tell(tag, "saving", word)
        repo.save(source, tag, move=count % 2 == 1, labels={"word": word})
        tell(tag, "saved", word)
        saved.append((tag, word))
        old, its = random.choice(saved[-YOUNG:])
        found = as_files(repo.checkout(old, root / name / f"out{count}"))
        assert found == content(old, its), f"'{old}' was checked out with other bytes"
        if count % 5 == 4:
            gone_by_rule = prune(repo, name.partition(".")[0], tell)
            saved = [(tag, word) for tag, word in saved if tag not in gone_by_rule]
        elif len(saved) > YOUNG:
            gone, its = saved.pop(0)
            tell(gone, "deleting", its)
            repo.delete(gone)
            tell(gone, "deleted", its)
            if count % 4 == 0:
                tell(gone, "restoring", its)
                try:
                    repo.restore(gone)
                except Corrupt:
                    tell(gone, "deleted", its)
                else:
                    tell(gone, "saved", its)


def prune(repo: mvs.Repository, name: str, tell: Tell) -> set[str]:
    """Prune what is old of a name, of earlier lives too; return what went."""
    plan = repo.plan_prune(name, keep_last=YOUNG)
    words = {str(ref.tag): repo.get(ref.tag).labels["word"] for ref in plan.doomed}
    for tag, word in words.items():
        tell(tag, "deleting", word)
    gone = {str(tag) for tag in repo.prune(plan=plan)}
    for tag in gone:
        tell(tag, "deleted", words[tag])
    return gone


def reader(root: Path, name: str, tell: Tell) -> None:
    """Read what there is, in every way: it is what was saved, or was deleted meanwhile, and that is said."""
    repo = mvs.open(root / "repo")
    for count in itertools.count():
        versions = repo.list()
        for version in random.sample(versions, min(4, len(versions))):
            expected = content(str(version.tag), version.labels["word"])
            try:
                if count % 2:
                    found = as_files(repo.checkout(version.tag, root / name / f"{count}-{version.tag}"))
                else:
                    found = {file.path: version.read_bytes(file.path) for file in version.files}
            except NotFound as error:
                told = f"{error}, but it was not"
                assert not repo._store.refs.exists(version.tag), told
                continue
            assert found == expected, f"'{version.tag}' has other bytes"
            tell("", "read", "")


def _breathe() -> None:
    """Leave the store to others for a moment: gc and dedup keep each other out."""
    threading.Event().wait(random.uniform(0, 0.3))


def collector(root: Path, name: str, tell: Tell) -> None:
    """Collect without end, and without a window."""
    repo = mvs.open(root / "repo")
    while True:
        with contextlib.suppress(StoreBusy):
            repo.gc(expire="now")
            tell("", "collected", "")
        _breathe()


def packer(root: Path, name: str, tell: Tell) -> None:
    """Pack some without end."""
    repo = mvs.open(root / "repo")
    with small_packs():
        while True:
            # Not all, so that some come to their end.
            chosen = [version.tag for version in repo.list()]
            with contextlib.suppress(StoreBusy, NotFound):
                repo.dedup(*random.sample(chosen, min(3, len(chosen))))
                tell("", "packed", "")
            _breathe()


def pusher(root: Path, name: str, tell: Tell) -> None:
    """Push some without end, and let the remote forget and collect some; what it has is what was saved."""
    repo = mvs.open(root / "repo")
    far = repo.remote("far")
    for count in itertools.count():
        chosen = [version.tag for version in repo.list()]
        with contextlib.suppress(StoreBusy, NotFound):
            repo.push(*random.sample(chosen, min(3, len(chosen))))
            tell("", "pushed", "")
        there = far.list()
        for version in random.sample(there, min(1, len(there))):
            found = {file.path: version.read_bytes(file.path) for file in version.files}
            assert found == content(str(version.tag), version.labels["word"]), f"'{version.tag}' has other bytes"
        if len(there) > 2 * YOUNG:
            far.delete(*(str(version.tag) for version in there[YOUNG:]))
        if count % 4 == 0:
            far.gc()
        _breathe()


Work = Callable[[Path, str, Tell], None]
CAST: dict[str, Work] = {
    **{f"w{number}": writer for number in range(8)},
    **{f"r{number}": reader for number in range(4)},
    "gc": collector,
    "dedup": packer,
    "push": pusher,
}


def live(work: Work, root: Path, name: str, telling: Connection) -> None:
    try:
        work(root, name, lambda *words: telling.send(words))
    except Exception:
        telling.send(("", "failed", traceback.format_exc()))
        raise


@dataclass
class Soak:
    """Processes at work on one store, and the last that each told of every version."""

    root: Path
    lives: dict[str, int] = field(default_factory=dict)
    running: dict[str, tuple[BaseProcess, Connection]] = field(default_factory=dict)
    words: dict[str, tuple[str, str]] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)

    def start(self, name: str) -> None:
        life = self.lives[name] = self.lives.get(name, -1) + 1
        told, telling = FORKS.Pipe(duplex=False)
        process = FORKS.Process(target=live, args=(CAST[name], self.root, f"{name}.{life}", telling))
        process.start()
        telling.close()
        self.running[name] = process, told

    def listen(self, seconds: float, among: Iterable[Connection]) -> None:
        """Note what is told, for some time."""
        for told in wait(list(among), timeout=seconds):
            assert isinstance(told, Connection)
            try:
                while told.poll(0):
                    tag, state, word = told.recv()
                    assert state != "failed", word
                    self.counts[state] = self.counts.get(state, 0) + 1
                    if tag:
                        self.words[tag] = state, word
            except EOFError:
                continue

    def kill(self, name: str) -> None:
        """Kill one, and note what it told before."""
        process, told = self.running.pop(name)
        process.kill()
        process.join()
        self.listen(0, [told])
        assert process.exitcode == -signal.SIGKILL
        told.close()

    def run(self, blows: int) -> None:
        suspended: list[str] = []
        try:
            for name in CAST:
                self.start(name)
            while not {"saved", "read"} <= self.counts.keys():
                # Until all is under way, which takes as long as it takes to import it.
                self.listen(PATIENCE, [told for _, told in self.running.values()])
            for _ in range(blows):
                self.listen(random.uniform(0, PAUSE), [told for _, told in self.running.values()])
                name = random.choice(list(CAST))
                if name in suspended:
                    suspended.remove(name)
                    os.kill(self.running[name][0].pid or 0, signal.SIGCONT)
                elif random.random() < 0.3:
                    self.kill(name)
                    self.start(name)
                else:
                    os.kill(self.running[name][0].pid or 0, signal.SIGSTOP)
                    suspended.append(name)
                while len(suspended) > 3:
                    os.kill(self.running[suspended.pop(0)][0].pid or 0, signal.SIGCONT)
            for name in list(self.running):
                self.kill(name)
        finally:
            for process, _ in self.running.values():
                process.kill()
                process.join()

    def check(self) -> None:
        """Check that all that was told is so."""
        repo = mvs.open(self.root / "repo")
        there: dict[str, Files] = {}
        for tag, (state, word) in self.words.items():
            if is_there(repo, tag):
                assert state != "deleted", f"'{tag}' is there, and was deleted"
                there[tag] = content(tag, word)
            else:
                assert state != "saved", f"'{tag}' was saved, and is missing"
        assert {str(version.tag) for version in repo.list()} == set(there)
        check_whole(repo, there)
        check_closed(repo)
        outlive_a_day(repo)
        repo.gc(expire="now")
        check_whole(repo, there)
        check_closed(repo)
        there |= self.restore_what_was_cut_off(repo)
        check_whole(repo, there)
        check_closed(repo)
        check_tidy(repo)
        assert strangers(repo) == []
        health = repo.remote("far").fsck(share=1)
        assert health.findings == (), health.findings

    def restore_what_was_cut_off(self, repo: mvs.Repository) -> dict[str, Files]:
        """Bring back what was cut off between event and ref: gc keeps it, whole, though nobody was promised it."""
        restored = {}
        for finding in repo.fsck().findings:
            for tag in map(str, finding.versions if finding.kind == "ref-missing" else ()):
                state, word = self.words[tag]
                assert state in {"saving", "restoring"}, f"'{tag}' was {state}"
                repo.restore(tag)
                restored[tag] = content(tag, word)
        return restored


def soak(root: Path, blows: int) -> Soak:
    quick(root / "repo").add_remote("far", str(root / "far"))
    soaked = Soak(root)
    soaked.run(blows)
    soaked.check()
    return soaked


def test_many_processes_killed_and_suspended_lose_nothing_that_was_saved(tmp_path: Path) -> None:
    """A suspended writer must not lose what a gc took meanwhile, and no reader may be given other bytes."""
    assert soak(tmp_path, blows=30).counts["saved"] > 0


@pytest.mark.deep
def test_many_processes_killed_and_suspended_for_minutes_lose_nothing_that_was_saved(tmp_path: Path) -> None:
    counts = soak(tmp_path, blows=1200).counts
    assert {"saved", "deleted", "read", "collected", "packed", "pushed"} <= counts.keys(), counts
