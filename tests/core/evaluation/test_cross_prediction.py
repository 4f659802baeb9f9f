"""Prediction of one modality from others, beside chance and the nearest train record."""

import math

import numpy as np
import pytest

from sensorium.errors import SensoriumError
from sensorium.evaluation.cross_prediction import CrossPrediction
from sensorium.evaluation.directions import Direction, directions
from sensorium.feature_table import FeatureTable

CLASSES, TOKENS = 5, 3


def table(records=6, part="test", predicts=True, seed=0):
    """Waves, numbers of two tokens, and words, class ids of one to three tokens; a wave is known by its words."""
    rng = np.random.default_rng([seed, part == "test"])
    waves = rng.standard_normal((records, 2, 4)).astype(np.float32)
    lengths = 1 + np.arange(records) % TOKENS
    ids = rng.integers(0, CLASSES, (records, TOKENS, 1)).astype(np.float32)
    ids[np.arange(TOKENS) >= lengths[:, None]] = np.nan
    features = {"waves": waves[:, 0], "words": waves[:, 1], "waves target": waves, "words target": ids}
    if predicts:
        logits = rng.standard_normal((records, TOKENS, CLASSES))
        logs = (logits - np.log(np.exp(logits).sum(-1, keepdims=True))).astype(np.float32)
        logs[np.isnan(ids[..., 0])] = np.nan
        features |= {"words->waves": (waves + 0.1).astype(np.float16), "waves->words": logs}
    present = {name: np.ones(records, bool) for name in features}
    names = [f"{part} {at}" for at in range(records)]
    return FeatureTable(names, features, present, {}, list(names))


def measured(test, train=None, **options):
    evaluator = CrossPrediction(**options)
    evaluator.fit(train or table(12, "train", predicts=False))
    return evaluator, evaluator.measure(test)


def test_numbers_are_measured_by_the_explained_part_of_their_variance():
    train, test = table(12, "train", predicts=False), table()
    _, found = measured(test, train)
    y, guess = test.features["waves target"], test.features["words->waves"].astype(np.float64)
    mean = train.features["waves target"].astype(np.float64).mean(0)
    assert found["words->waves R2"] == pytest.approx(1 - ((y - guess) ** 2).sum() / ((y - mean) ** 2).sum(), rel=1e-4)
    assert found["words->waves top-1"] == 1
    assert "words->waves accuracy" not in found


def test_class_ids_are_measured_token_by_token():
    test = table()
    _, found = measured(test)
    ids, logs = test.features["words target"][..., 0], test.features["waves->words"]
    nats, hits, count = 0.0, 0, 0
    for row in range(len(ids)):
        for place in range(TOKENS):
            if not math.isnan(ids[row, place]):
                nats, count = nats - float(logs[row, place, int(ids[row, place])]), count + 1
                hits += int(np.argmax(logs[row, place]) == ids[row, place])
    assert found["waves->words accuracy"] == pytest.approx(hits / count)
    assert found["waves->words perplexity ↓"] == pytest.approx(math.exp(nats / count), rel=1e-5)


def test_identification_is_among_records_of_as_many_tokens():
    """Two of each length: a prediction that is certain of its own words is right, one of the other's words wrong."""
    test = table(6)
    test.features["words target"] = np.full((6, TOKENS, 1), np.nan, np.float32)
    for row in range(6):
        test.features["words target"][row, : 1 + row % 3] = float(row >= 3)
    logs = np.full((6, TOKENS, CLASSES), np.log(0.02), np.float32)
    for row in range(6):
        right = float(row >= 3)
        logs[row, :, int(right if row != 0 else 1 - right)] = np.log(0.92)
    test.features["waves->words"] = logs
    evaluator, found = measured(test)
    assert found["waves->words top-1"] == pytest.approx(5 / 6)
    assert evaluator.chance(test)["waves->words top-1"] == pytest.approx(1 / 2)


def test_equal_targets_share_the_hit_and_a_record_alone_of_its_length_does_not_count():
    test = table(6)
    test.features["waves target"][1] = test.features["waves target"][0]
    test.features["words->waves"][1] = test.features["words->waves"][0]
    _, found = measured(test)
    assert found["words->waves top-1"] == pytest.approx((4 + 2 / 2) / 6)
    alone = table(4)  # 1, 2, 3 and 1 tokens
    evaluator, found = measured(alone)
    assert np.isnan(evaluator.predictions()["top-1"]).sum() == 2
    assert evaluator.notes() == ["waves->words top-1: 2 records with no other of as many tokens excluded"]


