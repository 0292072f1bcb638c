"""States in memory become safetensors that any reader reads."""

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

import mvs
from mvs.codecs.cut import safetensors
from mvs.codecs.cut.dtypes import NUMPY
from mvs.codecs.cut.source import Tensor
from mvs.errors import InvalidInput, InvalidPath, TagExists
from mvs.handles.training.state import State, state_of

KINDS = ["f8", "f4", "f2", "i8", "i4", "i2", "i1", "u8", "u4", "u2", "u1", "?", "c8", ">f4", ">i8"]
NAMES = st.text(st.characters(codec="utf-8", exclude_characters="."), min_size=1, max_size=8)
ARRAYS = st.sampled_from(KINDS).flatmap(
    lambda kind: arrays.arrays(kind, arrays.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4))
)


def written(state: State) -> bytes:
    return state.header + b"".join(array.data.tobytes() for array in state.arrays)


@dataclass(frozen=True)
class InMemory:
    """A file in memory."""

    data: bytes

    @property
    def size(self) -> int:
        return len(self.data)

    def read(self, offset: int, count: int) -> bytes:
        return self.data[offset : offset + count]


def parsed(data: bytes) -> dict[str, tuple[Tensor, bytes]]:
    return {t.name: (t, data[t.offset : t.offset + t.size]) for t in safetensors.tensors(InMemory(data))}


@settings(deadline=None)
@given(st.dictionaries(NAMES, ARRAYS, min_size=1, max_size=6))
def test_what_was_written_is_read_back_bit_for_bit(state: dict[str, np.ndarray[Any, Any]]) -> None:
    data = written(state_of(state))
    found = parsed(data)
    assert found.keys() == state.keys()
    for name, array in state.items():
        tensor, raw = found[name]
        little = array.astype(array.dtype.newbyteorder("<"))
        assert (tensor.shape, raw) == (array.shape, little.tobytes())
        assert np.dtype(NUMPY[tensor.dtype]) == little.dtype
        # Mapped into memory, every number lies where the processor wants it.
        assert tensor.offset % array.dtype.itemsize == 0 or not array.size


@settings(deadline=None)
@given(st.dictionaries(NAMES, ARRAYS, min_size=1, max_size=6))
def test_the_reference_implementation_reads_the_same(state: dict[str, np.ndarray[Any, Any]]) -> None:
    reader = pytest.importorskip("safetensors.numpy")
    found = reader.load(written(state_of(state)))
    assert found.keys() == state.keys()
    for name, array in state.items():
        assert found[name].shape == array.shape
        assert found[name].tobytes() == array.astype(array.dtype.newbyteorder("<")).tobytes()


def test_a_state_is_saved_and_read_like_any_version(repo: mvs.Repository) -> None:
    state = {
        "model": {"weight": np.arange(12, dtype="f4").reshape(3, 4).T, "bias": np.float16(2)},
        "optimizer": {
            "state": {0: {"exp_avg": np.ones(3)}, 1: {"exp_avg": np.zeros(2)}},
            "param_groups": [{"lr": 0.1, "params": [0, 1]}],
        },
        "rng": [np.array([1, 2], "u1"), None],
        "epoch": 3,
        "best": math.inf,
    }
    version = repo.save_state(state, "net:v1", metadata={"loss": 0.5})
    assert version.metadata == {"loss": 0.5}
    assert [file.path for file in version.files] == ["model.json", "model.safetensors"]
    assert sorted(tensor.name for tensor in version.tensors()) == [
        "model.bias",
        "model.weight",
        "optimizer.state.0.exp_avg",
        "optimizer.state.1.exp_avg",
        "rng.0",
    ]
    assert np.array_equal(version.tensor("model.weight"), np.arange(12, dtype="f4").reshape(3, 4).T)
    assert version.tensor("model.bias").shape == ()
    assert json.loads(version.read_bytes("model.json")) == {
        "optimizer.param_groups": [{"lr": 0.1, "params": [0, 1]}],
        "rng.1": None,
        "epoch": 3,
        "best": math.inf,
    }


def test_a_state_of_arrays_alone_is_one_file(repo: mvs.Repository) -> None:
    version = repo.save_state({"w": np.ones(3)}, "net:v1", file="weights/net.safetensors")
    assert [file.path for file in version.files] == ["weights/net.safetensors"]


