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
    from mvs.draft import Draft
    from mvs.errors import MvsError
    from mvs.format.names import Tag
    from mvs.repository import Repository, init, open  # noqa: A004 - the name of the API
    from mvs.version import Change, File, Version

# Where each public name lives: nothing is imported before it is used, so that the
# command line starts as fast as click.
_HOMES = {
    "Change": "mvs.version",
    "Draft": "mvs.draft",
    "File": "mvs.version",
    "MvsError": "mvs.errors",
    "Repository": "mvs.repository",
    "Tag": "mvs.format.names",
    "Version": "mvs.version",
    "init": "mvs.repository",
    "open": "mvs.repository",
}

__all__ = [
    "Change",
    "Draft",
    "File",
    "MvsError",
    "Repository",
    "Tag",
    "Version",
    "__version__",
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
