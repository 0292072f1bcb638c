"""The header of GGUF: metadata of which only the alignment matters here, then the tensors.

Source of the format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from mvs.codecs.cut.dtypes import GGML, items_of
from mvs.codecs.cut.source import Cursor, Opaque, Source, Tensor

MAGIC = b"GGUF"
_VERSIONS = (2, 3)
_ALIGNMENT_KEY = "general.alignment"
_DEFAULT_ALIGNMENT = 32

# Bytes a value of each type of the metadata takes; strings and arrays say it themselves.
_WIDTHS = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
_U32 = 4
_STRING = 8
_ARRAY = 9

# A vocabulary has half a million strings at most, and a header tens of MB. Without these
# bounds a file of zeros is gigabytes of empty strings to walk through.
_MAX_HEADER = 256 << 20
_MAX_STRINGS = 1 << 22
_MAX_VALUES = 1 << 16
_MAX_TENSORS = 1 << 18
_MAX_RANK = 8


def tensors(source: Source) -> list[Tensor]:
    """Return what the header says, checked but for overlaps and the end of the file.

    Tensors of a type that is not known are left out: their size is not known either.

    Raises:
        Opaque: it does not parse, contradicts itself or is of another version or byte order.
    """
    cursor = Cursor(source, len(MAGIC), _MAX_HEADER)
    # A big-endian file has its version's bytes the other way round.
    if cursor.u32() not in _VERSIONS:
        raise Opaque("the version is not known")
    count, values = cursor.u64(), cursor.u64()
    if count > _MAX_TENSORS or values > _MAX_VALUES:
        raise Opaque("there are too many tensors or values")
    alignment = _alignment(cursor, values)
    found: dict[str, Tensor | None] = {}
    for _ in range(count):
        name = cursor.text(cursor.u64())
        if name in found:
            raise Opaque("a name occurs twice")
        found[name] = _tensor(cursor, name, alignment)
    data = -(-cursor.at // alignment) * alignment
    return [tensor._replace(offset=data + tensor.offset) for tensor in found.values() if tensor]


def _tensor(cursor: Cursor, name: str, alignment: int) -> Tensor | None:
    rank = cursor.u32()
    if rank > _MAX_RANK:
        raise Opaque("a shape has too many dimensions")
    lengths = [cursor.u64() for _ in range(rank)]
    items = items_of(lengths)
    block, offset = GGML.get(cursor.u32()), cursor.u64()
    if offset % alignment:
        raise Opaque("a tensor is not aligned")
    if block is None:
        return None
    # Blocks never reach over the end of a row; a scalar is a row of one.
    if (lengths[0] if lengths else 1) % block.items:
        raise Opaque("a row is not made of whole blocks")
    return Tensor(name, block.name, tuple(reversed(lengths)), offset, items // block.items * block.size)


def _alignment(cursor: Cursor, values: int) -> int:
    """Walk over the metadata and return the alignment it asks for."""
    alignment = None
    strings = _MAX_STRINGS
    for _ in range(values):
        key, kind = cursor.text(cursor.u64()), cursor.u32()
        if key == _ALIGNMENT_KEY:
            if alignment is not None or kind != _U32:
                raise Opaque("the alignment is given twice, or as no number")
            alignment = cursor.u32()
            if alignment == 0 or alignment & (alignment - 1):
                raise Opaque("the alignment is no power of two")
        elif kind == _STRING:
            cursor.skip(cursor.u64())
        elif kind == _ARRAY:
            kind, length = cursor.u32(), cursor.u64()
            if kind == _STRING:
                strings -= length
                if strings < 0:
                    raise Opaque("there are too many strings")
                for _ in range(length):
                    cursor.skip(cursor.u64())
            else:
                cursor.skip(_width(kind) * length)
        else:
            cursor.skip(_width(kind))
    return alignment or _DEFAULT_ALIGNMENT


def _width(kind: int) -> int:
    # Arrays of arrays are allowed on paper; neither llama.cpp nor anything else writes or reads them.
    if kind not in _WIDTHS:
        raise Opaque("a value is of a type that is not known")
    return _WIDTHS[kind]
