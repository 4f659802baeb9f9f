"""Filling the matrix: which cells are asked for, which are done, and where they are kept."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sensorium.contracts import Source
from sensorium.data.arrays import in_memory
from sensorium.errors import RecipeError, did_you_mean
from sensorium.matrix.cells import Budget, Cell, cell_settings, run_cell
from sensorium.matrix.columns import DatasetColumn, declared_columns, declared_options
from sensorium.matrix.compatibility import ObjectiveRow, objective_rows
from sensorium.matrix.table import Matrix
from sensorium.models.plan import maker
from sensorium.recipe.schema import Part
from sensorium.registration.discovery import Extensions, load_extensions
from sensorium.registration.registry import missing_packages
from sensorium.runs.atomic import write_atomically

log = logging.getLogger("sensorium")
CELLS, TABLE, VALUES = "cells", "matrix.md", "matrix.json"


def run_matrix(
    out: Path, only: Sequence[str] = (), budget: Budget | None = None, extensions: Extensions | None = None
) -> Matrix:
    """Train and measure the cells that are asked for and not yet done; write the table of all of these settings.

    Args:
        out: the folder: `cells/COLUMN/ROW.json`, `matrix.md` and `matrix.json`.
        only: names of objectives, rows (`OBJECTIVE:TASK`) and columns; those of one kind that are named leave the
            others of that kind out. Empty asks for all.
        budget: what each cell may spend.
        extensions: plugins, when not those that are installed.

    Raises:
        RecipeError: for a name that is neither a row nor a column.
        PluginError: for a declaration that is no column.
    """
    budget, ext = budget or Budget(), extensions or load_extensions()
    columns, options = declared_columns(ext), declared_options(ext)
    columns = {name: column for name, column in columns.items() if _installed(name, column)}
    rows = objective_rows(ext, columns)
    wanted_rows, wanted_columns = _asked(rows, columns, only)
    cells: dict[tuple[str, str], Cell] = {}
    for name, column in columns.items():
        source: Source | None = None
        for row in rows:
            if (row.needs.modalities == "many") != (len(column.modalities) > 1):
                continue
            given = row.options(options)
            cell = _kept(out, row.name, name)
            if cell is None or cell.settings != cell_settings(row, column, given, budget):
                if name not in wanted_columns or row not in wanted_rows:
                    continue
                source = source or _source(column, ext)
                cell = run_cell(row, name, column, given, budget, source, ext)
                _keep(out, cell)
                log.info("%s on %s: %s", row.name, name, cell.reason or f"{cell.trained:.3f} ({cell.untrained:.3f})")
            cells[row.name, name] = cell
    matrix = Matrix(rows, columns, cells)
    _write(out / TABLE, matrix.markdown())
    _write(out / VALUES, json.dumps(matrix.public(), indent=1, ensure_ascii=False) + "\n")
    return matrix


def _asked(
    rows: Sequence[ObjectiveRow], columns: Mapping[str, DatasetColumn], only: Iterable[str]
) -> tuple[list[ObjectiveRow], list[str]]:
    """Return the rows and the columns that are asked for."""
    named = set(only)
    known = set(columns).union(*(row.names for row in rows))
    for name in sorted(named - known):
        raise RecipeError(
            f"The matrix has neither a row nor a column '{name}'{did_you_mean(name, known)}; it has the columns "
            f"{', '.join(columns)} and the rows {', '.join(row.name for row in rows)}."
        )
    some_rows = [row for row in rows if named & row.names]
    some_columns = [name for name in columns if name in named]
    return some_rows or list(rows), some_columns or list(columns)


def _installed(name: str, column: DatasetColumn) -> bool:
    """Return whether the data of a column can be read; say so when not."""
    if absent := missing_packages(column.requires):
        log.warning("The column '%s' is left out: it needs %s, which is not installed.", name, ", ".join(absent))
    return not absent


def _source(column: DatasetColumn, ext: Extensions) -> Source:
    part = Part.model_validate(column.data["source"])
    source = maker(ext.registry, "sources", part, "data.source")()
    return in_memory(source, [candidates.field or name for name, candidates in column.modalities.items()])


def _path(out: Path, row: str, column: str) -> Path:
    return out / CELLS / column / f"{row.replace(':', '+')}.json"


def _kept(out: Path, row: str, column: str) -> Cell | None:
    """Return a cell that was computed before."""
    path = _path(out, row, column)
    return Cell(**json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else None


def _keep(out: Path, cell: Cell) -> None:
    _write(_path(out, cell.row, cell.column), json.dumps(cell.public(), indent=1, ensure_ascii=False) + "\n")


def _write(path: Path, text: str) -> Any:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, lambda part: part.write_text(text, encoding="utf-8"))
