"""How much a metric changed between two rows of a table, with the interval that chance leaves it.

Both rows predict the same records, so that records are drawn for both at once (a paired bootstrap): what is hard about
a record is hard before and after, and does not widen the interval.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sensorium.contracts import Evaluator
from sensorium.errors import SensoriumError
from sensorium.evaluation.few_records import bootstrap_interval
from sensorium.evaluation.intervals import RecordRows, of_model
from sensorium.evaluation.labels import count_records
from sensorium.evaluation.predictions import Columns, count_of


def difference_remarks(evaluator: Evaluator, before: Columns, after: Columns, folds: bool = False) -> list[str]:
    """Return a sentence on the first metric of a row less that of another; none where predictions do not give it.

    Args:
        evaluator: whose `metrics_of` measures predictions.
        before: the predictions of the first row, of all models and repetitions.
        after: those of the second, of the same records.
        folds: whether they were held out in folds, so that the metric is that of all of them joined.
    """
    pairs = _pairs(before, after)
    metric = _first_metric(evaluator, pairs[0].before) if pairs else None
    if metric is None:
        return []
    ids = np.unique(pairs[0].ids)
    sides = [
        (RecordRows(ids, pair.ids), evaluator.first_metric(pair.before), evaluator.first_metric(pair.after))
        for pair in pairs
    ]

    def difference(drawn: np.ndarray) -> float | None:
        changes = []
        for places, first, second in sides:
            rows = places(drawn)
            was, now = first(rows), second(rows)
            if was is None or now is None:
                return None
            changes.append(now - was)
        return float(np.mean(changes))

    value, interval = difference(np.arange(len(ids))), bootstrap_interval(difference, len(ids))
    if value is None or interval is None:
        return []
    names = [str(side["row"][0]) for side in (after, before)]
    less = " (less is better)" if metric.endswith(" ↓") else ""
    joined = ", of all held-out predictions joined" if folds else ""
    shown = "" if interval[0] > 0 or interval[1] < 0 else "; it includes 0, so these records show no difference"
    return [
        f"{names[0]} less {names[1]}: {metric.removesuffix(' ↓')} {value:+.3f}{less}, 95 % interval {interval[0]:+.3f} "
        f"to {interval[1]:+.3f} (paired bootstrap over {count_records(len(ids))}{joined}){shown}."
    ]


@dataclass(frozen=True)
class _Pair:
    """The predictions of one model and repetition under both rows, record by record."""

    ids: np.ndarray
    before: Columns
    after: Columns


def _pairs(before: Columns, after: Columns) -> list[_Pair]:
    """Return what both rows have, model by model; nothing where they did not predict the same records."""
    if not (count_of(before) and count_of(after)) or "id" not in before:
        return []
    pairs = []
    for model, repetition in dict.fromkeys(
        zip(*(after[name].tolist() for name in ("model", "repetition")), strict=True)
    ):
        sides = [of_model(columns, model, repetition) for columns in (before, after)]
        if sides[0]["id"].tolist() != sides[1]["id"].tolist():
            return []
        pairs.append(_Pair(sides[0]["id"], *sides))
    return pairs if len({tuple(sorted(set(pair.ids.tolist()))) for pair in pairs}) == 1 else []


def _first_metric(evaluator: Evaluator, columns: Columns) -> str | None:
    """Return the name of the first metric of predictions; None where they do not give any."""
    try:
        return next(iter(evaluator.metrics_of(columns)), None)
    except SensoriumError:
        return None
