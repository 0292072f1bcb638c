"""Git for model artifacts: immutable versions of models, by name, in a content-addressed store.

import mvs

repo = mvs.open()
with repo.create("sentiment", metadata={"accuracy": 0.94}) as draft:
    ...  # write files into draft.path
repo.get("sentiment").path
"""

from typing import TYPE_CHECKING, Any

from mvs._about import __version__

if TYPE_CHECKING:
    from mvs import errors
    from mvs.errors import MvsError
    from mvs.format.names import Tag
    from mvs.handles.draft import Draft
    from mvs.handles.tensors import TensorInfo
    from mvs.handles.training.checkpointer import Checkpointer
    from mvs.handles.version import AliasInfo, Change, File, Relative, Version
    from mvs.ops.diff import Diff
    from mvs.repository.opening import clone, init, open  # noqa: A004 - the name of the API
    from mvs.repository.pinning import Pinned, PinStatus
    from mvs.repository.repository import Repository

# Where each public name lives: nothing is imported before it is used, so that the
# command line starts as fast as click.
_HOMES = {
    "AliasInfo": "mvs.handles.version",
    "Change": "mvs.handles.version",
    "Checkpointer": "mvs.handles.training.checkpointer",
    "Diff": "mvs.ops.diff",
    "Draft": "mvs.handles.draft",
    "File": "mvs.handles.version",
    "MvsError": "mvs.errors",
    "PinStatus": "mvs.repository.pinning",
    "Pinned": "mvs.repository.pinning",
    "Relative": "mvs.handles.version",
    "Repository": "mvs.repository.repository",
    "Tag": "mvs.format.names",
    "TensorInfo": "mvs.handles.tensors",
    "Version": "mvs.handles.version",
    "clone": "mvs.repository.opening",
    "init": "mvs.repository.opening",
    "open": "mvs.repository.opening",
}

__all__ = [
    "AliasInfo",
    "Change",
    "Checkpointer",
    "Diff",
    "Draft",
    "File",
    "MvsError",
    "PinStatus",
    "Pinned",
    "Relative",
    "Repository",
    "Tag",
    "TensorInfo",
    "Version",
    "__version__",
    "clone",
    "errors",
    "init",
    "open",
]


def __getattr__(name: str) -> Any:
    import importlib  # noqa: PLC0415 - see _HOMES

    if name == "errors":
        return importlib.import_module("mvs.errors")
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'mvs' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted(__all__)
