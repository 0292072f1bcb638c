"""Make the golden store of aliases and notes of format 1: `python tests/golden/make_refs.py`.

Run once, when that part of the format was released; the files it wrote are what is kept.
"""

import shutil
import tempfile
from itertools import count
from pathlib import Path

from mvs.errors import MvsError
from mvs.format.names import Alias, Spec
from mvs.ops import aliases, delete, labels, save, walk
from mvs.running.progress import Silent
from mvs.store.store import Store

HERE = Path(__file__).parent / "refs-1"
BY = "ann@höst"
BEGAN = 1_795_430_712_000_000_001


def make(root: Path) -> None:
    """Write a store at `root` with aliases and notes of every kind."""
    Store.make(root)
    store = Store(root)
    clock = count(BEGAN, 1_000_000_000)

    def now() -> int:
        return next(clock)

    def put(version: str) -> None:
        with tempfile.TemporaryDirectory() as folder, store.session() as session:
            Path(folder, "weights.bin").write_text(version)
            request = save.Request(
                name="acme/bert",
                version=version,
                labels={"stage": "staging", "kind": "base"},
                metadata={},
                context={},
                parents=(),
                message="",
            )
            save.save(store, request, walk.walk(folder), "copy", session, now=now, by=BY, progress=Silent())

    for version in ("1.0.0", "v1.1", "2.0.0-rc.1", "gone"):
        put(version)
    prod, canary, old = (Alias("acme/bert", alias) for alias in ("prod", "canary", "old"))
    for spec in ("1.0.0", "v1.1", "2.0.0-rc.1"):
        aliases.move(store, prod, Spec.parse(f"acme/bert:{spec}"), now=now, by=BY)
    aliases.rollback(store, prod, now=now, by=BY)
    aliases.move(store, canary, Spec.parse("acme/bert:gone"), now=now, by=BY)
    aliases.move(store, old, Spec.parse("acme/bert:1.0.0"), now=now, by=BY)
    aliases.delete(store, old, now=now, by=BY)
    first = {"stage": "production", "größe": 'mini "1"\n\U0001f600', "owner": "ann"}
    for given in (first, {"owner": "", "stage": "archived"}):
        labels.label(store, Spec.parse("acme/bert:v1.1"), given, now=now, by=BY)
    labels.label(store, Spec.parse("acme/bert:gone"), {"reviewed": "yes"}, now=now, by=BY)
    doomed = delete.plan(store, [Spec.parse("acme/bert:gone")], all_versions=False, force=True)
    delete.delete(store, doomed, now=now, by=BY, force=True)
    for derived in ("cache", "staging", "rescued", "lock"):
        path = root / derived
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


if __name__ == "__main__":
    if HERE.exists():
        raise MvsError(f"'{HERE}' is there, and is never made again")
    make(HERE)
