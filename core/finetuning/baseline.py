"""What is learned from baseline features: the baseline that a fine-tuned encoder must beat."""

from __future__ import annotations

import numpy as np
import torch
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

from sensorium.contracts import Task
from sensorium.finetuning.labeled import LabeledRecords
from sensorium.finetuning.linear_probe import linear_probe


def baseline_outputs(
    labeled: LabeledRecords, x_ND: np.ndarray, x_MD: np.ndarray, trees: int, seed: int, device: torch.device
) -> np.ndarray:
    """Return outputs float32 (M, K) of a random forest or, for tasks that none predicts, of a linear layer.

    Args:
        labeled: the labeled records.
        x_ND: their baseline features.
        x_MD: baseline features of the M records of the test part that have the modality.
        trees: of the forest.
        seed: of the forest, or of the folds that choose the penalty of the layer.
        device: where matrix products are.
    """
    task, targets_NL = labeled.task, labeled.targets()
    if task.forest is None:
        return linear_probe(task, x_ND, targets_NL, list(labeled.table.groups), seed, device).outputs(x_MD)
    return forest_outputs(task, x_ND, targets_NL, x_MD, n_estimators=trees, random_state=seed)


def forest_outputs(task: Task, x_ND: np.ndarray, y_NL: np.ndarray, x_MD: np.ndarray, **forest: int) -> np.ndarray:
    """Return outputs float32 (M, K) for the M records of the test part that have the modality.

    Outputs are log-odds of classes, or standardized values.

    Args:
        task: fitted to the labeled records.
        x_ND: baseline features of the labeled records.
        y_NL: their targets, nan where there is none.
        x_MD: baseline features of the test part.
        forest: `n_estimators` and `random_state`.
    """
    outputs_MK = np.zeros((len(x_MD), task.output_dim), np.float32)
    weights_NL = task.target_weights(y_NL)
    for column, y_N in enumerate(y_NL.T):
        known_N = ~np.isnan(y_N)
        if not known_N.any():
            continue
        w_N = None if weights_NL is None else weights_NL[known_N, column]
        if task.forest == "numbers":
            model = RandomForestRegressor(n_jobs=-1, **forest).fit(x_ND[known_N], y_N[known_N], w_N)
            outputs_MK[:, column] = np.mean([tree.predict(x_MD) for tree in model.estimators_], axis=0)
            continue
        model = RandomForestClassifier(n_jobs=-1, **forest).fit(x_ND[known_N], y_N[known_N].astype(int), w_N)
        probabilities_MC = np.mean([tree.predict_proba(x_MD) for tree in model.estimators_], axis=0)
        if task.forest == "binary":
            outputs_MK[:, column] = _log_odds(probabilities_MC[:, 1])
        else:
            outputs_MK[:, model.classes_] = _log_odds(probabilities_MC)
    return outputs_MK


def _log_odds(p: np.ndarray) -> np.ndarray:
    """Return the log-odds of probabilities, finite for 0 and 1."""
    p = p.clip(1e-6, 1 - 1e-6)
    return np.log(p / (1 - p))
