"""How one gets a repository: by making, cloning or finding it."""

import os
import shutil
from pathlib import Path
from typing import Any

from mvs import ops
from mvs.errors import Conflict, InvalidInput, NotARepository, command
from mvs.format.layout import FORMAT_FILE
from mvs.handles.version import PathLike
from mvs.repository import workspace
from mvs.repository.repository import Repository
from mvs.repository.sharing import located
from mvs.repository.workspace import Workspace
from mvs.running.progress import Progress, Silent
from mvs.store.store import Store

# What the remote is called that is a store.
STORE = "store"


def init(
    path: PathLike = ".",
    *,
    store: PathLike | None = None,
    single_writer: bool = False,
    endpoint: str | None = None,
    region: str | None = None,
    path_style: bool | None = None,
    timeout: int | None = None,
) -> Repository:
    """Make the folder `path` a repository and return it; one that is there already is left as it is.

    With `store`, versions are kept in that folder, which many repositories may share; otherwise in `path/.mvs`.
    Where `store` is a URL they are kept there, and `path/.mvs` has a copy of their names, and what was read of their
    files; the URL, and all further arguments, are those of `Repository.add_remote`.

    Raises:
        NotARepository: `store` holds something that is no store.
        InvalidInput: the repository is there with another store.
        StorageFailed: the folders cannot be made.
        RemoteFailed, RemoteUnsafe: as `Repository.add_remote`.
    """
    control = Path(os.path.abspath(path)) / workspace.CONTROL
    options = {"endpoint": endpoint, "region": region, "path_style": path_style, "timeout": timeout}
    url = os.fsdecode(store) if store is not None and "://" in os.fsdecode(store) else None
    if url is None and (single_writer or any(value is not None for value in options.values())):
        raise InvalidInput("endpoint, region and the like are for a store at a URL", hint="mvs init --store URL")
    wanted = Path(os.path.abspath(store)) if store is not None and url is None else control
    if (control.is_dir() and (control / workspace.CONFIG).exists()) or (control / FORMAT_FILE).exists():
        space = Workspace.read(control)
        kept = space.remotes[space.store_remote]["url"] if space.store_remote in space.remotes else str(space.store)
        if store is not None and kept != (str(wanted) if url is None else located(url)):
            raise InvalidInput(f"'{control.parent}' is a repository with the store '{kept}' already")
    elif url is not None:
        _make_elsewhere(control, url, single_writer=single_writer, **options)
        space = Workspace.read(control)
    else:
        if wanted != control and wanted.is_dir() and any(wanted.iterdir()) and not (wanted / FORMAT_FILE).exists():
            raise NotARepository(f"'{wanted}' is not empty and no store", hint=command("ls", wanted))
        workspace.make(control, store=str(wanted) if store is not None else None)
        space = Workspace.read(control)
    if (traits := Store.make(space.store)) and not traits.locks:
        Silent().notice(
            f"the locks of the file system under '{space.store}' do nothing: "
            "save from one process at a time; gc, dedup and repair will refuse"
        )
    if space.store_remote:
        ops.transfer.Working.begin(space.store)
    return Repository(space)


def _make_elsewhere(control: Path, url: str, **options: Any) -> None:
    """Make a repository whose store is at a URL; where that cannot be, there is none."""
    workspace.make(control, store=None)
    try:
        Store.make(control)
        Repository(Workspace.read(control)).add_remote(STORE, url, **options)
        # Last: with it, the store is elsewhere.
        workspace.write_setting(control, "store.remote", STORE)
    except BaseException:
        shutil.rmtree(control, ignore_errors=True)
        raise


def clone(source: str, path: PathLike, *, progress: Progress | None = None) -> Repository:
    """Make the folder `path` a repository with all versions of a remote or a bundle, and return it.

    A remote is its default remote `origin` from then on.

    Raises:
        Conflict: there is a repository with versions.
        RemoteFailed, Corrupt: as `Repository.pull`.
    """
    repo = init(path)
    repo._progress = progress or repo._progress
    if repo.list(limit=1):
        raise Conflict(f"there is a repository with versions in '{os.fspath(path)}'", hint=command("ls", "-a", path))
    if "://" not in source and os.path.isfile(source):
        repo.import_bundle(source)
        return repo
    if "origin" not in repo.remotes:
        repo.add_remote("origin", source, make=False)
    repo.pull()
    return repo


def open(path: PathLike | None = None) -> Repository:
    """Return the repository of `path`, or of the working directory.

    The nearest `.mvs` upward; without a `path` and without one, `$MVS_HOME`, else the
    user's data directory, made when missing.

    Raises:
        NotARepository: `path` is in no repository, or the `.mvs` found is none.
        UnsupportedFormat: a later release of mvs made the store.
    """
    return open_with(path, None)


def open_with(path: PathLike | None, progress: Progress | None) -> Repository:
    """Return what `open` returns, reporting to `progress`."""
    control = workspace.find(path)
    if path is None and not (control / FORMAT_FILE).exists() and control == workspace.home():
        workspace.make_home(control)
        Store.make(Workspace.read(control).store)
        (progress or Silent()).notice(f"no repository here: versions are kept in '{control}'")
    return Repository(Workspace.read(control), progress=progress)
