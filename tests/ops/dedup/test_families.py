"""What a family of models costs: the store has one of a kind, and differences."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import mvs
from mvs.format.ids import ObjectId
from mvs.format.pack import Record
from mvs.ops.dedup.plan import MAX_DEPTH
from tests.codecs.cut import samples
from tests.ops.dedup import families
from tests.ops.dedup.families import (
    check,
    check_graph,
    mean,
    model,
    pack_bytes,
    quick,
    records,
    safetensors,
    save,
    tuned,
)

BASE = model()
TUNED = tuned(BASE)
PLAIN = len(safetensors(BASE))
# What an index takes for a record, its refs included.
ENTRY = 250


@pytest.fixture
def repo(tmp_path: Path) -> mvs.Repository:
    return quick(tmp_path / "repo")


def costs(repo: mvs.Repository, tag: str, files: dict[str, bytes] | bytes, **options: Any) -> int:
    """Save a version, pack it, read it back, and return by how many bytes the packs grew."""
    before = pack_bytes(repo)
    save(repo, tag, files, **options)
    repo.dedup(tag)
    check(repo, {tag: files})
    return pack_bytes(repo) - before


def depth_of(repo: mvs.Repository, version: mvs.Version) -> int:
    return max(record_of(repo, file.blob).depth for file in version.files)


def record_of(repo: mvs.Repository, blob: str) -> Record:
    return next(record for record in records(repo) if record.id == ObjectId.from_hex(blob))


def deltas(repo: mvs.Repository) -> int:
    return sum(record.size for record in records(repo) if record.encoding == "delta")


@pytest.mark.parametrize(
    ("tag", "files"),
    [
        ("bert:v2", safetensors(TUNED)),
        ("other:v1", safetensors(TUNED)),
        ("prefixed:v1", safetensors(TUNED, prefix="model.")),
        (
            "sharded:v1",
            {
                "model-1-of-2.safetensors": safetensors(dict(list(TUNED.items())[:3])),
                "model-2-of-2.safetensors": safetensors(dict(list(TUNED.items())[3:])),
            },
        ),
        ("shuffled:v1", safetensors(dict(reversed(TUNED.items())))),
        ("renamed:v1", safetensors({f"x{number}": bits for number, bits in enumerate(TUNED.values())})),
    ],
    ids=["next version", "other name", "prefix", "shards", "other order", "other names of tensors"],
)
def test_a_fine_tune_is_stored_as_its_difference_from_the_base(
    repo: mvs.Repository, tag: str, files: dict[str, bytes] | bytes
) -> None:
    alone = costs(repo, "bert:v1", safetensors(BASE))
    assert costs(repo, tag, files) < 0.6 * alone
    assert deltas(repo) > 0.9 * PLAIN


def test_an_explicit_parent_is_the_base(repo: mvs.Repository) -> None:
    save(repo, "parent:v1", safetensors(BASE))
    for number in range(3):
        save(repo, f"stranger:v{number}", safetensors(model(number + 7)))
    save(repo, "bert:v1", safetensors(TUNED), parents=["parent:v1"])
    plan = repo.plan_dedup("bert:v1")
    assert [[plan.names[base] for base in item.bases] for item in plan.items] == [["parent:v1/model.safetensors"]]


def test_a_stranger_is_no_base(repo: mvs.Repository) -> None:
    alone = costs(repo, "bert:v1", safetensors(BASE))
    assert costs(repo, "bert:v2", safetensors(model(9))) < 1.02 * alone
    assert deltas(repo) == 0


def test_tensors_that_did_not_change_cost_their_index_entries(repo: mvs.Repository) -> None:
    costs(repo, "bert:v1", safetensors(BASE))
    changed = tuned(BASE, only="norm")
    assert costs(repo, "bert:v2", safetensors(changed)) < ENTRY * (len(BASE) + 4)
    assert costs(repo, "bert:v3", safetensors(changed, prefix="model.")) < ENTRY * (len(BASE) + 8)


def test_a_model_cut_into_shards_costs_its_index_entries(repo: mvs.Repository) -> None:
    costs(repo, "bert:v1", safetensors(BASE))
    items = list(BASE.items())
    shards = {"1.safetensors": safetensors(dict(items[:2])), "2.safetensors": safetensors(dict(items[2:]))}
    assert costs(repo, "bert:v2", shards) < ENTRY * (len(BASE) + 10)


def test_a_grown_vocabulary_costs_its_new_rows(repo: mvs.Repository) -> None:
    costs(repo, "bert:v1", safetensors(BASE))
    rows = model(5, {"rows": (16, 128)})["rows"]
    grown = {**BASE, "embed.weight": np.concatenate([BASE["embed.weight"], rows])}
    assert costs(repo, "bert:v2", safetensors(grown)) < rows.nbytes + ENTRY * (len(BASE) + 8)


def test_a_vocabulary_that_grew_while_training_costs_a_difference_and_its_new_rows(repo: mvs.Repository) -> None:
    alone = costs(repo, "bert:v1", safetensors(BASE))
    rows = model(5, {"rows": (16, 128)})["rows"]
    grown = {**TUNED, "embed.weight": np.concatenate([TUNED["embed.weight"], rows])}
    assert costs(repo, "bert:v2", safetensors(grown)) < 0.6 * alone + rows.nbytes


@pytest.mark.parametrize(
    "copy",
    [families.gguf_f16(BASE), families.gguf_q8(BASE), families.npz(families.halves(BASE))],
    ids=["gguf f16", "gguf q8_0", "npz f16"],
)
def test_a_copy_in_another_type_costs_its_recipe(repo: mvs.Repository, copy: bytes) -> None:
    """Everyone keeps quantised copies beside the model; they hold nothing new."""
    costs(repo, "bert:v1", safetensors(BASE))
    assert costs(repo, "copy:v1", {"model.bin": copy}) < max(0.02 * len(copy), ENTRY * (2 * len(BASE) + 4))
    made = sum(record.size for record in records(repo) if record.encoding == "derive")
    assert made > 0.95 * len(copy)


def test_the_same_tensors_in_another_container_cost_their_index_entries(repo: mvs.Repository) -> None:
    halves: dict[str, NDArray[np.float16]] = families.halves(BASE)
    costs(repo, "bert:v1", {"model.npz": families.npz(halves)})
    assert costs(repo, "copy:v1", {"model.safetensors": safetensors(halves)}) < ENTRY * (2 * len(BASE) + 4)
    assert costs(repo, "copy:v2", {"model.gguf": families.gguf_f16(BASE)}) < ENTRY * (2 * len(BASE) + 4)


def test_onnx_data_is_cut_where_its_model_says(repo: mvs.Repository) -> None:
    """The data file alone is numbers without a name; cut by content it would share nothing after an update."""

    def exported(weights: families.Weights) -> dict[str, bytes]:
        told, data = [], b""
        for name, bits in weights.items():
            told.append(
                samples.initializer(name, 16, bits.shape, location="model.data", offset=len(data), length=bits.nbytes)
            )
            data += bits.tobytes()
        return {"onnx/model.onnx": samples.onnx(*told), "onnx/model.data": data}

    costs(repo, "bert:v1", safetensors(BASE))
    assert costs(repo, "exported:v1", exported(BASE)) < ENTRY * 2 * len(BASE) + 2000
    assert costs(repo, "exported:v2", exported(TUNED)) < 0.5 * PLAIN


def test_the_mean_of_two_models_costs_next_to_nothing(repo: mvs.Repository) -> None:
    other = tuned(BASE, 2)
    costs(repo, "one:v1", safetensors(TUNED))
    costs(repo, "other:v1", safetensors(other))
    assert costs(repo, "merged:v1", safetensors(mean(TUNED, other))) < 0.03 * PLAIN


def test_a_chain_of_checkpoints_never_leans_too_deep_and_reads_back(repo: mvs.Repository) -> None:
    """Each step costs a decoding of every block, and a long chain is a long way to fall."""
    weights = BASE
    expected = {}
    for number in range(10):
        expected[f"run:step{number}"] = safetensors(weights)
        save(repo, f"run:step{number}", expected[f"run:step{number}"])
        weights = tuned(weights, number + 10)
    repo.dedup()
    check(repo, expected)
    check_graph(repo, MAX_DEPTH)
    assert deltas(repo) > 8 * 0.9 * PLAIN


@pytest.mark.parametrize("undone", [False, True])
def test_a_chain_packed_one_by_one_never_leans_too_deep(repo: mvs.Repository, undone: bool) -> None:
    """What was made loose again is still read from its pack by those that lean on it."""
    weights = BASE
    expected = {}
    for number in range(10):
        expected[f"run:step{number}"] = safetensors(weights)
        costs(repo, f"run:step{number}", expected[f"run:step{number}"])
        if undone:
            repo.undo_dedup("run")
        weights = tuned(weights, number + 10)
    check(repo, expected)
    check_graph(repo, MAX_DEPTH)


def checkpoint(seed: int) -> bytes:
    """Weights in fp32 and both moments of an optimizer."""
    rng = np.random.default_rng(seed)
    tensors: dict[str, NDArray[Any]] = {}
    start = np.random.default_rng(99).normal(0, 0.02, (128, 128)).astype(np.float32)
    for number in range(2):
        scale = np.exp(np.random.default_rng(number).normal(-16, 2, (128, 128))).astype(np.float32)
        tensors[f"{number}.weight"] = start + rng.normal(0, 1e-4, start.shape).astype(np.float32)
        tensors[f"state.{number}.exp_avg"] = (rng.normal(0, 1, scale.shape) * np.sqrt(scale)).astype(np.float32)
        tensors[f"state.{number}.exp_avg_sq"] = scale * rng.uniform(0.9, 1.1, scale.shape).astype(np.float32)
    return safetensors(tensors)


def test_checkpoints_with_optimizer_state_read_back(repo: mvs.Repository) -> None:
    expected = {f"run:step{number}": checkpoint(number) for number in range(10)}
    for tag, data in expected.items():
        save(repo, tag, data)
    repo.dedup()
    check(repo, expected)
    check_graph(repo, MAX_DEPTH)
