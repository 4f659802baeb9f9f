"""Probes of layers: which one is chosen, by what, and that it is never by the test part."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from sensorium import SensoriumError
from sensorium.evaluation.layers import Layers
from sensorium.evaluation.runner import ModelFeatures, evaluate_models
from sensorium.feature_table import FeatureTable, Layer

LAYERS = tuple(Layer(number, is_normed) for number in (1, 2, 3) for is_normed in (False, True))


def table(count, prefix, informative=2, seed=0, scale=1.0, numbers=False, width=6):
    """Three layers, raw and normed, of which one, normed, tells the class (or the number) of a record."""
    rng = np.random.default_rng((seed, count))
    y = rng.permutation(np.arange(count) % 3)
    x_NLD = rng.normal(size=(count, 6, width)).astype(np.float32)
    x_NLD[:, 2 * informative - 1] += 3 * np.eye(width, dtype=np.float32)[y]
    x_NLD[:, 4:] *= scale
    labels = np.empty(count, object)
    labels[:] = (y + 0.5).tolist() if numbers else [f"c{one}" for one in y]
    ids = [f"{prefix}{n}" for n in range(count)]
    return FeatureTable(ids, {"a": x_NLD}, {"a": np.ones(count, bool)}, {"y": labels}, ids, layers={"a": LAYERS})


def quick(**options):
    """An evaluator with one strength, which the choice of a layer does not depend on here."""
    return Layers(Cs=(0.1,), alphas=(10.0,), **options)


def fitted(train, val=None, **options):
    evaluator = quick(**options)
    evaluator.val = val
    evaluator.fit(train)
    return evaluator


@pytest.mark.parametrize("numbers", [False, True])
def test_the_layer_that_tells_is_chosen_and_measured(numbers):
    evaluator = fitted(table(120, "r", numbers=numbers))
    metrics = evaluator.measure(table(90, "t", numbers=numbers))
    assert metrics["R2" if numbers else "accuracy"] > (0.6 if numbers else 0.85)
    figure = "R2" if numbers else "accuracy"
    (note,) = evaluator.notes()
    assert note.startswith(f"layer 2, final norm ({figure} 0.")
    assert "on 5 of 5 folds" in note
    by_layer = evaluator.metrics_by_class(evaluator.predictions())
    assert list(by_layer) == ["1", "2", "3", "mean of all"]
    assert list(by_layer["1"]) == [f"val {figure}", f"val {figure}, final norm"]
    best = max((value, row, column) for row, of in by_layer.items() for column, value in of.items())
    assert best[1:] == ("2", f"val {figure}, final norm")
    assert evaluator.plot(evaluator.predictions()).size[0] > 100


def test_a_layer_does_not_win_by_its_scale():
    evaluator = fitted(table(120, "r", scale=1e4))
    assert "layer 2, final norm" in evaluator.notes()[0]


def test_the_mean_over_layers_is_a_candidate():
    """Layers 1 and 3 tell the class behind a noise of opposite signs."""
    train, test = table(120, "r", informative=3), table(90, "t", informative=3)
    for part in (train, test):
        x_NLD = part.features["a"]
        noise = 9 * x_NLD[:, 0]
        x_NLD[:, 1], x_NLD[:, 5], x_NLD[:, 3] = x_NLD[:, 5] + noise, x_NLD[:, 5] - noise, 0.0
    evaluator = fitted(train)
    assert "mean of all layers, final norm" in evaluator.notes()[0]
    assert evaluator.measure(test)["accuracy"] > 0.8


def test_layers_of_other_widths_are_probed_as_wide_as_they_are_and_have_no_mean():
    train, test = table(120, "r"), table(90, "t")
    for part in (train, test):
        part.features["a"][:, 5, 2:] = np.nan
    evaluator = fitted(train)
    assert evaluator.measure(test)["accuracy"] > 0.85
    assert list(evaluator.metrics_by_class({})["mean of all"]) == ["val accuracy"]


def test_what_val_tells_is_chosen_though_the_train_part_would_choose_otherwise():
    """Layer 1 tells of the train part alone, as of what a model has learned by heart."""
    train, val, test = table(150, "r"), table(90, "v"), table(90, "t")
    codes = np.array([int(value[1]) for value in train.labels["y"]])
    train.features["a"][:, 0] += 20 * np.eye(6, dtype=np.float32)[codes]
    assert "layer 1 (" in fitted(train).notes()[0]
    evaluator = fitted(train, val)
    assert "layer 2, final norm (accuracy" in evaluator.notes()[0]
    assert "on 90 records of val" in evaluator.notes()[0]
    assert evaluator.measure(test)["accuracy"] > 0.8


def test_val_records_without_a_label_or_of_unknown_classes_choose_nothing():
    train, val = table(60, "r"), table(30, "v")
    assert "of 5 folds" in fitted(train, replace(val, labels={})).notes()[0]
    val.labels["y"][:] = "unknown"
    assert "of 5 folds" in fitted(train, val).notes()[0]


def test_the_choice_never_sees_the_test_part():
    train, val, test = table(120, "r"), table(60, "v"), table(90, "t")
    other = table(90, "t", informative=3, seed=7)
    rows = {"layers": (train, test)}, {"layers": (train, other)}
    notes = []
    for parts in rows:
        made = evaluate_models({"layers": quick}, {"trained": [ModelFeatures(parts, val={"layers": val})]})["layers"]
        notes.append([note for note in made.row("trained").notes if note.startswith("layer")])
        assert made.breakdown().splitlines()[1] == "### trained, by layer"
    assert notes[0] == notes[1]
    assert "records of val" in notes[0][0]


def test_val_is_not_used_by_folds_and_must_not_overlap():
    train, val, test = table(60, "r"), table(60, "v"), table(60, "t")
    model = ModelFeatures({"layers": (train, test)}, val={"layers": val})
    folds = evaluate_models(
        {"layers": lambda: quick(protocol={"name": "kfold", "folds": 2, "repeats": 1})}, {"m": [model]}
    )
    assert all("of 5 folds" in note for note in folds["layers"].row("m").notes)
    leaking = ModelFeatures({"layers": (train, test)}, val={"layers": test})
    with pytest.raises(SensoriumError, match="the val and the test part share 60 records"):
        evaluate_models({"layers": quick}, {"m": [leaking]})


def test_no_layers_and_too_few_records_say_what_to_do():
    empty = replace(table(9, "r"), features={}, present={})
    with pytest.raises(SensoriumError, match=r"No encoder here tells its layers: .* 'linear'"):
        Layers().fit(empty)
    with pytest.raises(SensoriumError, match=r"train part \(3 records\) is too small to choose a layer"):
        Layers().fit(table(3, "r"))


def test_more_records_than_max_records_are_sampled_alike_in_all_rows():
    train, test = table(120, "r"), table(90, "t")
    models = {name: [ModelFeatures({"layers": (train, test)})] for name in ("untrained", "trained")}
    made = evaluate_models({"layers": lambda: quick(max_records=100)}, models)["layers"]
    assert "Sampled: 100 of 120 train and all 90 test records, chosen by id." in made.remarks
    assert made.counts == (100, 90)
