"""What the callback of the Hugging Face `Trainer` costs a whole run, against the same run that only saves by itself.

Needs the frameworks: `make test-integrations` installs them into .venv-integrations.
"""

from importlib.util import find_spec
from pathlib import Path
from time import perf_counter
from typing import Any

import mvs
from bench.measure import Bound, Meter, Run, section
from bench.place import Place, remove

_SLOWER = Bound(1.03)
_STEPS = 60
_EVERY = 15


def run(place: Place, meter: Meter) -> None:
    if find_spec("transformers") is None or find_spec("accelerate") is None:
        section("Hugging Face Trainer: not measured, transformers is not installed (.venv-integrations has it)")
        return
    section(f"Hugging Face Trainer: {_STEPS} steps, a checkpoint every {_EVERY}, all kept")
    output = place.work / "trainer-output"
    repos: list[mvs.Repository] = []

    def prepare() -> None:
        repos.append(place.repository("trainer-store"))

    def clean() -> None:
        remove(output)
        for repo in repos:
            assert len(repo.list("bench")) == _STEPS // _EVERY
            remove(repo.root.parent)
        repos.clear()

    def with_callback() -> float:
        from mvs.integrations.transformers import MvsCallback

        return _train(output, [MvsCallback(mvs.Checkpointer(repos[0], "bench"))])

    alone = Run(lambda: _train(output, []), clean=lambda: remove(output))
    meter.compare(alone, [("with MvsCallback : alone", Run(with_callback, prepare, clean), _SLOWER)])


def _train(output: Path, callbacks: list[Any]) -> float:
    """Return the seconds of `Trainer.train`, all saves ended."""
    import torch
    import transformers

    torch.manual_seed(0)
    # 10 million parameters: a checkpoint has 120 MB, two thirds of them the state of the optimizer.
    config = transformers.GPT2Config(vocab_size=2000, n_positions=64, n_embd=320, n_layer=7, n_head=8)
    rows = [{"input_ids": row, "labels": row} for row in torch.randint(0, 2000, (64, 64))]
    trainer = transformers.Trainer(
        model=transformers.GPT2LMHeadModel(config),
        args=transformers.TrainingArguments(
            str(output),
            max_steps=_STEPS,
            save_steps=_EVERY,
            per_device_train_batch_size=8,
            report_to=[],
            use_cpu=True,
            disable_tqdm=True,
            logging_strategy="no",
        ),
        train_dataset=rows,
        callbacks=callbacks,
    )
    began = perf_counter()
    trainer.train()
    return perf_counter() - began
