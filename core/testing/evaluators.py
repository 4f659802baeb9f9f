"""What every evaluator holds to: tried on features in which a relation is planted."""

from __future__ import annotations

import re
from unittest import SkipTest

from sensorium import seeding
from sensorium.contracts import FeatureTable
from sensorium.errors import SensoriumError
from sensorium.testing.case import Case, expect
from sensorium.testing.synthetic import planted_embed, planted_tables

SMALLER_IS_BETTER = re.compile("↓|error|rmse|mse|mae|loss")

Figures = dict[str, float]


def beats_chance_on_planted_data(case: Case) -> None:
    """Where features tell the answer, at least one figure is better than guessing."""
    found = [(what, *_measure(case, train, test)) for what, train, test in _accepted(case)]
    if not any(guessed for *_, guessed in found):
        raise SkipTest("it knows no chance")
    for _, measured, guessed in found:
        for name, chance in guessed.items():
            metric = measured[name]
            if metric < chance if SMALLER_IS_BETTER.search(name.lower()) else metric > chance:
                return
    told = "; ".join(f"{what}: {measured} against {guessed} by chance" for what, measured, guessed in found)
    expect(False, f"no figure is better than chance on {told}")


def reports_chance_under_the_same_names(case: Case) -> None:
    """Every figure that chance gives is one that is measured, and all are numbers."""
    for _, train, test in _accepted(case):
        measured, guessed = _measure(case, train, test)
        stray = sorted(set(guessed) - set(measured))
        expect(not stray, f"chance gives {stray}, which are not measured")
        for name, value in (measured | guessed).items():
            expect(isinstance(value, int | float), f"the figure '{name}' is a {type(value).__name__}, not a number")


def is_deterministic(case: Case) -> None:
    """The same tables have the same figures, whatever the global generators do."""
    for _, train, test in _accepted(case):
        one, other = (_measure(case, train, test, seed) for seed in (0, 1))
        expect(repr(one) == repr(other), f"the same tables give {one}, then {other}")


def _measure(case: Case, train: FeatureTable, test: FeatureTable, seed: int = 0) -> tuple[Figures, Figures]:
    evaluator = case.build()
    seeding.seed_globals("evaluator", seed)
    evaluator.prepare(planted_embed)
    evaluator.fit(train)
    return evaluator.measure(test), evaluator.chance(test)


def _accepted(case: Case) -> list[tuple[str, FeatureTable, FeatureTable]]:
    """Return the planted tables that the evaluator takes; those without what it measures it refuses in a sentence."""
    accepted, refused = [], []
    for what, train, test in planted_tables():
        try:
            _measure(case, train, test)
            accepted.append((what, train, test))
        except SensoriumError as error:
            refused.append(f"{what}: {error}")
    expect(bool(accepted), f"it takes none of the planted tables ({'; '.join(refused)})")
    return accepted


CHECKS = (
    beats_chance_on_planted_data,
    reports_chance_under_the_same_names,
    is_deterministic,
)
