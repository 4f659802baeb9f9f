"""The built-in evaluation protocols: the given split, k-fold cross-validation, and leave-one-group-out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from sensorium.contracts import Protocol
from sensorium.errors import RecipeError, SensoriumError, check_range
from sensorium.evaluation.folds import assign_folds
from sensorium.evaluation.labels import choose_column, is_continuous, is_missing
from sensorium.feature_table import FeatureTable, Parts
from sensorium.registration.discovery import load_extensions
from sensorium.registration.options import check_options


class Given(Protocol):
    """The split of the run.

    Args:
        repeats: number of fits, each with another seed, for an evaluator that draws at random.
    """

    is_given = True

    def __init__(self, repeats: int = 1) -> None:
        check_range("protocol 'given'", "[1, inf)", repeats=repeats)
        self.repeats = repeats

    def names(self, train, test):
        """Return the name of the test part."""
        return ["test"]

    def rounds(self, train, test, label):
        """Yield the two parts as they are."""
        for seed in range(self.repeats):
            yield seed, [(train, test)]

    def describe(self):
        """Return a description for result tables."""
        return "the given split" + (f", {self.repeats} repetitions" if self.repeats > 1 else "")


class KFold(Protocol):
    """Stratified k-fold cross-validation over the union of both parts; groups are kept together.

    Args:
        folds: number of folds, >= 2; each is the test part once.
        repeats: number of repetitions, each with another assignment to folds.
    """

    def __init__(self, folds: int = 10, repeats: int = 5) -> None:
        check_range("protocol 'kfold'", "[2, inf)", folds=folds)
        check_range("protocol 'kfold'", "[1, inf)", repeats=repeats)
        self.folds, self.repeats = folds, repeats

    def names(self, train, test):
        """Return the numbers of the folds."""
        return [str(number + 1) for number in range(self.folds)]

    def rounds(self, train, test, label):
        """Yield the folds of every repetition."""
        joined = train.join(test)
        if len(set(joined.groups)) < self.folds:
            raise SensoriumError(
                f"{self.folds} folds need at least as many records (or groups), but there are "
                f"{len(set(joined.groups))}."
            )
        for seed in range(self.repeats):
            folds_N = assign_folds(joined.groups, self.folds, seed, _classes(joined, label))
            yield seed, [_split(joined, folds_N == fold) for fold in range(self.folds)]

    def remarks(self, train, test, label):
        """Return which class is too small for so many folds."""
        joined = train.join(test)
        values = _classes(joined, label)
        groups_of: dict[str, set[str]] = {}
        for value, group in zip(values or [], joined.groups, strict=False):
            if not is_missing(value):
                groups_of.setdefault(str(value), set()).add(group)
        if not groups_of:
            return []
        smallest = min(groups_of, key=lambda name: len(groups_of[name]))
        if (count := len(groups_of[smallest])) >= self.folds:
            return []
        return [
            f"Many folds: '{smallest}' has {count} records or groups, so that some of the {self.folds} folds hold out "
            f"none of it: set folds to {max(count, 2)}, or read the metrics over all folds together."
        ]

    def describe(self):
        """Return a description for result tables."""
        return f"{self.folds} stratified folds over all records, {self.repeats} repetitions"


class LeaveOneGroupOut(Protocol):
    """Leave-one-group-out cross-validation: each value of a label column (a speaker, a session) is the test part once.

    Args:
        by: the label column. Records without it are in every train part.
    """

    group, is_pooled = "group", True

    def __init__(self, by: str) -> None:
        self.by = by

    def names(self, train, test):
        """Return the values of the label column."""
        return list(map(str, _distinct(self._values(train.join(test)))))

    def rounds(self, train, test, label):
        """Yield one fold for each value."""
        joined = train.join(test)
        values = self._values(joined)
        names = _distinct(values)
        if len(names) < 2:
            raise SensoriumError(
                f"The protocol 'leave-one-group-out' needs two values of '{self.by}' or more, there is {len(names)}."
            )
        yield 0, [_split(joined, np.array([value == name for value in values])) for name in names]

    def _values(self, table: FeatureTable) -> list[Any]:
        return table.labels[choose_column("label", self.by, list(table.labels))].tolist()

    def describe(self):
        """Return a description for result tables."""
        return f"leave one '{self.by}' out"


def make_protocol(protocol: str | Mapping[str, Any]) -> Protocol:
    """Build a protocol from its name, or from a mapping of `name` and options.

    Raises:
        PluginError: when there is no protocol of that name.
        RecipeError: when it has no name, an option is unknown, or a required one is missing.
    """
    options = {"name": protocol} if isinstance(protocol, str) else dict(protocol)
    name = options.pop("name", None)
    if not isinstance(name, str):
        raise RecipeError(f"The protocol {dict(protocol)} has no name: write {{name: kfold, folds: 5}}, say.")  # type: ignore[arg-type]
    cls = load_extensions().registry.find("protocols", name).load()
    made: Protocol = cls(**check_options(cls, options, "protocol", name=name))
    return made


def _distinct(values: list[Any]) -> list[Any]:
    """Return the values that are not missing, each once, in order."""
    return sorted({value for value in values if not is_missing(value)}, key=str)


def _split(table: FeatureTable, is_test_N: np.ndarray) -> Parts:
    return table.select(np.flatnonzero(~is_test_N)), table.select(np.flatnonzero(is_test_N))


def _classes(table: FeatureTable, label: str | None) -> list[Any] | None:
    """Return the classes to stratify by; None without a single label column, or if its values are continuous."""
    if label is None and len(table.labels) != 1:
        return None
    values = table.labels[choose_column("label", label, list(table.labels))].tolist()
    return None if is_continuous(values) else values
