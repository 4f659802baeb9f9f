"""The built-in tasks: classification, multitask classification and regression."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from sensorium.contracts import Task
from sensorium.devices import device_constant
from sensorium.errors import RecipeError, SensoriumError, not_found
from sensorium.evaluation.labels import is_missing, is_number
from sensorium.evaluation.multitask import Multitask
from sensorium.evaluation.probes import Classifier, Regressor
from sensorium.finetuning.labeled import targets_of
from sensorium.finetuning.linear_probe import logistic_layer, ridge_layer
from sensorium.models.makers import Maker
from sensorium.recipe.schema import Finetune

IGNORED = -100
"""The class of a record without a label."""
ABSENT = -20.0
"""The logit of a class that no record of a fold has."""


class Classification(Classifier, Task):
    """Single-label classification by cross-entropy; outputs are logits.

    Args:
        label: the label column.
        modality: that of the outputs.
        class_weights: weight of each class in the loss, by its name, 1 for classes that are not named; "balanced" for
            weights inverse to the number of labeled records of the class, with a mean over these records of 1, and
            the best epoch by balanced accuracy; None for equal weights.
    """

    metric, forest = "accuracy", "classes"
    for_numbers = "Set finetune.task=regression"

    def __init__(
        self, label: str, modality: str, class_weights: Literal["balanced"] | dict[str, float] | None = None
    ) -> None:
        super().__init__(label, modality, "given")
        _check_weights(class_weights)
        self.class_weights = class_weights
        self.weight_K: np.ndarray | None = None
        if class_weights == "balanced":
            self.metric = "balanced accuracy"

    def learn(self, x_ND, y_N, groups):
        """Fit no layer, the outputs are the logits; compute the weights of classes."""
        if self.class_weights == "balanced":
            self.weight_K = balanced_weights(y_N, len(self.classes))
        elif self.class_weights is not None:
            given = self.class_weights
            named = [[given[name] for name in _names(value) if name in given] for value in self.classes]
            self.weight_K = np.array([weights[0] if weights else 1.0 for weights in named])

    def check_labels(self, labels):
        """Refuse weights of what is no class."""
        classes = {value for value in labels[self.label].tolist() if not is_missing(value)}
        names = sorted(name for value in classes for name in _names(value))
        _check_names(self.class_weights, names, f"no class of '{self.label}'", "its classes are")

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
        if self.weight_K is None:
            summed = F.cross_entropy(outputs_BK, class_B, ignore_index=IGNORED, reduction="sum")
            return summed / known_B.sum().clamp(min=1)
        weight_K = _constant(outputs_BK.device, *self.weight_K.tolist()).to(outputs_BK.dtype)
        summed = F.cross_entropy(outputs_BK, class_B, weight_K, ignore_index=IGNORED, reduction="sum")
        weights_B = weight_K[class_B.clamp(min=0)].where(known_B, 0.0)
        return summed / weights_B.sum().clamp(min=torch.finfo(weights_B.dtype).tiny)

    def fit_linear(self, x_ND, targets_NL, groups, seed, device):
        """Fit multinomial logistic regression; of weighted classes, by the loss."""
        if self.weight_K is not None:
            return None
        present, (weight_CD, bias_C, about) = logistic_layer(
            x_ND, targets_NL[:, 0].astype(np.int64), groups, seed, device
        )
        weight_KD, bias_K = np.zeros((self.output_dim, x_ND.shape[1])), np.full(self.output_dim, ABSENT)
        weight_KD[present], bias_K[present] = weight_CD, bias_C
        return weight_KD, bias_K, about

    def target_weights(self, targets_NL):
        """Return the weight of each record's class."""
        if self.weight_K is None:
            return None
        return self.weight_K[np.nan_to_num(targets_NL).astype(np.int64)] * ~np.isnan(targets_NL)

    def decisions(self, outputs_NK, targets_NL):
        """Return the logits and the class of each record that has one."""
        known = np.flatnonzero(~np.isnan(targets_NL[:, 0]))
        return outputs_NK[known].astype(np.float64), targets_NL[known, 0].astype(np.int64)

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
    """Binary classification in several label columns by binary cross-entropy over known labels; outputs are logits.

    Args:
        labels: the label columns; None for all.
        modality: that of the outputs.
        class_weights: weight of the positive class of each label column in the loss, beside 1 of the negative, by the
            name of the column, 1 for those that are not named; "balanced" for weights of both inverse to the number of
            labeled records of the class, with a mean over these records of 1; None for equal weights.
    """

    metric, forest, takes_several_labels = "ROC-AUC", "binary", True
    for_more_classes = "name the others by finetune.labels, or set finetune.task=classification for this one"

    def __init__(
        self,
        labels: list[str] | None,
        modality: str,
        class_weights: Literal["balanced"] | dict[str, float] | None = None,
    ) -> None:
        super().__init__(labels, modality)
        _check_weights(class_weights)
        self.class_weights = class_weights
        self.weight_L2: np.ndarray | None = None

    def fit(self, train):
        """Read the two classes of each label column; compute their weights."""
        super().fit(train)
        if not self.positive:
            raise SensoriumError(f"No label of {', '.join(self.tasks)} has two classes in the train part.")
        if self.class_weights is None:
            return
        if self.class_weights == "balanced":
            targets_NL = targets_of(self, train)
            known_NL = ~np.isnan(targets_NL)
            columns = zip(targets_NL.T, known_NL.T, strict=True)
            self.weight_L2 = np.stack([balanced_weights(y_N[known_N].astype(np.int64), 2) for y_N, known_N in columns])
            return
        self.weight_L2 = np.array([[1.0, self.class_weights.get(name, 1.0)] for name in self.tasks])

    def check_labels(self, labels):
        """Refuse weights of what is no label column."""
        _check_names(self.class_weights, list(labels), "no label of the task", "its labels are")

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
        if self.weight_L2 is None:
            return losses_BL.where(known_BL, 0.0).sum() / known_BL.sum().clamp(min=1)
        negative_L, positive_L = (
            _constant(losses_BL.device, *weight_L).to(losses_BL.dtype) for weight_L in self.weight_L2.T.tolist()
        )
        weights_BL = torch.where(targets_BL > 0.5, positive_L, negative_L).where(known_BL, 0.0)
        summed = (losses_BL * weights_BL).sum()
        return summed / weights_BL.sum().clamp(min=torch.finfo(weights_BL.dtype).tiny)

    def fit_linear(self, x_ND, targets_NL, groups, seed, device):
        """Fit one logistic regression for each label column; of weighted classes, by the loss."""
        if self.weight_L2 is not None:
            return None
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
        return weight_KD, bias_K, about

    def target_weights(self, targets_NL):
        """Return the weight of each known label."""
        if self.weight_L2 is None:
            return None
        return np.where(targets_NL > 0.5, self.weight_L2[:, 1], self.weight_L2[:, 0]) * ~np.isnan(targets_NL)

    def decisions(self, outputs_NK, targets_NL):
        """Return the logits 0 and z, and the class, of each known label of each record."""
        known_NL = ~np.isnan(targets_NL)
        z_M = outputs_NK[known_NL].astype(np.float64)
        return np.stack([np.zeros_like(z_M), z_M], axis=1), targets_NL[known_NL].astype(np.int64)

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
    """Regression by squared error; outputs are labels standardized on the train part.

    Args:
        label: the label column.
        modality: that of the outputs.
    """

    metric, forest, is_regression = "RMSE ↓", "numbers", True

    def __init__(self, label: str, modality: str) -> None:
        super().__init__(label, modality, "given")

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
        if is_missing(value):
            return [np.nan]
        if not is_number(value):
            raise SensoriumError(
                f"The label '{self.label}' has the value {value!r}, which is not a number: write a number there, or "
                "leave the cell empty."
            )
        return [(float(value) - self.mean) / self.std]

    def loss(self, outputs_BK, targets_BL):
        """Return the mean squared error."""
        known_B = ~targets_BL[:, 0].isnan()
        squares_B = (outputs_BK[:, 0] - targets_BL[:, 0].nan_to_num()).square()
        return squares_B.where(known_B, 0.0).sum() / known_B.sum().clamp(min=1)

    def fit_linear(self, x_ND, targets_NL, groups, seed, device):
        """Fit ridge regression."""
        return ridge_layer(x_ND, targets_NL[:, 0], groups, seed)

    def to_prediction(self, outputs_K):
        """Return the number."""
        return float(self.predict(outputs_K[None])[0])

    def state(self):
        """Return mean and std of the labels."""
        return {"labels": [self.label], "mean": self.mean, "std": self.std}

    def load_state(self, state):
        """Restore mean and std."""
        self.mean, self.std = state["mean"], state["std"]


