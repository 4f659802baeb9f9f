"""The difference of two rows, with its paired interval."""

import re

import numpy as np
import pytest

from sensorium.evaluation.difference import difference_remarks
from sensorium.evaluation.knn import KNN
from sensorium.evaluation.pairs import Pairs
from sensorium.evaluation.retrieval import Retrieval
from sensorium.evaluation.ridge import Ridge
from sensorium.evaluation.runner import ModelFeatures, evaluate_models
from tests.core.evaluation.tables_of_records import table


def marked(row, model=0, **columns):
    count = len(columns["id"])
    return {
        "row": np.full(count, row, object),
        "model": np.full(count, model),
        "repetition": np.zeros(count),
        **columns,
    }


def predictions(row, right, model=0, first=0):
    """Of two classes, right or wrong record by record."""
    label = np.arange(len(right)) % 2
    ids = np.array([f"r{first + i}" for i in range(len(right))], object)
    return marked(row, model, id=ids, label=label, prediction=np.where(right, label, 1 - label))


def numbers(sentence):
    value, low, high = re.search(r" ([+-][\d.]+).*95 % interval ([+-][\d.]+) to ([+-][\d.]+)", sentence).groups()
    return float(value), float(low), float(high)


def test_what_both_rows_get_wrong_does_not_widen_the_interval():
    rng = np.random.default_rng(0)
    hard = rng.random(400) < 0.4
    before = ~hard
    after = before | (np.arange(400) % 20 == 0)  # only mends
    (sentence,) = difference_remarks(KNN(), predictions("as it came", before), predictions("trained", after))
    value, low, high = numbers(sentence)
    changes = after.astype(int) - before
    assert value == pytest.approx(changes.mean(), abs=5e-4)
    error = 1.96 * changes.std() / 20
    assert (low, high) == pytest.approx((value - error, value + error), abs=0.004)
    assert low > 0
    assert "no difference" not in sentence
    assert sentence.startswith("trained less as it came: accuracy +0.0")
    assert "(paired bootstrap over 400 records)" in sentence
    shuffled = predictions("trained", rng.permutation(after))  # as accurate, on other records
    assert np.ptp(numbers(difference_remarks(KNN(), predictions("as it came", before), shuffled)[0])[1:]) > 3 * error


def test_an_interval_around_zero_shows_no_difference():
    right = np.random.default_rng(1).random((2, 100)) < 0.7
    (sentence,) = difference_remarks(KNN(), predictions("before", right[0]), predictions("after", right[1]), folds=True)
    assert "it includes 0, so these records show no difference." in sentence
    assert "(paired bootstrap over 100 records, of all held-out predictions joined)" in sentence


def test_seeds_are_averaged_and_other_records_are_not_compared():
    rng = np.random.default_rng(2)
    rights = {row: rng.random((2, 60)) < 0.6 for row in ("before", "after")}

    def of(row):
        blocks = [predictions(row, right, model) for model, right in enumerate(rights[row])]
        return {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}

    (sentence,) = difference_remarks(KNN(), of("before"), of("after"))
    assert numbers(sentence)[0] == pytest.approx(rights["after"].mean() - rights["before"].mean(), abs=5e-4)
    assert "over 60 records" in sentence
    right = rights["before"][0]
    assert difference_remarks(KNN(), predictions("before", right), predictions("after", right, first=1)) == []
    assert difference_remarks(KNN(), {}, predictions("after", right)) == []


def test_errors_say_that_less_is_better():
    rng = np.random.default_rng(3)
    ids, label = np.array([f"r{i}" for i in range(50)], object), rng.normal(size=50)
    rows = [marked(row, id=ids, label=label, prediction=label + s) for row, s in (("before", 1.0), ("after", 0.5))]
    (sentence,) = difference_remarks(Ridge(), *rows)
    assert sentence.startswith("after less before: RMSE -0.500 (less is better), 95 % interval -0.500 to -0.500")


def test_tables_of_pairs_and_of_queries_have_the_sentence():
    rng = np.random.default_rng(4)
    x = rng.normal(size=(80, 6))
    noise = {"as it came": 2.0, "trained": 0.3}
    label = {"score": (x[:, 0] > 0).astype(float).tolist()}
    rows = {}
    for name, std in noise.items():
        y = x + std * rng.normal(size=x.shape)
        y[::2] *= np.where(np.array(label["score"][::2]) > 0, 1, -1)[:, None]
        parts = [table({"a": x, "b": y}, label, prefix=prefix) for prefix in ("r", "t")]
        rows[name] = [ModelFeatures({"embedding": tuple(parts), "features": tuple(parts)})]
    tables = evaluate_models({"retrieval": Retrieval, "pairs": Pairs}, rows)
    for name, metric in (("retrieval", "a->b R@1"), ("pairs", "a-b spearman")):
        (sentence,) = [line for line in tables[name].remarks if "less" in line]
        change = [tables[name].row(row).metrics[metric].mean for row in noise]
        assert sentence.startswith(f"trained less as it came: {metric} {change[1] - change[0]:+.3f}, ")
