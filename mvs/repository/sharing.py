"""What a repository shares with others: remotes, push, pull and fetch.

Part of the Python API: `Repository` is a `Sharing` that also pins, saves and finds.
"""

import os
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from mvs import ops
from mvs.errors import (
    Conflict,
    InvalidInput,
    RemoteFailed,
    RemoteNotFound,
    RemoteUnsafe,
    command,
)
from mvs.format.ids import ObjectId
from mvs.format.names import Alias, parse_version
from mvs.handles.remote import Remote, tags
from mvs.handles.version import SpecLike
from mvs.repository import workspace
from mvs.repository.events import told
from mvs.repository.upkeep import Upkeep
from mvs.repository.workspace import Workspace
from mvs.store.store import Store

if TYPE_CHECKING:
    from mvs.ops.transfer import Beside, Mirrored, Pulled, PullPlan, Pushed, PushPlan
    from mvs.store.remote.remote import Remote as Place
    from mvs.store.remote.state import State

_OPTIONS = ("endpoint", "region")


class Sharing(Upkeep):
    """The verbs of a repository that reach out."""

    _space: Workspace

    @abstractmethod
    def _reload(self) -> None:
        """Read the configuration again."""

    @abstractmethod
    def _seconds(self) -> float:
        """Return seconds that pass evenly."""

    @property
    def remotes(self) -> Mapping[str, Mapping[str, Any]]:
        """What is known of each remote, by name: its URL and its settings, never credentials."""
        return self._space.remotes

    def add_remote(
        self,
        name: str,
        url: str,
        *,
        default: bool = False,
        single_writer: bool = False,
        endpoint: str | None = None,
        region: str | None = None,
        path_style: bool | None = None,
        timeout: int | None = None,
        make: bool = True,
    ) -> None:
        """Give a remote a name, and make it where there is none; the first one becomes the default.

        `endpoint`, `region` and `path_style` are for object stores; a request whose server is silent for `timeout`
        seconds, 30 without, is given up and tried again. A server that lets two writers create the same
        key is refused, unless `single_writer` promises that there is one at a time. Without `make` it must be there.

        Raises:
            Conflict: there is a remote of this name.
            RemoteUnsafe: the server does not keep two writers apart.
            RemoteFailed: it cannot be reached, or written to.
        """
        name = parse_version(name)
        if name in self.remotes:
            raise Conflict(f"there is a remote '{name}'", hint=command("mvs", "remote", "set-url", name, url))
        given: dict[str, Any] = {"url": located(url), "endpoint": endpoint, "region": region}
        given |= {"path-style": path_style, "timeout": timeout}
        told: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
        if default or not self.remotes:
            told["default"] = True
        place = self._place(name, told)
        if not place.log.exists():
            if not make:
                raise RemoteFailed(f"there is no remote at '{url}'")
            _begin(place, name, url, single_writer=single_writer)
            if single_writer:
                told["single-writer"] = True
        workspace.write_remote(self._space.control, name, told)
        self._reload()

    def remove_remote(self, name: str) -> None:
        """Forget a remote; nothing there is changed.

        Raises:
            RemoteNotFound: there is none of this name.
        """
        self._settings(name)
        if name == self._space.store_remote:
            raise Conflict(f"the remote '{name}' is the store of this repository", hint="mvs config get store.remote")
        workspace.write_remote(self._space.control, name, None)
        self._reload()

    def set_remote_url(self, name: str, url: str) -> None:
        """Look for a remote elsewhere from now on.

        Raises:
            RemoteNotFound: there is none of this name.
        """
        workspace.write_remote(self._space.control, name, {**self._settings(name), "url": located(url)})
        self._reload()

    @abstractmethod
    def _protects(self, alias: Alias) -> bool:
        """Tell whether the settings protect an alias."""

    def plan_push(
        self, *specs: SpecLike, where: str | None = None, remote: str | None = None, force: bool = False
    ) -> "PushPlan":
        """Return what `push` would send with the same arguments, and change nothing.

        Raises:
            NotFound, QueryError, TagExists, RemoteFailed: as `push`.
        """
        place = self._remote(remote)
        chosen = self._chosen(specs, where) if specs or where is not None else None
        state = place.log.state()
        if chosen is None:
            # What it has nobody need read.
            known = frozenset(version.id for version in state.versions.values())
            chosen = ops.query.every(self._store, known, self._progress.notice)
        return ops.transfer.plan_push(self._store, place, chosen, state, progress=self._progress, force=force)

    def push(
        self,
        *specs: SpecLike,
        where: str | None = None,
        remote: str | None = None,
        jobs: int | None = None,
        force: bool = False,
        limit_rate: int | None = None,
        plan: "PushPlan | None" = None,
    ) -> "Pushed":
        """Let a remote have versions, all without `specs`; a bare name stands for all its versions.

        With `where` only those for which it is true. Only what it lacks travels. What is loose is packed first, and
        stays loose. All of them appear there at once, or none; an interrupted push goes on where it was. With a
        `plan`, that is done. `jobs` is how many requests are under way at once, 4 without, and threads that pack;
        `limit_rate` how many bytes a second go.

        Their aliases and notes go with them, as far as they changed here since both sides had the same. What changed
        on both sides stays as it is on each, and is in `beside.differs` of what is returned; with `force` what is here
        wins.

        Raises:
            NotFound: a spec, or the remote, stands for nothing.
            QueryError: `where` is not understood.
            TagExists: the remote has a tag with other content.
            RemoteFailed: it cannot be reached.
            StoreBusy: another process makes packs.
            HookRefused: the hook `pre-push` forbids it.
        """
        if plan is None:
            plan = self.plan_push(*specs, where=where, remote=remote, force=force)
        place = self._remote(plan.remote, limit_rate)
        self._events.before("pre-push", lambda: _told(plan))
        done = ops.transfer.push(
            self._store, place, plan, now=self._now, by=workspace.actor(), progress=self._progress, jobs=jobs
        )
        self._tell_differing(done.beside, plan.remote)
        self._events.after("post-push", lambda: _told(plan))
        return done

    def plan_pull(
        self,
        *specs: str,
        where: str | None = None,
        remote: str | None = None,
        include: Iterable[str] = (),
        exclude: Iterable[str] = (),
    ) -> "PullPlan":
        """Return what `pull` would bring with the same arguments, and change nothing.

        Raises:
            NotFound, QueryError, TagExists, RemoteFailed: as `pull`.
        """
        place = self._remote(remote)
        state = place.log.state()
        wanted = self._wanted(place, state, specs, where)
        return ops.transfer.plan_pull(self._store, place, wanted, state, include=include, exclude=exclude)

    def pull(
        self,
        *specs: str,
        where: str | None = None,
        remote: str | None = None,
        include: Iterable[str] = (),
        exclude: Iterable[str] = (),
        force: bool = False,
        jobs: int | None = None,
        limit_rate: int | None = None,
    ) -> "Pulled":
        """Bring versions of a remote here, all without `specs`; a bare name stands for all its versions.

        With `where` only those for which it is true, with the labels and aliases they have there. Every record is
        decoded and compared with its id before any version appears. An interrupted pull goes on where it was. `jobs`
        is how many requests are under way at once, 4 without; `limit_rate` how many bytes a second come.

        With `include` and `exclude`, globs as those of `checkout`, only the files come that match; the versions are
        here all the same, and a later pull brings more of them. What needs a file that did not come says so
        (NotPulled).

        Their aliases and notes come with them, as far as they changed there since both sides had the same. What changed
        on both sides stays as it is on each, as does a protected alias, and is in `beside.differs` of what is returned;
        with `force` what is there wins.

        Raises:
            NotFound: a spec, or the remote, stands for nothing.
            FileNotInVersion: no file matches `include`.
            QueryError: `where` is not understood.
            TagExists: this store has a tag with other content.
            Corrupt: what came is not what it says it is; nothing of it is in the store.
            RemoteFailed: it cannot be reached.
            StoreBusy: another process makes packs.
        """
        place = self._remote(remote, limit_rate)
        wanted = self._wanted(place, place.log.state(), specs, where)
        return self._pulled(place, wanted, force=force, jobs=jobs, include=include, exclude=exclude)

    def plan_mirror(self, source: str, target: str) -> "Mirrored":
        """Return what `mirror` would do with the same arguments, and change nothing.

        Raises:
            RemoteNotFound, TagExists, RemoteFailed: as `mirror`.
        """
        return ops.transfer.plan_mirror(self._named(source), self._named(target))

    def mirror(self, source: str, target: str, *, jobs: int | None = None) -> "Mirrored":
        """Let the remote `target` have all that the remote `source` has; each is a name or a URL.

        Packs go as they are, those that it lacks, and all versions appear there at once. Aliases and notes are what
        they are at the source; what only the target has stays. `jobs` packs are under way at once, 4 without. Those
        that an interrupted mirror had brought are not sent again. Nothing of it comes into this store.

        Raises:
            RemoteNotFound: there is no such source.
            TagExists: the target has a tag with other content.
            CorruptRemote: the source is damaged, or a bundle that goes without what its reader has.
            RemoteUnsafe: the target is to be made, and does not keep two writers apart.
            RemoteFailed: one of them cannot be reached.
        """
        ours, theirs = self._named(source), self._named(target)
        if not ours.log.exists():
            raise RemoteNotFound(f"there is no remote at '{source}'", hint="mvs remote list")
        if not theirs.log.exists():
            _begin(theirs, "NAME", target, single_writer=False)
        return ops.transfer.mirror(
            self._store, ours, theirs, now=self._now, by=workspace.actor(), progress=self._progress, jobs=jobs
        )

    def remote(self, name: str | None = None) -> Remote:
        """Return a remote, the default one without a name, to look into without pulling.

        Raises:
            RemoteNotFound: there is none of this name.
        """
        return Remote(self._store, self._remote(name), self._progress, now=self._now, by=workspace.actor)

    def fetch(self, remote: str | None = None, *, limit_rate: int | None = None) -> int:
        """Read what happened at a remote since it was last looked at; return how many versions it has.

        No more than `limit_rate` bytes a second come.

        Raises:
            RemoteFailed: it cannot be reached.
        """
        return len(self._remote(remote, limit_rate).log.state().versions)

    def bundle(
        self, path: str | os.PathLike[str], *specs: SpecLike, since: Iterable[SpecLike] = (), jobs: int | None = None
    ) -> "Pushed":
        """Write versions, all without `specs`, into one new file, for where no network leads.

        With `since` it goes without the files of these versions, which whoever reads it must have.

        Raises:
            NotFound: a spec stands for nothing.
            DestinationExists: there is a file.
            StorageFailed: the disk is full, read-only or failing; then there is no file.
        """
        given = list(since)
        return ops.transfer.bundle.create(
            self._store,
            os.fspath(path),
            self._chosen(specs),
            self._chosen(given) if given else (),
            now=self._now,
            by=workspace.actor(),
            progress=self._progress,
            jobs=jobs,
        )

    @contextmanager
    def opened_bundle(self, path: str | os.PathLike[str]) -> Iterator[Remote]:
        """Look into a bundle as into a remote, while the block runs.

        Raises:
            SourceNotFound: there is no file.
            CorruptRemote: it is no bundle.
        """
        with ops.transfer.bundle.opened(self._store, os.fspath(path)) as place:
            yield Remote(self._store, place, self._progress, now=self._now, by=workspace.actor)

    def import_bundle(self, path: str | os.PathLike[str], *specs: str) -> "Pulled":
        """Bring versions of a bundle here, all without `specs`; verified as those of a remote are.

        Raises:
            NotFound, TagExists, Corrupt, StoreBusy: as `pull`.
        """
        with ops.transfer.bundle.opened(self._store, os.fspath(path)) as place:
            return self._pulled(place, tags(place.log.state(), specs, place.name), force=False)

    def _pulled(
        self,
        place: "Place",
        wanted: list[str],
        *,
        force: bool,
        jobs: int | None = None,
        include: Iterable[str] = (),
        exclude: Iterable[str] = (),
    ) -> "Pulled":
        done = ops.transfer.pull(
            self._store,
            place,
            wanted,
            now=self._now,
            by=workspace.actor(),
            progress=self._progress,
            protects=self._protects,
            force=force,
            jobs=jobs,
            include=include,
            exclude=exclude,
        )
        self._tell_differing(done.beside, place.name, settled=place.is_bundle)
        return done

    def _tell_differing(self, found: "Beside", remote: str, *, settled: bool = False) -> None:
        """Tell what stays one thing here and another one there; `settled` where nobody can make it the same there."""
        for each in found.differs:
            if each.held:
                self._progress.notice(
                    f"the alias '{each.alias}' is protected: it stays at {_shown(each.here)}, and is at "
                    f"{_shown(each.there)} at '{remote}'; pull --force (force=True) moves it"
                )
            else:
                what = f"alias '{each.alias}'" if each.alias else f"label '{each.key}' of '{each.tag}'"
                told = f"the {what} is {_shown(each.here)} here and {_shown(each.there)} at '{remote}'"
                ways = "pull --force takes what is there, push --force (force=True) what is here"
                self._progress.notice(f"{told}, and stays so" if settled else f"{told}, both changed; {ways}")

    def _wanted(self, place: "Place", state: "State", specs: Iterable[str], where: str | None) -> list[str]:
        """Return the tags of a remote that specs stand for and for which `where` is true."""
        found = tags(state, specs, place.name)
        expression = self._expression(where)
        return found if expression is None else ops.transfer.matching(place, state, found, expression)

    def _pushed(self) -> frozenset[ObjectId]:
        return frozenset(
            known.id for name in self.remotes for known in self._remote(name).log.state().versions.values()
        )

    def _remote(self, name: str | None, limit_rate: int | None = None) -> "Place":
        if name is None:
            name = self._default()
        return self._place(name, self._settings(name), limit_rate)

    def _named(self, name: str) -> "Place":
        """Return the remote of a name, or at a URL."""
        return self._remote(name) if name in self.remotes else self._place(name, {"url": located(name)})

    def _working(self, name: str) -> Store:
        """Return the store that is at a remote, of which the store here is a copy."""
        space = self._space
        return ops.transfer.Working(
            space.store,
            self._remote(name),
            durable=space.durable,
            view_bytes=space.cache_size,
            most=space.store_cache_size,
            progress=lambda: self._progress,
        )

    def _default(self) -> str:
        if not self.remotes:
            raise RemoteNotFound("this repository has no remote", hint="mvs remote add origin URL")
        for name, settings in self.remotes.items():
            if settings.get("default"):
                return name
        if len(self.remotes) == 1:
            return next(iter(self.remotes))
        raise RemoteNotFound(f"which remote? There is {', '.join(self.remotes)}, and none is the default")

    def _settings(self, name: str) -> Mapping[str, Any]:
        if name not in self.remotes:
            raise RemoteNotFound(f"no remote '{name}'", hint="mvs remote list")
        return self.remotes[name]

    def _place(self, name: str, settings: Mapping[str, Any], limit_rate: int | None = None) -> "Place":
        from mvs.backends.buckets import PATIENCE, Address, Pace  # noqa: PLC0415 - only transfers need it

        options = {key: settings[key] for key in _OPTIONS if key in settings}
        if "path-style" in settings:
            options["virtual_hosted_style_request"] = not settings["path-style"]
        pace = Pace(limit_rate, self._seconds) if limit_rate else None
        return self._store.remote(name, Address(settings["url"], options, settings.get("timeout", PATIENCE)), pace)


