"""Which records are learned from and which are measured: the given split, folds, or one group left out.

A protocol turns the two parts of a run into pairs of parts; the evaluator is fitted and measured on each pair.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from sensorium.contracts import FeatureTable
from sensorium.errors import SensoriumError, did_you_mean
from sensorium.evaluation.folds import deal
from sensorium.evaluation.labels import choose, is_missing
from sensorium.registration.options import check_options

Parts = tuple[FeatureTable, FeatureTable]


class Protocol(ABC):
    """Cuts records into pairs of (train, test) parts."""

    @abstractmethod
    def rounds(self, train: FeatureTable, test: FeatureTable, label: str | None) -> Iterator[tuple[int, list[Parts]]]:
        """Yield a seed and the folds of one repetition, as often as the protocol repeats.

        Args:
            train: the run's train part.
            test: the run's test part.
            label: the label column whose classes folds share out evenly, None for the only one.
        """

    @abstractmethod
    def describe(self) -> str:
        """Return the protocol in words, for tables."""


class Given(Protocol):
    """The split of the run.

    Args:
        repeats: how often an evaluator with randomness of its own is fitted, with another seed each time.
    """

    def __init__(self, repeats: int = 1) -> None:
        self.repeats = repeats

    def rounds(self, train, test, label):
        """Yield the two parts as they are."""
        for seed in range(self.repeats):
            yield seed, [(train, test)]

    def describe(self):
        """Return the protocol in words."""
        return "the given split" + (f", {self.repeats} repetitions" if self.repeats > 1 else "")


class KFold(Protocol):
    """Cross-validation over the joined parts; groups stay whole, classes are shared out evenly.

    Args:
        folds: how many parts take their turn as the test part.
        repeats: how often the records are dealt anew.
    """

    def __init__(self, folds: int = 10, repeats: int = 5) -> None:
        if folds < 2:
            raise SensoriumError(f"The protocol 'kfold' needs two folds at least, not {folds}.")
        self.folds, self.repeats = folds, repeats

    def rounds(self, train, test, label):
        """Yield the folds of every dealing."""
        joined = train.join(test)
        if len(set(joined.groups)) < self.folds:
            raise SensoriumError(
                f"{self.folds} folds need as many records (or groups) at least, there are {len(set(joined.groups))}."
            )
        for seed in range(self.repeats):
            folds_N = deal(joined.groups, self.folds, seed, _classes(joined, label))
            yield seed, [_cut(joined, folds_N == fold) for fold in range(self.folds)]

    def describe(self):
        """Return the protocol in words."""
        return f"{self.folds} stratified folds over all records, {self.repeats} dealings"


class Group(Protocol):
    """One value of a label column left out at a time: the speaker, the recording session, the numbered fold.

    Args:
        by: the label column. Records without it are always learned from.
    """

    def __init__(self, by: str) -> None:
        self.by = by

    def rounds(self, train, test, label):
        """Yield a pair of parts for each value."""
        joined = train.join(test)
        values = joined.labels[choose("label", self.by, list(joined.labels))].tolist()
        names = sorted({value for value in values if not is_missing(value)}, key=str)
        if len(names) < 2:
            raise SensoriumError(f"The protocol 'group' leaves out one '{self.by}' at a time, there is {len(names)}.")
        yield 0, [_cut(joined, np.array([value == name for value in values])) for name in names]

    def describe(self):
        """Return the protocol in words."""
        return f"one '{self.by}' left out at a time"


PROTOCOLS: dict[str, type[Protocol]] = {"given": Given, "kfold": KFold, "group": Group}


def protocol_of(wanted: str | Mapping[str, Any]) -> Protocol:
    """Build a protocol from its name, or from a mapping of `name` and options.

    Raises:
        SensoriumError: when the name or an option is unknown, or a needed option is absent.
    """
    options = {"name": wanted} if isinstance(wanted, str) else dict(wanted)
    name = options.pop("name", None)
    if name not in PROTOCOLS:
        known = ", ".join(PROTOCOLS)
        raise SensoriumError(f"There is no protocol '{name}'{did_you_mean(str(name), PROTOCOLS)}; known: {known}.")
    return PROTOCOLS[name](**check_options(PROTOCOLS[name], options, "protocol", name=name))


def _cut(table: FeatureTable, held_N: np.ndarray) -> Parts:
    return table.select(np.flatnonzero(~held_N)), table.select(np.flatnonzero(held_N))


def _classes(table: FeatureTable, label: str | None) -> list[Any] | None:
    """Return the classes to share out; None when there is not one label column, or it holds measured numbers."""
    if label is None and len(table.labels) != 1:
        return None
    values = table.labels[choose("label", label, list(table.labels))].tolist()
    measured = any(isinstance(value, float) and not is_missing(value) and not value.is_integer() for value in values)
    return None if measured else values
