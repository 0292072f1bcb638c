"""Families of small models, seeded, and what tests of dedup ask of a store."""

import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import mvs
from mvs.format.ids import ObjectId
from mvs.format.pack import Record, Span
from mvs.repository.workspace import write_setting
from mvs.store.store import Store
from tests.codecs.cut import samples

Bits = NDArray[np.uint16]
Weights = dict[str, Bits]

# About 800 KB: large enough that indexes and headers weigh little, small enough to pack in a blink.
SHAPES = {
    "embed.weight": (1024, 128),
    "layers.0.attn.weight": (128, 128),
    "layers.0.mlp.weight": (512, 128),
    "layers.1.attn.weight": (128, 128),
    "layers.1.mlp.weight": (512, 128),
    "norm.weight": (128,),
}
_GGUF_F16, _GGUF_Q8_0 = 1, 8


def bf16(values: NDArray[np.float32]) -> Bits:
    """The bits of numbers rounded to bf16, to even."""
    bits = values.view(np.uint32)
    rounded: Bits = ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)
    return rounded


def floats(bits: Bits) -> NDArray[np.float32]:
    return (bits.astype(np.uint32) << 16).view(np.float32)


def model(seed: int = 0, shapes: Mapping[str, tuple[int, ...]] = SHAPES) -> Weights:
    rng = np.random.default_rng(seed)
    return {name: bf16(rng.normal(0, 0.02, shape).astype(np.float32)) for name, shape in shapes.items()}


def tuned(base: Weights, seed: int = 1, *, step: float = 1e-4, only: str = "") -> Weights:
    """What a short training makes of a model: every weight of the tensors named so moves a little."""
    rng = np.random.default_rng(seed)
    return {
        name: bf16(floats(bits) + rng.normal(0, step, bits.shape).astype(np.float32)) if only in name else bits
        for name, bits in base.items()
    }


def mean(one: Weights, other: Weights) -> Weights:
    return {name: bf16((floats(one[name]) + floats(other[name])) / np.float32(2)) for name in one}


def safetensors(weights: Mapping[str, NDArray[Any]], *, prefix: str = "") -> bytes:
    header = {}
    at = 0
    for name, bits in weights.items():
        dtype = {"<u2": "BF16", "<f2": "F16", "<f4": "F32"}[bits.dtype.newbyteorder("<").str]
        header[prefix + name] = samples.entry(dtype, bits.shape, at, at + bits.nbytes)
        at += bits.nbytes
    return samples.safetensors(header, b"".join(bits.tobytes() for bits in weights.values()))


def halves(weights: Weights) -> dict[str, NDArray[np.float16]]:
    return {name: floats(bits).astype(np.float16) for name, bits in weights.items()}


def gguf_f16(weights: Weights) -> bytes:
    return _gguf({name: (_GGUF_F16, half.shape, half.tobytes()) for name, half in halves(weights).items()})


def gguf_q8(weights: Weights) -> bytes:
    """The model as llama.cpp quantises it (ggml-quants.c, quantize_row_q8_0_ref)."""
    return _gguf({name: (_GGUF_Q8_0, bits.shape, q8(floats(bits))) for name, bits in weights.items()})


def q8(values: NDArray[np.float32]) -> bytes:
    runs = values.reshape(-1, 32)
    scale = np.abs(runs).max(axis=1, keepdims=True) / np.float32(127)
    inverse = np.divide(np.float32(1), scale, out=np.zeros_like(scale), where=scale != 0)
    scaled = runs * inverse
    # roundf: halves go away from zero.
    rounded = np.trunc(scaled + np.copysign(np.float32(0.5), scaled)).astype(np.int8)
    return np.concatenate([scale.astype(np.float16).view(np.int8), rounded], axis=1).tobytes()


