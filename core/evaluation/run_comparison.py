"""Result tables of several runs side by side, read from the files of their evaluations."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sensorium.errors import RunError
from sensorium.evaluation.tables import TRAINED, Metric, ResultsRow, ResultsTable
from sensorium.runs.run import Run


def compare_runs(folders: Sequence[str | Path]) -> dict[str, ResultsTable]:
    """Return a table for each evaluator that two or more of the runs have: chance, then one row for each run.

    A table without a row "trained" (of fine-tuning, of what was forgotten) has all rows of each run.

    A run measured on other records than the first has a note: its metrics are not comparable.

    Raises:
        RunError: for fewer than two runs, a folder that is not a run, or runs without an evaluator in common.
    """
    if len(folders) < 2:
        raise RunError("Name two runs or more to compare.")
    written = {str(folder): _read_tables(Run.open(folder)) for folder in folders}
    tables = {}
    for name in dict.fromkeys(name for of_run in written.values() for name in of_run):
        having = {folder: of_run[name] for folder, of_run in written.items() if name in of_run}
        if len(having) > 1:
            tables[name] = _table(name, having)
    if not tables:
        found = "; ".join(f"{folder}: {', '.join(of_run) or 'none'}" for folder, of_run in written.items())
        raise RunError(
            f"The runs have no evaluation in common ({found}): run sensorium evaluate RUN --with NAME on each."
        )
    return tables


def _read_tables(run: Run) -> dict[str, Any]:
    files = sorted(run.evaluations.rglob("*.json"))
    return {
        path.relative_to(run.evaluations).with_suffix("").as_posix(): json.loads(path.read_text(encoding="utf-8"))
        for path in files
    }


def _table(name: str, having: dict[str, Any]) -> ResultsTable:
    first = next(iter(having.values()))
    rows = [_row("chance", first, "chance")] if "chance" in first["rows"] else []
    for folder, table in having.items():
        names = {TRAINED: folder} if TRAINED in table["rows"] else {row: f"{folder}, {row}" for row in table["rows"]}
        rows += [_row(name, table, row) for row, name in names.items() if row != "chance"]
        if table["split"] != first["split"]:
            rows[-1].notes = Counter([f"measured on other records (split {table['split']}): not comparable"])
    return ResultsTable(
        name, rows, first["protocol"], first["selection"], first["split"], (first["train"], first["test"])
    )


def _row(name: str, table: dict[str, Any], row: str) -> ResultsRow:
    metrics = table["rows"][row]["metrics"]
    return ResultsRow(name, {metric: Metric(values["scores"]) for metric, values in metrics.items()})
