"""Logistic regression: standardization, choice of C, degenerate inputs."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from sensorium import SensoriumError
from sensorium.evaluation.linear import Linear
from tests.core.evaluation.tables_of_records import blobs, table


def test_equals_scikit_learn_on_train_statistics():
    train, test = blobs(120, std=3, seed=1), blobs(90, std=3, seed=2, prefix="t")
    scaler = StandardScaler().fit(train.features["signal"])
    model = LogisticRegression(C=0.1, max_iter=200)
    model.fit(scaler.transform(train.features["signal"]), train.labels["kind"].astype(str))
    wanted = model.score(scaler.transform(test.features["signal"]), test.labels["kind"].astype(str))
    evaluator = Linear(Cs=(0.1,))
    evaluator.fit(train)
    assert evaluator.measure(test)["accuracy"] == pytest.approx(wanted)


def test_groups_are_never_on_both_sides_of_the_choice():
    """Copies of one record in one group tempt the choice to a weak penalty; groups kept whole resist."""
    rng = np.random.default_rng(0)
    x, y = np.repeat(rng.normal(size=(40, 60)), 4, axis=0), np.repeat(rng.integers(0, 2, 40), 4)
    chosen = {"whole": set(), "torn": set()}
    for seed in range(4):
        for name, groups in (("whole", np.repeat(np.arange(40), 4)), ("torn", np.arange(160))):
            evaluator = Linear(Cs=(1e-6, 10.0))
            evaluator.seed = seed
            evaluator.fit(table({"a": x}, {"y": y.tolist()}, groups=[f"g{g}" for g in groups]))
            chosen[name] |= set(evaluator.notes())
    assert chosen["torn"] == {"C = 10"}
    assert "C = 1e-06" in chosen["whole"]


def test_constant_features_do_no_harm():
    train, test = blobs(90, std=0.3), blobs(90, std=0.3, seed=5, prefix="t")
    for part in (train, test):
        part.features["signal"][:, 0] = 7.0
    evaluator = Linear()
    evaluator.fit(train)
    assert evaluator.measure(test)["accuracy"] > 0.95


def test_too_small_to_choose_says_what_to_do():
    tiny = table({"a": np.eye(2)}, {"y": ["p", "q"]})
    with pytest.raises(SensoriumError, match=r"too small to choose C .* Cs=\[1.0\]"):
        Linear().fit(tiny)
    evaluator = Linear(Cs=(1.0,))
    evaluator.fit(tiny)
    assert evaluator.measure(tiny)["accuracy"] == 1.0


def test_notes_when_the_iterations_ran_out():
    evaluator = Linear(Cs=(10.0,), max_iter=1)
    evaluator.fit(blobs(60, std=3))
    assert "logistic regression stopped after 1 iterations" in evaluator.notes()


def test_within_takes_out_what_belongs_to_a_group():
    """Speakers whose features lie elsewhere: what was learned on some holds for another, and nobody else matters."""

    def of(speakers, seed, prefix):
        rng = np.random.default_rng(seed)
        y = rng.integers(0, 2, 60 * len(speakers))
        names = np.repeat(speakers, 60)
        x = rng.normal(size=(len(y), 6)) + np.outer(2 * y, np.eye(6)[0]) + 9 * np.eye(6)[0] * names[:, None]
        return table({"a": x}, {"y": y.tolist(), "speaker": names.tolist()}, prefix=prefix)

    train, test = of([0, 1, -1, 2, -2], 0, "r"), of([5], 1, "t")
    found = {}
    for column in (None, "speaker"):
        evaluator = Linear(label="y", standardize_by=column)
        evaluator.fit(train)
        found[column] = evaluator.measure(test)["accuracy"]
    assert found["speaker"] > 0.75 > 0.65 > found[None]
    assert "features standardized within each speaker" in evaluator.notes()
    for part in (train, test):  # records without a speaker are a group together
        part.labels["speaker"][::3] = None
        part.labels["speaker"][1::3] = float("nan")
    evaluator.fit(train)
    assert 0 <= evaluator.measure(test)["accuracy"] <= 1
    with pytest.raises(SensoriumError, match="no label 'speakr', did you mean 'speaker'"):
        Linear(label="y", standardize_by="speakr").fit(train)


def test_the_metric_chooses_and_stands_first():
    rng = np.random.default_rng(1)
    y = (rng.random(400) < 0.05).astype(int)
    x = rng.normal(size=(400, 30)) + 0.6 * y[:, None]
    train, test = (
        table({"a": x[:300]}, {"y": y[:300].tolist()}),
        table({"a": x[300:]}, {"y": y[300:].tolist()}, prefix="t"),
    )
    chosen = {}
    for metric in ("accuracy", "ROC-AUC"):
        evaluator = Linear(metric=metric)
        evaluator.fit(train)
        assert next(iter(evaluator.measure(test))) == metric
        assert metric in evaluator.selection
        assert evaluator.chance(test)["ROC-AUC"] == 0.5
        chosen[metric] = evaluator.notes()[0]
    assert chosen["accuracy"] == "C = 0.001"  # always the majority class


def test_counts_stand_below_and_few_are_warned_of():
    x = np.random.default_rng(0).normal(size=(60, 3))
    part = table({"a": x}, {"y": ["rare" if i < 4 else "frequent" for i in range(60)]})
    evaluator = Linear(Cs=(1.0,))
    evaluator.fit(part)
    evaluator.measure(part)
    counts, few = evaluator.remarks(evaluator.predictions())
    assert counts == "Measured records: frequent 56, rare 4."
    assert few.startswith("Few: 4 records of 'rare'. The 95 % interval of the last row's accuracy is 0.")
