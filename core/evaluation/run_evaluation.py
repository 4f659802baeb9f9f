"""Evaluation of a run: embeds its records, runs its evaluators, writes result tables and contact sheets."""

from __future__ import annotations

import logging
import pickle
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from hashlib import blake2b
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch

from sensorium.contracts import Source
from sensorium.data.several import values_of
from sensorium.errors import DataError, EvaluationError, Interrupted, RecipeError, SensoriumError, as_clause, not_found
from sensorium.evaluation.dry_run import DryPart, dry_run, require_metric
from sensorium.evaluation.features import (
    BaselineReader,
    FeatureReader,
    FeatureRows,
    ModelReader,
    Samples,
    feature_tables,
    label_columns,
    read_features,
)
from sensorium.evaluation.part_reader import PartReader
from sensorium.evaluation.predictions import Columns
from sensorium.evaluation.previews import Previews
from sensorium.evaluation.progress import timed, untimed
from sensorium.evaluation.retrieval_sheets import draw_retrieval_sheets
from sensorium.evaluation.runner import ModelFeatures, evaluate_models, reason_of, spaces
from sensorium.evaluation.sampling import BUDGET, SAMPLED, limit_in
from sensorium.evaluation.tables import ResultsTable
from sensorium.feature_table import FeatureTable
from sensorium.models.model import Model
from sensorium.models.plan import Plan
from sensorium.parallel import collectives
from sensorium.parallel.rank_zero import on_every_rank, on_rank_zero
from sensorium.runs.run import Run
from sensorium.types import Unreadable

log = logging.getLogger("sensorium")
T = TypeVar("T")
Show = Callable[[ResultsTable], object]
Step = Callable[[str], AbstractContextManager[None]]
UNMEASURED = "not measured yet: the evaluation did not come to it"


