"""A remote as the Python API hands it out: its versions, which can be read without being here."""

import builtins
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from mvs import ops
from mvs.errors import AliasNotFound, AmbiguousSpec, NameNotFound, NeedsAll, VersionNotFound, command
from mvs.format.ids import ObjectId
from mvs.format.lines.refs import Ref
from mvs.format.manifest import Manifest
from mvs.format.names import Spec
from mvs.handles.version import Version, iso, moment
from mvs.ops.find.query import Stored
from mvs.running.progress import Progress
from mvs.store.cache.catalog.moving import Moving
from mvs.store.store import Store

if TYPE_CHECKING:
    from mvs.ops.transfer import Collection, Health
    from mvs.store.remote.remote import Remote as Place
    from mvs.store.remote.state import State

_SHOWN = 8


class RemoteInfo(NamedTuple):
    """What there is at a remote.

    Attributes:
        versions: how many versions it has.
        names: of how many names.
        packs: in how many packs their files lie.
        bytes: how long these are.
        entries: how many entries its log has.
        pushed: when the newest of its versions came, aware, in UTC; None where it has none.
        by: who pushed that, as `user@host`.
    """

    versions: int
    names: int
    packs: int
    bytes: int
    entries: int
    pushed: datetime | None
    by: str | None

    def to_dict(self) -> dict[str, Any]:
        """Return the facts as JSON holds them, the form `--json` prints."""
        return {**self._asdict(), "pushed": iso(self.pushed) if self.pushed else None}


class Remote:
    """The versions of a remote, as its log tells them at the time of each call."""

    def __init__(
        self, store: Store, place: "Place", progress: Progress, *, now: Callable[[], int], by: Callable[[], str]
    ) -> None:
        self._store = store
        self._now = now
        self._by = by
        self._place = place
        self._progress = progress

    @property
    def name(self) -> str:
        """The name of the remote."""
        return self._place.name

    @property
    def url(self) -> str:
        """Where it is."""
        return self._place.address.url

    def info(self) -> RemoteInfo:
        """Return what there is, in all.

        Raises:
            RemoteFailed: it cannot be reached.
        """
        state = self._place.log.state()
        newest = max((known.number for known in state.versions.values()), default=None)
        entry = self._place.log.entry(newest) if newest else None
        return RemoteInfo(
            len(state.versions),
            len({tag.partition(":")[0] for tag in state.versions}),
            len(state.packs),
            sum(place.size for place in state.packs.values()),
            state.number,
            moment(entry.at) if entry else None,
            entry.by if entry else None,
        )

    def list(self, name: str | None = None) -> "list[Version]":
        """Return its versions, of all names or of one, most recently saved first.

        Raises:
            NameNotFound: it has none of that name.
            RemoteFailed: it cannot be reached.
        """
        state = self._place.log.state()
        wanted = set(tags(state, [name], self.name) if name is not None else state.versions)
        found = []
        for data in self._place.log.manifests(state):
            manifest = Manifest.decode(data)
            if str(manifest.tag) in wanted:
                found.append(self._version(manifest, state))
        return sorted(found, key=lambda version: (version.created, version.tag), reverse=True)

    def get(self, spec: str) -> Version:
        """Return the one version that a spec stands for.

        What is read of it is fetched then, and only that: a tensor comes without the rest of its file. Its `path` is
        there once it is pulled.

        Raises:
            NotFound: none, or several, answer to it.
            RemoteFailed: it cannot be reached.
        """
        state = self._place.log.state()
        found = tags(state, [spec], self.name)
        # A bare name means the latest, which comes first.
        return self._version(Manifest.decode(self._place.log.manifest(found[0], state)), state)

    def matching(self, *specs: str, all_versions: bool = False) -> "builtins.list[str]":
        """Return the tags that `delete` would delete with the same arguments.

        Raises:
            NotFound, NeedsAll: as `delete`.
        """
        for spec in specs:
            if Spec.parse(spec).bare and not all_versions:
                raise NeedsAll(
                    f"'{spec}' names a model, not a version; deleting all its versions must be asked for",
                    hint=command("mvs", "delete", "--remote", self.name, spec, "--all"),
                )
        return tags(self._place.log.state(), specs, self.name) if specs else []

    def delete(self, *specs: str, all_versions: bool = False, force: bool = False) -> "builtins.list[str]":
        """Let the remote have versions no longer, all in one step; return their tags.

        Their files go with `gc`; what is here is not touched, and can be pushed again. With `force` also versions go
        that aliases point at there, and the aliases with them.

        Raises:
            NotFound: a spec stands for nothing there.
            NeedsAll: a spec is a bare name, and not `all_versions`.
            Protected: an alias points at one there, and not `force`.
            RemoteFailed: it cannot be reached.
        """
        chosen = self.matching(*specs, all_versions=all_versions)
        return ops.transfer.delete(self._place, chosen, now=self._now, by=self._by(), force=force)

    def plan_gc(self) -> "Collection":
        """Return what `gc` would remove, and change nothing.

        Raises:
            RemoteFailed: it cannot be reached.
        """
        return ops.transfer.plan_collect(self._place, self._now())

    def gc(self) -> "Collection":
        """Remove from the remote what no version there needs; others may push and pull meanwhile.

        What a push sent and never finished goes one collection later.

        Raises:
            RemoteFailed: it cannot be reached.
        """
        return ops.transfer.collect(self._place, now=self._now, by=self._by())

    def fsck(self, *, share: float = 0.0) -> "Health":
        """Check that the remote has what its versions need, and read a share of its packs; nothing is changed.

        With a `share` of 1 every byte is read, with less of it packs drawn at random.

        Raises:
            CorruptRemote, RemoteChanged: its log is damaged: nothing else can be told then.
            RemoteFailed: it cannot be reached.
        """
        known = ops.transfer.Here(self._store) if self._place.is_bundle else frozenset[ObjectId]()
        return ops.transfer.check(self._place, share=share, progress=self._progress, now=self._now(), known=known)

    def _version(self, manifest: Manifest, state: "State") -> Version:
        known = state.versions[str(manifest.tag)]
        store = self._store.reaching(self._place, known, state)
        name, tag = manifest.tag.name, str(manifest.tag)
        aliases = sorted(
            alias.partition("@")[2]
            for alias, id in state.aliases.items()
            if id == known.id and alias.partition("@")[0] == name
        )
        moving = Moving(tuple(aliases), tuple(sorted(state.notes.get(tag, {}).items())))
        return Version(store, Stored(Ref(manifest.tag, known.id, known.created), manifest, moving), self._progress)


