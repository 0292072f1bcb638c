"""Measure everything and print one table.

Arguments, or the environment variables SIZE, ROUNDS, DIR and CORPUS, say how much, how often,
on which file system and on which models; on a memory file system (DIR=/dev/shm/bench) the noise of the disk is gone.
"""

import argparse
import os
import platform
from importlib.metadata import version
from pathlib import Path

from bench import bulk, catalog, checks, gc, names, peers, remotes, trainer, training
from bench.dedup import report
from bench.measure import Meter, heading
from bench.place import Place

GROUPS = {
    "names": names.run,
    "catalog": catalog.run,
    "bulk": bulk.run,
    "peers": peers.run,
    "checks": checks.run,
    "dedup": report.run,
    "gc": gc.run,
    "remotes": remotes.run,
    "training": training.run,
    "trainer": trainer.run,
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure mvs against its peers.")
    parser.add_argument("groups", nargs="*", help=f"what to measure, of {', '.join(GROUPS)}; all when left out")
    parser.add_argument("--size", type=int, default=int(os.environ.get("SIZE", "1073741824")), help="bytes to save")
    parser.add_argument("--rounds", type=int, default=int(os.environ.get("ROUNDS", "7")))
    parser.add_argument("--dir", type=Path, default=Path(os.environ.get("DIR", ".bench")), help="where to work")
    parser.add_argument(
        "--corpus",
        type=Path,
        default=os.environ.get("CORPUS") or None,
        help="a folder with models to dedup, instead of a family that is trained",
    )
    parser.add_argument("--versions", type=int, default=100_000, help="of the store that garbage is collected in")
    parser.add_argument("--patience", type=float, default=600, help="seconds to wait, in all, for a quiet machine")
    options = parser.parse_args()
    chosen = options.groups or list(GROUPS)
    if unknown := set(chosen) - set(GROUPS):
        parser.error(f"no such group: {', '.join(sorted(unknown))}")
    # Programs are compiled once, as a user has them, whatever whoever runs this has set.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    print(f"mvs {version('mvs')}, Python {platform.python_version()}, BLAKE3 {version('blake3')},", end=" ")
    print(f"{os.cpu_count()} cores, {platform.platform()}")
    print(f"{options.size:,} bytes, warm page cache, {options.rounds} rounds in '{options.dir}'")
    heading()
    meter = Meter(options.rounds, options.patience)
    with Place(options.dir.absolute(), options.size, options.corpus, options.versions) as place:
        for group in chosen:
            GROUPS[group](place, meter)


if __name__ == "__main__":
    main()
