"""A state in memory, nested dicts of arrays, as files: the arrays as safetensors, the rest as JSON.

Arrays are told by what they can do, so that no framework is imported: numpy, PyTorch, JAX and
whatever numpy can read. Source of the format: https://github.com/huggingface/safetensors, README.
"""

import json
import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from mvs.backends.failures import storage
from mvs.errors import InvalidInput
from mvs.format.paths import check_path
from mvs.handles.tensors import WORDS

if TYPE_CHECKING:
    import numpy as np

# The name of the file unless the caller has another one: what loaders of weights look for.
FILE = "model.safetensors"
# Deeper dicts hold themselves.
_MAX_DEPTH = 100


@dataclass(frozen=True, slots=True)
class Array:
    """One array of a state: its name, its type in the words of safetensors, its shape, and its bytes."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    data: "np.ndarray[Any, Any]"

    @property
    def size(self) -> int:
        """Its bytes."""
        return int(self.data.nbytes)


@dataclass(frozen=True, slots=True)
class State:
    """What is written: a header, the arrays after it, widest types first, and what is no array by its dotted name."""

    header: bytes
    arrays: tuple[Array, ...]
    rest: Mapping[str, Any]

    @property
    def size(self) -> int:
        """Bytes of all arrays."""
        return sum(array.size for array in self.arrays)

    def write(self, folder: str, file: str) -> None:
        """Write the files: the arrays to `file`, the rest, if any, beside it with the suffix `.json`.

        Raises:
            StorageFull, StorageFailed: the disk is full, read-only or failing.
        """
        place = os.path.join(folder, file)
        with storage(folder):
            os.makedirs(os.path.dirname(place), exist_ok=True)
            with open(place, "xb", buffering=0) as out:
                for block in self._blocks():
                    view = memoryview(block)
                    while view:
                        view = view[out.write(view) :]
            if self.rest:
                with open(os.path.join(folder, beside(file)), "x", encoding="utf-8") as text:
                    json.dump(self.rest, text, indent=1)

    def _blocks(self) -> Iterator["bytes | memoryview"]:
        yield self.header
        for array in self.arrays:
            if array.size:
                yield array.data.data


def beside(file: str) -> str:
    """Return where what is no array goes, as a path in the version."""
    return str(PurePosixPath(file).with_suffix(".json"))


def check_file(file: str) -> None:
    """Refuse a name that no version can hold, or that leaves no other for the JSON file.

    Raises:
        InvalidPath, InvalidInput: it is none.
    """
    check_path(file)
    if not file.endswith(".safetensors"):
        raise InvalidInput(f"a state is written to a file that ends in '.safetensors', not to '{file}'")


def state_of(state: Mapping[Any, Any]) -> State:
    """Return a state as it will be written; its arrays are not copied where they lie in this machine's memory.

    Nested dicts, and lists that hold arrays, are flattened: `optimizer.state.0.exp_avg`.

    Raises:
        InvalidInput: something in it can be neither written as an array nor as JSON, or two have one name.
    """
    if not isinstance(state, Mapping):
        raise InvalidInput(f"a state is a dict of arrays, not {type(state).__name__}")
    found: dict[str, Any] = {}
    for name, value in _flat(state, "", 0):
        if name in found:
            raise InvalidInput(f"two things in the state have the name '{name}'")
        found[name] = value
    arrays = [_array(name, value) for name, value in found.items() if is_array(value)]
    rest = {name: _plain(name, value, 0) for name, value in found.items() if not is_array(value)}
    if not arrays:
        raise InvalidInput("the state holds no array")
    # As the reference implementation has it: the widest first, so that all are aligned.
    arrays.sort(key=lambda array: (-_width(array), array.name))
    pytorch = any(_is_torch(value) for value in found.values())
    from mvs.codecs.cut.safetensors import header  # noqa: PLC0415 - only what saves states needs it

    try:
        head = header(
            [(array.name, array.dtype, array.shape, array.size) for array in arrays],
            {"format": "pt" if pytorch else "np"},
        )
    except UnicodeEncodeError:
        raise InvalidInput("a name in the state is not valid Unicode") from None
    except ValueError as error:
        raise InvalidInput(str(error)) from None
    return State(head, tuple(arrays), rest)


def is_array(value: object) -> bool:
    """Tell whether something is an array, or a number of one."""
    if isinstance(value, str | bytes):
        return False
    return hasattr(value, "dtype") and hasattr(value, "shape")


def _flat(value: Any, name: str, depth: int) -> Iterator[tuple[str, Any]]:
    if depth > _MAX_DEPTH:
        raise InvalidInput(f"the state is nested too deeply at '{name[:80]}'")
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            yield from _flat(inner, _joined(name, key), depth + 1)
    elif isinstance(value, list | tuple) and _holds_arrays(value, depth):
        for index, inner in enumerate(value):
            yield from _flat(inner, _joined(name, index), depth + 1)
    elif name:
        yield name, value


def _joined(name: str, key: object) -> str:
    if not isinstance(key, str | int):
        raise InvalidInput(f"a key in '{name}' is neither a string nor a number: {key!r}")
    whole = f"{name}.{key}" if name else str(key)
    if not whole or whole == "__metadata__":
        raise InvalidInput(f"the name {whole!r} is not for an array")
    return whole


def _holds_arrays(value: Any, depth: int) -> bool:
    if depth > _MAX_DEPTH:
        return False
    if isinstance(value, Mapping):
        return any(_holds_arrays(inner, depth + 1) for inner in value.values())
    if isinstance(value, list | tuple):
        return any(_holds_arrays(inner, depth + 1) for inner in value)
    return is_array(value)


def _plain(name: str, value: Any, depth: int) -> Any:
    """Return a value as JSON holds it; numbers that are none are `NaN` and `Infinity`, as Python writes them."""
    if depth <= _MAX_DEPTH:
        if value is None or isinstance(value, str | int | float):
            return value
        if isinstance(value, list | tuple):
            return [_plain(f"{name}.{index}", inner, depth + 1) for index, inner in enumerate(value)]
        if isinstance(value, Mapping):
            return {_joined("", key): _plain(_joined(name, key), inner, depth + 1) for key, inner in value.items()}
    raise InvalidInput(f"'{name}' in the state is neither an array nor JSON, but {type(value).__name__}")


def _array(name: str, value: Any) -> Array:
    try:
        data, kind = _torch_bytes(value) if _is_torch(value) else _numpy_bytes(value)
    except (TypeError, ValueError, RuntimeError, NotImplementedError) as error:
        raise InvalidInput(f"the array '{name}' cannot be read: {error}") from error
    word = WORDS.get(kind)
    if word is None:
        raise InvalidInput(f"the array '{name}' is of the type {kind}, which safetensors cannot hold")
    return Array(name, word, tuple(int(length) for length in value.shape), data)


def _numpy_bytes(value: Any) -> tuple["np.ndarray[Any, Any]", str]:
    import numpy as np  # noqa: PLC0415 - 100 ms, only when numbers are wanted

    array = np.asarray(value)
    kind = array.dtype.name
    if kind not in WORDS:
        return np.empty(0, "u1"), kind
    # The format is little-endian.
    array = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
    return array.reshape(-1).view("u1"), kind


def _torch_bytes(value: Any) -> tuple["np.ndarray[Any, Any]", str]:
    torch: Any = sys.modules["torch"]
    tensor = value.detach()
    if tensor.layout != torch.strided or tensor.is_quantized or tensor.is_meta:
        raise TypeError("it is sparse, quantised or without content")
    flat = tensor.cpu().resolve_conj().resolve_neg().contiguous().reshape(-1)
    # Not by way of numpy, which has no bfloat16: its bits are enough.
    return flat.view(torch.uint8).numpy(), str(tensor.dtype).removeprefix("torch.")


def _is_torch(value: object) -> bool:
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.Tensor)


def _width(array: Array) -> int:
    from mvs.codecs.cut.dtypes import BITS  # noqa: PLC0415 - only what saves states needs it

    return BITS[array.dtype]