def tags(state: "State", specs: Iterable[str], remote: str) -> "list[str]":
    """Return the tags that specs stand for at a remote, all without any; of a bare name all, the latest first.

    Raises:
        NotFound: a spec stands for nothing there, or for several.
    """
    found: list[str] = []
    given = list(specs)
    for text in given:
        found += _named(state, Spec.parse(text), remote)
    return list(dict.fromkeys(found)) if given else list(state.versions)


def _named(state: "State", spec: Spec, remote: str) -> "list[str]":
    hint = command("mvs", "list", "--remote", remote)
    ours = {tag: known for tag, known in state.versions.items() if tag.partition(":")[0] == spec.name}
    if not ours:
        raise NameNotFound(f"no model '{spec.name}' at '{remote}'", hint=hint)
    by_age = sorted(ours, key=lambda tag: (ours[tag].created, tag), reverse=True)
    if spec.bare:
        return by_age
    if spec.kind == "latest":
        found = by_age[spec.back : spec.back + 1]
    elif spec.kind == "alias":
        id = state.aliases.get(f"{spec.name}@{spec.value}")
        found = [tag for tag in by_age if ours[tag].id == id]
        if not found:
            raise AliasNotFound(f"no alias '{spec}' at '{remote}'", hint=hint)
    elif spec.kind == "version":
        found = [tag for tag in by_age if tag == f"{spec.name}:{spec.value}"]
    elif spec.kind == "prefix":
        found = [tag for tag in by_age if tag.partition(":")[2].startswith(spec.value)]
    else:
        found = [tag for tag in by_age if str(ours[tag].id).startswith(spec.value)]
    if not found:
        raise VersionNotFound(f"no version '{spec}' at '{remote}'", hint=hint)
    if len(found) > 1:
        raise AmbiguousSpec(f"'{spec}' may be {', '.join(found[:_SHOWN])} at '{remote}'", hint=hint)
    return found
