"""What a check found: facts, and findings of a fixed set of kinds (docs/fsck.md)."""

from dataclasses import dataclass
from typing import Any

from mvs.format.names import Tag

REF_DAMAGED = "ref-damaged"
REF_MISSING = "ref-missing"
REFS_LOST = "refs-lost"
ALIAS_DAMAGED = "alias-damaged"
ALIAS_DANGLING = "alias-dangling"
NOTES_DAMAGED = "notes-damaged"
LATEST_STALE = "latest-stale"
LATEST_WRONG = "latest-wrong"
JOURNAL_DAMAGED = "journal-damaged"
JOURNAL_CUT = "journal-cut"
MANIFEST_MISSING = "manifest-missing"
MANIFEST_DAMAGED = "manifest-damaged"
PARTIAL_DAMAGED = "partial-damaged"
OBJECT_MISSING = "object-missing"
OBJECT_DAMAGED = "object-damaged"
PACK_DAMAGED = "pack-damaged"
RECORD_DAMAGED = "record-damaged"
RECORD_UNREACHABLE = "record-unreachable"
INDEX_WRONG = "index-wrong"
INDEX_STALE = "index-stale"

# What readers pass over, what a process that was killed may leave, and what a user asked for: told, and no damage.
HARMLESS = frozenset({REF_MISSING, ALIAS_DANGLING, LATEST_STALE, JOURNAL_CUT, INDEX_STALE})
KINDS = (
    REF_DAMAGED,
    REF_MISSING,
    REFS_LOST,
    ALIAS_DAMAGED,
    ALIAS_DANGLING,
    NOTES_DAMAGED,
    LATEST_STALE,
    LATEST_WRONG,
    JOURNAL_DAMAGED,
    JOURNAL_CUT,
    MANIFEST_MISSING,
    MANIFEST_DAMAGED,
    PARTIAL_DAMAGED,
    OBJECT_MISSING,
    OBJECT_DAMAGED,
    PACK_DAMAGED,
    RECORD_DAMAGED,
    RECORD_UNREACHABLE,
    INDEX_WRONG,
    INDEX_STALE,
)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as it must be.

    Attributes:
        kind: one of the kinds in docs/fsck.md.
        what: the id of an object, or a path in the store.
        message: what is wrong, in words.
        versions: the versions that suffer.
        hint: a command that leads on, or an empty string.
    """

    kind: str
    what: str
    message: str
    versions: tuple[Tag, ...] = ()
    hint: str = ""

    @property
    def harmless(self) -> bool:
        """Whether it is no damage: readers pass over it, or somebody asked for it."""
        return self.kind in HARMLESS

    def to_dict(self) -> dict[str, Any]:
        """Return the facts as JSON holds them."""
        return {
            "kind": self.kind,
            "what": self.what,
            "message": self.message,
            "versions": list(map(str, self.versions)),
            "hint": self.hint,
            "harmless": self.harmless,
        }


@dataclass(frozen=True, slots=True)
class Amount:
    """A number of things, and their bytes."""

    count: int = 0
    size: int = 0

    def __add__(self, other: "Amount") -> "Amount":
        return Amount(self.count + other.count, self.size + other.size)


@dataclass(frozen=True, slots=True)
class Report:
    """What a check looked at, and what it found.

    Attributes:
        level: "quick", "full" or "sample".
        findings: what is not as it must be, sorted by kind.
        versions: how many versions were looked at.
        amounts: how many there are, and their bytes: `files` of versions, those of them that were `not-pulled`, loose
            `objects`, `packs`, `records` in packs, what was `verified` byte by byte; rubbish: `unreferenced` objects
            and `unreferenced-records`, `sessions` of dead processes, `temporary` files, `trash`; files in
            `quarantine`.
    """

    level: str
    findings: tuple[Finding, ...]
    versions: int
    amounts: dict[str, Amount]

    @property
    def ok(self) -> bool:
        """Whether nothing is damaged."""
        return all(finding.harmless for finding in self.findings)

    def to_dict(self) -> dict[str, Any]:
        """Return the facts as JSON holds them."""
        return {
            "ok": self.ok,
            "level": self.level,
            "versions": self.versions,
            **{name: {"count": amount.count, "size": amount.size} for name, amount in self.amounts.items()},
            "findings": [finding.to_dict() for finding in self.findings],
        }
