"""Pushing and pulling: against rclone on the same server, and what travels, in requests, bytes and memory.

The server is moto's, on this machine: it takes a good part of its two cores, from both sides alike.
"""

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import mvs
from bench.dedup import large
from bench.dedup.family import family
from bench.dedup.reading import family as read
from bench.measure import Bound, Meter, Run, section, show
from bench.place import Place, peak, remove
from mvs.backends.buckets import Address, Bucket, open_bucket
from mvs.backends.directory import Directory
from mvs.format.manifest import Manifest, Tree
from mvs.format.names import Tag
from mvs.format.remote import Sent
from mvs.store.remote.log import Log
from tests.remotes.servers import make_bucket, moto
from tests.store.remote.buckets import Counting

_AS_FAST = Bound(1.25)
_MEMORY = Bound(512, "MiB")
_JOBS = "8"
_LISTED = 1000
_SAVED = 10_000


def run(place: Place, meter: Meter) -> None:
    section("Remotes: requests")
    _listing(place, meter)
    _nothing_new(place, meter)
    if importlib.util.find_spec("moto") is None:
        section("Remotes: moto is not installed, so nothing is sent")
        return
    os.environ.update(AWS_ACCESS_KEY_ID="somebody", AWS_SECRET_ACCESS_KEY="secret", AWS_REGION="us-east-1")
    with moto(place.work / "moto.log") as server:
        section("Remotes: bytes")
        _new_data(place, meter, server)
        _fine_tune(place, meter, server)


def _listing(place: Place, meter: Meter) -> None:
    url = place.work / "listed"
    disk = Directory(str(place.work / "cache"), durable=False, temps="temps")
    log = Log(open_bucket(Address(str(url))), disk, "bench")
    log.begin(single_writer=False)
    tree = Tree((), ())
    for number in range(_LISTED):
        # An entry for each, as they come about over the years.
        manifest = Manifest(Tag.parse(f"bench:v{number}"), number + 1, tree, tree.id, {}, {}, {}, (), "").encode()
        log.commit(lambda state, data=manifest: state.next_entry(0, "bench", versions=(Sent(data, ()),)))  # type: ignore[misc]
    other = place.repository("theirs", durable=False)
    other.add_remote("origin", str(url))
    asked = _counted(lambda: other.remote().list())
    meter.absolute(f"list --remote, {_LISTED:,} versions, nothing known : requests", [asked], Bound(20, ""))
    for name in ("cache", "theirs", "listed"):
        remove(place.work / name)


def _nothing_new(place: Place, meter: Meter) -> None:
    repo = place.repository("ours", durable=False)
    repo.add_remote("origin", str(place.work / "many"))
    for number in range(_SAVED):
        repo.save(_file(place, str(number)), f"bench{number % 100}:v{number}")
    repo.push()
    asked = _counted(lambda: mvs.open(repo.root).push())
    meter.absolute(f"push of nothing new, {_SAVED:,} versions : requests", [asked], Bound(10, ""))
    folder = repo.root.parent
    start = Run(lambda: _mvs(folder, "--version"))
    one = Run(lambda: _mvs(folder, "push", "bench0:v0"))
    every = Run(lambda: _mvs(folder, "push", "--all"))
    meter.compare(
        start,
        [
            ("push of one version that is there : mvs --version", one, Bound(2)),
            (f"push --all, {_SAVED:,} versions that are there : mvs --version", every, None),
        ],
    )
    remove(folder)
    remove(place.work / "many")


def _new_data(place: Place, meter: Meter, server: str) -> None:
    data = place.shapes()["in 64 files"]
    ours = _Ours(place, server, data)
    rclone = shutil.which("rclone")
    if rclone is None:
        show("push and pull : rclone, which is not installed", "", "", [], None)
    else:
        theirs = _Rclone(place, server, data, rclone)
        meter.compare(theirs.up(), [(f"push -j {_JOBS} of new data : rclone copy", ours.push(), _AS_FAST)])
        meter.compare(theirs.down(), [(f"pull -j {_JOBS} of new data : rclone copy", ours.pull(), _AS_FAST)])
    ours.begin()
    meter.absolute(f"push -j {_JOBS}, memory", [peak(ours.folder, "push", "--all", "-j", _JOBS)], _MEMORY)
    ours.join()
    meter.absolute(f"pull -j {_JOBS}, memory", [peak(ours.other, "pull", "--all", "-j", _JOBS)], _MEMORY)
    ours.clean()


