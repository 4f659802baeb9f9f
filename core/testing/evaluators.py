"""Checks of evaluators, on synthetic features with a planted relation."""

from __future__ import annotations

import re
from unittest import SkipTest

from sensorium import seeding
from sensorium.errors import SensoriumError
from sensorium.feature_table import FeatureTable
from sensorium.testing.checked_part import CheckedPart, expect
from sensorium.testing.synthetic import synthetic_embed, synthetic_tables

SMALLER_IS_BETTER = re.compile("↓|error|rmse|mse|mae|loss")

Metrics = dict[str, float]


def beats_chance_on_synthetic_data(checked: CheckedPart) -> None:
    """On features with a planted relation, at least one metric is better than chance."""
    found = [(what, *_measure(checked, train, test)) for what, train, test in _accepted(checked)]
    if not any(chance for *_, chance in found):
        raise SkipTest("it has no chance level")
    for _, measured, chance in found:
        for name, level in chance.items():
            metric = measured[name]
            if metric < level if SMALLER_IS_BETTER.search(name.lower()) else metric > level:
                return
    results = "; ".join(f"{what}: {measured}, chance {chance}" for what, measured, chance in found)
    expect(False, f"no metric is better than chance on {results}")


def reports_chance_for_measured_metrics(checked: CheckedPart) -> None:
    """Every metric of `chance` is one of `measure`, and all are numbers."""
    for _, train, test in _accepted(checked):
        measured, chance = _measure(checked, train, test)
        unknown = sorted(set(chance) - set(measured))
        expect(not unknown, f"chance returns {unknown}, which measure does not")
        for name, value in (measured | chance).items():
            expect(isinstance(value, int | float), f"the metric '{name}' is a {type(value).__name__}, not a number")


def is_deterministic(checked: CheckedPart) -> None:
    """The same tables have the same metrics, whatever the state of the global generators."""
    for _, train, test in _accepted(checked):
        one, other = (_measure(checked, train, test, seed) for seed in (0, 1))
        expect(repr(one) == repr(other), f"the same tables give {one}, then {other}")


def _measure(checked: CheckedPart, train: FeatureTable, test: FeatureTable, seed: int = 0) -> tuple[Metrics, Metrics]:
    evaluator = checked.build()
    seeding.seed_globals("evaluator", seed)
    evaluator.prepare(synthetic_embed)
    evaluator.fit(train)
    return evaluator.measure(test), evaluator.chance(test)


def _accepted(checked: CheckedPart) -> list[tuple[str, FeatureTable, FeatureTable]]:
    """Return the synthetic tables that the evaluator accepts; it raises a `SensoriumError` for the others."""
    accepted, refused = [], []
    for what, train, test in synthetic_tables():
        try:
            _measure(checked, train, test)
            accepted.append((what, train, test))
        except SensoriumError as error:
            refused.append(f"{what}: {error}")
    expect(bool(accepted), f"it accepts none of the synthetic tables ({'; '.join(refused)})")
    return accepted


CHECKS = (
    beats_chance_on_synthetic_data,
    reports_chance_for_measured_metrics,
    is_deterministic,
)
