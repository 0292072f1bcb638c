"""Sizes as people write them: `500MB`, `1.5 GiB`, `4096`."""

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
    return int(float(found[1]) * _UNITS[found[2].upper()])
