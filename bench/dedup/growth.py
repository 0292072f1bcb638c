"""What a dedup costs as the store grows: the same fine-tune beside 100 and beside 1,000 packed models.

The other models are made up: manifests, refs, packs with an index of as many records as a model has tensors and
blocks, and sketches, all with random ids and numbers; only the weights that nobody reads are missing.
"""

import shutil
from functools import partial
from pathlib import Path

import msgpack
import numpy as np

import mvs
from bench.dedup import large
from bench.dedup.ours import Store, tag
from bench.dedup.reading import Family
from bench.measure import Bound, Meter, Run, section, show, show_seconds
from bench.place import Place, clone, remove
from mvs.format.ids import ObjectId
from mvs.format.lines.refs import Ref
from mvs.format.manifest import FileEntry, Manifest, Tree
from mvs.format.names import Tag
from mvs.format.pack import Span

_FEW, _MANY = 100, 1000
_BOUND = Bound(1.3, "x")
_TENSORS = 300
_BLOCKS = 1000
_TENSOR = 819200
_SIZE = _TENSORS * _TENSOR


def run(place: Place, meter: Meter, family: Family) -> None:
    pair = large.pair(family, place.work / "grown", place.size)
    section(f"A fine-tune of {pair.tuned.size:,} bytes beside {_FEW:,} and beside {_MANY:,} other packed models")
    stores = []
    for count in (_FEW, _MANY):
        store = Store.new(place, f"grown-{count}", [pair.base])
        _fill(store.folder, count)
        store.save(pair.tuned)
        stores.append(store)
    few, many = meter.seconds([_dedup(store, tag(pair.tuned)) for store in stores])
    for name, took in ((_FEW, few), (_MANY, many)):
        show(f"mvs dedup beside {name:,}, MB/s", "", "", [pair.tuned.size / seconds / 1e6 for seconds in took], None)
    show_seconds(f"mvs dedup beside {_MANY:,} : beside {_FEW:,}", many, few, _BOUND)
    for store in stores:
        remove(store.folder)


def _dedup(store: Store, spec: str) -> Run:
    copy = Store(store.folder.with_name("round"))

    def work() -> None:
        mvs.open(copy.folder).dedup(spec, jobs=2)

    return Run(work, partial(clone, store.folder, copy.folder), partial(remove, copy.folder))


def _fill(folder: Path, count: int) -> None:
    """Make up so many packed models."""
    store = mvs.open(folder)._store
    random = np.random.default_rng(count)
    scratch = folder / "scratch"
    scratch.mkdir()
    for number in range(count):
        blob = ObjectId(random.bytes(32))
        writer = store.pack_writer(str(scratch / str(number)))
        parts = []
        for _ in range(_BLOCKS):
            id = ObjectId(random.bytes(32))
            writer.add(id, _SIZE // _BLOCKS, "zstd", b"0")
            parts.append(Span(id, 0, _SIZE // _BLOCKS))
        writer.add(blob, _SIZE, "concat", b"", tuple(parts))
        name = writer.finish()
        tree = Tree.of([FileEntry("model.safetensors", _SIZE, blob, False)], [])
        tagged = Tag(f"other-{number}", "v1")
        manifest = Manifest(
            tag=tagged,
            created=number + 1,
            tree=tree,
            tree_id=tree.id,
            labels={},
            metadata={},
            context={},
            parents=(),
            message="",
        )
        with store.exclusive():
            store.publisher().publish(writer, name)
            with store.adding() as adding:
                id = adding.put(manifest.encode())
                adding.sync()
            store.refs.prepare(Ref(tagged, id, number + 1), newest=True).commit()
        _sketch(folder, blob, random)
    shutil.rmtree(scratch)
    # A store that grew had its lookup tables made with each pack, not all at once.
    mvs.open(folder)._store.objects.packs.find(blob)


def _sketch(folder: Path, blob: ObjectId, random: np.random.Generator) -> None:
    """Write a sketch like that of a model with the names of Llama, of tensors that are like no others."""
    text = str(blob)
    path = folder / ".mvs" / "cache" / "sketches" / text[:2] / text[2:]
    path.parent.mkdir(parents=True, exist_ok=True)
    tensors = [
        (f"model.layers.{number // 9}.part{number % 9}.weight", "BF16", (640, 640), _TENSOR * number, _TENSOR)
        for number in range(_TENSORS)
    ]
    samples = [random.bytes(128) for _ in tensors]
    path.write_bytes(msgpack.packb([2, tensors, samples]))
