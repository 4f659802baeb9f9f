"""Dry run of a recipe's evaluators, before anything is trained: on the keys of records, with random features.

Whatever an evaluator needs beside features is in the keys (labels, groups, which modalities a record has), so that a
wrong label, space, protocol, modality or option shows here, in seconds, and not after the training. It also tells which
metrics there will be.

Letters: N records of a sample.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from sensorium.contracts import Encoder, Modality, RecordColumns, Source
from sensorium.contracts.record_columns import Column, is_mixed, numbered
from sensorium.errors import (
    BadSample,
    DataError,
    Interrupted,
    PluginError,
    RecipeError,
    SensoriumError,
    as_clause,
    not_found,
)
from sensorium.evaluation.directions import BASELINE, TARGET, directions
from sensorium.evaluation.features import group_names, label_columns, times_of
from sensorium.evaluation.labels import choose_column, is_missing
from sensorium.evaluation.protocols import Given, make_protocol
from sensorium.evaluation.runner import check_fit, measure_fold, reason_of
from sensorium.feature_table import FeatureTable, Layer
from sensorium.models.plan import REFERENCE, Plan
from sensorium.seeding import seed_of

WHOLE = 256
"""A part with at most this many records is taken whole."""
SPREAD, EACH, KINDS = 64, 6, 16
"""Of a larger part: evenly spread records, and records of each kind, for so many kinds (values) of a sort (a label)."""
WIDTH = 8
"""Features of each modality."""
SHAPES = {"scores": (1,), "layers": (2, WIDTH), "tokens": (3, WIDTH)}
"""What a record has in spaces in which it has something else: layers, tokens."""
SCORES = ("nats", "tokens", "uniform")
"""What `Objective.score` returns."""


def dry_run(plan: Plan, train: DryPart, test: DryPart) -> dict[str, list[str]]:
    """Run every evaluator once, on the first fold of its protocol.

    Args:
        plan: the parts of the recipe; its modalities need not be fitted.
        train: a sample of the train part.
        test: a sample of the part that is measured.

    Returns:
        Table name -> the names of its metrics.

    Raises:
        RecipeError: when an option of an evaluator has a wrong value.
        DataError: when an evaluator cannot measure these records, with its name and the reason.
        RecipeError: when that is because of the value of an option.
    """
    return {name: _metrics(name, plan, train, test) for name in plan.evaluators}


def require_metric(key: str, place: str, tables: Mapping[str, Sequence[str]]) -> None:
    """Raise an error if what a recipe names, TABLE/METRIC, is no metric of any table.

    Args:
        key: the metric.
        place: the key of the recipe that names it.
        tables: table name -> its metrics.

    Raises:
        RecipeError: with the nearest name and all metrics.
    """
    known = [f"{table}/{metric}" for table, metrics in tables.items() for metric in metrics]
    if key not in known:
        problem = f"{place} names the metric '{key}', which no evaluator measures"
        raise RecipeError(not_found(problem, key, known, f"there are: {', '.join(known) or 'none'}"))


class DryPart:
    """A sample of one part of the records: their keys, and random features in place of what a model would give.

    Args:
        source: the records; their values are not read.
        positions: those of the part, int64.
        fields: modality name -> the source's field with its raw values.
        name: of the part, which seeds the features.
    """

    def __init__(self, source: Source, positions: np.ndarray, fields: Mapping[str, str], name: str) -> None:
        self.name = name
        known = {modality: source.present(field) for modality, field in fields.items()}
        masks = [mask_N[positions] for mask_N in known.values() if mask_N is not None]
        self.columns = source.columns().take(positions)
        rows = _sample(self.columns, masks)
        self.columns, self.positions = self.columns.take(rows), positions[rows]
        everything = np.ones(len(rows), bool)
        self.present = {
            modality: everything if mask_N is None else mask_N[self.positions] for modality, mask_N in known.items()
        }
        self.draws = np.random.default_rng(seed_of("dry run", name))

    def table(self, space: str) -> FeatureTable:
        """Return the table that an evaluator of a space receives."""
        count = len(self.columns)
        if space == "predictions":
            return self._predictions()
        names = SCORES if space == "scores" else tuple(self.present)
        shape = SHAPES.get(space, (WIDTH,))
        features = {name: self.draws.random((count, *shape), np.float32) for name in names}
        present = {name: np.ones(count, bool) for name in SCORES} if space == "scores" else self.present
        for name, mask_N in present.items():
            features[name][~mask_N] = np.nan
        ids, labels = self.columns.id_column().to_pylist(), label_columns(self.columns)
        groups, times = group_names(self.columns), times_of(self.columns)
        table = FeatureTable(ids, features, dict(present), labels, groups, self.positions, times)
        if space == "layers":
            table.layers = {name: tuple(Layer(number + 1) for number in range(shape[0])) for name in names}
        table.contents = {name: [(id,) for id in ids] for name in present}  # raw values are not read
        return table

    def _predictions(self) -> FeatureTable:
        """Return the table of an evaluator of predictions, as if targets were numbers."""
        table = self.table("features")
        columns: dict[str, tuple[str, ...]] = {
            f"{name}{ending}": (name,) for name in self.present for ending in (TARGET, BASELINE)
        }
        columns |= {str(one): (one.target, *one.sources) for one in directions(tuple(self.present))}
        for column, (name, *sources) in columns.items():
            shape = (WIDTH,) if column.endswith(BASELINE) else SHAPES["tokens"]
            table.features[column] = self.draws.random((len(table), *shape), np.float32)
            table.present[column] = self.present[name].copy()
            if sources:
                table.present[column] &= np.logical_or.reduce([self.present[source] for source in sources])
            table.features[column][~table.present[column]] = np.nan
        return table


def _metrics(name: str, plan: Plan, train: DryPart, test: DryPart) -> list[str]:
    """Return the metrics of one evaluator."""
    try:
        evaluator = plan.evaluators[name]()
        check_fit(name, evaluator)
        if evaluator.space == "scores" and not plan.gives_scores:
            named = " and ".join(f"'{term.part}'" for term in plan.terms)
            raise SensoriumError(
                f"it measures the likelihood of records, which the objective{'s' * (len(plan.terms) > 1)} {named} "
                f"do{'es' * (len(plan.terms) == 1)} not give"
            )
        if evaluator.space == "predictions":
            _check_predictions(plan)
        if evaluator.space == "layers":
            _check_layers(plan)
        protocol = make_protocol(evaluator.protocol)
        evaluator.prepare(_Embed(plan.modalities))
        tables = train.table(evaluator.space), test.table(evaluator.space)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of too few records, and of features that tell nothing
            seed, folds = next(iter(protocol.rounds(*tables, evaluator.label)))
            metrics = list(measure_fold(copy.copy(evaluator), *folds[0], seed)[0])
        if test.name == "test" and isinstance(protocol, Given) and "balanced accuracy" in metrics:
            _check_classes(tables[1], evaluator.label)
        return metrics
    except Interrupted:
        raise
    except Exception as error:  # of an evaluator that anybody may have written
        kind = RecipeError if isinstance(error, RecipeError | PluginError) else DataError
        raise kind(
            f"The evaluator '{name}' cannot measure these records: {as_clause(reason_of(error))}. "
            f"Correct {_key(name)}, or set {_key(name)}=null to do without it."
        ) from error


def _check_predictions(plan: Plan) -> None:
    """Raise an error if the objective predicts no modality from others, or there are no others.

    Raises:
        SensoriumError: with the objective.
    """
    if not plan.predicts_tokens:
        named = " and ".join(f"'{term.part}'" for term in plan.terms)
        raise SensoriumError(
            f"it measures predictions of one modality from others, which the objective{'s' * (len(plan.terms) > 1)} "
            f"{named} do{'es' * (len(plan.terms) == 1)} not make; 'multimae' does"
        )
    if len(plan.modalities) < 2:
        raise SensoriumError("it measures predictions of one modality from others, and the recipe has one modality")


def _check_layers(plan: Plan) -> None:
    """Raise an error if no encoder tells its layers; which tokens there are shows when it encodes.

    Raises:
        SensoriumError: with the encoders.
    """
    if all(encoder.cls.layer_stack is Encoder.layer_stack for encoder in plan.encoders.values()):
        named = ", ".join(f"'{tower.encoder.name}'" for tower in plan.recipe.modalities.values())
        raise SensoriumError(
            f"it probes the layers of an encoder, and {named} tells none: choose an encoder of blocks, such as a "
            "transformer"
        )


def _key(name: str) -> str:
    """Return the recipe's key of the evaluator of a table."""
    own = name.removeprefix(REFERENCE)
    return f"evaluate.evaluators.{own}" if own == name else f"evaluate.reference.evaluators.{own}"


