"""Linear probing by logistic regression."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from sensorium.errors import SensoriumError, check_not_empty, check_range
from sensorium.evaluation.folds import assign_folds
from sensorium.evaluation.logistic import fit_path, logits
from sensorium.evaluation.probes import METRICS, Classifier, per_class
from sensorium.evaluation.scaling import MIN_RELATIVE_STD

CS = (0.001, 0.01, 0.1, 1.0, 10.0)
CHUNK = 8192
"""Rows whose squares are in memory at once."""
ClassMetric = Literal["accuracy", "balanced accuracy", "macro-F1", "ROC-AUC"]


def selection_of(metric: str) -> str:
    """Return how C is chosen by a metric, as tables say it."""
    return f"C by {metric} on a stratified 20 % of the train part, then refitted on all of it"


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
        metric: the metric that C is chosen by, and that stands first in the table; ROC-AUC is that of two classes.
    """

    def __init__(
        self,
        label: str | None = None,
        modality: str | None = None,
        protocol: str | dict[str, Any] = "given",
        Cs: tuple[float, ...] = CS,
        max_iter: int = 200,
        standardize_by: str | None = None,
        metric: ClassMetric = "accuracy",
    ) -> None:
        check_not_empty("evaluator 'linear'", Cs=Cs)
        check_range("evaluator 'linear'", "(0, inf)", Cs=Cs)
        check_range("evaluator 'linear'", "[1, inf)", max_iter=max_iter)
        super().__init__(label, modality, protocol, standardize_by)
        self.Cs, self.max_iter, self.metric = Cs, max_iter, metric
        self.selection = selection_of(metric)

    def learn(self, x_ND, y_N, groups):
        """Choose C and fit."""
        self.model, self.chosen = fit_logistic(
            x_ND, y_N, groups, self.Cs, self.max_iter, self.seed, self.device, self.metric
        )
        if self.standardize_by is not None:
            self.chosen.append(f"features standardized within each {self.standardize_by}")

    def scores(self, x_ND):
        """Return the logits."""
        return per_class(self.model.decision_function(x_ND))


@dataclass
class StandardizedLogistic:
    """Logistic regression behind the standardization of its train records.

    Args:
        mean_D: of each feature.
        scale_D: its std; 1 of a feature that is constant up to rounding.
        weights_DK: weights of the standardized features, the intercept in the last row.
        iterations: of L-BFGS.
    """

    mean_D: Tensor
    scale_D: Tensor
    weights_DK: Tensor
    iterations: int

    def layer(self) -> tuple[np.ndarray, np.ndarray]:
        """Return weight (K, D) and bias (K,) on features as they are, float64."""
        weight_KD = (self.weights_DK[:-1].double() / self.scale_D.double()[:, None]).T.cpu().numpy()
        bias_K = self.weights_DK[-1].double().cpu().numpy() - weight_KD @ self.mean_D.double().cpu().numpy()
        return weight_KD, bias_K

    def decision_function(self, x_ND: np.ndarray | Tensor) -> np.ndarray:
        """Return logits: float32 (N, C), or (N,) for two classes, positive for the second."""
        x = torch.as_tensor(x_ND).to(self.mean_D.device, torch.float32)
        return logits((x - self.mean_D) / self.scale_D, self.weights_DK)


def fit_logistic(
    x_ND: np.ndarray,
    y_N: np.ndarray,
    groups: list[str],
    Cs: Sequence[float],
    max_iter: int,
    seed: int,
    device: torch.device,
    metric: str = "accuracy",
    validation_folds: Sequence[int] = (0,),
) -> tuple[StandardizedLogistic, list[str]]:
    """Fit logistic regression on standardized features, with C chosen on 20 % of the records, or on more of them.

    Args:
        x_ND: features.
        y_N: classes, int, two or more.
        groups: N group names; a group is never in both the fitted and the validation records.
        Cs: inverse regularization strengths to choose from.
        max_iter: largest number of L-BFGS iterations.
        seed: of the choice of the validation records.
        device: where the matrix products are.
        metric: the metric that C is chosen by; where it does not apply to the validation records, the likelihood.
        validation_folds: which fifths C is chosen on; each time, all others are fitted to.

    Returns:
        The fitted model, and notes on what was chosen.
    """
    y_N = np.unique(y_N, return_inverse=True)[1]
    x, y = torch.as_tensor(x_ND).to(device, torch.float32), torch.from_numpy(y_N).to(device)
    classes = int(y_N.max()) + 1
    C, start_DK, notes = Cs[0], None, []
    if len(Cs) > 1:
        folds_N = assign_folds(groups, 5, seed, y_N)
        splits = [(np.flatnonzero(folds_N != fold), np.flatnonzero(folds_N == fold)) for fold in validation_folds]
        if any(len(set(y_N[train])) < 2 or not len(val) for train, val in splits):
            raise SensoriumError(
                f"The train part ({len(y_N)} records) is too small to choose C on 20 % of it: "
                "give one value, such as Cs=[1.0]."
            )
        values_P, by, models = validated_path(x, y, classes, splits, Cs, max_iter, metric)
        best = int(np.argmax(values_P))  # the first of equals
        C, start_DK = Cs[best], models[0][best].weights_DK
        if by != metric:
            notes.append(f"C by {by}: the validation records are too few for {metric}")
    (model,) = fit_logistic_path(x, y, classes, [C], max_iter, start_DK)
    notes = [f"C = {C:g}", *notes]
    if model.iterations >= max_iter:
        notes.append(f"logistic regression stopped after {max_iter} iterations")
    return model, notes


