"""Evaluation of a run: embeds its records, runs its evaluators, writes result tables and contact sheets."""

from __future__ import annotations

import logging
import pickle
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import replace
from hashlib import blake2b
from typing import Any, TypeVar

import numpy as np
import torch

from sensorium.contracts import FeatureTable, Source
from sensorium.errors import DataError, EvaluationError, SensoriumError
from sensorium.evaluation.dry_run import DryPart, dry_run, require_metric
from sensorium.evaluation.features import (
    BaselineReader,
    FeatureReader,
    FeatureRows,
    ModelReader,
    feature_tables,
    read_features,
)
from sensorium.evaluation.part_reader import PartReader
from sensorium.evaluation.previews import Previews
from sensorium.evaluation.retrieval_sheets import draw_retrieval_sheets
from sensorium.evaluation.runner import ModelFeatures, evaluate_models, spaces
from sensorium.evaluation.tables import ResultsTable
from sensorium.models.model import Model
from sensorium.models.plan import Plan
from sensorium.parallel import collectives
from sensorium.parallel.rank_zero import on_every_rank, on_rank_zero
from sensorium.runs.run import Run
from sensorium.types import Unreadable

log = logging.getLogger("sensorium")
T = TypeVar("T")


class RunEvaluation:
    """Evaluates models on the records of one run.

    Args:
        plan: the parts of the run's recipe; its modalities may be fitted later, before the first evaluation.
        source: where the records come from.
        run: where tables and contact sheets are written.
    """

    def __init__(self, plan: Plan, source: Source, run: Run) -> None:
        self.plan, self.source, self.run = plan, source, run
        self.reader = PartReader(plan, source, run)
        self.parts = self.reader.parts
        self._warned: set[str] = set()
        self._samples: dict[str, DryPart] = {}

    def check(self) -> None:
        """Raise an error for whatever would keep the evaluators from measuring the test part.

        Only keys of records are read, so this takes seconds; what embeds or decodes records comes after it.

        Raises:
            DataError: when there is no test part, or an evaluator cannot measure its records.
        """
        if self.plan.evaluators and not len(self.parts["test"]):
            raise DataError(
                "There is no test part to evaluate on: data.test is 0, or so small a fraction of few groups that it "
                "is empty. Increase data.test, or give the records a split; to train without evaluation, set "
                "evaluate.evaluators={}."
            )
        self._dry_run("test")

    def check_training(self) -> None:
        """Raise an error for whatever would keep a training from being measured during it and at its end.

        Raises:
            DataError: as in `check`; when there is no val part, for evaluation during training; when an evaluator
                cannot measure its records.
            RecipeError: when `checkpoint.best` is no metric of the evaluators.
        """
        self.check()
        if self.plan.recipe.evaluate.every is None:
            return
        if self.plan.evaluators and not len(self.parts["val"]):
            raise DataError("There is no val part to evaluate on during training: set data.val above 0.")
        metrics = self._dry_run("val")
        if (best := self.plan.recipe.checkpoint.best) is not None:
            require_metric(best, metrics)

    def _dry_run(self, part: str) -> dict[str, list[str]]:
        """Return the names of the metrics that each evaluator gives for a part."""
        if not self.plan.evaluators:
            return {}
        return dry_run(self.plan, self._sample("train"), self._sample(part))

    def _sample(self, part: str) -> DryPart:
        """Return a sample of a part, for which all its keys are read once."""
        if part not in self._samples:
            self._samples[part] = DryPart(self.source, self.parts[part], self.plan.fields, part)
        return self._samples[part]

    def on_val(self, model: Model) -> dict[str, float]:
        """Return the metrics of a model on the val part, with evaluators fitted on (a sample of) the train part.

        The test part is not read. An evaluator that fails is warned of once; its metrics are then missing. Collective.
        """
        for part in ("probe", "val"):
            on_every_rank(self.reader.keep, part, model.device)
        tables, error = self._measure({"trained": [model]}, "probe", "val")
        new = {name: reason for name, reason in (error.failures if error else {}).items() if name not in self._warned}
        if new and collectives.rank() == 0:
            log.warning("%s The training goes on without these metrics.", EvaluationError(new))
        self._warned.update(new)
        return {
            f"{name}/{metric}": value.mean
            for name, table in tables.items()
            for metric, value in table.row("trained").metrics.items()
        }

    def on_test(self, *models: Model) -> dict[str, ResultsTable]:
        """Evaluate models, one for each seed, on the test part, with rows of chance, baseline features and untrained.

        Writes the tables, and contact sheets of the first model if it has two modalities or more, into the run folder.
        Collective: every rank embeds its slice of the records; rank 0 measures and writes, and all receive the tables.

        Raises:
            EvaluationError: when evaluators failed; the tables of the others are written.
        """
        if not self.plan.evaluators:
            return {}
        untrained = [Model(model.plan, model.plan.learner()).to(model.device) for model in models]
        tables, error = self._measure({"untrained": untrained, "trained": list(models)}, "train", "test", final=True)
        if error is not None:
            raise error
        return tables

    def _measure(
        self, models: Mapping[str, Sequence[Model]], train: str, test: str, final: bool = False
    ) -> tuple[dict[str, ResultsTable], EvaluationError | None]:
        """Return the tables, and the error of the evaluators that failed; `run.json` names these with the reason.

        When the features themselves cannot be had, all evaluators fail. Collective.

        Args:
            models: row of the tables -> its models, one for each seed.
            train: the part that evaluators are fitted to.
            test: the part that is measured.
            final: add a row of baseline features, and write tables and contact sheets.
        """
        needed = spaces(self.plan.evaluators)
        device = next(iter(models.values()))[0].device
        readers: list[FeatureReader] = [ModelReader(model, needed) for row in models.values() for model in row]
        if final and "features" in needed:
            readers.append(BaselineReader(self.plan.modalities))

        def measured(parts: Sequence[Sequence[FeatureRows]]) -> dict[str, ResultsTable]:
            read = zip(*(feature_tables(part, self.source.key) for part in parts), strict=True)
            features = [
                ModelFeatures({space: (of_train[space], of_test[space]) for space in of_train}, device=device)
                for of_train, of_test in read
            ]
            rows: dict[str, list[ModelFeatures]] = {}
            for name, of_row in models.items():
                rows[name] = [replace(features.pop(0), embed=model.embed) for model in of_row]
            if final:
                about = BaselineReader(self.plan.modalities).about
                rows = _with_baseline([replace(baseline, about=about) for baseline in features], rows)
                if "embedding" in needed:
                    _, embedded = rows["trained"][0].parts["embedding"]
                    draw_retrieval_sheets(embedded, Previews(self.plan, self.source), self.run.evaluations)
            return evaluate_models(self.plan.evaluators, rows)

        error: EvaluationError | None = None
        tables: dict[str, ResultsTable] = {}
        try:
            parts = [self._read(part, readers, device) for part in (train, test)]
            tables = on_rank_zero(measured, parts)
        except EvaluationError as failed:
            tables, error = failed.tables, failed
        except SensoriumError as failed:
            error = EvaluationError(dict.fromkeys(self.plan.evaluators, str(failed)))
            error.__cause__ = failed
        on_rank_zero(self._write, tables, error, final)
        return tables, error

    def _read(self, part: str, readers: Sequence[FeatureReader], device: torch.device) -> list[FeatureRows]:
        """Return what every rank read of its slice of a part on rank 0, nothing on the others; collective."""
        mine = on_every_rank(lambda: read_features(self.reader.batches(part, device), readers))
        self.reader.unreadable.share()
        return collectives.gather_objects(mine) or []

    def _write(self, tables: Mapping[str, ResultsTable], error: EvaluationError | None, final: bool) -> None:
        """Write tables into the run folder, and the names of evaluators that failed into `run.json`."""
        for table in tables.values() if final else ():
            table.write(self.run.folder)
        noted = self.run.status().get("failed_evaluators", {})
        failures = {name: reason for name, reason in noted.items() if name not in tables}
        failures |= error.failures if error is not None else {}
        if failures != noted:
            self.run.update(failed_evaluators=failures)

    def table(self, model: Model, part: str, space: str) -> FeatureTable:
        """Return the features of every record of a part; as `with_table`."""
        return self.with_table(model, part, space, lambda table: table)

    def with_table(self, model: Model, part: str, space: str, use: Callable[[FeatureTable], T]) -> T:
        """Embed a part, each rank its slice, and return what rank 0 makes of the table; collective.

        Args:
            model: the model that encodes the records.
            part: "train", "val", "test", "all", or "probe" for a sample of train.
            space: "features", "embedding" or "scores".
            use: called on rank 0 with the features of every record of the part; its result can be pickled.
        """
        parts = self._read(part, [ModelReader(model, [space])], model.device)
        return on_rank_zero(lambda: use(feature_tables(parts, self.source.key)[0][space]))

    def values(self, positions: Sequence[int] | np.ndarray, modalities: Iterable[str]) -> dict[str, list[Hashable]]:
        """Return, for each modality, a key for each record, equal for equal raw values; None if absent."""
        records = [self.source[int(position)].values for position in positions]
        return {name: [_identity(values.get(self.plan.fields[name])) for values in records] for name in modalities}


def _with_baseline(
    features: Sequence[ModelFeatures], rows: Mapping[str, list[ModelFeatures]]
) -> dict[str, list[ModelFeatures]]:
    """Return the rows of a table behind that of baseline features, if every part has any."""
    some = [baseline for baseline in features if all(table.features for table in baseline.parts["features"])]
    return {"baseline": some, **rows} if some else dict(rows)


def _identity(raw: Any) -> Hashable:
    """Return an identity of a raw value: a text or path itself, a hash of anything else."""
    if isinstance(raw, Unreadable):
        return None
    return raw if raw is None or isinstance(raw, str) else blake2b(pickle.dumps(raw), digest_size=16).digest()
