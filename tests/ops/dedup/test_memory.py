"""However large a model is, packing and reading it takes as much memory as was allowed."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from struct import pack

import numpy as np
import pytest

import mvs
from tests.codecs.cut import samples
from tests.ops.dedup.families import quick

MIB = 1 << 20
MOST = 256 * MIB

# What it takes to be able to, the compiled loops included, is counted first; then the work. ru_maxrss is in
# kilobytes, on macOS in bytes.
PROGRAM = """
import json, resource, sys
import mvs
from mvs.running.progress import Silent

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)

small, large, most, work, out = sys.argv[1:]
def run(root, out):
    repo = mvs.open(root)
    if work == "dedup":
        repo.dedup(max_memory=int(most))
    elif work == "checkout":
        repo.checkout("bert:v2", out)
    elif work == "path":
        repo.get("bert:v2").path
    else:
        with repo.get("bert:v2").open("model.safetensors") as file:
            while file.read(1 << 20):
                pass

run(small, out + "-small")
before = peak()
run(large, out)
print(json.dumps([before, peak()]))
"""


def write_model(path: Path, size: int, seed: int, step: float) -> None:
    """A model of one huge tensor and some small ones; with a `step` one that was trained a little more."""
    shapes = {
        "huge": (size * 3 // 4 // 4096, 2048),
        **{f"layer{number}": (size // 32 // 512, 256) for number in range(8)},
    }
    header, at = {}, 0
    for name, shape in shapes.items():
        header[name] = samples.entry("BF16", shape, at, at + 2 * shape[0] * shape[1])
        at += 2 * shape[0] * shape[1]
    text = json.dumps(header).encode()
    rng = np.random.default_rng(seed)
    noise = np.random.default_rng(seed + 1)
    with path.open("wb") as file:
        file.write(pack("<Q", len(text)) + text)
        while at:
            count = min(at, 4 * MIB)
            values = rng.standard_normal(count // 2, np.float32) * np.float32(0.02)
            if step:
                values += noise.standard_normal(count // 2, np.float32) * np.float32(step)
            file.write((values.view(np.uint32) >> 16).astype(np.uint16).tobytes())
            at -= count


def family(root: Path, size: int) -> mvs.Repository:
    repo = quick(root / "repo")
    for number, step in enumerate((0, 1e-4), 1):
        source = root / "model.safetensors"
        write_model(source, size, 0, step)
        repo.save(source, f"bert:v{number}", move=True)
    return repo


def peaks(tmp_path: Path, size: int) -> None:
    family(tmp_path / "small", MIB)
    repo = family(tmp_path / "large", size)
    ids = {file.blob for version in repo.list() for file in version.files}
    stored = repo.store / "objects"
    for work in ("dedup", "checkout", "path", "open"):
        command = [sys.executable, "-c", PROGRAM]
        command += [str(tmp_path / "small" / "repo"), str(tmp_path / "large" / "repo"), str(MOST), work]
        told = subprocess.run([*command, str(tmp_path / "out" / work)], check=True, capture_output=True, text=True)
        before, after = json.loads(told.stdout)
        assert after - before < MOST, f"{work} took {(after - before) / MIB:.0f} MiB more than the interpreter"
        if work == "dedup":
            assert not [blob for blob in ids if (stored / blob[:2] / blob[2:]).exists()]


@pytest.fixture
def room(tmp_path: Path) -> Callable[[int], None]:
    def need(count: int) -> None:
        free = os.statvfs(tmp_path)
        if free.f_bavail * free.f_frsize < count:
            pytest.skip(f"{count >> 30} GiB of disk are needed")

    return need


def test_a_model_of_192_mib_is_packed_and_read_within_256_mib(tmp_path: Path, room: Callable[[int], None]) -> None:
    """A machine that trains has no memory to spare at night."""
    (tmp_path / "out").mkdir()
    room(2 << 30)
    peaks(tmp_path, 192 * MIB)


@pytest.mark.deep
def test_a_model_of_a_gibibyte_is_packed_and_read_within_256_mib(tmp_path: Path, room: Callable[[int], None]) -> None:
    (tmp_path / "out").mkdir()
    room(8 << 30)
    peaks(tmp_path, 1024 * MIB)
