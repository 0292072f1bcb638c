"""Small files of every format, made by hand, and what must hold of any answer about a file."""

import io
import json
import zipfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from struct import pack
from typing import Any, TypeAlias

import numpy as np

from mvs.codecs.cut import ITEM_WIDTH, Tensor, tensors_of
from mvs.codecs.cut.dtypes import BITS


@dataclass(frozen=True)
class Bytes:
    """A file in memory; `longest` is the most that one read gives."""

    data: bytes
    longest: int | None = None

    @property
    def size(self) -> int:
        return len(self.data)

    def read(self, offset: int, count: int) -> bytes:
        assert offset >= 0
        assert count >= 0
        return self.data[offset : offset + (count if self.longest is None else min(count, self.longest))]


class Zeros:
    """A file that begins with some bytes and goes on with zeros; knows what was asked of it."""

    def __init__(self, head: bytes, size: int) -> None:
        self.head = head
        self.size = size
        self.asked = 0

    def read(self, offset: int, count: int) -> bytes:
        assert 0 <= offset <= self.size
        assert 0 <= count < 1 << 28
        self.asked += count
        count = min(count, self.size - offset)
        return self.head[offset : offset + count].ljust(count, b"\0")


def found(data: bytes) -> tuple[Tensor, ...]:
    """The tensors of a file, after a look at whether they can be true."""
    tensors = tensors_of(Bytes(data))
    check(tensors, len(data))
    return tensors


def named(data: bytes) -> dict[str, Tensor]:
    return {tensor.name: tensor for tensor in found(data)}


def check(tensors: Sequence[Tensor], size: int) -> None:
    end = 0
    for tensor in tensors:
        assert tensor.offset >= end
        assert tensor.size > 0
        end = tensor.offset + tensor.size
        tensor.name.encode()
        assert tensor.dtype == "" or tensor.dtype in ITEM_WIDTH
        if tensor.dtype in BITS and tensor.shape:
            assert -(-prod(tensor.shape) * BITS[tensor.dtype] // 8) == tensor.size
        if tensor.dtype and tensor.dtype not in BITS:
            assert tensor.size % ITEM_WIDTH[tensor.dtype] == 0
    assert end <= size
    assert len({tensor.name for tensor in tensors}) == len(tensors)


def safetensors(header: Mapping[str, Any] | str, data: bytes, *, pad: int = 0) -> bytes:
    text = (header if isinstance(header, str) else json.dumps(header)).encode() + b" " * pad
    return pack("<Q", len(text)) + text + data


def entry(dtype: str, shape: Sequence[int], begin: int, end: int) -> dict[str, Any]:
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [begin, end]}


def text(value: str | bytes) -> bytes:
    raw = value.encode() if isinstance(value, str) else value
    return pack("<Q", len(raw)) + raw


