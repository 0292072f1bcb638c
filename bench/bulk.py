"""Saving and checking out many bytes, against `cp` and BLAKE3, as a command and in process."""

import os
from contextlib import ExitStack
from pathlib import Path
from time import perf_counter

import mvs
from bench.measure import Bound, Meter, Run, section
from bench.place import Place, command, copy, copy_durably, hash_command, hash_tree, peak, remove, sync_tree
from mvs.ops.saving import context

_COPY = Bound(1.3)
_LINKS = Bound(50, "ms")
_MEMORY = Bound(200, "MiB")


def run(place: Place, meter: Meter) -> None:
    for label, data in place.shapes().items():
        section(f"Bytes {label}")
        _first_save(place, data, meter)
        _move(place, data, meter)
        folder = place.work / "stored"
        place.repository("stored").save(data, "bench:v1")
        _save_again(folder, data, meter)
        _checkout(place, folder, data, meter)
        if label == "in 64 files":
            _links(place, folder, meter)
        _memory(place, folder, data, meter)
        remove(folder)


def _first_save(place: Place, data: Path, meter: Meter) -> None:
    folder, copied = place.work / "fresh", place.work / "copy"

    def prepare() -> None:
        place.repository("fresh")

    theirs = Run(lambda: copy_durably(data, copied), clean=lambda: remove(copied))
    ours = Run(lambda: _command(folder, "save", str(data), "bench"), prepare, lambda: remove(folder))
    inside = Run(lambda: _save(folder, data), prepare, lambda: remove(folder))
    meter.compare(
        theirs,
        [
            ("mvs save : cp -r + fsync", ours, _COPY),
            ("repo.save() : cp -r + fsync", inside, _COPY),
        ],
    )


def _move(place: Place, data: Path, meter: Meter) -> None:
    """Everything starts with files just written, which the disk does not have yet."""
    folder, written = place.work / "fresh", place.work / "written"
    stack = ExitStack()

    def write() -> None:
        copy(data, written)

    def prepare() -> None:
        place.repository("fresh")
        write()

    def draft() -> None:
        draft = stack.enter_context(place.repository("fresh").create("bench"))
        copy(data, draft.path / "files")

    def clean() -> None:
        remove(folder)
        remove(written)

    def hash_and_sync() -> None:
        hash_tree(written)
        sync_tree(written)

    def hash_and_sync_command() -> None:
        hash_command(written)
        sync_tree(written)

    created = Run(stack.close, draft, clean)
    inside = Run(lambda: _save(folder, written, move=True), prepare, clean)
    ours = Run(lambda: _command(folder, "save", "--move", str(written), "bench"), prepare, clean)
    meter.compare(
        Run(hash_and_sync, write, clean),
        [
            ("create(), end of writing to saved : BLAKE3 + fsync", created, _COPY),
            ("repo.save(move=True) : BLAKE3 + fsync", inside, _COPY),
        ],
    )
    theirs = Run(hash_and_sync_command, write, clean)
    meter.compare(theirs, [("mvs save --move : command BLAKE3 + fsync", ours, _COPY)])


def _save_again(folder: Path, data: Path, meter: Meter) -> None:
    inside, ours = Run(lambda: _save(folder, data)), Run(lambda: _command(folder, "save", str(data), "bench"))
    meter.compare(Run(lambda: hash_tree(data)), [("repo.save() of known content : BLAKE3", inside, _COPY)])
    theirs = Run(lambda: hash_command(data))
    meter.compare(theirs, [("mvs save of known content : command BLAKE3", ours, _COPY)])
    if not os.path.exists("/proc/self/io"):
        print("(bytes written are not counted on this system)")
        return
    beyond = [float(_bytes_beyond(folder, data)) for _ in range(meter.rounds)]
    meter.absolute("bytes written beside manifest, refs and journal", beyond, Bound(0, "B"))


def _bytes_beyond(folder: Path, data: Path) -> int:
    """Return how many bytes a save of known content writes that are not manifest, refs or journal."""
    store = folder / ".mvs"
    journal = store / "journal" / "bench" / "@events"
    repo = mvs.open(folder)
    start = _written()
    # What git prints about the working directory counts as well, and is no part of the store.
    context.gather("", {}, os.environ)
    before, events = _written(), journal.stat().st_size
    version = repo.save(data, "bench")
    written = _written() - before - (before - start)
    manifest = store / "objects" / version.id[:2] / version.id[2:]
    refs = store / "refs" / "tags" / "bench"
    return written - (
        manifest.stat().st_size
        + (refs / f"@{version.version}").stat().st_size
        + (refs / "@latest").stat().st_size
        + (journal.stat().st_size - events)
    )


def _written() -> int:
    """Return the bytes this process has written to anything, files removed since included."""
    counts = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
    return int(counts["wchar"])


def _checkout(place: Place, folder: Path, data: Path, meter: Meter) -> None:
    out = place.work / "out"

    def clean() -> None:
        remove(out)

    repo = mvs.open(folder)
    meter.compare(
        Run(lambda: copy(data, out), clean=clean),
        [
            (
                "mvs checkout : cp -r",
                Run(lambda: _command(folder, "checkout", "bench:v1", str(out)), clean=clean),
                _COPY,
            ),
            ("repo.checkout() : cp -r", Run(lambda: _none(repo.checkout("bench:v1", out)), clean=clean), _COPY),
        ],
    )


def _links(place: Place, folder: Path, meter: Meter) -> None:
    out = place.work / "linked"
    views: list[float] = []
    again: list[float] = []
    links: list[float] = []
    for _ in range(3 * meter.rounds):
        remove(folder / ".mvs" / "cache" / "views")
        remove(out)
        repo = mvs.open(folder)
        os.sync()
        started = perf_counter()
        path = repo.get("bench:v1").path
        viewed = perf_counter()
        assert path == repo.get("bench:v1").path
        seen = perf_counter()
        repo.checkout("bench:v1", out, link=True)
        linked = perf_counter()
        views.append(1000 * (viewed - started))
        again.append(1000 * (seen - viewed))
        links.append(1000 * (linked - seen))
    meter.absolute("repo.get().path, the first time", views, _LINKS)
    meter.absolute("repo.get().path, again", again, _LINKS)
    meter.absolute("repo.checkout(link=True)", links, _LINKS)
    remove(out)


def _memory(place: Place, folder: Path, data: Path, meter: Meter) -> None:
    place.repository("fresh")
    out = place.work / "out"
    for what, where, arguments in [
        ("mvs save", place.work / "fresh", ["save", str(data), "bench:v1"]),
        ("mvs save of known content", folder, ["save", str(data), "bench"]),
        ("mvs checkout", folder, ["checkout", "bench:v1", str(out)]),
    ]:
        meter.absolute(f"peak memory of {what}", [peak(where, *arguments)], _MEMORY)
    remove(place.work / "fresh")
    remove(out)


def _command(folder: Path, *arguments: str) -> None:
    command(folder, *arguments)


def _save(folder: Path, data: Path, *, move: bool = False) -> None:
    mvs.open(folder).save(data, "bench", move=move)


def _none(_: object) -> None:
    pass
