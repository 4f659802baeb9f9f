"""Attentive probe: attention pooling of an encoder's tokens, learned beside a linear map.

Letters: N records, T tokens, D their width, C outputs.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from sensorium.errors import RecipeError, SensoriumError, check_not_empty, check_range
from sensorium.evaluation.attention_probes import AttentionProbes, CachedTokens, outputs_of
from sensorium.evaluation.attention_training import (
    Figure,
    Held,
    Loss,
    Schedule,
    Task,
    accuracy,
    choose,
    cross_entropy,
    r2,
    squared_error,
    trained,
)
from sensorium.evaluation.delegated import DelegatedProbe
from sensorium.evaluation.folds import assign_folds
from sensorium.evaluation.labels import Labeled, count_records, labeled, labeled_or_none, numeric_labels
from sensorium.evaluation.probes import Classifier, Regressor
from sensorium.feature_table import FeatureTable
from sensorium.seeding import generator, seed_of

MOST_HEADS = 12
"""Attention heads of AIM's probe; fewer where they do not divide the width."""
FEW = 1000
"""With fewer train records, the choice is made on all five folds of them, else on one."""


class Attentive(DelegatedProbe):
    """Attention-pooling probe of frozen tokens (AIM, El-Nouby et al. 2024).

    What learned queries, keys and values pool of the tokens goes through a linear map. Tokens are standardized by each
    feature's mean and std over the tokens of the train part (AIM's batch norm without affine map), padding is masked. A
    grid of learning rates and weight decays is trained at once on the same batches (as in V-JEPA 2) with AdamW, a
    warm-up and a cosine to 0; learning rate, weight decay and number of steps are chosen on the val part. Without one
    (under other protocols than the given split, or during training) they are chosen on folds of the train part that
    keep groups together, five of them, or one of 1,000 records or more; the probe is then trained on all of it. A
    training ends when no probe of the grid gets better any more.

    Args:
        label: label column to predict; None takes the only one.
        modality: modality whose encoder is measured; None takes the only one that has tokens.
        protocol: evaluation protocol: given, or a mapping such as {name: kfold, folds: 10}.
        task: "classification", "regression", or "auto": regression where a label of the train part has a fraction.
        heads: attention heads, a divisor of the tokens' width; "auto" is 12, or the largest number below that divides.
        queries: learned queries, >= 1, over which what they pool is averaged.
        lrs: peak learning rates to choose from, > 0.
        weight_decays: weight decays to choose from, >= 0; a single one, with a single rate, is used as it is, for all
            steps.
        epochs: passes over the train part, >= 1; there are 100 steps of 128 records at least.
        max_records: largest number of records of a part, > 0; of more, or of what does not fit into memory, a sample is
            read.
    """

    space = "tokens"
    uses_val = True
    selection = "learning rate, weight decay and steps on the val part, or without one on folds of the train part"

    def __init__(
        self,
        label: str | None = None,
        modality: str | None = None,
        protocol: str | dict[str, Any] = "given",
        task: Literal["auto", "classification", "regression"] = "auto",
        heads: int | Literal["auto"] = "auto",
        queries: int = 1,
        lrs: tuple[float, ...] = (3e-4, 1e-3, 3e-3, 1e-2),
        weight_decays: tuple[float, ...] = (0.01, 0.1, 0.4),
        epochs: int = 20,
        max_records: int = 10_000,
    ) -> None:
        check_not_empty("evaluator 'attentive'", lrs=lrs, weight_decays=weight_decays)
        check_range("evaluator 'attentive'", "(0, inf)", lrs=lrs)
        check_range("evaluator 'attentive'", "[0, inf)", weight_decays=weight_decays)
        check_range("evaluator 'attentive'", "[1, inf)", queries=queries, epochs=epochs, max_records=max_records)
        if heads != "auto":
            check_range("evaluator 'attentive'", "[1, inf)", heads=heads)
        self.label, self.modality, self.protocol, self.task = label, modality, protocol, task
        self.heads, self.queries, self.epochs, self.record_limit = heads, queries, epochs, max_records
        self.lrs, self.weight_decays = lrs, weight_decays
        self.probe: _OfClasses | _OfNumbers = _OfClasses(self, None)

    def fit(self, train: FeatureTable) -> None:
        """Train the grid, and choose a probe of it."""
        if not train.features:
            raise SensoriumError(
                "No encoder here returns tokens, which attention pools: choose one that does, such as a transformer, "
                "or measure its features by 'linear'."
            )
        values = labeled(train, self.label, self.modality).values
        is_regression = self.is_regression(values)
        val = None if self.val is None else labeled_or_none(self.val, self.label, self.modality)
        self.probe = (_OfNumbers if is_regression else _OfClasses)(self, val)
        self.probe.fit(train)

    def heads_of(self, width: int) -> int:
        """Return the number of attention heads for tokens of a width.

        Raises:
            RecipeError: when those that are asked for do not divide it.
        """
        if self.heads == "auto":
            return next(heads for heads in range(min(MOST_HEADS, width), 0, -1) if width % heads == 0)
        if width % self.heads:
            raise RecipeError(
                f"The evaluator 'attentive' has {self.heads} heads, which do not divide the width {width} of the "
                "tokens: leave the option heads out, or choose a divisor."
            )
        return self.heads


