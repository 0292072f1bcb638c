"""Refs: names to manifest ids.

A tag is a file, `latest` a copy of one that is believed only while the original says the
same, so no order of crashes or races makes a name mean what it must not.
"""

import contextlib
import os
from collections.abc import Callable, Iterator

from mvs.backends.directory import Directory
from mvs.errors import UNREADABLE, CorruptRef, InvalidTag, UnsupportedFormat, command
from mvs.format.layout import ALIASES, TAGS
from mvs.format.lines.refs import MAX_BYTES, Ref
from mvs.format.names import LATEST, Alias, Tag, parse_version
from mvs.store.names.places import is_name, strange

# A reader that finds every listed ref gone was overtaken; each new listing sees later saves.
_OVERTAKEN = 20


class Refs:
    """The tags and aliases of a store. Reading takes no lock; writing is for whoever holds it."""

    def __init__(self, disk: Directory) -> None:
        self._disk = disk

    def read(self, tag: Tag) -> Ref | None:
        """Return the ref of a tag, None where the tag does not exist.

        Raises:
            CorruptRef: the file is no ref, or one of another tag.
        """
        ref = self._read(_key(tag.name, tag.version))
        if ref is not None and ref.tag != tag:
            raise CorruptRef(f"the ref of '{tag}' is one of '{ref.tag}'")
        return ref

    def stands(self, ref: Ref) -> bool:
        """Tell whether a tag still means what a ref says; one that is damaged does not."""
        try:
            return self.read(ref.tag) == ref
        except UNREADABLE:
            return False

    def exists(self, tag: Tag) -> bool:
        """Tell whether the tag has a ref, readable or not."""
        return os.path.lexists(self._disk.path(_key(tag.name, tag.version)))

    def latest(self, name: str) -> Ref | None:
        """Return the ref of the most recently saved version of a name, None where there is none."""
        copied = self._copied_latest(name)
        if copied is not None:
            return copied
        return next(iter(self.of_name(name)), None)

    def of_name(self, name: str) -> list[Ref]:
        """Return the refs of all versions of a name, most recently saved first.

        Raises:
            CorruptRef: one of them is damaged.
        """
        for _ in range(_OVERTAKEN):
            listed = list(self.versions(name))
            refs = [ref for version in listed if (ref := self.read(Tag(name, version)))]
            if refs or not listed:
                break
        return sorted(refs, key=lambda ref: (ref.created, ref.tag.version), reverse=True)

    def readable(self, name: str, damaged: Callable[[str], None]) -> Iterator[Ref]:
        """Yield the refs of a name, in no order; one that cannot be read is told to `damaged`."""
        for version in self.versions(name):
            try:
                ref = self.read(Tag(name, version))
            except UNREADABLE as error:
                damaged(f"version '{name}:{version}': {error.message}")
                continue
            if ref is not None:
                yield ref

    def versions(self, name: str) -> Iterator[str]:
        """Yield the versions of a name, in no order; their refs are not read."""
        for entry in self._disk.entries(f"{TAGS}/{name}"):
            if entry.name.startswith("@") and _is_version(entry.name[1:]):
                yield entry.name[1:]

    def names(self, *, strict: bool = False) -> list[str]:
        """Return every name that has a version, sorted.

        Raises:
            CorruptRef: something else lies there that could be or hold a ref, and `strict`.
        """
        return self._names(TAGS, strict=strict)

    def _names(self, folder: str, *, strict: bool) -> list[str]:
        for key in self.strange(folder) if strict else ():
            path = self._disk.path(key)
            raise CorruptRef(f"'{path}' is no ref, and may hide one", hint=command("ls", "-ld", path))
        found: list[str] = []
        pending = [""]
        while pending:
            prefix = pending.pop()
            has_version = False
            for entry in self._disk.entries(f"{folder}/{prefix}"):
                if entry.name.startswith("@"):
                    has_version = has_version or _is_version(entry.name[1:])
                elif entry.is_dir(follow_symlinks=False) and is_name(prefix + entry.name):
                    pending.append(f"{prefix}{entry.name}/")
            if has_version:
                found.append(prefix[:-1])
        return sorted(found)

    def strange(self, folder: str) -> Iterator[str]:
        """Yield what lies in the folder of all tags, or of all aliases, where a ref or a folder of some must be."""
        return strange(self._disk, folder, lambda text: text == LATEST or _is_version(text))

    def alias(self, name: str, alias: str) -> Ref | None:
        """Return the ref an alias points at, None where there is no such alias.

        Raises:
            CorruptRef: the file is no ref, or one of another name.
        """
        ref = self._read(_alias_key(name, alias))
        if ref is not None and ref.tag.name != name:
            raise CorruptRef(f"the alias '{name}@{alias}' points at '{ref.tag}', of another name")
        return ref

    def aliased_names(self, *, strict: bool = False) -> list[str]:
        """Return every name that has an alias, sorted.

        Raises:
            CorruptRef: something else lies there that could be or hold one, and `strict`.
        """
        return self._names(ALIASES, strict=strict)

    def aliased(self, *, strict: bool = False) -> Iterator[Ref]:
        """Yield the refs that aliases point at; what cannot be read is left out, unless `strict`.

        Raises:
            CorruptRef: one is damaged, and `strict`.
        """
        for name in self.aliased_names(strict=strict):
            for _, ref in self.aliases_of(name, strict=strict):
                yield ref

    def aliases_of(self, name: str, *, strict: bool = False) -> Iterator[tuple[str, Ref]]:
        """Yield the aliases of a name with the refs they point at; what cannot be read is left out, unless `strict`.

        Raises:
            CorruptRef: one is damaged, and `strict`.
        """
        for entry in self._disk.entries(f"{ALIASES}/{name}"):
            if entry.name.startswith("@") and (strict or _is_version(entry.name[1:])):
                with contextlib.nullcontext() if strict else contextlib.suppress(*UNREADABLE):
                    if ref := self.alias(name, entry.name[1:]):
                        yield entry.name[1:], ref

    def has_alias(self, alias: Alias) -> bool:
        """Tell whether there is such an alias, readable or not."""
        return os.path.lexists(self._disk.path(_alias_key(alias.name, alias.alias)))

    def point(self, alias: Alias, ref: Ref) -> None:
        """Let an alias point at a version of its name, atomically and durably."""
        key = _alias_key(alias.name, alias.alias)
        self._disk.put(key, ref.encode())
        # Whoever made the folders may have died before they were durable.
        self._disk.sync_above(key)

    def unpoint(self, alias: Alias) -> None:
        """Remove an alias that is there, durably."""
        self._disk.remove(_alias_key(alias.name, alias.alias))
        self._disk.sync([f"{ALIASES}/{alias.name}"])

    def prepare(self, ref: Ref, *, newest: bool) -> "Pending":
        """Do everything for a new ref but create it; `Pending.commit` does that, and nothing else.

        `newest` says that it becomes the latest of its name.
        """
        key = _key(ref.tag.name, ref.tag.version)
        self._disk.ensure(os.path.dirname(key))
        self._disk.sync_above(key)
        if newest:
            # Before the ref: until that exists, readers do not believe this.
            self._disk.put(_key(ref.tag.name, LATEST), ref.encode())
        return Pending(self._disk, ref, self._disk.temp(ref.encode()))

    def would_be_latest(self, ref: Ref) -> bool:
        """Tell whether a ref that comes back was saved after all that are there."""
        try:
            latest = self.latest(ref.tag.name)
        except UNREADABLE:
            # Asking for `latest` must go on meeting the damaged ref.
            return False
        return latest is None or latest.created < ref.created

    def remove(self, refs: list[Ref]) -> None:
        """Remove the refs of one name, durably, then let `latest` move back."""
        name = refs[0].tag.name
        for ref in refs:
            self._disk.remove(_key(name, ref.tag.version))
        folder = f"{TAGS}/{name}"
        self._disk.sync([folder])
        if self._copied_latest(name) is None:
            self.settle(name)

    def rebuild(self, ref: Ref) -> None:
        """Let a ref be again what it was, whatever is there. Cut off, `latest` is found by reading the refs."""
        name = ref.tag.name
        self._unsettle(name)
        self._disk.put(_key(name, ref.tag.version), ref.encode())
        self._disk.sync_above(_key(name, ref.tag.version))
        self.settle(name)

    def settle(self, name: str) -> None:
        """Let `latest` of a name be a copy of its newest ref; none where that cannot be told."""
        key = _key(name, LATEST)
        try:
            left = self.of_name(name)
        except UNREADABLE:
            # No copy, so that asking for `latest` meets the damaged ref and says so.
            left = []
        if left:
            self._disk.put(key, left[0].encode())
        else:
            self._unsettle(name)

    def _unsettle(self, name: str) -> None:
        if self._disk.size(_key(name, LATEST)) is not None:
            self._disk.remove(_key(name, LATEST))
            self._disk.sync([f"{TAGS}/{name}"])

    def _copied_latest(self, name: str) -> Ref | None:
        try:
            copy = self._read(_key(name, LATEST))
            if copy is not None and copy.tag.name == name and self.read(copy.tag) == copy:
                return copy
        except UNREADABLE:
            # Only a copy: the refs themselves decide.
            pass
        return None

    def _read(self, key: str) -> Ref | None:
        try:
            data = self._disk.read(key)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except IsADirectoryError:
            raise CorruptRef(f"'{self._disk.path(key)}' is a folder, not a ref") from None
        if len(data) > MAX_BYTES:
            raise CorruptRef(f"'{self._disk.path(key)}' is too long for a ref")
        try:
            return Ref.decode(data)
        except CorruptRef as error:
            raise CorruptRef(f"'{self._disk.path(key)}' is damaged: {error}") from error
        except UnsupportedFormat as error:
            raise UnsupportedFormat(f"'{self._disk.path(key)}': {error}") from error


class Pending:
    """A ref that lacks only its name."""

    def __init__(self, disk: Directory, ref: Ref, temp: str) -> None:
        self._disk = disk
        self._ref = ref
        self._temp = temp

    def commit(self) -> None:
        """Create the ref, durably: from here on the version exists.

        Raises:
            SyncFailed: the disk did not say that the name is durable; it was taken back.
        """
        key = _key(self._ref.tag.name, self._ref.tag.version)
        try:
            if not self._disk.adopt(self._temp, key):
                raise CorruptRef(f"'{self._disk.path(key)}' appeared although the store was locked")
            try:
                self._disk.sync([os.path.dirname(key)])
            except BaseException:
                self._disk.remove(key)
                raise
        finally:
            self.discard()

    def discard(self) -> None:
        """Drop what `prepare` wrote beside `latest`."""
        self._disk.discard(self._temp)


def _key(name: str, version: str) -> str:
    return f"{TAGS}/{name}/@{version}"


def _alias_key(name: str, alias: str) -> str:
    return f"{ALIASES}/{name}/@{alias}"


def _is_version(text: str) -> bool:
    try:
        return parse_version(text) == text
    except InvalidTag:
        return False
