"""Sizes and times as people write them: `500MB`, `1.5 GiB`, `4096`; `7d`, `12h`, `now`."""

import re

_UNITS = {"": 1, "B": 1} | {
    unit + end: base ** (power + 1)
    for power, unit in enumerate("KMGT")
    for end, base in (("", 1024), ("B", 1000), ("IB", 1024))
}


def parse_size(text: str) -> int:
    """Return a number of bytes. `K` and `KiB` are 1024, `kB` is 1000, in any case of letters.

    Raises:
        ValueError: `text` is no size.
    """
    found = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?) *([A-Za-z]*)", text.strip())
    if not found or found[2].upper() not in _UNITS:
        raise ValueError(f"'{text}' is no size, such as 500MB or 1.5GiB")
    return _product(found[1], _UNITS[found[2].upper()])


_SPANS = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400, "w": 7 * 86400}


def parse_duration(text: str) -> int:
    """Return a span of time in nanoseconds; `now` is none at all.

    Raises:
        ValueError: `text` is no span of time.
    """
    if text.strip() == "now":
        return 0
    found = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?) *([a-z]+)", text.strip())
    if not found or found[2] not in _SPANS:
        raise ValueError(f"'{text}' is no span of time, such as 7d, 12h or now")
    return _product(found[1], _SPANS[found[2]] * 1_000_000_000)


def _product(number: str, unit: int) -> int:
    try:
        return int(float(number) * unit)
    except OverflowError:
        raise ValueError(f"'{number}' is too large") from None