class _Attends:
    """The grid and the choice, the same for probes of classes and of numbers.

    Args:
        options: the evaluator.
        val: the labeled records of the val part; None without one.
    """

    figure_name: str
    figure: Figure
    loss: Loss

    def __init__(self, options: Attentive, val: Labeled | None) -> None:
        super().__init__(options.label, options.modality, "given")  # type: ignore[call-arg]
        self.options, self.val_part = options, val
        self.seed, self.device = options.seed, options.device

    @property
    @abstractmethod
    def outputs(self) -> int:
        """C, what the linear map returns."""

    @abstractmethod
    def encoded(self, y_N: np.ndarray) -> Tensor:
        """Return targets of the train part, or of the val part, on the device."""

    @abstractmethod
    def of_val(self, val: Labeled) -> tuple[np.ndarray, np.ndarray]:
        """Return the rows of the val part that can be validated on, and their targets."""

    def learn(self, x_ND: np.ndarray, y_N: np.ndarray, groups: list[str]) -> None:
        """Train the grid and choose a probe of it."""
        options, (count, _, width) = self.options, x_ND.shape
        heads = options.heads_of(width)
        self.statistics = CachedTokens(x_ND, self.device).measured()
        tokens, targets = CachedTokens(x_ND, self.device, self.statistics), self.encoded(y_N)

        def new(probes: int) -> AttentionProbes:
            rng = generator("attentive", self.seed)
            return AttentionProbes(width, self.outputs, heads, options.queries, probes, rng, self.device)

        seed, schedule = seed_of("attentive", self.seed), Schedule.of(count, options.epochs)
        task = Task(tokens, targets, self.loss, self.figure, schedule, new, seed)
        on = ""
        if len(options.lrs) * len(options.weight_decays) == 1:
            choice = trained(task, options.lrs[0], options.weight_decays[0])
        else:
            held = self._val() or Held(tokens, targets, self._folds(y_N, groups), is_of_train=True)
            choice = choose(task, held, options.lrs, options.weight_decays)
            of = f"{len(held.rows)} of 5 folds" if held.is_of_train else f"{count_records(len(held.targets))} of val"
            on = f" ({self.figure_name} {choice.figure:.3f} on {of})"
        self.probe = choice.probe
        self.chosen = [f"learning rate {choice.lr:g}, weight decay {choice.decay:g}, {choice.steps} steps{on}"]

    def _val(self) -> Held | None:
        """Return the records of the val part that can be validated on, None without any."""
        if self.val_part is None:
            return None
        rows, targets = self.of_val(self.val_part)
        if not len(rows):
            return None
        tokens = CachedTokens(self.val_part.x_ND[rows], self.device, self.statistics)
        return Held(tokens, self.encoded(targets), [np.arange(len(rows))], is_of_train=False)

    def _folds(self, y_N: np.ndarray, groups: list[str]) -> list[np.ndarray]:
        """Return the train records of each fold that is validated on."""
        folds_N = assign_folds(groups, 5, self.seed, list(y_N) if isinstance(self, Classifier) else None)
        if len(set(folds_N)) < 5:
            raise SensoriumError(
                f"The train part ({count_records(len(y_N))}) is too small to choose on folds of it: give it more "
                "labeled records, or set data.val above 0."
            )
        return [np.flatnonzero(folds_N == fold) for fold in range(5 if len(y_N) < FEW else 1)]

    def predicted_outputs(self, x_NTD: np.ndarray) -> np.ndarray:
        """Return the outputs of the chosen probe, float32 (N, C)."""
        return outputs_of(self.probe, CachedTokens(x_NTD, self.device, self.statistics))[:, 0].cpu().numpy()


class _OfClasses(_Attends, Classifier):
    figure_name, figure, loss = "accuracy", staticmethod(accuracy), staticmethod(cross_entropy)

    @property
    def outputs(self):
        """One logit for each class."""
        return len(self.classes)

    def encoded(self, y_N):
        """Return the classes."""
        return torch.from_numpy(y_N).to(self.device)

    def of_val(self, val):
        """Return the records of classes that the train part has."""
        rows = [row for row, value in enumerate(val.values) if value in self.classes]
        return np.array(rows, np.int64), np.array([self.classes[val.values[row]] for row in rows], np.int64)

    def scores(self, x_ND):
        """Return the logits."""
        return self.predicted_outputs(x_ND)


class _OfNumbers(_Attends, Regressor):
    figure_name, figure, loss = "R2", staticmethod(r2), staticmethod(squared_error)

    @property
    def outputs(self):
        """The standardized number."""
        return 1

    def learn(self, x_ND, y_N, groups):
        """Standardize the numbers, and learn."""
        self.scale = float(y_N.std()) or 1.0
        super().learn(x_ND, y_N, groups)

    def encoded(self, y_N):
        """Return the numbers, standardized on the train part."""
        return torch.from_numpy((y_N - self.mean) / self.scale).to(self.device, torch.float32)

    def of_val(self, val):
        """Return all records."""
        return np.arange(len(val.values)), numeric_labels(val)

    def predict(self, x_ND):
        """Return the predicted values."""
        return self.predicted_outputs(x_ND)[:, 0].astype(np.float64) * self.scale + self.mean
