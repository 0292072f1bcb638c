"""The tensors of a version: what there are, and each as an array, loose or packed, without its file."""

import logging
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import pytest
from blake3 import blake3

import mvs
from mvs.codecs.cut.dtypes import BITS
from mvs.errors import Corrupt, CorruptObject, InvalidInput, MissingObject, TensorNotInVersion
from mvs.store.packs.files import Pack
from mvs.store.packs.reading import Packed
from tests.codecs.cut import samples
from tests.ops.dedup import families

# What numpy has of its own.
PLAIN = {
    "F64": "<f8",
    "F32": "<f4",
    "F16": "<f2",
    "I64": "<i8",
    "I32": "<i4",
    "I16": "<i2",
    "I8": "i1",
    "U64": "<u8",
    "U32": "<u4",
    "U16": "<u2",
    "U8": "u1",
    "BOOL": "?",
    "C64": "<c8",
    "C128": "<c16",
}
FOREIGN = {
    "BF16": ("bfloat16", "<u2"),
    "F8_E4M3": ("float8_e4m3fn", "u1"),
    "F8_E5M2": ("float8_e5m2", "u1"),
    "F8_E8M0": ("float8_e8m0fnu", "u1"),
    "F8_E4M3FNUZ": ("float8_e4m3fnuz", "u1"),
    "F8_E5M2FNUZ": ("float8_e5m2fnuz", "u1"),
}
SHAPE = (16, 300)


class Saved(NamedTuple):
    repo: mvs.Repository
    version: mvs.Version


def content(dtype: str, shape: tuple[int, ...] = SHAPE) -> bytes:
    rng = np.random.default_rng(len(dtype))
    size = int(np.prod(shape)) * BITS[dtype] // 8
    return (rng.integers(0, 2, size) if dtype == "BOOL" else rng.integers(0, 256, size)).astype(np.uint8).tobytes()


def file_of(*tensors: tuple[str, str, tuple[int, ...]]) -> bytes:
    """A safetensors file of (name, type, shape)."""
    header, data = {}, b""
    for name, dtype, shape in tensors:
        part = content(dtype, shape)
        header[name] = samples.entry(dtype, shape, len(data), len(data) + len(part))
        data += part
    return samples.safetensors(header, data)


def q8_0(seed: int = 0) -> bytes:
    return np.random.default_rng(seed).integers(0, 256, 34 * 8, np.uint8).tobytes()


@pytest.fixture
def repo(tmp_path: Path) -> mvs.Repository:
    return families.quick(tmp_path / "repo")


@pytest.fixture(params=["loose", "packed"])
def saved(request: pytest.FixtureRequest, repo: mvs.Repository, tmp_path: Path) -> Saved:
    """A version with a tensor of every type, a scalar, a quantised one and two of one name."""
    folder = tmp_path / "out"
    folder.mkdir()
    every = [(dtype.lower(), dtype, SHAPE) for dtype in (*PLAIN, *FOREIGN)]
    (folder / "every.safetensors").write_bytes(file_of(*every, ("scalar", "I64", ()), ("both", "F32", (3, 5))))
    (folder / "other.safetensors").write_bytes(file_of(("both", "F32", (5, 3))))
    (folder / "small.gguf").write_bytes(samples.gguf([("quant", (32, 8), 8, 0)], q8_0()))
    (folder / "config.json").write_text("{}")
    version = repo.save(folder, "bert:v1")
    if request.param == "packed":
        repo.dedup("bert")
        assert not object_of(repo, version, "every.safetensors").exists()
    # What another process finds.
    fresh = mvs.open(repo.root.parent)
    return Saved(fresh, fresh.get("bert:v1"))


def object_of(repo: mvs.Repository, version: mvs.Version, path: str) -> Path:
    blob = next(file.blob for file in version.files if file.path == path)
    return repo.store / "objects" / blob[:2] / blob[2:]


def test_every_tensor_is_listed_with_the_id_of_its_bytes(saved: Saved) -> None:
    told = {(t.file, t.name): t for t in saved.version.tensors()}
    assert len(told) == len(saved.version.tensors()) == len(PLAIN) + len(FOREIGN) + 4
    for dtype in (*PLAIN, *FOREIGN):
        data = content(dtype)
        found = told["every.safetensors", dtype.lower()]
        assert found[2:] == (dtype, SHAPE, len(data), blake3(data).hexdigest())
    assert told["every.safetensors", "scalar"].shape == ()
    assert told["small.gguf", "quant"][2:] == ("Q8_0", (8, 32), 34 * 8, blake3(q8_0()).hexdigest())
    # Asked again, it comes from the cache.
    assert saved.version.tensors() == list(told.values())


