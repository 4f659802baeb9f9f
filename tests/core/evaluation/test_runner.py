"""Comparisons, and the guard against leaks."""

from __future__ import annotations

import copy

import numpy as np
import pytest

from sensorium import Evaluator, SensoriumError
from sensorium.evaluation.forest import Forest
from sensorium.evaluation.knn import KNN
from sensorium.evaluation.linear import Linear
from sensorium.evaluation.pairs import Pairs
from sensorium.evaluation.retrieval import Retrieval
from sensorium.evaluation.runner import ModelFeatures, check_parts, evaluate_models, spaces
from sensorium.evaluation.svm import SVM
from tests.core.evaluation.tables_of_records import blobs, table


def model(std: float, seed: int = 0, space: str = "features") -> ModelFeatures:
    train, test = blobs(90, std=std, seed=seed), blobs(60, std=std, seed=seed + 50, prefix="t")
    return ModelFeatures({space: (train, test)})


def test_rows_stand_in_order_below_chance():
    rows = {"untrained": [model(1e4)], "trained": [model(0.5, seed) for seed in range(3)]}
    tables = evaluate_models({"knn": KNN, "linear": Linear}, rows)
    assert list(tables) == ["knn", "linear"]
    for result in tables.values():
        assert [row.name for row in result.rows] == ["chance", "untrained", "trained"]
        metrics = {row.name: row.metrics["accuracy"] for row in result.rows}
        assert metrics["trained"].mean > 0.9 > metrics["untrained"].mean
        assert metrics["chance"].mean < 0.5
        assert len(metrics["trained"].scores) == 3
        assert metrics["untrained"].std_over_seeds is None
        assert metrics["trained"].std_over_seeds is not None
    assert "C by accuracy" in tables["linear"].selection
    assert tables["knn"].counts == (90, 60)


def test_cross_validation_reports_both_deviations():
    rows = {"trained": [model(2.0), model(2.0, 1)]}
    result = evaluate_models({"knn": lambda: KNN(protocol={"name": "kfold", "folds": 3, "repeats": 2})}, rows)["knn"]
    metric = result.row("trained").metrics["accuracy"]
    assert np.shape(metric.scores) == (4, 3)  # two models, two repetitions each
    assert metric.std_over_seeds > 0
    assert metric.std_over_folds > 0


def test_repetitions_differ_by_the_seed_alone():
    x = np.random.default_rng(0).normal(size=(60, 3))
    parts = [table({"a": x + i}, {"y": (x[:, 0] + i).tolist()}, prefix=p) for i, p in ((0, "r"), (0.1, "t"))]
    make = {"forest": lambda: Forest(trees=5, protocol={"name": "given", "repeats": 3})}
    rows = {"trained": [ModelFeatures({"features": tuple(parts)})]}
    scores = evaluate_models(make, rows)["forest"].row("trained").metrics["RMSE ↓"].scores
    assert len({tuple(folds) for folds in scores}) == 3
    assert evaluate_models(make, rows)["forest"].public() == evaluate_models(make, rows)["forest"].public()


def test_a_row_without_the_space_is_left_out():
    rows = {"baseline": [model(1.0)], "trained": [model(1.0, space="embedding")]}

    class Embedded(KNN):
        space = "embedding"

    assert [row.name for row in evaluate_models({"knn": Embedded}, rows)["knn"].rows] == ["chance", "trained"]
    assert spaces({"knn": KNN, "other": Embedded}) == {"features": None, "embedding": None}
    with pytest.raises(SensoriumError, match="'knn' measures the space 'embedding', which no row"):
        evaluate_models({"knn": Embedded}, {"baseline": [model(1.0)]})


def test_a_row_that_is_refused_says_why_but_never_the_last():
    x = np.random.default_rng(0).normal(size=(6, 3))

    def pairs_of(width: int) -> ModelFeatures:
        both = table({"a": x, "b": x[:, :width]}, {"score": list(range(6))})
        return ModelFeatures({"features": (both.select(np.arange(0)), both)})

    result = evaluate_models({"pairs": Pairs}, {"baseline": [pairs_of(2)], "trained": [pairs_of(3)]})["pairs"]
    assert result.row("baseline").metrics == {}
    (note,) = result.row("baseline").notes
    assert "not measured: 'a' (width 3) and 'b' (width 2) have no joint embedding space" in note
    with pytest.raises(SensoriumError, match="no joint embedding space"):
        evaluate_models({"pairs": Pairs}, {"baseline": [pairs_of(3)], "trained": [pairs_of(2)]})


