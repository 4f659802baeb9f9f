"""Evaluation of a run: embeds its records, runs its evaluators, writes result tables and contact sheets.

A run may name a second set of records, `evaluate.reference`, of what the weights that it started from already knew: it
is measured by the same code, after the run's own.
"""

from __future__ import annotations

import logging
import pickle
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from functools import cached_property
from hashlib import blake2b
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch

from sensorium.contracts import Source
from sensorium.data.several import values_of
from sensorium.errors import DataError, EvaluationError, Interrupted, RecipeError, SensoriumError, as_clause, not_found
from sensorium.evaluation.drift import (
    FORGETTING,
    REFERENCE,
    TEST_PART,
    SetDrift,
    distances,
    forgetting_table,
    weights_moved,
)
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
from sensorium.evaluation.starting_models import starting_models
from sensorium.evaluation.tables import AS_IT_CAME, TRAINED, ResultsTable
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


@dataclass(frozen=True)
class _Final:
    """An evaluation that is written: who is shown its tables, and sentences that stand below each."""

    show: Show | None = None
    remarks: Sequence[str] = ()


@dataclass
class _Measured:
    """What was measured on one set of records: tables, why others failed, and how far features moved."""

    tables: dict[str, ResultsTable] = field(default_factory=dict)
    error: EvaluationError | None = None
    drift: SetDrift | None = None


