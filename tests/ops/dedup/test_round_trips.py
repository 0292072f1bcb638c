"""Whatever is packed comes back bit for bit, by every way there is to it."""

import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import mvs
from tests.codecs.cut import samples
from tests.conftest import Wrapped
from tests.ops.dedup import families
from tests.ops.dedup.families import as_files, check, loose_files, pack_files, quick, safetensors, save

Files = dict[str, bytes]

BASE = families.model(0, {"a.weight": (64, 32), "b.weight": (32, 32), "c": (32,)})
TUNED = families.tuned(BASE)
CONTENTS = [
    b"",
    b"x",
    b"\0" * 5000,
    b"config\n" * 700,
    np.random.default_rng(0).bytes(9000),
    safetensors(BASE),
    safetensors(TUNED),
    safetensors(BASE, prefix="model."),
    safetensors({"b.weight": BASE["b.weight"], "other": TUNED["a.weight"]}),
    families.gguf_f16(BASE),
    families.gguf_q8(BASE),
    families.npz(families.halves(BASE)),
    families.npz({name: families.floats(bits) for name, bits in TUNED.items()}),
    samples.zipped([("inner.safetensors", safetensors(BASE)), ("data.pkl", b"no pickle")]),
    safetensors(TUNED)[:-7],
    *samples.everything().values(),
]
NAMES = ["model.safetensors", "sub/weights.bin", "sub/deep/more.pt", "run.sh", "empty/x"]


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """One of the contents with a byte changed, cut off, or with something behind it."""
    data = bytearray(draw(st.sampled_from(CONTENTS)))
    if data:
        data[draw(st.integers(0, len(data) - 1))] = draw(st.integers(0, 255))
    return bytes(data[: draw(st.integers(0, len(data)))] + draw(st.binary(max_size=9)))


CONTENT = st.sampled_from(CONTENTS) | st.binary(max_size=3000) | damaged()
FOLDERS = st.lists(
    st.dictionaries(st.sampled_from(NAMES), CONTENT, min_size=1, max_size=len(NAMES)), min_size=1, max_size=3
)


def check_every_way(repo: mvs.Repository, tag: str, files: Mapping[str, bytes], scratch: Path, at: int) -> None:
    """Read a version in every way."""
    version = mvs.open(repo.root).get(tag)
    assert as_files(repo.checkout(tag, scratch / "out", force=True)) == files
    assert as_files(version.path) == files
    executable = {file.path for file in version.files if file.executable}
    assert executable == {path for path in files if path.endswith(".sh")}
    for path, data in files.items():
        assert version.read_bytes(path) == data
        assert b"".join(version.blocks(path)) == data
        shown = CliRunner().invoke(Wrapped("mvs"), ["-C", str(repo.root.parent), "cat", tag, path])
        assert shown.stdout_bytes == data
        start = at % (len(data) + 1)
        with version.open(path) as file:
            file.seek(start)
            assert file.read(100) == data[start : start + 100]
            file.seek(0)
            assert file.read() == data
        assert (version.path / path).stat().st_mode & 0o777 == (0o555 if path in executable else 0o444)


