"""The learning curve over amounts of labels: one metric of every row, as a table and as a chart."""

from __future__ import annotations

from collections.abc import Mapping

from sensorium.evaluation.tables import ResultsRow, ResultsTable, split_hash
from sensorium.finetuning.curve_chart import curve_chart


def learning_curve(tables: Mapping[str, ResultsTable], metric: str) -> ResultsTable:
    """Return the table of a learning curve: rows are models, columns one metric at each amount of labels.

    Args:
        tables: amount of labels, such as "10 per class" -> its table; the smallest first.
        metric: the metric that stands first in each of them.
    """
    last = list(tables.values())[-1]
    rows = {row.name: ResultsRow(row.name) for table in tables.values() for row in table.rows}
    ordered = [rows[row.name] for row in last.rows] + [row for name, row in rows.items() if name not in _names(last)]
    for amount, table in tables.items():
        for row in table.rows:
            if metric in row.metrics:
                rows[row.name].metrics[f"{amount}, {metric}"] = row.metrics[metric]
    points = {
        row.name: [
            (table.counts[0], table.row(row.name).metrics[metric])
            for table in tables.values()
            if row.name in _names(table) and metric in table.row(row.name).metrics
        ]
        for row in ordered
    }
    counts = ", ".join(f"{amount} {table.counts[0]:,}" for amount, table in tables.items())
    return ResultsTable(
        "learning-curve",
        ordered,
        "given split, labels drawn by seed",
        last.selection,
        split_hash([], [f"{amount} {table.split}" for amount, table in tables.items()]),
        last.counts,
        remarks=[f"Labeled records of a draw: {counts}.", *_differences(tables)],
        plot=curve_chart(points, metric, f"{metric} on the test part"),
    )


def _names(table: ResultsTable) -> list[str]:
    return [row.name for row in table.rows]


def _differences(tables: Mapping[str, ResultsTable]) -> list[str]:
    """Return what the tables say of the differences of rows, with their intervals."""
    return [f"{amount}: {line}" for amount, table in tables.items() for line in table.remarks if " less " in line]
