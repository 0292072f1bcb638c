"""Where a repository is, what its configuration says, and who is at work.

The only module that reads the environment.
"""

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mvs.backends.failures import storage
from mvs.errors import InvalidConfig, NotARepository, command
from mvs.format.layout import FORMAT_FAMILY, FORMAT_FILE
from mvs.format.paths import FORBIDDEN
from mvs.query.sizes import parse_duration, parse_size

CONTROL = FORBIDDEN
CONFIG = "config.toml"
_IGNORE = "/*\n!/.gitignore\n!/config.toml\n!/hooks/\n"

# Every setting: its type, what it is unless set, and what it means.
SETTINGS: dict[str, tuple[type, Any, str]] = {
    "store.path": (str, "", "the store, when it is not the repository's own; relative to the folder of config.toml"),
    "store.remote": (str, "", "the remote that is the store, as `mvs init --store URL` sets it"),
    "store.cache-size": (str, "20GB", "where the store is a remote, what may be kept here of its files"),
    "store.durable": (bool, True, "wait until the disk has what was saved; false risks the last saves in a power cut"),
    "store.max-size": (str, "", "what the store may take: gc drops caches, packs what is loose, prunes, until it fits"),
    "gc.auto": (str, "off", "how often a save starts a gc in the background at most, such as 1d"),
    "dedup.auto": (bool, False, "pack every version right after it was saved, as `mvs save --dedup` does"),
    "prune.names": (list, [], "what gc may prune where the store is too large, as in `bert,team/*`; all unless set"),
    "prune.where": (str, "", "only versions for which this is true, as `mvs prune --where` has it"),
    "prune.keep-last": (int, 0, "what gc keeps then, as `mvs prune` has it; without one of these it prunes nothing"),
    "prune.keep-within": (str, "", "such as 30d"),
    "prune.keep-daily": (int, 0, "so many days"),
    "prune.keep-weekly": (int, 0, "so many weeks"),
    "prune.keep-monthly": (int, 0, "so many months"),
    "prune.keep-best": (list, [], "such as metadata.val_loss:min:3"),
    "prune.keep-parents": (bool, False, "keep what the kept ones were made from"),
    "prune.only-pushed": (bool, False, "keep what no remote has"),
    "hooks.timeout": (str, "10m", "how long a hook may take, such as 30s or 2h"),
    "alias.protected": (list, [], "aliases that move only with --force, as in `prod,bert@canary`"),
    "cache.max-size": (str, "20GB", "what `mvs path` may keep of files that it had to make from packs"),
}


# Of a remote: the type of each setting, and what it means.
REMOTE_SETTINGS: dict[str, tuple[type, str]] = {
    "url": (str, "where it is"),
    "default": (bool, "it is meant where none is named"),
    "single-writer": (bool, "its server does not keep two writers apart, and there is one at a time"),
    "endpoint": (str, "of the server, where it is not the provider's own"),
    "region": (str, "of the bucket"),
    "path-style": (bool, "the bucket is a part of the path, not of the host"),
    "timeout": (int, "seconds of silence after which a request is given up and tried again; 30 where it is not set"),
}
_REMOTES = "remotes"


