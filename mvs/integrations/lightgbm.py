"""LightGBM: models in its own format, which is text.

Source of the format: https://lightgbm.readthedocs.io/en/stable/pythonapi/lightgbm.Booster.html
"""

from typing import Any, Unpack

import mvs
from mvs.integrations.extras import framework
from mvs.integrations.saving import About, Spec, file_of, found, save_model

lightgbm = framework("lightgbm", "lightgbm")

FILE = "model.txt"


def save(model: Any, tag: str, repo: mvs.Repository | None = None, **about: Unpack[About]) -> mvs.Version:
    """Save a `Booster`, or the one of a fitted `LGBMClassifier` and the like; class and version are in the context.

    Raises:
        TagExists, InvalidTag, InvalidMetadata, NotFound, StorageFailed: as `Repository.create`.
    """
    booster = getattr(model, "booster_", model)
    return save_model(repo, tag, lambda to: booster.save_model(to / FILE), model, lightgbm, **about)


def load(spec: Spec, *, repo: mvs.Repository | None = None) -> Any:
    """Return the model of a version as a `Booster`.

    Raises:
        FileNotInVersion: the version was not saved by `save`.
        NotFound: `spec` stands for nothing.
    """
    return lightgbm.Booster(model_file=file_of(found(spec, repo), FILE))
