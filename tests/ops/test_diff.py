"""What differs between two versions is told, all of it and nothing else."""

import json
import math
import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import mvs
from mvs.codecs.cut.dtypes import BITS
from mvs.errors import CorruptObject, MissingObject, VersionNotFound
from mvs.ops.diff import Diff, Difference, TensorDiff, measure, tensors
from mvs.ops.diff.layers import layer_of
from mvs.repository.opening import open_with
from mvs.running.progress import Progress
from mvs.store.objects import Objects
from tests.codecs.cut import samples
from tests.ops.dedup import families
from tests.ops.dedup.families import save

Files = Mapping[str, bytes]
Model = Mapping[str, tuple[str, tuple[int, ...], bytes]]


@pytest.fixture
def repo(tmp_path: Path) -> mvs.Repository:
    return families.quick(tmp_path / "repo")


def model(tensors: Model) -> bytes:
    """A safetensors file of type, shape and bytes by name."""
    header, data = {}, b""
    for name, (dtype, shape, raw) in tensors.items():
        header[name] = samples.entry(dtype, shape, len(data), len(data) + len(raw))
        data += raw
    return samples.safetensors(header, data)


def f32(*values: float, shape: tuple[int, ...] = ()) -> tuple[str, tuple[int, ...], bytes]:
    return "F32", shape or (len(values),), struct.pack(f"<{len(values)}f", *values)


def compared(repo: mvs.Repository, before: Files | bytes, after: Files | bytes) -> Diff:
    a, b = save(repo, "a:1", before), save(repo, "b:1", after)
    found = repo.diff(a, b, tensors=True)
    # Whatever it is, it can be printed.
    json.dumps(found.to_dict(), allow_nan=False)
    return found


def by_name(found: Diff) -> dict[str, TensorDiff]:
    assert found.tensors is not None
    told = {tensor.name: tensor for tensor in found.tensors}
    assert len(told) == len(found.tensors)
    return told


def statuses(found: Diff) -> dict[str, str]:
    return {name: tensor.status for name, tensor in by_name(found).items()}


def difference_of(found: Diff) -> Difference:
    assert found.tensors is not None
    (tensor,) = found.tensors
    assert tensor.difference is not None
    return tensor.difference


# Files and facts


def test_versions_of_the_same_content_and_facts_are_the_same(repo: mvs.Repository) -> None:
    files = {"a.txt": b"a", "model.safetensors": model({"w": f32(1, 2)})}
    for tag in ("bert:v1", "gpt:v2"):
        save(repo, tag, files, labels={"stage": "test"}, metadata={"f1": 0.5}, message="first")
    found = repo.diff("bert:v1", "gpt:v2", tensors=True)
    assert found.same
    assert (found.files, found.labels, found.metadata, found.message) == ((), (), (), None)
    assert statuses(found) == {"w": "same"}
    assert (str(found.before), str(found.after)) == ("bert:v1", "gpt:v2")


def test_files_are_added_removed_changed_and_renamed(repo: mvs.Repository) -> None:
    before = save(
        repo, "bert:v1", {"kept": b"k", "gone": b"g", "old/name": b"long enough", "weights": b"1", "run.sh": b""}
    )
    after = save(
        repo, "bert:v2", {"kept": b"k", "more": b"n", "new/name": b"long enough", "weights": b"22", "run": b""}
    )
    found = repo.diff(before, after)
    assert not found.same
    assert found.tensors is None
    assert [(file.status, file.path) for file in found.files] == [
        ("removed", "gone"),
        ("added", "more"),
        ("renamed", "new/name"),
        # Every empty file is like every other.
        ("added", "run"),
        ("removed", "run.sh"),
        ("changed", "weights"),
    ]
    told = {file["path"]: file for file in found.to_dict()["files"]}
    assert told["new/name"]["before"]["path"] == "old/name"
    assert told["weights"]["before"] == {**before.files[4]._asdict()}
    assert told["weights"]["after"]["size"] == 2
    assert (told["gone"]["after"], told["more"]["before"]) == (None, None)


