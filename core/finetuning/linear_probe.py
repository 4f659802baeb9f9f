"""A linear layer on frozen features, as a supervised task fits it: the linear probe, at which fine-tuning starts.

Its penalty is chosen by the loss in five folds of the records: of few records, the accuracy is too coarse to choose
by, and a head that is too sure of them leaves the training nothing to learn.

Letters: N records, D features, C classes, K outputs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from sensorium.contracts import Task
from sensorium.evaluation.folds import assign_folds
from sensorium.evaluation.linear import CS, fit_logistic
from sensorium.evaluation.ridge import ALPHAS, fit_ridge
from sensorium.evaluation.scaling import Scaler

FOLDS = 5
MOST_ITERATIONS = 200
"""Of L-BFGS, as in linear probing."""
PENALTIES = (1.0, 0.1, 0.01, 1e-3, 1e-4)
"""L2 penalties to choose from in a fit by the loss of a task, the strongest first."""
STRONG = 0.01
"""C where there are too few records to choose it."""
Layer = tuple[np.ndarray, np.ndarray, str]
"""Weight (K, D) and bias (K,) on features as they are, float64, and the chosen penalty, in words."""


@dataclass(frozen=True)
class LinearProbe:
    """A linear layer on features as the encoder gives them, fitted to standardized ones.

    Args:
        weight_KD: float64.
        bias_K: float64.
        mean_D: float64, of each feature over the records that it was fitted to.
        std_D: float64, their standard deviation, 1 where a feature is constant.
        about: what was chosen, such as the penalty.
    """

    weight_KD: np.ndarray
    bias_K: np.ndarray
    mean_D: np.ndarray
    std_D: np.ndarray
    about: str

    def outputs(self, x_ND: np.ndarray) -> np.ndarray:
        """Return outputs, float32 (N, K)."""
        return (x_ND @ self.weight_KD.T + self.bias_K).astype(np.float32)


def linear_probe(
    task: Task, x_ND: np.ndarray, targets_NL: np.ndarray, groups: list[str], seed: int, device: torch.device
) -> LinearProbe:
    """Return the linear layer of a task, fitted as the task does it, or else by its loss.

    Args:
        task: fitted to the train part.
        x_ND: float32 features of N records.
        targets_NL: their targets, nan where there is none; records without any are left out.
        groups: N group names; the records of a group are in one fold.
        seed: of the folds.
        device: where the matrix products are.
    """
    known = np.flatnonzero(~np.isnan(targets_NL).all(1))
    x_ND, targets_NL, groups = x_ND[known], targets_NL[known], [groups[row] for row in known]
    layer = task.fit_linear(x_ND, targets_NL, groups, seed, device)
    weight_KD, bias_K, about = loss_layer(task, x_ND, targets_NL, groups, seed) if layer is None else layer
    scaler = Scaler().fit(x_ND.astype(np.float64))
    return LinearProbe(weight_KD, bias_K, scaler.mean_, scaler.scale_, about)


def loss_layer(task: Task, x_ND: np.ndarray, targets_NL: np.ndarray, groups: list[str], seed: int) -> Layer:
    """Fit a linear layer by the loss of a task and an L2 penalty on standardized features, by L-BFGS in fp64."""
    scaler = Scaler().fit(x_ND.astype(np.float64))
    z_ND = torch.from_numpy((x_ND - scaler.mean_) / scaler.scale_)
    targets = torch.from_numpy(targets_NL)

    def fitted(rows: np.ndarray, penalty: float) -> nn.Linear:
        layer = nn.utils.skip_init(nn.Linear, z_ND.shape[1], task.output_dim, dtype=torch.float64)
        nn.init.zeros_(layer.weight)
        nn.init.zeros_(layer.bias)
        optimizer = torch.optim.LBFGS(layer.parameters(), max_iter=MOST_ITERATIONS, line_search_fn="strong_wolfe")

        def closure() -> torch.Tensor:
            optimizer.zero_grad()
            loss = task.loss(layer(z_ND[rows]), targets[rows]) + 0.5 * penalty * layer.weight.square().sum()
            loss.backward()
            return loss

        optimizer.step(closure)
        return layer

    def held_out_loss(penalty: float) -> float:
        losses = []
        for fold in folds:
            held_out = np.flatnonzero(folds_N == fold)
            layer = fitted(np.flatnonzero(folds_N != fold), penalty)
            with torch.no_grad():
                losses.append(float(task.loss(layer(z_ND[held_out]), targets[held_out])))
        return float(np.mean(losses))

    folds_N = assign_folds(groups, FOLDS, seed)
    folds = np.unique(folds_N)
    penalty = min(PENALTIES, key=held_out_loss) if len(folds) > 1 else PENALTIES[0]
    layer = fitted(np.arange(len(z_ND)), penalty)
    weight_KD = layer.weight.detach().numpy() / scaler.scale_
    return weight_KD, layer.bias.detach().numpy() - weight_KD @ scaler.mean_, f"L2 penalty {penalty:g}"


def logistic_layer(
    x_ND: np.ndarray, y_N: np.ndarray, groups: list[str], seed: int, device: torch.device
) -> tuple[np.ndarray, Layer]:
    """Fit logistic regression: return the classes that there are, (C,), and the layer of their logits.

    Args:
        x_ND: float32 features.
        y_N: classes, int64.
        groups: N group names; the records of a group are in one fold.
        seed: of the folds.
        device: where the matrix products are.
    """
    classes = np.unique(y_N)
    if len(classes) == 1:
        return classes, (np.zeros((1, x_ND.shape[1])), np.zeros(1), "one class")

    folds_N = assign_folds(groups, FOLDS, seed, y_N)
    can_choose = all(len(np.unique(y_N[folds_N != fold])) > 1 and (folds_N == fold).any() for fold in range(FOLDS))
    Cs = CS if can_choose else (STRONG,)
    model, notes = fit_logistic(
        x_ND, y_N, groups, Cs, MOST_ITERATIONS, seed, device, metric="likelihood", validation_folds=range(FOLDS)
    )
    weight_CD, bias_C = model.layer()
    if len(classes) == 2:
        weight_CD, bias_C = np.concatenate([-weight_CD, weight_CD]) / 2, np.concatenate([-bias_C, bias_C]) / 2
    return classes, (weight_CD, bias_C, notes[0])


def ridge_layer(x_ND: np.ndarray, y_N: np.ndarray, groups: list[str], seed: int) -> Layer:
    """Fit ridge regression of a number; as `logistic_layer`."""
    folds_N = assign_folds(groups, FOLDS, seed)
    folds = np.unique(folds_N).tolist()
    model, alpha = fit_ridge(x_ND.astype(np.float64), y_N, ALPHAS if len(folds) > 1 else ALPHAS[:1], folds_N, folds)
    return *model.layer(), f"alpha = {alpha:g}"
