"""Distances of features before and after, and the table of what was forgotten."""

import numpy as np
import pytest

from sensorium.evaluation.drift import SetDrift, distances, forgetting_table
from sensorium.evaluation.knn import KNN
from sensorium.evaluation.ridge import Ridge
from sensorium.evaluation.runner import ModelFeatures, evaluate_models
from tests.core.evaluation.tables_of_records import blobs, table

X = np.random.default_rng(0).normal(size=(200, 6)) + 1
TURN = np.linalg.qr(np.random.default_rng(1).normal(size=(6, 6)))[0]


def found(after, before=X, **options):
    return distances(table({"a": before}, **options), table({"a": after}, **options), "cpu")


def test_unchanged_features_have_no_distance():
    same = found(3 * X)
    assert same["a cosine distance"] == pytest.approx(0, abs=1e-6)
    assert same["a CKA"] == pytest.approx(1, abs=1e-6)
    assert same["a RankMe before"] == pytest.approx(same["a RankMe after"])


def test_a_rotation_moves_features_and_says_the_same_of_records():
    turned = found(X @ TURN)
    cosine = [x @ (x @ TURN) / (x @ x) for x in X]
    assert turned["a cosine distance"] == pytest.approx(1 - np.mean(cosine), abs=1e-5)
    assert turned["a cosine distance"] > 0.1
    assert turned["a CKA"] == pytest.approx(1, abs=1e-5)


def test_other_and_collapsed_features_are_told_apart():
    other = found(np.random.default_rng(2).normal(size=(200, 6)))
    assert abs(other["a CKA"]) < 0.05
    collapsed = found(np.ones_like(X) + 1e-3 * X)
    assert collapsed["a std after"] < 0.01 < 0.5 < collapsed["a std before"]
    assert collapsed["a RankMe after"] < 1.1 < collapsed["a RankMe before"]
    assert "a CKA" not in found(np.ones_like(X))  # of equal rows there is none


def test_absent_values_do_not_count():
    present = {"a": np.arange(200) < 100}
    assert found(X, present=present) == pytest.approx(found(X[:100], X[:100]))
    assert found(X, present={"a": np.arange(200) < 3}) == {}


def measured(before, after, evaluators):
    return evaluate_models(evaluators, {"as it came": [before], "trained": [after]})


def test_what_became_worse_is_positive():
    good, bad = (
        ModelFeatures({"features": (blobs(90, std=std), blobs(60, std=std, seed=50, prefix="t"))}) for std in (0.3, 9.0)
    )
    own = SetDrift("test part", (90, 60), "ab", [{"signal CKA": 0.5}], measured(bad, good, {"knn": KNN}))
    other = SetDrift("reference", (90, 60), "cd", [], measured(good, bad, {"reference/knn": KNN}))
    found = forgetting_table([own, other], {"signal": [0.01, 0.03]})
    drops = {row.name: row.metrics["knn accuracy drop"].mean for row in found.rows}
    assert drops["test part"] == pytest.approx(-drops["reference"])
    assert drops["reference"] > 0.3
    assert found.rows[0].metrics["signal CKA"].mean == 0.5
    assert "Weights of 'signal' moved by 2 % of their norm." in found.footnotes()
    assert "reference: split cd (90 train, 60 test)." in found.footnotes()


def test_errors_rise():
    rng = np.random.default_rng(5)
    x = rng.normal(size=(120, 3))
    parts = {
        std: ModelFeatures(
            {
                "features": tuple(
                    table({"a": x + std * rng.normal(size=x.shape)}, {"y": x[:, 0].tolist()}, prefix=p)
                    for p in ("r", "t")
                )
            }
        )
        for std in (0.1, 2.0)
    }
    drift = SetDrift("reference", (120, 120), "ab", [], measured(parts[0.1], parts[2.0], {"reference/ridge": Ridge}))
    metrics = drift.row().metrics
    assert metrics["ridge RMSE rise"].mean > 0.3
    assert metrics["ridge R2 drop"].mean > 0.3
