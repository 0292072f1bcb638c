"""Hugging Face: a Trainer that trains, is cut off, and goes on."""

from pathlib import Path
from typing import Any

import pytest

import mvs
from mvs.errors import InvalidInput

transformers = pytest.importorskip("transformers")
torch = pytest.importorskip("torch")
pytest.importorskip("accelerate")

from mvs.integrations.transformers import MvsCallback, from_pretrained  # noqa: E402 - what it needs is there


def trainer(output: Path, callback: MvsCallback, steps: int, **options: Any) -> Any:
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=64, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32
    )
    data = [{"input_ids": torch.arange(8) + row % 50, "labels": torch.tensor(row % 2)} for row in range(32)]
    settings = transformers.TrainingArguments(
        output_dir=str(output),
        max_steps=steps,
        lr_scheduler_type="constant",
        save_steps=2,
        eval_strategy="steps",
        eval_steps=2,
        logging_steps=1,
        per_device_train_batch_size=4,
        report_to=[],
        use_cpu=True,
        disable_tqdm=True,
        **options,
    )
    model = transformers.BertForSequenceClassification(config)
    return transformers.Trainer(
        model=model, args=settings, train_dataset=data, eval_dataset=data[:4], callbacks=[callback]
    )


def test_every_checkpoint_is_a_version_with_its_metrics(repo: mvs.Repository, output: Path) -> None:
    callback = MvsCallback(mvs.Checkpointer(repo, "bert"))
    trainer(output, callback, 6).train()
    versions = repo.list("bert")
    assert [version.metadata["step"] for version in versions] == [6, 4, 2]
    newest = versions[0]
    assert {"loss", "eval_loss", "epoch"} <= set(newest.metadata)
    assert newest.context["framework"] == "pytorch"
    assert newest.context["packages"]["transformers"] == transformers.__version__
    assert len({version.context["run"] for version in versions}) == 1
    for file in newest.files:
        assert newest.read_bytes(file.path) == (output / "checkpoint-6" / file.path).read_bytes()


def test_what_the_trainer_deletes_meanwhile_is_saved_all_the_same(repo: mvs.Repository, output: Path) -> None:
    callback = MvsCallback(mvs.Checkpointer(repo, "bert"))
    trainer(output, callback, 8, save_total_limit=1).train()
    assert [path.name for path in output.glob("checkpoint-*")] == ["checkpoint-8"]
    assert [version.metadata["step"] for version in repo.list("bert")] == [8, 6, 4, 2]
    assert callback.checkpoints.failure is None


def test_a_training_goes_on_from_the_store_as_if_it_had_not_stopped(repo: mvs.Repository, output: Path) -> None:
    whole = MvsCallback(mvs.Checkpointer(repo, "whole"))
    straight = trainer(output / "a", whole, 6)
    straight.train()
    trainer(output / "b", MvsCallback(mvs.Checkpointer(repo, "parts")), 4).train()
    second = MvsCallback(mvs.Checkpointer(repo, "parts", keep_last=3))
    folder = second.resume()
    again = trainer(output / "c", second, 6)
    again.train(resume_from_checkpoint=folder)
    last, before = repo.list("parts")[:2]
    assert last.metadata["step"] == 6
    assert last.parents == (before.id,)
    for name, value in straight.model.state_dict().items():
        assert torch.equal(value, again.model.state_dict()[name]), name


def test_a_model_is_loaded_from_its_version(repo: mvs.Repository, output: Path) -> None:
    trained = trainer(output, MvsCallback(mvs.Checkpointer(repo, "bert")), 2)
    trained.train()
    loaded = from_pretrained("bert", transformers.AutoModelForSequenceClassification, repo=repo)
    for name, value in trained.model.state_dict().items():
        assert torch.equal(value, loaded.state_dict()[name]), name


def test_pickled_weights_are_loaded_only_for_whoever_asks(repo: mvs.Repository, tmp_path: Path) -> None:
    folder = tmp_path / "pickled"
    config = transformers.BertConfig(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32)
    config.save_pretrained(folder)
    model = transformers.BertModel(config)
    torch.save(model.state_dict(), folder / "pytorch_model.bin")
    repo.save(folder, "old")
    with pytest.raises(InvalidInput, match=r"pytorch_model\.bin"):
        from_pretrained("old", repo=repo)
    loaded = from_pretrained("old", repo=repo, use_safetensors=False)
    assert torch.equal(loaded.embeddings.word_embeddings.weight, model.embeddings.word_embeddings.weight)