def round_trip(versions: list[Files], at: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        repo = quick(scratch / "repo")
        expected = {f"bert:v{number}": files for number, files in enumerate(versions)}
        ids = {tag: save(repo, tag, files).id for tag, files in expected.items()}
        for step in (repo.dedup, repo.dedup, repo.undo_dedup, repo.dedup):
            step()
            check(repo, expected)
            assert (loose_files(repo) == []) is (step == repo.dedup)
        for number, (tag, files) in enumerate(expected.items()):
            check_every_way(repo, tag, files, scratch / str(number), at)
        assert {tag: repo.get(tag).id for tag in expected} == ids
        assert not list(repo.store.rglob("*.tmp"))


SETTINGS = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


@given(versions=FOLDERS, at=st.integers(0, 1 << 20))
@settings(SETTINGS, max_examples=12)
def test_any_folder_comes_back_bit_for_bit(versions: list[Files], at: int) -> None:
    """One bit in one weight, changed in silence, is the end of trust in a store."""
    round_trip(versions, at)


@pytest.mark.deep
@given(versions=FOLDERS, at=st.integers(0, 1 << 20))
@settings(SETTINGS, max_examples=1500)
def test_any_folder_comes_back_bit_for_bit_a_thousand_times(versions: list[Files], at: int) -> None:
    round_trip(versions, at)


def test_every_content_comes_back_beside_all_the_others(tmp_path: Path) -> None:
    repo = quick(tmp_path / "repo")
    files = {f"{number}.bin": data for number, data in enumerate(CONTENTS)}
    save(repo, "all:v1", files)
    twice = {f"again/{path}": data for path, data in files.items()}
    save(repo, "all:v2", twice)
    repo.dedup()
    check(repo, {"all:v1": files, "all:v2": twice})
    assert loose_files(repo) == []
    packs = pack_files(repo)
    assert repo.dedup().packed == 0
    assert pack_files(repo) == packs


EVERY = np.arange(1 << 16, dtype=np.uint16)
BASES = {
    "itself": EVERY,
    "zeros": np.zeros_like(EVERY),
    "minus zeros": np.full_like(EVERY, 0x8000),
    "nans": np.full_like(EVERY, 0x7FC1),
    "infinities": np.where(EVERY % 2, 0x7F80, 0xFF80).astype(np.uint16),
    "denormals": (EVERY % 127 + 1).astype(np.uint16),
    "the next number": EVERY + np.uint16(1),
    "the other sign": EVERY ^ np.uint16(0x8000),
    "backwards": EVERY[::-1].copy(),
    "weights": families.model(3, {"w": (1 << 16,)})["w"],
}


@pytest.mark.parametrize("rows", [1, 256])
@pytest.mark.parametrize("base", BASES)
def test_every_bf16_pattern_survives_every_base(tmp_path: Path, base: str, rows: int) -> None:
    """NaN with its payload, both zeros, denormals and infinities are data."""
    repo = quick(tmp_path / "repo")
    shape = (rows, (1 << 16) // rows)
    expected: dict[str, bytes] = {
        "base:v1": safetensors({"w": BASES[base].reshape(shape)}),
        "bert:v1": safetensors({"w": EVERY.reshape(shape)}),
        "bert:v2": safetensors({"w": np.random.default_rng(1).permutation(EVERY).reshape(shape)}),
    }
    save(repo, "base:v1", expected["base:v1"])
    save(repo, "bert:v1", expected["bert:v1"], parents=["base:v1"])
    save(repo, "bert:v2", expected["bert:v2"])
    repo.dedup()
    check(repo, expected)
    assert loose_files(repo) == []


@pytest.mark.parametrize("offset", [0, 1, 3, 5])
def test_tensors_at_odd_offsets_come_back(tmp_path: Path, offset: int) -> None:
    repo = quick(tmp_path / "repo")
    expected: dict[str, bytes] = {}
    for number, weights in enumerate((BASE, TUNED)):
        header = {
            "w": samples.entry("BF16", weights["a.weight"].shape, 0, weights["a.weight"].nbytes),
        }
        data = samples.safetensors(header, weights["a.weight"].tobytes(), pad=offset)
        expected[f"bert:v{number}"] = data
        save(repo, f"bert:v{number}", data)
    repo.dedup()
    check(repo, expected)


def test_the_same_bytes_under_many_names_are_stored_once(tmp_path: Path) -> None:
    repo = quick(tmp_path / "repo")
    data = np.random.default_rng(5).bytes(300_000)
    files = {"a.bin": data, "sub/b.bin": data, "run.sh": data}
    save(repo, "one:v1", files)
    save(repo, "two:v1", {"c.bin": data})
    result = repo.dedup()
    assert (result.blobs, result.packed) == (1, len(data))
    assert families.pack_bytes(repo) < len(data) * 1.01
    check(repo, {"one:v1": files, "two:v1": {"c.bin": data}})
