"""A small language model of the Llama shape and its gradients, in numpy.

RMSNorm, rotary positions, causal attention, SwiGLU, embeddings that are not tied; weights
have the names and shapes that Hugging Face gives them. Knows nothing of how they are learned.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
Weights = dict[str, Array]
Tokens = NDArray[np.int64]
# What a layer keeps of its forward pass for the way back.
_Kept = dict[str, Array]

_EPSILON = 1e-5
_THETA = 10000.0
_INITIAL = 0.02


@dataclass(frozen=True)
class Shape:
    vocabulary: int
    width: int
    inner: int
    heads: int
    layers: int


def initial(shape: Shape, random: np.random.Generator) -> Weights:
    """Return weights as they are before any learning."""

    def drawn(rows: int, columns: int) -> Array:
        return random.standard_normal((rows, columns), np.float32) * np.float32(_INITIAL)

    weights = {
        "lm_head.weight": drawn(shape.vocabulary, shape.width),
        "model.embed_tokens.weight": drawn(shape.vocabulary, shape.width),
        "model.norm.weight": np.ones(shape.width, np.float32),
    }
    for index in range(shape.layers):
        layer = f"model.layers.{index}."
        for part in "qkvo":
            weights[f"{layer}self_attn.{part}_proj.weight"] = drawn(shape.width, shape.width)
        weights[layer + "mlp.gate_proj.weight"] = drawn(shape.inner, shape.width)
        weights[layer + "mlp.up_proj.weight"] = drawn(shape.inner, shape.width)
        weights[layer + "mlp.down_proj.weight"] = drawn(shape.width, shape.inner)
        weights[layer + "input_layernorm.weight"] = np.ones(shape.width, np.float32)
        weights[layer + "post_attention_layernorm.weight"] = np.ones(shape.width, np.float32)
    return dict(sorted(weights.items()))


def gradients(weights: Weights, tokens: Tokens, heads: int) -> tuple[float, Weights]:
    """Return the mean loss of predicting each next token of rows of tokens, and its gradient by every weight."""
    given, wanted = tokens[:, :-1], tokens[:, 1:].ravel()
    found: Weights = {}
    layers = 1 + max(int(name.split(".")[2]) for name in weights if name.startswith("model.layers."))
    angles = _angles(given.shape[1], weights["model.norm.weight"].size // heads)

    stream = weights["model.embed_tokens.weight"][given]
    kept: list[_Kept] = []
    for index in range(layers):
        stream = _layer(weights, f"model.layers.{index}.", stream, angles, kept)
    normal, scale = _norm(stream, weights["model.norm.weight"])
    flat = normal.reshape(-1, normal.shape[-1])
    scores = flat @ weights["lm_head.weight"].T
    scores -= scores.max(axis=1, keepdims=True)
    odds = np.exp(scores)
    odds /= odds.sum(axis=1, keepdims=True)
    rows = np.arange(len(wanted))
    loss = float(-np.log(odds[rows, wanted]).mean())

    odds[rows, wanted] -= 1
    odds /= np.float32(len(wanted))
    found["lm_head.weight"] = odds.T @ flat
    back = (odds @ weights["lm_head.weight"]).reshape(stream.shape)
    back, found["model.norm.weight"] = _norm_back(back, stream, scale, weights["model.norm.weight"])
    for index in reversed(range(layers)):
        back = _layer_back(weights, f"model.layers.{index}.", back, angles, kept[index], found)
    embedded = np.zeros_like(weights["model.embed_tokens.weight"])
    np.add.at(embedded, given.ravel(), back.reshape(-1, back.shape[-1]))
    found["model.embed_tokens.weight"] = embedded
    return loss, found


def _layer(weights: Weights, layer: str, stream: Array, angles: tuple[Array, Array], kept: list[_Kept]) -> Array:
    keep: _Kept = {"stream": stream}
    normal, keep["scale"] = _norm(stream, weights[layer + "input_layernorm.weight"])
    keep["normal"] = normal
    # batch, head, place, number in the head
    split = (*stream.shape[:2], -1, 2 * angles[0].shape[1])
    for part in "qkv":
        made = (normal @ weights[f"{layer}self_attn.{part}_proj.weight"].T).reshape(split).transpose(0, 2, 1, 3)
        keep[part] = made if part == "v" else _rotate(made, angles)
    scores = keep["q"] @ keep["k"].swapaxes(-1, -2) / np.float32(np.sqrt(split[-1]))
    scores += np.triu(np.full(scores.shape[-2:], -1e30, np.float32), 1)
    scores -= scores.max(axis=-1, keepdims=True)
    np.exp(scores, out=scores)
    keep["looks"] = scores / scores.sum(axis=-1, keepdims=True)
    keep["seen"] = (keep["looks"] @ keep["v"]).transpose(0, 2, 1, 3).reshape(stream.shape)
    middle = stream + keep["seen"] @ weights[layer + "self_attn.o_proj.weight"].T
    keep["middle"] = middle
    keep["normal2"], keep["scale2"] = _norm(middle, weights[layer + "post_attention_layernorm.weight"])
    keep["gate"] = keep["normal2"] @ weights[layer + "mlp.gate_proj.weight"].T
    keep["up"] = keep["normal2"] @ weights[layer + "mlp.up_proj.weight"].T
    keep["open"] = np.float32(1) / (np.float32(1) + np.exp(-keep["gate"]))
    keep["inner"] = keep["gate"] * keep["open"] * keep["up"]
    kept.append(keep)
    return np.asarray(middle + keep["inner"] @ weights[layer + "mlp.down_proj.weight"].T)


def _layer_back(
    weights: Weights, layer: str, back: Array, angles: tuple[Array, Array], keep: _Kept, found: Weights
) -> Array:
    def through(name: str, given: Array, back: Array) -> Array:
        """Go back through a matrix, and note its gradient."""
        flat = back.reshape(-1, back.shape[-1])
        found[layer + name] = flat.T @ given.reshape(-1, given.shape[-1])
        return back @ weights[layer + name]

    inner = through("mlp.down_proj.weight", keep["inner"], back)
    gate, opened = keep["gate"], keep["open"]
    up = inner * gate * opened
    gate = inner * keep["up"] * opened * (1 + gate * (1 - opened))
    normal = through("mlp.gate_proj.weight", keep["normal2"], gate)
    normal += through("mlp.up_proj.weight", keep["normal2"], up)
    name = layer + "post_attention_layernorm.weight"
    normal, found[name] = _norm_back(normal, keep["middle"], keep["scale2"], weights[name])
    back = back + normal

    seen = through("self_attn.o_proj.weight", keep["seen"], back)
    split = (*back.shape[:2], -1, 2 * angles[0].shape[1])
    seen = seen.reshape(split).transpose(0, 2, 1, 3)
    looks = keep["looks"]
    scores = seen @ keep["v"].swapaxes(-1, -2)
    scores = looks * (scores - (scores * looks).sum(axis=-1, keepdims=True)) / np.float32(np.sqrt(split[-1]))
    parts = {
        "q": _rotate(scores @ keep["k"], angles, back=True),
        "k": _rotate(scores.swapaxes(-1, -2) @ keep["q"], angles, back=True),
        "v": looks.swapaxes(-1, -2) @ seen,
    }
    normal = np.zeros_like(back)
    for part, made in parts.items():
        flat = made.transpose(0, 2, 1, 3).reshape(back.shape)
        normal += through(f"self_attn.{part}_proj.weight", keep["normal"], flat)
    name = layer + "input_layernorm.weight"
    normal, found[name] = _norm_back(normal, keep["stream"], keep["scale"], weights[name])
    return back + normal


def _norm(stream: Array, gain: Array) -> tuple[Array, Array]:
    scale = 1 / np.sqrt(np.square(stream).mean(axis=-1, keepdims=True) + np.float32(_EPSILON))
    return stream * scale * gain, scale


def _norm_back(back: Array, stream: Array, scale: Array, gain: Array) -> tuple[Array, Array]:
    found = (back * stream * scale).sum(axis=(0, 1))
    back = back * gain
    return scale * (back - stream * np.square(scale) * (back * stream).mean(axis=-1, keepdims=True)), found


def _angles(length: int, size: int) -> tuple[Array, Array]:
    speeds = _THETA ** (-np.arange(0, size, 2) / size)
    angles = np.outer(np.arange(length), speeds)
    return np.cos(angles).astype(np.float32), np.sin(angles).astype(np.float32)


def _rotate(made: Array, angles: tuple[Array, Array], *, back: bool = False) -> Array:
    cos, sin = angles
    sin = -sin if back else sin
    first, second = np.split(made, 2, axis=-1)
    return np.concatenate([first * cos - second * sin, second * cos + first * sin], axis=-1)
