"""What a fine-tuning learns: targets, loss and predictions."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from sensorium.contracts.evaluator import Evaluator


class Task(Evaluator):
    """A supervised task of fine-tuning: targets from labels, a loss and predictions and, as an evaluator, its metrics.

    `fit` reads the classes, or mean and std, from the labels of the train part alone; it trains nothing. The features
    that `measure` receives are outputs of the model, in the modality that the constructor receives.

    The constructor takes `label`, the label column (or, with `takes_several_labels`, `labels`, the columns, None for
    all), and `modality`, both by name; its other arguments are the options of `finetune.task`.

    Letters: B records, L label columns, K outputs for each record, D features.
    """

    metric: ClassVar[str]
    """The metric that chooses the best epoch, as `measure` names it."""
    is_regression: ClassVar[bool] = False
    """Whether targets are numbers, not classes."""
    takes_several_labels: ClassVar[bool] = False
    """Whether it has several label columns; otherwise it has one."""
    forest: ClassVar[Literal["classes", "binary", "numbers"] | None] = None
    """What a random forest on baseline features, the baseline, predicts: the one target, a class of K, whose log-odds
    are the outputs; or each of K targets, binary (log-odds) or a number. None: the baseline is a linear layer."""

    def check_labels(self, labels: Mapping[str, np.ndarray]) -> None:
        """Raise a `RecipeError` where the options do not fit the labels of the train part; called before any training.

        Args:
            labels: label column -> object array (N,) of all labeled records, None or nan where one has no label.
        """

    @property
    def columns(self) -> list[str]:
        """The label columns; known after `fit`."""
        return list(self.state()["labels"])

    def is_better(self, metric: float, than: float) -> bool:
        """Return whether one value of `metric` is better than another: the smaller, if its name ends in " ↓"."""
        return metric < than if self.metric.endswith("↓") else metric > than

    @property
    def worst(self) -> float:
        """The value of `metric` that any other is better than."""
        return math.inf if self.metric.endswith("↓") else -math.inf

    @property
    @abstractmethod
    def output_dim(self) -> int:
        """K, the number of outputs for each record; known after `fit`."""

    @abstractmethod
    def target(self, labels: Mapping[str, Any]) -> list[float]:
        """Return the L targets of one record's labels, nan for a missing label or a class outside the train part."""

    @abstractmethod
    def loss(self, outputs_BK: Tensor, targets_BL: Tensor) -> Tensor:
        """Return the mean loss over targets that are not nan; 0 if there is none."""

    def fit_linear(
        self, x_ND: np.ndarray, targets_NL: np.ndarray, groups: list[str], seed: int, device: torch.device
    ) -> tuple[np.ndarray, np.ndarray, str] | None:
        """Fit a linear layer on features; its penalty is chosen by five-fold cross-validation within them.

        Args:
            x_ND: float32 features of N records, each with a target.
            targets_NL: their targets, nan where there is none.
            groups: N group names; the records of a group are in one fold.
            seed: of the folds.
            device: where the matrix products are.

        Returns:
            Weight (K, D) and bias (K,), float64, on features as they are, and what was chosen, in words; None, the
            default, leaves it to a fit by `loss`.
        """
        return None

    def target_weights(self, targets_NL: np.ndarray) -> np.ndarray | None:
        """Return the weight of each target in `loss`, float64 (N, L); None, the default, where all weigh the same.

        The forest of the baseline learns with the same weights.
        """
        return None

    def decisions(self, outputs_NK: np.ndarray, targets_NL: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
        """Return logits (M, C) of C classes and classes, int64 (M,), of M known targets, for their calibration.

        None, the default, where outputs are no logits: they are then divided by no temperature.

        Args:
            outputs_NK: float32 outputs of N records.
            targets_NL: their targets, nan where there is none.
        """
        return None

    @abstractmethod
    def to_prediction(self, outputs_K: np.ndarray) -> Any:
        """Return the prediction for one record, a plain JSON value: a number, or name -> probability."""

    @abstractmethod
    def state(self) -> dict[str, Any]:
        """Return what `fit` learned, as plain JSON values; "labels" are the label columns."""

    @abstractmethod
    def load_state(self, state: Mapping[str, Any]) -> None:
        """Restore what `state` returned."""