class RunEvaluation:
    """Evaluates models on the records of one run.

    Args:
        plan: the parts of the run's recipe; its modalities may be fitted later, before the first evaluation.
        source: where the records come from.
        run: where tables and contact sheets are written.
        name: "reference" for the records of `evaluate.reference`, whose files stand in a folder of that name.
        unreadable: the table of unreadable values of records that are not those of the run.
    """

    def __init__(self, plan: Plan, source: Source, run: Run, name: str = "", unreadable: Path | None = None) -> None:
        self.plan, self.source, self.run, self.name = plan, source, run, name
        self.folder = run.evaluations / name
        if name:
            unreadable = self.folder / run.unreadable_file.name
        self.reader = PartReader(plan, source, run, unreadable, is_reference=bool(name))
        self.parts = self.reader.parts
        self._warned: set[str] = set()
        self._samples: dict[str, DryPart] = {}

    @cached_property
    def reference(self) -> RunEvaluation | None:
        """The evaluation of the records of `evaluate.reference`, if the recipe has any."""
        plan = self.plan.reference
        return None if plan is None else RunEvaluation(plan, plan.open_source(), self.run, REFERENCE)

    def check(self) -> None:
        """Raise an error for whatever would keep the evaluators from measuring the test part, and a reference set's.

        Only keys of records are read, so this takes seconds; what embeds or decodes records comes after it.

        Raises:
            DataError: when there is no test part, or an evaluator cannot measure its records.
        """
        if self.plan.evaluators and not len(self.parts["test"]):
            key, without = "data.test", "evaluate.evaluators={}"
            if self.name:
                key, without = "evaluate.reference.test", "evaluate.reference=null"
            raise DataError(
                f"There is no test part to evaluate on: {key} is 0, or so small a fraction of few groups that it "
                f"is empty. Increase {key}, or give the records a split; to train without evaluation, set {without}."
            )
        self._dry_run("test")
        if self.reference is not None:
            self.reference.check()

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
        known = list(label_columns(self._sample("train").columns)) if named else []
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
            on_every_rank(self.reader.keep, self.reader.measured(part), model.device)
        measured = self._measure({TRAINED: [model]}, "probe", "val")
        failures = measured.error.failures if measured.error is not None else {}
        new = {name: reason for name, reason in failures.items() if name not in self._warned}
        if new and collectives.rank() == 0:
            log.warning("%s The training goes on without these metrics.", EvaluationError(new))
        self._warned.update(new)
        return {
            f"{name}/{metric}": value.mean
            for name, table in measured.tables.items()
            for metric, value in table.row(TRAINED).metrics.items()
        }

    def on_test(self, *models: Model, show: Show | None = None, forgetting: bool = True) -> dict[str, ResultsTable]:
        """Evaluate models, one for each seed, on the test part, with the rows that they must be compared with.

        These are chance, baseline features, the untrained model and, of a run that started from weights, these as they
        came. Each table is written into the run folder, with its predictions, and shown as soon as it is done: whoever
        stops in between keeps what is done, and `failed_evaluators` in `run.json` names the rest. Contact sheets of the
        first model, if it has two modalities or more, come after the tables; then the tables of the reference set, and
        what was forgotten.
        Collective: every rank embeds its slice of the records; rank 0 measures and writes, and all receive the tables.

        Args:
            models: those of the row "trained".
            show: called on rank 0 with each table.
            forgetting: whether a run that started from weights has the table of what it forgot, too.

        Raises:
            EvaluationError: when evaluators failed; the tables of the others are written.
        """
        evaluations = [one for one in (self, self.reference) if one is not None and one.plan.evaluators]
        if not evaluations:
            return {}
        rows: dict[str, list[Model]] = {}
        remarks: list[str] = []
        if self.plan.recipe.evaluate.baselines == "on":
            rows, remarks = starting_models(models, [model.run or self.run for model in models])
        rows[TRAINED] = list(models)
        tables: dict[str, ResultsTable] = {}
        errors: list[EvaluationError] = []
        drifts: list[SetDrift] = []
        for one in evaluations:
            measured = one._measure(rows, "train", "test", _Final(show, remarks))
            tables |= measured.tables
            errors += [measured.error] if measured.error is not None else []
            drifts += [measured.drift] if measured.drift is not None else []
        if drifts and forgetting:
            tables[FORGETTING] = on_rank_zero(self._forgetting, drifts, rows, show)
        if errors:
            failures = {name: reason for error in errors for name, reason in error.failures.items()}
            raise EvaluationError(failures, tables) from errors[0].__cause__
        return tables

    def _forgetting(
        self, drifts: Sequence[SetDrift], rows: Mapping[str, Sequence[Model]], show: Show | None
    ) -> ResultsTable:
        """Return the table of what a run that started from weights forgot, after it is written and shown."""
        moved: dict[str, list[float]] = {}
        for before, after in zip(rows[AS_IT_CAME], rows[TRAINED], strict=True):
            for name, value in weights_moved(before, after).items():
                moved.setdefault(name, []).append(value)
        table = forgetting_table(drifts, moved)
        table.write(self.run.folder)
        if show is not None:
            show(table)
        return table

    def _measure(
        self, models: Mapping[str, Sequence[Model]], train: str, test: str, final: _Final | None = None
    ) -> _Measured:
        """Return the tables, and the error of the evaluators that failed; `run.json` names these with the reason.

        When the features themselves cannot be had, all evaluators fail. Collective.

        Args:
            models: row of the tables -> its models, one for each seed.
            train: the part that evaluators are fitted to.
            test: the part that is measured.
            final: add a row of baseline features, say what is done, and write tables and contact sheets.
        """
        needed = spaces(self.plan.evaluators) | ({"features": None} if final and AS_IT_CAME in models else {})
        device = next(iter(models.values()))[0].device
        all_models = [model for row in models.values() for model in row]
        step = timed if final and collectives.rank() == 0 else untimed
        result = _Measured()

        def done(table: ResultsTable, predictions: Columns) -> None:
            table.write(self.run.folder, predictions)
            self._note({}, [table.evaluator])
            if final is not None and final.show is not None:
                final.show(table)

        def measured(parts: Sequence[_Part]) -> _Measured:
            rows = self._rows(models, parts, device)
            if final is None:
                result.tables = evaluate_models(self.plan.evaluators, rows)
                return result
            result.drift = self._drift(rows)
            try:
                result.tables = evaluate_models(self.plan.evaluators, rows, done, step, final.remarks)
            except EvaluationError as failed:
                result.tables, result.error = failed.tables, failed
            self._draw_sheets(rows[TRAINED][0])
            if result.drift is not None:
                result.drift.tables = result.tables
            return result

        if final:
            on_rank_zero(self._note, dict.fromkeys(self.plan.evaluators, UNMEASURED), [])
        try:
            of_val = spaces(self.plan.evaluators, of_val=True) if final and len(self.parts["val"]) else {}
            asked = {train: needed, test: needed} | ({"val": of_val} if of_val else {})
            samples = self._records_of(all_models, needed, list(asked), test)
            parts = []
            for part, limits in asked.items():
                predicts = part == test
                readers: list[FeatureReader] = [ModelReader(model, limits, samples, predicts) for model in all_models]
                if final and part != "val" and self.plan.recipe.evaluate.baselines == "on":
                    baseline = BaselineReader(self.plan.modalities)
                    readers += [baseline] * bool(limits.keys() & baseline.spaces)
                parts.append(self._read_sample(part, limits, samples, readers, device, step))
            result = on_rank_zero(measured, parts)
        except EvaluationError as failed:
            result.tables, result.error = failed.tables, failed
        except Interrupted:
            raise
        except SensoriumError as failed:
            result.error = EvaluationError(dict.fromkeys(self.plan.evaluators, str(failed)))
            result.error.__cause__ = failed
        on_rank_zero(self._note, result.error.failures if result.error is not None else {}, result.tables)
        return result

    def _drift(self, rows: Mapping[str, Sequence[ModelFeatures]]) -> SetDrift | None:
        """Return how far the features of the test part moved, seed by seed; None for a run from scratch."""
        if AS_IT_CAME not in rows:
            return None
        pairs = zip(*([model.parts["features"] for model in rows[name]] for name in (AS_IT_CAME, TRAINED)), strict=True)
        device = rows[TRAINED][0].device
        found = [distances(before[1], after[1], device) for before, after in pairs]
        return SetDrift.of(self.name or TEST_PART, rows[TRAINED][0].parts["features"], found)

    def _records_of(
        self, models: Sequence[Model], limits: Mapping[str, int | None], parts: Sequence[str], test: str
    ) -> Samples:
        """Return which records of some parts are in the spaces of which not all records are held; collective.

        Args:
            models: the models that encode the records.
            limits: space -> the largest number of records of a part, None for all.
            parts: the parts.
            test: the one that is measured, of which there are predictions.
        """
        sampled = {space: limit for space, limit in limits.items() if space in SAMPLED}
        if not sampled:
            return {}
        chosen: dict[str, list[np.ndarray]] = {space: [] for space in sampled}
        for part in parts:
            readers = [ModelReader(model, sampled, predicts=part == test) for model in models]
            of_ranks = collectives.all_gather_objects(on_every_rank(self._sizes, readers, part))
            for space, limit in sampled.items():
                size = max(sizes[space] for sizes in of_ranks)
                most = limit_in(BUDGET // len(sampled), len(parts) * size, limit)
                chosen[space].append(self.reader.sample(part, most))
        return {space: np.concatenate(positions) for space, positions in chosen.items()}

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
        """Read a part, or a sample of it, of which only those records that some space has; collective.

        Args:
            part: the part.
            limits: the spaces.
            samples: as the readers have them.
            readers: what makes features of the records.
            device: where.
            step: `step("features of ...")` is entered meanwhile.
        """
        total, positions = len(self.reader.positions(part)), self.reader.measured(part)
        chosen = {space: np.intersect1d(positions, samples[space]) for space in limits if space in samples}
        sampled_of = {space: total for space in limits if len(chosen.get(space, positions)) < total}
        if chosen.keys() == limits.keys():
            positions = np.unique(np.concatenate(list(chosen.values())))
        of = f"{self.name}, {part} part" if self.name else f"the {part} part"
        with step(f"features of {of} ({len(positions):,} records)"):
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
        tables = [feature_tables(part.rows, self.reader.columns, part.sampled_of) for part in parts]
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
        if not self.name:  # the training saw no record of a reference set
            seen = frozenset(id for train, _ in rows[TRAINED][0].parts.values() for id in train.ids)
            rows[TRAINED] = [replace(model, seen=seen) for model in rows[TRAINED]]
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
        return on_rank_zero(lambda: use(feature_tables(parts, self.reader.columns)[0][space]))

    def values(self, positions: Sequence[int] | np.ndarray, modalities: Iterable[str]) -> dict[str, list[Hashable]]:
        """Return, for each modality, a key for each record, equal for equal raw values; None if absent."""
        records = [self.source[int(position)].values for position in positions]
        return {name: [_identity(values.get(self.plan.fields[name])) for values in records] for name in modalities}

    def _draw_sheets(self, features: ModelFeatures) -> None:
        """Draw contact sheets; whatever keeps them from being drawn is a warning."""
        if "embedding" not in features.parts:
            return
        try:
            draw_retrieval_sheets(features.parts["embedding"][1], Previews(self.plan, self.source), self.folder)
        except Interrupted:
            raise
        except Exception as error:  # of a preview that anybody may have written: tables are worth more than images
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
