"""Checking names: tags, `latest`, aliases, notes and the journal of each name."""

import os
import re
from collections.abc import Callable, Iterable, Iterator
from functools import partial

from mvs.backends.directory import Directory
from mvs.errors import InvalidTag, command
from mvs.format.layout import ALIASES, EVENTS, JOURNAL, NOTES, TAGS
from mvs.format.lines.journal import MAGIC, Event, decode, is_later, was_begun, was_whole
from mvs.format.lines.refs import Ref
from mvs.format.names import LATEST, Spec, Tag, parse_name, parse_version
from mvs.ops.find import query
from mvs.ops.fsck import report
from mvs.ops.fsck.suspects import FAILURES, Suspect, reason
from mvs.ops.refs.aliases import is_there
from mvs.store.store import Store


class Names:
    """The names of a store. What looks wrong is told to `suspects`."""

    def __init__(self, store: Store, disk: Directory, suspects: list[Suspect]) -> None:
        self._store = store
        self._disk = disk
        self._suspects = suspects

    def tags(self, specs: Iterable[Spec]) -> Iterator[Tag]:
        """Yield the tags that specs stand for, all without specs; a bare name stands for all its versions.

        Raises:
            NotFound: a spec stands for nothing.
            CorruptRef: what a spec stands for cannot be told, because a ref is damaged.
        """
        given = list(specs)
        for spec in given:
            if spec.kind == "version" and self._store.refs.exists(Tag(spec.name, spec.value)):
                yield Tag(spec.name, spec.value)
            elif spec.bare and (versions := list(self._store.refs.versions(spec.name))):
                yield from (Tag(spec.name, version) for version in versions)
            else:
                yield query.resolve(self._store, spec).tag
        if not given:
            for name in self._store.refs.names():
                for version in self._store.refs.versions(name):
                    yield Tag(name, version)

    def refs(self, tags: Iterable[Tag]) -> dict[Tag, Ref]:
        """Return the refs of some tags; those deleted meanwhile are left out."""
        found = {}
        for tag in tags:
            try:
                ref = self._store.refs.read(tag)
            except FAILURES as error:
                self._suspects.append(
                    Suspect(
                        report.REF_DAMAGED,
                        f"{TAGS}/{tag.name}/@{tag.version}",
                        reason(error),
                        still=partial(self._is_damaged, tag),
                        hint=f"mvs log {tag.name}",
                        tags=[tag],
                    )
                )
                continue
            if ref is not None:
                found[tag] = ref
        return found

    def _is_damaged(self, tag: Tag) -> bool:
        try:
            self._store.refs.read(tag)
        except FAILURES:
            return True
        return False

    def check_latest(self, name: str) -> None:
        """Check that `latest` of a name is a copy that readers believe, and that it is the newest."""
        if found := self._latest(name):
            kind, message = found
            self._suspects.append(
                Suspect(
                    kind,
                    f"{TAGS}/{name}/@{LATEST}",
                    message,
                    still=lambda: (self._latest(name) or ("",))[0] == kind,
                    hint=f"mvs list {name}",
                )
            )

    def _latest(self, name: str) -> tuple[str, str] | None:
        key = f"{TAGS}/{name}/@{LATEST}"
        try:
            copy = Ref.decode(self._disk.read(key))
        except FileNotFoundError:
            return None
        except FAILURES as error:
            return report.LATEST_STALE, f"the copy is no ref: {reason(error)}"
        try:
            if copy.tag.name != name or self._store.refs.read(copy.tag) != copy:
                return report.LATEST_STALE, f"it is a copy of '{copy.tag}', which is not there or another by now"
            newest = max(self._store.refs.readable(name, lambda _: None), key=lambda ref: ref.created)
        except FAILURES as error:
            return report.LATEST_STALE, f"what it is a copy of cannot be read: {reason(error)}"
        except ValueError:
            return None
        if newest.created > copy.created:
            return report.LATEST_WRONG, f"it says '{copy.tag}', and '{newest.tag}' is newer"
        return None

    def check_places(self) -> None:
        """Check that nothing stands where a folder or a file of names must be: it stops gc."""
        for kind, strange in (
            (report.REF_DAMAGED, partial(self._store.refs.strange, TAGS)),
            (report.ALIAS_DAMAGED, partial(self._store.refs.strange, ALIASES)),
            (report.JOURNAL_DAMAGED, self._store.journal.strange),
        ):
            for key in strange():
                self._suspects.append(
                    Suspect(
                        kind,
                        key,
                        "it is nothing of ours, and may hide what was there",
                        still=partial(self._is_strange, key, strange),
                        hint=command("ls", "-ld", self._disk.path(key)),
                    )
                )

    def _is_strange(self, key: str, strange: Callable[[], Iterator[str]]) -> bool:
        return key in strange()

    def check_aliases(self) -> None:
        """Check that every alias can be read, and that it points at a version that is there."""
        for name, alias in self._marks(ALIASES):
            if found := self._alias(name, alias):
                kind, message, hint = found
                self._suspects.append(
                    Suspect(
                        kind,
                        f"{ALIASES}/{name}/@{alias}",
                        message,
                        still=partial(self._is_bad_alias, name, alias, kind),
                        hint=hint,
                    )
                )

    def _marks(self, folder: str) -> Iterator[tuple[str, str]]:
        """Yield name and what follows the @ of every file of refs in a folder."""
        pending = [""]
        while pending:
            prefix = pending.pop()
            for entry in self._disk.entries(f"{folder}/{prefix}"):
                if not entry.name.startswith("@") and entry.is_dir(follow_symlinks=False):
                    pending.append(f"{prefix}{entry.name}/")
                elif entry.name.startswith("@") and prefix:
                    yield prefix[:-1], entry.name[1:]

    def _alias(self, name: str, alias: str) -> tuple[str, str, str] | None:
        """Return what is wrong with an alias: kind, message and hint."""
        try:
            pointed = self._store.refs.alias(name, alias)
        except FAILURES as error:
            return report.ALIAS_DAMAGED, reason(error), f"mvs log {name}@{alias}"
        if pointed is None or is_there(self._store, pointed):
            return None
        return report.ALIAS_DANGLING, f"it points at '{pointed.tag}', which is not there", f"mvs restore {pointed.tag}"

    def _is_bad_alias(self, name: str, alias: str, kind: str) -> bool:
        return (self._alias(name, alias) or ("",))[0] == kind

    def check_notes(self) -> None:
        """Check that the notes of every version can be read, also of those that were deleted."""
        for name, version in self._marks(NOTES):
            if (tag := _tag(name, version)) and (wrong := self._notes(tag)):
                self._suspects.append(
                    Suspect(
                        report.NOTES_DAMAGED,
                        f"{NOTES}/{name}/@{version}",
                        wrong,
                        still=partial(self._is_bad_notes, tag),
                        hint=f"mvs log {name}",
                        tags=[tag],
                    )
                )

    def _notes(self, tag: Tag) -> str:
        """Return what is wrong with the notes of a version, if anything."""
        try:
            self._store.notes.read(tag)
        except FAILURES as error:
            return reason(error)
        return ""

    def _is_bad_notes(self, tag: Tag) -> bool:
        return bool(self._notes(tag))

    def check_journal(self, name: str, refs: Iterable[Ref]) -> None:
        """Check every line of the journal of a name, and that it tells of each of its versions, and of no other.

        The refs were read before: an event is written before its ref.
        """
        key = f"{JOURNAL}/{name}/{EVENTS}"
        found = self._journal(key, name, {ref.tag.version: ref for ref in refs})
        for kind, message, tags in found:
            self._suspects.append(
                Suspect(
                    kind,
                    key,
                    message,
                    still=partial(self._is_still, key, name, kind, tags),
                    hint=f"mvs restore {tags[0]}" if kind == report.REF_MISSING else f"mvs log {name}",
                    tags=tags,
                )
            )

    def _is_still(self, key: str, name: str, kind: str, tags: list[Tag]) -> bool:
        refs = {ref.tag.version: ref for ref in self._store.refs.readable(name, lambda _: None)}
        return any(kind == other and tags == some for other, _, some in self._journal(key, name, refs))

    def _journal(self, key: str, name: str, refs: dict[str, Ref]) -> list[tuple[str, str, list[Tag]]]:
        try:
            data = self._disk.read(key)
        except FileNotFoundError:
            data = MAGIC
        except FAILURES as error:
            return [(report.JOURNAL_DAMAGED, reason(error), [])]
        found: list[tuple[str, str, list[Tag]]] = []
        if not data.startswith(MAGIC) and was_begun(data):
            found.append((report.JOURNAL_CUT, "its first line was cut off, so readers pass over it", []))
        elif not data.startswith(MAGIC):
            found.append((report.JOURNAL_DAMAGED, "it does not begin as a journal of this release", []))
        told: dict[str, Event] = {}
        known = set()
        for number, line in enumerate(data.split(b"\n")[1:], 2):
            if not line or is_later(line):
                continue
            event = decode(line)
            if event is None:
                about = re.search(rb'"version":"([a-z0-9._-]+)"', line)
                version = _version(about[1].decode()) if about else None
                kind = report.JOURNAL_DAMAGED if was_whole(line) else report.JOURNAL_CUT
                said = "damaged" if kind == report.JOURNAL_DAMAGED else "cut off"
                tags = [Tag(name, version)] if version else []
                found.append((kind, f"line {number} is {said}, so readers pass over it", tags))
            elif isinstance(event, Event):
                told[event.version] = event
                known.add((event.version, event.new))
        for version, ref in refs.items():
            if (version, ref.id) not in known:
                found.append((report.JOURNAL_DAMAGED, f"it does not tell of '{ref.tag}'", [ref.tag]))
        lost = []
        for version, event in told.items():
            if event.event == "delete" or version in refs or _version(version) is None:
                continue
            tag = Tag(name, version)
            if not self._store.refs.exists(tag):
                lost.append(tag)
        # A save that was cut off leaves one, and the folder of all tags.
        many = len(lost) > 1 or not os.path.isdir(self._disk.path(TAGS))
        if lost and many and not any(self._store.refs.versions(name)):
            message = f"it tells of versions ({len(lost)}) that are not there, and no tag of '{name}' is"
            return [*found, (report.REFS_LOST, message, lost)]
        for tag in lost:
            message = f"it tells of '{tag}', which is not there: a save was cut off, or a ref is lost"
            found.append((report.REF_MISSING, message, [tag]))
        return found

    def journals(self) -> Iterator[str]:
        """Yield every name that has a journal."""
        for name in self._store.journal.names():
            try:
                if parse_name(name) == name:
                    yield name
            except InvalidTag:
                continue


def _tag(name: str, version: str) -> Tag | None:
    try:
        return Tag(parse_name(name), parse_version(version))
    except InvalidTag:
        return None


def _version(text: str) -> str | None:
    try:
        return text if parse_version(text) == text else None
    except InvalidTag:
        return None
