"""Files of a version that were not pulled: which these are, and the error that says how to get them."""

import glob
from collections.abc import Iterable

from mvs.errors import NotPulled, command
from mvs.format.lines.refs import Ref
from mvs.format.manifest import FileEntry, Manifest
from mvs.store.store import Store


def absent(store: Store, ref: Ref, manifest: Manifest) -> tuple[FileEntry, ...]:
    """Return the files of a version that were not pulled and are not here.

    Raises:
        CorruptRef, UnsupportedFormat: that cannot be told.
    """
    here = store.here(ref.id, manifest)
    if here is manifest.tree.files:
        return ()
    paths = {entry.path for entry in here}
    return tuple(entry for entry in manifest.tree.files if entry.path not in paths)


def check(store: Store, ref: Ref, manifest: Manifest, files: Iterable[FileEntry]) -> None:
    """Refuse to go on where some of these files of a version were not pulled.

    Raises:
        NotPulled: one was not.
        CorruptRef, UnsupportedFormat: that cannot be told.
    """
    lacking = {entry.path for entry in absent(store, ref, manifest)}
    wanted = sorted(entry.path for entry in files if entry.path in lacking) if lacking else []
    partial = store.partials.read(ref.id) if wanted else None
    if partial is None:
        return
    more = f" and {len(wanted) - 1} more of its files were" if len(wanted) > 1 else " was"
    chosen = ("--include", glob.escape(wanted[0])) if len(wanted) == 1 < len(manifest.tree.files) else ()
    raise NotPulled(
        f"'{wanted[0]}' of '{ref.tag}'{more} not pulled; it is at '{partial.remote}' ({partial.url})",
        hint=command("mvs", "pull", "-r", partial.remote, ref.tag, *chosen),
    )
