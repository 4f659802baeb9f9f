"""The tables of runs that each left one group out: joined, fold by fold, from what each of them wrote."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from sensorium.contracts import Evaluator
from sensorium.errors import RunError
from sensorium.evaluation.difference import difference_remarks
from sensorium.evaluation.predictions import Columns, joined, marked
from sensorium.evaluation.tables import AS_IT_CAME, TRAINED, Folds, Metric, ResultsRow, ResultsTable, split_hash
from sensorium.runs.run import Run


def crossfit_tables(
    evaluators: Mapping[str, Callable[[], Evaluator]], by: str, runs: Mapping[str, Run]
) -> dict[str, tuple[ResultsTable, Columns]]:
    """Return the table of each evaluator over all groups, and all held-out predictions.

    Args:
        evaluators: name -> factory.
        by: the label whose values are the groups.
        runs: group -> the run that left it out. An evaluator's table has the groups where it did not fail.

    Raises:
        RunError: when no run has a table.
    """
    tables = {}
    for name, make in evaluators.items():
        written = {group: _read(run, name) for group, run in runs.items()}
        having = {group: table for group, table in written.items() if table is not None}
        if having:
            tables[name] = _table(name, make(), by, runs, having)
    if not tables:
        raise RunError("No group has a table: name evaluators in the recipe, and see run.json of each group's run.")
    return tables


def _read(run: Run, name: str) -> dict[str, Any] | None:
    path = run.evaluations / f"{name}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def _table(
    name: str, evaluator: Evaluator, by: str, runs: Mapping[str, Run], having: Mapping[str, dict[str, Any]]
) -> tuple[ResultsTable, Columns]:
    blocks = [marked(_predictions(runs[group], name), fold=group) for group in having]
    predictions = joined(blocks)
    first = next(iter(having.values()))
    rows = []
    classes, groups = {}, {}
    for row in max((table["rows"] for table in having.values()), key=len):
        of_groups = {group: table["rows"].get(row, {"metrics": {}, "notes": []}) for group, table in having.items()}
        result = ResultsRow(
            row, _metrics(of_groups), Counter(n for found in of_groups.values() for n in found["notes"])
        )
        groups[row] = {
            group: {key: metric["mean"] for key, metric in found["metrics"].items()}
            for group, found in of_groups.items()
        }
        of_row = _where(predictions, row)
        if of_row:
            for key, value in evaluator.metrics_of(of_row).items():
                result.metrics[f"pooled {key}"] = Metric([[value]])
            classes[row] = evaluator.metrics_by_class(of_row)
        rows.append(result)
    of_last = _where(predictions, rows[-1].name)
    held_out = {group: table["test"] for group, table in having.items()}
    remarks = [f"Inductive: pretraining and probes of each group never saw it; one run for each '{by}'."]
    for row in rows[1:]:
        if without := [group for group, table in having.items() if row.name not in table["rows"]]:
            remarks.append(f"{row.name}: without {', '.join(without)}, whose tables have no such row.")
    before, after = (_where(predictions, row) for row in (AS_IT_CAME, TRAINED))
    remarks += difference_remarks(evaluator, before, after, folds=True)
    if lacking := [group for group in runs if group not in having]:
        remarks.append(f"Without {', '.join(lacking)}, where the evaluator failed.")
    table = ResultsTable(
        name,
        rows,
        f"leave one '{by}' out, of pretraining too",
        first["selection"],
        split_hash([], [f"{group} {table['split']}" for group, table in having.items()]),
        (first["train"], first["test"]),
        folds=Folds("group", held_out),
        remarks=remarks + (evaluator.remarks(of_last) if of_last else []),
        classes={row: found for row, found in classes.items() if found},
        groups=groups,
    )
    return table, predictions


def _metrics(of_groups: Mapping[str, dict[str, Any]]) -> dict[str, Metric]:
    """Return the metrics of a row: repetition by repetition, with a score of each group that has one."""
    names = dict.fromkeys(name for found in of_groups.values() for name in found["metrics"])
    metrics = {}
    for name in names:
        scores = [found["metrics"][name]["scores"] for found in of_groups.values() if name in found["metrics"]]
        repetitions = min(map(len, scores))
        metrics[name] = Metric([[of_group[number][0] for of_group in scores] for number in range(repetitions)])
    return metrics


def _predictions(run: Run, name: str) -> dict[str, np.ndarray]:
    """Return the predictions that a run wrote, but for those of later repetitions."""
    path = run.evaluations / f"{name}-predictions.parquet"
    if not path.exists():
        return {}
    table = pq.read_table(path)
    columns: dict[str, np.ndarray] = {}
    for column in table.column_names:
        values = table[column].to_pylist()
        numeric = all(isinstance(value, float) for value in values)
        columns[column] = np.array(values, np.float64 if numeric else object)
    return {key: column[columns["repetition"] == 0] for key, column in columns.items() if key != "fold"}


def _where(predictions: Columns, row: str) -> dict[str, np.ndarray]:
    if not predictions:
        return {}
    chosen = predictions["row"] == row
    return {name: column[chosen] for name, column in predictions.items()} if chosen.any() else {}
