"""Files as other programs write them: safetensors, GGUF, PyTorch's zip, numpy's zip.

By hand, because neither PyTorch nor llama.cpp is there, nor any code of mvs that reads them.
"""

import io
import json
import pickle
import struct
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.dedup.making.network import Array, Shape, Weights

Bits = NDArray[np.uint16]

_ALIGNMENT = 64
_GGUF_ALIGNMENT = 32
_Q8_BLOCK = 32
_F32, _F16, _Q8_0 = 0, 1, 8
# llama.cpp's own numbers of the two kinds of file, and its names of tensors.
_FILE_TYPES = {_F16: 1, _Q8_0: 7}
_GGUF_NAMES = {
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "lm_head": "output",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}


def safetensors(path: Path, tensors: Mapping[str, Bits]) -> None:
    """Write bf16 tensors in the order of their names, with a header padded to eight bytes."""
    stream(path, {name: tensors[name].shape for name in sorted(tensors)}, (tensors[name] for name in sorted(tensors)))


def stream(path: Path, shapes: Mapping[str, tuple[int, ...]], tensors: Iterator[Bits]) -> None:
    """Write bf16 tensors one after the other, without holding them all."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, shape in shapes.items():
        start, end = end, end + 2 * int(np.prod(shape))
        header[name] = {"dtype": "BF16", "shape": list(shape), "data_offsets": [start, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for tensor in tensors:
            file.write(tensor.data)


def shards(folder: Path, tensors: Mapping[str, Bits], count: int) -> None:
    """Write bf16 tensors in several files and the index of them, as Hugging Face cuts large models."""
    names = sorted(tensors)
    where = {name: f"model-{index * count // len(names) + 1:05}-of-{count:05}" for index, name in enumerate(names)}
    for shard in sorted(set(where.values())):
        safetensors(folder / f"{shard}.safetensors", {name: tensors[name] for name in names if where[name] == shard})
    size = sum(tensor.nbytes for tensor in tensors.values())
    index = {"metadata": {"total_size": size}, "weight_map": {name: f"{where[name]}.safetensors" for name in names}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")


def gguf(path: Path, weights: Weights, shape: Shape, *, quantised: bool) -> None:
    """Write a model as llama.cpp's convert_hf_to_gguf.py does: matrices in Q8_0 or F16, vectors in F32."""
    kind = _Q8_0 if quantised else _F16
    facts: dict[str, str | int | float] = {
        "general.architecture": "llama",
        "general.file_type": _FILE_TYPES[kind],
        "llama.block_count": shape.layers,
        "llama.context_length": 256,
        "llama.embedding_length": shape.width,
        "llama.feed_forward_length": shape.inner,
        "llama.attention.head_count": shape.heads,
        "llama.attention.head_count_kv": shape.heads,
        "llama.attention.layer_norm_rms_epsilon": 1e-5,
        "llama.rope.dimension_count": shape.width // shape.heads,
        "llama.vocab_size": shape.vocabulary,
    }
    head, bodies, offset = io.BytesIO(), [], 0
    head.write(b"GGUF" + struct.pack("<IQQ", 3, len(weights), len(facts)))
    for key, fact in facts.items():
        head.write(_gguf_text(key) + _gguf_fact(fact))
    for name, given in weights.items():
        value = _permuted(given, shape.heads) if name.endswith(("q_proj.weight", "k_proj.weight")) else given
        of_kind = kind if value.ndim > 1 else _F32
        body = {_F32: lambda v: v.tobytes(), _F16: _halves, _Q8_0: _q8_0}[of_kind](value)
        head.write(_gguf_text(_gguf_name(name)) + struct.pack("<I", value.ndim))
        head.write(struct.pack(f"<{value.ndim}QIQ", *reversed(value.shape), of_kind, offset))
        bodies.append(body + bytes(-len(body) % _GGUF_ALIGNMENT))
        offset += len(bodies[-1])
    path.write_bytes(head.getvalue() + bytes(-head.tell() % _GGUF_ALIGNMENT) + b"".join(bodies))


def checkpoint(path: Path, values: Weights, moments: list[dict[str, Array]], rate: float) -> None:
    """Write what `torch.save({"model": ..., "optimizer": ...}, path)` does: a pickle and the bytes of each storage.

    `moments` has the optimizer's state of each value: step, exp_avg and exp_avg_sq.
    """
    pickled = _Pickle()
    pickled.mark(pickle.EMPTY_DICT)
    pickled.text("model")
    pickled.mark(pickle.EMPTY_DICT)
    for name, value in values.items():
        pickled.text(name)
        pickled.tensor(value)
    pickled.add(pickle.SETITEMS)
    pickled.text("optimizer")
    pickled.mark(pickle.EMPTY_DICT)
    pickled.text("state")
    pickled.mark(pickle.EMPTY_DICT)
    for index, state in enumerate(moments):
        pickled.number(index)
        pickled.mark(pickle.EMPTY_DICT)
        for name, value in state.items():
            pickled.text(name)
            pickled.tensor(value)
        pickled.add(pickle.SETITEMS)
    pickled.add(pickle.SETITEMS)
    pickled.text("lr")
    pickled.add(pickle.BINFLOAT + struct.pack(">d", rate))
    pickled.add(pickle.SETITEMS + pickle.SETITEMS + pickle.STOP)
    with zipfile.ZipFile(path, "w") as file:
        _member(file, f"{path.stem}/data.pkl", pickled.whole())
        _member(file, f"{path.stem}/byteorder", b"little")
        for key, storage in enumerate(pickled.storages):
            _member(file, f"{path.stem}/data/{key}", storage)
        _member(file, f"{path.stem}/version", b"3\n")