def _check_classes(test: FeatureTable, label: str | None) -> None:
    """Raise an error if the test part has one class of a label: every metric of a classifier would be that of chance.

    Raises:
        SensoriumError: with the class.
    """
    label = choose_column("label", label, list(test.labels))
    classes = {value for value in test.labels[label].tolist() if not is_missing(value)}
    if len(classes) == 1:
        raise SensoriumError(
            f"the test part has one class of the label '{label}', {classes.pop()!r}: there is nothing to classify; "
            "choose another split, or a protocol such as kfold"
        )


class _Embed:
    """Embeds raw values, such as prompts, as random vectors."""

    def __init__(self, modalities: Mapping[str, Modality]) -> None:
        self.modalities = modalities

    def __call__(self, **raws: Sequence[Any]) -> dict[str, Tensor]:
        for name, values in raws.items():
            if name not in self.modalities:
                known = ", ".join(self.modalities)
                raise DataError(
                    not_found(f"There is no modality '{name}'", name, self.modalities, f"there are: {known}")
                )
            for raw in values if self.modalities[name].is_fitted else ():
                try:
                    self.modalities[name].decode(raw)
                except BadSample as error:
                    raise DataError(f"The value {raw!r} of '{name}' cannot be decoded: {error}.") from error
        rng = torch.Generator().manual_seed(0)
        return {name: torch.randn(len(values), WIDTH, generator=rng) for name, values in raws.items()}


