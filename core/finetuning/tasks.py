"""Supervised tasks: targets from labels, loss, predictions and metrics from model outputs.

A task is an evaluator of model outputs. `fit` reads the classes, or mean and std, from the labels of the train part
alone; it trains nothing. Letters: B records, L label columns, K outputs for each record.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from sensorium.contracts import Evaluator
from sensorium.errors import RecipeError
from sensorium.evaluation.labels import is_missing
from sensorium.evaluation.multitask import Multitask
from sensorium.evaluation.probes import Classifier, Regressor
from sensorium.finetuning.linear_probe import LinearProbe, linear_probe, logistic_layer, ridge_layer
from sensorium.recipe.schema import Finetune

IGNORED = -100
"""The class of a record without a label."""
ABSENT = -20.0
"""The logit of a class that no record of a fold has."""


class Task(Evaluator):
    """Targets and loss of a supervised task and, as an evaluator, its metrics."""

    metric: ClassVar[str]
    """The metric that chooses the best epoch."""
    is_regression: ClassVar[bool] = False
    """Whether targets are numbers; the best metric is then the smallest."""

    @property
    def columns(self) -> list[str]:
        """The label columns; known after `fit`."""
        return list(self.state()["labels"])

    def is_better(self, metric: float, than: float) -> bool:
        """Return whether one value of `metric` is better than another."""
        return metric < than if self.is_regression else metric > than

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

    @abstractmethod
    def fit_linear(
        self, x_ND: np.ndarray, targets_NL: np.ndarray, groups: list[str], seed: int, device: torch.device
    ) -> LinearProbe:
        """Fit a linear layer on features; its penalty is chosen by five-fold cross-validation within them.

        Args:
            x_ND: float32 features of N records.
            targets_NL: their targets, nan where there is none.
            groups: N group names; the records of a group are in one fold.
            seed: of the folds.
            device: where the matrix products are.
        """

    @abstractmethod
    def to_prediction(self, outputs_K: np.ndarray) -> Any:
        """Return the prediction for one record: a number, or name -> probability."""

    @abstractmethod
    def state(self) -> dict[str, Any]:
        """Return what `fit` learned, as plain JSON values; "labels" are the label columns."""

    @abstractmethod
    def load_state(self, state: Mapping[str, Any]) -> None:
        """Restore what `state` returned."""


class Classification(Classifier, Task):
    """Single-label classification by cross-entropy; outputs are logits."""

    metric = "accuracy"

    def learn(self, x_ND, y_N, groups):
        """Fit nothing: the outputs are the logits."""

    def scores(self, x_ND):
        """Return the logits."""
        return x_ND

    @property
    def output_dim(self):
        """The number of classes."""
        return len(self.classes)

    def target(self, labels):
        """Return the index of the class."""
        return [float(self.classes.get(labels.get(self.label), np.nan))]

    def loss(self, outputs_BK, targets_BL):
        """Return the mean cross-entropy."""
        known_B = ~targets_BL[:, 0].isnan()
        class_B = torch.where(known_B, targets_BL[:, 0], IGNORED).long()
        summed = F.cross_entropy(outputs_BK, class_B, ignore_index=IGNORED, reduction="sum")
        return summed / known_B.sum().clamp(min=1)

    def fit_linear(self, x_ND, targets_NL, groups, seed, device):
        """Fit multinomial logistic regression."""
        known = np.flatnonzero(~np.isnan(targets_NL[:, 0]))
        groups = [groups[row] for row in known]
        present, (weight_CD, bias_C, about) = logistic_layer(
            x_ND[known], targets_NL[known, 0].astype(np.int64), groups, seed, device
        )
        weight_KD, bias_K = np.zeros((self.output_dim, x_ND.shape[1])), np.full(self.output_dim, ABSENT)
        weight_KD[present], bias_K[present] = weight_CD, bias_C
        return linear_probe(x_ND[known], (weight_KD, bias_K, about))

    def to_prediction(self, outputs_K):
        """Return class -> probability."""
        probabilities_K = torch.from_numpy(outputs_K).softmax(0).tolist()
        return dict(zip(self.classes, probabilities_K, strict=True))

    def state(self):
        """Return the classes, in order."""
        return {"labels": [self.label], "classes": list(self.classes)}

    def load_state(self, state):
        """Restore the classes."""
        self.classes = {value: number for number, value in enumerate(state["classes"])}


class MultitaskClassification(Multitask, Task):
    """Binary classification in several label columns by binary cross-entropy over known labels; outputs are logits."""

    metric = "ROC-AUC"

    def learn(self, task, x_ND, y_N, groups):
        """Fit nothing: the outputs are the logits."""

    def scores(self, task, x_ND):
        """Return the logits of one label column."""
        return x_ND[:, self.tasks.index(task)]

    @property
    def output_dim(self):
        """The number of label columns."""
        return len(self.tasks)

    def target(self, labels):
        """Return 1 for a positive label, 0 for a negative, nan if it is missing or the train part has one class."""
        unknown = [task not in self.positive or is_missing(labels.get(task)) for task in self.tasks]
        return [
            np.nan if missing else float(labels[task] == self.positive[task])
            for task, missing in zip(self.tasks, unknown, strict=True)
        ]

    def loss(self, outputs_BK, targets_BL):
        """Return the mean binary cross-entropy over known labels."""
        known_BL = ~targets_BL.isnan()
        losses_BL = F.binary_cross_entropy_with_logits(outputs_BK, targets_BL.nan_to_num(), reduction="none")
        return losses_BL.where(known_BL, 0.0).sum() / known_BL.sum().clamp(min=1)

    def fit_linear(self, x_ND, targets_NL, groups, seed, device):
        """Fit one logistic regression for each label column."""
        weight_KD, bias_K = np.zeros((self.output_dim, x_ND.shape[1])), np.zeros(self.output_dim)
        chosen = []
        for k, targets_N in enumerate(targets_NL.T):
            known = np.flatnonzero(~np.isnan(targets_N))
            if len(np.unique(targets_N[known])) < 2:
                continue
            of_known = [groups[row] for row in known]
            _, (weight_CD, bias_C, about) = logistic_layer(
                x_ND[known], targets_N[known].astype(np.int64), of_known, seed, device
            )
            weight_KD[k], bias_K[k] = weight_CD[1] - weight_CD[0], bias_C[1] - bias_C[0]
            chosen.append(about)
        about = chosen[0] if len(self.tasks) == 1 and chosen else "C for each label column"
        return linear_probe(x_ND, (weight_KD, bias_K, about))

    def to_prediction(self, outputs_K):
        """Return label column -> probability of its positive class."""
        return dict(zip(self.tasks, torch.from_numpy(outputs_K).sigmoid().tolist(), strict=True))

    def state(self):
        """Return the label columns, and the positive class of each that has two."""
        return {"labels": self.tasks, "positive": self.positive}

    def load_state(self, state):
        """Restore the label columns."""
        self.tasks, self.positive = list(state["labels"]), dict(state["positive"])


class Regression(Regressor, Task):
    """Regression by squared error; outputs are labels standardized on the train part."""

    metric, is_regression = "RMSE ↓", True

    def learn(self, x_ND, y_N, groups):
        """Compute the std of the labels; the outputs are the predictions."""
        self.std = float(y_N.std()) or 1.0

    def predict(self, x_ND):
        """Return the number."""
        return self.mean + self.std * x_ND[:, 0]

    @property
    def output_dim(self):
        """One."""
        return 1

    def target(self, labels):
        """Return the standardized label."""
        value = labels.get(self.label)
        return [np.nan if is_missing(value) else float(value - self.mean) / self.std]

    def loss(self, outputs_BK, targets_BL):
        """Return the mean squared error."""
        known_B = ~targets_BL[:, 0].isnan()
        squares_B = (outputs_BK[:, 0] - targets_BL[:, 0].nan_to_num()).square()
        return squares_B.where(known_B, 0.0).sum() / known_B.sum().clamp(min=1)

    def fit_linear(self, x_ND, targets_NL, groups, seed, device):
        """Fit ridge regression."""
        known = np.flatnonzero(~np.isnan(targets_NL[:, 0]))
        layer = ridge_layer(x_ND[known], targets_NL[known, 0], [groups[row] for row in known], seed)
        return linear_probe(x_ND[known], layer)

    def to_prediction(self, outputs_K):
        """Return the number."""
        return float(self.predict(outputs_K[None])[0])

    def state(self):
        """Return mean and std of the labels."""
        return {"labels": [self.label], "mean": self.mean, "std": self.std}

    def load_state(self, state):
        """Restore mean and std."""
        self.mean, self.std = state["mean"], state["std"]


def make_task(options: Finetune, modality: str, columns: list[str]) -> Task:
    """Return the task of a recipe, not fitted.

    Args:
        options: the recipe's `finetune`.
        modality: the modality of the encoder.
        columns: the label columns of the records.

    Raises:
        RecipeError: when the task has a single label, and the recipe does not name exactly one label column.
    """
    if options.task == "multitask":
        task: Task = MultitaskClassification(options.labels, modality)
    else:
        named = columns if options.labels is None else options.labels
        if len(named) != 1:
            raise RecipeError(
                f"finetune.task is '{options.task}', which has one label, but there are {len(named)} "
                f"({', '.join(named)}): set finetune.labels=[NAME], or finetune.task=multitask."
            )
        task = {"classification": Classification, "regression": Regression}[options.task](named[0], modality, "given")
    return task