class _Part(NamedTuple):
    """What all ranks read of a part, on rank 0.

    Args:
        rows: what each rank read.
        sampled_of: space -> number of records of the part, where not all of them are read.
    """

    rows: list[FeatureRows]
    sampled_of: dict[str, int]


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

    def check_training(self, final: bool = True) -> None:
        """Raise an error for whatever would keep a training from being measured during it and at its end.

        Args:
            final: whether it is measured at its end.

        Raises:
            DataError: as in `check`; when there is no val part, for evaluation during training; when an evaluator
                cannot measure its records.
            RecipeError: when `checkpoint.best`, or what a callback reads, is no metric of the evaluators, or
                `finetune.labels` names a label that labeled records do not have.
        """
        self._check_finetune_labels()
        if final:
            self.check()
        if self.plan.recipe.evaluate.every is None:
            return
        if self.plan.evaluators and not len(self.parts["val"]):
            raise DataError("There is no val part to evaluate on during training: set data.val above 0.")
        metrics = self._dry_run("val")
        if (best := self.plan.recipe.checkpoint.best) is not None:
            require_metric(best, "checkpoint.best", metrics)
        for name, make in self.plan.callbacks.items():
            for metric in make().needs_metrics:
                require_metric(metric, f"callbacks.{name}", metrics)

    def _check_finetune_labels(self) -> None:
        """Raise an error for a label to fine-tune on that is none of the records'; those without labels may get some.

        Raises:
            RecipeError: with the nearest label.
        """
        named = self.plan.recipe.finetune.labels or []
        known = list(label_columns(self._sample("train").records)) if named else []
        for label in named:
            if known and label not in known:
                problem = f"finetune.labels names '{label}', a label that the records do not have"
                raise RecipeError(not_found(problem, label, known, f"they have: {', '.join(known)}"))

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
        if not self.plan.evaluators:
            return {}
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

    def on_test(self, *models: Model, show: Show | None = None) -> dict[str, ResultsTable]:
        """Evaluate models, one for each seed, on the test part, with rows of chance, baseline features and untrained.

        Each table is written into the run folder, with its predictions, and shown as soon as it is done: whoever stops
        in between keeps what is done, and `failed_evaluators` in `run.json` names the rest. Contact sheets of the first
        model, if it has two modalities or more, come after the tables.
        Collective: every rank embeds its slice of the records; rank 0 measures and writes, and all receive the tables.

        Args:
            models: those of the row "trained".
            show: called on rank 0 with each table.

        Raises:
            EvaluationError: when evaluators failed; the tables of the others are written.
        """
        if not self.plan.evaluators:
            return {}
        rows: dict[str, list[Model]] = {}
        if self.plan.recipe.evaluate.baselines == "on":
            rows["untrained"] = [
                Model(model.plan, model.plan.learner(pretrained=False)).to(model.device) for model in models
            ]
        rows["trained"] = list(models)
        tables, error = self._measure(rows, "train", "test", final=True, show=show)
        if error is not None:
            raise error
        return tables

    def _measure(
        self,
        models: Mapping[str, Sequence[Model]],
        train: str,
        test: str,
        final: bool = False,
        show: Show | None = None,
    ) -> tuple[dict[str, ResultsTable], EvaluationError | None]:
        """Return the tables, and the error of the evaluators that failed; `run.json` names these with the reason.

        When the features themselves cannot be had, all evaluators fail. Collective.

        Args:
            models: row of the tables -> its models, one for each seed.
            train: the part that evaluators are fitted to.
            test: the part that is measured.
            final: add a row of baseline features, say what is done, and write tables and contact sheets.
            show: called with each table.
        """
        needed = spaces(self.plan.evaluators)
        device = next(iter(models.values()))[0].device
        all_models = [model for row in models.values() for model in row]
        step = timed if final and collectives.rank() == 0 else untimed

        def done(table: ResultsTable, predictions: Columns) -> None:
            table.write(self.run.folder, predictions)
            self._note({}, [table.evaluator])
            if show is not None:
                show(table)

        def measured(parts: Sequence[_Part]) -> dict[str, ResultsTable]:
            rows = self._rows(models, parts, device)
            if not final:
                return evaluate_models(self.plan.evaluators, rows)
            try:
                tables = evaluate_models(self.plan.evaluators, rows, done, step)
            except EvaluationError:
                self._draw_sheets(rows["trained"][0])
                raise
            self._draw_sheets(rows["trained"][0])
            return tables

        error: EvaluationError | None = None
        tables: dict[str, ResultsTable] = {}
        if final:
            on_rank_zero(self._note, dict.fromkeys(self.plan.evaluators, UNMEASURED), [])
        try:
            of_val = spaces(self.plan.evaluators, of_val=True) if final and len(self.parts["val"]) else {}
            asked = {train: needed, test: needed} | ({"val": of_val} if of_val else {})
            samples = self._records_of(all_models, needed, list(asked))
            parts = []
            for part, limits in asked.items():
                readers: list[FeatureReader] = [ModelReader(model, limits, samples) for model in all_models]
                if final and part != "val" and self.plan.recipe.evaluate.baselines == "on":
                    baseline = BaselineReader(self.plan.modalities)
                    readers += [baseline] * bool(limits.keys() & baseline.spaces)
                parts.append(self._read_sample(part, limits, samples, readers, device, step))
            tables = on_rank_zero(measured, parts)
        except EvaluationError as failed:
            tables, error = failed.tables, failed
        except Interrupted:
            raise
        except SensoriumError as failed:
            error = EvaluationError(dict.fromkeys(self.plan.evaluators, str(failed)))
            error.__cause__ = failed
        on_rank_zero(self._note, error.failures if error is not None else {}, tables)
        return tables, error

    def _records_of(self, models: Sequence[Model], limits: Mapping[str, int | None], parts: Sequence[str]) -> Samples:
        """Return which records of some parts are in the spaces of which not all records are held; collective.

        Args:
            models: the models that encode the records.
            limits: space -> the largest number of records of a part, None for all.
            parts: the parts.
        """
        sampled = {space: limit for space, limit in limits.items() if space in SAMPLED}
        if not sampled:
            return {}
        readers = [ModelReader(model, sampled) for model in models]
        sizes = on_every_rank(self._sizes, readers, parts[0])
        sizes = {space: max(of[space] for of in collectives.all_gather_objects(sizes)) for space in sampled}
        samples = {}
        for space, limit in sampled.items():
            most = limit_in(BUDGET // len(sampled), len(parts) * sizes[space], limit)
            samples[space] = np.concatenate([self.reader.sample(part, most) for part in parts])
        return samples

    def _sizes(self, readers: Sequence[ModelReader], part: str) -> dict[str, int]:
        """Return space -> bytes that a record takes over all models, by the first batch of this rank."""
        sizes = dict.fromkeys(readers[0].columns, 0)
        records = next(iter(self.reader.batches(part, readers[0].model.device)), None)
        if records is None:
            return sizes
        for reader in readers:
            for space, columns in reader(records).items():
                sizes[space] += sum(x.nbytes for x, _ in columns.values()) // len(records)
        return sizes

    def _read_sample(
        self,
        part: str,
        limits: Mapping[str, int | None],
        samples: Samples,
        readers: Sequence[FeatureReader],
        device: torch.device,
        step: Step,
    ) -> _Part:
        """Read a part, of which only those records that some space has; collective.

        Args:
            part: the part.
            limits: the spaces.
            samples: as the readers have them.
            readers: what makes features of the records.
            device: where.
            step: `step("features of ...")` is entered meanwhile.
        """
        positions = self.reader.positions(part)
        chosen = {space: np.intersect1d(positions, samples[space]) for space in limits if space in samples}
        sampled_of = {space: len(positions) for space, of in chosen.items() if len(of) < len(positions)}
        if chosen.keys() == limits.keys():
            positions = np.unique(np.concatenate(list(chosen.values())))
        with step(f"features of the {part} part ({len(positions):,} records)"):
            return _Part(self._read(positions, readers, device), sampled_of)

    def _rows(
        self, models: Mapping[str, Sequence[Model]], parts: Sequence[_Part], device: torch.device
    ) -> dict[str, list[ModelFeatures]]:
        """Return the rows of the tables: those of models, behind that of baseline features where these were read.

        Args:
            models: row -> its models.
            parts: the train part, the test part and, where evaluators choose on it, the val part.
            device: where evaluators compute.
        """
        tables = [feature_tables(part.rows, self.source.key, part.sampled_of) for part in parts]
        tables, of_val = tables[:2], tables[2] if len(tables) > 2 else []
        if any(make().needs_contents for make in self.plan.evaluators.values()):
            self._add_contents(tables)
        read = zip(*tables, strict=True)
        features = [
            ModelFeatures({space: (of_train[space], of_test[space]) for space in of_train}, device=device)
            for of_train, of_test in read
        ]
        for at, val in enumerate(of_val):
            features[at] = replace(features[at], val=val)
        rows: dict[str, list[ModelFeatures]] = {}
        for name, of_row in models.items():
            rows[name] = [replace(features.pop(0), embed=model.embed) for model in of_row]
        seen = frozenset(id for train, _ in rows["trained"][0].parts.values() for id in train.ids)
        rows["trained"] = [replace(model, seen=seen) for model in rows["trained"]]
        baseline = BaselineReader(self.plan.modalities)
        return _with_baseline(
            [replace(one, parts=baseline.parts(one.parts), about=baseline.about) for one in features], rows
        )

    def _add_contents(self, parts: Sequence[Sequence[Mapping[str, FeatureTable]]]) -> None:
        """Let the tables of all readers know which raw values are equal; the records of a part are read once for it."""
        for of_readers in parts:
            contents: dict[bytes, dict[str, list[tuple[Hashable, ...]]]] = {}
            for table in (table for spaces_of in of_readers for table in spaces_of.values()):
                assert table.positions is not None, "batches of a source have positions"
                records = table.positions.tobytes()  # of a sampled space fewer than of others
                if records not in contents:
                    contents[records] = self._contents(table.positions)
                table.contents = contents[records]

    def _contents(self, positions: np.ndarray) -> dict[str, list[tuple[Hashable, ...]]]:
        """Return, for each modality, the keys of the raw values of each record."""
        records = [self.source[int(position)].values for position in positions]
        return {
            name: [tuple(map(_identity, values_of(values.get(field)))) for values in records]
            for name, field in self.plan.fields.items()
        }

    def _read(
        self, part: str | np.ndarray, readers: Sequence[FeatureReader], device: torch.device
    ) -> list[FeatureRows]:
        """Return what every rank read of its slice of a part on rank 0, nothing on the others; collective."""
        mine = on_every_rank(lambda: read_features(self.reader.batches(part, device), readers))
        self.reader.unreadable.share()
        return collectives.gather_objects(mine) or []

    def _note(self, failures: Mapping[str, str], measured: Iterable[str]) -> None:
        """Write into `run.json` which evaluators have no table and why, besides those that it names already."""
        noted = self.run.status().get("failed_evaluators", {})
        left = {name: reason for name, reason in {**noted, **failures}.items() if name not in measured}
        if left != noted:
            self.run.update(failed_evaluators=left)

    def table(self, model: Model, part: str, space: str) -> FeatureTable:
        """Return the features of every record of a part; as `with_table`."""
        return self.with_table(model, part, space, lambda table: table)

    def with_table(self, model: Model, part: str, space: str, use: Callable[[FeatureTable], T]) -> T:
        """Embed a part, each rank its slice, and return what rank 0 makes of the table; collective.

        Args:
            model: the model that encodes the records.
            part: "train", "val", "test", "all", or "probe" for a sample of train.
            space: "features", "embedding", "scores", "layers" or "tokens".
            use: called on rank 0 with the features of every record of the part; its result can be pickled.
        """
        parts = self._read(part, [ModelReader(model, [space])], model.device)
        return on_rank_zero(lambda: use(feature_tables(parts, self.source.key)[0][space]))

    def values(self, positions: Sequence[int] | np.ndarray, modalities: Iterable[str]) -> dict[str, list[Hashable]]:
        """Return, for each modality, a key for each record, equal for equal raw values; None if absent."""
        records = [self.source[int(position)].values for position in positions]
        return {name: [_identity(values.get(self.plan.fields[name])) for values in records] for name in modalities}

    def _draw_sheets(self, features: ModelFeatures) -> None:
        """Draw contact sheets; whatever keeps them from being drawn is a warning."""
        if "embedding" not in features.parts:
            return
        try:
            draw_retrieval_sheets(
                features.parts["embedding"][1], Previews(self.plan, self.source), self.run.evaluations
            )
        except Interrupted:
            raise
        except Exception as error:  # of a preview that anybody may have written: tables are worth more than pictures
            log.warning("The contact sheets could not be drawn: %s.", as_clause(reason_of(error)))


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