@dataclass(frozen=True, slots=True)
class Workspace:
    """One repository: the folder that controls it (`.mvs`, or the home of mvs), its settings and its remotes."""

    control: Path
    settings: Mapping[str, Any]
    remotes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @classmethod
    def read(cls, control: Path) -> "Workspace":
        """Read the configuration of the repository that `control` belongs to.

        Raises:
            InvalidConfig: the file is not TOML, or a setting is unknown or of another type.
        """
        settings, remotes = _read_settings(control / CONFIG)
        return cls(control, settings, remotes)

    @property
    def store(self) -> Path:
        """The folder of the store."""
        path = str(self.settings.get("store.path", ""))
        return _expanded(path, "store.path", self.control) if path else self.control

    @property
    def store_remote(self) -> str:
        """The name of the remote that is the store; empty where the store is a folder."""
        return str(setting(self, "store.remote"))

    @property
    def store_cache_size(self) -> int:
        """How many bytes of the files of a store that is elsewhere are kept here.

        Raises:
            InvalidConfig: the setting is no size.
        """
        return self._parsed("store.cache-size", parse_size, "20GB")

    @property
    def dedup_auto(self) -> bool:
        """Whether every version is packed right after it was saved."""
        return bool(setting(self, "dedup.auto"))

    @property
    def protected(self) -> frozenset[str]:
        """The aliases that take force to move: `prod` of every name, or `bert@prod`."""
        return frozenset(word.lower() for word in setting(self, "alias.protected"))

    @property
    def cache_size(self) -> int:
        """How many bytes of files made from packs are kept.

        Raises:
            InvalidConfig: the setting is no size.
        """
        return self._parsed("cache.max-size", parse_size, "20GB")

    @property
    def store_size(self) -> int | None:
        """How many bytes the store may take, None where it may grow.

        Raises:
            InvalidConfig: the setting is no size.
        """
        return self._parsed("store.max-size", parse_size, "2TB") if setting(self, "store.max-size") else None

    @property
    def prune_rules(self) -> dict[str, Any]:
        """What is kept where gc prunes, as arguments of `Repository.prune`; empty where it prunes nothing."""
        rules = ("keep-last", "keep-within", "keep-daily", "keep-weekly", "keep-monthly", "keep-best")
        return {rule.replace("-", "_"): value for rule in rules if (value := setting(self, f"prune.{rule}"))}

    @property
    def gc_auto(self) -> int | None:
        """How many nanoseconds lie between two gc that saves start, None where they start none.

        Raises:
            InvalidConfig: the setting is no time.
        """
        return None if setting(self, "gc.auto") == "off" else self._parsed("gc.auto", parse_duration, "1d")

    @property
    def hooks_timeout(self) -> int:
        """How many nanoseconds a hook may take.

        Raises:
            InvalidConfig: the setting is no time.
        """
        return self._parsed("hooks.timeout", parse_duration, "10m")

    def _parsed(self, key: str, parse: Callable[[str], int], example: str) -> int:
        try:
            return parse(setting(self, key))
        except ValueError as error:
            raise InvalidConfig(f"'{key}': {error}", hint=command("mvs", "config", "set", key, example)) from None

    @property
    def durable(self) -> bool:
        """Whether saves wait for the disk."""
        return bool(self.settings.get("store.durable", True))


def find(path: str | os.PathLike[str] | None) -> Path:
    """Return the control folder for `path`, or for the working directory when that is None.

    The nearest `.mvs` upward; else, only without a `path`, `$MVS_HOME`; else the user's
    data directory. The last two need not exist yet.

    Raises:
        NotARepository: a `path` was given, and it is in no repository.
    """
    start = Path(os.path.abspath(path if path is not None else _working_directory()))
    for folder in (start, *start.parents):
        if (folder / CONTROL).is_dir():
            return folder / CONTROL
        if os.path.lexists(folder / CONTROL):
            raise NotARepository(f"'{folder / CONTROL}' is no folder", hint=command("ls", "-l", folder / CONTROL))
        if folder == start and is_store(folder):
            return folder
    if path is not None:
        raise NotARepository(f"'{path}' is in no repository", hint=command("mvs", "init", path))
    return home()


def is_store(folder: Path) -> bool:
    """Tell whether a folder is a store, of this release or a later one."""
    try:
        with open(folder / FORMAT_FILE, "rb") as file:
            return file.read(len(FORMAT_FAMILY)) == FORMAT_FAMILY
    except OSError:
        return False


def store_in(folder: Path) -> Path | None:
    """Return the store that a folder is, or that belongs to the repository it is; None where it is neither."""
    if is_store(folder):
        return folder
    if (folder / CONTROL).is_dir():
        store = Workspace.read(folder / CONTROL).store
        return store if is_store(store) else None
    return None


