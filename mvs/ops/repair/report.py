"""What a repair did, and how the store is afterwards."""

from dataclasses import dataclass
from typing import Any, NamedTuple

from mvs.format.names import Tag
from mvs.ops.fsck import Report


class Mended(NamedTuple):
    """Something that is whole again.

    Attributes:
        what: the id of an object, or a path in the store.
        how: where its bytes came from, in words.
    """

    what: str
    how: str


@dataclass(frozen=True, slots=True)
class Repaired:
    """What a repair did.

    Attributes:
        before: the check that it began with.
        after: the check that it ended with; the same where nothing was to be done.
        mended: what is whole again.
        quarantined: the paths in the store of what was damaged, could not be mended, and was moved out of the way.
    """

    before: Report
    after: Report
    mended: tuple[Mended, ...]
    quarantined: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing is damaged any more."""
        return self.after.ok

    @property
    def broken(self) -> tuple[Tag, ...]:
        """The versions that still suffer."""
        return tuple(sorted({tag for found in self.after.findings if not found.harmless for tag in found.versions}))

    def to_dict(self) -> dict[str, Any]:
        """Return the facts as JSON holds them: those of the last check, and what was done before it."""
        return {
            **self.after.to_dict(),
            "found": [finding.to_dict() for finding in self.before.findings],
            "mended": [mended._asdict() for mended in self.mended],
            "quarantined": list(self.quarantined),
            "broken": list(map(str, self.broken)),
        }
