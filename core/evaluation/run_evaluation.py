"""Evaluation of a run: embeds its records, runs its evaluators, writes result tables and contact sheets."""

from __future__ import annotations

import logging
import pickle
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from hashlib import blake2b
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from sensorium.contracts import FeatureTable, Source
from sensorium.data.decoding import RecordDecoder
from sensorium.data.loader import iterate
from sensorium.data.splits import assign_parts
from sensorium.data.unreadable import UnreadableRecords
from sensorium.errors import DataError, EvaluationError, SensoriumError
from sensorium.evaluation.contact_sheet import RetrievedImage, contact_sheet
from sensorium.evaluation.dry_run import DryPart, dry_run, require_metric
from sensorium.evaluation.features import baseline_table, feature_table, score_table
from sensorium.evaluation.runner import ModelFeatures, evaluate_models, spaces
from sensorium.evaluation.similarity import l2_normalize
from sensorium.evaluation.tables import ResultsTable
from sensorium.models.model import Model
from sensorium.models.plan import Plan
from sensorium.runs.atomic import write_atomically
from sensorium.runs.run import Run
from sensorium.seeding import uniform_of
from sensorium.types import Batch, RecordBatch

log = logging.getLogger("sensorium")
SHEET_QUERIES, SHEET_TARGETS = 8, 6
"""Rows and columns of a contact sheet."""


