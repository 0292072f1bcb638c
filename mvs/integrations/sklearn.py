"""scikit-learn: estimators in the format of skops, which is no pickle.

Source of the format: https://skops.readthedocs.io/en/stable/persistence.html
"""

from collections.abc import Sequence
from typing import Any, Unpack

import mvs
from mvs.integrations.extras import framework
from mvs.integrations.saving import About, Spec, file_of, found, save_model

sklearn = framework("sklearn", "sklearn")
skops = framework("skops.io", "sklearn")

FILE = "model.skops"


def save(model: Any, tag: str, repo: mvs.Repository | None = None, **about: Unpack[About]) -> mvs.Version:
    """Save an estimator or a pipeline; its class, framework and version are in the context.

    Raises:
        TagExists, InvalidTag, InvalidMetadata, NotFound, StorageFailed: as `Repository.create`.
    """
    return save_model(repo, tag, lambda to: skops.dump(model, to / FILE), model, sklearn, **about)


def load(spec: Spec, *, repo: mvs.Repository | None = None, trusted: Sequence[str] = ()) -> Any:
    """Return the estimator of a version.

    Types that skops does not know to be harmless are refused (`UntrustedTypesFoundException` names them) unless
    they are in `trusted`. Nothing is unpickled.

    Raises:
        FileNotInVersion: the version was not saved by `save`.
        NotFound: `spec` stands for nothing.
    """
    return skops.load(file_of(found(spec, repo), FILE), trusted=list(trusted))
