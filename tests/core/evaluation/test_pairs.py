"""Rank correlation of cosines with a label."""

from __future__ import annotations

import numpy as np
import pytest

from sensorium import SensoriumError
from sensorium.evaluation.pairs import Pairs
from tests.core.evaluation.tables_of_records import table


def ranks(values):
    """Mean ranks among ties, by loops."""
    return np.array([(sum(o < v for o in values) + sum(o <= v for o in values) + 1) / 2 for v in values])


def test_equals_the_correlation_of_ranks():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 60, 3))
    label = rng.integers(0, 6, 60).tolist()
    cosine = (x * y).sum(1) / np.linalg.norm(x, axis=1) / np.linalg.norm(y, axis=1)
    wanted = np.corrcoef(ranks(cosine.tolist()), ranks(label))[0, 1]
    assert Pairs().measure(table({"a": x, "b": y}, {"score": label}))["a-b spearman"] == pytest.approx(wanted, abs=1e-4)


def test_planted_similarity_and_what_is_left_out():
    angle = np.linspace(0, 1.5, 9)
    x, y = np.tile([1.0, 0], (9, 1)), np.stack([np.cos(angle), np.sin(angle)], 1)
    score = [None, *np.arange(8, 0, -1).tolist()]
    records = table({"a": x, "b": y}, {"score": score}, present={"b": np.arange(9) != 3})
    evaluator = Pairs()
    assert evaluator.measure(records) == {"a-b spearman": pytest.approx(1.0)}
    assert evaluator.notes() == ["2 records without label or one of the sides excluded"]
    assert evaluator.chance(records) == {"a-b spearman": 0.0}


def test_a_collapsed_encoder_ranks_nothing():
    assert (
        Pairs().measure(table({"a": np.ones((4, 2)), "b": np.ones((4, 2))}, {"s": [1, 2, 3, 4]}))["a-b spearman"] == 0
    )


def test_refuses_words_and_single_pairs():
    x = np.eye(2)
    with pytest.raises(SensoriumError, match="'good', which is not a number"):
        Pairs().measure(table({"a": x, "b": x}, {"s": ["good", "bad"]}))
    with pytest.raises(SensoriumError, match="1 record with"):
        Pairs().measure(table({"a": x, "b": x}, {"s": [1, None]}))
