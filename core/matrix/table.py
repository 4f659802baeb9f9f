"""The matrix as a table: one row for each objective, one column for each dataset, trained beside untrained."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import mean, stdev
from typing import Any

from sensorium.evaluation.tables import markdown_table
from sensorium.matrix.cells import Cell
from sensorium.matrix.compatibility import ObjectiveRow
from sensorium.matrix.dataset_columns import DatasetColumn

BASELINES = ("chance", "baseline")
"""Rows of an evaluator's table that depend on the records alone, and stand once at the head of a column."""


@dataclass
class Matrix:
    """All computed cells, column by column.

    Args:
        rows: all rows.
        columns: all columns, by name.
        cells: (row, column) -> the cell.
    """

    rows: Sequence[ObjectiveRow]
    columns: Mapping[str, DatasetColumn]
    cells: Mapping[tuple[str, str], Cell]

    def markdown(self) -> str:
        """Render as Markdown: one table of single modalities, one of several modalities."""
        parts = []
        for title, is_one in (("One modality", True), ("Several modalities", False)):
            rows = [row for row in self.rows if row.is_shown_for(1 if is_one else 2)]
            columns = [name for name, c in self.columns.items() if (len(c.modalities) == 1) == is_one]
            if rows and columns:
                parts.append(self._table(title, rows, columns))
        return "\n".join(parts)

    def public(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {
            "columns": {name: column.model_dump() for name, column in self.columns.items()},
            "cells": [cell.public() for cell in self.cells.values()],
        }

    def _table(self, title: str, rows: Sequence[ObjectiveRow], columns: Sequence[str]) -> str:
        reasons: dict[str, int] = {}
        head = [f"{name}: {self.columns[name].evaluator.name} {self.columns[name].metric}" for name in columns]
        lines = [[f"*{baseline}*", *(self._baseline(baseline, name) for name in columns)] for baseline in BASELINES]
        lines += [[row.name, *(self._cell(row.name, name, reasons) for name in columns)] for row in rows]
        shown = [cell for (row, name), cell in self.cells.items() if row in {r.name for r in rows} and name in columns]
        measured = [cell for cell in shown if cell.metrics]
        improved = sum(cell.improved for cell in measured)
        text = [f"## {title}", "", *markdown_table(["objective", *head], lines), ""]
        text += [f"{improved} of {len(measured)} trained encoders are better than the untrained ones."]
        text += [f"\n{name}: {self.columns[name].description}" for name in columns]
        text += ["", *(f"{number}. {reason.rstrip('.')}." for reason, number in reasons.items()), ""]
        return "\n".join(text)

    def _baseline(self, baseline: str, column: str) -> str:
        found = [c.metrics[baseline] for (_, name), c in self.cells.items() if name == column and baseline in c.metrics]
        return _mean(found[0]) if found else ""

    def _cell(self, row: str, column: str, reasons: dict[str, int]) -> str:
        cell = self.cells.get((row, column))
        if cell is None:
            return ""
        if cell.reason:
            return f"– [{reasons.setdefault(cell.reason, len(reasons) + 1)}]"
        trained, untrained = _mean(cell.metrics["trained"]), _mean(cell.start)
        return f"**{trained}** ({untrained})" if cell.improved else f"{trained} ({untrained})"


def _mean(scores: Sequence[float]) -> str:
    return _short(mean(scores)) + (f" ± {_short(stdev(scores))}" if len(scores) > 1 else "")


def _short(number: float) -> str:
    """Return three decimals, without a leading zero."""
    return re.sub(r"^(-?)0\.", r"\1.", f"{number:.3f}")
