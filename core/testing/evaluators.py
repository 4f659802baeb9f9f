"""Checks of evaluators, on synthetic features with a planted relation."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any
from unittest import SkipTest

import numpy as np

from sensorium import seeding
from sensorium.contracts import Evaluator
from sensorium.errors import SensoriumError
from sensorium.feature_table import FeatureTable
from sensorium.testing.checked_part import CheckedPart, expect
from sensorium.testing.emulation import Emulation, emulated_device
from sensorium.testing.equality import same
from sensorium.testing.synthetic import CLASSES, LEVEL, synthetic_embed, synthetic_tables

SMALLER_IS_BETTER = re.compile("↓|error|rmse|mse|mae|loss")
WIDE = 96
"""Features of the tables on which one that learns from the test part learns it by heart."""
SHUFFLES = 3
"""Shuffled tables of which metrics are averaged."""

PRIME = 29
"""Test records of which no part has the accuracy of all by chance."""
LEAST_GAIN = 0.1
"""Over chance, relative to the metric; what a relation changes less is not about it."""

Metrics = dict[str, float]


@dataclass
class EvaluatorCase:
    """The test case of an evaluator: the synthetic tables that it accepts; it raises a `SensoriumError` for others."""

    checked: CheckedPart
    class_state: dict[str, Any] = field(init=False, default_factory=dict)
    """What the class held before the first measurement."""

    @property
    def space(self) -> str:
        """The space of the features that it measures."""
        return self.checked.build().space

    def measure(
        self, train: FeatureTable, test: FeatureTable, seed: int = 0, evaluator: Evaluator | None = None
    ) -> tuple[Metrics, Metrics]:
        """Return metrics and chance of a new evaluator that learned on the train part."""
        evaluator = evaluator or self.checked.build()
        seeding.seed_globals("evaluator", seed)
        evaluator.prepare(synthetic_embed)
        evaluator.fit(train)
        return evaluator.measure(test), evaluator.chance(test)

    @cached_property
    def accepted(self) -> list[tuple[str, FeatureTable, FeatureTable]]:
        """A description, the train table and the test table of each planted relation that it accepts."""
        if self.space == "predictions":
            raise SkipTest("an objective makes its tables, of what it predicts: measure a run with it")
        accepted, refused = [], []
        self.class_state = _state_of(self.checked.spec.load())
        for what, train, test in synthetic_tables(space=self.space):
            try:
                self.measure(train, test)
                accepted.append((what, train, test))
            except SensoriumError as error:
                refused.append(f"{what}: {error}")
        expect(bool(accepted), f"it accepts none of the synthetic tables ({'; '.join(refused)})")
        return accepted

    @cached_property
    def clear(self) -> tuple[str, FeatureTable, FeatureTable]:
        """The one of them whose relation is plainest: classes, a number, or pairs."""
        plainest = ("two classes", "a number", "pairs", "graded pairs")
        return min(self.accepted, key=lambda made: plainest.index(made[0]) if made[0] in plainest else len(plainest))

    @cached_property
    def planted(self) -> tuple[Metrics, Metrics]:
        """Metrics and chance on the clear table."""
        return self.measure(*self.clear[1:])

    @cached_property
    def unrelated(self) -> tuple[Metrics, Metrics]:
        """The same without the relation, in both parts: means over shuffles."""
        _, train, test = self.clear
        return self.mean((_shuffled(train, n), _shuffled(test, n + SHUFFLES)) for n in range(SHUFFLES))

    def mean(self, tables: Iterable[tuple[FeatureTable, FeatureTable]]) -> tuple[Metrics, Metrics]:
        """Return the means of metrics and chance over pairs of tables."""
        metrics, chance = zip(*(self.measure(train, test) for train, test in tables), strict=True)
        return _mean(metrics), _mean(chance)

    def gained(
        self, found: tuple[Metrics, Metrics], planted: tuple[Metrics, Metrics]
    ) -> Iterator[tuple[str, float, float, float]]:
        """Iterate over the metrics that are about the relation, and how much of their gain over chance is left.

        Args:
            found: metrics and chance on changed tables.
            planted: the same on the tables that were changed.

        Yields:
            name, metric, chance, and the fraction of the gain: 0 at chance, 1 where nothing is lost.
        """
        for name, level in planted[1].items():
            metric, chance, best = found[0][name], found[1][name], planted[0][name]
            gain = best - chance
            if _is_better(name, best, level) and abs(gain) > LEAST_GAIN * abs(best):
                yield name, metric, chance, (metric - chance) / gain


def case_of(checked: CheckedPart) -> EvaluatorCase:
    """Return the case of an evaluator under test, the same for all of its checks."""
    return checked.kept.setdefault("evaluator", EvaluatorCase(checked))


def beats_chance_on_synthetic_data(checked: CheckedPart) -> None:
    """On features with a planted relation, at least one metric is better than chance."""
    case = case_of(checked)
    found = [(what, *case.measure(train, test)) for what, train, test in case.accepted]
    if not any(chance for *_, chance in found):
        raise SkipTest("it has no chance level")
    for _, measured, chance in found:
        if any(_is_better(name, measured[name], level) for name, level in chance.items()):
            return
    results = "; ".join(f"{what}: {measured}, chance {chance}" for what, measured, chance in found)
    expect(False, f"no metric is better than chance on {results}")


def reports_chance_for_measured_metrics(checked: CheckedPart) -> None:
    """Every metric of `chance` is one of `measure`, and all are numbers."""
    case = case_of(checked)
    for _, train, test in case.accepted:
        measured, chance = case.measure(train, test)
        unknown = sorted(set(chance) - set(measured))
        expect(not unknown, f"chance returns {unknown}, which measure does not")
        for name, value in (measured | chance).items():
            expect(isinstance(value, int | float), f"the metric '{name}' is a {type(value).__name__}, not a number")


def is_deterministic(checked: CheckedPart) -> None:
    """The same tables have the same metrics, whatever the state of the global generators."""
    case = case_of(checked)
    for _, train, test in case.accepted:
        one, other = (case.measure(train, test, seed) for seed in (0, 1))
        expect(repr(one) == repr(other), f"the same tables give {one}, then {other}")


def does_not_modify_its_tables(checked: CheckedPart) -> None:
    """The tables, which other evaluators read, are bit-equal after `fit`, `measure` and `chance`."""
    case = case_of(checked)
    what, train, test = case.clear
    given = copy.deepcopy((train, test))
    case.measure(*given)
    for part, before, after in zip(("train", "test"), (train, test), given, strict=True):
        expect(same(vars(after), vars(before)), f"it writes to the {part} table of {what}: change a copy")


def is_invariant_to_record_order(checked: CheckedPart) -> None:
    """The test records in another order have the same metrics, as far as these are better than chance."""
    case = case_of(checked)
    what, train, test = case.clear
    found, _ = case.measure(train, test.select(np.random.default_rng(0).permutation(len(test))))
    for name, value, *_ in case.gained(case.planted, case.planted):
        expect(
            bool(np.isclose(found[name], value, rtol=1e-5, atol=1e-6)),
            f"on {what}, '{name}' is {value:.6f}, and {found[name]:.6f} with the test records in another order",
        )


def keeps_nothing_from_one_measurement_to_the_next(checked: CheckedPart) -> None:
    """An evaluator measures the same whatever others of its class, or it itself, have learned before."""
    case = case_of(checked)
    what, train, test = case.clear
    kept = [name for name, value in _state_of(checked.spec.load()).items() if not same(value, case.class_state[name])]
    remedy = "set whatever measure reads in fit, on the instance"
    expect(not kept, f"it keeps what it learned on the class, for all evaluators, as {', '.join(kept)}: {remedy}")
    evaluator = checked.build()
    case.measure(_shuffled(train, 0), _shuffled(test, SHUFFLES), evaluator=evaluator)
    found = case.measure(train, test, evaluator=evaluator)
    expect(
        repr(found) == repr(case.planted),
        f"on {what} it measures {case.planted}, and {found} once it has learned on other tables: {remedy}",
    )


def does_not_learn_from_the_test_part(checked: CheckedPart) -> None:
    """On a test part whose labels and pairs are shuffled, so that there is nothing to find, no metric beats chance.

    There are more features than records, so that one that learns from the test part knows it by heart.
    """
    case = case_of(checked)
    what, *_ = case.clear
    wide = synthetic_tables(WIDE, case.space)
    train, test = next((train, test) for one, train, test in wide if one == what)
    try:
        planted = case.measure(train, test)
    except SensoriumError:  # class prompts are as wide as the narrow tables
        (_, train, test), planted = case.clear, case.planted
    found = case.mean((train, _shuffled(test, number)) for number in range(SHUFFLES))
    for name, metric, chance, gain in case.gained(found, planted):
        expect(
            gain < 0.5 or _is_unrelated(case, name),
            f"with the test labels of {what} shuffled, '{name}' is {metric:.3f} (chance {chance:.3f}): fit sees the "
            "train part alone, and measure must not learn from labels of the test part",
        )


def does_not_adapt_to_the_test_part(checked: CheckedPart) -> None:
    """What is predicted for a record does not depend on the other test records, such as by a scaling fitted to them.

    Outliers of one class, which any rule of the train part classifies well, take none of the gain over chance away.
    """
    case = case_of(checked)
    what, train, test = case.clear
    if what != "two classes":
        raise SkipTest("it classifies nothing")
    if repr(case.measure(_shuffled(train, 0), test)[0]) == repr(case.planted[0]):
        raise SkipTest("it does not learn from the train part")
    for name, metric, chance, gain in case.gained(case.measure(train, _with_outliers(test)), case.planted):
        expect(
            gain > 0.5,
            f"with outliers among the test records, '{name}' falls from {case.planted[0][name]:.3f} to {metric:.3f} "
            f"(chance {chance:.3f}): scale and center features by the train part alone",
        )


def measures_each_test_record_by_itself(checked: CheckedPart) -> None:
    """A record is predicted alike among all test records and among those of its class alone.

    So is the accuracy of all the mean of the accuracies of the classes: nothing is centered by the test part, and no
    record left out of it.
    """
    case = case_of(checked)
    what, train, test = case.clear
    if what != "two classes":
        raise SkipTest("it classifies nothing")
    at = [np.flatnonzero(test.labels["planted"] == name) for name in CLASSES[:2]]
    try:
        whole, *apart = (_measured(case, train, test.select(rows)) for rows in (np.concatenate(at), *at))
    except SensoriumError as error:
        raise SkipTest("it measures no test part of one class") from error
    alone = {id: shown for _, found in apart for id, shown in found.items()}
    changed = [id for id, shown in whole[1].items() if not same(shown, alone.get(id))]
    expect(
        not changed,
        f"the prediction of {len(changed)} of {len(whole[1])} test records depends on which others are measured: "
        "what is fitted, centered or scaled is so by the train part alone",
    )
    if "accuracy" not in whole[0]:
        return
    mean = float(np.average([metrics["accuracy"] for metrics, _ in apart], weights=[len(rows) for rows in at]))
    expect(
        abs(whole[0]["accuracy"] - mean) < 1e-6,
        f"the accuracy of all test records is {whole[0]['accuracy']:.4f}, that of the same ones by class {mean:.4f} on "
        "average: measure every record by what was learned from the train part alone",
    )
    hard = _shuffled(test, 0).select(np.arange(PRIME))
    right = _measured(case, train, hard)[0]["accuracy"] * PRIME
    expect(
        abs(right - round(right)) < 1e-3,
        f"the accuracy of {PRIME} test records is that of {right:.3f} right ones: measure every record, sure or not",
    )


def ignores_padding(checked: CheckedPart) -> None:
    """Tokens that a record does not have, nan behind its own, change no metric, however many there are."""
    case = case_of(checked)
    if case.space != "tokens":
        raise SkipTest("it measures no tokens")
    what, train, test = case.clear
    padded = [replace(table, features=dict(map(_padded, table.features.items()))) for table in (train, test)]
    found, _ = case.measure(*padded)
    for name, value in case.planted[0].items():
        expect(
            bool(np.isclose(found[name], value, rtol=1e-3, atol=1e-4)),
            f"on {what}, '{name}' is {value:.4f}, and {found[name]:.4f} with three more absent tokens, which are nan: "
            "leave them out of means and attention",
        )


def _padded(column: tuple[str, np.ndarray]) -> tuple[str, np.ndarray]:
    name, x_NTD = column
    return name, np.pad(x_NTD, ((0, 0), (0, 3), (0, 0)), constant_values=np.nan)


def _measured(case: EvaluatorCase, train: FeatureTable, test: FeatureTable) -> tuple[Metrics, dict[str, Any]]:
    """Return the metrics of a test part, and record id -> its prediction, where the evaluator tells predictions."""
    evaluator = case.checked.build()
    metrics, _ = case.measure(train, test, evaluator=evaluator)
    told = evaluator.predictions()
    return metrics, dict(zip(told.get("id", ()), told.get("prediction", ()), strict=False))


def prefers_good_features(checked: CheckedPart) -> None:
    """Every metric with a chance level is better for features with the planted relation than for features without."""
    case = case_of(checked)
    (good, levels), (bad, _) = case.planted, case.unrelated
    for name in levels:
        expect(
            _is_unrelated(case, name) or _is_better(name, good[name], bad[name]),
            f"on {case.clear[0]}, '{name}' is {good[name]:.3f} for features that tell, {bad[name]:.3f} for features "
            "that do not: larger is better unless the name ends in ' ↓'",
        )


def reports_the_level_of_chance(checked: CheckedPart) -> None:
    """Features without any relation to labels and pairs have about the metrics of `chance`."""
    case = case_of(checked)
    for name, metric, chance, gain in case.gained(case.unrelated, case.planted):
        expect(
            -2 < gain < 0.3 or _is_unrelated(case, name),
            f"on {case.clear[0]} without the relation, '{name}' is {metric:.3f}, its chance level {chance:.3f} "
            f"({case.planted[0][name]:.3f} with the relation): chance is what the best guess without features gets",
        )


def runs_on_a_gpu(checked: CheckedPart) -> None:
    """With an emulated CUDA device as its `device`, it mixes no devices, and its metrics stay what they are."""
    case = case_of(checked)
    what, train, test = case.clear
    evaluator = checked.build()
    with Emulation():
        evaluator.device = emulated_device()
        found, _ = case.measure(train, test, evaluator=evaluator)
    for name, value in case.planted[0].items():
        expect(
            bool(np.isclose(found[name], value, rtol=1e-2, atol=1e-2, equal_nan=True)),
            f"on {what}, '{name}' is {value:.4f} on a CPU, {found[name]:.4f} on a GPU",
        )


def _is_unrelated(case: EvaluatorCase, name: str) -> bool:
    """Return whether a metric is about features alone: no label changes it, and no other pairs."""
    _, train, test = case.clear
    good, bad = case.planted[0][name], case.unrelated[0][name]
    if abs(good - bad) > LEAST_GAIN * max(abs(good), abs(bad)):
        return False
    try:
        metrics, _ = case.measure(replace(train, labels={}), replace(test, labels={}))
    except (SensoriumError, KeyError):
        return False
    return metrics.get(name) == good


def _is_better(name: str, metric: float, other: float) -> bool:
    return metric < other if SMALLER_IS_BETTER.search(name.lower()) else metric > other


def _mean(found: Sequence[Metrics]) -> Metrics:
    return {name: float(np.mean([metrics[name] for metrics in found])) for name in found[0]}


def _state_of(cls: type) -> dict[str, Any]:
    """Return copies of what may change of the attributes of a class, by name."""
    attributes = {name: value for one in reversed(cls.__mro__) for name, value in vars(one).items()}
    return {n: copy.deepcopy(v) for n, v in attributes.items() if isinstance(v, dict | list | set | np.ndarray)}


def _shuffled(table: FeatureTable, number: int) -> FeatureTable:
    """Return a table without relations: labels, and features but the first, belong to other records."""
    rng = np.random.default_rng((1, number))
    first, *others = table.features
    features = {first: table.features[first]} | {name: rng.permutation(table.features[name]) for name in others}
    labels = {name: rng.permutation(column) for name, column in table.labels.items()}
    return replace(table, features=features, labels=labels)


def _with_outliers(test: FeatureTable) -> FeatureTable:
    """Return the table of two classes with as many more records of the second one, far on its side."""
    far = test.select(np.resize(np.flatnonzero(test.labels["planted"] == CLASSES[1]), len(test)))
    far.ids = far.groups = [f"outlier-{number}" for number in range(len(test))]
    far.features["first"][..., 0] += 7 * LEVEL
    return test.join(far)


CHECKS: tuple[Callable[[CheckedPart], None], ...] = (
    beats_chance_on_synthetic_data,
    reports_chance_for_measured_metrics,
    is_deterministic,
    does_not_modify_its_tables,
    is_invariant_to_record_order,
    keeps_nothing_from_one_measurement_to_the_next,
    does_not_learn_from_the_test_part,
    does_not_adapt_to_the_test_part,
    measures_each_test_record_by_itself,
    ignores_padding,
    prefers_good_features,
    reports_the_level_of_chance,
    runs_on_a_gpu,
)
