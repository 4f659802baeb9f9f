"""Files of predictions: one row for each record, written as a stream.

Letters: N records, K outputs.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from sensorium.errors import RunError
from sensorium.finetuning.predictor import Predictor
from sensorium.runs.atomic import not_written, temporary_of

FORMATS = (".parquet", ".csv")
ROWS = 8192
"""Records of a row group, about."""
PREDICTION, PROBABILITY = "prediction", "probability."


def require_prediction_format(path: Path) -> None:
    """Raise an error for a file that ends in no format of predictions.

    Raises:
        RunError: which names those there are.
    """
    if path.suffix.lower() not in FORMATS:
        raise RunError(f"Predictions are written to a file that ends in {' or '.join(FORMATS)}: '{path}' does not.")


def prediction_rows(predictor: Predictor, ids: Sequence[str], outputs_NK: np.ndarray) -> dict[str, list[Any]]:
    """Return the columns of a file of predictions for N records.

    "id" and "prediction", and of classes "probability.NAME" for each; of several label columns "prediction.LABEL", its
    more probable class, and "probability.LABEL", that of its positive class. Classes of several types are words.
    """
    predictions, task = predictor.predictions(outputs_NK), predictor.task
    if not isinstance(predictions[0], Mapping):
        return {"id": list(ids), PREDICTION: [float(number) for number in predictions]}
    columns: dict[str, list[Any]] = {"id": list(ids)}
    if task.takes_several_labels:
        for name in predictions[0]:
            columns[f"{PREDICTION}.{name}"] = [int(p[name] > 0.5) for p in predictions]
    else:
        of_one_type = len({type(name) for name in predictions[0]}) == 1  # or else they are words, in every batch
        named = [max(p, key=p.__getitem__) for p in predictions]
        columns[PREDICTION] = named if of_one_type else [str(name) for name in named]
    return columns | {f"{PROBABILITY}{name}": [p[name] for p in predictions] for name in predictions[0]}


def write_predictions_file(path: Path, batches: Iterable[dict[str, list[Any]]]) -> tuple[int, dict[str, Counter[Any]]]:
    """Write batches of rows, as many at a time as a row group has, so that memory does not grow with their number.

    Args:
        path: ends in .parquet or .csv; moved into place when all are written.
        batches: columns of one length each, the same columns in all.

    Returns:
        The number of rows, and for each column of classes that were predicted how often each was.

    Raises:
        RunError: when the disk refuses.
    """
    temporary = temporary_of(path)
    count, writer = 0, None
    counts: dict[str, Counter[Any]] = {}
    try:
        for columns in _gathered(batches):
            rows = pa.table(columns)
            try:
                if writer is None:
                    path.parent.mkdir(parents=True, exist_ok=True)
                    is_csv = path.suffix.lower() == ".csv"
                    writer = (pa.csv.CSVWriter if is_csv else pq.ParquetWriter)(temporary, rows.schema)
                writer.write_table(rows)
            except OSError as error:
                raise RunError(not_written(path, error, temporary.stat().st_size)) from error
            count += len(rows)
            is_of_classes = any(name.startswith(PROBABILITY) for name in columns)
            for name, cells in columns.items():
                if name.startswith(PREDICTION) and is_of_classes:
                    counts.setdefault(name, Counter()).update(cells)
        if writer is not None:
            writer.close()
            os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    return count, counts


def _gathered(batches: Iterable[dict[str, list[Any]]]) -> Iterator[dict[str, list[Any]]]:
    """Yield batches joined to `ROWS` rows or more, and what is left."""
    held: dict[str, list[Any]] = {}
    for columns in batches:
        for name, cells in columns.items():
            held.setdefault(name, []).extend(cells)
        if len(held["id"]) >= ROWS:
            yield held
            held = {}
    if held:
        yield held
