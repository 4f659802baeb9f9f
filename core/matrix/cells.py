"""One cell: an objective trained on a column for a small budget, its features measured beside the first weights'."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from statistics import mean
from typing import Any

from sensorium.api import fit
from sensorium.contracts import Source
from sensorium.errors import Interrupted, SensoriumError
from sensorium.matrix.columns import DatasetColumn
from sensorium.matrix.compatibility import Incompatible, ObjectiveRow, TowerCandidate, tower_candidates
from sensorium.registration.discovery import Extensions

TABLE = "cell"
"""What the one table of a cell's recipe is called."""


@dataclass(frozen=True)
class Budget:
    """What each cell may spend.

    Args:
        steps: optimizer steps of each training; None for as many as the column asks for.
        seeds: trainings of each cell.
    """

    steps: int | None = None
    seeds: int = 1

    def on(self, column: DatasetColumn) -> Budget:
        """Return the budget with the steps of a column where it names none."""
        return replace(self, steps=self.steps or column.steps)


@dataclass
class Cell:
    """What became of one objective on one column.

    Args:
        row: the row's name.
        column: the column's name.
        settings: what the cell depends on; a cell of the same settings is not computed again.
        why: why there are no figures: the pair has no meaning, or a part refused it; empty where there are.
        figures: row of the evaluator's table (chance, baseline, untrained, trained) to one figure for each seed.
        parts: modality to the names of the views and the encoder that were taken.
        seconds: how long all trainings and measurements took.
    """

    row: str
    column: str
    settings: dict[str, Any]
    reason: str = ""
    metrics: dict[str, list[float]] = field(default_factory=dict)
    parts: dict[str, dict[str, str]] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def trained(self) -> float:
        """The mean figure of the trained encoder."""
        return mean(self.metrics["trained"])

    @property
    def untrained(self) -> float:
        """The mean figure of the first weights."""
        return mean(self.metrics["untrained"])

    @property
    def improved(self) -> bool:
        """Whether training made the features better."""
        return bool(self.metrics) and self.trained > self.untrained

    def public(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self)


def cell_settings(
    row: ObjectiveRow, column: DatasetColumn, options: Mapping[str, Any], budget: Budget
) -> dict[str, Any]:
    """Return what the figures of a cell depend on, as plain JSON values."""
    given = {
        "column": column.model_dump(),
        "objective": {"name": row.objective, **options},
        "budget": asdict(budget.on(column)),
    }
    return json.loads(json.dumps(given))


def run_cell(
    row: ObjectiveRow,
    name: str,
    column: DatasetColumn,
    options: Mapping[str, Any],
    budget: Budget,
    source: Source,
    ext: Extensions,
) -> Cell:
    """Train and measure one cell, with the first parts of the column that serve the objective.

    Args:
        row: the row.
        name: the column's name.
        column: the column.
        options: the objective's.
        budget: what may be spent.
        source: the column's records.
        ext: the plugins.
    """
    cell = Cell(row.name, name, cell_settings(row, column, options, budget))
    start, refusal = time.perf_counter(), ""
    try:
        for choice in tower_candidates(row, column, ext.registry):
            recipe = cell_recipe(row, column, choice, options, budget)
            try:
                cell.metrics = _metrics(recipe, column.metric, budget.seeds, source, ext)
            except Interrupted:
                raise
            except SensoriumError as error:  # the next choice may do: a causal encoder, a token for each step
                refusal = refusal or str(error)
                continue
            cell.parts = {m: {"views": c.views.name, "encoder": c.encoder.name} for m, c in choice.items()}
            break
        else:
            cell.reason = refusal
    except Incompatible as misfit:
        cell.reason = str(misfit)
    cell.seconds = round(time.perf_counter() - start, 1)
    return cell


def cell_recipe(
    row: ObjectiveRow,
    column: DatasetColumn,
    choice: Mapping[str, TowerCandidate],
    options: Mapping[str, Any],
    budget: Budget,
) -> dict[str, Any]:
    """Return the recipe of one cell, its seed aside: everything that it depends on but what it is measured on."""
    steps = budget.on(column).steps
    return {
        "name": f"{row.objective}-matrix",
        "data": {**column.data, "val": 0.0, "workers": 0},
        "modalities": {name: chosen.tower() for name, chosen in choice.items()},
        "objective": {"name": row.objective, **options},
        "optimizer": column.optimizer,
        "train": {"steps": steps, "accelerator": "cpu"},
        "checkpoint": {"every": steps, "keep": 1},
        "evaluate": {"evaluators": {TABLE: column.evaluator.model_dump()}},
        "log": {"tensorboard": False, "every": steps, "gallery": 1},
    }


def _metrics(
    recipe: dict[str, Any], metric: str, seeds: int, source: Source, ext: Extensions
) -> dict[str, list[float]]:
    """Return one figure of every row of the table, seed by seed."""
    found: dict[str, list[float]] = {}
    for seed in range(seeds):
        with tempfile.TemporaryDirectory() as folder:
            model = fit({**recipe, "seed": seed}, source=source, run_dir=Path(folder) / "run", extensions=ext)
            assert model.run is not None
            table = json.loads((model.run.evaluations / f"{TABLE}.json").read_text(encoding="utf-8"))
        for row, measured in table["rows"].items():
            if metric in measured["metrics"]:
                found.setdefault(row, []).append(measured["metrics"][metric]["mean"])
    return found
