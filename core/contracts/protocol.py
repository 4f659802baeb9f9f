"""How evaluators are fitted and measured: on which pairs of parts."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import ClassVar

from sensorium.feature_table import FeatureTable, Parts


class Protocol(ABC):
    """Cuts the two parts of a run into (train, test) pairs, on each of which an evaluator is fitted and measured.

    The parts of a pair share no record and no group.
    """

    group: ClassVar[str] = "fold"
    """What one pair of several holds out, in a word."""
    is_given: ClassVar[bool] = False
    """Whether the pairs are the parts of the run, so that its training did not see the test part."""
    is_pooled: ClassVar[bool] = False
    """Whether metrics of all held-out predictions joined stand beside the means over pairs."""

    @abstractmethod
    def rounds(self, train: FeatureTable, test: FeatureTable, label: str | None) -> Iterator[tuple[int, list[Parts]]]:
        """Yield a seed and the folds of each repetition.

        Args:
            train: the run's train part.
            test: the run's test part.
            label: the label column that folds are stratified by; None for the only one.
        """

    @abstractmethod
    def names(self, train: FeatureTable, test: FeatureTable) -> list[str]:
        """Return the names of the folds of one repetition."""

    def remarks(self, train: FeatureTable, test: FeatureTable, label: str | None) -> list[str]:
        """Return what a reader must know about the folds; the arguments are those of `rounds`."""
        return []

    @abstractmethod
    def describe(self) -> str:
        """Return a description for result tables."""
