"""Fine-tuning of a run's encoder beside its linear probe, training from scratch and a forest on baseline features."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor

from sensorium.contracts import Encoder, Task
from sensorium.data.loader import Loader
from sensorium.data.patience import Patience
from sensorium.errors import DataError, RecipeError, RunError, SensoriumError
from sensorium.evaluation.dry_run import DryPart
from sensorium.evaluation.features import BaselineReader, Columns, FeatureReader, feature_tables, read_features
from sensorium.evaluation.intervals import row_interval
from sensorium.evaluation.labels import choose_column
from sensorium.evaluation.part_reader import PartReader
from sensorium.evaluation.progress import timed
from sensorium.evaluation.runner import ModelFeatures, evaluate_models
from sensorium.evaluation.tables import AS_IT_CAME, UNTRAINED, ResultsTable
from sensorium.feature_table import FeatureTable
from sensorium.finetuning.baseline import baseline_outputs
from sensorium.finetuning.calibration import Calibration, calibration_remark, decisions_of, fit_temperature
from sensorium.finetuning.few_labels import LabeledKeys, draw_labeled, draws_labels, read_labeled_keys
from sensorium.finetuning.label_notes import label_notes
from sensorium.finetuning.labeled import FOLDS, LabeledRecords
from sensorium.finetuning.loop import EncoderWithHead
from sensorium.finetuning.predictor import Predictor
from sensorium.finetuning.tasks import make_task
from sensorium.finetuning.tuning import BestEpoch, Initialization, Tuning
from sensorium.models.model import Model
from sensorium.models.plan import Plan
from sensorium.recipe.schema import Finetune
from sensorium.runs.run import Run
from sensorium.seeding import seed_globals
from sensorium.training.metrics import MetricsLog
from sensorium.types import Batch, RecordBatch

log = logging.getLogger("sensorium")
BASELINE = "baseline"
PROBES: dict[Initialization, str] = {
    "scratch": f"{UNTRAINED}, linear probe",
    "weights": f"{AS_IT_CAME}, linear probe",
    "trained": "linear probe",
}
TUNED: dict[Initialization, str] = {
    "scratch": "from scratch",
    "weights": f"{AS_IT_CAME}, fine-tuned",
    "trained": "fine-tuned",
}
"""Initialization of the encoder -> the row of the table with its frozen features, and with the trained encoder."""
HELD_OUT = {
    "val": "the val part, by which the epoch is chosen (data.val=0 chooses it in folds of the train part)",
    "test": "the test part, which the rows of the table are measured on",
}
"""Part -> what its labels are for."""
Part = str | np.ndarray
"""A part by its name, or positions in the source."""


class OutputReader(FeatureReader):
    """Reads the outputs of a model for the records that have its modality.

    Args:
        modality: of the model.
        predict: a batch -> outputs (B, K).
    """

    def __init__(self, modality: str, predict: Callable[[Batch], Tensor]) -> None:
        self.modality, self.predict, self.columns = modality, predict, {"features": [modality]}

    def __call__(self, records: RecordBatch) -> Mapping[str, Columns]:
        """Return those of a batch."""
        if self.modality not in records.batches:
            return {"features": {}}
        outputs_BK = self.predict(records.batches[self.modality])
        return {"features": {self.modality: (outputs_BK, records.present[self.modality])}}


@dataclass(frozen=True)
class Tuned:
    """One seed that is trained.

    Args:
        model: encoder and head.
        outputs: for the test part, and what the table says of them.
        calibration: None for a task without classes.
    """

    model: EncoderWithHead
    outputs: ModelFeatures
    calibration: Calibration | None


class Finetuner:
    """Fine-tunes a run's model on the labeled records of a source, and evaluates it beside its baselines.

    Args:
        plan: the parts of the run's recipe; its modalities are fitted.
        models: those that start an encoder: "trained", the run's, and "weights", with what the run started from.
        reader: of the records.
        run: the run folder to write.
        fabric: of one process.
        options: the recipe's `finetune`, of one amount of labels.
        amount: the name of that amount where there are several, such as "10 per class".
        draw: the number of the first seed's draw of few labels.

    Raises:
        DataError: when the labels of the train part allow no task.
    """

    def __init__(
        self,
        plan: Plan,
        models: Mapping[Initialization, Model],
        reader: PartReader,
        run: Run,
        fabric: Fabric,
        options: Finetune,
        amount: str = "",
        draw: int = 0,
    ) -> None:
        self.plan, self.models, self.reader, self.run, self.fabric = plan, models, reader, run, fabric
        self.source, self.options, self.amount = reader.source, options, amount
        self._first_draw = draw
        self.modality = choose_column("modality", self.options.modality, list(plan.modalities), "finetune.modality")
        self.by_folds = draws_labels(self.options) or not len(self.reader.parts["val"])
        self._keys = self._labeled_keys()
        self.draws = self._draw()
        self.labeled: list[LabeledRecords] = []
        self._intervals: dict[str, tuple[float, float] | None] = {}
        self._calibrations: dict[str, list[Calibration]] = {}

    def read(self) -> None:
        """Decode the labeled records and the parts that are measured.

        Raises:
            DataError: when the labels of a draw allow no task, or no metric of what is measured.
        """
        with timed(f"reading {len(self.train):,} labeled records and the test part"):
            for part in self._held_out:
                self.reader.keep(part, self.fabric.device)
            self.labeled = self._read_labeled()
            self.cache = self.reader.keep(self.train, self.fabric.device)
        self._require_metrics()

    def notes(self) -> list[str]:
        """Return sentences on the labels that a user must read before the training."""
        train, val, test = (
            self.reader.columns.take(self.reader.parts[part]).records() for part in ("train", "val", "test")
        )
        return label_notes(self.options, self.labeled[0], train, val, test, self.by_folds)

    def run_all(self, initializations: Sequence[Initialization], metrics_log: MetricsLog) -> tuple[ResultsTable, Tuned]:
        """Train every seed of every initialization; return the table, and the first seed of the last initialization.

        The table is written anew with every row that is done.
        """
        rows: dict[str, list[ModelFeatures]] = {}
        if baseline := self._baseline():
            rows[BASELINE] = baseline
            self._measure(rows)
        for initialization in initializations:
            tunings = [self._tuning(initialization, seed) for seed in range(self.options.seeds)]
            rows[PROBES[initialization]] = [self._probe(tuning) for tuning in tunings]
            self._measure(rows)
            tuned = [self._tune(tuning, metrics_log) for tuning in tunings]
            rows[TUNED[initialization]] = [one.outputs for one in tuned]
            self._calibrations[TUNED[initialization]] = [one.calibration for one in tuned if one.calibration]
            table = self._measure(rows)
        return table, tuned[0]

    def fit(self, seed: int = 0) -> Predictor:
        """Train the run's encoder on the labels of the first seed, without a test part, and write model and head.

        Args:
            seed: of the order of records, dropout and folds.
        """
        tuning = replace(self._tuning("trained", 0), seed=seed, loader=lambda positions: self._loader(positions, seed))
        model, best = self._train(tuning, lambda step, metrics: None)
        decisions = decisions_of(tuning.labeled.task, self.modality, best.held_out)
        return self._write(model, 1.0 if decisions is None else fit_temperature(*decisions))

    def predictor(self, tuned: Tuned) -> Predictor:
        """Replace the run's encoder by a fine-tuned one, and write model and head."""
        return self._write(tuned.model, 1.0 if tuned.calibration is None else tuned.calibration.temperature)

    def _write(self, finetuned: EncoderWithHead, temperature: float) -> Predictor:
        learner = self.models["trained"].learner
        learner.encoders[learner.sharing[self.modality]] = finetuned.encoder
        model = Model(self.plan, learner, self.run).to(self.fabric.device)
        temperature = temperature if self.options.calibrate else 1.0
        predictor = Predictor(model, self.modality, finetuned, self.labeled[0].task, self.options, temperature)
        predictor.save(self.run)
        return predictor

    @property
    def _held_out(self) -> tuple[str, ...]:
        """The parts that outputs are measured on."""
        return ("test",) if self.by_folds else ("val", "test")

    @property
    def name(self) -> str:
        """The name of the table and of its files."""
        return "-".join(["finetune", *self.amount.replace("%", "percent").split()])

    @property
    def metric(self) -> str:
        """The metric that stands first in the table, by which epochs are chosen."""
        return self.labeled[0].task.metric

    def _measure(self, rows: Mapping[str, Sequence[ModelFeatures]]) -> ResultsTable:
        """Return the table of the rows that are done, and write it and the predictions."""

        def task() -> Task:
            labeled = self.labeled[0]
            task = self._task(labeled.table)
            folds = f"in {labeled.held_out_folds} of {FOLDS} folds of the labeled records, then trained on all of them"
            where = folds if self.by_folds else "on the val part"
            task.selection = f"epoch by {task.metric.removesuffix(' ↓')} {where}"
            return task

        def write(table: ResultsTable, predictions: Mapping[str, np.ndarray]) -> None:
            self._add_intervals(table, predictions)
            where = "in folds of the labeled records" if self.by_folds else "on the val part"
            table.remarks += [calibration_remark(row, of, where) for row, of in self._calibrations.items() if of]
            table.write(self.run.folder, predictions)

        compared = [(TUNED[start], TUNED["trained"]) for start in ("scratch", "weights")]
        (table,) = evaluate_models({self.name: task}, rows, write, compared=compared).values()
        return table

    def _add_intervals(self, table: ResultsTable, predictions: Mapping[str, np.ndarray]) -> None:
        """Add the interval of the first metric to each row; that of a row is computed once."""
        for row in table.rows:
            if row.name not in self._intervals:
                of_row = {name: column[predictions["row"] == row.name] for name, column in predictions.items()}
                self._intervals[row.name] = row_interval(self.labeled[0].task, of_row)
            if row.metrics and (interval := self._intervals[row.name]) is not None:
                first = next(iter(row.metrics))
                row.metrics[first] = replace(row.metrics[first], interval=interval)

    @property
    def train(self) -> np.ndarray:
        """Positions of all records that any seed learns from, int64, ascending."""
        return np.unique(np.concatenate(self.draws))

    def _labeled_keys(self) -> LabeledKeys:
        """Return the labeled records of the train part.

        Keys alone are read, so that a wrong label is told before any record is decoded.
        """
        field, train = self.plan.fields[self.modality], self.reader.parts["train"]
        sample = DryPart(self.source, train, {self.modality: field}, "train").table("features")
        task = self._fitted_task(sample)
        keys = read_labeled_keys(self.source, self.reader.columns, train, field, task.columns)
        task.check_labels(keys.labels)
        return keys

    def _draw(self) -> list[np.ndarray]:
        """Return the positions of the records that each seed learns from."""
        numbers = range(self._first_draw, self._first_draw + self.options.seeds)
        return [draw_labeled(self._keys, self.options, number) for number in numbers]

    def _read_labeled(self) -> list[LabeledRecords]:
        """Return what each seed learns from; in place of drawn records that cannot be read, others are drawn."""
        while True:
            table = self._read(self.train, lambda batch: torch.zeros(len(batch), 1))
            assert table.positions is not None, "batches of a source have positions"
            table = table.select(np.flatnonzero(table.present[self.modality]))
            lost = np.setdiff1d(self.train, table.positions)
            if not len(lost) or not draws_labels(self.options):
                break
            self._keys = self._keys.without(lost)
            if not len(self._keys.positions):
                raise DataError("No labeled record of the train part can be read.")
            self.draws = self._draw()
        tables = [table.select(np.flatnonzero(np.isin(table.positions, draw))) for draw in self.draws]
        return [LabeledRecords(of_seed, self._fitted_task(of_seed)) for of_seed in tables]

    def _require_metrics(self) -> None:
        """Raise an error where labels give no metric to choose the epoch by, or to report: before any training."""
        read = {
            part: self._read(part, lambda batch: torch.zeros(len(batch), 1))
            for part in self._held_out
            if len(self.reader.parts[part])  # an estimator has no test part
        }
        for seed, labeled in enumerate(self.labeled):
            if self.by_folds:
                folds_N = labeled.folds(seed)
                held_out = labeled.table.select(np.flatnonzero(folds_N < labeled.held_out_folds))
                labeled.require_metric(held_out, "the folds of the train part, in which the epoch is chosen")
            for part, table in read.items():
                labeled.require_metric(table, HELD_OUT[part])

    def _task(self, train: FeatureTable) -> Task:
        """Return the task for the labels that the train part has, not fitted."""
        return make_task(self.plan.task, self.options, self.modality, list(train.labels))

    def _fitted_task(self, train: FeatureTable) -> Task:
        """Return the task, fitted to the train part, or a sample of it."""
        task = self._task(train)
        try:
            task.fit(train)
        except RecipeError:
            raise
        except SensoriumError as error:
            raise DataError(str(error)) from error
        return task

    def _read(self, part: Part, predict: Callable[[Batch], Tensor]) -> FeatureTable:
        """Return the outputs for the records of a part that can be decoded."""
        return self._table(part, OutputReader(self.modality, predict))

    def _table(self, part: Part, reader: FeatureReader) -> FeatureTable:
        rows = read_features(self.reader.batches(part, self.fabric.device), [reader])
        return feature_tables([rows], self.reader.columns)[0]["features"]

    def _tuning(self, initialization: Initialization, seed: int) -> Tuning:
        """Return what one seed of one initialization is trained with."""

        def make() -> EncoderWithHead:
            seed_globals(seed, "finetune", "weights")
            encoder, precision = self._encoder(initialization), self.plan.recipe.train.precision
            model = EncoderWithHead(encoder, labeled.task.output_dim, self.options, precision)
            return model.to(self.fabric.device)

        labeled = self.labeled[seed]
        features = self._read(labeled.positions, make().features).features[self.modality]
        return Tuning(
            f"{TUNED[initialization]}, seed {seed}",
            *(initialization, make, lambda positions: self._loader(positions, seed)),
            lambda model, part: self._read(part, model.outputs),
            *(labeled, features, self.options, self.plan.finetuning, self.modality, seed, self.fabric),
        )

    def _probe(self, tuning: Tuning) -> ModelFeatures:
        """Fit the linear probe of one seed, and return its outputs for the test part."""
        with timed(f"{PROBES[tuning.initialization]}, seed {tuning.seed}"):
            probe = tuning.probe(np.arange(len(tuning.features_ND)))
            features = self._read("test", tuning.make().features)
        features.features = {self.modality: probe.outputs(features.features[self.modality])}
        return self._measured(tuning.seed, features, probe.about)

    def _tune(self, tuning: Tuning, metrics_log: MetricsLog) -> Tuned:
        """Train one seed."""

        def report(step: int, metrics: dict[str, float]) -> None:
            row, seed = ", ".join(filter(None, [self.amount, TUNED[tuning.initialization]])), tuning.seed
            metrics_log.write(step, {f"{row} {seed}/{name}": value for name, value in metrics.items()})

        model, best = self._train(tuning, report)
        about = f"epoch {best.epoch}" if best.epoch else "epoch 0, which is the linear probe"
        test = self._read("test", model.outputs)
        calibration = Calibration.of(tuning.labeled.task, self.modality, best.held_out, test)
        return Tuned(model, self._measured(tuning.seed, test, about), calibration)

    def _train(
        self, tuning: Tuning, report: Callable[[int, dict[str, float]], None]
    ) -> tuple[EncoderWithHead, BestEpoch]:
        """Train one seed up to its best epoch."""
        model, best = tuning.by_folds(report) if self.by_folds else tuning.by_val_part(report)
        log.info(
            "%s: best epoch %d of %d, %s %s %.4f",
            *(tuning.name, best.epoch, self.options.epochs, "folds" if self.by_folds else "val"),
            *(tuning.labeled.task.metric, best.metric),
        )
        return model, best

    def _measured(self, seed: int, test: FeatureTable, about: str) -> ModelFeatures:
        """Return outputs for the test part; an evaluator is fitted on the labels of the train part alone."""
        return ModelFeatures({"features": (self.labeled[seed].table, test)}, about=about)

    def _encoder(self, initialization: Initialization) -> Encoder:
        """Return a new encoder: with random weights, drawn from the seed, or with those of a model."""
        encoder = self.plan.encoders[self.modality]()
        if initialization != "scratch":
            try:
                encoder.load_state_dict(self.models[initialization].learner.encoder(self.modality).state_dict())
            except RuntimeError as error:
                raise RunError(
                    f"The run's encoder of '{self.modality}' does not fit the changed recipe: "
                    f"{str(error).splitlines()[0]}"
                ) from error
        return encoder

    def _loader(self, positions: np.ndarray, seed: int) -> Loader:
        """Return a loader of labeled records."""
        data = self.plan.recipe.data
        return Loader(
            self.source,
            positions,
            {self.modality: self.plan.fields[self.modality]},
            self.plan.modalities,
            seed=seed,
            batch=min(self.options.batch, len(positions)),
            bad=self.reader.unreadable,
            workers=data.workers,
            cache=self.cache or "off",
            patience=Patience(data.retries, data.timeout),
            device=self.fabric.device,
            keys=(),
        )

    def _baseline(self) -> list[ModelFeatures]:
        """Return the outputs of random forests on baseline features; none if the modality has no such features."""
        reader = BaselineReader({self.modality: self.plan.modalities[self.modality]})
        train, test = (self._table(part, reader) for part in (self.train, "test"))
        if not (train.features and test.features):
            return []
        assert train.positions is not None, "batches of a source have positions"
        learns = f"random forest of {self.options.trees} trees" if self.plan.task.cls.forest else "linear layer"
        about = learns + (f" on {reader.about}" if reader.about else "")
        forests = []
        for seed, labeled in enumerate(self.labeled):
            rows = np.flatnonzero(np.isin(train.positions, labeled.positions))
            with timed(f"{BASELINE}, seed {seed}"):
                x_ND, x_MD = train.features[self.modality][rows], test.features[self.modality]
                x_MD = x_MD[test.present[self.modality]]
                outputs_MK = baseline_outputs(labeled, x_ND, x_MD, self.options.trees, seed, self.fabric.device)
            outputs_NK = np.full((len(test), labeled.task.output_dim), np.nan, np.float32)
            outputs_NK[test.present[self.modality]] = outputs_MK
            forests.append(self._measured(seed, replace(test, features={self.modality: outputs_NK}), about))
        return forests
