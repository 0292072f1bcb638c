"""Plain PyTorch: everything that a training goes on from, and folders of many ranks."""

import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mvs
from mvs.errors import InvalidInput, TensorNotInVersion

torch = pytest.importorskip("torch")

from mvs.integrations.torch import load, state_of  # noqa: E402 - what it needs is there


def made(kind: str) -> tuple[Any, Any, Any]:
    model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.BatchNorm1d(8), torch.nn.Dropout(0.5))
    optimizer = getattr(torch.optim, kind)(model.parameters(), lr=0.1)
    return model, optimizer, torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.9)


def train(model: Any, optimizer: Any, scheduler: Any, steps: int) -> None:
    def closure() -> Any:
        optimizer.zero_grad()
        noise = random.random() + float(np.random.random())
        loss = (model(torch.rand(16, 4)) - noise).square().mean()
        loss.backward()
        return loss

    for _ in range(steps):
        optimizer.step(closure)
        scheduler.step()


@pytest.mark.parametrize("kind", ["SGD", "AdamW", "LBFGS", "Adagrad"])
def test_a_training_goes_on_as_if_it_had_not_stopped(kind: str, repo: mvs.Repository) -> None:
    parts = made(kind)
    train(*parts, 3)
    model, optimizer, scheduler = parts
    version = repo.save_state(state_of(model=model, optimizer=optimizer, scheduler=scheduler), "net:v1")
    train(*parts, 3)
    again = made(kind)
    load(version, model=again[0], optimizer=again[1], scheduler=again[2])
    train(*again, 3)
    for name, value in model.state_dict().items():
        assert torch.equal(value, again[0].state_dict()[name]), name
    assert {file.path for file in version.files} == {"model.safetensors", "model.json"}


def test_a_checkpointer_takes_such_states(repo: mvs.Repository) -> None:
    model, optimizer, _ = made("AdamW")
    with mvs.Checkpointer(repo, "net", every=2) as checkpoints:
        for step in range(1, 5):
            checkpoints.step(lambda: state_of(model=model, optimizer=optimizer), step=step, metrics={"loss": 1 / step})
    assert [version.metadata["step"] for version in repo.list("net")] == [4, 2]
    assert torch.equal(load("net", repo=repo)["model"]["0.weight"], model.state_dict()["0.weight"])


def test_what_is_no_data_is_refused_by_its_name(repo: mvs.Repository) -> None:
    with pytest.raises(InvalidInput, match=r"extra\.0"):
        state_of(extra=[object()])
    version = repo.save_state(state_of(model=made("SGD")[0]), "net:v1")
    with pytest.raises(TensorNotInVersion, match="'optimizer'"):
        load(version, optimizer=made("SGD")[1])


RANKS = """
import sys, torch, mvs
import torch.distributed as dist, torch.distributed.checkpoint as dcp
from torch.distributed.tensor import distribute_tensor, init_device_mesh, Shard
from mvs.integrations.torch import save_folder
dist.init_process_group("gloo", init_method=f"file://{sys.argv[1]}", rank=int(sys.argv[2]), world_size=2)
mesh = init_device_mesh("cpu", (2,))
weight = distribute_tensor(torch.arange(64.).reshape(8, 8), mesh, [Shard(0)])
dcp.save({"weight": weight}, checkpoint_id=sys.argv[3])
with mvs.Checkpointer(mvs.open(), "sharded") as checkpoints:
    future = save_folder(checkpoints, sys.argv[3], step=7)
    assert (future is None) == (dist.get_rank() == 1)
dist.destroy_process_group()
"""


def test_the_shards_of_all_ranks_are_one_version(repo: mvs.Repository, tmp_path: Path) -> None:
    folder = tmp_path / "checkpoint"
    ranks = [
        subprocess.Popen([sys.executable, "-c", RANKS, tmp_path / "meet", str(rank), folder], env=os.environ)
        for rank in range(2)
    ]
    assert [process.wait() for process in ranks] == [0, 0]
    (version,) = repo.list("sharded")
    assert {file.path for file in version.files} == {".metadata", "__0_0.distcp", "__1_0.distcp"}
    import torch.distributed.checkpoint as dcp

    weight = {"weight": torch.zeros(8, 8)}
    dcp.load(weight, checkpoint_id=str(version.path))
    assert torch.equal(weight["weight"], torch.arange(64.0).reshape(8, 8))
