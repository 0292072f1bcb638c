"""Manifests: the object that describes one version."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from mvs.errors import CorruptManifest, InvalidPath, InvalidTag, UnsupportedFormat
from mvs.format import canonical
from mvs.format.ids import MAX_TIME, ObjectId
from mvs.format.names import Tag, parse_name, parse_version
from mvs.format.paths import check_paths

MAGIC = b"mvs-manifest 1\n"
_FAMILY = b"mvs-manifest "
_TYPES: dict[str, type] = {
    "context": dict,
    "created": int,
    "dirs": list,
    "files": list,
    "labels": dict,
    "message": str,
    "metadata": dict,
    "name": str,
    "parents": list,
    "tree": bytes,
    "version": str,
}
_KEYS = list(_TYPES)
_KINDS = list(_TYPES.values())


class FileEntry(NamedTuple):
    """One file of a version: where it goes, its size in bytes, and the id of its content."""

    path: str
    size: int
    blob: ObjectId
    executable: bool = False


class Tree(NamedTuple):
    """The content of a version: its files and the folders that hold nothing, each sorted by path."""

    files: tuple[FileEntry, ...]
    dirs: tuple[str, ...] = ()

    @classmethod
    def of(cls, files: "list[FileEntry]", dirs: "list[str]") -> "Tree":
        """Return the tree of these files and empty folders, in any order.

        Raises:
            InvalidPath: the paths cannot stand together in a version.
        """
        check_paths((entry.path for entry in files), dirs)
        return cls(tuple(sorted(files, key=lambda entry: entry.path)), tuple(sorted(dirs)))

    @property
    def id(self) -> ObjectId:
        """The id of the content: equal files, equal id."""
        return ObjectId.of(canonical.pack(self.encoded()))

    def encoded(self) -> dict[str, Any]:
        """Return the keys of the manifest that hold the tree, in canonical order."""
        return {
            "dirs": list(self.dirs),
            "files": [
                {"blob": f.blob.raw, "executable": f.executable, "path": f.path, "size": f.size} for f in self.files
            ],
        }


class Said(NamedTuple):
    """What a manifest says, but for the names and ids of its files."""

    name: str
    version: str
    created: int
    sizes: list[int]
    labels: Mapping[str, str]
    metadata: Mapping[str, Any]
    context: Mapping[str, Any]
    parents: list[bytes]
    message: str


class Manifest(NamedTuple):
    """One version, whole. `created` is in nanoseconds since the epoch, UTC."""

    tag: Tag
    created: int
    tree: Tree
    tree_id: ObjectId
    labels: Mapping[str, str]
    metadata: Mapping[str, Any]
    context: Mapping[str, Any]
    parents: tuple[ObjectId, ...]
    message: str
    extra: Mapping[str, Any] = MappingProxyType({})
    """Keys of a later release, kept so that encoding gives the same bytes."""

    def encode(self) -> bytes:
        """Return the bytes of the manifest object."""
        return MAGIC + canonical.encode(
            {
                **self.extra,
                **self.tree.encoded(),
                "context": dict(self.context),
                "created": self.created,
                "labels": dict(self.labels),
                "message": self.message,
                "metadata": dict(self.metadata),
                "name": self.tag.name,
                "parents": [parent.raw for parent in self.parents],
                "tree": self.tree_id.raw,
                "version": self.tag.version,
            }
        )

    def said(self) -> Said:
        """Return what it says."""
        return Said(
            self.tag.name,
            self.tag.version,
            self.created,
            [entry.size for entry in self.tree.files],
            self.labels,
            self.metadata,
            self.context,
            [parent.raw for parent in self.parents],
            self.message,
        )

    @classmethod
    def decode(cls, data: bytes) -> "Manifest":
        """Return the manifest whose bytes are `data`, having checked everything the format demands.

        Raises:
            CorruptManifest: it is not a manifest in canonical form.
            UnsupportedFormat: it was written by a later release.
        """
        if not data.startswith(MAGIC):
            if data.startswith(_FAMILY):
                line = data.partition(b"\n")[0][:40].decode(errors="replace")
                raise UnsupportedFormat(f"this release does not know the format '{line}'")
            raise CorruptManifest("not a manifest")
        try:
            fields = canonical.decode(data[len(MAGIC) :])
            if type(fields) is not dict:
                raise ValueError("not a map")
            return cls._from(fields)
        except (ValueError, InvalidPath) as error:
            raise CorruptManifest(f"damaged manifest: {error}") from error

    @classmethod
    def _from(cls, fields: dict[str, Any]) -> "Manifest":
        values = [fields.pop(key, None) for key in _KEYS]
        if [type(value) for value in values] != _KINDS:
            wrong = [key for key, value in zip(_KEYS, values, strict=True) if type(value) is not _TYPES[key]]
            raise ValueError(f"'{wrong[0]}' is missing or of another type")
        context, created, dirs, raw_files, labels, message, metadata, name, parents, tree_id, version = values
        if parse_name(name) != name or parse_version(version) != version:
            raise InvalidTag(f"tag '{name}:{version}' is not in lower case")
        if not all(type(path) is str for path in dirs):
            raise ValueError("a folder's path is not a string")
        tree = Tree.of([_file(item) for item in raw_files], dirs)
        if [f.path for f in tree.files] != [item["path"] for item in raw_files] or list(tree.dirs) != dirs:
            raise ValueError("files are not sorted")
        if ObjectId.of(canonical.pack({"dirs": dirs, "files": raw_files})).raw != tree_id:
            raise ValueError("the tree id does not fit the files")
        if not 0 <= created <= MAX_TIME:
            raise ValueError("created before 1970 or after 2262")
        if not all(type(value) is str for value in labels.values()):
            raise ValueError("a label is not a string")
        return cls(
            tag=Tag(name, version),
            created=created,
            tree=tree,
            tree_id=ObjectId(tree_id),
            labels=labels,
            metadata=metadata,
            context=context,
            parents=tuple(ObjectId(_digest(item)) for item in parents),
            message=message,
            extra=fields,
        )


def said(data: bytes) -> Said:
    """Return what a manifest says; whether the format allows it to be said is hardly looked at, so it is quick.

    Raises:
        ValueError: it is no manifest that this release could read.
    """
    fields = _unchecked(data)
    try:
        sizes = [item["size"] for item in fields["files"]]
    except (TypeError, KeyError) as error:
        raise ValueError("a file has no size") from error
    context, created, _, _, labels, message, metadata, name, parents, _, version = map(fields.__getitem__, _KEYS)
    found = {*map(type, sizes), *map(type, parents), *map(type, labels.values())}
    if not found <= {int, bytes, str}:
        raise ValueError("a size, a parent or a label is of another type")
    return Said(name, version, created, sizes, labels, metadata, context, parents, message)


def blobs(data: bytes) -> list[ObjectId]:
    """Return the ids of the files of a manifest, each once or more often; as quickly as `said`, and as easily pleased.

    Raises:
        ValueError: it is no manifest that this release could read.
    """
    try:
        return [ObjectId(_digest(item["blob"])) for item in _unchecked(data)["files"]]
    except (TypeError, KeyError) as error:
        raise ValueError("a file has no id") from error


def _unchecked(data: bytes) -> dict[str, Any]:
    if not data.startswith(MAGIC):
        raise ValueError("not a manifest")
    fields = canonical.unchecked(data[len(MAGIC) :])
    if type(fields) is not dict or [type(fields.get(key)) for key in _KEYS] != _KINDS:
        raise ValueError("a key is missing or of another type")
    return fields


def _digest(value: Any) -> bytes:
    if type(value) is not bytes or len(value) != 32:
        raise ValueError("an id is not 32 bytes")
    return value


def _file(item: Any) -> FileEntry:
    if type(item) is not dict or set(item) != {"blob", "executable", "path", "size"}:
        raise ValueError("a file does not have exactly blob, executable, path and size")
    path, size, executable = item["path"], item["size"], item["executable"]
    if type(path) is not str or type(size) is not int or size < 0 or type(executable) is not bool:
        raise ValueError("a file's path, size or executable is of another type")
    return FileEntry(path, size, ObjectId(_digest(item["blob"])), executable)
