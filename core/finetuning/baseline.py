"""What a random forest on baseline features answers: the row that a tuned encoder must beat."""

from __future__ import annotations

import numpy as np
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

from sensorium.contracts import FeatureTable
from sensorium.finetuning.tasks import Regression, Task


def forest_outputs(
    task: Task, train: FeatureTable, targets: dict[int, list[float]], test: FeatureTable, modality: str, **forest: int
) -> np.ndarray:
    """Return answers float32 (M, K) for the M records of the test part that have the modality.

    Answers are log-odds of classes, or deviations from the mean.

    Args:
        task: fitted to the train part.
        train: baseline features of the train part.
        targets: position in the source -> targets, for every record of the train part.
        test: baseline features of the records to answer for.
        modality: whose features are used.
        forest: `n_estimators` and `random_state`.
    """
    x_ND, asked_MD = train.features[modality], test.features[modality][test.present[modality]]
    y_NL = np.array([targets[int(position)] for position in train.positions])
    y_NL[~train.present[modality]] = np.nan
    answers_MK = np.zeros((len(asked_MD), task.width), np.float32)
    for column, y_N in enumerate(y_NL.T):
        known_N = ~np.isnan(y_N)
        if not known_N.any():
            continue
        if isinstance(task, Regression):
            model = RandomForestRegressor(n_jobs=-1, **forest).fit(x_ND[known_N], y_N[known_N])
            answers_MK[:, column] = np.mean([tree.predict(asked_MD) for tree in model.estimators_], axis=0)
            continue
        model = RandomForestClassifier(n_jobs=-1, **forest).fit(x_ND[known_N], y_N[known_N].astype(int))
        shares_MC = np.mean([tree.predict_proba(asked_MD) for tree in model.estimators_], axis=0)
        if y_NL.shape[1] == task.width:  # one yes-or-no column for each answer
            answers_MK[:, column] = _log_odds(shares_MC[:, 1])
        else:
            answers_MK[:, model.classes_] = _log_odds(shares_MC)
    return answers_MK


def _log_odds(share: np.ndarray) -> np.ndarray:
    """Return shares as logits, finite for 0 and 1."""
    share = share.clip(1e-6, 1 - 1e-6)
    return np.log(share / (1 - share))
