"""Keras 3, on PyTorch: a model that is fitted, and fitted further."""

from typing import Any

import numpy as np
import pytest

import mvs

pytest.importorskip("torch")


@pytest.fixture
def keras() -> Any:
    # Imported when the backend is chosen.
    return pytest.importorskip("keras")


def model_of(keras: Any) -> Any:
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.layers.Input((4,)), keras.layers.Dense(8, "relu"), keras.layers.Dense(1)])
    model.compile("adam", "mse")
    return model


def fit(model: Any, callback: Any, epochs: int, first: int = 0) -> None:
    data = np.arange(64.0, dtype="f4").reshape(16, 4) / 64
    model.fit(
        data, data[:, :1], epochs=epochs, initial_epoch=first, batch_size=4, shuffle=False, verbose=0,
        validation_split=0.25, callbacks=[callback],
    )  # fmt: skip


def test_every_epoch_is_a_version_with_its_metrics(keras: Any, repo: mvs.Repository) -> None:
    from mvs.integrations.keras import MvsCallback

    before = sorted(repo.root.parent.iterdir())
    fit(model_of(keras), MvsCallback(mvs.Checkpointer(repo, "net", keep_best=1, monitor="val_loss")), 3)
    newest = repo.get("net")
    assert newest.metadata["epoch"] == 3
    assert newest.metadata["step"] == 9
    assert {"loss", "val_loss"} <= set(newest.metadata)
    assert sorted(repo.root.parent.iterdir()) == before


def test_a_fit_goes_on_from_the_store_as_if_it_had_not_stopped(keras: Any, repo: mvs.Repository) -> None:
    from mvs.integrations.keras import MvsCallback, load

    straight = model_of(keras)
    fit(straight, MvsCallback(mvs.Checkpointer(repo, "whole")), 4)
    fit(model_of(keras), MvsCallback(mvs.Checkpointer(repo, "parts", every=2)), 3)
    callback = MvsCallback(mvs.Checkpointer(repo, "parts", every=2))
    resumed = callback.resume()
    assert resumed
    model, epoch = resumed
    assert epoch == 2
    fit(model, callback, 4, epoch)
    for ours, theirs in zip(straight.get_weights(), load("parts", repo=repo).get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6)
    assert repo.get("parts").parents == (repo.list("parts")[1].id,)