def test_a_copy_of_a_file_that_is_still_there_is_no_renaming(repo: mvs.Repository) -> None:
    found = compared(repo, {"a": b"same"}, {"a": b"same", "b": b"same"})
    assert [(file.status, file.path) for file in found.files] == [("added", "b")]


def test_a_file_that_may_be_executed_since_is_changed(repo: mvs.Repository, folder: Path) -> None:
    before = repo.save(folder, "bert:v1")
    (folder / "run.sh").chmod(0o644)
    (file,) = repo.diff(before, repo.save(folder, "bert:v2")).files
    assert (file.status, file.path) == ("changed", "run.sh")
    assert file.before
    assert file.after
    assert (file.before.executable, file.after.executable) == (True, False)


def test_an_empty_folder_is_told(repo: mvs.Repository, folder: Path) -> None:
    before = repo.save(folder, "bert:v1")
    (folder / "logs").mkdir()
    found = repo.diff(before, repo.save(folder, "bert:v2"))
    assert [(file.status, file.path) for file in found.files] == [("added", "logs/")]
    assert found.to_dict()["files"][0]["after"] == {"path": "logs/", "size": 0, "blob": None, "executable": False}


def test_labels_metadata_and_message_are_told_by_key(repo: mvs.Repository) -> None:
    metadata = {"f1": 0.5, "same": [1], "train": {"lr": 1e-4, "steps": 10}, "was": None}
    before = save(repo, "bert:v1", b"x", labels={"a": "1", "b": "2"}, metadata=metadata, message="first")
    metadata = {"f1": 0.6, "same": [1], "train": {"lr": 1e-4, "steps": 20}, "is": {"new": True}}
    after = save(repo, "bert:v2", b"x", labels={"b": "3", "c": "4"}, metadata=metadata, message="second")
    found = repo.diff(before, after)
    assert not found.same
    assert found.labels == (
        ("removed", "a", "1", None),
        ("changed", "b", "2", "3"),
        ("added", "c", None, "4"),
    )
    assert found.metadata == (
        ("changed", "f1", 0.5, 0.6),
        ("added", "is", None, {"new": True}),
        ("changed", "train.steps", 10, 20),
        ("removed", "was", None, None),
    )
    assert found.message == ("changed", "message", "first", "second")
    assert found.files == ()


@pytest.mark.parametrize(("before", "after"), [(1, 1.0), (1, True), (0, False), ([1], [True])])
def test_values_that_python_takes_for_equal_are_told(repo: mvs.Repository, before: Any, after: Any) -> None:
    save(repo, "bert:v1", b"x", metadata={"v": before})
    save(repo, "bert:v2", b"x", metadata={"v": after})
    assert len(repo.diff("bert:v1", "bert:v2").metadata) == 1


def test_what_stands_for_nothing_cannot_be_compared(repo: mvs.Repository) -> None:
    save(repo, "bert:v1", b"x")
    with pytest.raises(VersionNotFound):
        repo.diff("bert:v1", "bert:v2")


# Which tensor is which, and what became of it

