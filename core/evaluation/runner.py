"""Runs evaluators on models, and keeps the test part out of every choice."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Mapping, Sequence, Set
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from functools import partial
from inspect import Parameter, signature

import torch
from PIL.Image import Image
from torch import Tensor

from sensorium.contracts import Evaluator, Protocol
from sensorium.errors import EvaluationError, Interrupted, PluginError, SensoriumError
from sensorium.evaluation.difference import difference_remarks
from sensorium.evaluation.predictions import Columns, joined, marked
from sensorium.evaluation.progress import untimed
from sensorium.evaluation.protocols import make_protocol
from sensorium.evaluation.sampling import SAMPLED, sampled
from sensorium.evaluation.tables import (
    AS_IT_CAME,
    TRAINED,
    Breakdown,
    Folds,
    Metric,
    ResultsRow,
    ResultsTable,
    split_hash,
)
from sensorium.feature_table import FeatureTable, Parts
from sensorium.registration.registry import one_line

CHANCE = "chance"
Embed = Callable[..., Mapping[str, Tensor]]
Step = Callable[[str], AbstractContextManager[None]]


@dataclass(frozen=True)
class ModelFeatures:
    """The features of one model, of one seed.

    Args:
        parts: space ("features", "embedding") -> its train and test tables. A space that a model lacks is absent; the
            tables of that space then have no row of the model.
        embed: embeds raw values, such as prompts: `embed(text=[...])` -> modality name -> (N, D).
        device: where evaluators multiply matrices.
        about: what the features are, as the row's notes say it; "" says nothing.
        seen: ids of the records that the model was trained on.
        val: space -> its val table, for evaluators that choose on it under the given split.
    """

    parts: Mapping[str, Parts]
    embed: Embed | None = None
    device: torch.device | str = "cpu"
    about: str = ""
    seen: Set[str] = frozenset()
    val: Mapping[str, FeatureTable] = field(default_factory=dict)


def evaluate_models(
    evaluators: Mapping[str, Callable[[], Evaluator]],
    rows: Mapping[str, Sequence[ModelFeatures]],
    done: Callable[[ResultsTable, Columns], object] | None = None,
    step: Step = untimed,
    remarks: Sequence[str] = (),
    compared: Sequence[tuple[str, str]] = ((AS_IT_CAME, TRAINED),),
) -> dict[str, ResultsTable]:
    """Measure the models of every row by every evaluator.

    Args:
        evaluators: name -> factory; one evaluator is made for every model.
        rows: row name -> its models, one for each seed, in the order of the table. Chance is computed from the last row
            and listed first. A row before the last that an evaluator refuses (baseline features of two modalities have
            no joint space) is listed without metrics, with the reason.
        done: called with each table, and the predictions of all its rows, as soon as it is done.
        step: `step("EVALUATOR, ROW")` is entered while one row is measured.
        remarks: sentences that stand below every table.
        compared: pairs of rows, the difference of which is said with its interval where a table has both.

    Returns:
        Evaluator name -> table.

    Raises:
        EvaluationError: when evaluators failed, with the reason of each and the tables of all others. They fail when
            two parts share a record or a group, and when they cannot measure the records.
    """
    tables: dict[str, ResultsTable] = {}
    failures: dict[str, Exception] = {}
    for name, make in evaluators.items():
        try:
            table, predictions = _table(name, make, rows, step, compared)
        except Interrupted:
            raise
        except Exception as error:  # of an evaluator that anybody may have written: the others still measure
            failures[name] = error
            continue
        table.remarks += remarks
        tables[name] = table
        if done is not None:
            done(table, predictions)
    if failures:
        reasons = {name: reason_of(error) for name, error in failures.items()}
        raise EvaluationError(reasons, tables) from next(iter(failures.values()))
    return tables


def reason_of(error: Exception) -> str:
    """Return why an evaluator failed, in a sentence; an error that is no SensoriumError has its type in front."""
    return str(error) if isinstance(error, SensoriumError) else one_line(error)


def spaces(evaluators: Mapping[str, Callable[[], Evaluator]], of_val: bool = False) -> dict[str, int | None]:
    """Return the spaces that the evaluators need, so that no other is embedded, and of how many records of a part.

    Args:
        evaluators: name -> factory.
        of_val: those that they need of the val part, on which some make their choices under the given split.

    Returns:
        Space -> the largest `record_limit` of its evaluators, None for all records.
    """
    limits: dict[str, int | None] = {}
    for evaluator in (make() for make in evaluators.values()):
        if of_val and not (evaluator.uses_val and make_protocol(evaluator.protocol).is_given):
            continue
        limit = evaluator.record_limit if evaluator.space in SAMPLED else None
        known = limits.get(evaluator.space, 0)
        limits[evaluator.space] = None if limit is None or known is None else max(limit, known)
    return limits


def check_parts(train: FeatureTable, test: FeatureTable, first: str = "train", second: str = "test") -> None:
    """Raise an error for parts that overlap in a record or a group, or that contain a record twice.

    Args:
        train: a part.
        test: another.
        first: the name of the first in errors.
        second: that of the second.

    Raises:
        SensoriumError: with the first of them.
    """
    for part, ids in ((first, train.ids), (second, test.ids)):
        if len(set(ids)) < len(ids):
            duplicate = next(i for i, count in Counter(ids).items() if count > 1)
            raise SensoriumError(f"The {part} part contains the record '{duplicate}' more than once.")
    for what, of_train, of_test in (("record", train.ids, test.ids), ("group", train.groups, test.groups)):
        if overlap := set(of_train) & set(of_test):
            raise SensoriumError(
                f"The {first} and the {second} part share {len(overlap)} {what}{'s' * (len(overlap) > 1)}, the first "
                f"is '{min(overlap)}': metrics would leak train data. Correct the source's split or its groups."
            )


def _table(
    name: str,
    make: Callable[[], Evaluator],
    rows: Mapping[str, Sequence[ModelFeatures]],
    step: Step,
    compared: Sequence[tuple[str, str]],
) -> tuple[ResultsTable, Columns]:
    """Return the table of one evaluator, and the predictions of all its rows."""
    evaluator = make()
    check_fit(name, evaluator)
    protocol = make_protocol(evaluator.protocol)
    measured = {r: [m for m in models if evaluator.space in m.parts] for r, models in rows.items()}
    measured = {row: models for row, models in measured.items() if models}
    if not measured:
        raise SensoriumError(f"The evaluator '{name}' measures the space '{evaluator.space}', which no row has.")
    if evaluator.space in SAMPLED:
        measured = {row: [_sampled(m, evaluator) for m in models] for row, models in measured.items()}
    parts = _same_split(name, [[m.parts[evaluator.space] for m in models] for models in measured.values()])
    train, test = parts[-1]
    last = next(reversed(measured))
    results: list[_Row] = []
    for row, models in measured.items():
        try:
            with step(f"{name}, {row}"):
                results.append(_row(row, make, models, protocol))
        except Interrupted:
            raise
        except SensoriumError as refusal:
            if row == last:
                raise
            note = f"not measured: {str(refusal).rstrip('.')}"
            results.append(_Row(ResultsRow(row, notes=Counter([note])), ResultsRow(CHANCE)))
    final = results[-1]
    table = ResultsTable(
        name,
        [final.chance, *final.references, *(result.row for result in results)],
        protocol.describe(),
        evaluator.selection,
        split_hash([id for of_seed in _distinct_parts(parts) for id in of_seed[0].ids], test.ids),
        (len(train), len(test)),
        folds=Folds(protocol.group, final.held_out) if not protocol.is_given else None,
        remarks=final.remarks()
        + _sampling(train, test)
        + protocol.remarks(train, test, evaluator.label)
        + _transductive(protocol, last, measured[last], final.tested)
        + _differences(name, results, compared, not protocol.is_given, step),
        classes={result.row.name: result.by_class for result in results if result.by_class},
        groups={result.row.name: result.by_group for result in results if protocol.is_pooled and result.by_group},
        is_pairwise=evaluator.is_pairwise,
        breakdown_by=evaluator.breakdown_by,
        plot=final.plot(),
    )
    return table, joined([result.predictions for result in results])


def _sampled(model: ModelFeatures, evaluator: Evaluator) -> ModelFeatures:
    """Return the features with no more records of a part than an evaluator asks for."""
    space, limit = evaluator.space, evaluator.record_limit
    train, test = (sampled(table, limit) for table in model.parts[space])
    val = {space: sampled(model.val[space], limit)} if space in model.val else {}
    return replace(model, parts={**model.parts, space: (train, test)}, val=val)


def _sampling(train: FeatureTable, test: FeatureTable) -> list[str]:
    """Return the sentence on how many records were sampled."""
    if train.sampled_of is None and test.sampled_of is None:
        return []
    shares = [f"{len(t):,} of {t.sampled_of:,}" if t.sampled_of else f"all {len(t):,}" for t in (train, test)]
    return [f"Sampled: {shares[0]} train and {shares[1]} test records, chosen by id."]


def _differences(
    name: str, results: Sequence[_Row], compared: Sequence[tuple[str, str]], folds: bool, step: Step
) -> list[str]:
    """Return the sentences on the differences of rows."""
    rows = {result.row.name: result for result in results}
    sentences = []
    for first, second in compared:
        if first in rows and second in rows and (evaluator := rows[second].evaluator) is not None:
            with step(f"{name}, {second} less {first}"):
                sentences += difference_remarks(evaluator, rows[first].predictions, rows[second].predictions, folds)
    return sentences


def _transductive(protocol: Protocol, row: str, models: Sequence[ModelFeatures], tested: Set[str]) -> list[str]:
    """Return the sentence on held-out records that the training of a row has seen."""
    seen = tested & models[0].seen
    if protocol.is_given or not seen:
        return []
    return [
        f"{row}: transductive, pretraining saw the held-out {protocol.group}s, without labels ({len(seen)} of "
        f"{len(tested)} records)" + ("; `sensorium crossfit` leaves them out of it." if protocol.is_pooled else ".")
    ]


def _same_split(name: str, rows: Sequence[Sequence[Parts]]) -> Sequence[Parts]:
    """Return the parts of each model of the last row, after checking that all rows learn from the same records.

    Every model of a row has the same parts, or each seed has its own, the same in all rows.
    """
    hashes = [[split_hash(train.ids, test.ids) for train, test in models] for models in rows]
    if len({of_row[0] for of_row in hashes}) > 1 or any(
        len(set(of_row)) > 1 and of_row != hashes[-1] for of_row in hashes
    ):
        raise SensoriumError(f"The rows of '{name}' come from different records or splits: they cannot be compared.")
    return rows[-1]


def _distinct_parts(parts: Sequence[Parts]) -> list[Parts]:
    """Return the parts of the models, each once."""
    return list({split_hash(train.ids, test.ids): (train, test) for train, test in parts}.values())


def _no_plot() -> None:
    return None


@dataclass
class _Row:
    """One row as it is measured.

    Args:
        row: its metrics and notes.
        chance: those of chance on the same parts.
        references: those of other predictions without features.
        predictions: of all its models, repetitions and folds.
        evaluator: that made the first of them; None where the row was not measured.
        by_class: class -> metrics, and by_group: held-out group -> metrics, of its first model and repetition.
        remarks: gives the sentences below the table, and `plot` a plot, of its first model and repetition.
        held_out: fold -> number of records held out.
        tested: ids of all of them.
    """

    row: ResultsRow
    chance: ResultsRow
    references: list[ResultsRow] = field(default_factory=list)
    predictions: Columns = field(default_factory=dict)
    evaluator: Evaluator | None = None
    by_class: Breakdown = field(default_factory=dict)
    by_group: Breakdown = field(default_factory=dict)
    remarks: Callable[[], list[str]] = list
    plot: Callable[[], Image | None] = _no_plot
    held_out: dict[str, int] = field(default_factory=dict)
    tested: set[str] = field(default_factory=set)


def _row(name: str, make: Callable[[], Evaluator], models: Sequence[ModelFeatures], protocol: Protocol) -> _Row:
    """Measure one set of models, and chance."""
    result = _Row(ResultsRow(name), ResultsRow(CHANCE))
    scores: dict[str, list[list[float]]] = {}
    chance_scores: dict[str, list[list[float]]] = {}
    references: dict[str, dict[str, list[list[float]]]] = {}
    blocks: list[Columns] = []
    for number, model in enumerate(models):
        prepared = make()
        prepared.device = torch.device(model.device)
        if model.embed is not None:
            prepared.prepare(model.embed)
        if prepared.uses_val and protocol.is_given and (val := model.val.get(prepared.space)) is not None:
            train, test = model.parts[prepared.space]
            check_parts(train, val, second="val")
            check_parts(val, test, first="val")
            prepared.val = val
        parts = model.parts[prepared.space]
        fold_names = protocol.names(*parts)
        for seed, folds in protocol.rounds(*parts, prepared.label):
            of_folds, chance_of_folds, references_of_folds, predicted = [], [], [], []
            for fold, (train, test) in zip(fold_names, folds, strict=True):
                evaluator = copy.copy(prepared)
                metrics, chance_metrics, notes = measure_fold(evaluator, train, test, seed)
                of_folds.append(metrics)
                chance_of_folds.append(chance_metrics)
                references_of_folds.append(evaluator.references(test))
                predicted.append(marked(evaluator.predictions(), row=name, model=number, repetition=seed, fold=fold))
                result.row.notes.update(notes + [model.about] * bool(model.about))
                result.held_out[fold] = len(test)
                result.tested |= set(test.ids)
            together = joined(predicted)
            pooled = evaluator.metrics_of(together) if protocol.is_pooled and together else {}
            _append(scores, of_folds)
            _append(scores, [{f"pooled {key}": value for key, value in pooled.items()}] if pooled else [])
            if not blocks:
                result.evaluator = evaluator
                _append(chance_scores, chance_of_folds)
                for reference in dict.fromkeys(key for found in references_of_folds for key in found):
                    measured = [found[reference] for found in references_of_folds if reference in found]
                    _append(references.setdefault(reference, {}), measured)
                result.by_group = dict(zip(fold_names, of_folds, strict=True))
                result.by_class = evaluator.metrics_by_class(together) if together else {}
                if together:
                    result.remarks = partial(evaluator.remarks, together)
                    result.plot = partial(evaluator.plot, together)
            blocks.append(together)
    result.row.metrics = {key: Metric(values) for key, values in scores.items()}
    result.chance.metrics = {key: Metric(values) for key, values in chance_scores.items()}
    result.references = [
        ResultsRow(reference, {key: Metric(values) for key, values in of_reference.items()})
        for reference, of_reference in references.items()
    ]
    result.predictions = joined(blocks)
    return result


def measure_fold(
    evaluator: Evaluator, train: FeatureTable, test: FeatureTable, seed: int
) -> tuple[dict[str, float], dict[str, float], list[str]]:
    """Fit on the train part, the only one that `fit` receives, then measure on the test part."""
    check_parts(train, test)
    evaluator.seed = seed
    evaluator.fit(train)
    metrics = evaluator.measure(test)
    return metrics, evaluator.chance(test), evaluator.notes()


def _append(scores: dict[str, list[list[float]]], folds: list[dict[str, float]]) -> None:
    """Add one seed's folds, metric by metric; a fold to which a metric does not apply has no score of it."""
    for key in dict.fromkeys(key for fold in folds for key in fold):
        scores.setdefault(key, []).append([fold[key] for fold in folds if key in fold])


def check_fit(name: str, evaluator: Evaluator) -> None:
    """Raise an error if `fit` of an evaluator takes more than one table."""
    kinds = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY)
    required = [
        p.name for p in signature(evaluator.fit).parameters.values() if p.kind in kinds and p.default is p.empty
    ]
    if len(required) != 1:
        raise PluginError(
            f"'fit' of the evaluator '{name}' takes ({', '.join(required)}), but it receives the train part alone: "
            "use the test part in 'measure'."
        )