def test_a_tensor_is_an_array_of_its_type_and_shape(saved: Saved) -> None:
    for dtype, name in PLAIN.items():
        array = saved.version.tensor(dtype.lower())
        assert (array.dtype, array.shape) == (np.dtype(name), SHAPE)
        assert array.tobytes() == content(dtype)


def test_a_tensor_is_the_callers_own(saved: Saved) -> None:
    """What one training changes in place must not reach another reader."""
    saved.version.tensor("f32")[:] = 0
    assert saved.version.tensor("f32").tobytes() == content("F32")


def test_types_of_ml_dtypes_are_those_where_it_is_installed(saved: Saved, monkeypatch: pytest.MonkeyPatch) -> None:
    # Types of the same widths that no other way leads to.
    stand_ins = {name: np.dtype([("bits", bits)]) for name, bits in FOREIGN.values()}
    monkeypatch.setitem(sys.modules, "ml_dtypes", SimpleNamespace(**stand_ins))
    for dtype, (name, _) in FOREIGN.items():
        array = saved.version.tensor(dtype.lower())
        assert (array.dtype, array.shape, array.tobytes()) == (stand_ins[name], SHAPE, content(dtype))


@pytest.mark.parametrize("module", [None, ModuleType("ml_dtypes")], ids=["not installed", "of an older release"])
def test_types_of_ml_dtypes_are_integers_and_a_notice_without_it(
    saved: Saved, module: ModuleType | None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "ml_dtypes", module)
    for dtype, (_, bits) in FOREIGN.items():
        with caplog.at_level(logging.WARNING, "mvs"):
            array = saved.version.tensor(dtype.lower())
        assert (array.dtype, array.shape, array.tobytes()) == (np.dtype(bits), SHAPE, content(dtype))
        assert f"'{dtype.lower()}' is {dtype}" in caplog.text


def test_a_scalar_has_no_dimensions(saved: Saved) -> None:
    array = saved.version.tensor("scalar")
    assert (array.dtype, array.shape, array.tobytes()) == (np.dtype("<i8"), (), content("I64", ()))


def test_what_is_quantised_is_its_bytes(saved: Saved) -> None:
    array = saved.version.tensor("quant")
    assert (array.dtype, array.shape, array.tobytes()) == (np.dtype("u1"), (34 * 8,), q8_0())


def test_a_name_that_no_tensor_has_is_told(saved: Saved) -> None:
    with pytest.raises(TensorNotInVersion, match=r"no tensor 'nothing' in 'bert:v1'") as caught:
        saved.version.tensor("nothing")
    assert caught.value.hint == "mvs show --tensors bert:v1"
    with pytest.raises(TensorNotInVersion):
        saved.version.tensor("scalar", file="other.safetensors")


def test_a_name_in_two_files_needs_the_file(saved: Saved) -> None:
    """Either might be the one that the caller does not mean."""
    with pytest.raises(InvalidInput, match=r"'every\.safetensors', 'other\.safetensors'"):
        saved.version.tensor("both")
    assert saved.version.tensor("both", file="every.safetensors").shape == (3, 5)
    assert saved.version.tensor("both", file="other.safetensors").shape == (5, 3)


class Torch:
    """As much of torch as is asked for: a type is its name, a tensor says how it was made."""

    def __init__(self, *names: str) -> None:
        for name in ("uint8", *names):
            setattr(self, name, name)

    class Tensor(NamedTuple):
        data: bytes
        dtype: str
        shape: tuple[int, ...] | None = None

        def numel(self) -> int:
            return len(self.data) // {"int64": 8}.get(self.dtype, 1)

        def reshape(self, shape: tuple[int, ...]) -> "Torch.Tensor":
            return self._replace(shape=shape)

    def frombuffer(self, data: bytearray, *, dtype: str) -> Tensor:
        assert type(data) is bytearray
        return self.Tensor(bytes(data), dtype)


TORCH = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "I64": "int64",
    "I32": "int32",
    "I16": "int16",
    "I8": "int8",
    "BOOL": "bool",
    "C64": "complex64",
    "C128": "complex128",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E5M2": "float8_e5m2",
}


