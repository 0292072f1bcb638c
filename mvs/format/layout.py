"""The places of a store and the line that says which format they are in."""

from mvs.errors import NotARepository, UnsupportedFormat
from mvs.format.ids import ObjectId

FORMAT_FILE = "format"
FORMAT_LINE = "mvs-store 1"
FORMAT_FAMILY = b"mvs-store "
LOCK = "lock"
OBJECTS = "objects"
PACKS = "packs"
PACKING = "packing"
WORKING = "working"
TAKEN = "taken"
TAGS = "refs/tags"
ALIASES = "refs/aliases"
NOTES = "refs/notes"
PARTIAL = "partial"
JOURNAL = "journal"
STAGING = "staging"
RESCUED = "rescued"
TRASH = "trash"
QUARANTINE = "quarantine"
LOST = "quarantine/lost"
CACHE = "cache"
ARRIVING = "cache/arriving"
EVENTS = "@events"
CHANGED = "changed"
REPOSITORIES = "repositories"

NEEDS_PACKS = "needs-read packs"

# docs/format.md says what each means.
READ_FEATURES: frozenset[str] = frozenset({"packs"})
WRITE_FEATURES: frozenset[str] = frozenset()


def new_format() -> bytes:
    """Return the bytes of the `format` file of a new store."""
    return f"{FORMAT_LINE}\n".encode()


def with_packs(data: bytes) -> bytes:
    """Return the bytes of a `format` file that says there are packs."""
    line = f"{NEEDS_PACKS}\n".encode()
    return data if line in data.splitlines(keepends=True) else data.rstrip(b"\n") + b"\n" + line


def check_format(data: bytes, *, place: str) -> str | None:
    """Check that this release can read the store; return the feature that forbids writing, if any.

    Raises:
        NotARepository: `data` is not the `format` file of a store.
        UnsupportedFormat: a later release wrote it.
    """
    lines = data.decode("utf-8", "replace").split("\n")
    if lines[0] != FORMAT_LINE:
        if lines[0].startswith("mvs-store "):
            raise UnsupportedFormat(f"the store '{place}' has format '{lines[0]}'; this release knows '{FORMAT_LINE}'")
        raise NotARepository(
            f"'{place}' is not a store: its '{FORMAT_FILE}' file is damaged or not ours",
            hint="" if data else "mvs init",
        )
    unwritable = None
    for line in filter(None, lines[1:]):
        need, _, feature = line.partition(" ")
        if need == "needs-write":
            if feature not in WRITE_FEATURES:
                unwritable = unwritable or feature
        elif need != "needs-read" or feature not in READ_FEATURES:
            raise UnsupportedFormat(
                f"the store '{place}' needs the feature '{feature or line}', unknown to this release"
            )
    return unwritable


def object_path(id: ObjectId) -> str:
    """Return where a loose object lies, relative to the store."""
    text = str(id)
    return f"{OBJECTS}/{text[:2]}/{text[2:]}"


def lost_path(id: ObjectId) -> str:
    """Return where the mark lies that an object is lost, relative to the store."""
    return f"{LOST}/{id}"


def pack_path(id: ObjectId) -> str:
    """Return where the pack lies whose file has this BLAKE3, relative to the store."""
    text = str(id)
    return f"{PACKS}/{text[:2]}/{text[2:]}.pack"
