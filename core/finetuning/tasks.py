"""What is predicted: how labels become targets, answers become a loss, and answers become figures.

A task is an evaluator of answers. It learns from the labels of the train part alone what the answers mean (classes, a
scale), and never trains anything. Letters: B records, L label columns, K answers for each record.
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
from sensorium.recipe.schema import Finetune


class Task(Evaluator):
    """Labels as targets, answers as a loss and, as an evaluator, answers as figures."""

    metric: ClassVar[str]
    """The figure by which the epoch is chosen."""

    @property
    @abstractmethod
    def width(self) -> int:
        """K, answers for each record; known after `fit`."""

    @abstractmethod
    def target(self, labels: Mapping[str, Any]) -> list[float]:
        """Return the targets of one record's labels, L numbers, nan where a label is missing or no class of train."""

    @abstractmethod
    def loss(self, answers_BK: Tensor, targets_BL: Tensor) -> Tensor:
        """Return the mean loss of the targets that are known; 0 when none is."""

    @abstractmethod
    def plain(self, answers_K: np.ndarray) -> Any:
        """Return the answers for one record as a person reads them."""

    @abstractmethod
    def state(self) -> dict[str, Any]:
        """Return what `fit` learned, as plain JSON values; "labels" are the label columns."""

    @abstractmethod
    def load_state(self, state: Mapping[str, Any]) -> None:
        """Restore what `state` returned."""


class Classification(Classifier, Task):
    """One of the classes of the train part, by cross-entropy; answers are logits."""

    metric = "accuracy"

    def learn(self, x_ND, y_N, groups):
        """Learn nothing: the answers are there."""

    def predict(self, x_ND):
        """Return the likeliest class."""
        return x_ND.argmax(1)

    @property
    def width(self):
        """The number of classes."""
        return len(self.classes)

    def target(self, labels):
        """Return the number of the class."""
        return [float(self.classes.get(labels.get(self.label), np.nan))]

    def loss(self, answers_BK, targets_BL):
        """Return the mean cross-entropy."""
        known_B = ~targets_BL[:, 0].isnan()
        summed = F.cross_entropy(answers_BK[known_B], targets_BL[known_B, 0].long(), reduction="sum")
        return summed / known_B.sum().clamp(min=1)

    def plain(self, answers_K):
        """Return class -> probability."""
        probabilities_K = torch.from_numpy(answers_K).softmax(0).tolist()
        return dict(zip(self.classes, probabilities_K, strict=True))

    def state(self):
        """Return the classes, in order."""
        return {"labels": [self.label], "classes": list(self.classes)}

    def load_state(self, state):
        """Restore the classes."""
        self.classes = {value: number for number, value in enumerate(state["classes"])}


class MultitaskClassification(Multitask, Task):
    """Yes or no in many label columns, by binary cross-entropy where the label is known; answers are logits."""

    metric = "ROC-AUC"

    def learn(self, task, x_ND, y_N, groups):
        """Learn nothing: the answers are there."""

    def scores(self, task, x_ND):
        """Return the answers for one column."""
        return x_ND[:, self.tasks.index(task)]

    @property
    def width(self):
        """The number of label columns."""
        return len(self.tasks)

    def target(self, labels):
        """Return 1 for each positive label, 0 for each other, nan where it, or the other class in train, is missing."""
        unknown = [task not in self.positive or is_missing(labels.get(task)) for task in self.tasks]
        return [
            np.nan if absent else float(labels[task] == self.positive[task])
            for task, absent in zip(self.tasks, unknown, strict=True)
        ]

    def loss(self, answers_BK, targets_BL):
        """Return the mean binary cross-entropy of the labels that are known."""
        known_BL = ~targets_BL.isnan()
        losses = F.binary_cross_entropy_with_logits(answers_BK[known_BL], targets_BL[known_BL], reduction="sum")
        return losses / known_BL.sum().clamp(min=1)

    def plain(self, answers_K):
        """Return label column -> probability of its positive class."""
        return dict(zip(self.tasks, torch.from_numpy(answers_K).sigmoid().tolist(), strict=True))

    def state(self):
        """Return the label columns, and the positive class of each that has two."""
        return {"labels": self.tasks, "positive": self.positive}

    def load_state(self, state):
        """Restore the label columns."""
        self.tasks, self.positive = list(state["labels"]), dict(state["positive"])


class Regression(Regressor, Task):
    """A number, by squared error; answers count deviations of the train part from its mean."""

    metric = "RMSE ↓"

    def learn(self, x_ND, y_N, groups):
        """Learn the scale of the labels: the answers are there."""
        self.deviation = float(y_N.std()) or 1.0

    def predict(self, x_ND):
        """Return the number."""
        return self.mean + self.deviation * x_ND[:, 0]

    @property
    def width(self):
        """One."""
        return 1

    def target(self, labels):
        """Return the number, in deviations of the train part from its mean."""
        value = labels.get(self.label)
        return [np.nan if is_missing(value) else float(value - self.mean) / self.deviation]

    def loss(self, answers_BK, targets_BL):
        """Return the mean squared error."""
        known_B = ~targets_BL[:, 0].isnan()
        return (answers_BK[known_B, 0] - targets_BL[known_B, 0]).square().sum() / known_B.sum().clamp(min=1)

    def plain(self, answers_K):
        """Return the number."""
        return float(self.predict(answers_K[None])[0])

    def state(self):
        """Return the scale of the labels."""
        return {"labels": [self.label], "mean": self.mean, "deviation": self.deviation}

    def load_state(self, state):
        """Restore the scale."""
        self.mean, self.deviation = state["mean"], state["deviation"]


def make_task(options: Finetune, modality: str, columns: list[str]) -> Task:
    """Return the task that a recipe names, not yet fitted.

    Args:
        options: the recipe's `finetune`.
        modality: whose encoder answers.
        columns: the label columns that the records carry.

    Raises:
        RecipeError: when it does not name exactly one label column and the task is about one.
    """
    if options.task == "multitask":
        task: Task = MultitaskClassification(options.labels, modality)
    else:
        named = columns if options.labels is None else options.labels
        if len(named) != 1:
            raise RecipeError(
                f"finetune.task is '{options.task}', which is about one label, but there are {len(named)} "
                f"({', '.join(named)}): set finetune.labels=[NAME], or finetune.task=multitask."
            )
        task = {"classify": Classification, "regress": Regression}[options.task](named[0], modality, "given")
    task.selection = f"epoch by {task.metric.removesuffix(' ↓')} on the val part"
    return task
