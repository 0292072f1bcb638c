"""What the modules of all frameworks do alike: write files for a version or a checkpoint, and find them again."""

import shutil
import tempfile
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from typing import Any, TypedDict, Unpack

import mvs
from mvs.errors import FileNotInVersion

Spec = str | mvs.Tag | mvs.Version
Write = Callable[[Path], object]


class About(TypedDict, total=False):
    """What can be said of a version besides its files, as to `Repository.create`."""

    labels: Mapping[str, str] | None
    metadata: Mapping[str, Any] | None
    context: Mapping[str, Any] | None
    parents: Iterable[Spec]
    message: str


def found(spec: Spec, repo: mvs.Repository | None) -> mvs.Version:
    """Return a version, of the repository that is found from here unless there is another one."""
    return spec if isinstance(spec, mvs.Version) else (repo or mvs.open()).get(spec)


def file_of(version: mvs.Version, *names: str) -> Path:
    """Return the file of a version that has one of the names, the first that is there.

    Raises:
        FileNotInVersion: none is.
    """
    there = {file.path for file in version.files}
    for name in names:
        if name in there:
            return version.path / name
    raise FileNotInVersion(f"'{version.tag}' holds no '{names[0]}'", hint=f"mvs show {version.tag}")


def save_model(
    repo: mvs.Repository | None, tag: str, write: Write, model: object, framework: Any, **about: Unpack[About]
) -> mvs.Version:
    """Save what `write` puts into a folder, with the class of the model and its framework in the context."""
    kind = type(model)
    about["context"] = {
        "framework": {"sklearn": "scikit-learn"}.get(framework.__name__, framework.__name__),
        "framework_version": framework.__version__,
        "model": f"{kind.__module__}.{kind.__qualname__}",
        **(about.get("context") or {}),
    }
    with (repo or mvs.open()).create(tag, **about) as draft:
        write(draft.path)
    return draft.version


def save_written(
    checkpoints: mvs.Checkpointer, write: Write, folder: Path, *, step: int, metrics: Mapping[str, Any]
) -> "Future[mvs.Version] | None":
    """Save as a checkpoint what `write` puts into a new folder in `folder`, which is moved into the store."""
    folder.mkdir(parents=True, exist_ok=True)
    return save_moved(checkpoints, Path(tempfile.mkdtemp(prefix=".checkpoint-", dir=folder)), write, step, metrics)


def save_moved(
    checkpoints: mvs.Checkpointer, place: Path, write: Write, step: int, metrics: Mapping[str, Any]
) -> "Future[mvs.Version] | None":
    """Let `write` fill the folder `place` and move it into the store; nothing of it stays, whatever happens."""
    try:
        write(place)
        future = checkpoints.save(place, step=step, metrics=metrics, move=True)
    except BaseException:
        shutil.rmtree(place, ignore_errors=True)
        raise
    if future is None:
        shutil.rmtree(place, ignore_errors=True)
    else:
        # One that failed, or was left out, has given the folder back.
        future.add_done_callback(lambda _: shutil.rmtree(place, ignore_errors=True))
    return future


def finish(checkpoints: mvs.Checkpointer) -> None:
    """Wait for the last save at the end of a training; what failed was told, and is in `failure`."""
    # Raised here it would take the result of the training with it.
    with suppress(Exception):
        checkpoints.close()