def gguf(
    tensors: Iterable[tuple[str, Sequence[int], int, int]],
    data: bytes,
    *,
    values: Sequence[bytes] = (),
    version: int = 3,
    alignment: int = 32,
    count: int | None = None,
) -> bytes:
    """`tensors` are name, ne (the row first), type and offset."""
    infos = [text(name) + pack(f"<I{len(ne)}QIQ", len(ne), *ne, kind, offset) for name, ne, kind, offset in tensors]
    head = b"GGUF" + pack("<IQQ", version, len(infos) if count is None else count, len(values))
    head += b"".join(values) + b"".join(infos)
    return head.ljust(-(-len(head) // alignment) * alignment, b"\0") + data


Dimensions: TypeAlias = tuple[int, ...]


@dataclass(frozen=True)
class Storage:
    """What torch pickles as the persistent id of a storage, and its bytes."""

    kind: str
    key: str
    data: bytes
    length: int


@dataclass(frozen=True)
class Global:
    """What is pickled as a global of that name."""

    path: str


@dataclass(frozen=True)
class Call:
    """What is pickled as a call, and the state that its result gets."""

    function: str
    arguments: tuple[Any, ...] = ()
    state: Any = None


def tensor(
    storage: Storage, shape: Dimensions, strides: Dimensions | None = None, offset: int = 0, *, dtype: str = ""
) -> Call:
    if strides is None:
        strides = tuple(prod(shape[axis + 1 :]) for axis in range(len(shape)))
    arguments = (storage, offset, shape, strides, False, ordered({}))
    if dtype:
        return Call("torch._utils._rebuild_tensor_v3", (*arguments, Global(f"torch.{dtype}"), None))
    return Call("torch._utils._rebuild_tensor_v2", arguments)


def ordered(items: dict[Any, Any]) -> Any:
    """An OrderedDict: a call, and the items are set then."""
    return (_ORDERED, items)


_ORDERED = object()


def pickled(value: Any, protocol: int = 2) -> bytes:
    """The opcodes that torch and pickle write for a value."""
    out = [b"\x80", bytes([protocol])]
    _write(out, value, {}, protocol)
    return b"".join([*out, b"."])


def _write(out: list[bytes], value: Any, memo: dict[Any, tuple[int, Any]], protocol: int) -> None:
    key = (type(value), value) if isinstance(value, str | Global | Storage) else id(value)
    if key in memo:
        number = memo[key][0]
        out.append(b"h" + bytes([number]) if number < 256 else b"j" + pack("<I", number))
        return

    def write(*values: Any) -> None:
        for one in values:
            _write(out, one, memo, protocol)

    def put() -> None:
        # The value is kept, so that no other gets its id.
        number = len(memo)
        memo[key] = number, value
        out.append(b"\x94" if protocol > 3 else b"q" + bytes([number]) if number < 256 else b"r" + pack("<I", number))

    if value is None or isinstance(value, bool):
        out.append({None: b"N", True: b"\x88", False: b"\x89"}[value])
    elif isinstance(value, int):
        wide = b"\x8a" + bytes([9]) + value.to_bytes(9, "little", signed=True)
        small = b"K" + bytes([value]) if 0 <= value < 256 else b"J" + pack("<i", value) if abs(value) < 2**31 else wide
        out.append(b"M" + pack("<H", value) if 256 <= value < 65_536 else small)
    elif isinstance(value, float):
        out.append(b"G" + pack(">d", value))
    elif isinstance(value, str):
        raw = value.encode("utf-8", "surrogatepass")
        out.append(
            (b"\x8c" + bytes([len(raw)]) if protocol > 3 and len(raw) < 256 else b"X" + pack("<I", len(raw))) + raw
        )
        put()
    elif isinstance(value, Global):
        module, _, name = value.path.rpartition(".")
        if protocol > 3:
            write(module, name)
            out.append(b"\x93")
        else:
            out.append(f"c{module}\n{name}\n".encode())
        put()
    elif isinstance(value, Storage):
        write(("storage", Global(f"torch.{value.kind}"), value.key, "cpu", value.length))
        out.append(b"Q")
    elif isinstance(value, Call):
        write(Global(value.function), value.arguments)
        out.append(b"R")
        put()
        if value.state is not None:
            write(value.state)
            out.append(b"b")
    elif isinstance(value, tuple) and value[:1] == (_ORDERED,):
        write(Call("collections.OrderedDict"))
        _items(out, value[1], write)
    elif isinstance(value, tuple):
        if len(value) > 3:
            out.append(b"(")
        write(*value)
        out.append([b")", b"\x85", b"\x86", b"\x87"][len(value)] if len(value) < 4 else b"t")
        if value:
            put()
    elif isinstance(value, list):
        out.append(b"]")
        put()
        out.append(b"(")
        write(*value)
        out.append(b"e")
    else:
        out.append(b"}")
        put()
        _items(out, value, write)


def _items(out: list[bytes], items: dict[Any, Any], write: Callable[..., None]) -> None:
    if items:
        out.append(b"(" if len(items) > 1 else b"")
        for key, item in items.items():
            write(key, item)
        out.append(b"u" if len(items) > 1 else b"s")


def torch_zip(value: Any, storages: Sequence[Storage], *, protocol: int = 2, root: str = "archive/") -> bytes:
    return zipped(
        [
            (f"{root}data.pkl", value if isinstance(value, bytes) else pickled(value, protocol)),
            (f"{root}byteorder", b"little"),
            *((f"{root}data/{storage.key}", storage.data) for storage in storages),
            (f"{root}version", b"3\n"),
        ]
    )


def zipped(members: Iterable[tuple[str, bytes]], *, method: int = zipfile.ZIP_STORED, comment: bytes = b"") -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as file:
        for name, data in members:
            file.writestr(zipfile.ZipInfo(name), data, compress_type=method)
        file.comment = comment
    return buffer.getvalue()


def npy(array: np.ndarray[Any, Any], **options: Any) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, **options)
    return buffer.getvalue()


def npz(**arrays: np.ndarray[Any, Any]) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)  # type: ignore[arg-type, unused-ignore]
    return buffer.getvalue()


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def field(number: int, value: int | bytes | str) -> bytes:
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    raw = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(raw)) + raw


def initializer(name: str, kind: int, dims: Sequence[int], **external: str | int) -> bytes:
    body = b"".join(field(1, length) for length in dims) + field(2, kind) + field(8, name)
    for key, value in external.items():
        body += field(13, field(1, key) + field(2, str(value)))
    return body + field(14, 1)


def onnx(*initializers: bytes, nodes: int = 2) -> bytes:
    node = field(1, field(1, "x") + field(2, "y") + field(4, "Relu"))
    graph = node * nodes + field(2, "g") + b"".join(field(5, one) for one in initializers)
    return field(1, 9) + field(2, "made by hand") + field(7, graph) + field(8, field(2, 21))


def everything() -> dict[str, bytes]:
    """A valid file of each format."""
    first, second = Storage("FloatStorage", "0", bytes(range(96)), 24), Storage("BFloat16Storage", "1", b"ab" * 9, 9)
    weights = {"model": {"w": tensor(first, (4, 6)), "b": tensor(second, (9,))}, "step": 7, "lr": [1e-3, None]}
    return {
        "safetensors": safetensors(
            {"__metadata__": {"format": "pt"}, "a": entry("F32", (2, 3), 0, 24), "b": entry("BF16", (5,), 24, 34)},
            bytes(range(34)),
        ),
        "gguf": gguf(
            [("a.weight", (64, 2), 8, 0), ("b", (5,), 0, 160)],
            bytes(180),
            values=[
                text("general.architecture") + pack("<I", 8) + text("llama"),
                text("general.alignment") + pack("<II", 4, 32),
                text("tokens") + pack("<IIQ", 9, 8, 3) + text("a") + text("") + text("ccc"),
                text("scores") + pack("<IIQ3f", 9, 6, 3, 1, 2, 3),
            ],
        ),
        "torch": torch_zip(weights, [first, second]),
        "npz": npz(a=np.arange(12, dtype=np.float32).reshape(3, 4), b=np.arange(5)),
        "npy": npy(np.arange(12, dtype=np.float16).reshape(3, 4)),
        "onnx": onnx(
            initializer("a", 1, (2, 3), location="w.data", offset=0, length=24),
            initializer("b", 16, (8,), location="w.data", offset=24),
        ),
    }
