"""How one gets a repository: by making, cloning or finding it."""

import os
from pathlib import Path

from mvs.errors import Conflict, InvalidInput, NotARepository, command
from mvs.format.layout import FORMAT_FILE
from mvs.handles.version import PathLike
from mvs.repository import workspace
from mvs.repository.repository import Repository
from mvs.repository.workspace import Workspace
from mvs.running.progress import Progress, Silent
from mvs.store.store import Store


def init(path: PathLike = ".", *, store: PathLike | None = None) -> Repository:
    """Make the folder `path` a repository and return it; one that is there already is left as it is.

    With `store`, versions are kept in that folder, which many repositories may share;
    otherwise in `path/.mvs`.

    Raises:
        NotARepository: `store` holds something that is no store.
        InvalidInput: the repository is there with another store.
        StorageFailed: the folders cannot be made.
    """
    control = Path(os.path.abspath(path)) / workspace.CONTROL
    wanted = Path(os.path.abspath(store)) if store is not None else control
    if (control.is_dir() and (control / workspace.CONFIG).exists()) or (control / FORMAT_FILE).exists():
        space = Workspace.read(control)
        if store is not None and space.store != wanted:
            raise InvalidInput(f"'{control.parent}' is a repository with the store '{space.store}' already")
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
    return Repository(space)


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
