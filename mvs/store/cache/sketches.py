"""Sketches: where the tensors of a blob lie, and a few of their numbers.

They tell which blobs are alike without reading them. Derived, kept under `cache/sketches/`.
"""

import contextlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, BinaryIO

import msgpack

from mvs.backends.directory import Directory
from mvs.codecs import cut
from mvs.codecs.cut import Source, Tensor
from mvs.format.ids import ObjectId
from mvs.format.layout import CACHE
from mvs.store.objects import Objects

_FOLDER = f"{CACHE}/sketches"
_VERSION = 2
# Of each tensor so many runs of so many bytes: enough to tell a fine-tune from a stranger.
_RUNS = 4
_RUN_BYTES = 32
# Smaller tensors say nothing that the larger ones do not.
_SMALLEST = 4096


@dataclass(frozen=True)
class Sketch:
    """The tensors of a blob (`rows` has their fields), and for each the bytes of its sample (empty for a small one)."""

    rows: tuple[tuple[Any, ...], ...]
    samples: tuple[bytes, ...]

    @cached_property
    def tensors(self) -> tuple[Tensor, ...]:
        """The tensors, by offset. Of most sketches of a large store nobody asks for them."""
        return tuple(Tensor(*row) for row in self.rows)

    @cached_property
    def by_shape(self) -> dict[tuple[str, int], list[int]]:
        """The numbers of the tensors that have a sample, by type and size."""
        found: dict[tuple[str, int], list[int]] = {}
        for number, (_, dtype, _, _, size) in enumerate(self.rows):
            if self.samples[number]:
                found.setdefault((dtype, size), []).append(number)
        return found


class Sketches:
    """The sketches of the blobs of a store; with `far` some of them are fetched as they are read."""

    def __init__(self, disk: Directory, objects: Objects, *, far: bool = False) -> None:
        self._disk = disk
        self._objects = objects
        self._far = far
        self._kept: dict[ObjectId, Sketch] = {}

    def of(self, id: ObjectId, size: int) -> Sketch:
        """Return the sketch of a blob, made when it is not there.

        Raises:
            MissingObject: the store does not have it.
        """
        sketch = self._kept.get(id)
        if sketch is None:
            sketch = self._stored(id, size)
            if sketch is None:
                sketch = self._made(id, size)
            self._kept[id] = sketch
        return sketch

    def tensors(self, id: ObjectId, size: int) -> tuple[Tensor, ...]:
        """Return the tensors of a blob by offset. A blob that is far away is not sketched for that.

        Raises:
            Corrupt: it cannot be read.
        """
        if not self._far:
            return self.of(id, size).tensors
        with self._objects.open(id) as file:
            return cut.tensors_of(FileSource(file, size))

    def external(self, model: ObjectId, size: int) -> dict[str, tuple[Tensor, ...]]:
        """Return where a blob, if it is an ONNX model, says that tensors lie in other files, by their paths."""
        with self._objects.open(model) as file:
            return cut.external_tensors(FileSource(file, size))

    def teach(self, id: ObjectId, size: int, tensors: tuple[Tensor, ...]) -> None:
        """Say where the tensors of a blob lie that does not tell itself; what cannot be is not believed."""
        if self.of(id, size).rows or any(tensor.offset + tensor.size > size for tensor in tensors):
            return
        with self._objects.open(id) as file:
            self._learn(id, FileSource(file, size), tensors)

    def forget(self, id: ObjectId) -> None:
        """Drop a sketch: the bytes that it was made of were damaged."""
        self._kept.pop(id, None)
        self._disk.discard(self._disk.path(_key(id)))

    def sweep(self, wanted: Callable[[ObjectId], bool]) -> None:
        """Remove the sketches of blobs that are not wanted."""
        self._disk.own(_FOLDER)
        folders = [folder.name for folder in self._disk.entries(_FOLDER) if folder.is_dir(follow_symlinks=False)]
        for name in folders:
            for entry in list(self._disk.entries(f"{_FOLDER}/{name}")):
                with contextlib.suppress(OSError, ValueError):
                    if not wanted(ObjectId.from_hex(name + entry.name)):
                        os.unlink(entry.path)

    def _made(self, id: ObjectId, size: int) -> Sketch:
        with self._objects.open(id) as file:
            source = FileSource(file, size)
            return self._learn(id, source, cut.tensors_of(source))

    def _learn(self, id: ObjectId, source: Source, tensors: tuple[Tensor, ...]) -> Sketch:
        sketch = Sketch(tuple(map(tuple, tensors)), tuple(_sample(source, tensor) for tensor in tensors))
        # A store that cannot be written to is sketched again next time.
        self._disk.cache(_key(id), msgpack.packb([_VERSION, sketch.rows, sketch.samples]))
        self._kept[id] = sketch
        return sketch

    def _stored(self, id: ObjectId, size: int) -> Sketch | None:
        try:
            version, rows, samples = msgpack.unpackb(self._disk.read(_key(id)), use_list=False)
            if version != _VERSION or len(rows) != len(samples) or not _is_sound(rows, samples, size):
                return None
            return Sketch(rows, samples)
        except (OSError, ValueError, TypeError, msgpack.UnpackException):
            return None


class FileSource:
    """An open file as a source of bytes."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file = file
        self.size = size

    def read(self, offset: int, count: int) -> bytes:
        """Return `count` bytes from `offset`; fewer only at the end."""
        self._file.seek(offset)
        return self._file.read(count)


def _is_sound(rows: Any, samples: Any, size: int) -> bool:
    """Tell whether rows are tensors that follow one another in a blob, each with the sample that it must have."""
    at = 0
    for (name, dtype, shape, offset, length), sample in zip(rows, samples, strict=True):
        if not (type(name) is type(dtype) is str and type(offset) is type(length) is int and type(shape) is tuple):
            return False
        if length <= 0 or offset < at or any(type(extent) is not int for extent in shape):
            return False
        if type(sample) is not bytes or len(sample) != (_RUNS * _RUN_BYTES if length >= _SMALLEST else 0):
            return False
        at = offset + length
    return at <= size


def _sample(source: Source, tensor: Tensor) -> bytes:
    """Return runs from places that do not move when a tensor grows a little."""
    if tensor.size < _SMALLEST:
        return b""
    step = (1 << (tensor.size.bit_length() - 1)) // _RUNS
    return b"".join(source.read(tensor.offset + run * step, _RUN_BYTES) for run in range(_RUNS))


def _key(id: ObjectId) -> str:
    text = str(id)
    return f"{_FOLDER}/{text[:2]}/{text[2:]}"
