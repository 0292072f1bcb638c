"""XGBoost: models in its own format, binary JSON, which is no pickle.

Source of the format: https://xgboost.readthedocs.io/en/stable/tutorials/saving_model.html
"""

from typing import Any, Unpack

import mvs
from mvs.integrations.extras import framework
from mvs.integrations.saving import About, Spec, file_of, found, save_model

xgboost = framework("xgboost", "xgboost")

FILE = "model.ubj"


def save(model: Any, tag: str, repo: mvs.Repository | None = None, **about: Unpack[About]) -> mvs.Version:
    """Save a `Booster`, or an `XGBClassifier` and the like; class, framework and version are in the context.

    Raises:
        TagExists, InvalidTag, InvalidMetadata, NotFound, StorageFailed: as `Repository.create`.
    """
    return save_model(repo, tag, lambda to: model.save_model(to / FILE), model, xgboost, **about)


def load(spec: Spec, into: Any = None, *, repo: mvs.Repository | None = None) -> Any:
    """Return the model of a version as a `Booster`, or load it `into` an `XGBClassifier()` and return that.

    Raises:
        FileNotInVersion: the version was not saved by `save`.
        NotFound: `spec` stands for nothing.
    """
    model = xgboost.Booster() if into is None else into
    model.load_model(file_of(found(spec, repo), FILE, "model.json"))
    return model
