"""What stands in y: missing labels, too few of them, numbers among words, and weights of classes."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import accuracy_score, r2_score
from sklearn.model_selection import KFold, cross_val_score

from sensorium.sklearn import SSLClassifier, SSLRegressor
from sensorium.sklearn.labels import read_labels
from tests.core.sklearn.tiny import TINY, series

X, Y = series()
CODES = np.where(Y == "up", 1.0, 0.0)


@pytest.fixture
def no_pretraining(monkeypatch):
    """Fail a test that comes as far as the pretraining."""

    def called(*_):
        pytest.fail("the pretraining was started")

    monkeypatch.setattr("sensorium.sklearn.supervised.pretrain", called)


@pytest.mark.parametrize(
    "y", [np.where(np.arange(40) % 4, CODES, np.nan), np.where(np.arange(40) % 4, Y, None)], ids=["nan", "None"]
)
def test_cross_validation_with_missing_labels(y):
    model = SSLClassifier(overrides=TINY, random_state=0, device="cpu")
    scores = cross_val_score(model, X, y, cv=KFold(2, shuffle=True, random_state=0), error_score="raise")
    assert scores.shape == (2,)
    assert np.isfinite(scores).all()


def test_scikit_learn_itself_refuses_to_stratify_by_missing_labels():
    """Which is why the documentation says that `cv` must be a `KFold` object."""
    with pytest.raises(ValueError, match="contains NaN"):
        cross_val_score(SSLClassifier(overrides=TINY), X, np.where(np.arange(40) % 4, CODES, np.nan), cv=2)


def test_a_score_is_of_the_records_with_a_label():
    model = SSLClassifier(overrides=TINY, random_state=0, device="cpu").fit(X, Y)
    few, weights = np.where(np.arange(40) < 30, Y, None), np.arange(1, 41)
    assert model.score(X, few) == accuracy_score(Y[:30], model.predict(X[:30]))
    weighted = accuracy_score(Y[:30], model.predict(X[:30]), sample_weight=weights[:30])
    assert model.score(X, few, sample_weight=weights) == pytest.approx(weighted)
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        model.score(X, Y[:30])
    with pytest.raises(ValueError, match="y has no label"):
        model.score(X, [None] * 40)


def test_a_score_of_numbers_is_of_those_that_there_are():
    y = X[:, -1] - X[:, 0]
    model = SSLRegressor(overrides=TINY, random_state=0, device="cpu").fit(X, y)
    few = np.where(np.arange(40) < 30, y, np.nan)
    assert model.score(X, few) == pytest.approx(r2_score(y[:30], model.predict(X[:30])), abs=1e-5)


@pytest.mark.parametrize(
    "y",
    [
        [1, "x"] * 20,
        [1, "x", None, 2] * 10,
        np.array([1, "x"] * 20, object),
        pd.Series([1, "x"] * 20),
        pd.Series([1.5, "x", None, pd.NA] * 10),
    ],
    ids=["list", "list with None", "array", "series", "series with missing ones"],
)
@pytest.mark.parametrize("cls", [SSLClassifier, SSLRegressor])
def test_numbers_among_words(no_pretraining, cls, y):
    with pytest.raises(ValueError, match="y mixes numbers and words: write every class as a word, or as a number"):
        cls(overrides=TINY).fit(X, y)


@pytest.mark.parametrize("missing", [None, np.nan, pd.NA])
def test_missing_labels_of_lists_and_series(missing):
    for given in (["a", missing, "b"], pd.Series(["a", missing, "b"]), np.array(["a", missing, "b"], object)):
        y_N, known_N = read_labels(given)
        assert known_N.tolist() == [True, False, True]
        assert y_N[known_N].tolist() == ["a", "b"]
    y_N, known_N = read_labels([1, missing, 2])
    assert known_N.tolist() == [True, False, True]
    assert y_N[known_N].tolist() == [1, 2]


def test_too_few_labels_are_told_before_the_pretraining(no_pretraining):
    few = [*Y[:4], *[None] * 36]
    with pytest.raises(ValueError, match="There are 4 records with a value and a label, too few for 5 folds"):
        SSLClassifier(overrides=TINY).fit(X, few)
    with pytest.raises(ValueError, match="There are 2 records with a value and a label"):
        SSLRegressor(overrides=TINY).fit(X, [1.0, 2.0, *[None] * 38])


def test_few_labels_and_a_val_part_are_not_refused_before_the_pretraining(monkeypatch):
    def called(*_):
        raise ValueError("pretrained")

    monkeypatch.setattr("sensorium.sklearn.supervised.pretrain", called)
    with pytest.raises(ValueError, match="pretrained"):
        SSLClassifier(overrides=[*TINY, "data.val=0.5"]).fit(X, ["up", "down", "up", *[None] * 37])


def test_weights_of_what_is_no_class(no_pretraining):
    with pytest.raises(ValueError, match="the class 'left', which y does not have: it has 'down', 'up'"):
        SSLClassifier(overrides=TINY, class_weight={"up": 2, "left": 3}).fit(X, Y)


def test_a_constant_number(no_pretraining):
    with pytest.raises(ValueError, match=r"y has one value, 3\.0: there is nothing to learn"):
        SSLRegressor(overrides=TINY).fit(X, [3, None] * 20)
