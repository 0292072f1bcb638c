"""Times as people write them: `2026-11-23`, `2026-11-23T12:00+01:00`, `7 days ago`, `yesterday`."""

import re
from datetime import UTC, datetime, timedelta

_NS = 1_000_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# All times of versions lie within.
_LIMIT = 2**63 - 1
_SECONDS = {
    "s sec secs second seconds": 1,
    "m min mins minute minutes": 60,
    "h hour hours": 3600,
    "d day days": 86400,
    "w week weeks": 7 * 86400,
    "month months": 30 * 86400,
    "y year years": 365 * 86400,
}
_UNITS = {unit: seconds for units, seconds in _SECONDS.items() for unit in units.split()}
_AGO = re.compile(r"([0-9]{1,18}(?:\.[0-9]{1,9})?) *([a-z]+)(?: +ago)?\Z")


def parse_moment(text: str, now: int) -> int:
    """Return a time in nanoseconds since the epoch; one without a zone is in that of this machine.

    Raises:
        ValueError: `text` is no time.
    """
    words = text.strip().lower()
    ago = _AGO.match(words)
    try:
        if words == "now":
            at = now
        elif words in ("today", "yesterday"):
            day = datetime.fromtimestamp(now // _NS, UTC).astimezone().date() - timedelta(days=words == "yesterday")
            at = _nanoseconds(datetime(day.year, day.month, day.day))
        elif ago and ago[2] in _UNITS:
            at = now - int(float(ago[1]) * _UNITS[ago[2]] * _NS)
        else:
            at = _nanoseconds(datetime.fromisoformat(text.strip()))
    except (ValueError, OverflowError, OSError):
        raise ValueError(f"'{text}' is no time, such as 2026-11-23, 2026-11-23T12:00Z or 7 days ago") from None
    return max(-_LIMIT, min(at, _LIMIT))


def _nanoseconds(moment: datetime) -> int:
    return (moment.astimezone(UTC) - _EPOCH) // timedelta(microseconds=1) * 1000
