"""Fine-tuning of one encoder on the labels of one seed: the linear probe, the choice of the epoch, the final model.

Letters: N labeled records, D features, E epochs, K outputs.
"""

from __future__ import annotations

import copy
import logging
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from lightning_fabric import Fabric

from sensorium.data.loader import Loader
from sensorium.feature_table import FeatureTable
from sensorium.finetuning.labeled import LabeledRecords
from sensorium.finetuning.linear_probe import LinearProbe, linear_probe
from sensorium.finetuning.loop import EncoderWithHead, Epoch, train_epochs
from sensorium.models.optimization import Optimization
from sensorium.recipe.schema import Finetune
from sensorium.types import TrainingSize

log = logging.getLogger("sensorium")
Initialization = Literal["scratch", "weights", "trained"]
"""Random weights; those that the run started from; those of the run."""
INTERVAL = 10.0
"""Seconds between lines of progress."""


@dataclass(frozen=True)
class BestEpoch:
    """The best epoch, counted from 1, or 0 for the linear probe.

    Args:
        epoch: its number.
        metric: its metric on held-out records, those of the val part or of the folds.
        held_out: the outputs of these records after it; None before there is one.
    """

    epoch: int
    metric: float
    held_out: FeatureTable | None = None


@dataclass(frozen=True)
class Tuning:
    """One fine-tuning: an initialization of the encoder, and the labels and random draws of one seed.

    A trained encoder starts at its linear probe, which is then epoch 0 of those that are compared, and has a learning
    rate of its own, which may decay by layer. One from scratch starts with a random head, and has the learning rate of
    the head.

    Args:
        name: of the row and the seed, as progress names them.
        initialization: of the encoder.
        make: returns the encoder with its first weights and a random head, on the device of `fabric`.
        loader: positions in the source -> a loader of them.
        read: a model, and positions or a part -> the table of its outputs.
        labeled: the records to learn from.
        features_ND: frozen features of these records under the encoder's first weights.
        options: the recipe's `finetune`.
        optimization: of the head.
        modality: of the encoder.
        seed: of the order of records, dropout and folds.
        fabric: device and precision.
    """

    name: str
    initialization: Initialization
    make: Callable[[], EncoderWithHead]
    loader: Callable[[np.ndarray], Loader]
    read: Callable[[EncoderWithHead, np.ndarray | str], FeatureTable]
    labeled: LabeledRecords
    features_ND: np.ndarray
    options: Finetune
    optimization: Optimization
    modality: str
    seed: int
    fabric: Fabric

    def probe(self, rows: np.ndarray) -> LinearProbe:
        """Fit the linear probe to the labeled records at `rows`."""
        groups = [self.labeled.table.groups[row] for row in rows]
        task, targets_NL = self.labeled.task, self.labeled.targets()[rows]
        return linear_probe(task, self.features_ND[rows], targets_NL, groups, self.seed, self.fabric.device)

    def by_val_part(self, report: Callable[[int, dict[str, float]], None]) -> tuple[EncoderWithHead, BestEpoch]:
        """Train on all labeled records, and return the model of the epoch with the best metric on the val part.

        Args:
            report: called with the step and its metrics after every epoch.
        """
        task, rows = self.labeled.task, np.arange(len(self.labeled.table))
        best, weights = BestEpoch(0, task.worst), {}
        for model, epoch in self._epochs(rows, self.name):
            if epoch.number == 0 and not self._starts_at_probe:
                continue
            val = self.read(model, "val")
            metrics = task.measure(val)
            report(epoch.step, {"loss": epoch.loss, **{f"val/{name}": value for name, value in metrics.items()}})
            if task.is_better(metrics[task.metric], best.metric):
                best, weights = BestEpoch(epoch.number, metrics[task.metric], val), copy.deepcopy(model.state_dict())
        model.load_state_dict(weights)
        return _done(model), best

    def by_folds(self, report: Callable[[int, dict[str, float]], None]) -> tuple[EncoderWithHead, BestEpoch]:
        """Choose the epoch by cross-validation, then train on all labeled records up to that epoch.

        The metric of an epoch is that of the predictions of all folds, joined.

        Args:
            report: as for `by_val_part`.
        """
        task, folds_N, first = self.labeled.task, self.labeled.folds(self.seed), 0 if self._starts_at_probe else 1
        count = self.labeled.held_out_folds
        outputs_ENK = np.full((self.options.epochs + 1, len(folds_N), task.output_dim), np.nan, np.float32)
        for fold in range(count):
            held_out = np.flatnonzero(folds_N == fold)
            name = f"{self.name}, fold {fold + 1} of {count}"
            for model, epoch in self._epochs(np.flatnonzero(folds_N != fold), name):
                if epoch.number >= first:
                    table = self.read(model, self.labeled.positions[held_out])
                    outputs_ENK[epoch.number, held_out] = table.features[self.modality]
        best = BestEpoch(0, task.worst)
        rows = np.flatnonzero(folds_N < count)
        table = self.labeled.table.select(rows)
        for number in range(first, len(outputs_ENK)):
            held_out = replace(table, features={self.modality: outputs_ENK[number, rows]})
            metrics = task.measure(held_out)
            report(number, {f"folds/{name}": value for name, value in metrics.items()})
            if task.is_better(metrics[task.metric], best.metric):
                best = BestEpoch(number, metrics[task.metric], held_out)
        if best.held_out is not None and not task.is_regression and self.labeled.targets().shape[1] == 1:
            learned = np.flatnonzero(self._is_learned(folds_N)[rows])  # others say nothing of how sure a model is
            best = replace(best, held_out=best.held_out.select(learned) if len(learned) else None)
        epochs = self._epochs(np.arange(len(folds_N)), f"{self.name}, all labels")
        model = next(model for model, epoch in epochs if epoch.number == best.epoch)
        epochs.close()
        return _done(model), best

    def _is_learned(self, folds_N: np.ndarray) -> np.ndarray:
        """Return whether the model that a record was held out from has seen its class, bool (N,)."""
        _, class_N = np.unique(np.asarray(self.labeled.targets())[:, 0], return_inverse=True)
        count_CF = np.zeros((class_N.max() + 1, folds_N.max() + 1), np.int64)
        np.add.at(count_CF, (class_N, folds_N), 1)
        return count_CF.sum(1)[class_N] > count_CF[class_N, folds_N]

    @property
    def _starts_at_probe(self) -> bool:
        return self.initialization != "scratch" and self.options.width == 0

    def _epochs(self, rows: np.ndarray, name: str) -> Generator[tuple[EncoderWithHead, Epoch]]:
        """Train on the labeled records at `rows`; yield the model at its start, as epoch 0, and after every epoch."""
        model = self.make()
        if self.initialization != "scratch":
            model.start_from(self.probe(rows))
        yield model, Epoch(0, 0, float("nan"))
        positions = self.labeled.positions[rows]
        loader = self.loader(positions)
        size = TrainingSize(len(rows), self.options.batch, self.options.epochs * loader.steps_per_epoch)
        optimization = self.optimization.resolved(size)
        lr, options = self.options.encoder_lr, self.options
        if self.initialization == "scratch":  # whose first layers have the most to learn
            of_trained = {"layer_decay": None, "freeze_batch_norm": False}
            lr, options = float(optimization.settings.lr), options.model_copy(update=of_trained)
        targets = dict(zip(positions.tolist(), self.labeled.targets()[rows].tolist(), strict=True))
        epochs = train_epochs(
            model,
            self.labeled.task,
            loader,
            self.modality,
            targets,
            options,
            optimization,
            lr,
            self.seed,
            self.fabric,
        )
        start = last = time.monotonic()
        for epoch in epochs:
            yield model, epoch
            now = time.monotonic()
            if now - last >= INTERVAL:
                left = (now - start) / epoch.number * (self.options.epochs - epoch.number)
                log.info(
                    "%s: epoch %d of %d, loss %.4f, %.0f s left",
                    *(name, epoch.number, self.options.epochs, epoch.loss, left),
                )
                last = now


def _done(model: EncoderWithHead) -> EncoderWithHead:
    """Return a model whose training is over, trainable, with a head that takes features as they are."""
    model.freeze(False)
    model.merge_standardization()
    return model
