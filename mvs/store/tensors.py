"""The tensors of blobs: where they lie, and the ids of their bytes."""

from collections.abc import Iterator
from typing import NamedTuple

import msgpack
from blake3 import blake3

from mvs.backends.directory import Directory
from mvs.codecs.cut import Tensor
from mvs.errors import CorruptObject
from mvs.format.ids import ObjectId
from mvs.format.layout import CACHE
from mvs.format.pack import CONCAT, Span
from mvs.running.parallel import Advance, ordered
from mvs.store.cache.sketches import Sketches
from mvs.store.objects import Objects

# A run is hashed in steps of so many bytes.
_STEP = 4 << 20


class Named(NamedTuple):
    """A tensor of a blob, and the BLAKE3 of its bytes."""

    tensor: Tensor
    id: ObjectId


class Tensors:
    """The tensors of the blobs of a store."""

    def __init__(self, disk: Directory, objects: Objects, sketches: Sketches) -> None:
        self._disk = disk
        self._objects = objects
        self._sketches = sketches

    def places(self, blob: ObjectId, size: int) -> tuple[Tensor, ...]:
        """Return the tensors of a blob by offset, none where its format is not known.

        Raises:
            Corrupt: it cannot be read.
        """
        return self._sketches.tensors(blob, size)

    def of(self, blob: ObjectId, size: int, *, advance: Advance = lambda amount: None) -> list[Named]:
        """Return the tensors of a blob with their ids. Those of a packed one are known without reading it.

        `advance` is told the bytes that were hashed, from any thread.

        Raises:
            Corrupt: it cannot be read.
        """
        tensors = self.places(blob, size)
        if not tensors:
            return []
        ids = self._kept(blob, len(tensors))
        if ids is None:
            ids = list(ordered(lambda tensor: self._id(Span(blob, tensor.offset, tensor.size), 0, advance), tensors))
            self._disk.cache(_key(blob), msgpack.packb([id.raw for id in ids]))
        return [Named(tensor, id) for tensor, id in zip(tensors, ids, strict=True)]

    def read(self, blob: ObjectId, tensor: Tensor) -> bytearray:
        """Return the bytes of one tensor; only the blocks that it consists of, and their bases, are read.

        Raises:
            Corrupt: they cannot be read.
        """
        data = bytearray(tensor.size)
        at = 0
        for block in self._blocks(Span(blob, tensor.offset, tensor.size)):
            data[at : at + len(block)] = block
            at += len(block)
        return data

    def forget(self, blob: ObjectId) -> None:
        """Drop the ids that were told of the tensors of a blob: its bytes were damaged."""
        self._disk.discard(self._disk.path(_key(blob)))

    def _blocks(self, span: Span) -> "Iterator[bytes | memoryview]":
        if not self._objects.is_loose(span.id):
            yield from self._objects.packed.run(span)
            return
        with self._objects.open(span.id) as file:
            file.seek(span.offset)
            left = span.length
            while left and (block := file.read(min(left, _STEP))):
                left -= len(block)
                yield block
            if left:
                raise CorruptObject(f"object {span.id} is shorter than it was")

    def _id(self, span: Span, chain: int, advance: Advance) -> ObjectId:
        """Return the id of a run: from the recipe of its blob where it is a part of that, else by hashing it."""
        found = None if self._objects.is_loose(span.id) else self._objects.packs.find(span.id)
        if found and chain < 8:
            record = found[1]
            if span.offset == 0 and span.length == record.size:
                return record.id
            at = 0
            for part in record.refs if record.encoding == CONCAT else ():
                if (at, part.length) == (span.offset, span.length):
                    return self._id(part, chain + 1, advance)
                at += part.length
        hasher = blake3()
        for block in self._blocks(span):
            hasher.update(block)
            advance(len(block))
        return ObjectId(hasher.digest())

    def _kept(self, blob: ObjectId, count: int) -> list[ObjectId] | None:
        try:
            digests = msgpack.unpackb(self._disk.read(_key(blob)))
            ids = [ObjectId(digest) for digest in digests if type(digest) is bytes and len(digest) == 32]
        except (OSError, ValueError, TypeError, msgpack.UnpackException):
            return None
        return ids if len(ids) == count else None


def _key(id: ObjectId) -> str:
    text = str(id)
    return f"{CACHE}/tensors/{text[:2]}/{text[2:]}"
