"""Labels, metadata and context: what Python objects become when they are stored.

Values that frameworks hand out (numpy scalars and arrays, 0-d tensors, datetimes, paths)
are turned into what JSON can hold; anything that would lose meaning is refused by the
path it has in the metadata.
"""

import datetime
import enum
import math
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from mvs.errors import InvalidMetadata
from mvs.format.canonical import MAX_DEPTH, MAX_INT, MIN_INT

# The manifest adds two levels of its own around metadata.
_DEPTH = MAX_DEPTH - 2


def labels_of(labels: Mapping[str, str] | None) -> dict[str, str]:
    """Return `labels` as they are stored: strings to strings.

    Raises:
        InvalidMetadata: a key or value is no string, or a key is empty, has blanks
            around it, or holds '=' or a control character.
    """
    if labels is None:
        return {}
    if not isinstance(labels, Mapping):
        raise InvalidMetadata(f"labels are a dict of strings, not {type(labels).__name__}")
    stored: dict[str, str] = {}
    for key, value in labels.items():
        if not isinstance(key, str) or not isinstance(value, str):
            raise InvalidMetadata(
                f"label {key!r}: {value!r} is not a string to a string; numbers and other values belong in metadata"
            )
        if not key or key != key.strip() or "=" in key or not key.isprintable():
            raise InvalidMetadata(f"label {key!r} is empty or has '=', blanks or control characters")
        _check_text(key, f"label {key!r}")
        _check_text(value, f"label {key!r}")
        stored[str(key)] = str(value)
    return stored


def metadata_of(metadata: Mapping[str, Any] | None, what: str = "metadata") -> dict[str, Any]:
    """Return `metadata` as it is stored: what JSON can hold, with string keys at every level.

    numpy and array-likes with `tolist`, datetimes (ISO 8601), paths, enums and tuples
    are converted.

    Raises:
        InvalidMetadata: a value has no such form (NaN, infinities, bytes, complex, sets,
            integers over 64 bits, any other object); the message gives its place.
    """
    if metadata is None:
        return {}
    if not isinstance(metadata, Mapping):
        raise InvalidMetadata(f"{what} is a dict, not {type(metadata).__name__}")
    stored = _plain(metadata, what, _DEPTH)
    assert isinstance(stored, dict)
    return stored


def _plain(value: Any, where: str, depth: int) -> Any:
    if depth == 0:
        raise InvalidMetadata(f"{where.partition('.')[0]} is nested deeper than {_DEPTH} levels")
    # Enums first: a member of a str or int enum is an instance of both.
    if isinstance(value, enum.Enum):
        return _plain(value.value, where, depth - 1)
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        _check_text(value, where)
        return str(value)
    if isinstance(value, int):
        if not MIN_INT <= value <= MAX_INT:
            raise InvalidMetadata(f"{where}: integer {value} does not fit 64 bits")
        return int(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise InvalidMetadata(f"{where}: {value} is not a finite number, and JSON has no other")
        return float(value)
    if isinstance(value, Mapping):
        return {_key(key, where): _plain(item, f"{where}.{key}", depth - 1) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item, f"{where}[{index}]", depth - 1) for index, item in enumerate(value)]
    if isinstance(value, datetime.datetime | datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, PurePath):
        _check_text(str(value), where)
        return str(value)
    if hasattr(value, "dtype") and hasattr(value, "tolist"):
        return _plain(_array(value, where), where, depth - 1)
    raise InvalidMetadata(f"{where}: {type(value).__name__} is nothing JSON can hold")


def _array(value: Any, where: str) -> Any:
    kind = getattr(value.dtype, "kind", "")
    plain = value.tolist()
    # numpy: spans and records have no form of their own in JSON, masks hide values, and
    # a moment in nanoseconds becomes a bare number, NaT None.
    if kind in tuple("mV") or hasattr(value, "mask") or (kind == "M" and not _are_dates(plain)):
        raise InvalidMetadata(f"{where}: {type(value).__name__} of {value.dtype} would lose its meaning in JSON")
    # A type whose tolist() gives itself back would recurse for ever.
    if hasattr(plain, "dtype"):
        raise InvalidMetadata(f"{where}: {type(value).__name__} is nothing JSON can hold")
    return plain


def _are_dates(plain: Any) -> bool:
    return all(map(_are_dates, plain)) if isinstance(plain, list) else isinstance(plain, datetime.date)


def _key(key: Any, where: str) -> str:
    if not isinstance(key, str):
        raise InvalidMetadata(f"{where}: key {key!r} is not a string")
    _check_text(key, where)
    return str(key)


def _check_text(text: str, where: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InvalidMetadata(f"{where}: {text!r} is not valid Unicode") from None