@device_constant
def _constant(*weights: float) -> Tensor:
    """Return weights, float32 (K,)."""
    return torch.tensor(weights)


def balanced_weights(y_N: np.ndarray, count: int) -> np.ndarray:
    """Return weights of classes inverse to their numbers of records, float64 (K,): their mean over records is 1.

    That is N / (K N_k), with K the number of classes that there are; 1 for a class without records.

    Args:
        y_N: classes, int64.
        count: K.
    """
    counts_K = np.bincount(y_N, minlength=count)
    there_K = counts_K > 0
    return np.where(there_K, len(y_N) / (max(there_K.sum(), 1) * counts_K.clip(min=1)), 1.0)


def _check_weights(class_weights: Literal["balanced"] | dict[str, float] | None) -> None:
    """Raise an error for a weight that is not a positive number."""
    for name, weight in class_weights.items() if isinstance(class_weights, dict) else ():
        if not 0 < weight < float("inf"):
            raise RecipeError(f"finetune.task.class_weights has {weight:g} for '{name}': a weight is above 0.")


def _names(value: object) -> list[str]:
    """Return what a recipe may call a class: True is "true" in one."""
    return [str(value).lower(), str(value)] if isinstance(value, bool | np.bool_) else [str(value)]


def _check_names(
    class_weights: Literal["balanced"] | dict[str, float] | None, names: list[str], what: str, known: str
) -> None:
    """Raise an error for the weight of a name that is none of `names`."""
    for name in class_weights if isinstance(class_weights, dict) else ():
        if name not in names:
            problem = f"finetune.task.class_weights names '{name}', which is {what}"
            raise RecipeError(not_found(problem, name, names, f"{known} {', '.join(names)}"))


def make_task(make: Maker[Task], options: Finetune, modality: str, columns: list[str]) -> Task:
    """Return the task of a recipe, not fitted.

    Args:
        make: makes the task of `finetune.task`.
        options: the recipe's `finetune`.
        modality: the modality of the encoder.
        columns: the label columns of the records.

    Raises:
        RecipeError: when the task has a single label, and the recipe does not name exactly one label column.
    """
    if not columns and not options.labels:
        raise RecipeError(
            "The records have no labels to fine-tune on: name the source's label columns, as in "
            "data.source.labels=[NAME], or a source that has some."
        )
    if make.cls.takes_several_labels:
        return make.with_options(labels=options.labels, modality=modality)()
    named = columns if options.labels is None else options.labels
    if len(named) != 1:
        raise RecipeError(
            f"finetune.task is '{options.task}', which has one label, but there are {len(named)} "
            f"({', '.join(named)}): set finetune.labels=[NAME], or finetune.task=multitask."
        )
    return make.with_options(label=named[0], modality=modality)()
