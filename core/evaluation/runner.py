"""Runs evaluators over the rows of their tables, and keeps the test part from whatever is chosen."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from inspect import Parameter, signature

from torch import Tensor

from sensorium.contracts import Evaluator, FeatureTable
from sensorium.errors import PluginError, SensoriumError
from sensorium.evaluation.protocols import Parts, Protocol, protocol_of
from sensorium.evaluation.tables import Metric, Row, Table, split_hash

CHANCE = "chance"
Embed = Callable[..., Mapping[str, Tensor]]


@dataclass(frozen=True)
class Subject:
    """One model, of one seed, as evaluators see it.

    Args:
        parts: space ("features", "embedding") -> its train and test tables. A space that a model lacks is absent, and
            the model's row is then left out of the tables of that space.
        embed: what an evaluator embeds values of its own with, `embed(text=[...])` -> modality name -> (N, D).
    """

    parts: Mapping[str, Parts]
    embed: Embed | None = None


def compare(
    evaluators: Mapping[str, Callable[[], Evaluator]], rows: Mapping[str, Sequence[Subject]]
) -> dict[str, Table]:
    """Measure every row by every evaluator.

    Args:
        evaluators: name -> factory; one evaluator is made for every subject.
        rows: row name -> its models, one for each seed, in the order in which tables list them. Chance is computed
            from the last row and put first. A row before the last that the evaluator refuses (baseline features of
            two modalities share no space) is listed without figures, with the reason.

    Returns:
        A table for each evaluator.

    Raises:
        SensoriumError: when two parts share a record or a group, or an evaluator cannot measure the records.
    """
    return {name: _table(name, make, rows) for name, make in evaluators.items()}


def spaces(evaluators: Mapping[str, Callable[[], Evaluator]]) -> set[str]:
    """Return the spaces that the evaluators ask for, so that no other need be embedded."""
    return {make().space for make in evaluators.values()}


def check_parts(train: FeatureTable, test: FeatureTable) -> None:
    """Refuse parts that share a record or a group, or that hold a record twice.

    Raises:
        SensoriumError: with the first of them.
    """
    for part, ids in (("train", train.ids), ("test", test.ids)):
        if len(set(ids)) < len(ids):
            twice = next(i for i, count in Counter(ids).items() if count > 1)
            raise SensoriumError(f"The {part} part holds the record '{twice}' more than once.")
    for what, ours, theirs in (("record", train.ids, test.ids), ("group", train.groups, test.groups)):
        if shared := set(ours) & set(theirs):
            raise SensoriumError(
                f"The train and the test part share {len(shared)} {what}{'s' * (len(shared) > 1)}, the first is "
                f"'{min(shared)}': figures of such a split are no measure. Mend the source's split or its groups."
            )


def _table(name: str, make: Callable[[], Evaluator], rows: Mapping[str, Sequence[Subject]]) -> Table:
    evaluator = make()
    _check_fit(name, evaluator)
    protocol = protocol_of(evaluator.protocol)
    measured = {r: [s for s in subjects if evaluator.space in s.parts] for r, subjects in rows.items()}
    measured = {row: subjects for row, subjects in measured.items() if subjects}
    if not measured:
        raise SensoriumError(
            f"The evaluator '{name}' measures the space '{evaluator.space}', which no row of the comparison has."
        )
    train, test = _same_split(name, [s.parts[evaluator.space] for group in measured.values() for s in group])
    last = next(reversed(measured))
    lines = []
    for row, subjects in measured.items():
        try:
            lines.append(_row(row, make, subjects, protocol))
        except SensoriumError as refusal:
            if row == last:
                raise
            lines.append((Row(row, notes=Counter([f"left out, {str(refusal).rstrip('.')}"])), Row(CHANCE)))
    return Table(
        name,
        [lines[-1][1], *(line for line, _ in lines)],
        protocol.describe(),
        evaluator.selection,
        split_hash(train.ids, test.ids),
        (len(train), len(test)),
    )


def _same_split(name: str, parts: Sequence[Parts]) -> Parts:
    """Return the last pair of parts, once it is known that all hold the same records."""
    if len({split_hash(train.ids, test.ids) for train, test in parts}) > 1:
        raise SensoriumError(f"The rows that '{name}' would compare were made from different records or splits.")
    return parts[-1]


def _row(name: str, make: Callable[[], Evaluator], subjects: Sequence[Subject], protocol: Protocol) -> tuple[Row, Row]:
    """Return the row of one set of models, and the chance that belongs to it."""
    row, chance = Row(name), Row(CHANCE)
    scores: dict[str, list[list[float]]] = {}
    guesses: dict[str, list[list[float]]] = {}
    for number, subject in enumerate(subjects):
        prepared = make()
        if subject.embed is not None:
            prepared.prepare(subject.embed)
        for seed, folds in protocol.rounds(*subject.parts[prepared.space], prepared.label):
            metrics, chances = [], []
            for train, test in folds:
                metric, guess, notes = _fold(copy.copy(prepared), train, test, seed)
                metrics.append(metric)
                chances.append(guess)
                row.notes.update(notes)
            _append(scores, metrics)
            if number == 0:
                _append(guesses, chances)
    row.metrics = {key: Metric(values) for key, values in scores.items()}
    chance.metrics = {key: Metric(values) for key, values in guesses.items()}
    return row, chance


def _fold(
    evaluator: Evaluator, train: FeatureTable, test: FeatureTable, seed: int
) -> tuple[dict[str, float], dict[str, float], list[str]]:
    """Fit on the train part, which is all that `fit` can reach, then measure on the test part."""
    check_parts(train, test)
    evaluator.seed = seed
    evaluator.fit(train)
    metrics = evaluator.measure(test)
    return metrics, evaluator.chance(test), evaluator.notes()


def _append(scores: dict[str, list[list[float]]], folds: list[dict[str, float]]) -> None:
    """Add one seed's folds, figure by figure; a fold in which a figure does not apply has no score of it."""
    for key in dict.fromkeys(key for fold in folds for key in fold):
        scores.setdefault(key, []).append([fold[key] for fold in folds if key in fold])


def _check_fit(name: str, evaluator: Evaluator) -> None:
    """Refuse an evaluator whose `fit` asks for more than one table."""
    kinds = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY)
    asked = [p.name for p in signature(evaluator.fit).parameters.values() if p.kind in kinds and p.default is p.empty]
    if len(asked) != 1:
        raise PluginError(
            f"The evaluator '{name}' asks for ({', '.join(asked)}) in 'fit', which receives the train part alone: "
            "what belongs to the test part is measured in 'measure'."
        )
