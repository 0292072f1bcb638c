"""A small family of really trained models, and copies of them in other containers.

The recipe of `RECIPE` says exactly what is made; who changes it changes the number, and the
family is made again. The same machine makes the same bytes each time; another machine, or
another Python whose library has other text, makes others that are as good.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from bench.dedup.making import network, writing
from bench.dedup.making.learning import AdamW, Course, bf16, learn, sources, tokens, vocabulary
from bench.dedup.making.network import Array, Shape, Tokens, Weights
from bench.place import remove

RECIPE = 1
SHAPE = Shape(vocabulary=2048, width=448, inner=1216, heads=7, layers=2)
_NEW_WORDS = 64
_RANK = 8
_LORA_SCALE = 2.0
_BASE = Course(steps=300, rows=12, rate=1.5e-3, decay=0.1)
# The rates of the fine-tunes are those that people use for models of any size.
_FIRST = Course(steps=80, rows=6, rate=2e-5)
_SECOND = Course(steps=80, rows=6, rate=1e-5)
_LORA = Course(steps=60, rows=6, rate=2e-4)
_VOCABULARY = Course(steps=40, rows=6, rate=1e-3)
_CHECKPOINTS = (20, 40, 60)
# A checkpoint has one layer with its optimizer's state; with all of them they would be three quarters of the family.
_KEPT = "model.layers.0."


def family(root: Path) -> Path:
    """Return the folder with the family, made when it is not there."""
    folder = root / f"family-{RECIPE}"
    if not folder.exists():
        print("making a family of models:", flush=True)
        building = root / "building"
        remove(building)
        building.mkdir(parents=True)
        _make(building)
        building.rename(folder)
    return folder


def _make(folder: Path) -> None:
    general = sources("*.py")
    words = vocabulary(general, SHAPE.vocabulary)
    start = network.initial(SHAPE, np.random.default_rng(1))
    learn("base", start, _all(start), tokens(general, words), _BASE, 2)
    base = _rounded(start)
    _model(folder / "base", base)
    first = _first(folder, base, tokens(sources("asyncio/*.py", "concurrent/futures/*.py"), words))
    second = _copied(base)
    learn("ft-b", second, _all(second), tokens(sources("email/*.py", "http/*.py"), words), _SECOND, 4)
    second = _rounded(second)
    _model(folder / "ft-b", second)
    _model(folder / "ft-frozen", _frozen(base, tokens(sources("unittest/*.py", "logging/*.py"), words)))
    _model(folder / "ft-lora", _lora(base, tokens(sources("multiprocessing/*.py", "xml/*/*.py"), words)))
    _model(folder / "ft-vocab", _grown(base, sources("encodings/*.py"), words))
    _model(folder / "merge-ab", _rounded({name: (first[name] + second[name]) / np.float32(2) for name in base}))
    _copies(folder, base, first)


def _first(folder: Path, base: Weights, text: Tokens) -> Weights:
    """Fine-tune, and write checkpoints on the way, in fp32."""
    weights = _copied(base)

    def watch(optimizer: AdamW) -> None:
        if optimizer.step in _CHECKPOINTS:
            kept = {name: value for name, value in weights.items() if name.startswith(_KEPT)}
            step = np.array(optimizer.step, np.float32)
            moments = [
                {"step": step, "exp_avg": optimizer.mean[name], "exp_avg_sq": optimizer.square[name]} for name in kept
            ]
            path = folder / f"traj-step{optimizer.step:04}.pt"
            writing.checkpoint(path, kept, moments, _FIRST.rate)

    learn("ft-a", weights, _all(weights), text, _FIRST, 3, watch)
    weights = _rounded(weights)
    _model(folder / "ft-a", weights)
    return weights


def _frozen(base: Weights, text: Tokens) -> Weights:
    """Fine-tune the last layer and the head only."""
    weights = _copied(base)
    last = f"model.layers.{SHAPE.layers - 1}."
    free = {name: value for name, value in weights.items() if name.startswith((last, "lm_head", "model.norm"))}
    learn("ft-frozen", free, _all(weights), text, _FIRST, 5)
    return _rounded(weights)


def _lora(base: Weights, text: Tokens) -> Weights:
    """Learn what to add to the query and value matrices as a product of two thin ones, and add it."""
    random = np.random.default_rng(6)
    adapted = [name for name in base if name.endswith(("q_proj.weight", "v_proj.weight"))]
    thin: Weights = {}
    for name in adapted:
        rows, columns = base[name].shape
        thin[name + ".A"] = random.standard_normal((_RANK, columns), np.float32) / np.float32(np.sqrt(columns))
        thin[name + ".B"] = np.zeros((rows, _RANK), np.float32)

    def merged() -> Weights:
        return base | {name: base[name] + _LORA_SCALE * (thin[name + ".B"] @ thin[name + ".A"]) for name in adapted}

    def gradient(rows: Tokens) -> tuple[float, Weights]:
        loss, found = network.gradients(merged(), rows, SHAPE.heads)
        parts: Weights = {}
        for name in adapted:
            parts[name + ".A"] = _LORA_SCALE * (thin[name + ".B"].T @ found[name])
            parts[name + ".B"] = _LORA_SCALE * (found[name] @ thin[name + ".A"].T)
        return loss, parts

    learn("ft-lora", thin, gradient, text, _LORA, 7)
    return _rounded(merged())


def _grown(base: Weights, text: str, words: list[str]) -> Weights:
    """Add the words of another kind of text, and learn their rows only."""
    grown = vocabulary(text, SHAPE.vocabulary + _NEW_WORDS, words)
    both = ("lm_head.weight", "model.embed_tokens.weight")
    weights = _copied(base)
    for name in both:
        new = np.repeat(base[name].mean(axis=0, keepdims=True), len(grown) - SHAPE.vocabulary, axis=0)
        weights[name] = np.concatenate([base[name], new])

    def gradient(rows: Tokens) -> tuple[float, Weights]:
        loss, found = network.gradients(weights, rows, SHAPE.heads)
        for name in both:
            found[name][: SHAPE.vocabulary] = 0
        return loss, found

    learn("ft-vocab", {name: weights[name] for name in both}, gradient, tokens(text, grown), _VOCABULARY, 8)
    return _rounded(weights)


def _copies(folder: Path, base: Weights, first: Weights) -> None:
    """Write the same weights in other containers."""
    sharded = folder / "ft-a-sharded"
    sharded.mkdir()
    _config(sharded, first)
    writing.shards(sharded, _bits(first), 3)
    # numpy has no bf16: who saves it there saves its bits.
    values: Mapping[str, Array] = _bits(base)  # type: ignore[assignment]
    np.savez(folder / "base-copy.npz", allow_pickle=False, **values)
    writing.gguf(folder / "base-f16.gguf", base, SHAPE, quantised=False)
    writing.gguf(folder / "base-q8.gguf", base, SHAPE, quantised=True)
    writing.gguf(folder / "ft-a-q8.gguf", first, SHAPE, quantised=True)


def _all(weights: Weights) -> Callable[[Tokens], tuple[float, Weights]]:
    return lambda rows: network.gradients(weights, rows, SHAPE.heads)


def _copied(weights: Weights) -> Weights:
    return {name: value.copy() for name, value in weights.items()}


def _bits(weights: Weights) -> dict[str, writing.Bits]:
    return {name: bf16(value) for name, value in weights.items()}


def _rounded(weights: Weights) -> Weights:
    return writing.floats(_bits(weights))


def _model(folder: Path, weights: Weights) -> None:
    folder.mkdir()
    _config(folder, weights)
    writing.safetensors(folder / "model.safetensors", _bits(weights))


def _config(folder: Path, weights: Weights) -> None:
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": SHAPE.width,
        "intermediate_size": SHAPE.inner,
        "num_hidden_layers": SHAPE.layers,
        "num_attention_heads": SHAPE.heads,
        "vocab_size": len(weights["lm_head.weight"]),
        "torch_dtype": "bfloat16",
    }
    (folder / "config.json").write_text(json.dumps(config, indent=1), encoding="utf-8")