def home() -> Path:
    """Return the folder that serves as repository where no other is found."""
    named = os.environ.get("MVS_HOME")
    if named:
        return _expanded(named, "MVS_HOME")
    from platformdirs import user_data_path  # noqa: PLC0415 - only where there is no repository

    return user_data_path("mvs", appauthor=False)


def make(control: Path, *, store: str | None) -> None:
    """Make the control folder of a new repository, its configuration last."""
    with storage(str(control.parent)):
        try:
            control.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError):
            raise NotARepository(f"cannot make '{control}': a file is in the way") from None
        ignore = control / ".gitignore"
        if not ignore.exists():
            ignore.write_text(_IGNORE, encoding="utf-8")
    if store is not None:
        write_setting(control, "store.path", store)


def make_home(home: Path) -> None:
    """Make the folder that serves where there is no repository.

    Raises:
        NotARepository: it is there, and holds something else.
    """
    ours = {CONFIG, ".gitignore"}
    if home.is_dir() and any(entry.name not in ours for entry in home.iterdir()):
        raise NotARepository(f"'{home}' is not empty and no store", hint=command("ls", home))
    make(home, store=None)


def write_setting(control: Path, key: str, text: str) -> None:
    """Set one setting in the configuration, keeping comments and order.

    Raises:
        InvalidConfig: there is no such setting, or `text` is no value for it.
    """
    import tomlkit  # noqa: PLC0415 - 10 ms, only to write

    kind = _setting(key)[0]
    value: Any = text
    if kind is bool:
        if text.lower() not in ("true", "false"):
            raise InvalidConfig(
                f"'{key}' is true or false, not '{text}'", hint=command("mvs", "config", "set", key, "true")
            )
        value = text.lower() == "true"
    elif kind is int:
        try:
            value = int(text)
        except ValueError:
            raise InvalidConfig(
                f"'{key}' is a number, not '{text}'", hint=command("mvs", "config", "set", key, "7")
            ) from None
    elif kind is list:
        value = [word.strip() for word in text.split(",") if word.strip()]
    table, _, leaf = key.partition(".")
    _rewrite(control, lambda document: document.setdefault(table, tomlkit.table()).update({leaf: value}))


def write_remote(control: Path, name: str, settings: Mapping[str, Any] | None) -> None:
    """Set all that is known of one remote, or with None remove it; a default one is the only one."""
    import tomlkit  # noqa: PLC0415 - as above

    def change(document: Any) -> None:
        remotes = document.setdefault(_REMOTES, tomlkit.table(is_super_table=True))
        if settings is None:
            remotes.pop(name, None)
            return
        if settings.get("default"):
            for other in remotes.values():
                other.pop("default", None)
        remotes[name] = dict(settings)

    _rewrite(control, change)


def _rewrite(control: Path, change: Callable[[Any], object]) -> None:
    """Change the configuration, keeping comments and order."""
    import tomlkit  # noqa: PLC0415 - 10 ms, only to write

    path = control / CONFIG
    _read_settings(path)
    document = tomlkit.parse(path.read_text(encoding="utf-8")) if path.exists() else tomlkit.document()
    change(document)
    temp = path.with_name(f"{CONFIG}.{os.getpid()}.tmp")
    try:
        data = tomlkit.dumps(document).encode()
    except UnicodeEncodeError:
        raise InvalidConfig("a setting is not valid Unicode") from None
    with storage(str(control)):
        try:
            control.mkdir(parents=True, exist_ok=True)
            temp.write_bytes(data)
            temp.replace(path)
        except BaseException:
            temp.unlink(missing_ok=True)
            raise


def setting(workspace: Workspace, key: str) -> Any:
    """Return the value of a setting, its default where it is not set.

    Raises:
        InvalidConfig: there is no such setting.
    """
    return workspace.settings.get(key, _setting(key)[1])


