"""How fast: dedup and checkout of a large fine-tune, one tensor of it, and the memory they take."""

from collections.abc import Sequence
from functools import partial
from itertools import cycle, islice
from pathlib import Path
from statistics import median
from time import perf_counter

import numpy as np

from bench.dedup import large, reference
from bench.dedup.large import Pair
from bench.dedup.ours import Store, can, can_read_tensors, tag
from bench.dedup.peers import Peer
from bench.dedup.reading import Family
from bench.dedup.reference import Block
from bench.dedup.sizes import blocks
from bench.measure import Bound, Meter, Run, section, show, show_seconds
from bench.place import Place, clone, hash_tree, peak, remove

_THREADS = 2
_ENCODE = Bound(0.4, "x", ">=")
_DECODE = Bound(0.5, "x", ">=")
_SAVE = Bound(1, "x", ">=")
_RESTORE = Bound(2, "x", ">=")
_TENSOR = Bound(100, "ms")
_MEMORY = Bound(1024, "MiB")

# What is measured against: its name, how it runs, and how many times faster mvs is to be.
_Other = tuple[str, Run, Bound | None]


def run(place: Place, meter: Meter, family: Family, peers: Sequence[Peer]) -> None:
    pair = large.pair(family, place.work / "large", place.size)
    for model in (pair.base, pair.tuned):
        hash_tree(model.path)
    size = pair.tuned.size
    section(f"A fine-tune of {size:,} bytes whose base is there : TensorX in memory, restic, borg")
    given = _in_memory(blocks(pair.tuned, pair.base))
    store = _prepared(place, pair) if can("dedup") else None
    _race(
        meter,
        size,
        [*_encoding(given), *(_saving(peer, pair) for peer in peers)],
        _dedup(store, pair) if store else None,
    )
    if store:
        store.dedup(pair.tuned, jobs=_THREADS)
        store.check(pair.tuned, place.work / "out")
    restoring = [_restoring(peer, pair, place.work / "out") for peer in peers]
    checkout = _checkout(store, pair, place.work / "out") if store else None
    _race(meter, size, [*_decoding(given), *restoring], checkout)
    for peer in peers:
        remove(peer.folder)
    if store:
        del given
        _one_tensor(store, pair, meter)
        _memory(place, store, pair, meter)


def _race(meter: Meter, size: int, others: Sequence[_Other], ours: tuple[str, Run] | None) -> None:
    *theirs, last = meter.seconds([*(run for _, run, _ in others), *([ours[1]] if ours else [])])
    if not ours:
        theirs.append(last)
    for (name, _, _), took in zip(others, theirs, strict=True):
        show(f"{name}, MB/s", "", f"{median(took):.3f} s", [size / seconds / 1e6 for seconds in took], None)
    if ours:
        show(f"{ours[0]}, MB/s", f"{median(last):.3f} s", "", [size / seconds / 1e6 for seconds in last], None)
        for (name, _, bound), took in zip(others, theirs, strict=True):
            if bound:
                show_seconds(f"{ours[0]} : {name}", last, took, bound)


def _in_memory(given: Sequence[Block]) -> list[Block]:
    """Return the blocks with their bytes read, so that no file is part of what the reference takes."""
    return [
        Block(np.array(block.data), None if block.base is None else np.array(block.base), block.width)
        for block in given
    ]


def _encoding(given: Sequence[Block]) -> list[_Other]:
    def work(threads: int) -> None:
        reference.encode(given, threads)

    return [
        ("TensorX encode, 1 thread", Run(partial(work, 1)), None),
        (f"TensorX encode, {_THREADS} threads", Run(partial(work, _THREADS)), _ENCODE),
    ]


def _decoding(given: Sequence[Block]) -> list[_Other]:
    encoded = reference.encode(given, _THREADS)
    for block, made in zip(given, encoded, strict=True):
        assert np.array_equal(reference.decoded(made), block.data)
    return [
        ("TensorX decode, 1 thread", Run(partial(reference.decode, encoded, 1)), None),
        (f"TensorX decode, {_THREADS} threads", Run(partial(reference.decode, encoded, _THREADS)), _DECODE),
    ]


def _saving(peer: Peer, pair: Pair) -> _Other:
    """Each round starts with a repository that has the base only."""
    saved = peer.folder.with_name(f"{peer.folder.name}-saved")
    peer.create()
    peer.save(pair.base.path)
    peer.folder.rename(saved)
    return peer.saving, Run(partial(peer.save, pair.tuned.path), partial(clone, saved, peer.folder)), _SAVE


def _restoring(peer: Peer, pair: Pair, out: Path) -> _Other:
    """What the last round saved is restored."""
    remove(peer.folder.with_name(f"{peer.folder.name}-saved"))
    return peer.restoring, Run(partial(peer.restore, pair.tuned.path, out), clean=partial(remove, out)), _RESTORE


def _prepared(place: Place, pair: Pair) -> Store:
    """Return a store with the base packed, and the fine-tune as it was saved."""
    store = Store.new(place, "large-store", [pair.base])
    store.save(pair.tuned)
    return store


def _dedup(store: Store, pair: Pair) -> tuple[str, Run]:
    copy = Store(store.folder.with_name("round"))
    work = partial(copy.dedup, pair.tuned, jobs=_THREADS)
    return "mvs dedup", Run(work, partial(clone, store.folder, copy.folder), partial(remove, copy.folder))


def _checkout(store: Store, pair: Pair, out: Path) -> tuple[str, Run]:
    return "mvs checkout", Run(partial(store.checkout, pair.tuned, out), clean=partial(remove, out))


def _one_tensor(store: Store, pair: Pair, meter: Meter) -> None:
    """Read another one each time, so that nothing is left over from the last."""
    if not can_read_tensors():
        print("(this mvs has no way to read one tensor yet)")
        return
    largest = max(len(tensor.data) for tensor in pair.tuned.tensors)
    chosen = [tensor for tensor in pair.tuned.tensors if len(tensor.data) == largest]
    took = []
    for tensor in islice(cycle(chosen), 3 * meter.rounds):
        started = perf_counter()
        read = store.tensor(pair.tuned, tensor.name)
        took.append(1000 * (perf_counter() - started))
        assert read == tensor.data.tobytes()
    meter.absolute(f"one tensor of {largest:,} bytes, in process", took, _TENSOR)


def _memory(place: Place, store: Store, pair: Pair, meter: Meter) -> None:
    """What is in the store is the same as before; it is made again because it has to be loose once more."""
    out, name = place.work / "out", tag(pair.tuned)
    remove(store.folder)
    fresh = _prepared(place, pair)
    meter.absolute("peak memory of mvs dedup", [peak(fresh.folder, "dedup", name, "-j", str(_THREADS))], _MEMORY)
    meter.absolute("peak memory of mvs checkout", [peak(fresh.folder, "checkout", name, str(out))], _MEMORY)
    remove(out)
    remove(fresh.folder)
