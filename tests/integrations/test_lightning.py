"""Lightning: its Trainer trains, is cut off, and goes on."""

from pathlib import Path
from typing import Any

import pytest

import mvs

torch = pytest.importorskip("torch")
lightning = pytest.importorskip("lightning")
Module: Any = lightning.LightningModule

from mvs.integrations.lightning import MvsCallback  # noqa: E402 - what it needs is there


class Net(Module):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(4, 1)

    def training_step(self, batch: Any, _: int) -> Any:
        loss = self.layer(batch).square().mean()
        self.log("loss", loss)
        return loss

    def validation_step(self, batch: Any, _: int) -> None:
        self.log("val_loss", self.layer(batch).square().mean())

    def configure_optimizers(self) -> Any:
        return torch.optim.Adam(self.parameters(), lr=0.1)


def fit(callback: MvsCallback, output: Path, epochs: int, resumed: Path | None = None) -> Net:
    torch.manual_seed(0)
    net = Net()
    data = torch.utils.data.DataLoader(torch.arange(32.0).reshape(8, 4), batch_size=2)
    trainer = lightning.Trainer(
        max_epochs=epochs,
        default_root_dir=output,
        accelerator="cpu",
        logger=False,
        callbacks=[callback],
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(net, data, data, ckpt_path=resumed, weights_only=False)
    return net


def test_every_epoch_is_a_version_with_its_metrics(repo: mvs.Repository, output: Path) -> None:
    fit(MvsCallback(mvs.Checkpointer(repo, "net", keep_last=2)), output, 3)
    versions = repo.list("net")
    assert [(version.metadata["step"], version.metadata["epoch"]) for version in versions] == [(12, 2), (8, 1)]
    assert {"loss", "val_loss"} <= set(versions[0].metadata)
    assert [file.path for file in versions[0].files] == ["lightning.ckpt"]
    assert list(output.iterdir()) == []


def test_steps_are_saved_where_they_count(repo: mvs.Repository, output: Path) -> None:
    fit(MvsCallback(mvs.Checkpointer(repo, "net", every=3), per="step"), output, 2)
    assert [version.metadata["step"] for version in repo.list("net")] == [6, 3]


def test_a_training_goes_on_from_the_store_as_if_it_had_not_stopped(repo: mvs.Repository, output: Path) -> None:
    straight = fit(MvsCallback(mvs.Checkpointer(repo, "whole")), output, 4)
    fit(MvsCallback(mvs.Checkpointer(repo, "parts")), output, 2)
    second = MvsCallback(mvs.Checkpointer(repo, "parts"))
    again = fit(second, output, 4, second.resume())
    for name, value in straight.state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), name
    versions = repo.list("parts")
    assert [version.metadata["step"] for version in versions] == [16, 12, 8, 4]
    assert versions[0].parents == versions[1].parents == (versions[2].id,)


def test_two_ranks_make_one_version(repo: mvs.Repository, output: Path) -> None:
    """Rank zero saves, when both have written."""
    import subprocess
    import sys

    script = output.parent / "ranks.py"
    script.write_text(RANKS, encoding="utf-8")
    subprocess.run([sys.executable, script, output], check=True, capture_output=True)
    (version,) = repo.list("net")
    assert [file.path for file in version.files] == ["lightning.ckpt"]
    assert list(output.glob(".checkpoint-*")) == []


RANKS = """
import sys, torch, lightning, mvs
from mvs.integrations.lightning import MvsCallback

class Net(lightning.LightningModule):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(4, 1)
    def training_step(self, batch, _):
        return self.layer(batch).square().mean()
    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)

if __name__ == "__main__":
    trainer = lightning.Trainer(
        max_epochs=1, default_root_dir=sys.argv[1], accelerator="cpu", devices=2, strategy="ddp",
        logger=False, callbacks=[MvsCallback(mvs.Checkpointer(mvs.open(), "net"))], enable_progress_bar=False)
    trainer.fit(Net(), torch.utils.data.DataLoader(torch.arange(32.0).reshape(8, 4), batch_size=2))
"""