ONE, TWO = f32(1, 2, 3, 4), f32(1, 2, 3, 5)


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ({"w": ONE}, {"w": ONE, "v": TWO}, {"w": "same", "v": "added"}),
        ({"w": ONE, "v": TWO}, {"w": ONE}, {"w": "same", "v": "removed"}),
        ({"w": ONE}, {"w": TWO}, {"w": "changed"}),
        ({"w": ONE}, {"v": ONE}, {"v": "moved"}),
        ({"w": ONE}, {"w": ("F32", (2, 2), ONE[2])}, {"w": "reshaped"}),
        ({"w": ONE}, {"w": ("F32", (2, 2), TWO[2])}, {"w": "reshaped"}),
        ({"w": f32(1)}, {"w": ("F32", (), f32(1)[2])}, {"w": "reshaped"}),
        ({"w": ONE}, {"w": f32(1, 2)}, {"w": "resized"}),
        ({"w": ONE}, {"w": ("F64", (4,), struct.pack("<4d", 1, 2, 3, 4))}, {"w": "retyped"}),
        ({"w": ONE}, {"w": ("I32", (4,), ONE[2])}, {"w": "retyped"}),
        # Another container's spelling.
        ({"model.layers.3.mlp.up_proj.weight": ONE}, {"blk.3.ffn_up.weight": TWO}, {"blk.3.ffn_up.weight": "changed"}),
        ({"module.w": ONE}, {"w": ONE}, {"w": "moved"}),
        # The name is more than the bytes, and the bytes more than nothing.
        ({"w": ONE, "v": TWO}, {"w": TWO, "v": ONE}, {"w": "changed", "v": "changed"}),
        ({"w": ONE, "v": TWO}, {"x": TWO, "y": f32(9)}, {"x": "moved", "y": "added", "w": "removed"}),
    ],
)
def test_each_tensor_has_a_status(repo: mvs.Repository, before: Model, after: Model, told: dict[str, str]) -> None:
    assert statuses(compared(repo, model(before), model(after))) == told


def test_tensors_are_matched_over_all_files(repo: mvs.Repository) -> None:
    """A model that was only cut into shards is the same model."""
    found = compared(
        repo,
        {"model.safetensors": model({"a": ONE, "b": TWO, "c": f32(7)})},
        {"model-1.safetensors": model({"a": ONE}), "model-2.safetensors": model({"b": f32(8), "c": f32(7)})},
    )
    assert statuses(found) == {"a": "moved", "b": "resized", "c": "moved"}
    moved = by_name(found)["c"]
    assert moved.before
    assert moved.after
    assert (moved.before.file, moved.after.file) == ("model.safetensors", "model-2.safetensors")


def test_of_several_tensors_of_one_name_those_of_a_file_and_of_the_same_bytes_are_one(repo: mvs.Repository) -> None:
    found = compared(
        repo,
        {"a.safetensors": model({"w": ONE}), "b.safetensors": model({"w": TWO}), "c.safetensors": model({"w": f32(3)})},
        {
            "a.safetensors": model({"w": f32(5, 6)}),
            "d.safetensors": model({"w": f32(3)}),
            "e.safetensors": model({"w": TWO}),
        },
    )
    assert found.tensors is not None
    told = [(t.status, t.before and t.before.file[0], t.after and t.after.file[0]) for t in found.tensors]
    assert told == [("resized", "a", "a"), ("moved", "c", "d"), ("moved", "b", "e")]


def test_arrays_without_a_name_are_matched_by_file_and_bytes(repo: mvs.Repository, tmp_path: Path) -> None:
    def npy(*values: int) -> bytes:
        np.save(tmp_path / "x.npy", np.array(values, "<i4"))
        return (tmp_path / "x.npy").read_bytes()

    found = compared(
        repo,
        {"a.npy": npy(1, 2), "b.npy": npy(3), "c.npy": npy(4)},
        {"a.npy": npy(1, 5), "d.npy": npy(3), "e.npy": npy(6)},
    )
    assert statuses(found) == {"a.npy": "changed", "d.npy": "moved", "e.npy": "added", "c.npy": "removed"}


def test_tensors_come_as_a_person_counts(repo: mvs.Repository) -> None:
    some = {f"layers.{number}.w": f32(number) for number in (10, 9, 1)}
    assert list(by_name(compared(repo, model(some), model(some)))) == ["layers.1.w", "layers.9.w", "layers.10.w"]


# How far they are apart


