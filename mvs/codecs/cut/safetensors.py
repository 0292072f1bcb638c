"""The header of safetensors, read and made: a length, a JSON object, then the tensors.

Source of the format: https://github.com/huggingface/safetensors, README and tensor.rs.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from mvs.codecs.cut.dtypes import BITS, items_of
from mvs.codecs.cut.source import Opaque, Source, Tensor

# The limit of the reference implementation.
MAX_HEADER = 100_000_000
# JSON values take up to 50 times their text in memory: their number is bounded, not only
# their bytes. A tensor has 8 of these signs, so this is a quarter of a million tensors.
_MAX_SIGNS = 2_000_000
# Text with one wide character takes four bytes for each of its characters.
_MAX_WIDE = MAX_HEADER // 4


def tensors(source: Source) -> list[Tensor]:
    """Return what the header says, checked but for overlaps and the end of the file.

    A type that is not known leaves `dtype` empty; its size is the file's word.

    Raises:
        Opaque: it does not parse or contradicts itself.
    """
    length = int.from_bytes(source.read(0, 8), "little")
    if length > min(MAX_HEADER, source.size - 8):
        raise Opaque("the header is longer than the file, or than a header may be")
    header = _parsed(source.read(8, length))
    return [_tensor(name, entry, 8 + length) for name, entry in header.items() if name != "__metadata__"]


def header(tensors: Iterable[tuple[str, str, tuple[int, ...], int]], metadata: Mapping[str, str]) -> bytes:
    """Return the beginning of a file whose tensors (name, type, shape, bytes) follow in this order without gaps.

    Spaces fill it up to a multiple of 8, so that the widest types are aligned when they come first.

    Raises:
        ValueError: the header would be longer than readers accept.
    """
    entries: dict[str, Any] = {"__metadata__": dict(metadata)}
    end = 0
    for name, dtype, shape, size in tensors:
        entries[name] = {"dtype": dtype, "shape": shape, "data_offsets": [end, end + size]}
        end += size
    text = json.dumps(entries, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    if len(text) > MAX_HEADER:
        raise ValueError(f"a header of {len(text)} bytes is longer than the {MAX_HEADER} that readers accept")
    return len(text).to_bytes(8, "little") + text


def _parsed(header: bytes) -> dict[str, Any]:
    if sum(map(header.count, (b",", b"[", b"{"))) > _MAX_SIGNS:
        raise Opaque("the header has too many values")
    if len(header) > _MAX_WIDE and not header.isascii():
        raise Opaque("the header is too long")
    try:
        parsed = json.loads(header.decode(), object_pairs_hook=_unique)
    # RecursionError: nested too deeply. ValueError: no JSON, no UTF-8, or a number of thousands of digits.
    except (ValueError, RecursionError):
        raise Opaque("the header is not JSON") from None
    if not isinstance(parsed, dict):
        raise Opaque("the header is not an object")
    return parsed


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    unique = dict(pairs)
    if len(unique) < len(pairs):
        raise Opaque("a name occurs twice")
    return unique


def _tensor(name: str, entry: Any, data: int) -> Tensor:
    if not isinstance(entry, dict):
        raise Opaque("a tensor is not described by an object")
    dtype, shape, offsets = entry.get("dtype"), entry.get("shape"), entry.get("data_offsets")
    if not (isinstance(dtype, str) and isinstance(shape, list) and isinstance(offsets, list) and len(offsets) == 2):
        raise Opaque("a tensor lacks its type, shape or offsets")
    items = items_of(shape)
    begin, end = offsets
    # The same is asked of an offset as of a length: a number, not negative, of 63 bits.
    items_of(offsets)
    if end < begin:
        raise Opaque("a tensor ends before it begins")
    bits = BITS.get(dtype)
    if bits is not None and items * bits != (end - begin) * 8:
        raise Opaque("shape and type do not make the size")
    return Tensor(name, "" if bits is None else dtype, tuple(shape), data + begin, end - begin)