def _sample(columns: RecordColumns, masks: Sequence[np.ndarray]) -> np.ndarray:
    """Return the rows of a sample that has records of every kind, ascending.

    Args:
        columns: of N records.
        masks: which of them have a value of a modality, bool (N,) each.
    """
    count = len(columns)
    if count <= WHOLE:
        return np.arange(count)
    wanted_N = np.zeros(count, bool)
    wanted_N[:: count // SPREAD] = True
    sorts = [_patterns(columns, masks), *columns.labels.values(), *([] if columns.groups is None else [columns.groups])]
    for kinds_N in map(_kinds, sorts):
        for kind in range(int(kinds_N.max(initial=-1)) + 1):
            wanted_N[np.flatnonzero(kinds_N == kind)[:EACH]] = True
    return np.flatnonzero(wanted_N)


def _kinds(column: Column) -> np.ndarray:
    """Return the number of each record's kind (N,), -1 without one: its value, or, of further ones, that of its type.

    A word among numbers is of another kind, one more number is not.
    """
    values, number_N = numbered(column)
    type_K = np.asarray(values.type_codes) if is_mixed(column.type) else np.zeros(len(values), np.int64)
    kind_K = np.where(np.arange(len(values)) < KINDS, np.arange(len(values)), KINDS + type_K)
    return np.append(kind_K, -1)[number_N]


def _patterns(columns: RecordColumns, masks: Sequence[np.ndarray]) -> Column:
    """Return a number for the modalities and labels that each record has."""
    pattern_N = np.zeros(len(columns), np.int64)
    has = [*masks, *(column.is_valid().to_numpy(zero_copy_only=False) for column in columns.labels.values())]
    for number, has_N in enumerate(has):
        pattern_N += has_N * np.int64(seed_of("pattern", number))  # sums wrap around, and hardly ever coincide
    return pa.array(pattern_N)
