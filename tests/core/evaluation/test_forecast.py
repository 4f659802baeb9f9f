"""Forecasting: metrics by horizon, standardization and alpha from the train part alone, errors."""

from __future__ import annotations

import numpy as np
import pytest

from sensorium import SensoriumError
from sensorium.evaluation.forecast import Forecast
from tests.core.evaluation.tables_of_records import table


def planted(seed: int, prefix: str, noise: float = 0.1, count: int = 120, ahead: int = 4):
    """Values to come are linear in the features; those further ahead are noisier."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(count, 3))
    y = {f"ahead {h}": 10 + 5 * (x[:, h % 3] + h * noise * rng.normal(size=count)) for h in range(1, ahead + 1)}
    return table({"a": x}, {name: values.tolist() for name, values in y.items()}, prefix=prefix)


def test_errors_are_in_deviations_of_the_train_part_and_grow_with_the_horizon():
    train, test = planted(0, "r"), planted(1, "t")
    evaluator = Forecast(horizons=(1, 2, 4))
    evaluator.fit(train)
    found = evaluator.measure(test)
    assert found["MSE 1 ↓"] < found["MSE 2 ↓"] < found["MSE 4 ↓"] < 0.2
    assert found["MSE 1 ↓"] == pytest.approx(0.01, rel=0.5)
    x, learned = (np.array([part.labels["ahead 1"].tolist()]).T for part in (test, train))
    wanted = x - evaluator.model.predict(test.features["a"].astype(float))[:, :1] * learned.std() - learned.mean()
    assert found["MAE 1 ↓"] == pytest.approx(np.abs(wanted / learned.std()).mean())


def test_chance_is_the_mean_of_the_train_part():
    train, test = planted(0, "r"), planted(1, "t")
    evaluator = Forecast(horizons=(1,))
    evaluator.fit(train)
    learned, came = (np.array(part.labels["ahead 1"].tolist()) for part in (train, test))
    assert evaluator.chance(test)["MSE 1 ↓"] == pytest.approx(np.mean(((came - learned.mean()) / learned.std()) ** 2))


def test_the_penalty_is_chosen_on_the_end_of_the_train_part():
    rng = np.random.default_rng(0)
    noise = table({"a": rng.normal(size=(60, 50))}, {"ahead 1": rng.normal(size=60).tolist()})
    for part, weak in ((planted(0, "r"), True), (noise, False)):
        evaluator = Forecast()
        evaluator.fit(part)
        assert (float(evaluator.notes()[0].removeprefix("alpha = ")) <= 1) == weak


def test_records_without_all_values_are_left_out_and_told():
    train, test = planted(0, "r"), planted(1, "t")
    test.labels["ahead 3"][:5] = None
    evaluator = Forecast()
    evaluator.fit(train)
    evaluator.measure(test)
    assert "5 records without all future values excluded" in evaluator.notes()


def test_what_cannot_be_measured_is_told():
    with pytest.raises(SensoriumError, match="is not a number"):
        Forecast().fit(table({"a": np.zeros((6, 2))}, {"ahead 1": ["x"] * 6}))
    with pytest.raises(SensoriumError, match="option 'ahead'"):
        Forecast().fit(table({"a": np.zeros((6, 2))}, {"ahead 1": [None] * 6}))
    with pytest.raises(SensoriumError, match="five"):
        Forecast().fit(table({"a": np.zeros((2, 2))}, {"ahead 1": [1.0, 2.0]}))
    evaluator = Forecast(horizons=(9,))
    evaluator.fit(planted(0, "r"))
    with pytest.raises(SensoriumError, match="up to 4 steps"):
        evaluator.measure(planted(1, "t"))


def test_persistence_stands_beside_and_channels_have_their_units():
    def walk(seed, prefix, count=200):
        rng = np.random.default_rng(seed)
        slow, fast = np.cumsum(rng.normal(size=count)), 1000 * rng.normal(size=count)
        labels = {
            f"ahead {step}, {name}": values[3 + step : count - 2 + step].tolist()
            for name, values in (("slow", slow), ("fast", fast))
            for step in range(3)
        }
        return table({"a": np.stack([slow, fast], 1)[3 : count - 2]}, labels, prefix=prefix, groups=["g"] * (count - 5))

    train, test = walk(0, "r"), walk(1, "t")
    evaluator = Forecast(horizons=(1,))
    evaluator.fit(train)
    assert evaluator.names == [f"ahead {step}, {name}" for name in ("slow", "fast") for step in (1, 2)]
    found = evaluator.measure(test)
    last = evaluator.references(test)["last value"]
    truth = np.array([test.labels[f"ahead 1, {name}"].tolist() for name in ("slow", "fast")])
    now = np.array([test.labels[f"ahead 0, {name}"].tolist() for name in ("slow", "fast")])
    scale = evaluator.scaler.scale_[[0, 2], None]
    assert last["MSE 1 ↓"] == pytest.approx(np.mean(((truth - now) / scale) ** 2))
    assert set(last) == set(found)
    by_channel = evaluator.metrics_by_class(evaluator.predictions())
    assert list(by_channel) == ["slow", "fast"]
    assert by_channel["fast"]["RMSE ↓"] > 500 > 5 > by_channel["slow"]["MAE of the last value ↓"]
    assert len(evaluator.predictions()["id"]) == 4 * len(test)
    assert evaluator.plot(evaluator.predictions()).height > 500  # a panel for each channel
    for name in list(test.labels):
        if name.startswith("ahead 0"):
            del test.labels[name]
    assert evaluator.references(test) == {}
