"""A base and a fine-tune as large as one likes, from the weights of two small models.

Training a model of a gigabyte is out of the question, and so is repeating a small one: a tool
that cuts by content would find the repetition inside one file, and be measured at that.
So a large tensor is all matrices of one width under each other, each with its rows in an
order of its own, the same order in the base and in the fine-tune. Every weight and every
update is a trained one, in the row and the matrix where it was learned; base and
fine-tune are as alike as the small ones are. The same row comes again only in the next
tensor of that width, megabytes away and with other neighbours: rows have one or two
kilobytes, so no chunk of restic's or borg's (512 KiB at least) is there twice, and no
window of zstd at their levels reaches that far.
"""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.dedup.making import writing
from bench.dedup.reading import Family, Model, Tensor


@dataclass(frozen=True)
class Pair:
    base: Model
    tuned: Model


def pair(family: Family, folder: Path, size: int) -> Pair:
    """Write a base and a fine-tune of about so many bytes each."""
    known = {tensor.name: tensor for tensor in family.base.tensors}
    first = family.tuned[0]
    names = [
        tensor.name
        for tensor in first.tensors
        if len(tensor.shape) == 2 and tensor.kind == "BF16" and known[tensor.name].shape == tensor.shape
    ]
    for name, model in (("base", family.base), ("tuned", first)):
        tensors = {tensor.name: tensor for tensor in model.tensors}
        _write(folder / name, [tensors[name] for name in names], size)
    return Pair(Model(folder / "base"), Model(folder / "tuned"))


def _write(folder: Path, tensors: list[Tensor], size: int) -> None:
    by_width: dict[int, list[Tensor]] = defaultdict(list)
    for tensor in tensors:
        by_width[tensor.shape[1]].append(tensor)
    copies = max(1, round(size / sum(len(tensor.data) for tensor in tensors)))
    shapes = {
        f"copies.{copy:03}.width{width}.weight": (sum(tensor.shape[0] for tensor in same), width)
        for copy in range(copies)
        for width, same in by_width.items()
    }

    def made() -> Iterator[writing.Bits]:
        # The same seed for base and fine-tune, so the same order.
        random = np.random.default_rng(1)
        for _ in range(copies):
            for same in by_width.values():
                rows = [tensor.data.view(np.uint16).reshape(tensor.shape) for tensor in same]
                yield np.concatenate([values[random.permutation(len(values))] for values in rows])

    folder.mkdir(parents=True)
    writing.stream(folder / "model.safetensors", shapes, made())