class RunEvaluation:
    """Evaluates models on the records of one run.

    Args:
        plan: the parts of the run's recipe; its modalities may be fitted later, before the first evaluation.
        source: where the records come from.
        run: where tables and contact sheets are written.
    """

    def __init__(self, plan: Plan, source: Source, run: Run) -> None:
        self.plan, self.source, self.run = plan, source, run
        data = plan.recipe.data
        self.parts = assign_parts(source, {"val": data.val, "test": data.test}, data.split_seed)
        self._cached: dict[str, list[RecordBatch]] = {}
        self._warned: set[str] = set()

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
        train, test = (DryPart(self.source, self.parts[name], self.plan.fields, name) for name in ("train", part))
        return dry_run(self.plan, train, test)

    def on_val(self, model: Model) -> dict[str, float]:
        """Return the metrics of a model on the val part, with evaluators fitted on (a sample of) the train part.

        The test part is not read. An evaluator that fails is warned of once; its metrics are then missing.
        """
        tables, error = self._measure(lambda: {"trained": [self._features_of(model, "probe", "val")]})
        new = {name: reason for name, reason in (error.failures if error else {}).items() if name not in self._warned}
        if new:
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

        Raises:
            EvaluationError: when evaluators failed; the tables of the others are written.
        """
        if not self.plan.evaluators:
            return {}

        def rows() -> dict[str, list[ModelFeatures]]:
            untrained = [Model(model.plan, model.plan.learner()).to(model.device) for model in models]
            trained = [self._features_of(model, "train", "test") for model in models]
            rows = {"untrained": [self._features_of(first, "train", "test") for first in untrained], "trained": trained}
            if "embedding" in trained[0].parts and len(models[0].modalities) > 1:
                self._draw_sheets(trained[0].parts["embedding"][1])
            baseline_features = self._baseline()
            return rows if baseline_features is None else {"baseline": [baseline_features], **rows}

        tables, error = self._measure(rows)
        for table in tables.values():
            table.write(self.run.folder)
        if error is not None:
            raise error
        return tables

    def _measure(
        self, rows: Callable[[], Mapping[str, Sequence[ModelFeatures]]]
    ) -> tuple[dict[str, ResultsTable], EvaluationError | None]:
        """Return the tables, and the error of the evaluators that failed; `run.json` names these with the reason.

        When the features themselves cannot be had, all evaluators fail.
        """
        error: EvaluationError | None = None
        try:
            tables = evaluate_models(self.plan.evaluators, rows())
        except EvaluationError as failed:
            tables, error = failed.tables, failed
        except SensoriumError as failed:
            tables, error = {}, EvaluationError(dict.fromkeys(self.plan.evaluators, str(failed)))
            error.__cause__ = failed
        noted = self.run.status().get("failed_evaluators", {})
        failures = {name: reason for name, reason in noted.items() if name not in tables}
        failures |= error.failures if error is not None else {}
        if failures != noted:
            self.run.update(failed_evaluators=failures)
        return tables, error

    def table(self, model: Model, part: str, space: str) -> FeatureTable:
        """Return the features of every record of a part.

        Args:
            model: the model that encodes them.
            part: "train", "val", "test", "all", or "probe" for a sample of train.
            space: "features", "embedding" or "scores".
        """
        if space == "scores":
            return score_table(self.batches(part), model.score, self.source.key)

        def embed(name: str, batch: Batch) -> Tensor:
            return model.encode(name, batch, space)

        return feature_table(self.batches(part), embed, self.source.key, model.modalities)

    def _features_of(self, model: Model, train: str, test: str) -> ModelFeatures:
        needed = spaces(self.plan.evaluators)
        parts = {space: (self.table(model, train, space), self.table(model, test, space)) for space in needed}
        return ModelFeatures(parts, model.embed)

    def _baseline(self) -> ModelFeatures | None:
        if "features" not in spaces(self.plan.evaluators):
            return None
        tables = [baseline_table(self.batches(p), self.plan.modalities, self.source.key) for p in ("train", "test")]
        return None if None in tables else ModelFeatures({"features": (tables[0], tables[1])})  # type: ignore[dict-item]

    def values(self, positions: Sequence[int] | np.ndarray, modalities: Iterable[str]) -> dict[str, list[Hashable]]:
        """Return, for each modality, a key for each record, equal for equal raw values; None if absent."""
        records = [self.source[int(position)].values for position in positions]
        return {name: [_identity(values.get(self.plan.fields[name])) for values in records] for name in modalities}

    def positions(self, part: str) -> np.ndarray:
        """Return the indices in the source of the records of a part."""
        if part == "all":
            return np.arange(len(self.source))
        if part == "probe":
            train, most = self.parts["train"], self.plan.recipe.evaluate.probe
            order = sorted(train.tolist(), key=lambda i: uniform_of("probe", self.source.key(i).id))
            return np.array(sorted(order[:most]), dtype=np.int64)
        return self.parts[part]

    def batches(self, part: str) -> Iterable[RecordBatch]:
        """Return an ordered pass over a part; if the recipe has a cache, it is decoded once."""
        if self.plan.recipe.data.cache == "off":
            return self._decode(part)
        if part not in self._cached:
            self._cached[part] = list(self._decode(part))
        return self._cached[part]

    def _decode(self, part: str) -> Iterator[RecordBatch]:
        recipe, positions = self.plan.recipe, self.positions(part)
        return iterate(
            self.source,
            positions,
            self.plan.fields,
            self.plan.modalities,
            batch=recipe.evaluate.batch,
            bad=UnreadableRecords(len(positions), recipe.data.max_bad, self.run.bad_file),
            workers=recipe.data.workers,
        )

    def _draw_sheets(self, test: FeatureTable) -> None:
        """Draw retrieval between the first two modalities, in both directions, for a few records of the test part."""
        a, b = list(test.features)[:2]
        assert test.positions is not None, "batches of a source have positions"
        positions = test.positions.tolist()
        if not (self.plan.modalities[a].has_preview and self.plan.modalities[b].has_preview):
            return
        for query, target in ((a, b), (b, a)):
            both = np.flatnonzero(test.present[query] & test.present[target])
            queries = sorted(both.tolist(), key=lambda row: uniform_of("sheet", test.ids[row]))[:SHEET_QUERIES]
            targets = np.flatnonzero(test.present[target])
            if not queries or not len(targets):
                continue
            cosines = l2_normalize(test.features[query][queries]) @ l2_normalize(test.features[target][targets]).T
            best = torch.topk(cosines, min(SHEET_TARGETS, len(targets)))
            results = [
                [
                    RetrievedImage(
                        self.preview(positions[targets[column]], target),
                        f"{score:.2f}",
                        test.groups[targets[column]] == test.groups[row],
                    )
                    for score, column in zip(best.values[i].tolist(), best.indices[i].tolist(), strict=True)
                ]
                for i, row in enumerate(queries)
            ]
            previews = [self.preview(positions[row], query) for row in queries]
            sheet = contact_sheet(previews, results, f"{query} -> {target}, {len(targets)} targets")
            path = self.run.evaluations / f"sheet-{query}-to-{target}.png"
            write_atomically(path, lambda part, sheet=sheet: sheet.save(part, format="PNG"))

    def preview(self, position: int, modality: str) -> Image.Image:
        """Return the preview of a record's value of a modality, by the record's position in the source."""
        decoder = RecordDecoder(self.source, {modality: self.plan.fields[modality]}, self.plan.modalities)
        decoded = decoder[0, np.array([position])]
        assert decoded.records is not None, "it was decoded before"
        part = self.plan.modalities[modality]
        return part.preview(part.examples(decoded.records.batches[modality])[0])


def _identity(raw: Any) -> Hashable:
    """Return an identity of a raw value: a text or path itself, a hash of anything else."""
    return raw if raw is None or isinstance(raw, str) else blake2b(pickle.dumps(raw), digest_size=16).digest()
