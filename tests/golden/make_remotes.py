"""Make the golden remote of format 1: `python tests/golden/make_remotes.py`.

Run once, when that part of the format was released; the files it wrote are what is kept.
"""

import shutil
import tempfile
from pathlib import Path

import mvs
from mvs.errors import MvsError

HERE = Path(__file__).parent / "remotes-1"


def make(root: Path) -> None:
    """Write a remote at `root`/remote with entries of every kind, and the journal of the store that pushed there."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        repo = mvs.init(place / "repo")
        repo.add_remote("origin", str(root / "remote"))
        for version in ("v1", "v2", "v3"):
            (place / "weights.bin").write_bytes(version.encode() * 200)
            repo.save(place / "weights.bin", f"acme/bert:{version}", labels={"kind": "base"})
        repo.alias("acme/bert@prod", "acme/bert:v1")
        repo.alias("acme/bert@old", "acme/bert:v1")
        repo.label("acme/bert:v1", {"stage": "production", "größe": 'mini "1"\n\U0001f600'})
        repo.push()
        repo.alias("acme/bert@prod", "acme/bert:v2")
        repo.delete_alias("acme/bert@old")
        repo.label("acme/bert:v1", {"stage": ""})
        repo.push()
        repo.remote().delete("acme/bert:v3")
        repo.remote().gc()
        working = mvs.init(place / "working", store=f"file://{root}/remote")
        working.list()
        shutil.copyfile(working.root / "taken", root / "taken")
        shutil.copyfile(repo.store / "journal" / "acme" / "bert" / "@events", root / "events")


if __name__ == "__main__":
    if HERE.exists():
        raise MvsError(f"'{HERE}' is there, and is never made again")
    HERE.mkdir()
    make(HERE)
