"""Fine-tuning a run's encoder, beside the same encoder from its first weights and a forest on baseline features."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor

from sensorium.contracts import Encoder, FeatureTable, Source
from sensorium.data.loader import Loader
from sensorium.data.unreadable import UnreadableRecords
from sensorium.errors import DataError, RunError
from sensorium.evaluation.features import baseline_table, feature_table
from sensorium.evaluation.labels import choose_column, is_missing
from sensorium.evaluation.run_evaluation import RunEvaluation
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
from sensorium.types import Batch

log = logging.getLogger("sensorium")
Initialization = Literal["scratch", "trained"]
ROWS: dict[Initialization, str] = {"scratch": "from scratch", "trained": "fine-tuned"}
"""Where an encoder starts from -> its line of the table."""
BASELINE = "baseline"


class Finetuner:
    """Trains on the labeled records of a source, and compares.

    Args:
        plan: the parts of the run's recipe; its modalities are fitted.
        trained: the run's model.
        source: where the records come from.
        run: the folder that is written.
        fabric: of one process.

    Raises:
        DataError: when there is no val part to choose the epoch on, or no test part to report on.
    """

    def __init__(self, plan: Plan, trained: Model, source: Source, run: Run, fabric: Fabric) -> None:
        self.plan, self.trained, self.source, self.run, self.fabric = plan, trained, source, run, fabric
        self.options = plan.recipe.finetune
        self.modality = choose_column("modality", self.options.modality, list(plan.modalities))
        self.evaluation = RunEvaluation(plan, source, run)
        for part, use in (("val", "choose the epoch on"), ("test", "report on")):
            if not len(self.evaluation.parts[part]):
                raise DataError(f"There is no {part} part to {use}: set data.{part} above 0.")
        self.train = self._records("train", lambda batch: torch.zeros(len(batch), 1))
        self.task = self._fitted()
        keys = {int(position): source.key(int(position)) for position in self.train.positions}
        self.targets = {position: self.task.target(key.labels) for position, key in keys.items()}

    def run_all(self, starts: Sequence[Initialization]) -> tuple[ResultsTable, Predictor]:
        """Train every seed from every start; return the table, and what the first seed of the last start became."""
        rows: dict[str, list[ModelFeatures]] = {}
        if answers := self._baseline():
            rows[BASELINE] = answers
        chosen: dict[str, list[BestEpoch]] = {}
        metrics_log = MetricsLog(self.run, self.plan.recipe, 0)
        for start in starts:
            name = ROWS[start]
            for seed in range(self.options.seeds):
                tuned, choice = self._tune(start, seed, metrics_log)
                rows.setdefault(name, []).append(self._subject(tuned.answers))
                chosen.setdefault(name, []).append(choice)
                if seed == 0:
                    first = tuned
        metrics_log.close()
        (table,) = evaluate_models({"finetune": self._fitted}, rows).values()
        for name, choices in chosen.items():
            table.row(name).notes[f"epoch {', '.join(str(choice.epoch) for choice in choices)}"] += 1
        table.write(self.run.folder)
        return table, self._predictor(first)

    def _fitted(self) -> Task:
        """Return the task, fitted to the train part."""
        task = make_task(self.options, self.modality, list(self.train.labels))
        task.fit(self.train)
        return task

    def _records(self, part: str, answer: Callable[[Batch], Tensor]) -> FeatureTable:
        """Return what is answered for the records of a part that can be decoded."""
        batches = self.evaluation.batches(part)
        return feature_table(batches, lambda _, batch: answer(batch), self.source.key, [self.modality])

    def _subject(self, answer: Callable[[Batch], Tensor]) -> ModelFeatures:
        """Return answers for the test part; an evaluator learns from the train part's labels alone."""
        return ModelFeatures({"features": (self.train, self._records("test", answer))})

    def _tune(self, start: Initialization, seed: int, metrics_log: MetricsLog) -> tuple[EncoderWithHead, BestEpoch]:
        """Train one seed."""
        seed_globals(seed, "finetune", "weights")
        tuned = EncoderWithHead(self._encoder(start), self.task.width, self.options)
        loader = self._loader(seed)

        def on_val(tuned: EncoderWithHead) -> dict[str, float]:
            return self.task.measure(self._records("val", tuned.answers))

        def report(step: int, metrics: dict[str, float]) -> None:
            metrics_log.write(step, {f"{ROWS[start]} {seed}/{name}": value for name, value in metrics.items()})

        choice = train_model(
            tuned, self.task, loader, self.modality, self.targets, on_val, self.options, seed, self.fabric, report
        )
        log.info(
            "%s, seed %d: epoch %d of %d, %s %.4f on the val part",
            *(ROWS[start], seed, choice.epoch, self.options.epochs, self.task.metric, choice.metric),
        )
        return tuned, choice

    def _encoder(self, start: Initialization) -> Encoder:
        """Return a new encoder: with its first weights, drawn from the seed, or with those of the run."""
        encoder = self.plan.encoders[self.modality]()
        if start == "trained":
            try:
                encoder.load_state_dict(self.trained.learner.encoders[self.modality].state_dict())
            except RuntimeError as error:
                raise RunError(
                    f"The run's encoder of '{self.modality}' does not fit the changed recipe: "
                    f"{str(error).splitlines()[0]}"
                ) from error
        return encoder

    def _loader(self, seed: int) -> Loader:
        """Feed the records of the train part that have a label."""
        labeled = [position for position, row in self.targets.items() if not all(map(is_missing, row))]
        known = np.array(labeled, np.int64)
        data = self.plan.recipe.data
        return Loader(
            self.source,
            known,
            {self.modality: self.plan.fields[self.modality]},
            self.plan.modalities,
            seed=seed,
            batch=min(self.options.batch, len(known)),
            bad=UnreadableRecords(len(known), data.max_bad, self.run.bad_file),
            workers=data.workers,
            cache=data.cache,
            device=self.fabric.device,
        )

    def _baseline(self) -> list[ModelFeatures]:
        """Return what forests on baseline features answer; none when the modality has no such features."""
        modality = {self.modality: self.plan.modalities[self.modality]}
        tables = [baseline_table(self.evaluation.batches(p), modality, self.source.key) for p in ("train", "test")]
        train, test = tables
        if train is None or test is None:
            return []
        subjects = []
        for seed in range(self.options.seeds):
            answers = copy.copy(test)
            answers_MK = forest_outputs(
                self.task, train, self.targets, test, self.modality, n_estimators=self.options.trees, random_state=seed
            )
            spread_NK = np.full((len(test), self.task.width), np.nan, np.float32)
            spread_NK[test.present[self.modality]] = answers_MK
            answers.features = {self.modality: spread_NK}
            subjects.append(ModelFeatures({"features": (self.train, answers)}))
        return subjects

    def _predictor(self, tuned: EncoderWithHead) -> Predictor:
        """Put a tuned encoder in the place of the run's, and write both model and head."""
        learner = self.trained.learner
        learner.encoders[self.modality] = tuned.encoder
        model = Model(self.plan, learner, self.run).to(self.fabric.device)
        predictor = Predictor(model, self.modality, tuned, self.task, self.options)
        predictor.save(self.run)
        return predictor
