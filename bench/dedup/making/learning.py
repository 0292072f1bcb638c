"""Text, and learning from it with AdamW in fp32."""

import re
import sysconfig
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import numpy as np

from bench.dedup.making.network import Array, Tokens, Weights

_LENGTH = 64
_HELD_OUT = 0.1
_PROOF_ROWS = 32
_BETAS = (0.9, 0.999)
_EPSILON = 1e-8
_CLIP = 1.0
_WARMUP = 0.1
_LAST_RATE = 0.1
_WORDS = re.compile(r"\w+|\s+|[^\w\s]")


@dataclass(frozen=True)
class Course:
    """How to learn: so many steps on so many rows of text, with a rate that rises, then falls."""

    steps: int
    rows: int
    rate: float
    decay: float = 0.0


Gradient = Callable[[Tokens], tuple[float, Weights]]


class AdamW:
    """The optimizer, with the state that PyTorch's has."""

    def __init__(self, values: Weights, decay: float) -> None:
        self.step = 0
        self.mean = {name: np.zeros_like(value) for name, value in values.items()}
        self.square = {name: np.zeros_like(value) for name, value in values.items()}
        self._values = values
        self._decay = decay

    def apply(self, found: Weights, rate: float) -> None:
        self.step += 1
        size = np.sqrt(sum(float(np.square(found[name]).sum()) for name in self._values))
        shrink = np.float32(min(1.0, _CLIP / (size + 1e-6)))
        first, second = (np.float32(1 - beta**self.step) for beta in _BETAS)
        for name, value in self._values.items():
            gradient = found[name] * shrink
            mean, square = self.mean[name], self.square[name]
            mean += np.float32(1 - _BETAS[0]) * (gradient - mean)
            np.square(gradient, out=gradient)
            square += np.float32(1 - _BETAS[1]) * (gradient - square)
            np.sqrt(square / second, out=gradient)
            gradient += np.float32(_EPSILON)
            keep = 1 - rate * self._decay if value.ndim > 1 else 1.0
            value[...] = np.float32(keep) * value - np.float32(rate) / first * (mean / gradient)


def sources(*patterns: str) -> str:
    """Return text that every machine has: source files of Python's standard library."""
    library = Path(sysconfig.get_paths()["stdlib"])
    paths = [path for pattern in patterns for path in sorted(library.glob(pattern))]
    return "\n".join(path.read_text(encoding="utf-8", errors="replace") for path in paths)


def vocabulary(text: str, size: int, known: Iterable[str] = ()) -> list[str]:
    """Return `size` words: those known, every ASCII character, and then the most frequent of the text."""
    words = list(known) or ["?", *map(chr, range(128))]
    taken = set(words)
    # Ties are settled by the word, so that it is the same list every time.
    ranked = sorted(Counter(_WORDS.findall(text)).items(), key=lambda item: (-item[1], item[0]))
    return [*words, *(word for word, _ in ranked if word not in taken)][:size]


def tokens(text: str, words: list[str]) -> Tokens:
    """Return the text as numbers; a word that is not in the vocabulary is spelled."""
    numbers = {word: index for index, word in enumerate(words)}
    found: list[int] = []
    for word in _WORDS.findall(text):
        number = numbers.get(word)
        found.extend([number] if number is not None else [numbers.get(letter, 0) for letter in word])
    return np.array(found, np.int64)


def learn(
    label: str,
    values: Weights,
    gradient: Gradient,
    text: Tokens,
    course: Course,
    seed: int,
    watch: Callable[[AdamW], None] = lambda _: None,
) -> None:
    """Change the values in place, step by step, and print the loss on text held out, before and after."""
    started = perf_counter()
    cut = int(len(text) * (1 - _HELD_OUT))
    proof = text[cut:][: _PROOF_ROWS * (_LENGTH + 1)].reshape(-1, _LENGTH + 1)
    random = np.random.default_rng(seed)
    before = gradient(proof)[0]
    optimizer = AdamW(values, course.decay)
    for step in range(course.steps):
        starts = random.integers(0, cut - _LENGTH - 1, course.rows)
        _, found = gradient(text[starts[:, None] + np.arange(_LENGTH + 1)])
        optimizer.apply(found, course.rate * _schedule(step / course.steps))
        watch(optimizer)
    after, took = gradient(proof)[0], perf_counter() - started
    print(f"  {label}: loss {before:.3f} -> {after:.3f} in {course.steps} steps, {took:.0f} s", flush=True)
    if after >= before:
        raise RuntimeError(f"'{label}' has learned nothing")


def bf16(value: Array) -> np.ndarray[tuple[int, ...], np.dtype[np.uint16]]:
    """Return the bits of numbers as bf16, to the nearest, ties to even."""
    bits = value.view(np.uint32)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype(np.uint16)


def _schedule(part: float) -> float:
    if part < _WARMUP:
        return part / _WARMUP
    falling = (part - _WARMUP) / (1 - _WARMUP)
    return _LAST_RATE + (1 - _LAST_RATE) * 0.5 * (1 + float(np.cos(np.pi * falling)))
