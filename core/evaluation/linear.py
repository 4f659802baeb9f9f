"""Linear probing by logistic regression."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from sklearn.pipeline import Pipeline, make_pipeline

from sensorium.errors import SensoriumError
from sensorium.evaluation.folds import assign_folds, select_by_validation
from sensorium.evaluation.logistic import LogisticRegression
from sensorium.evaluation.probes import Classifier, per_class
from sensorium.evaluation.scaling import Scaler

CS = (0.001, 0.01, 0.1, 1.0, 10.0)
SELECTION = "C by accuracy on a stratified 20 % of the train part, then refitted on all of it"


class Linear(Classifier):
    """Linear probe: logistic regression on standardized features.

    C is chosen on a stratified 20 % of the train part that keeps groups together; the final weights, and the mean and
    std of each feature, are fitted on all of it.

    Args:
        label: label column to predict; None takes the only one.
        modality: modality whose features are measured; None takes the only one.
        protocol: evaluation protocol: given, or a mapping such as {name: kfold, folds: 10}.
        Cs: inverse regularization strengths to choose from, > 0, smallest first; a single one is used as it is.
        max_iter: largest number of L-BFGS iterations, > 0.
        standardize_by: label column, such as the speaker or the device; features are standardized within each of its
            groups, which removes a constant offset of the group. A prediction then depends on the other records of the
            group in the same part, never on their labels.
    """

    selection = SELECTION

    def __init__(
        self,
        label: str | None = None,
        modality: str | None = None,
        protocol: str | dict[str, Any] = "given",
        Cs: tuple[float, ...] = CS,
        max_iter: int = 200,
        standardize_by: str | None = None,
    ) -> None:
        super().__init__(label, modality, protocol, standardize_by)
        self.Cs, self.max_iter = Cs, max_iter

    def learn(self, x_ND, y_N, groups):
        """Choose C and fit."""
        self.model, self.chosen = fit_logistic(x_ND, y_N, groups, self.Cs, self.max_iter, self.seed, self.device)
        if self.standardize_by is not None:
            self.chosen.append(f"features standardized within each {self.standardize_by}")

    def scores(self, x_ND):
        """Return the logits."""
        return per_class(self.model.decision_function(x_ND))


def fit_logistic(
    x_ND: np.ndarray,
    y_N: np.ndarray,
    groups: list[str],
    Cs: tuple[float, ...],
    max_iter: int,
    seed: int,
    device: torch.device,
    validation_folds: Sequence[int] = (0,),
) -> tuple[Pipeline, list[str]]:
    """Fit logistic regression on standardized features, with C chosen on 20 % of the records, or on more of them.

    Args:
        x_ND: features.
        y_N: classes, two or more.
        groups: N group names; a group is never in both the fitted and the validation records.
        Cs: inverse regularization strengths to choose from.
        max_iter: largest number of L-BFGS iterations.
        seed: of the choice of the validation records.
        device: where the matrix products are.
        validation_folds: which fifths C is chosen on; each time, all others are fitted to.

    Returns:
        The fitted model, and notes on what was chosen.
    """

    def fit(C: float, rows: np.ndarray | slice) -> Pipeline:
        model = make_pipeline(Scaler(), LogisticRegression(C, max_iter, device))
        return model.fit(x_ND[rows], y_N[rows])

    def score(C: float, train: np.ndarray, val: np.ndarray) -> float:
        if len(set(y_N[train])) < 2:
            raise SensoriumError(
                f"The train part ({len(y_N)} records) is too small to choose C on 20 % of it: "
                "give one value, such as Cs=[1.0]."
            )
        return fit(C, train).score(x_ND[val], y_N[val])

    C = select_by_validation(Cs, score, assign_folds(groups, 5, seed, y_N), validation_folds)
    model = fit(C, slice(None))
    notes = [f"C = {C:g}"]
    if max(model[-1].n_iter_) >= max_iter:
        notes.append(f"logistic regression stopped after {max_iter} iterations")
    return model, notes