def test_the_figures_of_a_small_tensor_are_what_a_person_reckons(repo: mvs.Repository) -> None:
    found = difference_of(compared(repo, model({"w": f32(3, 4, 0, 0)}), model({"w": f32(3, 4, 0, 5)})))
    assert (found.items, found.changed, found.share) == (4, 1, 0.25)
    assert (found.max_abs, found.mean_abs, found.relative_l2) == (5.0, 1.25, 1.0)
    assert found.cosine == pytest.approx(25 / (5 * math.sqrt(50)))
    assert found.to_dict() == {
        "items": 4,
        "changed": 1,
        "share": 0.25,
        "max_abs": 5.0,
        "mean_abs": 1.25,
        "relative_l2": 1.0,
        "cosine": found.cosine,
        "nonfinite_before": 0,
        "nonfinite_after": 0,
    }


def test_nan_and_infinities_are_counted_apart(repo: mvs.Repository) -> None:
    """One NaN would make every figure of a layer NaN."""
    before = f32(3, 4, math.nan, 1, 2, math.inf)
    after = f32(3, 5, math.nan, math.inf, -math.inf, math.inf)
    found = difference_of(compared(repo, model({"w": before}), model({"w": after})))
    assert (found.items, found.changed, found.finite) == (6, 3, 2)
    assert (found.nonfinite_before, found.nonfinite_after) == (2, 4)
    assert (found.max_abs, found.mean_abs, found.relative_l2) == (1.0, 0.5, 0.2)


def test_of_a_tensor_without_a_finite_number_there_are_no_figures(repo: mvs.Repository) -> None:
    found = difference_of(compared(repo, model({"w": f32(math.nan)}), model({"w": f32(math.inf)})))
    assert (found.max_abs, found.mean_abs, found.relative_l2, found.cosine) == (None, None, None, None)


def test_what_was_zero_has_no_relative_difference(repo: mvs.Repository) -> None:
    found = difference_of(compared(repo, model({"w": f32(0, 0)}), model({"w": f32(-0.0, 2)})))
    assert (found.changed, found.max_abs, found.relative_l2, found.cosine) == (2, 2.0, None, None)


def test_numbers_whose_squares_are_infinite_are_no_error(repo: mvs.Repository) -> None:
    def huge(*values: float) -> Model:
        return {"w": ("F64", (len(values),), struct.pack(f"<{len(values)}d", *values))}

    found = difference_of(compared(repo, model(huge(1e200, 1.7e308)), model(huge(2e200, -1.7e308))))
    assert (found.changed, found.finite, found.nonfinite_before) == (2, 2, 0)
    assert (found.max_abs, found.relative_l2, found.cosine) == (None, None, None)


def test_of_a_quantised_tensor_the_share_of_bytes_is_told(repo: mvs.Repository) -> None:
    raw = bytes(34 * 8)
    files = [samples.gguf([("w", (32, 8), 8, 0)], data) for data in (raw, b"\1\1" + raw[2:])]
    found = compared(repo, {"a.gguf": files[0]}, {"a.gguf": files[1]})
    assert statuses(found) == {"w": "changed"}
    told = difference_of(found)
    assert (told.items, told.changed, told.finite, told.relative_l2) == (272, 2, 0, None)


def test_between_two_types_values_are_compared(repo: mvs.Repository) -> None:
    """The same checkpoint in float32 and bfloat16: what the rounding cost."""
    bits = families.bf16(np.array([1, 1.001, -2], np.float32))
    found = compared(repo, model({"w": f32(1, 1.001, -2)}), model({"w": ("BF16", (3,), bits.tobytes())}))
    assert statuses(found) == {"w": "retyped"}
    told = difference_of(found)
    assert (told.items, told.changed) == (3, 1)
    assert told.max_abs == pytest.approx(0.001, rel=1e-3)


