"""Running the matrix: which cells are selected, which are computed already, and where they are stored."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from sensorium.contracts import Source
from sensorium.data.arrays import in_memory
from sensorium.errors import Interrupted, RecipeError, not_found
from sensorium.matrix.cells import Budget, Cell, cell_settings, reason_of, run_cell
from sensorium.matrix.compatibility import ObjectiveRow, objective_rows
from sensorium.matrix.dataset_columns import DatasetColumn, declared_columns, declared_options
from sensorium.matrix.table import Matrix
from sensorium.models.makers import maker
from sensorium.recipe.parts import Part
from sensorium.registration.discovery import Extensions, load_extensions
from sensorium.registration.registry import missing_packages
from sensorium.runs.atomic import write_json, write_text

log = logging.getLogger("sensorium")
CELLS, TABLE, VALUES = "cells", "matrix.md", "matrix.json"


def run_matrix(
    out: Path, only: Sequence[str] = (), budget: Budget | None = None, extensions: Extensions | None = None
) -> Matrix:
    """Train and evaluate the selected cells that are not computed yet; write the table of all cells of these settings.

    Args:
        out: the folder: `cells/COLUMN/ROW.json`, `matrix.md` and `matrix.json`.
        only: names of objectives, rows (`OBJECTIVE:TASK`) and columns to select; without a name of a row, all rows are
            selected, and likewise columns.
        budget: steps and seeds of each cell.
        extensions: plugins; default, the installed ones.

    Raises:
        RecipeError: for a name that is neither a row nor a column.
        PluginError: for an invalid declaration.
    """
    budget, ext = budget or Budget(), extensions or load_extensions()
    columns, options = declared_columns(ext), declared_options(ext)
    columns = {name: column for name, column in columns.items() if _installed(name, column)}
    rows = objective_rows(ext, columns)
    selected_rows, selected_columns = _selected(rows, columns, only)
    cells: dict[tuple[str, str], Cell] = {}
    for name, column in columns.items():
        source: Source | None = None
        unreadable = ""
        for row in rows:
            if not row.is_shown_for(len(column.modalities)):
                continue
            row_options = row.options(options)
            path = out / CELLS / name / f"{row.name.replace(':', '+')}.json"
            cell = Cell(**json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else None
            if cell is None or cell.settings != cell_settings(row, column, row_options, budget):
                if name not in selected_columns or row not in selected_rows:
                    continue
                if source is None and not unreadable:
                    try:
                        source = _source(column, ext)
                    except Interrupted:
                        raise
                    except Exception as error:
                        unreadable = f"The data of the column '{name}' cannot be read: {reason_of(error)}"
                if source is None:
                    cell = Cell(row.name, name, cell_settings(row, column, row_options, budget), unreadable)
                else:
                    cell = run_cell(row, name, column, row_options, budget, source, ext)
                write_json(path, cell.public())
                log.info("%s on %s: %s", row.name, name, cell.reason or f"{cell.trained:.3f} ({cell.untrained:.3f})")
            cells[row.name, name] = cell
    matrix = Matrix(rows, columns, cells)
    write_text(out / TABLE, matrix.markdown())
    write_json(out / VALUES, matrix.public())
    return matrix


def _selected(
    rows: Sequence[ObjectiveRow], columns: Mapping[str, DatasetColumn], only: Iterable[str]
) -> tuple[list[ObjectiveRow], list[str]]:
    """Return the selected rows and columns."""
    named = set(only)
    known = set(columns).union(*(row.names for row in rows))
    for name in sorted(named - known):
        raise RecipeError(
            not_found(
                f"The matrix has neither a row nor a column '{name}'",
                name,
                known,
                f"it has the columns {', '.join(columns)} and the rows {', '.join(row.name for row in rows)}",
            )
        )
    selected_rows = [row for row in rows if named & row.names]
    selected_columns = [name for name in columns if name in named]
    return selected_rows or list(rows), selected_columns or list(columns)


def _installed(name: str, column: DatasetColumn) -> bool:
    """Return whether the packages of a column's data are installed; log a warning if not."""
    if missing := missing_packages(column.requires):
        log.warning("The column '%s' is skipped: it needs %s, which is not installed.", name, ", ".join(missing))
    return not missing


def _source(column: DatasetColumn, ext: Extensions) -> Source:
    part = Part.model_validate(column.data["source"])
    source = maker(ext.registry, "sources", part, "data.source")()
    return in_memory(source, [candidates.field or name for name, candidates in column.modalities.items()])