def test_prompts_are_prepared_once_for_each_model():
    prepared = []

    class Asking(KNN):
        def prepare(self, embed):
            prepared.append(embed)

    one, two = model(1.0), model(1.0, 1)
    rows = {"trained": [ModelFeatures(one.parts, embed=dict), ModelFeatures(two.parts, embed=list)]}
    evaluate_models({"asking": lambda: Asking(protocol={"name": "kfold", "folds": 2, "repeats": 3})}, rows)
    assert prepared == [dict, list]


# The guard.


def leaky(**changes) -> tuple:
    train, test = blobs(20), blobs(20, prefix="t")
    for name, value in changes.items():
        setattr(test, name, value(train, test))
    return train, test


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"ids": lambda train, test: [train.ids[3], *test.ids[1:]]}, "share 1 record, the first is 'r3'"),
        ({"groups": lambda train, test: train.groups[:2] + test.groups[2:]}, "share 2 groups, the first is 'alone r0'"),
        (
            {"ids": lambda train, test: [test.ids[1], *test.ids[1:]]},
            "contains the record 't1' more than once",
        ),
    ],
)
@pytest.mark.parametrize("make", [KNN, lambda: KNN(protocol={"name": "kfold", "folds": 2})])
def test_parts_that_share_records_are_refused(changes, sentence, make):
    train, test = leaky(**changes)
    with pytest.raises(SensoriumError, match=sentence):
        check_parts(train, test)
    rows = {"trained": [ModelFeatures({"features": (train, test)})]}
    if make is KNN:
        with pytest.raises(SensoriumError, match=sentence):
            evaluate_models({"knn": make}, rows)
    elif "ids" in changes:  # folds over the joined records: groups stay whole, records twice are still refused
        with pytest.raises(SensoriumError, match=r"more than once|share"):
            evaluate_models({"knn": make}, rows)
    else:
        evaluate_models({"knn": make}, rows)


def test_a_group_that_crosses_left_out_values_is_refused():
    labels = {"y": ["p", "q"] * 4, "speaker": list("aabbccdd")}
    torn = table({"a": np.random.default_rng(0).normal(size=(8, 2))}, labels, groups=list("11122233"))
    make = {"knn": lambda: KNN(label="y", protocol={"name": "leave-one-group-out", "by": "speaker"})}
    with pytest.raises(SensoriumError, match="share 1 group"):
        evaluate_models(make, {"trained": [ModelFeatures({"features": (torn, torn.select(np.arange(0)))})]})


def test_an_evaluator_that_asks_for_the_test_part_is_refused():
    class Peeking(KNN):
        def fit(self, train, test):
            super().fit(train.join(test))

    with pytest.raises(SensoriumError, match=r"takes \(train, test\), but it receives the train part alone"):
        evaluate_models({"peeking": Peeking}, {"trained": [model(1.0)]})


def test_no_fold_remembers_another():
    class Hoarding(KNN):
        """Keeps every test part that it sees, in the hope of learning from it at the next fold."""

        seen = None

        def fit(self, train):
            assert self.seen is None
            super().fit(train)

        def measure(self, test):
            self.seen = test
            return super().measure(test)

    evaluate_models({"hoarding": lambda: Hoarding(protocol={"name": "kfold", "folds": 3})}, {"trained": [model(1.0)]})


def test_rows_of_other_records_are_refused():
    other = ModelFeatures({"features": (blobs(90), blobs(60, prefix="u"))})
    with pytest.raises(SensoriumError, match="different records or splits"):
        evaluate_models({"knn": KNN}, {"untrained": [other], "trained": [model(1.0)]})


@pytest.mark.parametrize("make", [KNN, Linear, SVM])
def test_no_choice_or_answer_depends_on_a_test_label(make):
    """Classifiers are fitted, measured on wrong labels, and answer as before."""
    train, test = blobs(60, std=3), blobs(40, std=3, seed=9, prefix="t")
    evaluator: Evaluator = make()
    evaluator.fit(train)
    answers = evaluator.predict(test.features["signal"]).copy()
    lying = copy.deepcopy(test)
    lying.labels["kind"] = lying.labels["kind"][::-1].copy()
    evaluator.measure(lying)
    assert np.array_equal(evaluator.predict(test.features["signal"]), answers)


def test_retrieval_needs_no_train_part():
    x = np.random.default_rng(0).normal(size=(9, 4))
    both = table({"a": x, "b": x})
    rows = {"trained": [ModelFeatures({"embedding": (both.select(np.arange(0)), both)})]}
    assert evaluate_models({"retrieval": Retrieval}, rows)["retrieval"].row("trained").metrics["b->a R@1"].mean == 1.0
