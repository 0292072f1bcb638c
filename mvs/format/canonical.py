"""Canonical msgpack: one value, one sequence of bytes.

msgpack itself allows several encodings of a value (map order, header widths, repeated
keys), so decoding encodes again and compares; what differs is refused.
Source of the format: the msgpack specification, https://github.com/msgpack/msgpack
"""

import math
from typing import Any

import msgpack

MAX_DEPTH = 100
MIN_INT = -(2**63)
MAX_INT = 2**64 - 1


def encode(value: Any) -> bytes:
    """Return the canonical bytes of None, bool, int, float, str, bytes, list and dict (str keys).

    Raises:
        ValueError: the value holds anything else, is nested deeper than `MAX_DEPTH`, or
            has a number that msgpack or JSON cannot hold.
    """
    packed: bytes = msgpack.packb(_ordered(value, MAX_DEPTH), use_bin_type=True)
    return packed


def decode(data: bytes) -> Any:
    """Return the value whose canonical encoding is `data`.

    Raises:
        ValueError: `data` is not canonical msgpack of one value.
    """
    try:
        value = msgpack.unpackb(data, raw=False, strict_map_key=True, use_list=True)
        again = encode(value)
    except (TypeError, OverflowError, msgpack.UnpackException) as error:
        raise ValueError(f"not msgpack: {error}") from error
    if again != data:
        raise ValueError("not in canonical form")
    return value


def _ordered(value: Any, depth: int) -> Any:
    kind = type(value)
    if kind is str or kind is bytes or kind is bool or value is None:
        return value
    if kind is int:
        if not MIN_INT <= value <= MAX_INT:
            raise ValueError(f"integer {value} does not fit 64 bits")
        return value
    if kind is float:
        if not math.isfinite(value):
            raise ValueError(f"{value} is not a finite number")
        return value
    if depth == 0:
        raise ValueError(f"nested deeper than {MAX_DEPTH} levels")
    if kind is list:
        return [_ordered(item, depth - 1) for item in value]
    if kind is dict:
        for key in value:
            if type(key) is not str:
                raise ValueError(f"key {key!r} is not a string")
        # Code point order is UTF-8 byte order.
        return {key: _ordered(value[key], depth - 1) for key in sorted(value)}
    raise ValueError(f"{kind.__name__} has no canonical form")
