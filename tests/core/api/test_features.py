"""Features of any origin are measured beside chance and baselines, and no evaluator sees the test part early."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

import sensorium
from sensorium import Evaluator, evaluate_features
from sensorium.errors import DataError, EvaluationError, PluginError, RecipeError
from sensorium.evaluation.knn import KNN


@pytest.fixture(scope="module")
def digits():
    x, y = load_digits(return_X_y=True)
    return x[:200], y[:200], x[200:300], y[200:300]


def metric(table, row, name="accuracy"):
    return next(r for r in table.rows if r.name == row).metrics[name].mean


def test_rows_are_chance_baselines_and_the_features(digits):
    x_train, y_train, x_test, y_test = digits
    noise = np.random.default_rng(0).normal(size=(300, 8))
    tables = evaluate_features(
        torch.tensor(x_train), y_train, x_test, list(y_test), baselines={"noise": (noise[:200], noise[200:])}
    )
    assert list(tables) == ["knn", "linear"]
    assert [row.name for row in tables["knn"].rows] == ["chance", "noise", "features"]
    assert metric(tables["knn"], "features") > 0.85 > 0.3 > metric(tables["knn"], "noise")
    assert tables["knn"].counts == (200, 100)
    assert "| features" in repr(tables) or "features" in repr(tables)


def test_evaluators_are_names_options_and_instances(digits):
    tables = evaluate_features(*digits, evaluators={"one": {"name": "knn", "k": 1}, "own": KNN(k=1)}, name="pixels")
    assert metric(tables["one"], "pixels") == metric(tables["own"], "pixels")
    assert list(evaluate_features(*digits, evaluators=[KNN(k=1)])) == ["knn"]


class Peeking(Evaluator):
    def fit(self, train, test):
        pass

    def measure(self, test):
        return {"accuracy": 1.0}

    def chance(self, test):
        return {}


def test_an_evaluator_that_asks_for_the_test_part_is_refused(digits):
    with pytest.raises(EvaluationError, match="use the test part in 'measure'"):
        evaluate_features(*digits, evaluators=[Peeking()])


def test_no_group_is_in_both_parts(digits):
    groups = [f"p{i % 50}" for i in range(200)], [f"q{i % 20}" for i in range(100)]
    assert metric(evaluate_features(*digits, evaluators=["knn"], groups=groups)["knn"], "features") > 0.85
    with pytest.raises(EvaluationError, match="share 1 group, the first is 'p3'"):
        evaluate_features(*digits, evaluators=["knn"], groups=(groups[0], ["p3", *groups[1][1:]]))


def test_labels_by_name_and_features_by_modality(digits):
    x_train, y_train, x_test, y_test = digits
    both = {"digit": y_train, "even": y_train % 2 == 0}, {"digit": y_test, "even": y_test % 2 == 0}
    tables = evaluate_features(
        x_train,
        both[0],
        x_test,
        both[1],
        evaluators={"knn": {"label": "digit"}, "parity": {"name": "knn", "label": "even"}},
    )
    assert metric(tables["parity"], "features") > 0.9
    pairs = [{"a": x, "b": x[:, ::-1].copy()} for x in (x_train, x_test)]
    (table,) = evaluate_features(pairs[0], None, pairs[1], None, evaluators=["retrieval"]).values()
    assert "a->b R@1" in table.rows[-1].metrics


def test_errors_say_what_is_wrong_with_the_arrays(digits):
    x_train, y_train, x_test, y_test = digits
    with pytest.raises(DataError, match="train features of 'features' have 200 rows, but its labels 'label' have 199"):
        evaluate_features(x_train, y_train[1:], x_test, y_test)
    with pytest.raises(DataError, match=r"have the shape \(200, 8, 8\): give \(N, D\)"):
        evaluate_features(x_train.reshape(200, 8, 8), y_train, x_test, y_test)
    broken = x_test.copy()
    broken[7, 0] = np.nan
    with pytest.raises(DataError, match="The test features of 'features' are not finite: row 7 is the first"):
        evaluate_features(x_train, y_train, broken, y_test)
    with pytest.raises(DataError, match="The row 'raw' is a pair"):
        evaluate_features(*digits, baselines={"raw": x_train})
    with pytest.raises(PluginError, match="no evaluator named 'kn', did you mean 'knn'"):
        evaluate_features(*digits, evaluators=["kn"])
    with pytest.raises(RecipeError, match="'knn' has no option 'neighbors'"):
        evaluate_features(*digits, evaluators={"knn": {"neighbors": 3}})
    assert sensorium.evaluate_features is evaluate_features


def test_features_are_of_any_dtype_and_one_evaluator_needs_no_list(digits):
    x_train, y_train, x_test, y_test = digits
    (table,) = evaluate_features(*digits, evaluators="knn").values()
    (own,) = evaluate_features(*digits, evaluators=KNN()).values()
    assert metric(own, "features") == metric(table, "features")
    half = [torch.tensor(x).bfloat16() for x in (x_train, x_test)]  # 0 to 16, exact in bf16
    labels = torch.tensor(y_train), [torch.tensor(y) for y in y_test]
    (same,) = evaluate_features(half[0], labels[0], list(half[1]), labels[1], evaluators=["knn"]).values()
    assert metric(same, "features") == metric(table, "features")


def test_arrays_of_unequal_parts_and_labels_of_another_form_are_refused_in_a_sentence(digits):
    x_train, y_train, x_test, y_test = digits
    with pytest.raises(DataError, match="'features' have the width 64, but the test features 32: give those of one"):
        evaluate_features(x_train, y_train, x_test[:, :32], y_test)
    with pytest.raises(DataError, match="train features of 'features' are of a, b, the test features of a"):
        evaluate_features({"a": x_train, "b": x_train}, None, {"a": x_test}, None, evaluators=["retrieval"])
    with pytest.raises(DataError, match=r"\(0, 64\): there is nothing to measure without rows and columns"):
        evaluate_features(x_train, y_train, x_test[:0], y_test[:0])
    with pytest.raises(DataError, match="The train features of 'features' are no numbers in rows of one width"):
        evaluate_features([[1.0, 2.0], [1.0]], y_train[:2], x_test, y_test)
    with pytest.raises(DataError, match=r"The labels 'label' have 10 values for a record: give \(N,\).*argmax\(1\)"):
        evaluate_features(x_train, np.eye(10)[y_train], x_test, np.eye(10)[y_test])
    with pytest.raises(DataError, match=r"The labels 'label' are 3: give \(N,\)"):
        evaluate_features(x_train, 3, x_test, y_test)


def test_continuous_labels_are_no_classes(digits):
    x_train, _, x_test, _ = digits
    ages = x_train.mean(1) / 7, x_test.mean(1) / 7
    for evaluator in ("knn", "linear"):
        with pytest.raises(EvaluationError, match=r"'label' is continuous: the 200 train .* by a regressor.*'ridge'"):
            evaluate_features(x_train, ages[0], x_test, ages[1], evaluators=evaluator)
    assert metric(evaluate_features(x_train, ages[0], x_test, ages[1], evaluators="ridge")["ridge"], "features", "R2")
    grades = [np.round(age * 7) / 2 for age in ages]
    assert "knn" in evaluate_features(x_train, grades[0], x_test, grades[1], evaluators="knn")


def test_tokens_and_layers_are_arrays_of_three_axes():
    rng = np.random.default_rng(0)
    y = np.arange(60) % 2
    x = rng.normal(size=(60, 3, 4)).astype(np.float32)
    x[:, 1] += 4 * y[:, None]
    made = sensorium.evaluate_features(x[:40], y[:40], x[40:], y[40:], evaluators={"layers": {"Cs": [0.1]}})
    assert made["layers"].row("features").metrics["accuracy"].mean > 0.9
    assert "layer 2 (" in next(iter(made["layers"].row("features").notes))
    x[::3, 2] = np.nan
    attentive = {"attentive": {"lrs": [0.01], "weight_decays": [0.1], "epochs": 1}}
    made = sensorium.evaluate_features(x[:40], y[:40], x[40:], y[40:], evaluators=attentive)
    assert made["attentive"].row("features").metrics["accuracy"].mean > 0.9
    x[50, 0, 1] = np.nan
    with pytest.raises(DataError, match="are not finite: row 10 is the first"):
        sensorium.evaluate_features(x[:40], y[:40], x[40:], y[40:], evaluators=attentive)
