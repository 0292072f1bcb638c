"""Keras 3: checkpoints while a model is fitted, and models from the store.

Source of the hooks and the format: https://keras.io/api/callbacks/base_callback, https://keras.io/api/models/model_saving_apis
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import mvs
from mvs.handles.version import PathLike
from mvs.integrations.extras import framework
from mvs.integrations.ranks import rank
from mvs.integrations.saving import Spec, file_of, finish, found, save_written

keras = framework("keras", "keras")
Callback: Any = keras.callbacks.Callback

FILE = "model.keras"


class MvsCallback(Callback):  # type: ignore[misc]
    """Saves the model at the end of every epoch: its structure, weights and the state of its optimizer.

    `MvsCallback(mvs.Checkpointer(mvs.open(), "net", keep_last=3))`, among the `callbacks` of `Model.fit`. The `every`
    of the Checkpointer counts epochs. The metadata is the step, the epoch and what `fit` logs. The first rank saves.

    `folder` is where Keras writes, under a hidden name, before the file is moved into the store: without a copy,
    where both are on one file system.
    """

    def __init__(self, checkpoints: mvs.Checkpointer, *, folder: PathLike = ".") -> None:
        super().__init__()
        self.checkpoints = checkpoints
        self._folder = Path(folder)

    def resume(self) -> tuple[Any, int] | None:
        """Return the model of the newest whole checkpoint and the epochs it had, for `fit(initial_epoch=...)`."""
        version = self.checkpoints.resume()
        return (load(version), version.metadata["epoch"]) if version else None

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Save the model, if it is time."""
        if rank() == 0 and self.checkpoints.due(epoch + 1):
            step = int(self.model.optimizer.iterations)
            metrics = {**(logs or {}), "epoch": epoch + 1}
            save_written(
                self.checkpoints, lambda to: self.model.save(to / FILE), self._folder, step=step, metrics=metrics
            )

    def on_train_end(self, logs: Mapping[str, Any] | None = None) -> None:
        """Wait for the last save."""
        finish(self.checkpoints)


def load(spec: Spec, *, repo: mvs.Repository | None = None, **options: Any) -> Any:
    """Return the Keras model of a version; `options` are those of `keras.models.load_model`, whose safe mode is on.

    Raises:
        FileNotInVersion: the version was not saved by this callback.
        NotFound: `spec` stands for nothing.
    """
    return keras.models.load_model(file_of(found(spec, repo), FILE), **options)
