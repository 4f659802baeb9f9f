"""Logistic regression."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline

from sensorium.errors import SensoriumError
from sensorium.evaluation.folds import deal, select
from sensorium.evaluation.probes import Classifier
from sensorium.evaluation.scaling import Scaler

PENALTIES = (0.001, 0.01, 0.1, 1.0, 10.0)
RULE = "C by accuracy on a stratified fifth of the train part, then fitted to all of it"


class Linear(Classifier):
    """Classify by logistic regression on standardized features.

    Scale and penalty are learned from the train part: the penalty on a stratified fifth of it that keeps groups
    whole, the final weights on all of it.

    Args:
        label: label column to predict; None takes the only one.
        modality: modality whose features are measured; None takes the only one.
        protocol: how parts are cut: given, or a mapping such as {name: kfold, folds: 10}.
        penalties: values of C to choose from, the strongest penalty (smallest C) first; a single one is taken as is.
        steps: most L-BFGS steps.
        within: label column, such as the speaker or the device, whose groups are each standardized by themselves first:
            what lies in a constant of the group alone is then no feature. A record's answer then depends on the other
            records of its group in the same part, never on their labels.
    """

    selection = RULE

    def __init__(
        self,
        label: str | None = None,
        modality: str | None = None,
        protocol: str | dict[str, Any] = "given",
        penalties: tuple[float, ...] = PENALTIES,
        steps: int = 200,
        within: str | None = None,
    ) -> None:
        super().__init__(label, modality, protocol, within)
        self.penalties, self.steps = penalties, steps

    def learn(self, x_ND, y_N, groups):
        """Choose the penalty and fit."""
        self.model, self.chosen = fit_logistic(x_ND, y_N, groups, self.penalties, self.steps, self.seed)
        if self.within is not None:
            self.chosen.append(f"features standardized within each {self.within}")

    def predict(self, x_ND):
        """Return the likeliest class."""
        return self.model.predict(x_ND)


def fit_logistic(
    x_ND: np.ndarray, y_N: np.ndarray, groups: list[str], penalties: tuple[float, ...], steps: int, seed: int
) -> tuple[Pipeline, list[str]]:
    """Fit logistic regression on standardized features, its penalty chosen on a fifth of the records.

    Args:
        x_ND: features.
        y_N: classes, two or more.
        groups: N group names; a group is never both learned from and validated on.
        penalties: values of C.
        steps: most L-BFGS steps.
        seed: of the choice of the fifth.

    Returns:
        The fitted model, and notes on what was chosen.
    """

    def fitted(penalty: float, rows: np.ndarray | slice) -> Pipeline:
        model = make_pipeline(Scaler(), LogisticRegression(C=penalty, max_iter=steps))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # told in the notes
            return model.fit(x_ND[rows], y_N[rows])

    def score(penalty: float, learn: np.ndarray, held: np.ndarray) -> float:
        if len(set(y_N[learn])) < 2:
            raise SensoriumError(
                f"The train part ({len(y_N)} records) is too small to choose a penalty on a fifth of it: "
                "give one, such as penalties=[1.0]."
            )
        return fitted(penalty, learn).score(x_ND[held], y_N[held])

    penalty = select(penalties, score, deal(groups, 5, seed, y_N), held=[0])
    model = fitted(penalty, slice(None))
    notes = [f"C = {penalty:g}"]
    if max(model[-1].n_iter_) >= steps:
        notes.append(f"logistic regression stopped after {steps} steps")
    return model, notes
