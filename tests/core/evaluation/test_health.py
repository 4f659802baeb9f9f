"""Effective rank, std, alignment and uniformity against their definitions."""

from __future__ import annotations

import numpy as np
import pytest

from sensorium import SensoriumError
from sensorium.evaluation.health import Health
from sensorium.neighbors import similarity
from tests.core.evaluation.tables_of_records import table


def test_equals_the_definitions(monkeypatch):
    monkeypatch.setattr(similarity, "MAX_SIMILARITIES", 90)
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 40, 6))
    metrics = Health().measure(table({"a": x, "b": y}))
    share = np.linalg.svd(x, compute_uv=False)
    share /= share.sum()
    unit_x, unit_y = (v / np.linalg.norm(v, axis=1, keepdims=True) for v in (x, y))
    potentials = [
        np.exp(-2 * np.sum((p - q) ** 2)) for i, p in enumerate(unit_x) for j, q in enumerate(unit_x) if i != j
    ]
    assert metrics["a RankMe"] == pytest.approx(np.exp(-np.sum(share * np.log(share))), rel=1e-4)
    assert metrics["a std"] == pytest.approx(unit_x.std(0).mean() * 6**0.5, rel=1e-4)
    assert metrics["a uniformity ↓"] == pytest.approx(np.log(np.mean(potentials)), rel=1e-4)
    assert metrics["a-b alignment ↓"] == pytest.approx(np.mean(np.sum((unit_x - unit_y) ** 2, 1)), rel=1e-4)


def test_collapse_is_seen():
    x = np.ones((50, 8))
    metrics = Health().measure(table({"a": x}))
    assert metrics["a RankMe"] == pytest.approx(1, abs=1e-3)
    assert metrics["a std"] == pytest.approx(0, abs=1e-6)
    assert metrics["a uniformity ↓"] == pytest.approx(0, abs=1e-5)


def test_absent_values_and_other_widths():
    x = np.random.default_rng(0).normal(size=(10, 4))
    present = {"b": np.arange(10) < 1}
    metrics = Health().measure(table({"a": x, "b": x, "c": x[:, :2]}, present=present))
    assert "b RankMe" not in metrics
    assert metrics["a-b alignment ↓"] == pytest.approx(0, abs=1e-6)
    assert "a-c alignment ↓" not in metrics
    with pytest.raises(SensoriumError, match="two test records"):
        Health().measure(table({"a": x[:1]}))


def test_a_sample_estimates_uniformity():
    records = table({"a": np.random.default_rng(0).normal(size=(900, 4))})
    whole, part = Health().measure(records), Health(max_records=400).measure(records)
    assert part["a uniformity ↓"] == pytest.approx(whole["a uniformity ↓"], abs=0.1)
    assert part == Health(max_records=400).measure(records)
