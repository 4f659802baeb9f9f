"""Calibration of probabilities: temperature scaling, and the expected calibration error (Guo et al. 2017).

Letters: N records, L label columns, M known targets of them, C classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax

from sensorium.contracts import Task
from sensorium.feature_table import FeatureTable
from sensorium.finetuning.labeled import targets_of

BINS = 15
"""Of confidence, of one width, as in the paper."""
COLDEST, HOTTEST = 0.05, 20.0
"""Temperatures: where every held-out prediction is right, the likelihood alone would ask for 0."""


@dataclass(frozen=True)
class Calibration:
    """The temperature of one model, and its expected calibration error on the test part without and with it."""

    temperature: float
    before: float
    after: float

    @classmethod
    def of(cls, task: Task, modality: str, held_out: FeatureTable | None, test: FeatureTable) -> Calibration | None:
        """Fit the temperature to held-out outputs, and measure it on those of the test part; None where there are none.

        Args:
            task: fitted.
            modality: that of the outputs.
            held_out: of records of the train part, or the val part, that the model of these outputs was not trained on.
            test: of the test part, which nothing is fitted to.
        """
        chosen_on, measured_on = decisions_of(task, modality, held_out), decisions_of(task, modality, test)
        if chosen_on is None or measured_on is None:
            return None
        temperature = fit_temperature(*chosen_on)
        return cls(temperature, calibration_error(*measured_on), calibration_error(*measured_on, temperature))


def calibration_remark(row: str, of_seeds: Sequence[Calibration], where: str) -> str:
    """Return the sentence on the calibration of a row, as means over seeds.

    Args:
        row: its name.
        of_seeds: of each seed.
        where: on which records temperatures were fitted.
    """
    before, after, temperature = (
        float(np.mean([getattr(one, name) for one in of_seeds])) for name in ("before", "after", "temperature")
    )
    return (
        f"{row}: expected calibration error {before:.3f}, and {after:.3f} with a temperature of {temperature:.2f} "
        f"that was fitted {where}."
    )


def decisions_of(task: Task, modality: str, table: FeatureTable | None) -> tuple[np.ndarray, np.ndarray] | None:
    """Return the logits (M, C) and classes (M,) of outputs for records; None where a task has none, or there are none.

    Args:
        task: fitted.
        modality: that of the outputs.
        table: outputs, and labels, of the records; nan where one lacks the modality.
    """
    if table is None or modality not in table.features:
        return None
    table = table.select(np.flatnonzero(table.present[modality]))
    decisions = task.decisions(table.features[modality], targets_of(task, table))
    return decisions if decisions is not None and len(decisions[1]) else None


def fit_temperature(logits_MC: np.ndarray, y_M: np.ndarray) -> float:
    """Return the temperature T that makes softmax(logits / T) most likely.

    Args:
        logits_MC: float64, of records that the model was not trained on.
        y_M: their classes, int64, one or more.
    """

    def cost(log_temperature: float) -> float:
        scaled_MC = logits_MC / np.exp(log_temperature)
        return -float(np.mean(log_softmax(scaled_MC, axis=1)[np.arange(len(y_M)), y_M]))

    bounds = (np.log(COLDEST), np.log(HOTTEST))
    return float(np.exp(minimize_scalar(cost, bounds=bounds, method="bounded").x))


def calibration_error(logits_MC: np.ndarray, y_M: np.ndarray, temperature: float = 1.0) -> float:
    """Return the expected calibration error: the mean over targets of |accuracy - confidence| of their bin.

    The confidence is the largest probability; bins are `BINS` of one width (eq. 3 of the paper).

    Args:
        logits_MC: float64.
        y_M: classes, int64, one or more.
        temperature: that logits are divided by.
    """
    p_MC = softmax(logits_MC / temperature, axis=1)
    confidence_M, is_right_M = p_MC.max(1), p_MC.argmax(1) == y_M
    bins_M = np.ceil(confidence_M * BINS).astype(np.int64) - 1
    gaps = np.bincount(bins_M.clip(0, BINS - 1), is_right_M - confidence_M, minlength=BINS)
    return float(np.abs(gaps).sum() / len(y_M))