def test_of_a_grown_vocabulary_the_rows_that_both_have_are_compared(repo: mvs.Repository) -> None:
    before, after = f32(1, 2, 3, 4, shape=(2, 2)), f32(1, 2, 3, 5, 6, 7, shape=(3, 2))
    told = difference_of(compared(repo, model({"w": before}), model({"w": after})))
    assert (told.items, told.changed, told.max_abs) == (4, 1, 1.0)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        # Rows of another length have nothing to do with one another.
        ({"w": f32(1, 2, 3, 4, shape=(2, 2))}, {"w": f32(1, 2, 3, 5, 6, 7, shape=(2, 3))}),
        ({"w": ("F4", (4,), b"ab")}, {"w": ("F4", (6,), b"abc")}),
        ({"w": ("F4", (4,), b"ab")}, {"w": ("I4", (4,), b"ac")}),
    ],
)
def test_what_cannot_be_compared_has_no_figures(repo: mvs.Repository, before: Model, after: Model) -> None:
    found = compared(repo, model(before), model(after))
    (tensor,) = by_name(found).values()
    assert tensor.difference is None
    assert [(layer.unknown, layer.items, layer.share) for layer in found.layers] == [(1, 0, None)]


def value(dtype: str, code: int) -> float:
    """What the bits of a number mean, by the definition of the type."""
    if dtype == "BF16":
        return float(struct.unpack("<f", struct.pack("<I", code << 16))[0])
    if dtype in ("F16", "F32", "F64"):
        width, letter = {"F16": (2, "e"), "F32": (4, "f"), "F64": (8, "d")}[dtype]
        return float(struct.unpack(f"<{letter}", code.to_bytes(width, "little"))[0])
    return float(code - 256 if dtype == "I8" and code > 127 else code)


@st.composite
def two_runs(draw: st.DrawFn) -> tuple[str, list[int], list[int]]:
    dtype = draw(st.sampled_from(["BF16", "F16", "F32", "I8", "U16"]))
    codes = st.integers(0, 2 ** BITS[dtype] - 1)
    pairs = draw(st.lists(st.one_of(st.tuples(codes, codes), codes.map(lambda code: (code, code))), min_size=1))
    return dtype, [a for a, _ in pairs], [b for _, b in pairs]


@given(two_runs(), st.integers(0, 100))
@example(("BF16", [0x7F80, 0x7FC0, 0x8000, 1], [0x7F80, 0xFF80, 0, 2]), 1)
def test_figures_are_those_of_the_definition_however_the_run_is_cut(
    runs: tuple[str, list[int], list[int]], cut: int
) -> None:
    dtype, before, after = runs
    width = BITS[dtype] // 8
    cut = min(cut, len(before)) * width
    raw = [b"".join(code.to_bytes(width, "little") for code in codes) for codes in (before, after)]
    parts = [(raw[0][:cut], raw[1][:cut]), (raw[0][cut:], raw[1][cut:])]
    found = sum((measure.by_value(a, b, (dtype, dtype)) for a, b in parts), Difference())

    values = [(value(dtype, a), value(dtype, b)) for a, b in zip(before, after, strict=True)]
    finite = [(a, b) for a, b in values if math.isfinite(a) and math.isfinite(b)]
    assert (found.items, found.changed) == (len(before), sum(a != b for a, b in zip(before, after, strict=True)))
    assert found.nonfinite_before == sum(not math.isfinite(a) for a, _ in values)
    assert found.nonfinite_after == sum(not math.isfinite(b) for _, b in values)
    assert found.finite == len(finite)
    if not finite:
        assert found.max_abs is found.mean_abs is found.relative_l2 is found.cosine is None
        return
    apart = [abs(b - a) for a, b in finite]
    assert found.max_abs == max(apart)
    assert found.mean_abs == pytest.approx(math.fsum(apart) / len(apart), rel=1e-12)
    norms = [math.sqrt(math.fsum(side * side for side in sides)) for sides in zip(*finite, strict=True)]
    if norms[0]:
        wanted = math.sqrt(math.fsum(one * one for one in apart)) / norms[0]
        assert found.relative_l2 == pytest.approx(wanted, rel=1e-12)
    if norms[0] and norms[1]:
        wanted = math.fsum(a * b for a, b in finite) / norms[0] / norms[1]
        assert found.cosine == pytest.approx(wanted, rel=1e-12, abs=1e-12)