def _gguf(tensors: Mapping[str, tuple[int, tuple[int, ...], bytes]]) -> bytes:
    infos, data = [], b""
    for name, (kind, shape, raw) in tensors.items():
        infos.append((name, shape[::-1], kind, len(data)))
        data += raw.ljust(-(-len(raw) // 32) * 32, b"\0")
    return samples.gguf(infos, data)


def npz(weights: Mapping[str, NDArray[Any]]) -> bytes:
    return samples.npz(**weights)


def quick(root: Path) -> mvs.Repository:
    """A repository that does not wait for the disk."""
    write_setting(mvs.init(root).root, "store.durable", "false")
    return mvs.open(root)


def save(repo: mvs.Repository, tag: str, files: Mapping[str, bytes] | bytes, **options: Any) -> mvs.Version:
    """Save files of these contents; bytes alone are those of one file."""
    source = repo.store.parent / "source"
    shutil.rmtree(source, ignore_errors=True)
    for path, data in (files if isinstance(files, Mapping) else {"model.safetensors": files}).items():
        place = source / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data)
        if path.endswith(".sh"):
            place.chmod(0o755)
    version = repo.save(source, tag, **options)
    shutil.rmtree(source)
    return version


def pack_files(repo: mvs.Repository) -> list[Path]:
    return sorted((repo.store / "packs").rglob("*.pack"))


def pack_bytes(repo: mvs.Repository) -> int:
    return sum(path.stat().st_size for path in pack_files(repo))


def loose_files(repo: mvs.Repository) -> list[Path]:
    """The files of the blobs that are not packed; manifests are never."""
    manifests = {version.id for version in repo.list()}
    found = (path for path in (repo.store / "objects").rglob("*") if path.is_file())
    return [path for path in found if path.parent.name + path.name not in manifests]


def loose_path(repo: mvs.Repository, blob: str) -> Path:
    return repo.store / "objects" / blob[:2] / blob[2:]


def records(repo: mvs.Repository) -> Iterator[Record]:
    packs = Store(repo.store).objects.packs
    for name in packs.names():
        yield from packs.pack(name).index.records.values()


def check_graph(repo: mvs.Repository, most: int) -> None:
    """Check that no ref leads back to where it came from, and that depths are true and at most `most`."""
    told: dict[ObjectId, list[Record]] = {}
    for record in records(repo):
        told.setdefault(record.id, []).append(record)
    done: set[ObjectId] = set()
    for id, some in told.items():
        _check_circle(id, told, done, ())
        for record in some:
            below = [_depth(ref, told) for ref in record.refs]
            needed = max(below, default=0) + (record.encoding != "concat" and bool(below))
            assert needed <= record.depth <= most, f"{id} takes {needed} decodings"


def _check_circle(
    id: ObjectId, told: Mapping[ObjectId, list[Record]], done: set[ObjectId], above: tuple[ObjectId, ...]
) -> None:
    assert id not in above, f"{id} is made of itself"
    if id not in done:
        for record in _taken(id, told):
            for ref in record.refs:
                _check_circle(ref.id, told, done, (*above, id))
        done.add(id)


def _taken(id: ObjectId, told: Mapping[ObjectId, list[Record]]) -> list[Record]:
    """The records that a reader may take: those of the least depth, and where some have no refs, those."""
    found = told.get(id, [])
    least = min(((record.depth, bool(record.refs)) for record in found), default=None)
    return [record for record in found if (record.depth, bool(record.refs)) == least]


def _depth(span: Span, told: Mapping[ObjectId, list[Record]]) -> int:
    deepest = 0
    for record in _taken(span.id, told):
        if record.encoding != "concat":
            deepest = max(deepest, record.depth)
            continue
        at = 0
        for part in record.refs:
            first, last = max(span.offset, at), min(span.offset + span.length, at + part.length)
            if first < last:
                deepest = max(deepest, _depth(Span(part.id, part.offset + first - at, last - first), told))
            at += part.length
    return deepest


def check(repo: mvs.Repository, expected: Mapping[str, Mapping[str, bytes] | bytes]) -> None:
    """Check that versions hold what was saved, and that nothing is left over."""
    for tag, files in expected.items():
        wanted = dict(files) if isinstance(files, Mapping) else {"model.safetensors": files}
        version = mvs.open(repo.root).get(tag)
        assert {file.path: version.read_bytes(file.path) for file in version.files} == wanted, tag
    assert os.listdir(repo.store / "staging") == []


def as_files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def tags(versions: Iterable[mvs.Version]) -> list[str]:
    return [str(version.tag) for version in versions]
