"""Make the golden store of format 1: `python tests/golden/make.py`.

Run once, when the format was released; the files it wrote are what is kept. A format
that comes later gets a store beside this one, never instead of it.
"""

import shutil
import tempfile
from itertools import count
from pathlib import Path

from mvs.errors import MvsError
from mvs.format.ids import ObjectId
from mvs.format.lines.refs import Ref
from mvs.format.manifest import FileEntry, Manifest, Tree
from mvs.format.names import Spec, Tag
from mvs.ops import delete, save, walk
from mvs.running.progress import Silent
from mvs.store.store import Store

HERE = Path(__file__).parent / "format-1"
BY = "ann@höst"
BEGAN = 1_795_430_712_000_000_001

METADATA = {
    "accuracy": 0.94,
    "tiny": 5e-324,
    "none": None,
    "flags": [True, False],
    "integers": [0, 127, 128, 65536, -1, -33, -(2**63), 2**64 - 1],
    "nested": {"ключ": [{"a": []}, {}, "x" * 40]},
    "\U0001f600": 1,
    "\uff61": 2,
}


def make(root: Path) -> None:
    """Write a store at `root` that has something of everything in it."""
    Store.make(root)
    store = Store(root)
    clock = count(BEGAN, 1_000_000_000)

    def now() -> int:
        return next(clock)

    def put(tag: str, files: dict[str, bytes], message: str, *parents: ObjectId) -> Ref:
        with tempfile.TemporaryDirectory() as folder, store.session() as session:
            for path, data in files.items():
                place = Path(folder, path)
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_bytes(data)
                place.chmod(0o755 if path.endswith(".sh") else 0o644)
            Path(folder, "hollow", "inner").mkdir(parents=True)
            parsed = Tag.parse(tag)
            request = save.Request(
                name=parsed.name,
                version=parsed.version,
                labels={"stage": "production", "größe": "mini"},
                metadata=METADATA,
                context={"mvs": "0.1.0", "git": {"commit": "0" * 40, "dirty": False}},
                parents=parents,
                message=message,
            )
            found = walk.walk(folder)
            return save.save(store, request, found, "copy", session, now=now, by=BY, progress=Silent()).stored.ref

    files = {"weights.bin": b"\0\1\2\3", "sub/vocab.txt": b"a\nb\n", "sub/größe.txt": b"", "run.sh": b"#!/bin/sh\n"}
    first = put("acme/bert:v1", files, "the first")
    second = put("acme/bert:v2", {**files, "weights.bin": b"\0\1\2\4"}, "", first.id)
    put("acme/bert:v3", {"weights.bin": b"bad"}, "deleted below", first.id, second.id)
    put("acme:bert", {"x": b"x"}, "a version spelled as the name below")
    for spec in ("acme/bert:v3", "acme/bert:v1"):
        delete.delete(store, delete.plan(store, [Spec.parse(spec)], all_versions=False), now=now, by=BY)
    delete.restore(store, Tag.parse("acme/bert:v1"), now=now, by=BY)
    # An append that was cut off, and one that came after it.
    with (root / "journal" / "acme" / "bert" / "@events").open("ab") as journal:
        journal.write(b'0123456789abcdef {"at":17954307')
    put("acme/bert:v4", {"weights.bin": b"last"}, "after a power cut", second.id)
    with store.exclusive():
        _put_later(store, now())
    alias = root / "refs" / "aliases" / "acme" / "bert" / "@prod"
    alias.parent.mkdir(parents=True)
    alias.write_bytes(second.encode())
    for derived in ("cache", "staging", "rescued", "lock"):
        path = root / derived
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


def _put_later(store: Store, now: int) -> None:
    """Save a version with a key that this release does not know."""
    adding = store.adding()
    tree = Tree.of([FileEntry("x", 1, adding.put(b"x"))], [])
    extra = {"signature": {"by": "ann", "bytes": b"\0\xff"}}
    manifest = Manifest(Tag("later", "v1"), now, tree, tree.id, {}, {}, {}, (), "", extra)
    store.refs.prepare(Ref(manifest.tag, adding.put(manifest.encode()), now), newest=True).commit()


if __name__ == "__main__":
    if HERE.exists():
        raise MvsError(f"'{HERE}' is there, and is never made again")
    make(HERE)