@pytest.mark.parametrize(
    ("dtype", "codes"),
    [
        # From the tables of "FP8 formats for deep learning" and of OCP MX: smallest, largest, one, minus two, none.
        ("F8_E4M3", {0x01: 2.0**-9, 0x08: 2.0**-6, 0x7E: 448.0, 0x38: 1.0, 0xC0: -2.0, 0x7F: math.nan}),
        ("F8_E5M2", {0x01: 2.0**-16, 0x04: 2.0**-14, 0x7B: 57344.0, 0x3C: 1.0, 0xC0: -2.0, 0x7C: math.nan}),
        ("F8_E4M3FNUZ", {0x01: 2.0**-10, 0x7F: 240.0, 0x40: 1.0, 0xC8: -2.0, 0x80: math.nan}),
        ("F8_E5M2FNUZ", {0x01: 2.0**-17, 0x7F: 57344.0, 0x40: 1.0, 0xC4: -2.0, 0x80: math.nan}),
        ("F8_E8M0", {0x00: 2.0**-127, 0x7F: 1.0, 0x80: 2.0, 0xFE: 2.0**127, 0xFF: math.nan}),
    ],
)
def test_numbers_of_eight_bits_mean_what_their_definition_says(dtype: str, codes: dict[int, float]) -> None:
    """Compared with float64, they are equal or not a number."""
    for code, wanted in codes.items():
        found = measure.by_value(bytes([code]), struct.pack("<d", wanted), (dtype, "F64"))
        if math.isnan(wanted):
            assert (found.nonfinite_before, found.finite) == (1, 0)
        else:
            assert (found.changed, found.finite) == (0, 1), hex(code)


# How it is done


