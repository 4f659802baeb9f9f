"""Tables of several runs side by side, out of what their evaluations wrote."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sensorium.errors import RunError
from sensorium.evaluation.tables import Metric, Row, Table
from sensorium.runs.run import Run


def compare_runs(folders: Sequence[str | Path]) -> dict[str, Table]:
    """Return a table for each evaluator that two of the runs at least were measured by: chance, then a row for each.

    Runs that were measured on other records than the first say so in a note; their figures do not compare.

    Raises:
        RunError: for less than two runs, a folder that is no run, or runs that have no evaluator in common.
    """
    if len(folders) < 2:
        raise RunError("Name two runs or more to compare.")
    written = {str(folder): _written(Run.open(folder)) for folder in folders}
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


def _written(run: Run) -> dict[str, Any]:
    return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(run.evaluations.glob("*.json"))}


def _table(name: str, having: dict[str, Any]) -> Table:
    first = next(iter(having.values()))
    rows = [_row("chance", first, "chance")] if "chance" in first["rows"] else []
    for folder, told in having.items():
        rows.append(_row(folder, told, "trained"))
        if told["split"] != first["split"]:
            rows[-1].notes = Counter([f"measured on other records (split {told['split']}): its figures do not compare"])
    return Table(name, rows, first["protocol"], first["selection"], first["split"], (first["train"], first["test"]))


def _row(name: str, told: dict[str, Any], row: str) -> Row:
    metrics = told["rows"][row]["metrics"]
    return Row(name, {metric: Metric(values["scores"]) for metric, values in metrics.items()})
