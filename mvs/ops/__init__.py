"""What can be done with a store, one verb a module. Verbs return facts, never text.

A verb is imported when it is first used (`ops.save.save`): a shell user who lists
versions does not wait for the code that saves them.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mvs.ops import dedup, diff, fsck, gc, repair, sharing, transfer
    from mvs.ops.find import query, usage
    from mvs.ops.giving import checkout, export
    from mvs.ops.pins import githooks, lockfile, looking, pinning, restoring, staged, status
    from mvs.ops.refs import aliases, delete, history, keeping, labels, lineage, prune
    from mvs.ops.saving import context, save, unpack, walk

__all__ = [
    "aliases",
    "checkout",
    "context",
    "dedup",
    "delete",
    "diff",
    "export",
    "fsck",
    "gc",
    "githooks",
    "history",
    "keeping",
    "labels",
    "lineage",
    "lockfile",
    "looking",
    "pinning",
    "prune",
    "query",
    "repair",
    "restoring",
    "save",
    "sharing",
    "staged",
    "status",
    "transfer",
    "unpack",
    "usage",
    "walk",
]

# The modules that lie in a folder with others.
_FOLDERS = {
    "aliases": "refs",
    "checkout": "giving",
    "context": "saving",
    "delete": "refs",
    "export": "giving",
    "githooks": "pins",
    "history": "refs",
    "keeping": "refs",
    "labels": "refs",
    "lineage": "refs",
    "lockfile": "pins",
    "looking": "pins",
    "pinning": "pins",
    "prune": "refs",
    "query": "find",
    "restoring": "pins",
    "save": "saving",
    "staged": "pins",
    "status": "pins",
    "unpack": "saving",
    "usage": "find",
    "walk": "saving",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'mvs.ops' has no attribute '{name}'")
    import importlib  # noqa: PLC0415 - see above

    return importlib.import_module(".".join(filter(None, ("mvs.ops", _FOLDERS.get(name), name))))