def test_chance_is_the_mean_and_the_most_frequent_class_of_the_train_part():
    train, test = table(12, "train", predicts=False), table()
    train.features["words target"][:, 0] = 2.0
    train.features["words target"][:3, 0] = 1.0
    evaluator, _ = measured(test, train)
    found = evaluator.chance(test)
    first = test.features["words target"][..., 0]
    assert found["words->waves R2"] == pytest.approx(0, abs=1e-6)
    assert found["waves->words R2"] == pytest.approx(0, abs=1e-6)
    assert found["words->waves top-1"] == pytest.approx(1 / 6)
    assert found["waves->words accuracy"] >= (first[:, 0] == 2).sum() / (~np.isnan(first)).sum() - 1e-9
    assert 1 < found["waves->words perplexity ↓"] < 20


def test_the_nearest_train_record_is_found_by_the_sources():
    train, test = table(12, "train", predicts=False), table()
    for row, near in enumerate([7, 3, 11, 0, 5, 2]):
        test.features["words"][row] = 3 * train.features["words"][near]
        test.features["waves target"][row] = train.features["waves target"][near]
    evaluator, _ = measured(test, train)
    rows = evaluator.references(test)
    assert list(rows) == ["nearest neighbor, features"]
    assert rows["nearest neighbor, features"]["words->waves R2"] == pytest.approx(1)
    assert rows["nearest neighbor, features"]["words->waves top-1"] == 1
    assert "waves->words perplexity ↓" not in rows["nearest neighbor, features"]
    for part in (train, test):
        for name in ("words", "waves"):
            part.features[f"{name} baseline"] = part.features[name] if name == "words" else part.features[name] * 0 + 1
            part.present[f"{name} baseline"] = part.present[name]
    assert list(evaluator.references(test)) == ["nearest neighbor, baseline features", "nearest neighbor, features"]


def test_a_neighbor_has_the_target_and_a_source():
    train, test = table(12, "train", predicts=False), table()
    train.present["waves target"][7] = False
    train.present["words"][3] = False
    train.features["words"][3] = np.nan
    for row, near in enumerate([7, 3, 11, 0, 5, 2]):
        test.features["words"][row] = train.features["words"][near] if near != 3 else 1
        test.features["waves target"][row] = train.features["waves target"][near]
    found = measured(test, train)[0].references(test)["nearest neighbor, features"]
    assert found["words->waves R2"] < 1
    assert found["words->waves top-1"] < 1


def test_records_that_lack_the_target_are_left_out():
    test, less = table(), table()
    for name in ("words->waves", "waves target"):
        less.present[name][4:] = False
        less.features[name][4:] = np.nan
    evaluator, found = measured(less)
    rows = evaluator.predictions()
    assert (rows["direction"] == "words->waves").sum() == 4
    assert evaluator.chance(less)["words->waves top-1"] == pytest.approx(1 / 4)
    assert found["waves->words accuracy"] == measured(test)[1]["waves->words accuracy"]


def test_texts_may_be_longer_than_those_of_the_train_part():
    train, test = table(12, "train", predicts=False), table()
    train.features["words target"] = train.features["words target"][:, :2]
    evaluator, found = measured(test, train)
    assert all(np.isfinite(list(found.values())))
    assert all(np.isfinite(list(evaluator.chance(test).values())))
    assert all(np.isfinite(list(evaluator.references(test)["nearest neighbor, features"].values())))


def test_what_there_is_to_measure_is_asked_for():
    assert [str(one) for one in directions(("a", "b"))] == ["b->a", "a->b"]
    of_three = [str(one) for one in directions(("a", "b", "c"))]
    assert of_three == ["b+c->a", "a+c->b", "a+b->c", "a->b", "a->c", "b->a", "b->c", "c->a", "c->b"]
    assert directions(("a",)) == []
    assert str(Direction(("x", "y"), "z")) == "x+y->z"
    assert {name.partition(" ")[0] for name in measured(table(), target="words")[1]} == {"waves->words"}
    assert measured(table(), sources="each")[1] == measured(table())[1]
    with pytest.raises(SensoriumError, match="'word'"):
        measured(table(), target="word")
    with pytest.raises(SensoriumError, match="No record of the test part"):
        measured(table(predicts=False))


def test_metrics_of_any_records_are_told():
    evaluator, found = measured(table())
    rows = evaluator.predictions()
    assert evaluator.metrics_of(rows) == found
    half = {name: column[rows["direction"] == "words->waves"][:3] for name, column in rows.items()}
    assert set(evaluator.metrics_of(half)) == {"words->waves R2", "words->waves top-1"}
