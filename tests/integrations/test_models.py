"""scikit-learn, XGBoost and LightGBM: a fitted model comes back and says the same."""

from typing import Any

import numpy as np
import pytest

import mvs
from mvs.errors import FileNotInVersion

RNG = np.random.default_rng(0)
X = RNG.normal(size=(200, 4))
Y = (X[:, 0] + X[:, 1] > 0).astype(int)


class Own:
    """A class that skops has never heard of."""


def test_an_estimator_comes_back(repo: mvs.Repository) -> None:
    pytest.importorskip("skops")
    pipeline = pytest.importorskip("sklearn.pipeline")
    from sklearn import __version__
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    from mvs.integrations import sklearn

    model = pipeline.make_pipeline(StandardScaler(), LogisticRegression()).fit(X, Y)
    version = sklearn.save(model, "linear:v1", repo, metadata={"accuracy": model.score(X, Y)}, labels={"a": "b"})
    assert version.context["framework"] == "scikit-learn"
    assert version.context["framework_version"] == __version__
    assert version.context["model"] == "sklearn.pipeline.Pipeline"
    assert version.metadata["accuracy"] > 0.9
    np.testing.assert_array_equal(sklearn.load("linear", repo=repo).predict_proba(X), model.predict_proba(X))


def test_a_forest_is_loaded_by_whoever_trusts_its_trees(repo: mvs.Repository) -> None:
    """Skops calls them unsafe: their indices are not checked."""
    pytest.importorskip("skops")
    ensemble = pytest.importorskip("sklearn.ensemble")
    from mvs.integrations import sklearn

    model = ensemble.RandomForestClassifier(5, random_state=0).fit(X, Y)
    again = sklearn.load(sklearn.save(model, "forest", repo), trusted=["sklearn.tree._tree.Tree"])
    np.testing.assert_array_equal(again.predict_proba(X), model.predict_proba(X))


def test_a_type_that_nobody_trusts_is_not_made(repo: mvs.Repository) -> None:
    exceptions = pytest.importorskip("skops.io.exceptions")
    from mvs.integrations import sklearn

    version = sklearn.save(Own(), "own", repo)
    with pytest.raises(exceptions.UntrustedTypesFoundException):
        sklearn.load(version)
    assert isinstance(sklearn.load(version, trusted=[f"{Own.__module__}.Own"]), Own)


def test_a_booster_of_xgboost_comes_back(repo: mvs.Repository) -> None:
    xgboost = pytest.importorskip("xgboost")
    from mvs.integrations import xgboost as ours

    model = xgboost.XGBClassifier(n_estimators=5).fit(X, Y)
    version = ours.save(model, "trees:v1", repo)
    assert version.context["framework"] == "xgboost"
    assert version.context["framework_version"] == xgboost.__version__
    again: Any = ours.load("trees", xgboost.XGBClassifier(), repo=repo)
    np.testing.assert_array_equal(again.predict_proba(X), model.predict_proba(X))
    np.testing.assert_allclose(ours.load(version).predict(xgboost.DMatrix(X)), model.predict_proba(X)[:, 1])


def test_a_booster_of_lightgbm_comes_back(repo: mvs.Repository) -> None:
    lightgbm = pytest.importorskip("lightgbm")
    from mvs.integrations import lightgbm as ours

    model = lightgbm.LGBMClassifier(n_estimators=5, verbose=-1).fit(X, Y)
    version = ours.save(model, "trees:v1", repo)
    assert version.context["model"] == "lightgbm.sklearn.LGBMClassifier"
    np.testing.assert_array_equal(ours.load("trees", repo=repo).predict(X), model.booster_.predict(X))


def test_a_version_of_another_framework_is_refused(repo: mvs.Repository, folder: Any) -> None:
    pytest.importorskip("lightgbm")
    from mvs.integrations import lightgbm as ours

    repo.save(folder, "other")
    with pytest.raises(FileNotInVersion, match=r"model\.txt"):
        ours.load("other", repo=repo)
