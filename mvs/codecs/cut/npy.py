"""Arrays as numpy saves them: a header that is a Python dict in text, then the items.

The header is matched, not evaluated. Source of the format: numpy.lib.format.
"""

import re

from mvs.codecs.cut.dtypes import items_of
from mvs.codecs.cut.source import Opaque, Source, Tensor

MAGIC = b"\x93NUMPY"
# numpy itself refuses longer ones unless told otherwise.
_MAX_HEADER = 10_000

_DTYPES = {
    "b1": "BOOL",
    "i1": "I8",
    "u1": "U8",
    "i2": "I16",
    "u2": "U16",
    "f2": "F16",
    "i4": "I32",
    "u4": "U32",
    "f4": "F32",
    "i8": "I64",
    "u8": "U64",
    "f8": "F64",
    "c8": "C64",
    "c16": "C128",
}
_ITEM = r"'(descr|fortran_order|shape)':\s*('[^']*'|True|False|\([0-9L, ]*\))"
_HEADER = re.compile(rf"\{{\s*{_ITEM},\s*{_ITEM},\s*{_ITEM},?\s*\}}\s*")
# Type, byte order and width; for dates, the unit. Objects ('|O') are pickles and have no width.
_DESCR = re.compile(r"'([<>|=]?)([biufcSVUmM])([0-9]{1,9})(?:\[[0-9A-Za-z/]{1,20}\])?'")


def tensors(source: Source) -> list[Tensor]:
    """Return the array of a `.npy` file.

    Raises:
        Opaque: the array is larger than the file.
    """
    found = array(source, 0, source.size, "")
    return [found] if found else []


def array(source: Source, start: int, stop: int, name: str) -> Tensor | None:
    """Return the array that is saved in `source[start:stop]`, or None when there is no plain one.

    Objects and records are not plain. Items that are big-endian, texts or dates have no
    dtype; Fortran order has no shape. Bytes may follow the array.

    Raises:
        Opaque: the array is larger than that.
    """
    head = source.read(start, min(12, stop - start))
    if head[:6] != MAGIC or len(head) < 12 or head[6] not in (1, 2, 3):
        return None
    begin = start + (10 if head[6] == 1 else 12)
    length = int.from_bytes(head[8 : begin - start], "little")
    if length > min(_MAX_HEADER, stop - begin):
        return None
    match = _HEADER.fullmatch(source.read(begin, length).decode("latin-1"))
    said = dict(zip(match.groups()[::2], match.groups()[1::2], strict=True)) if match else {}
    item = _DESCR.fullmatch(said.get("descr", ""))
    # Three, or a key was there twice.
    if item is None or len(said) != 3:
        return None
    order, kind, width = item.groups()
    dtype = "" if order == ">" and width != "1" else _DTYPES.get(kind + width, "")
    shape = _shape(said["shape"])
    # A character of numpy is four bytes.
    size = items_of(shape) * int(width) * (4 if kind == "U" else 1)
    if size > stop - begin - length:
        raise Opaque("the array is larger than the file")
    # A vector is in both orders at once, and numpy then says C.
    return Tensor(name, dtype, () if said["fortran_order"] != "False" else shape, begin + length, size)


def _shape(text: str) -> tuple[int, ...]:
    if not text.startswith("("):
        raise Opaque("the shape is no tuple")
    lengths = [part.strip().removesuffix("L") for part in text[1:-1].split(",")]
    if lengths[-1] == "":
        del lengths[-1]
    # 19 digits: what fits 64 bits. int() of thousands of digits is slow, then refused.
    if not all(part.isdigit() and len(part) < 20 for part in lengths):
        raise Opaque("the shape is not made of lengths")
    return tuple(map(int, lengths))
