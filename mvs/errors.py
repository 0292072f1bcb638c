"""Every error of mvs, in one tree, grouped by what a handler would do about it.

    MvsError                     1
    ├── InvalidInput            10  the caller must ask differently
    │   ├── InvalidTag          11  (a ValueError)
    │   ├── InvalidMetadata     12  (a ValueError) labels, metadata, context
    │   ├── InvalidPath         13  a path or file that a version cannot hold
    │   ├── InvalidConfig       14
    │   ├── EmptyFolder         15
    │   ├── ForbiddenPlace      16  the store itself, or files mvs does not own
    │   ├── NeedsAll            17  a bare name where every version would go
    │   ├── MissingExtra        18  a library that is not installed
    │   ├── QueryError          19  (a ValueError) an expression that is not understood
    │   └── KeepsNothing        71  no rule says what to keep
    ├── NotFound                20  (a KeyError) nothing answers to that
    │   ├── NameNotFound        21
    │   ├── VersionNotFound     22
    │   ├── AliasNotFound       23
    │   ├── FileNotInVersion    24
    │   ├── SourceNotFound      25  the path to save is missing or unreadable
    │   ├── AmbiguousSpec       26  several answer; the message lists them
    │   ├── TensorNotInVersion  27
    │   ├── RemoteNotFound      28
    │   └── NotPulled           29  a file of it is at a remote, and not here
    ├── Conflict                30  something is there already; nothing was changed
    │   ├── TagExists           31
    │   │   └── TagTaken        32  the tag was deleted and stays taken
    │   ├── DestinationExists   33
    │   ├── SourceChanged       34  a file changed while it was saved
    │   ├── AliasMoved          35  somebody else moved the alias first
    │   ├── Protected           36  a protected alias, or a version that an alias points at
    │   └── HookRefused         37  a hook of the user forbids it
    ├── NotARepository          40  no .mvs here, or it is no store
    │   └── UnsupportedFormat   41  a store of a later release
    ├── Corrupt                 50  stored bytes are not what they must be
    │   ├── CorruptObject       51
    │   ├── MissingObject       52
    │   ├── CorruptManifest     53
    │   ├── CorruptRef          54
    │   ├── CorruptPack         55
    │   ├── CorruptRemote       56
    │   ├── CorruptPins         57
    │   └── CorruptArchive      58  an archive that is none, is cut off, or lies
    ├── StorageFailed           60  the disk or its rights; try again when mended
    │   ├── StorageFull         61
    │   ├── ReadOnlyStore       62
    │   ├── SyncFailed          63  fsync failed: the bytes may not be on disk
    │   ├── StoreBusy           64  another process holds the lock for too long
    │   └── LocksFail           65  the locks of the file system keep nobody out
    └── RemoteFailed            80  the other side cannot be reached, or refuses
        ├── RemoteDenied        81  it does not know who asks, or does not let him
        ├── RemoteChanged       82  its history is another one than before
        └── RemoteUnsafe        83  it cannot be written to by many

The numbers are exit codes of the command line. Codes 2 (usage) and 130 (interrupted) are the shell's custom.
"""

from pathlib import Path


class MvsError(Exception):
    """The base of all errors raised on purpose by mvs.

    Attributes:
        kind: a stable name of the class of error, for programs.
        exit_code: what the command line exits with.
        hint: a command that leads on, or an empty string.
        kept: where the files of a failed draft were kept, else None.
    """

    kind = "error"
    exit_code = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.kept: Path | None = None

    def __str__(self) -> str:
        return self.message


def command(*words: object) -> str:
    """Return words as a command for a shell, for a hint."""
    import shlex  # noqa: PLC0415 - only on the way to an error

    return shlex.join(str(word) for word in words)


class InvalidInput(MvsError):
    """The request cannot be fulfilled as it was put."""

    kind = "invalid-input"
    exit_code = 10


class InvalidTag(InvalidInput, ValueError):
    """A name, version, tag or spec is not of the allowed form."""

    kind = "invalid-tag"
    exit_code = 11


class InvalidMetadata(InvalidInput, ValueError):
    """Labels, metadata or context hold something that cannot be stored."""

    kind = "invalid-metadata"
    exit_code = 12


class InvalidPath(InvalidInput):
    """A version cannot hold a file of this path or kind."""

    kind = "invalid-path"
    exit_code = 13


class InvalidConfig(InvalidInput):
    """A configuration file or a value in it is not understood."""

    kind = "invalid-config"
    exit_code = 14


class EmptyFolder(InvalidInput):
    """There is no file to save."""

    kind = "empty-folder"
    exit_code = 15


class ForbiddenPlace(InvalidInput):
    """The operation would touch the store itself or files that mvs does not own."""

    kind = "forbidden-place"
    exit_code = 16


class NeedsAll(InvalidInput):
    """A bare name was given where every version of it would be deleted."""

    kind = "needs-all"
    exit_code = 17


class MissingExtra(InvalidInput):
    """A library is not installed that only this needs."""

    kind = "missing-extra"
    exit_code = 18


class QueryError(InvalidInput, ValueError):
    """An expression is not understood; the message shows where, on lines of its own."""

    kind = "query-error"
    exit_code = 19


class KeepsNothing(InvalidInput):
    """No rule says which versions to keep, so that all would go."""

    kind = "keeps-nothing"
    exit_code = 71


class NotFound(MvsError, KeyError):
    """Nothing answers to what was asked for."""

    kind = "not-found"
    exit_code = 20


