"""How tensors, and what differs between versions, look in a terminal."""

import json
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

import click

from mvs.cli.render import columns, size, table
from mvs.handles.tensors import TensorInfo

if TYPE_CHECKING:
    from mvs.ops.diff import Diff, Difference, FileDiff, Layer, TensorDiff, ValueDiff

# Columns of the bar that shows how much a layer differs from the first version, beside the one that does most.
_BAR = 10
# As many as are seen at a glance; --all has the others.
_LARGEST = 5
# What a person asks for first, first.
_STATUSES = ("changed", "resized", "reshaped", "retyped", "added", "removed", "moved", "same")
_UNCHANGED = {"same", "moved"}


def tensors(found: Sequence[TensorInfo]) -> None:
    """Print the tensors of a version."""
    if found:
        table(
            ("FILE", "NAME", "DTYPE", "SHAPE", "SIZE", "ID"),
            [(t.file, t.name, t.dtype, _shape(t.shape), size(t.size), t.id[:12]) for t in found],
        )


def diff(found: "Diff", *, each: bool) -> None:
    """Print what differs between two versions, and their tensors where they were compared: by layer, or `each`."""
    if found.files:
        click.echo("files:")
        columns([(file.status, *_file(file)) for file in found.files], indent="  ")
    for title, values in (("labels", found.labels), ("metadata", found.metadata)):
        if values:
            click.echo(f"{title}:")
            columns([(value.status, value.key, _values(value)) for value in values], indent="  ")
    if found.message:
        click.echo("message:")
        columns([(found.message.status, _values(found.message))], indent="  ")
    if found.tensors and (each or not found.same):
        _tensors(found.tensors, found.layers, each=each)


def _tensors(found: "Sequence[TensorDiff]", layers: "Sequence[Layer]", *, each: bool) -> None:
    from mvs.ops.diff.layers import together  # noqa: PLC0415 - only where tensors were compared

    total = together("all", found)
    click.echo("tensors:")
    click.echo(f"  {_statuses(total)}")
    if total.difference:
        click.echo(f"  {_sentence(total)}")
        for line in _warnings(total.difference):
            click.echo(f"  {line}")
    click.echo("")
    if each:
        _every(found)
        return
    _by_layer(layers)
    largest = sorted(found, key=_size_of_change, reverse=True)[:_LARGEST]
    largest = [tensor for tensor in largest if _size_of_change(tensor) > 0]
    if len(largest) > 1:
        click.echo("\nlargest changes:")
        columns(
            [
                ("REL L2", "CHANGED", "MAX ABS", "TENSOR"),
                *(
                    (_number(d.relative_l2), _share(d.share), _number(d.max_abs), tensor.name)
                    for tensor in largest
                    if (d := tensor.difference)
                ),
            ],
            indent="  ",
        )


def _by_layer(layers: "Sequence[Layer]") -> None:
    most = max((layer.difference.relative_l2 or 0 for layer in layers if layer.difference), default=0)
    rows: list[tuple[str, ...]] = []
    # A frozen half of a model is one line.
    for unchanged, some in groupby(layers, key=lambda layer: layer.counts.keys() <= _UNCHANGED):
        run = list(some)
        if unchanged and len(run) > 1:
            counts = {status: sum(layer.counts.get(status, 0) for layer in run) for status in _UNCHANGED}
            rows.append((f"{run[0].name} ... {run[-1].name}", _counts(counts), _share(0.0), "", "", "", ""))
        else:
            rows += [_layer(layer, most) for layer in run]
    table(("LAYER", "TENSORS", "CHANGED", "REL L2", "COSINE", "MAX ABS", ""), rows)


def _layer(layer: "Layer", most: float) -> tuple[str, ...]:
    found = layer.difference
    return (
        layer.name,
        _statuses(layer),
        "" if layer.share is None else _share(layer.share),
        _number(found.relative_l2) if found else "",
        _cosine(found.cosine) if found else "",
        _number(found.max_abs) if found else "",
        "#" * round(_BAR * (found.relative_l2 or 0) / most) if found and most else "",
    )


def _every(found: "Sequence[TensorDiff]") -> None:
    table(
        ("STATUS", "TENSOR", "DTYPE", "SHAPE", "CHANGED", "REL L2", "COSINE", "MAX ABS", "MEAN ABS", "NOTE"),
        [_tensor(tensor) for tensor in found],
    )


def _tensor(tensor: "TensorDiff") -> tuple[str, ...]:
    before, after, found = tensor.before or tensor.side, tensor.side, tensor.difference
    notes = _warnings(found) if found else []
    if before.name != after.name:
        notes.append(f"was {before.name}")
    if before.file != after.file:
        notes.append(f"{before.file} -> {after.file}")
    if found and tensor.status == "resized":
        notes.append("the rows that both have")
    return (
        tensor.status,
        tensor.name,
        _step(before.dtype, after.dtype),
        _step(_shape(before.shape), _shape(after.shape)),
        _share(found.share) if found else "",
        _number(found.relative_l2) if found else "",
        _cosine(found.cosine) if found else "",
        _number(found.max_abs) if found else "",
        _number(found.mean_abs) if found else "",
        "; ".join(notes),
    )


def _sentence(layer: "Layer") -> str:
    compared = " that were compared" if layer.unknown else ""
    words = [f"{_share(layer.share or 0.0)} of the weights{compared} changed"]
    found = layer.difference
    if found and found.relative_l2 is not None:
        words.append(f"those tensors by {_number(found.relative_l2)} of their norm (relative L2)")
    if found and found.cosine is not None:
        words.append(f"cosine {_cosine(found.cosine)}")
    return ", ".join(words)


def _warnings(found: "Difference") -> list[str]:
    if not (found.nonfinite_before or found.nonfinite_after):
        return []
    return [f"NaN or infinite: {found.nonfinite_before} -> {found.nonfinite_after}, left out of the figures"]


def _size_of_change(tensor: "TensorDiff") -> float:
    return (tensor.difference.relative_l2 or 0.0) if tensor.difference else 0.0


def _file(file: "FileDiff") -> tuple[str, str]:
    before, after = file.before, file.after
    if before and after and before.path != after.path:
        return f"{before.path} -> {after.path}", size(after.size)
    sizes = _step(*(size(entry.size) for entry in (before or after, after or before) if entry))
    if before and after and before.executable != after.executable:
        sizes += f" ({'now' if after.executable else 'no longer'} executable)"
    return file.path, sizes


def _values(value: "ValueDiff") -> str:
    if value.status == "added":
        return _value(value.after)
    return _value(value.before) if value.status == "removed" else f"{_value(value.before)} -> {_value(value.after)}"


def _value(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _step(before: str, after: str) -> str:
    return after if before == after else f"{before} -> {after}"


def _shape(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape))


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{counts[status]} {status}" for status in _STATUSES if counts.get(status))


def _statuses(layer: "Layer") -> str:
    return _counts(layer.counts) + (f" ({layer.unknown} not compared)" if layer.unknown else "")


def _share(share: float) -> str:
    # What changed a little must not look as if it had not, nor what is left as if it were not.
    if 0 < share < 0.0001:
        return "<0.01%"
    return ">99.99%" if 0.9999 < share < 1 else f"{share:.2%}"


def _cosine(value: float | None) -> str:
    return "" if value is None else f"{value:.8f}"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.2e}" if value else "0"
