"""Tensors by layer: what a person can read of a model of a thousand of them."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from mvs.codecs.derive.names import canonical
from mvs.ops.diff.facts import Difference, TensorDiff

# Up to the first part of the name that is a number: `model.layers.3`, `blk.3`, `encoder.layer.3`, `h.3`.
_NUMBERED = re.compile(r"(?:.*?[./])??\d+(?=[./])")
# PyTorch's optimizers number their parameters: thousands of groups of three.
_NUMBERS_OF_PARAMETERS = re.compile(r"((?:.*[./])?state)[./]\d+$")


@dataclass(frozen=True, slots=True)
class Layer:
    """The tensors of one layer.

    Attributes:
        name: what the names of its tensors begin with, up to the number of the layer.
        counts: how many tensors there are of each status.
        unknown: of how many it cannot be told how much changed: quantised tensors of another type or size, and such.
        items: numbers that are known to be the same or were compared; of quantised types, bytes.
        changed: those that differ.
        difference: of all that was compared together, None where nothing was. What is the same in both is not read,
            and so not in it.
    """

    name: str
    counts: Mapping[str, int]
    unknown: int
    items: int
    changed: int
    difference: Difference | None

    @property
    def share(self) -> float | None:
        """Which part of the numbers changed, from 0 to 1; None where no tensor could be compared."""
        return self.changed / self.items if self.items else None

    def to_dict(self) -> dict[str, Any]:
        """Return the facts as JSON holds them."""
        told = self.difference
        return {
            "name": self.name,
            "counts": dict(self.counts),
            "unknown": self.unknown,
            "items": self.items,
            "changed": self.changed,
            "share": self.share,
            "max_abs": told.max_abs if told else None,
            "mean_abs": told.mean_abs if told else None,
            "relative_l2": told.relative_l2 if told else None,
            "cosine": told.cosine if told else None,
            "nonfinite_before": told.nonfinite_before if told else 0,
            "nonfinite_after": told.nonfinite_after if told else 0,
        }


def by_layer(tensors: Iterable[TensorDiff]) -> tuple[Layer, ...]:
    """Return the layers of some tensors, sorted as a person counts.

    A layer is one whatever its tensors are called in either version; its name is that in the second.
    """
    groups: dict[str, list[TensorDiff]] = {}
    for tensor in tensors:
        groups.setdefault(layer_of(canonical(tensor.name)), []).append(tensor)
    layers = [
        together(layer_of(next((one for one in some if one.after), some[0]).name), some) for some in groups.values()
    ]
    return tuple(sorted(layers, key=lambda layer: natural(layer.name)))


def together(name: str, tensors: Iterable[TensorDiff]) -> Layer:
    """Return what some tensors are as one."""
    some = list(tensors)
    differences = [tensor.difference for tensor in some if tensor.difference]
    total = sum(differences, Difference())
    counts: Counter[str] = Counter(tensor.status for tensor in some)
    items = sum(tensor.items for tensor in some)
    unknown = sum(tensor.is_unknown for tensor in some)
    return Layer(name, counts, unknown, items, total.changed, total if differences else None)


def layer_of(name: str) -> str:
    """Return the layer of a tensor: `blk.3` of `blk.3.attn_q.weight`, `lm_head` of `lm_head.weight`."""
    if numbered := _NUMBERED.match(name):
        found = numbered[0]
        state = _NUMBERS_OF_PARAMETERS.match(found)
        return state[1] if state else found
    return re.split(r"[./][^./]*$", name)[0]


def natural(text: str) -> list[tuple[int, str]]:
    """Return a key that sorts numbers in text by value: layer 2 before layer 10."""
    # Digits of scripts that int() does not take are text.
    return [(int(part), "") if part.isascii() and part.isdigit() else (-1, part) for part in re.split(r"(\d+)", text)]