class NameNotFound(NotFound):
    """No version of this name exists."""

    kind = "name-not-found"
    exit_code = 21


class VersionNotFound(NotFound):
    """No version answers to the given spec."""

    kind = "version-not-found"
    exit_code = 22


class AliasNotFound(NotFound):
    """The name has no such alias."""

    kind = "alias-not-found"
    exit_code = 23


class FileNotInVersion(NotFound):
    """The version holds no file of this path."""

    kind = "file-not-in-version"
    exit_code = 24


class SourceNotFound(NotFound):
    """A path to be saved is missing or cannot be read."""

    kind = "source-not-found"
    exit_code = 25


class AmbiguousSpec(NotFound):
    """Several versions answer to a spec that must name one."""

    kind = "ambiguous-spec"
    exit_code = 26


class TensorNotInVersion(NotFound):
    """The version has no such tensor."""

    kind = "tensor-not-in-version"
    exit_code = 27


class RemoteNotFound(NotFound):
    """The repository knows no remote of this name."""

    kind = "remote-not-found"
    exit_code = 28


class NotPulled(NotFound):
    """A file of a version was left at a remote when the version was pulled."""

    kind = "not-pulled"
    exit_code = 29


class Conflict(MvsError):
    """Something is there already; nothing was changed."""

    kind = "conflict"
    exit_code = 30


class TagExists(Conflict):
    """The tag is taken by other content."""

    kind = "tag-exists"
    exit_code = 31


class TagTaken(TagExists):
    """The tag was deleted and stays taken by what it meant."""

    kind = "tag-taken"
    exit_code = 32


class DestinationExists(Conflict):
    """A checkout would overwrite files that are there."""

    kind = "destination-exists"
    exit_code = 33


class SourceChanged(Conflict):
    """A file changed while it was being saved."""

    kind = "source-changed"
    exit_code = 34


class AliasMoved(Conflict):
    """The alias does not point at what it was expected to point at."""

    kind = "alias-moved"
    exit_code = 35


class Protected(Conflict):
    """The alias is protected, or the version is one that an alias points at; it takes force."""

    kind = "protected"
    exit_code = 36


class HookRefused(Conflict):
    """A hook forbids what was about to happen, takes too long, or cannot be run."""

    kind = "hook-refused"
    exit_code = 37


class NotARepository(MvsError):
    """There is no repository or store at this place."""

    kind = "not-a-repository"
    exit_code = 40


class UnsupportedFormat(NotARepository):
    """The store, or something in it, was written by a later release."""

    kind = "unsupported-format"
    exit_code = 41


class Corrupt(MvsError):
    """Stored bytes are not what they must be."""

    kind = "corrupt"
    exit_code = 50


class CorruptObject(Corrupt):
    """The bytes of an object do not have its id."""

    kind = "corrupt-object"
    exit_code = 51


class MissingObject(Corrupt):
    """An object that something refers to is not in the store."""

    kind = "missing-object"
    exit_code = 52


class CorruptManifest(Corrupt):
    """A manifest is not of the form the format demands."""

    kind = "corrupt-manifest"
    exit_code = 53


class CorruptRef(Corrupt):
    """A ref is not of the form the format demands."""

    kind = "corrupt-ref"
    exit_code = 54


class CorruptPack(Corrupt):
    """A pack is not of the form the format demands, or not whole."""

    kind = "corrupt-pack"
    exit_code = 55


class CorruptRemote(Corrupt):
    """What lies at a remote is not of the form the format demands."""

    kind = "corrupt-remote"
    exit_code = 56


class CorruptPins(Corrupt):
    """The file of the pins is not of the form the format demands."""

    kind = "corrupt-pins"
    exit_code = 57


class CorruptArchive(Corrupt):
    """A tar or zip file that was to be unpacked is none, is cut off or damaged, or is not what it says."""

    kind = "corrupt-archive"
    exit_code = 58


class StorageFailed(MvsError):
    """The disk under the store failed or refused."""

    kind = "storage-failed"
    exit_code = 60


class StorageFull(StorageFailed):
    """No space is left."""

    kind = "storage-full"
    exit_code = 61


class ReadOnlyStore(StorageFailed):
    """The store cannot be written to."""

    kind = "read-only-store"
    exit_code = 62


class SyncFailed(StorageFailed):
    """An fsync failed, so what was written may not be on disk."""

    kind = "sync-failed"
    exit_code = 63


class StoreBusy(StorageFailed):
    """Another process has held the lock of the store for too long."""

    kind = "store-busy"
    exit_code = 64


class LocksFail(StorageFailed):
    """The locks of the store's file system do nothing, so that others cannot be kept out."""

    kind = "locks-fail"
    exit_code = 65


class RemoteFailed(MvsError):
    """A remote cannot be reached, or something there failed."""

    kind = "remote-failed"
    exit_code = 80


class RemoteDenied(RemoteFailed):
    """A remote refuses whoever asks."""

    kind = "remote-denied"
    exit_code = 81


class RemoteChanged(RemoteFailed):
    """What a remote says happened is not what it said before."""

    kind = "remote-changed"
    exit_code = 82


class RemoteUnsafe(RemoteFailed):
    """A remote does not keep two writers apart."""

    kind = "remote-unsafe"
    exit_code = 83


# What a reader of something stored meets: it is damaged, or of a later release.
UNREADABLE = (Corrupt, UnsupportedFormat)