def absolute(path: str) -> str:
    """Return a path of the user's as one that means the same from everywhere."""
    return str(_expanded(path, "url"))


def actor() -> str:
    """Return who is at work: `user@host`."""
    user = os.environ.get("LOGNAME") or os.environ.get("USER")
    if not user:
        import pwd  # noqa: PLC0415 - not on every platform

        try:
            user = pwd.getpwuid(os.getuid()).pw_name
        except KeyError:
            user = str(os.getuid())
    return f"{user}@{host()}"


def host() -> str:
    """Return the name of this machine."""
    import socket  # noqa: PLC0415 - only when something changes

    return socket.gethostname()


def environment() -> Mapping[str, str]:
    """Return the environment, for programs that are run."""
    return dict(os.environ)


def allowed_hooks() -> Path:
    """Return the folder of the hooks that this user has allowed; no repository has a say in where it is."""
    from platformdirs import user_config_path  # noqa: PLC0415 - only where there are hooks

    return user_config_path("mvs", appauthor=False) / "allowed-hooks"


def in_hook() -> bool:
    """Tell whether a hook has started this program."""
    return bool(os.environ.get("MVS_HOOK"))


def is_plain_terminal() -> bool:
    """Tell whether standard error is a terminal that a progress bar can be drawn on."""
    return sys.stderr is not None and sys.stderr.isatty() and os.environ.get("TERM") != "dumb"


def forbids_colour() -> bool:
    """Tell whether the user wants no colours (https://no-color.org)."""
    return bool(os.environ.get("NO_COLOR"))


def _expanded(path: str, what: str, base: Path | None = None) -> Path:
    try:
        expanded = Path(path).expanduser()
    except RuntimeError as error:
        raise InvalidConfig(f"'{what}' is '{path}', and there is no such home") from error
    if "\0" in path:
        raise InvalidConfig(f"'{what}' is {path!r}, which holds a NUL")
    return Path(os.path.normpath((base or Path(_working_directory())) / expanded))


def _working_directory() -> str:
    try:
        return os.getcwd()
    except FileNotFoundError:
        raise NotARepository("the working directory was removed", hint="cd") from None


def _setting(key: str) -> tuple[type, Any, str]:
    if key not in SETTINGS:
        raise InvalidConfig(f"no setting '{key}'; there are {', '.join(SETTINGS)}", hint="mvs config list")
    return SETTINGS[key]


def _read_settings(path: Path) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """Return settings and remotes."""
    if not path.exists():
        return {}, {}
    import tomllib  # noqa: PLC0415 - 8 ms, and most repositories have no configuration

    try:
        with open(path, "rb") as file:
            tables = tomllib.load(file)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise InvalidConfig(f"cannot read '{path}': {error}", hint=command("cat", path)) from error
    found: dict[str, Any] = {}
    remotes = tables.pop(_REMOTES, {})
    known = {name: kind for name, (kind, _) in REMOTE_SETTINGS.items()}
    for name, entries in remotes.items() if isinstance(remotes, dict) else [(_REMOTES, None)]:
        if not isinstance(entries, dict) or "url" not in entries:
            raise InvalidConfig(f"the remote '{name}' in '{path}' has no URL", hint=command("cat", path))
        for key, value in entries.items():
            if type(value) is not known.get(key):
                raise InvalidConfig(
                    f"'{key}' of the remote '{name}' in '{path}' makes no sense", hint=command("cat", path)
                )
    for table, entries in tables.items():
        for leaf, value in entries.items() if isinstance(entries, dict) else [("", entries)]:
            key = f"{table}.{leaf}" if leaf else table
            kind = _setting(key)[0]
            if type(value) is not kind or (isinstance(value, list) and not all(type(item) is str for item in value)):
                what = f"{kind.__name__}{' of str' if kind is list else ''}"
                raise InvalidConfig(f"'{key}' in '{path}' is not a {what}", hint=command("cat", path))
            found[key] = value
    return found, remotes
