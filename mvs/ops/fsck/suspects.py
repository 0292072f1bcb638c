"""What looks wrong, until it was looked at again: beside a check, others save, delete, dedup and collect."""

from collections.abc import Callable
from dataclasses import dataclass, field

from mvs.errors import Corrupt, MvsError, StorageFailed, UnsupportedFormat
from mvs.format.ids import ObjectId
from mvs.format.names import Tag

# What reading something stored may end in. A disk that fails to read has lost it as well.
FAILURES = (Corrupt, UnsupportedFormat, StorageFailed, OSError)


@dataclass(slots=True)
class Suspect:
    """Something that may be a finding.

    Attributes:
        kind, what, message, hint: as those of the finding.
        still: looks again, shortly, and tells whether it is still so; the lock of the store is held then.
        again: looks again before that, without the lock, for as long as it takes.
        tags: versions that are known to suffer; more are found by `ids`.
        ids: objects that cannot be had, so that the versions which stand on them suffer.
        leans: it is only a finding where nothing that it stands on is one.
    """

    kind: str
    what: str
    message: str
    still: Callable[[], bool]
    again: Callable[[], bool] = lambda: True
    hint: str = ""
    tags: list[Tag] = field(default_factory=list)
    ids: list[ObjectId] = field(default_factory=list)
    loose: bool = False
    """What is bad of `ids` is their own file, not what packs have of them."""
    leans: bool = False
    pointless: bool = False
    """No finding where no version suffers."""


def reason(error: BaseException) -> str:
    """Return what an error says."""
    if isinstance(error, MvsError):
        return error.message
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
