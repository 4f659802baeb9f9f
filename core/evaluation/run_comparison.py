"""Result tables of several runs side by side, read from the files of their evaluations."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from sensorium.errors import RunError
from sensorium.evaluation.tables import TRAINED, ResultsRow, ResultsTable
from sensorium.runs.run import Run


def compare_runs(folders: Sequence[str | Path]) -> dict[str, ResultsTable]:
    """Return a table for each evaluator that two or more of the runs have: chance, then one row for each run.

    A table without a row "trained" (of fine-tuning, of what was forgotten) has all rows of each run.

    A run measured on other records than the first has a note: its metrics are not comparable.

    Raises:
        RunError: for fewer than two runs, a run that is named twice, a folder that is not a run, or runs without an
            evaluator in common.
    """
    if len(folders) < 2:
        raise RunError("Name two runs or more to compare.")
    for number, folder in enumerate(folders):
        if any(Path(folder).resolve() == Path(before).resolve() for before in folders[:number]):
            raise RunError(f"The run '{folder}' is named twice: name different runs to compare.")
    written = {str(folder): read_tables(Run.open(folder)) for folder in folders}
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


def read_tables(run: Run) -> dict[str, ResultsTable]:
    """Return the tables that the evaluations of a run wrote, by name; those of a reference set are `reference/NAME`."""
    return {
        path.relative_to(run.evaluations).with_suffix("").as_posix(): ResultsTable.read(path)
        for path in sorted(run.evaluations.rglob("*.json"))
    }


def _table(name: str, having: Mapping[str, ResultsTable]) -> ResultsTable:
    first = next(iter(having.values()))
    rows = [ResultsRow(row.name, row.metrics) for row in first.rows if row.name == "chance"]
    for folder, table in having.items():
        has_trained = any(row.name == TRAINED for row in table.rows)
        for row in table.rows:
            if row.name == TRAINED or (not has_trained and row.name != "chance"):
                rows.append(ResultsRow(folder if has_trained else f"{folder}, {row.name}", row.metrics))
        if table.split != first.split:
            rows[-1].notes = Counter([f"measured on other records (split {table.split}): not comparable"])
    return ResultsTable(name, rows, first.protocol, first.selection, first.split, first.counts)
