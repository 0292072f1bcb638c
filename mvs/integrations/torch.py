"""PyTorch without a trainer: everything that goes on after a break, as one state; and folders of many ranks.

No pickle: tensors become safetensors, what is around them JSON.
"""

import json
import random
from collections.abc import Mapping
from concurrent.futures import Future
from typing import Any

import mvs
from mvs.errors import InvalidInput, TensorNotInVersion
from mvs.handles.version import PathLike
from mvs.integrations.extras import framework
from mvs.integrations.ranks import rank, wait_for_all
from mvs.integrations.saving import Spec, file_of, found

torch = framework("torch", "torch")
np = framework("numpy", "torch")

_RNG = "rng"
_PLAN = "structure"


def state_of(*, rng: bool = True, **parts: Any) -> dict[str, Any]:
    """Return the state of a training, for `Checkpointer.step`, `save_async` or `save_state`.

    `state_of(model=model, optimizer=optimizer, scheduler=scheduler)`: each has `state_dict()`, or is a state itself.
    With `rng` the random states of PyTorch on all devices, of numpy and of Python are in it. Tensors are not copied.

    Raises:
        InvalidInput: a state holds what is neither a tensor nor plain data.
    """
    tensors: dict[str, Any] = {}
    taken = {**parts, **({_RNG: _random_state()} if rng else {})}
    plan = {
        name: _taken_apart(part.state_dict() if hasattr(part, "state_dict") else part, name, tensors)
        for name, part in taken.items()
    }
    return {**tensors, _PLAN: json.dumps(plan)}


def load(spec: Spec, *, repo: mvs.Repository | None = None, rng: bool = True, **parts: Any) -> dict[str, Any]:
    """Give the parts of a training back what `state_of` took, and return the states by their names.

    `load("net", model=model, optimizer=optimizer)`: each has `load_state_dict()`. Names that are not given are only
    returned. With `rng`, random numbers go on where they were.

    Raises:
        TensorNotInVersion: the version has no state of one of the parts.
        FileNotInVersion: the version was not saved from `state_of`.
        NotFound: `spec` stands for nothing.
    """
    version = found(spec, repo)
    text = json.loads(file_of(version, "model.json").read_text(encoding="utf-8")).get(_PLAN, "{}")
    plan: dict[str, Any] = json.loads(text)
    missing = [name for name in parts if name not in plan]
    if missing:
        raise TensorNotInVersion(f"'{version.tag}' has no state of {', '.join(map(repr, missing))}")
    tensors = version.load_torch()
    states = {name: _put_together(part, tensors) for name, part in plan.items()}
    for name, part in parts.items():
        part.load_state_dict(states[name])
    if rng and _RNG in states:
        _set_random_state(states[_RNG])
    return states


def save_folder(
    checkpoints: mvs.Checkpointer, folder: PathLike, *, step: int, metrics: Mapping[str, Any] | None = None
) -> "Future[mvs.Version] | None":
    """Save a folder that all ranks wrote to (`torch.distributed.checkpoint`, FSDP) as one checkpoint.

    To be called on all ranks, each when it is done. The first one saves once all are; its future is returned there,
    None on the others. When this returns the folder may be deleted.
    """
    wait_for_all()
    try:
        return checkpoints.save(folder, step=step, metrics=metrics) if rank() == 0 else None
    finally:
        wait_for_all()


def _taken_apart(value: Any, name: str, tensors: dict[str, Any]) -> Any:
    """Return what is around the tensors as JSON that keeps types, and put the tensors beside it."""
    if isinstance(value, torch.Tensor):
        # A dict in a dict can spell the same name as a dot in a key.
        while name in tensors:
            name += "~"
        tensors[name] = value
        return {"tensor": name}
    if isinstance(value, Mapping):
        if not all(isinstance(key, str | int) for key in value):
            raise InvalidInput(f"a key in '{name}' is neither a string nor a number")
        return {"dict": [[key, _taken_apart(inner, f"{name}.{key}", tensors)] for key, inner in value.items()]}
    if isinstance(value, list | tuple):
        inner = [_taken_apart(each, f"{name}.{index}", tensors) for index, each in enumerate(value)]
        return {"list" if isinstance(value, list) else "tuple": inner}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise InvalidInput(f"'{name}' in the state is neither a tensor nor plain data, but {type(value).__name__}")


def _put_together(plan: Any, tensors: Mapping[str, Any]) -> Any:
    if not isinstance(plan, dict):
        return plan
    ((kind, inner),) = plan.items()
    if kind == "tensor":
        return tensors[inner]
    if kind == "dict":
        return {key: _put_together(value, tensors) for key, value in inner}
    values = [_put_together(value, tensors) for value in inner]
    return values if kind == "list" else tuple(values)


def _random_state() -> dict[str, Any]:
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    kind, keys, *rest = np.random.get_state(legacy=True)
    return {
        "torch": torch.get_rng_state(),
        "cuda": cuda,
        "numpy": (kind, keys.tolist(), *rest),
        "python": random.getstate(),
    }


def _set_random_state(state: Mapping[str, Any]) -> None:
    torch.set_rng_state(state["torch"])
    if state["cuda"] and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(state["cuda"])
    np.random.set_state(state["numpy"])
    random.setstate(state["python"])