def test_a_draft_takes_states_beside_files(repo: mvs.Repository) -> None:
    with repo.create("net") as draft:
        draft.save_state({"w": np.ones(3)})
        draft.save_state({"m": np.ones(3), "step": 1}, file="optimizer.safetensors")
        (draft.path / "config.json").write_text("{}")
    assert [file.path for file in draft.version.files] == [
        "config.json",
        "model.safetensors",
        "optimizer.json",
        "optimizer.safetensors",
    ]


def test_the_same_state_is_the_same_bytes(repo: mvs.Repository) -> None:
    """Or each retry would be refused as other content under its tag."""
    a, b = np.ones(3), np.zeros(2, "i2")
    first = repo.save_state({"a": a, "b": b}, "net:v1")
    assert repo.save_state({"b": b, "a": a}, "net:v2").tree == first.tree


class Ours:
    """A class of the user."""


def nested() -> dict[str, Any]:
    state: dict[str, Any] = {"w": np.ones(1)}
    state["self"] = state
    return state


@pytest.mark.parametrize(
    ("state", "named"),
    [
        ({"w": np.ones(1), "model": {"thing": Ours()}}, "'model.thing'"),
        ({"w": np.ones(1), "x": [1, {"y": {2}}]}, "'x.1.y'"),
        ({"w": np.ones(1), "raw": b"bytes"}, "'raw'"),
        ({"w": np.array([Ours()])}, "'w'"),
        ({"w": np.array(["text"])}, "'w'"),
        ({"w": np.ones(1, "c16")}, "'w'.*complex128"),
        ({"a.b": np.ones(1), "a": {"b": np.ones(1)}}, "'a.b'"),
        ({"a": {1: np.ones(1), "1": np.ones(1)}}, "'a.1'"),
        ({"__metadata__": np.ones(1)}, "__metadata__"),
        ({"a": {None: np.ones(1)}}, "'a'"),
        ({"\ud800": np.ones(1)}, "Unicode"),
        ({"": np.ones(1)}, "''"),
        ({"epoch": 3}, "no array"),
        ({}, "no array"),
        ([np.ones(1)], "list"),
        (nested(), "nested"),
    ],
)
def test_what_cannot_be_written_is_named(repo: mvs.Repository, state: Any, named: str) -> None:
    with pytest.raises(InvalidInput, match=named):
        repo.save_state(state, "net")
    assert repo.list() == []


@pytest.mark.parametrize(
    ("file", "error"), [("../x.safetensors", InvalidPath), ("/x.safetensors", InvalidPath), ("x.bin", InvalidInput)]
)
def test_a_state_stays_in_its_folder(repo: mvs.Repository, file: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        repo.save_state({"w": np.ones(1)}, "net", file=file)


def test_a_taken_tag_is_refused_before_anything_is_written(repo: mvs.Repository) -> None:
    repo.save_state({"w": np.ones(1)}, "net:v1")
    with pytest.raises(TagExists):
        repo.save_state({"w": np.zeros(1)}, "net:v1")


def test_brain_floats_keep_their_bits(repo: mvs.Repository) -> None:
    ml_dtypes = pytest.importorskip("ml_dtypes")
    array = np.arange(5).astype(ml_dtypes.bfloat16)
    version = repo.save_state({"w": array, "x": array.astype(ml_dtypes.float8_e4m3fn)}, "net")
    assert {tensor.name: tensor.dtype for tensor in version.tensors()} == {"w": "BF16", "x": "F8_E4M3"}
    assert version.tensor("w").tobytes() == array.tobytes()


@pytest.mark.parametrize(("module", "make"), [("torch", "tensor"), ("jax.numpy", "array")])
def test_arrays_of_frameworks_are_told_by_what_they_can_do(repo: mvs.Repository, module: str, make: str) -> None:
    pytest.importorskip(module)
    frame = import_module(module)
    new: Callable[..., Any] = getattr(frame, make)
    values = [[1.5, -2.0, 3.0], [0.0, 5.0, 6.0]]
    state = {"w": new(values), "t": new(values).T, "b": new(values, dtype=frame.bfloat16), "s": new(7)}
    version = repo.save_state(state, "net")
    assert version.tensor("w").tolist() == values
    assert version.tensor("t").tolist() == np.array(values).T.tolist()
    assert {tensor.name: tensor.dtype for tensor in version.tensors()}["b"] == "BF16"
    assert version.tensor("s").shape == ()