def _fine_tune(place: Place, meter: Meter, server: str) -> None:
    models = read(place.corpus if place.corpus else family(place.kept))
    pair = large.pair(models, place.work / "large", min(place.size, 256 << 20))
    alone = place.repository("alone", durable=False)
    ours = _Ours(place, server, pair.base.path)
    ours.begin()
    repo = mvs.open(ours.folder)
    repo.push()
    repo.save(pair.tuned.path, "bench:tuned")
    sent = repo.push("bench:tuned").sent
    alone.save(pair.base.path, "bench:base")
    alone.dedup()
    before = _packs(alone)
    alone.save(pair.tuned.path, "bench:tuned")
    alone.dedup()
    figure = sent / (_packs(alone) - before)
    meter.absolute("push of a fine-tune : its deduped size, bytes", [figure], Bound(1.05))
    meter.absolute("push of a fine-tune : its size, bytes", [sent / pair.tuned.size], Bound(1.0))
    ours.clean()
    for name in ("alone", "large"):
        remove(place.work / name)


class _Ours:
    """A repository with data to push, and one to pull it into; each time to another bucket."""

    def __init__(self, place: Place, server: str, data: Path) -> None:
        self._place = place
        self._server = server
        self._data = data
        self.folder = place.work / "ours"
        self.other = place.work / "theirs"
        self._url = ""

    def begin(self) -> None:
        name = f"bench-{os.urandom(6).hex()}"
        make_bucket(self._server, name)
        self._url = f"s3://{name}/models"
        repo = self._place.repository("ours")
        repo.add_remote("origin", self._url, endpoint=self._server)
        repo.save(self._data, "bench:base")

    def join(self) -> None:
        self._place.repository("theirs").add_remote("origin", self._url, endpoint=self._server)

    def push(self) -> Run:
        return Run(lambda: _mvs(self.folder, "push", "--all", "-j", _JOBS), self.begin)

    def pull(self) -> Run:
        return Run(lambda: _mvs(self.other, "pull", "--all", "-j", _JOBS), self.join)

    def clean(self) -> None:
        remove(self.folder)
        remove(self.other)


class _Rclone:
    """The same files with `rclone copy`, as many at once."""

    def __init__(self, place: Place, server: str, data: Path, program: str) -> None:
        self._data = data
        self._target = place.work / "rclone"
        self._server = server
        self._program = program
        self._bucket = ""

    def up(self) -> Run:
        return Run(lambda: self._copy(str(self._data), f"far:{self._bucket}"), self._make)

    def down(self) -> Run:
        return Run(lambda: self._copy(f"far:{self._bucket}", str(self._target)), lambda: remove(self._target))

    def _make(self) -> None:
        self._bucket = f"bench-{os.urandom(6).hex()}"
        make_bucket(self._server, self._bucket)

    def _copy(self, source: str, target: str) -> None:
        configuration = {
            "TYPE": "s3",
            "PROVIDER": "Other",
            "ENDPOINT": self._server,
            "ENV_AUTH": "true",
            "NO_CHECK_BUCKET": "true",
        }
        environment = {**os.environ, **{f"RCLONE_CONFIG_FAR_{key}": value for key, value in configuration.items()}}
        # Its library cannot do both, a bundle of certificates and its own connections.
        environment.pop("AWS_CA_BUNDLE", None)
        words = [self._program, "copy", source, target, "--transfers", _JOBS, "--config", os.devnull]
        subprocess.run(words, check=True, env=environment)
        # What mvs pulled is on the disk when it says so.
        os.sync()


def _mvs(folder: Path, *words: str) -> None:
    subprocess.run([sys.executable, "-m", "mvs", "-C", str(folder), *words], check=True, stdout=subprocess.DEVNULL)


def _file(place: Place, text: str) -> Path:
    folder = place.work / "small"
    folder.mkdir(exist_ok=True)
    (folder / "weights").write_text(text)
    return folder


def _packs(repo: mvs.Repository) -> int:
    return sum(path.stat().st_size for path in repo.store.rglob("*.pack"))


def _counted(work: Callable[[], object]) -> int:
    """Return how many requests are sent to remotes."""
    made: list[Counting] = []
    real = open_bucket

    def opened(address: Address) -> Bucket:
        made.append(Counting(real(address)))
        return made[-1]

    with mock.patch("mvs.store.remote.remote.open_bucket", opened):
        work()
    return sum(len(bucket.asked) for bucket in made)