class _Pickle:
    """Opcodes as PyTorch's pickler emits them, protocol 2; what it uses again it fetches from the memo."""

    def __init__(self) -> None:
        self.storages: list[bytes] = []
        self._made = [pickle.PROTO + b"\x02"]
        self._memo: dict[bytes, int] = {}

    def whole(self) -> bytes:
        return b"".join(self._made)

    def add(self, opcodes: bytes) -> None:
        self._made.append(opcodes)

    def mark(self, opcode: bytes) -> None:
        self.add(opcode + pickle.MARK)

    def number(self, value: int) -> None:
        self.add(pickle.BININT1 + bytes([value]) if value < 256 else pickle.BININT + struct.pack("<i", value))

    def text(self, value: str) -> None:
        encoded = value.encode()
        self.add(pickle.BINUNICODE + struct.pack("<I", len(encoded)) + encoded)

    def tensor(self, value: Array) -> None:
        """Emit `_rebuild_tensor_v2(persistent_id(...), 0, shape, strides, False, OrderedDict())`."""
        key, count = str(len(self.storages)), value.size
        self.storages.append(value.tobytes())
        self._named(b"ctorch._utils\n_rebuild_tensor_v2\n")
        self.add(pickle.MARK + pickle.MARK)
        self._named(pickle.BINUNICODE + struct.pack("<I", 7) + b"storage")
        self._named(b"ctorch\nFloatStorage\n")
        self.text(key)
        self._named(pickle.BINUNICODE + struct.pack("<I", 3) + b"cpu")
        self.number(count)
        self.add(pickle.TUPLE + pickle.BINPERSID)
        self.number(0)
        for sizes in (value.shape, tuple(stride // value.itemsize for stride in value.strides)):
            self.add(pickle.MARK)
            for size in sizes:
                self.number(size)
            self.add(pickle.TUPLE)
        self.add(pickle.NEWFALSE)
        self._named(b"ccollections\nOrderedDict\n")
        self.add(pickle.EMPTY_TUPLE + pickle.REDUCE + pickle.TUPLE + pickle.REDUCE)

    def _named(self, opcodes: bytes) -> None:
        if opcodes in self._memo:
            self.add(pickle.BINGET + bytes([self._memo[opcodes]]))
        else:
            self._memo[opcodes] = len(self._memo)
            self.add(opcodes + pickle.BINPUT + bytes([self._memo[opcodes]]))


def _member(file: zipfile.ZipFile, name: str, data: bytes) -> None:
    """Write a member as it is, padded by an extra field so that its bytes are aligned, as PyTorch does it."""
    # An extra field is two bytes of kind, two of length and what pads; a local header is 30 bytes and the name.
    padding = -(file.fp.tell() + 30 + len(name) + 4) % _ALIGNMENT if file.fp else 0
    member = zipfile.ZipInfo(name)
    member.extra = b"FB" + struct.pack("<H", padding) + b"Z" * padding
    file.writestr(member, data)


def _permuted(value: Array, heads: int) -> Array:
    """Return rows in llama.cpp's order, in which the two numbers that rotate together are neighbours."""
    halves = value.reshape(heads, 2, -1, value.shape[1])
    return np.ascontiguousarray(halves.swapaxes(1, 2)).reshape(value.shape)


def _halves(value: Array) -> bytes:
    return value.astype("<f2").tobytes()


def _q8_0(value: Array) -> bytes:
    """Return blocks of a scale in fp16 and 32 integers (gguf-py's quants.py)."""
    blocks = value.reshape(-1, _Q8_BLOCK)
    scale = np.abs(blocks).max(axis=1, keepdims=True) / np.float32(127)
    with np.errstate(divide="ignore"):
        inverse = np.where(scale == 0, np.float32(0), 1 / scale)
    made = np.empty(len(blocks), np.dtype([("scale", "<f2"), ("items", "i1", _Q8_BLOCK)]))
    made["scale"] = scale[:, 0]
    scaled = blocks * inverse
    # Halves are rounded away from zero, as C's roundf does.
    whole = np.floor(np.abs(scaled))
    made["items"] = np.sign(scaled) * (whole + np.floor(2 * (np.abs(scaled) - whole)))
    return made.tobytes()


def _gguf_text(text: str) -> bytes:
    return struct.pack("<Q", len(text)) + text.encode()


def _gguf_fact(fact: str | int | float) -> bytes:
    if isinstance(fact, str):
        return struct.pack("<I", 8) + _gguf_text(fact)
    return struct.pack("<If", 6, fact) if isinstance(fact, float) else struct.pack("<II", 4, fact)


def _gguf_name(name: str) -> str:
    stem = name.removesuffix(".weight")
    if stem in _GGUF_NAMES:
        return f"{_GGUF_NAMES[stem]}.weight"
    _, _, index, part = stem.split(".", 3)
    return f"blk.{index}.{_GGUF_NAMES[part]}.weight"


def floats(bits: Mapping[str, Bits]) -> Weights:
    """Return the numbers that bf16 bits stand for."""
    return {name: (value.astype(np.uint32) << 16).view(np.float32) for name, value in bits.items()}
