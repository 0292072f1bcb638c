"""Tensors of a version: what there are, and one of them as an array, read without its file."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from mvs.errors import InvalidInput, TensorNotInVersion
from mvs.format.manifest import FileEntry
from mvs.format.names import Tag
from mvs.running.progress import Progress
from mvs.store.store import Store

if TYPE_CHECKING:
    import numpy as np

    from mvs.codecs.cut import Tensor

# Types that numpy has from ml_dtypes alone, and what holds their bits without it.
_ML_DTYPES = {
    "BF16": ("bfloat16", "<u2"),
    "F8_E4M3": ("float8_e4m3fn", "u1"),
    "F8_E5M2": ("float8_e5m2", "u1"),
    "F8_E8M0": ("float8_e8m0fnu", "u1"),
    "F8_E4M3FNUZ": ("float8_e4m3fnuz", "u1"),
    "F8_E5M2FNUZ": ("float8_e5m2fnuz", "u1"),
}
# What numpy, ml_dtypes and PyTorch call the types that safetensors has.
WORDS = {
    "float64": "F64",
    "float32": "F32",
    "float16": "F16",
    "int64": "I64",
    "int32": "I32",
    "int16": "I16",
    "int8": "I8",
    "uint64": "U64",
    "uint32": "U32",
    "uint16": "U16",
    "uint8": "U8",
    "bool": "BOOL",
    "complex64": "C64",
    **{name: word for word, (name, _) in _ML_DTYPES.items()},
}


class TensorInfo(NamedTuple):
    """One tensor of a version.

    Attributes:
        file: the file of the version that it lies in.
        name: as the file has it.
        dtype: in the words of safetensors ("BF16"), or of ggml for what is quantised ("Q8_0"); "" when not known.
        shape: row-major; () for a scalar, or when not known.
        size: in bytes.
        id: BLAKE3 of its bytes, 64 hex digits: equal ids, equal tensors.
    """

    file: str
    name: str
    dtype: str
    shape: tuple[int, ...]
    size: int
    id: str


def listed(store: Store, files: tuple[FileEntry, ...]) -> Iterator[TensorInfo]:
    """Yield the tensors of some files, by file and offset."""
    for entry in files:
        for tensor, id in store.tensors.of(entry.blob, entry.size):
            yield TensorInfo(entry.path, tensor.name, tensor.dtype, tensor.shape, tensor.size, str(id))


def read(
    store: Store, tag: Tag, files: tuple[FileEntry, ...], name: str, *, file: str | None, progress: Progress
) -> "np.ndarray[Any, Any]":
    """Return one tensor as an array.

    Raises:
        TensorNotInVersion: there is none of that name.
        InvalidInput: there are several, and no `file` says which.
    """
    found = [
        (entry, tensor)
        for entry in files
        if file in (None, entry.path)
        for tensor in store.tensors.places(entry.blob, entry.size)
        if tensor.name == name
    ]
    if not found:
        raise TensorNotInVersion(f"no tensor '{name}' in '{tag}'", hint=f"mvs show --tensors {tag}")
    if len(found) > 1:
        files_of = ", ".join(f"'{entry.path}'" for entry, _ in found)
        raise InvalidInput(f"'{tag}' has a tensor '{name}' in {files_of}: say which file", hint=f"mvs show {tag}")
    entry, tensor = found[0]
    return _array(store.tensors.read(entry.blob, tensor), tensor, progress)


def loaded(store: Store, files: tuple[FileEntry, ...]) -> dict[str, Any]:
    """Return every tensor as a torch tensor, by name; of several with one name the last.

    Raises:
        ImportError: PyTorch is not installed.
    """
    import numpy as np  # noqa: PLC0415 - as in `_array`
    import torch  # noqa: PLC0415 - an extra of the user's

    from mvs.codecs.cut.dtypes import NUMPY  # noqa: PLC0415 - as in `_array`

    # PyTorch calls types what numpy and ml_dtypes do.
    names = {word: np.dtype(code).name for word, code in NUMPY.items()}
    names.update((word, name) for word, (name, _) in _ML_DTYPES.items())
    state = {}
    for entry in files:
        for tensor in store.tensors.places(entry.blob, entry.size):
            data = store.tensors.read(entry.blob, tensor)
            # Older releases of PyTorch have no unsigned or 8-bit floating types.
            dtype = getattr(torch, names.get(tensor.dtype, ""), None)
            made = torch.frombuffer(data, dtype=dtype or torch.uint8)
            whole = tensor.shape or made.numel() == 1
            state[tensor.name] = made.reshape(tensor.shape) if dtype is not None and whole else made
    return state


def _array(data: bytearray, tensor: "Tensor", progress: Progress) -> "np.ndarray[Any, Any]":
    import numpy as np  # noqa: PLC0415 - 100 ms, only when numbers are wanted

    from mvs.codecs.cut.dtypes import NUMPY  # noqa: PLC0415 - as numpy

    dtype: Any = NUMPY.get(tensor.dtype)
    if tensor.dtype in _ML_DTYPES:
        name, bits = _ML_DTYPES[tensor.dtype]
        try:
            import ml_dtypes  # noqa: PLC0415 - used where it is installed

            dtype = getattr(ml_dtypes, name)
        except (ImportError, AttributeError):
            progress.notice(f"'{tensor.name}' is {tensor.dtype}: its bits as integers (install ml_dtypes for numbers)")
            dtype = bits
    if dtype is None:
        return np.frombuffer(data, "u1")
    array = np.frombuffer(data, dtype)
    # Where the file does not tell the shape there is one only of what it says is a scalar.
    return array.reshape(tensor.shape) if tensor.shape or array.size == 1 else array