@pytest.fixture
def large(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Blocks small enough that a small model has many; gives the sizes of the runs that were compared."""
    monkeypatch.setattr(tensors, "_BLOCK", 10_000)
    monkeypatch.setattr(measure, "_RUN", 1000)
    sizes: list[int] = []
    by_value = measure.by_value

    def watched(before: bytes, after: bytes, dtypes: tuple[str, str]) -> Difference:
        sizes.extend((len(before), len(after)))
        return by_value(before, after, dtypes)

    monkeypatch.setattr(measure, "by_value", watched)
    return sizes


def family(repo: mvs.Repository) -> dict[str, Diff]:
    base = families.model()
    tuned = families.tuned(base, only="mlp")
    save(repo, "base:v1", families.safetensors(base))
    save(repo, "tuned:v1", families.safetensors(tuned))
    save(repo, "half:v1", families.safetensors(families.halves(tuned)))
    save(repo, "other:v1", {"model.gguf": families.gguf_q8(base)})
    return {tag: repo.diff("base:v1", tag, tensors=True) for tag in ("tuned:v1", "half:v1", "other:v1")}


def test_a_tensor_is_compared_in_blocks(repo: mvs.Repository, large: list[int]) -> None:
    """Tensors of many gigabytes must not need as much memory."""
    found = by_name(family(repo)["tuned:v1"])["layers.0.mlp.weight"].difference
    assert len(large) > 20
    assert max(large) == 10_000
    base = families.model()
    before, after = (
        families.floats(weights["layers.0.mlp.weight"]).astype(float)
        for weights in (base, families.tuned(base, only="mlp"))
    )
    assert found
    assert found.items == before.size
    assert found.changed == np.count_nonzero(before != after)
    assert found.max_abs == np.abs(after - before).max()
    assert found.mean_abs == pytest.approx(np.abs(after - before).mean())
    assert found.relative_l2 == pytest.approx(np.linalg.norm(after - before) / np.linalg.norm(before))


@pytest.mark.usefixtures("large")
def test_packed_versions_are_compared_with_the_same_result(repo: mvs.Repository) -> None:
    loose = family(repo)
    repo.dedup()
    assert families.loose_files(repo) == []
    fresh = mvs.open(repo.root)
    for tag, found in loose.items():
        assert fresh.diff("base:v1", tag, tensors=True) == found


def test_tensors_of_the_same_id_are_not_read(repo: mvs.Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    """Most of a checkpoint of hundreds of gigabytes may be as it was."""
    base = families.model()
    a = save(repo, "a:1", families.safetensors(base))
    b = save(repo, "b:1", families.safetensors({"more.weight": base["norm.weight"], **base}))
    for version in (a, b):
        version.tensors()
    opened: list[object] = []
    monkeypatch.setattr(Objects, "open", lambda self, blob: opened.append(blob))
    found = repo.diff(a, b, tensors=True)
    assert opened == []
    assert [tensor.name for tensor in found.tensors or () if tensor.status == "added"] == ["more.weight"]
    assert all(tensor.status in ("same", "added") for tensor in found.tensors or ())


def test_a_file_that_both_have_is_not_hashed(repo: mvs.Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    data = families.safetensors(families.model())
    save(repo, "a:1", {"model.safetensors": data})
    save(repo, "b:1", {"weights.safetensors": data, "note.txt": b"x"})

    def hashed(*_: object) -> Any:
        raise AssertionError("a tensor was hashed")

    monkeypatch.setattr("mvs.store.tensors.Tensors._id", hashed)
    assert set(statuses(repo.diff("a:1", "b:1", tensors=True)).values()) == {"moved"}


class Watching:
    """A progress that remembers what was begun and done."""

    def __init__(self) -> None:
        self.begun: list[tuple[str, int]] = []
        self.done: list[int] = []

    def start(self, label: str, total: int) -> None:
        self.begun.append((label, total))
        self.done.append(0)

    def advance(self, amount: int) -> None:
        self.done[-1] += amount

    def finish(self) -> None:
        pass

    def remark(self, text: str) -> None:
        pass

    def notice(self, message: str) -> None:
        raise AssertionError(message)


def test_progress_counts_what_is_read(repo: mvs.Repository) -> None:
    found = compared(repo, model({"v": f32(9), "w": ONE}), model({"v": f32(9), "w": TWO}))
    progress = Watching()
    watched: Progress = progress
    assert open_with(repo.root, watched).diff("a:1", "b:1", tensors=True) == found
    assert progress.begun[-1] == ("comparing", 32)
    assert progress.done[-1] == 32


DAMAGE: dict[str, tuple[Callable[[Path], object], type[Exception]]] = {
    "cut off": (lambda path: path.write_bytes(path.read_bytes()[:-100]), CorruptObject),
    "gone": (Path.unlink, MissingObject),
}


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("known", [True, False])
def test_a_damaged_file_is_told_by_its_name(repo: mvs.Repository, damage: str, known: bool) -> None:
    harm, error = DAMAGE[damage]
    base = families.model()
    a = save(repo, "a:1", families.safetensors(base))
    b = save(repo, "b:1", families.safetensors(families.tuned(base)))
    if known:
        b.tensors()
    path = families.loose_path(repo, b.files[0].blob)
    path.chmod(0o644)
    harm(path)
    with pytest.raises(error, match=r"file 'model\.safetensors' of 'b:1' is damaged in the store") as caught:
        repo.diff(a, b, tensors=True)
    assert getattr(caught.value, "hint", "") == "mvs log b"


def test_facts_are_told_of_versions_whose_files_are_damaged(repo: mvs.Repository) -> None:
    a, b = save(repo, "a:1", b"x"), save(repo, "b:1", b"y")
    families.loose_path(repo, b.files[0].blob).unlink()
    assert [file.status for file in repo.diff(a, b).files] == ["changed"]


# Layers


@pytest.mark.parametrize(
    ("name", "layer"),
    [
        ("model.layers.3.mlp.experts.17.w1.weight", "model.layers.3"),
        ("blk.12.attn_q.weight", "blk.12"),
        ("h.0.attn.c_attn.bias", "h.0"),
        ("0.weight", "0"),
        ("model/model.layers.3.norm.weight", "model/model.layers.3"),
        ("optimizer/state/28/exp_avg", "optimizer/state"),
        ("layer1.0.conv1.weight", "layer1.0"),
        ("model.embed_tokens.weight", "model.embed_tokens"),
        ("lm_head.weight", "lm_head"),
        ("weight", "weight"),
        ("fc2", "fc2"),
        ("", ""),
    ],
)
def test_the_layer_of_a_tensor_is_its_name_up_to_the_number(name: str, layer: str) -> None:
    assert layer_of(name) == layer


def test_layers_sum_up_their_tensors(repo: mvs.Repository) -> None:
    before = {"layers.0.a": f32(3, 4), "layers.0.b": f32(0, 0), "layers.10.a": ONE, "layers.2.a": ONE, "head.w": ONE}
    after = {
        "layers.0.a": f32(3, 5),
        "layers.0.b": f32(0, 0),
        "layers.10.a": ONE,
        "layers.2.a": TWO,
        "layers.2.c": f32(7),
    }
    found = compared(repo, model(before), model(after)).layers
    assert [(layer.name, dict(layer.counts)) for layer in found] == [
        ("head", {"removed": 1}),
        ("layers.0", {"changed": 1, "same": 1}),
        ("layers.2", {"changed": 1, "added": 1}),
        ("layers.10", {"same": 1}),
    ]
    assert [(layer.items, layer.changed, layer.share) for layer in found] == [
        (0, 0, None),
        (4, 1, 0.25),
        (4, 1, 0.25),
        (4, 0, 0.0),
    ]
    assert [layer.difference and layer.difference.relative_l2 for layer in found] == [
        None,
        0.2,
        pytest.approx(1 / math.sqrt(30)),
        None,
    ]


def test_a_layer_is_one_whatever_its_tensors_were_called(repo: mvs.Repository) -> None:
    before = {"model.layers.3.mlp.up_proj.weight": ONE, "model.layers.3.extra": f32(7)}
    found = compared(repo, model(before), model({"blk.3.ffn_up.weight": TWO})).layers
    assert [(layer.name, dict(layer.counts)) for layer in found] == [("blk.3", {"changed": 1, "removed": 1})]


KEYS = {
    "": ["before", "after", "same", "files", "labels", "metadata", "message", "layers", "tensors"],
    "files": ["status", "path", "before", "after"],
    "labels": ["status", "key", "before", "after"],
    "tensors": ["status", "name", "before", "after", "difference"],
    "layers": [
        "name",
        "counts",
        "unknown",
        "items",
        "changed",
        "share",
        "max_abs",
        "mean_abs",
        "relative_l2",
        "cosine",
        "nonfinite_before",
        "nonfinite_after",
    ],
}


def test_the_keys_of_json_stay(repo: mvs.Repository) -> None:
    """Programs of others read them."""
    save(repo, "a:1", model({"w": ONE}), labels={"x": "1"})
    save(repo, "b:1", model({"w": TWO}))
    told = repo.diff("a:1", "b:1", tensors=True).to_dict()
    for key, names in KEYS.items():
        assert list(told[key][0] if key else told) == names
    assert told["tensors"][0]["before"] == {
        "file": "model.safetensors",
        "name": "w",
        "dtype": "F32",
        "shape": [4],
        "size": 16,
    }
    plain = repo.diff("a:1", "b:1").to_dict()
    assert (plain["tensors"], plain["layers"]) == (None, None)