def validated_path(
    x_ND: Tensor,
    y_N: Tensor,
    classes: int,
    splits: Sequence[tuple[np.ndarray, np.ndarray]],
    Cs: Sequence[float],
    max_iter: int,
    metric: str,
) -> tuple[np.ndarray, str, list[list[StandardizedLogistic]]]:
    """Return what each of P penalties is worth on validation records.

    Args:
        x_ND: features, fp32.
        y_N: classes, int64, 0 to `classes` - 1, on the same device.
        classes: number of classes.
        splits: of each split, the rows that are fitted to and the rows of the validation records.
        Cs: inverse regularization strengths.
        max_iter: largest number of L-BFGS iterations.
        metric: what is measured; where it does not apply to the validation records, the likelihood.

    Returns:
        The mean over splits for each penalty, float (P,); the name of what was measured; the models of each split.
    """
    models = [fit_logistic_path(x_ND[train], y_N[train], classes, Cs, max_iter) for train, _ in splits]
    decisions = [
        [model.decision_function(x_ND[val]) for model in of_split]
        for of_split, (_, val) in zip(models, splits, strict=True)
    ]
    values_P, by = _validated([y_N[val].cpu().numpy() for _, val in splits], decisions, metric)
    return values_P, by, models


def fit_logistic_path(
    x_ND: Tensor, y_N: Tensor, classes: int, Cs: Sequence[float], max_iter: int, start_DK: Tensor | None = None
) -> list[StandardizedLogistic]:
    """Return logistic regression on standardized features for each C; as `fit_path`."""
    mean_D, scale_D = _standardization(x_ND)
    path = fit_path((x_ND - mean_D) / scale_D, y_N, classes, Cs, max_iter, start_DK)
    return [
        StandardizedLogistic(mean_D, scale_D, weights_DK, int(iterations))
        for weights_DK, iterations in zip(path.weights_PDK, path.iterations_P, strict=True)
    ]


def _standardization(x_ND: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and std of each feature, summed in fp64; the std of one that is constant up to rounding is 1."""
    mean_D = torch.stack([rows.double().sum(0) for rows in x_ND.split(CHUNK)]).sum(0) / len(x_ND)
    squares = [(rows.double() - mean_D).square().sum(0) for rows in x_ND.split(CHUNK)]
    scale_D = (torch.stack(squares).sum(0) / len(x_ND)).sqrt()
    is_constant_D = scale_D <= MIN_RELATIVE_STD * scale_D.max()
    return mean_D.float(), torch.where(is_constant_D, 1.0, scale_D).float()


def _validated(
    y_of_splits: Sequence[np.ndarray], decisions: Sequence[Sequence[np.ndarray]], metric: str
) -> tuple[np.ndarray, str]:
    """Return the mean over splits of a value for each candidate's logits, and the name of what was measured."""
    by_metric = [
        [_metric(metric, y_N, decision) for decision in of_split]
        for y_N, of_split in zip(y_of_splits, decisions, strict=True)
    ]
    if all(value is not None for of_split in by_metric for value in of_split):
        return np.mean(np.array(by_metric, float), axis=0), metric
    likelihoods = [
        [_log_likelihood(y_N, decision) for decision in of_split]
        for y_N, of_split in zip(y_of_splits, decisions, strict=True)
    ]
    return np.mean(likelihoods, axis=0), "likelihood"


def _metric(name: str, y_N: np.ndarray, decision: np.ndarray) -> float | None:
    """Return one metric of classes; None where it does not apply, or is none of them."""
    if name not in METRICS:
        return None
    return METRICS[name](y_N, per_class(decision).argmax(1), decision if decision.ndim == 1 else None)


def _log_likelihood(y_N: np.ndarray, decision: np.ndarray) -> float:
    log_p_NC = torch.from_numpy(per_class(decision)).double().log_softmax(1).numpy()
    return float(log_p_NC[np.arange(len(y_N)), y_N].mean())
