"""Tables of evaluations on a page: rows of cells, charts, and what their files hold beside them."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from PIL import Image

from sensorium.evaluation.shown import image_uri
from sensorium.evaluation.tables import ResultsTable
from sensorium.reports.charts import MANY, Spec, confusion, predicted, results
from sensorium.reports.curves import is_rank

WIDE = 5
"""With more metrics than this, each has a row of its own."""
TOGETHER, ALONE = 12, 8
"""Metrics from 0 to 1 that stand in one chart, and others that have charts of their own."""
LINES, POINTS = 60, 1000
"""Lines of a breakdown, and points of a plot of predictions, that a page shows."""
IMAGE = 1200


@dataclass
class ShownTable:
    """One table on a page.

    Args:
        name: its name.
        cells: lines of cells, heading first.
        notes: the lines below it.
        charts: title and chart; the title is empty for metrics from 0 to 1, which are named in the chart.
        predictions: title and chart of what the last row predicted, or None.
        breakdowns: title -> lines of cells, heading first.
        image: a plot, a data URI, or None.
    """

    name: str
    cells: list[list[str]]
    notes: list[str]
    charts: list[tuple[str, Spec]]
    predictions: tuple[str, Spec] | None = None
    breakdowns: dict[str, list[list[str]]] = field(default_factory=dict)
    image: str | None = None


def shown_tables(tables: Mapping[str, ResultsTable], folder: Path | None = None) -> list[ShownTable]:
    """Return the tables as a page shows them.

    Args:
        tables: by name.
        folder: where their files are; None for tables of several runs.
    """
    return [_shown(name, table, folder) for name, table in tables.items()]


def _shown(name: str, table: ResultsTable, folder: Path | None) -> ShownTable:
    charts, left_out = _charts(table)
    notes = [*table.footnotes(), *([f"{left_out} more metrics have no chart."] if left_out else [])]
    shown = ShownTable(name, _cells(table), notes, charts)
    if folder is not None:
        shown.predictions = _predictions(folder / f"{name}-predictions.parquet")
        shown.breakdowns = {
            path.stem.removeprefix(f"{Path(name).name}-"): _breakdown(path)
            for path in sorted(folder.glob(f"{name}-*.csv"))
            if "-" not in path.stem.removeprefix(f"{Path(name).name}-")  # those of `knn-5` are not of `knn`
        }
        if (plot := folder / f"{name}.png").exists():
            with Image.open(plot) as image:
                shown.image = image_uri(image, IMAGE)
    return shown


def _cells(table: ResultsTable) -> list[list[str]]:
    names, rows = table.metrics, table.rows
    wide = [["", *names], *([row.name, *(_cell(table, row.name, name) for name in names)] for row in rows)]
    return wide if len(names) <= WIDE else [list(column) for column in zip(*wide, strict=True)]


def _cell(table: ResultsTable, row: str, name: str) -> str:
    metrics = table.row(row).metrics
    return str(metrics[name]) if name in metrics else "–"


def _charts(table: ResultsTable) -> tuple[list[tuple[str, Spec]], int]:
    """Return the charts of a table, and how many metrics have none."""
    means = {name: [row.metrics[name].mean for row in table.rows if name in row.metrics] for name in table.metrics}
    shares = [name for name, values in means.items() if not is_rank(name) and all(0 <= value <= 1 for value in values)]
    others = [name for name in table.metrics if name not in shares]
    charts = [("", results(table, shares[:TOGETHER]))] if shares else []
    charts += [(name, results(table, [name])) for name in others[:ALONE] if np.isfinite(means[name]).any()]
    return charts, len(shares[TOGETHER:]) + len(others[ALONE:])


def _breakdown(path: Path) -> list[list[str]]:
    """Return the lines of the last row of a breakdown, of many the first ones."""
    with open(path, encoding="utf-8", newline="") as file:
        heading, *lines = list(csv.reader(file)) or [[]]
    last = [line[1:] for line in lines if line[0] == lines[-1][0]]
    more = [["…", *[f"{len(last) - LINES} more in {path.name}"], *[""] * (len(heading) - 3)]]
    cells = [[_short(cell) for cell in line] for line in last[:LINES]]
    return [heading[1:], *cells, *(more if len(last) > LINES else [])]


def _short(cell: str) -> str:
    """Return a number with at most four decimals, anything else as it is."""
    try:
        return cell if float(cell).is_integer() else f"{float(cell):.4g}"
    except (ValueError, OverflowError):
        return cell


def _predictions(path: Path) -> tuple[str, Spec] | None:
    """Return a confusion matrix of classes, or true and predicted numbers, of the last row; None of anything else."""
    asked = ["row", "label", "prediction"]
    if not path.exists() or not set(asked) <= set(pq.read_schema(path).names):
        return None
    every = pq.read_table(path, columns=asked)
    row = every["row"][-1].as_py() if len(every) else ""
    known = every.filter(pc.equal(every["row"], row)).select(asked[1:]).drop_null()
    if not len(known):
        return None
    if all(pa.types.is_floating(kind) for kind in known.schema.types):
        finite = known.filter(pc.and_(pc.is_finite(known["label"]), pc.is_finite(known["prediction"])))
        some = finite.slice(0, POINTS).to_pydict()
        title = f"Predictions of the row {row}" + (f", {POINTS:,} of {len(finite):,}" if len(finite) > POINTS else "")
        return (title, predicted(some["label"], some["prediction"])) if len(finite) else None
    counts = {
        (str(pair["label"]), str(pair["prediction"])): pair["label_count"]
        for pair in known.group_by(asked[1:]).aggregate([("label", "count")]).to_pylist()
    }
    if len({name for pair in counts for name in pair}) > MANY:
        return None
    return f"Confusion matrix of the row {row}, {len(known):,} predictions", confusion(counts)
