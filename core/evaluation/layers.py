"""Linear probes of every layer of an encoder, of which the best one is chosen on val and measured.

Letters: N records, L layers as they are probed, D their width, C classes.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from PIL.Image import Image

from sensorium.errors import SensoriumError, check_not_empty, check_range
from sensorium.evaluation.delegated import DelegatedProbe
from sensorium.evaluation.folds import assign_folds
from sensorium.evaluation.labels import (
    Labeled,
    choose_column,
    count_records,
    labeled,
    labeled_or_none,
    numeric_labels,
)
from sensorium.evaluation.linear import CS, fit_logistic_path, validated_path
from sensorium.evaluation.probes import Classifier, Regressor, per_class
from sensorium.evaluation.ridge import ALPHAS, fit_ridge_path
from sensorium.evaluation.time_plot import Panel, time_plot
from sensorium.feature_table import FeatureTable, Layer

FEW = 500
"""With fewer train records, layers are chosen on all five folds of them, else on one."""
MEAN = "mean of all"
Splits = list[tuple[np.ndarray, np.ndarray]]
"""Rows that are fitted to, and rows that are validated on."""


@dataclass(frozen=True)
class Reading:
    """One candidate: a layer, or the mean over all of them.

    Args:
        layers: positions of the layers that it is the mean of.
        width: of the features.
        row: the layer, and `column` what of it is read, as tables say it.
    """

    layers: tuple[int, ...]
    width: int
    row: str
    column: str

    def of(self, x_NLD: np.ndarray) -> np.ndarray:
        """Return its features, float32 (N, D)."""
        if len(self.layers) == 1:
            return np.ascontiguousarray(x_NLD[:, self.layers[0], : self.width], np.float32)
        return x_NLD[:, list(self.layers), : self.width].mean(1, dtype=np.float32)

    def __str__(self) -> str:
        return ("mean of all layers" if self.row == MEAN else f"layer {self.row}") + f", {self.column}" * bool(
            self.column
        )


def readings_of(layers: Sequence[Layer], x_NLD: np.ndarray) -> list[Reading]:
    """Return the candidates: every layer, then for each way to read layers that are equally wide their mean.

    Args:
        layers: what the L layers are.
        x_NLD: their features; nan behind the width of a narrower layer.
    """
    widths = (~np.isnan(x_NLD[0])).sum(1).tolist() if len(x_NLD) else [0] * len(layers)
    found = [Reading((at,), widths[at], str(layer.number), layer.read) for at, layer in enumerate(layers)]
    for read in dict.fromkeys(layer.read for layer in layers):
        alike = tuple(at for at, layer in enumerate(layers) if layer.read == read)
        if len(alike) > 1 and len({widths[at] for at in alike}) == 1:
            found.append(Reading(alike, widths[alike[0]], MEAN, read))
    return found


class Layers(DelegatedProbe):
    """Linear probe of each layer of an encoder, and of the mean over layers; the best one on val is measured.

    Each layer is the mean of the tokens of a block, and, where it has one, its class token: raw and, where it has one,
    behind the encoder's final norm. A probe is logistic regression of a class, or ridge regression of a number, on
    features standardized on the train part, so that no layer wins by its scale. Layer and regularization are chosen on
    the val part; without one (of other protocols than the given split, or during training), on five folds of the train
    part that keep groups together, of 500 records or more on one of them, and the probe is then fitted on all of it.
    The figures on val of all layers stand below the table, and are drawn.

    Args:
        label: label column to predict; None takes the only one.
        modality: modality whose encoder is measured; None takes the only one that has layers.
        protocol: evaluation protocol: given, or a mapping such as {name: kfold, folds: 10}.
        task: "classification", "regression", or "auto": regression where a label of the train part has a fraction.
        Cs: inverse regularization strengths of classification to choose from, > 0, smallest first.
        alphas: regularization strengths of regression to choose from, > 0, largest first.
        max_iter: largest number of L-BFGS iterations, > 0.
        max_records: largest number of records of a part, > 0; of more, a sample is read.
    """

    space = "layers"
    uses_val = True
    selection = "layer and regularization on the val part, or without one on folds of the train part"
    breakdown_by = "layer"

    def __init__(
        self,
        label: str | None = None,
        modality: str | None = None,
        protocol: str | dict[str, Any] = "given",
        task: Literal["auto", "classification", "regression"] = "auto",
        Cs: tuple[float, ...] = CS,
        alphas: tuple[float, ...] = ALPHAS,
        max_iter: int = 200,
        max_records: int = 10_000,
    ) -> None:
        check_not_empty("evaluator 'layers'", Cs=Cs, alphas=alphas)
        check_range("evaluator 'layers'", "(0, inf)", Cs=Cs, alphas=alphas)
        check_range("evaluator 'layers'", "[1, inf)", max_iter=max_iter, max_records=max_records)
        self.label, self.modality, self.protocol, self.task = label, modality, protocol, task
        self.Cs, self.alphas, self.max_iter, self.record_limit = Cs, alphas, max_iter, max_records
        self.probe: _OfClasses | _OfNumbers = _OfClasses(self, [], None)

    def fit(self, train: FeatureTable) -> None:
        """Probe every layer, choose one, and fit."""
        if not train.features:
            raise SensoriumError(
                "No encoder here tells its layers: choose one of blocks, such as a transformer, or measure its "
                "features by 'linear'."
            )
        part = labeled(train, self.label, self.modality)
        is_regression = self.is_regression(part.values)
        modality = choose_column("modality", self.modality, list(train.features))
        layers = train.layers.get(modality) or tuple(Layer(number + 1) for number in range(part.x_ND.shape[1]))
        val = None if self.val is None else labeled_or_none(self.val, self.label, self.modality)
        self.probe = (_OfNumbers if is_regression else _OfClasses)(self, readings_of(layers, part.x_ND), val)
        self.probe.fit(train)

    def metrics_by_class(self, predictions: Mapping[str, np.ndarray]) -> dict[str, dict[str, float]]:
        """Return layer -> the figure on val of each way to read it."""
        found: dict[str, dict[str, float]] = {}
        for reading, value in self.probe.validated.items():
            found.setdefault(reading.row, {})[self._column(reading)] = value
        return found

    def plot(self, predictions: Mapping[str, np.ndarray]) -> Image:
        """Draw the figures on val over the layers, the chosen one marked."""
        single = {(r.row, r.column): value for r, value in self.probe.validated.items() if r.row != MEAN}
        rows, columns = (list(dict.fromkeys(keys)) for keys in zip(*single, strict=True))
        lines = {column or "raw": np.array([single.get((row, column), np.nan) for row in rows]) for column in columns}
        chosen = self.probe.reading
        # The first line has the marks: that of the chosen reading.
        lines = dict(sorted(lines.items(), key=lambda line: line[0] != (chosen.column or "raw")))
        marked = np.array([row == chosen.row for row in rows])
        title = f"{self.probe.figure} on val by layer; chosen: {chosen}"
        return time_plot([Panel(title, lines, marked=marked)], f"layer {rows[0]}", f"layer {rows[-1]}")

    def _column(self, reading: Reading) -> str:
        return f"val {self.probe.figure}" + f", {reading.column}" * bool(reading.column)


class _Chooses:
    """The choice of a layer, the same for probes of classes and of numbers.

    Args:
        options: the evaluator.
        readings: the candidates.
        val: the labeled records of the val part; None without one.
    """

    figure: str
    """What is measured on validation records."""
    strength: str
    """What regularization is called."""

    def __init__(self, options: Layers, readings: Sequence[Reading], val: Labeled | None) -> None:
        super().__init__(options.label, options.modality, "given")  # type: ignore[call-arg]
        self.options, self.readings, self.val_part = options, readings, val
        self.validated: dict[Reading, float] = {}
        self.seed, self.device = options.seed, options.device

    def learn(self, x_ND: np.ndarray, y_N: np.ndarray, groups: list[str]) -> None:
        """Choose a layer and its regularization by the figure on validation records, and fit to the train part."""
        x_NLD, y, splits = self._with_val(x_ND, y_N) or (x_ND, y_N, self._folds(y_N, groups))
        best, strength = -np.inf, 0
        for reading in self.readings:
            values_P, models_P = self.path(reading.of(x_NLD), y, splits)
            at = int(np.argmax(values_P))  # the first of equals
            self.validated[reading] = float(values_P[at])
            if values_P[at] > best:
                best, self.reading, strength, self.model = float(values_P[at]), reading, at, models_P[at]
        if self.val_part is None:
            self.model = self.fitted(self.reading.of(x_ND), y_N, strength)
        on = f"{len(splits)} of 5 folds" if self.val_part is None else f"{count_records(len(y) - len(y_N))} of val"
        value = f"{self.strength} = {self.strengths[strength]:g}"
        self.chosen = [f"{self.reading} ({self.figure} {best:.3f} on {on}), {value}"]

    @property
    @abstractmethod
    def strengths(self) -> tuple[float, ...]:
        """P regularization strengths."""

    @abstractmethod
    def path(self, x_ND: np.ndarray, y_N: np.ndarray, splits: Splits) -> tuple[np.ndarray, Sequence[Any]]:
        """Return the figure for each strength, mean over splits, float (P,), and the models of the first split."""

    @abstractmethod
    def fitted(self, x_ND: np.ndarray, y_N: np.ndarray, strength: int) -> Any:
        """Return the model of one strength, fitted to all of these records."""

    @abstractmethod
    def targets(self, val: Labeled) -> tuple[np.ndarray, np.ndarray]:
        """Return the rows of the val part that can be validated on, and their targets."""

    def _with_val(self, x_ND: np.ndarray, y_N: np.ndarray) -> tuple[np.ndarray, np.ndarray, Splits] | None:
        """Return features and targets of the train and the val part, and the split into them; None without val."""
        if self.val_part is None:
            return None
        rows, of_val = self.targets(self.val_part)
        if not len(rows):
            self.val_part = None
            return None
        count = len(y_N)
        splits = [(np.arange(count), np.arange(count, count + len(rows)))]
        return np.concatenate([x_ND, self.val_part.x_ND[rows]]), np.concatenate([y_N, of_val]), splits

    def _folds(self, y_N: np.ndarray, groups: list[str]) -> Splits:
        """Return the rows of the train part that are fitted to, and those that are validated on."""
        classes = list(y_N) if isinstance(self, Classifier) else None
        folds_N = assign_folds(groups, 5, self.seed, classes)
        splits = [
            (np.flatnonzero(folds_N != fold), np.flatnonzero(folds_N == fold))
            for fold in range(5 if len(groups) < FEW else 1)
        ]
        if not all(len(set(y_N[fitted])) > 1 and len(held) for fitted, held in splits):
            raise SensoriumError(
                f"The train part ({count_records(len(y_N))}) is too small to choose a layer on folds of it: give it "
                "more labeled records, or set data.val above 0."
            )
        return splits


class _OfClasses(_Chooses, Classifier):
    figure, strength = "accuracy", "C"

    @property
    def strengths(self):
        """Inverse regularization strengths."""
        return self.options.Cs

    def path(self, x_ND, y_N, splits):
        """Fit logistic regression."""
        x, y, classes = torch.from_numpy(x_ND).to(self.device), torch.from_numpy(y_N).to(self.device), len(self.classes)
        values_P, _, models = validated_path(x, y, classes, splits, self.strengths, self.options.max_iter, self.figure)
        return values_P, models[0]

    def fitted(self, x_ND, y_N, strength):
        """Fit it to all records, from where the first split ended."""
        x, y, C = (
            torch.from_numpy(x_ND).to(self.device),
            torch.from_numpy(y_N).to(self.device),
            self.strengths[strength],
        )
        start_DK = self.model.weights_DK
        return fit_logistic_path(x, y, len(self.classes), [C], self.options.max_iter, start_DK)[0]

    def targets(self, val):
        """Return the records of classes that the train part has."""
        rows = [row for row, value in enumerate(val.values) if value in self.classes]
        return np.array(rows, np.int64), np.array([self.classes[val.values[row]] for row in rows], np.int64)

    def scores(self, x_ND):
        """Return the logits."""
        return per_class(self.model.decision_function(self.reading.of(x_ND)))


class _OfNumbers(_Chooses, Regressor):
    figure, strength = "R2", "alpha"

    @property
    def strengths(self):
        """Regularization strengths."""
        return self.options.alphas

    def path(self, x_ND, y_N, splits):
        """Fit ridge regression."""
        x = x_ND.astype(np.float64)
        models = [fit_ridge_path(x[fitted], y_N[fitted], self.strengths) for fitted, _ in splits]
        values = [
            [_r2(y_N[held], model.predict(x[held])) for model in of_split]
            for of_split, (_, held) in zip(models, splits, strict=True)
        ]
        return np.mean(values, axis=0), models[0]

    def fitted(self, x_ND, y_N, strength):
        """Fit it to all records."""
        return fit_ridge_path(x_ND.astype(np.float64), y_N, [self.strengths[strength]])[0]

    def targets(self, val):
        """Return all records."""
        return np.arange(len(val.values)), numeric_labels(val)

    def predict(self, x_ND):
        """Return the predicted values."""
        return self.model.predict(self.reading.of(x_ND).astype(np.float64))


def _r2(y_N: np.ndarray, predicted_N: np.ndarray) -> float:
    """Return 1 less the squared error relative to that of the mean; of equal numbers the squared error, negative."""
    error, variance = np.mean((y_N - predicted_N) ** 2), np.var(y_N)
    return float(1 - error / variance) if variance else -float(error)
