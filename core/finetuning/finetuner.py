"""Fine-tuning of a run's encoder, compared with training from scratch and a random forest on baseline features."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor

from sensorium.contracts import Encoder, FeatureTable, Source
from sensorium.data.loader import Loader
from sensorium.errors import DataError, RunError
from sensorium.evaluation.dry_run import DryPart
from sensorium.evaluation.features import BaselineReader, Columns, FeatureReader, feature_tables, read_features
from sensorium.evaluation.labels import choose_column, is_missing
from sensorium.evaluation.part_reader import PartReader
from sensorium.evaluation.runner import ModelFeatures, evaluate_models
from sensorium.evaluation.tables import ResultsTable
from sensorium.finetuning.baseline import forest_outputs
from sensorium.finetuning.loop import BestEpoch, EncoderWithHead, train_model
from sensorium.finetuning.predictor import Predictor
from sensorium.finetuning.tasks import Task, make_task
from sensorium.models.model import Model
from sensorium.models.plan import Plan
from sensorium.runs.run import Run
from sensorium.seeding import seed_globals
from sensorium.training.metrics import MetricsLog
from sensorium.types import Batch, RecordBatch

log = logging.getLogger("sensorium")
Initialization = Literal["scratch", "trained"]
ROWS: dict[Initialization, str] = {"scratch": "from scratch", "trained": "fine-tuned"}
"""Initialization of the encoder -> its row of the table."""
BASELINE = "baseline"


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


class Finetuner:
    """Fine-tunes a run's model on the labeled records of a source, and evaluates it beside its baselines.

    Args:
        plan: the parts of the run's recipe; its modalities are fitted.
        trained: the run's model.
        source: where the records come from.
        run: the run folder to write.
        fabric: of one process.

    Raises:
        DataError: when there is no val part to choose the epoch on, or no test part to report on.
    """

    def __init__(self, plan: Plan, trained: Model, source: Source, run: Run, fabric: Fabric) -> None:
        self.plan, self.trained, self.source, self.run, self.fabric = plan, trained, source, run, fabric
        self.options = plan.recipe.finetune
        self.modality = choose_column("modality", self.options.modality, list(plan.modalities))
        self.reader = PartReader(plan, source, run)
        for part, use in (("val", "choose the epoch on"), ("test", "report on")):
            if not len(self.reader.parts[part]):
                raise DataError(f"There is no {part} part to {use}: set data.{part} above 0.")
        keys = DryPart(source, self.reader.parts["train"], {self.modality: plan.fields[self.modality]}, "train")
        self._fitted_task(keys.table("features"))  # a wrong label is told before any record is decoded
        self.cache = self.reader.keep("train", fabric.device)
        for part in ("val", "test"):
            self.reader.keep(part, fabric.device)
        self.train = self._outputs("train", lambda batch: torch.zeros(len(batch), 1))
        self.task = self._fitted_task(self.train)
        keys = {int(position): source.key(int(position)) for position in self.train.positions}
        self.targets = {position: self.task.target(key.labels) for position, key in keys.items()}

    def run_all(self, initializations: Sequence[Initialization]) -> tuple[ResultsTable, Predictor]:
        """Train every seed of every initialization; return the table, and the first seed of the last initialization."""
        rows: dict[str, list[ModelFeatures]] = {}
        if baseline := self._baseline():
            rows[BASELINE] = baseline
        best_epochs: dict[str, list[BestEpoch]] = {}
        metrics_log = MetricsLog(self.run, self.plan.recipe, 0)
        for initialization in initializations:
            name = ROWS[initialization]
            for seed in range(self.options.seeds):
                model, best = self._train(initialization, seed, metrics_log)
                rows.setdefault(name, []).append(self._test_outputs(model.outputs))
                best_epochs.setdefault(name, []).append(best)
                if seed == 0:
                    first = model
        metrics_log.close()
        (table,) = evaluate_models({"finetune": lambda: self._fitted_task(self.train)}, rows).values()
        for name, epochs in best_epochs.items():
            table.row(name).notes[f"epoch {', '.join(str(best.epoch) for best in epochs)}"] += 1
        table.write(self.run.folder)
        return table, self._predictor(first)

    def _fitted_task(self, train: FeatureTable) -> Task:
        """Return the task, fitted to the train part, or a sample of it."""
        task = make_task(self.options, self.modality, list(train.labels))
        task.fit(train)
        return task

    def _outputs(self, part: str, predict: Callable[[Batch], Tensor]) -> FeatureTable:
        """Return the outputs for the records of a part that can be decoded."""
        return self._table(part, OutputReader(self.modality, predict))

    def _table(self, part: str, reader: FeatureReader) -> FeatureTable:
        rows = read_features(self.reader.batches(part, self.fabric.device), [reader])
        return feature_tables([rows], self.source.key)[0]["features"]

    def _test_outputs(self, predict: Callable[[Batch], Tensor]) -> ModelFeatures:
        """Return outputs for the test part; an evaluator is fitted on the train part's labels alone."""
        return ModelFeatures({"features": (self.train, self._outputs("test", predict))})

    def _train(
        self, initialization: Initialization, seed: int, metrics_log: MetricsLog
    ) -> tuple[EncoderWithHead, BestEpoch]:
        """Train one seed."""
        seed_globals(seed, "finetune", "weights")
        precision = self.plan.recipe.train.precision
        model = EncoderWithHead(self._encoder(initialization), self.task.output_dim, self.options, precision)
        loader, row = self._loader(seed), ROWS[initialization]

        def on_val(model: EncoderWithHead) -> dict[str, float]:
            return self.task.measure(self._outputs("val", model.outputs))

        def report(step: int, metrics: dict[str, float]) -> None:
            metrics_log.write(step, {f"{row} {seed}/{name}": value for name, value in metrics.items()})

        best = train_model(
            model, self.task, loader, self.modality, self.targets, on_val, self.options, seed, self.fabric, report
        )
        log.info(
            "%s, seed %d: best epoch %d of %d, val %s %.4f",
            *(row, seed, best.epoch, self.options.epochs, self.task.metric, best.metric),
        )
        return model, best

    def _encoder(self, initialization: Initialization) -> Encoder:
        """Return a new encoder: with random weights, drawn from the seed, or with those of the run."""
        encoder = self.plan.encoders[self.modality]()
        if initialization == "trained":
            try:
                encoder.load_state_dict(self.trained.learner.encoders[self.modality].state_dict())
            except RuntimeError as error:
                raise RunError(
                    f"The run's encoder of '{self.modality}' does not fit the changed recipe: "
                    f"{str(error).splitlines()[0]}"
                ) from error
        return encoder

    def _loader(self, seed: int) -> Loader:
        """Return a loader of the records of the train part that have the modality and a label."""
        labeled_N = np.array([not all(map(is_missing, row)) for row in self.targets.values()], bool)
        positions = np.array(list(self.targets))[labeled_N & self.train.present[self.modality]]
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
            device=self.fabric.device,
        )

    def _baseline(self) -> list[ModelFeatures]:
        """Return the outputs of random forests on baseline features; none if the modality has no such features."""
        reader = BaselineReader({self.modality: self.plan.modalities[self.modality]})
        train, test = (self._table(part, reader) for part in ("train", "test"))
        if not (train.features and test.features):
            return []
        forests = []
        for seed in range(self.options.seeds):
            outputs = copy.copy(test)
            outputs_MK = forest_outputs(
                self.task, train, self.targets, test, self.modality, n_estimators=self.options.trees, random_state=seed
            )
            outputs_NK = np.full((len(test), self.task.output_dim), np.nan, np.float32)
            outputs_NK[test.present[self.modality]] = outputs_MK
            outputs.features = {self.modality: outputs_NK}
            forests.append(ModelFeatures({"features": (self.train, outputs)}))
        return forests

    def _predictor(self, finetuned: EncoderWithHead) -> Predictor:
        """Replace the run's encoder by the fine-tuned one, and write model and head."""
        learner = self.trained.learner
        learner.encoders[self.modality] = finetuned.encoder
        model = Model(self.plan, learner, self.run).to(self.fabric.device)
        predictor = Predictor(model, self.modality, finetuned, self.task, self.options)
        predictor.save(self.run)
        return predictor
