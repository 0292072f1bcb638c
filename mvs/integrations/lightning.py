"""Lightning: checkpoints of its `Trainer`.

A callback, not a `CheckpointIO`: sharded strategies write past those, and `Trainer.save_checkpoint` serves all.
Source of the hooks: https://lightning.ai/docs/pytorch/stable/api/lightning.pytorch.callbacks.Checkpoint.html
"""

import tempfile
from pathlib import Path
from typing import Any, Literal

import mvs
from mvs.integrations.extras import framework
from mvs.integrations.saving import finish, save_moved

Checkpoint: Any = framework("lightning.pytorch.callbacks", "lightning").Checkpoint

# The file in a version; a folder under sharded strategies.
FILE = "lightning.ckpt"


class MvsCallback(Checkpoint):  # type: ignore[misc]
    """Saves a checkpoint of the `Trainer` at the end of every epoch, or of every step that the Checkpointer takes.

    `MvsCallback(mvs.Checkpointer(mvs.open(), "net", keep_last=3))`, among the `callbacks` of the `Trainer`. The
    metadata is the step, the epoch and the metrics that were logged. All ranks write, the first one saves. The
    `every` of the Checkpointer counts epochs, or with `per="step"` steps.
    """

    def __init__(self, checkpoints: mvs.Checkpointer, *, per: Literal["epoch", "step"] = "epoch") -> None:
        self.checkpoints = checkpoints
        self._per = per
        self._last = -1

    def resume(self) -> Path | None:
        """Return the newest whole checkpoint, for `Trainer.fit(ckpt_path=...)`.

        Lightning writes pickles; whoever loads one trusts who made it.
        """
        version = self.checkpoints.resume()
        return version.path / FILE if version else None

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Note which checkpoint the training goes on from, if it does."""
        if trainer.is_global_zero and trainer.global_step:
            self.checkpoints.follow(trainer.global_step)
        self._last = trainer.global_step

    def on_train_batch_end(self, trainer: Any, pl_module: Any, *_: Any) -> None:
        """Save after a step, if it is time."""
        # With accumulated gradients several batches are one step.
        if self._per == "step" and trainer.global_step != self._last and self.checkpoints.due(trainer.global_step):
            self._save(trainer)

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Save after an epoch, if it is time."""
        if self._per == "epoch" and self.checkpoints.due(trainer.current_epoch + 1):
            self._save(trainer)

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        """Wait for the last save."""
        finish(self.checkpoints)

    def teardown(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """Wait for the last save of a training that ends in an error."""
        finish(self.checkpoints)

    def _save(self, trainer: Any) -> None:
        self._last = trainer.global_step
        place = None
        if trainer.is_global_zero:
            Path(trainer.default_root_dir).mkdir(parents=True, exist_ok=True)
            place = tempfile.mkdtemp(prefix=".checkpoint-", dir=trainer.default_root_dir)
        folder = Path(trainer.strategy.broadcast(place))
        if trainer.is_global_zero:
            metrics = {**trainer.callback_metrics, "epoch": trainer.current_epoch}
            save_moved(self.checkpoints, folder, lambda to: self._write(trainer, to), trainer.global_step, metrics)
        else:
            self._write(trainer, folder)

    def _write(self, trainer: Any, folder: Path) -> None:
        # It returns when all ranks have written.
        trainer.save_checkpoint(folder / FILE)
