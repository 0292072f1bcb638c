"""What is in the folders and files of a family: which bytes are tensors, and of which width.

For the reference only, which has to be given the tensors; of files that are well formed.
Bytes that are no tensor (headers, configurations) count as one, of width 1.
"""

import json
import mmap
import struct
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from blake3 import blake3

from bench.dedup.reference import Bytes

_WIDTHS = {"F64": 8, "I64": 8, "F32": 4, "I32": 4, "BF16": 2, "F16": 2}
REST = "(rest)"


@dataclass(frozen=True)
class Tensor:
    name: str
    kind: str
    width: int
    shape: tuple[int, ...]
    data: Bytes


@dataclass(frozen=True)
class Model:
    """One folder or file of a family."""

    path: Path

    @property
    def name(self) -> str:
        return self.path.stem if self.path.is_file() else self.path.name

    @cached_property
    def files(self) -> list[Path]:
        if self.path.is_file():
            return [self.path]
        return sorted(path for path in self.path.rglob("*") if path.is_file())

    @cached_property
    def size(self) -> int:
        return sum(path.stat().st_size for path in self.files)

    @cached_property
    def tensors(self) -> list[Tensor]:
        return [tensor for path in self.files for tensor in _tensors(path)]

    @cached_property
    def content(self) -> frozenset[tuple[str, bytes]]:
        """The names and digests of its tensors: the same for the same weights cut into other files."""
        return frozenset(
            (tensor.name, blake3(tensor.data.data).digest()) for tensor in self.tensors if tensor.kind != REST
        )

    @property
    def is_bf16(self) -> bool:
        named = [path for path in self.files if path.suffix == ".safetensors"]
        kinds = {tensor.kind for tensor in self.tensors} - {REST}
        return self.path.is_dir() and bool(named) and kinds == {"BF16"}


@dataclass(frozen=True)
class Family:
    """The models of a folder: the base, all bf16 models with the base first, and everything."""

    models: tuple[Model, ...]
    everything: tuple[Model, ...]

    @property
    def base(self) -> Model:
        return self.models[0]

    @property
    def tuned(self) -> tuple[Model, ...]:
        return self.models[1:]

    def copies(self) -> list[tuple[Model, Model]]:
        """Return those that have only tensors of one bf16 model, in other files, and that model."""
        others = [model for model in self.everything if model not in self.models]
        values = {model: {digest for _, digest in model.content} for model in self.models}
        found: list[tuple[Model, Model]] = []
        for other in others:
            of = [model for model in self.models if {digest for _, digest in other.content} <= values[model]]
            found.extend((other, model) for model in of[:1] if other.content)
        return found

    def converted(self) -> list[tuple[Model, Model]]:
        """Return the GGUF files, each with the model it was made from: the one whose name its own begins with."""
        found: list[tuple[Model, Model]] = []
        for other in self.everything:
            if other.path.suffix == ".gguf":
                of = [model for model in self.models if other.name.startswith(model.name)]
                found.extend((other, model) for model in sorted(of, key=lambda model: -len(model.name))[:1])
        return found

    def checkpoints(self) -> list[Model]:
        return [model for model in self.everything if model.path.suffix == ".pt"]


def family(folder: Path) -> Family:
    """Return what a folder has; `base*` first. A copy of a bf16 model in other files is not counted among them."""
    paths = sorted(folder.iterdir(), key=lambda path: (not path.name.startswith("base"), path.name))
    everything = [Model(path) for path in paths if not path.name.startswith(".")]
    models: list[Model] = []
    seen: set[frozenset[tuple[str, bytes]]] = set()
    for model in everything:
        if model.is_bf16 and model.content not in seen:
            seen.add(model.content)
            models.append(model)
    if not models:
        raise ValueError(f"'{folder}' has no folder with bf16 weights in safetensors")
    return Family(tuple(models), (*models, *(model for model in everything if model not in models)))


def _tensors(path: Path) -> Iterator[Tensor]:
    if not path.stat().st_size:
        return
    with open(path, "rb") as file:
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    data = np.frombuffer(mapped, np.uint8)
    if path.suffix == ".safetensors":
        end = 8 + struct.unpack("<Q", data[:8].data)[0]
        header = json.loads(data[8:end].tobytes())
        header.pop("__metadata__", None)
        yield Tensor(f"{path.name}{REST}", REST, 1, (end,), data[:end])
        for name, entry in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
            first, last = (end + offset for offset in entry["data_offsets"])
            kind = entry["dtype"]
            yield Tensor(name, kind, _WIDTHS.get(kind, 1), tuple(entry["shape"]), data[first:last])
    elif path.suffix in (".pt", ".npz"):
        yield from _members(path, data)
    else:
        yield Tensor(f"{path.name}{REST}", REST, 1, (len(data),), data)


def _members(path: Path, data: Bytes) -> Iterator[Tensor]:
    """Yield the stored members of a zip file: those of a `.pt` are taken for fp32, those of an `.npz` for 2 bytes wide.

    What lies between them is next to nothing, and not counted.
    """
    with zipfile.ZipFile(path) as file:
        for member in file.infolist():
            name, extra = struct.unpack("<HH", data[member.header_offset + 26 : member.header_offset + 30].data)
            first = member.header_offset + 30 + name + extra
            body = data[first : first + member.file_size]
            # PyTorch puts the name of the file before the names of members.
            inner = member.filename.split("/", 1)[-1]
            if path.suffix == ".npz":
                start = 10 + struct.unpack("<H", body[8:10].data)[0]
                yield Tensor(inner.removesuffix(".npy"), "npy", 2, (), body[start:])
            elif inner.startswith("data/") and len(body) % 4 == 0:
                yield Tensor(inner, "F32", 4, (len(body) // 4,), body)
            else:
                yield Tensor(inner, REST, 1, (len(body),), body)