def located(url: str) -> str:
    """Return the URL of a remote as it is kept: a path where it is a folder.

    Raises:
        InvalidInput: it holds a password.
    """
    from mvs.backends.buckets import Address  # noqa: PLC0415 - only transfers need it

    user, at, _ = url.partition("://")[2].partition("/")[0].rpartition("@")
    if at and (":" in user or not url.startswith("ssh:")):
        raise InvalidInput("a URL of a remote holds no user and no password: they belong in the environment")
    address = Address(url)
    return workspace.absolute(address.path) if address.is_folder else url.rstrip("/")


def _begin(place: "Place", name: str, url: str, *, single_writer: bool) -> None:
    """Make a remote where there is none.

    Raises:
        RemoteUnsafe: the server lets two writers create the same key, and not `single_writer`.
    """
    if not place.is_safe() and not single_writer:
        raise RemoteUnsafe(
            f"the server of '{url}' lets two writers create the same key; it will do for one at a time",
            hint=command("mvs", "remote", "add", name, url, "--single-writer"),
        )
    place.log.begin(single_writer=single_writer)


def _shown(value: str | None) -> str:
    return "nothing" if value is None else f"'{value}'"


def _told(plan: "PushPlan") -> dict[str, Any]:
    """Return what hooks are told of a push."""
    return {"remote": plan.remote, "versions": told(plan.refs)}
