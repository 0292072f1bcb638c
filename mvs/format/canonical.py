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

_PLAIN = frozenset({str, bytes, bool, type(None)})


def encode(value: Any) -> bytes:
    """Return the canonical bytes of None, bool, int, float, str, bytes, list and dict (str keys).

    Raises:
        ValueError: the value holds anything else, is nested deeper than `MAX_DEPTH`, or
            has a number that msgpack or JSON cannot hold.
    """
    _check(value, MAX_DEPTH)
    return pack(_ordered(value))


def pack(value: Any) -> bytes:
    """Return the canonical bytes of a value that is known to be good, its keys in order."""
    packed: bytes = msgpack.packb(value, use_bin_type=True)
    return packed


def decode(data: bytes) -> Any:
    """Return the value whose canonical encoding is `data`.

    Raises:
        ValueError: `data` is not canonical msgpack of one value.
    """
    try:
        # Packing keeps the order of keys, which the hook has checked; it differs where a
        # header is wider than it must be.
        value = msgpack.unpackb(data, raw=False, use_list=True, object_pairs_hook=_sorted_map)
        _check(value, MAX_DEPTH)
        again = pack(value)
    except (TypeError, OverflowError, msgpack.UnpackException) as error:
        raise ValueError(f"not msgpack: {error}") from error
    if again != data:
        raise ValueError("not in canonical form")
    return value


def unchecked(data: bytes) -> Any:
    """Return the value whose encoding is `data`, canonical or not.

    Raises:
        ValueError: `data` is not msgpack of one value.
    """
    try:
        return msgpack.unpackb(data, raw=False, use_list=True)
    except (TypeError, OverflowError, msgpack.UnpackException) as error:
        raise ValueError(f"not msgpack: {error}") from error


def _sorted_map(pairs: list[tuple[Any, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs) or list(found) != sorted(found):
        raise ValueError("keys are not sorted, or occur twice")
    return found


def _ordered(value: Any) -> Any:
    if type(value) is dict:
        # Code point order is UTF-8 byte order.
        return {key: _ordered(value[key]) for key in sorted(value)}
    if type(value) is list:
        return [_ordered(item) for item in value]
    return value


def _check(value: Any, depth: int) -> None:
    kind = type(value)
    if kind is dict or kind is list:
        if depth == 0:
            raise ValueError(f"nested deeper than {MAX_DEPTH} levels")
        if kind is dict:
            for key in value:
                if type(key) is not str:
                    raise ValueError(f"key {key!r} is not a string")
            value = value.values()
        for item in value:
            kind = type(item)
            # Most values of a manifest end here, without another call.
            if kind not in _PLAIN and not (kind is int and MIN_INT <= item <= MAX_INT):
                _check(item, depth - 1)
    elif kind is int:
        if not MIN_INT <= value <= MAX_INT:
            raise ValueError(f"integer {value} does not fit 64 bits")
    elif kind is float:
        if not math.isfinite(value):
            raise ValueError(f"{value} is not a finite number")
    elif kind not in _PLAIN:
        raise ValueError(f"{kind.__name__} has no canonical form")
