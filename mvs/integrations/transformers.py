"""Hugging Face transformers: checkpoints of a `Trainer`, and models from the store.

Source of the hooks: https://huggingface.co/docs/transformers/main_classes/callback
"""

from pathlib import Path
from typing import Any

import mvs
from mvs.errors import InvalidInput, SourceNotFound
from mvs.integrations.extras import framework
from mvs.integrations.ranks import wait_for_all
from mvs.integrations.saving import Spec, finish, found

transformers = framework("transformers", "transformers")
TrainerCallback: Any = transformers.TrainerCallback

_PICKLES = (".bin", ".pt", ".pth", ".pkl")


class MvsCallback(TrainerCallback):  # type: ignore[misc]
    """Saves every checkpoint that a `Trainer` writes, beside the training.

    `MvsCallback(mvs.Checkpointer(mvs.open(), "net", keep_last=3))`, among the `callbacks` of the `Trainer`, which
    decides when (`save_strategy`). What was logged and evaluated at that step becomes the metadata. Where several
    processes train, rank zero saves once all have written their parts. A save that fails does not end the training:
    it is told in the log, and `checkpoints.failure` holds it.
    """

    def __init__(self, checkpoints: mvs.Checkpointer) -> None:
        self.checkpoints = checkpoints

    def resume(self) -> str | None:
        """Return the folder of the newest whole checkpoint, for `Trainer.train(resume_from_checkpoint=...)`.

        It holds what the `Trainer` wrote, with pickles for the optimizer and the random state.
        """
        version = self.checkpoints.resume()
        return str(version.path) if version else None

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Note which checkpoint the training goes on from, if it does."""
        if state.is_world_process_zero and state.global_step:
            self.checkpoints.follow(state.global_step)

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Save the checkpoint that was just written."""
        wait_for_all()
        if not state.is_world_process_zero:
            return
        folder = Path(args.output_dir) / f"checkpoint-{state.global_step}"
        if not folder.is_dir():
            raise SourceNotFound(f"the Trainer wrote no '{folder}': a search for hyperparameters is not supported")
        here = [entry for entry in state.log_history if entry.get("step") == state.global_step]
        metrics = {key: value for entry in here for key, value in entry.items() if key != "step"}
        self.checkpoints.save(folder, step=state.global_step, metrics=metrics)

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Wait for the last save."""
        finish(self.checkpoints)


def from_pretrained(spec: Spec, kind: Any = None, *, repo: mvs.Repository | None = None, **options: Any) -> Any:
    """Return what `kind.from_pretrained` makes of a version: an `AutoModel`, unless there is another kind.

    The files are not copied. `options` are those of transformers. Weights that are only there as pickles, which can
    run any code, are refused unless `use_safetensors=False` asks for them.

    Raises:
        InvalidInput: the version holds no safetensors, but pickles.
        NotFound: `spec` stands for nothing.
    """
    version = found(spec, repo)
    paths = [file.path for file in version.files]
    if options.get("use_safetensors") is not False and not any(path.endswith(".safetensors") for path in paths):
        pickled = next((path for path in paths if path.endswith(_PICKLES)), None)
        if pickled:
            raise InvalidInput(
                f"'{version.tag}' holds '{pickled}', a pickle, and no safetensors: "
                "pass use_safetensors=False if you trust who made it"
            )
    return (kind or transformers.AutoModel).from_pretrained(version.path, **options)
