"""The labeled records that one seed learns from, and the folds in which it chooses its epoch.

Letters: N records, L label columns.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from sensorium.contracts import Task
from sensorium.errors import DataError, SensoriumError
from sensorium.evaluation.folds import assign_folds
from sensorium.feature_table import FeatureTable

FOLDS = 5
ENOUGH = 200
"""Held-out records on which an epoch can be chosen: of more labels, fewer of the folds are held out."""


def targets_of(task: Task, table: FeatureTable) -> np.ndarray:
    """Return the targets of records under a fitted task, float64 (N, L), nan where there is none."""
    columns = {name: table.labels[name].tolist() for name in task.columns}
    rows = (dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True))
    return np.array([task.target(labels) for labels in rows], np.float64)


@dataclass(frozen=True)
class LabeledRecords:
    """Records with the modality and a label.

    Args:
        table: their labels and groups, by position in the source, ascending; its features are not used.
        task: fitted to them.
    """

    table: FeatureTable
    task: Task

    @property
    def positions(self) -> np.ndarray:
        """Where the source has them, int64 (N,)."""
        assert self.table.positions is not None, "records of a source have positions"
        return self.table.positions

    def targets(self) -> np.ndarray:
        """Return their targets, float64 (N, L), nan where there is none."""
        return targets_of(self.task, self.table)

    @property
    def held_out_folds(self) -> int:
        """How many of the folds are held out, one after the other."""
        return min(FOLDS, math.ceil(ENOUGH * FOLDS / len(self.table)))

    def folds(self, seed: int) -> np.ndarray:
        """Assign them to folds, stratified by their classes: int64 (N,).

        Raises:
            DataError: when they are too few.
        """
        targets_NL = self.targets()
        classes = None if self.task.is_regression else [str(row) for row in targets_NL.tolist()]
        folds_N = assign_folds(self.table.groups, FOLDS, seed, classes)
        if len(np.unique(folds_N)) < FOLDS:
            raise DataError(
                f"There are {len(set(self.table.groups))} labeled records (or groups of them) to learn from, too few "
                f"for {FOLDS} folds: give more labels, or a val part to choose the epoch on (data.val)."
            )
        return folds_N

    def require_metric(self, table: FeatureTable, where: str) -> None:
        """Raise an error where the labels of other records give no metric, whatever the outputs are.

        Args:
            table: their labels; its features are not used.
            where: what they are, in words.

        Raises:
            DataError: which says why.
        """
        (modality,) = table.features or ("",)
        if not modality:
            raise DataError(f"No record can be read of {where}.")
        if not any(name in table.labels for name in self.task.columns):
            raise DataError(f"There is no {self.task.metric} of {where}: none of its records has a label.")
        outputs_NK = np.random.default_rng(0).standard_normal((len(table), self.task.output_dim)).astype(np.float32)
        outputs_NK[~table.present[modality]] = np.nan
        try:
            metrics = self.task.measure(replace(table, features={modality: outputs_NK}))
        except SensoriumError as error:
            raise DataError(f"There is no {self.task.metric} of {where}: {error}") from error
        if not np.isfinite(metrics[self.task.metric]):
            raise DataError(f"There is no {self.task.metric} of {where}: too few of its records have the label.")
