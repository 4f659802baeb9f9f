"""The interval that chance leaves the first metric of a row: a percentile bootstrap over its records (Efron 1979).

The metric is the mean over the models of the row; records are drawn once for all of them.
"""

from __future__ import annotations

import numpy as np

from sensorium.contracts import Evaluator
from sensorium.evaluation.few_records import bootstrap_interval
from sensorium.evaluation.predictions import Columns, count_of

MARKS = ("row", "model", "repetition", "fold")
"""Columns that say whose predictions stand in a row."""


def row_interval(evaluator: Evaluator, predictions: Columns) -> tuple[float, float] | None:
    """Return the 95 % interval of the first metric of a row; None where its predictions do not give it.

    Args:
        evaluator: whose `first_metric` measures predictions.
        predictions: of all models of the row, of the same records.
    """
    if not count_of(predictions) or "id" not in predictions:
        return None
    models = [of_model(predictions, model) for model in dict.fromkeys(predictions["model"].tolist())]
    ids = np.unique(models[0]["id"])
    sides = [(RecordRows(ids, columns["id"]), evaluator.first_metric(columns)) for columns in models]

    def mean(drawn_U: np.ndarray) -> float | None:
        values = [metric(rows(drawn_U)) for rows, metric in sides]
        known = [value for value in values if value is not None]
        return float(np.mean(known)) if len(known) == len(values) else None

    return bootstrap_interval(mean, len(ids))


def of_model(columns: Columns, model: int, repetition: int | None = None) -> dict[str, np.ndarray]:
    """Return the predictions of one model, of one repetition or of all, without the columns of `MARKS`."""
    rows = columns["model"] == model
    if repetition is not None:
        rows = rows & (columns["repetition"] == repetition)
    return {name: column[rows] for name, column in columns.items() if name not in MARKS}


class RecordRows:
    """Where the predictions of drawn records stand: a record may have several, such as one for each caption.

    Args:
        ids: U ids, sorted.
        ids_N: the id of each prediction.
    """

    def __init__(self, ids: np.ndarray, ids_N: np.ndarray) -> None:
        codes_N = np.searchsorted(ids, ids_N)
        self.order_N = np.argsort(codes_N, kind="stable")
        self.counts_U = np.bincount(codes_N, minlength=len(ids))
        self.starts_U = np.cumsum(self.counts_U) - self.counts_U

    def __call__(self, drawn_U: np.ndarray) -> np.ndarray:
        """Return the rows of the predictions of some records, int64."""
        counts_U = self.counts_U[drawn_U]
        ends_U = np.cumsum(counts_U)
        within = np.arange(counts_U.sum()) - np.repeat(ends_U - counts_U, counts_U)
        return self.order_N[np.repeat(self.starts_U[drawn_U], counts_U) + within]