def test_all_tensors_are_torch_tensors_by_name(saved: Saved, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", Torch(*TORCH.values()))
    state = saved.version.load_torch()
    assert state.keys() == {t.name for t in saved.version.tensors()}
    for dtype, name in TORCH.items():
        assert state[dtype.lower()] == (content(dtype), name, SHAPE)
    assert state["scalar"] == (content("I64", ()), "int64", ())
    assert state["quant"] == (q8_0(), "uint8", None)
    # This torch is too old for it.
    assert state["u16"] == (content("U16"), "uint8", None)


def test_without_torch_loading_says_so(saved: Saved, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ImportError):
        saved.version.load_torch()


READERS: dict[str, Callable[[mvs.Version], Any]] = {
    "tensors": lambda version: version.tensors(),
    "tensor": lambda version: version.tensor("f32"),
    "load_torch": lambda version: version.load_torch(),
}


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize("saved", ["loose"], indirect=True)
def test_a_file_that_was_cut_off_is_damaged(saved: Saved, read: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Zeros in place of what is gone would be weights like any other."""
    monkeypatch.setitem(sys.modules, "torch", Torch(*TORCH.values()))
    saved.version.tensor("scalar")
    path = object_of(saved.repo, saved.version, "every.safetensors")
    path.chmod(0o644)
    os.truncate(path, 50_000)
    with pytest.raises(CorruptObject, match=r"version 'bert:v1' is damaged in the store"):
        READERS[read](saved.version)


@pytest.mark.parametrize("read", READERS)
def test_a_file_that_is_gone_is_told(saved: Saved, read: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", Torch(*TORCH.values()))
    shutil.rmtree(saved.repo.store / "cache", ignore_errors=True)
    shutil.rmtree(saved.repo.store / "packs", ignore_errors=True)
    for file in saved.version.files:
        object_of(saved.repo, saved.version, file.path).unlink(missing_ok=True)
    with pytest.raises(MissingObject, match=r"version 'bert:v1' is damaged in the store"):
        READERS[read](saved.version)


@pytest.fixture
def packed(repo: mvs.Repository, tmp_path: Path) -> mvs.Version:
    """A packed version whose larger tensor consists of two blocks."""
    path = tmp_path / "model.safetensors"
    path.write_bytes(file_of(("large", "F32", (1100, 1000)), ("small", "F32", (200, 100))))
    version = repo.save(path, "bert:v1")
    repo.dedup("bert")
    return version


def test_ids_in_packs_are_known_without_reading_tensors(
    packed: mvs.Version, repo: mvs.Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a store of terabytes, each must be answered at once."""

    def read(*_: Any) -> Any:
        raise AssertionError("a record was read")

    version = mvs.open(repo.root.parent).get(packed)
    monkeypatch.setattr(Pack, "stored", read)
    told = {t.name: t.id for t in version.tensors()}
    assert told["small"] == blake3(content("F32", (200, 100))).hexdigest()
    assert told["large"] == blake3(content("F32", (1100, 1000))).hexdigest()


def test_a_tensor_is_read_without_the_others(
    packed: mvs.Version, repo: mvs.Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = mvs.open(repo.root.parent).get(packed)
    read: list[int] = []
    whole = Packed._whole

    def watched(self: Packed, record: Any, *rest: Any, **options: Any) -> Any:
        read.append(record.size)
        return whole(self, record, *rest, **options)

    version.tensors()
    monkeypatch.setattr(Packed, "_whole", watched)
    assert version.tensor("small").tobytes() == content("F32", (200, 100))
    assert sum(read) == 200 * 100 * 4


def test_a_damaged_block_in_a_pack_is_told(packed: mvs.Version, repo: mvs.Repository) -> None:
    (path,) = (repo.store / "packs").rglob("*.pack")
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.chmod(0o644)
    path.write_bytes(data)
    with pytest.raises(Corrupt, match=r"version 'bert:v1' is damaged in the store"):
        mvs.open(repo.root.parent).get(packed).tensor("large")


def test_files_without_tensors_have_none(repo: mvs.Repository, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    version = repo.save(folder, "bert:v1")
    monkeypatch.setitem(sys.modules, "torch", Torch())
    assert version.tensors() == []
    assert version.load_torch() == {}


def test_an_array_in_a_file_of_its_own_has_no_name(repo: mvs.Repository, tmp_path: Path) -> None:
    np.save(tmp_path / "array.npy", np.arange(6, dtype="<i4").reshape(2, 3))
    version = repo.save(tmp_path / "array.npy", "array:v1")
    (told,) = version.tensors()
    assert (told.file, told.name, told.dtype, told.shape) == ("array.npy", "", "I32", (2, 3))
    assert version.tensor("").tolist() == [[0, 1, 2], [3, 4, 5]]
