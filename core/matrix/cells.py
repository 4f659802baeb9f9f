"""One cell: an objective trained briefly on a column, its features evaluated beside those of the untrained encoder."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from statistics import mean
from typing import Any

from sensorium.api.training import fit
from sensorium.contracts import Source
from sensorium.errors import Interrupted, SensoriumError
from sensorium.evaluation.tables import AS_IT_CAME, UNTRAINED
from sensorium.matrix.compatibility import Incompatible, ObjectiveRow, TowerCandidate, tower_candidates
from sensorium.matrix.dataset_columns import DatasetColumn
from sensorium.registration.discovery import Extensions
from sensorium.registration.registry import one_line

TABLE = "cell"
"""Name of the evaluator in the recipe of a cell."""


@dataclass(frozen=True)
class Budget:
    """The training budget of each cell.

    Args:
        steps: optimizer steps of each training, >= 1; None for the column's.
        seeds: number of trainings, each with another seed, >= 1.
    """

    steps: int | None = None
    seeds: int = 1

    def on(self, column: DatasetColumn) -> Budget:
        """Return the budget with the steps of a column if it has none."""
        return replace(self, steps=self.steps or column.steps)


@dataclass
class Cell:
    """The result of one objective on one column.

    Args:
        row: the row's name.
        column: the column's name.
        settings: what the result depends on; a cell with the same settings is not computed again.
        reason: why there are no metrics: the pair is incompatible, or a part raised an error; otherwise empty.
        metrics: row of the evaluator's table (chance, baseline, untrained, as it came, trained) to the metric of each
            seed.
        parts: modality to the names of its view generator and encoder.
        seconds: wall-clock time of all trainings and evaluations.
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
        """The mean metric of the trained encoder."""
        return mean(self.metrics["trained"])

    @property
    def start(self) -> list[float]:
        """The metrics before the first step: of the weights that the encoder started from, or of random ones."""
        return self.metrics.get(AS_IT_CAME) or self.metrics[UNTRAINED]

    @property
    def untrained(self) -> float:
        """The mean metric before the first step."""
        return mean(self.start)

    @property
    def improved(self) -> bool:
        """Whether the trained encoder is better than it was before the first step."""
        return bool(self.metrics) and self.trained > self.untrained

    def public(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self)


def cell_settings(
    row: ObjectiveRow, column: DatasetColumn, options: Mapping[str, Any], budget: Budget
) -> dict[str, Any]:
    """Return everything that the result of a cell depends on, as plain JSON values."""
    settings = {
        "column": column.model_dump(),
        "objective": {"name": row.objective, **options},
        "budget": asdict(budget.on(column)),
    }
    return json.loads(json.dumps(settings))


def run_cell(
    row: ObjectiveRow,
    name: str,
    column: DatasetColumn,
    options: Mapping[str, Any],
    budget: Budget,
    source: Source,
    ext: Extensions,
) -> Cell:
    """Train and evaluate one cell, with the first compatible parts of the column.

    Args:
        row: the row.
        name: the column's name.
        column: the column.
        options: options of the objective.
        budget: steps and seeds.
        source: the column's records.
        ext: the plugins.
    """
    cell = Cell(row.name, name, cell_settings(row, column, options, budget))
    start, refusal = time.perf_counter(), ""
    try:
        for towers in tower_candidates(row, column, ext.registry):
            recipe = cell_recipe(row, column, towers, options, budget)
            try:
                cell.metrics = _metrics(recipe, column.metric, budget.seeds, source, ext)
            except Interrupted:
                raise
            except Exception as error:  # the next candidate may work: a causal encoder, one token for each step
                refusal = refusal or reason_of(error)
                continue
            cell.parts = {m: {"views": t.views.name, "encoder": t.encoder.name} for m, t in towers.items()}
            break
        else:
            cell.reason = refusal
    except Interrupted:
        raise
    except Exception as error:  # of a part that cannot be built
        cell.reason = reason_of(error)
    cell.seconds = round(time.perf_counter() - start, 1)
    return cell


def reason_of(error: Exception) -> str:
    """Return what a cell says of an error: the sentence of one that was foreseen, else its type and message."""
    return str(error) if isinstance(error, SensoriumError | Incompatible) else f"{one_line(error)}."


def cell_recipe(
    row: ObjectiveRow,
    column: DatasetColumn,
    towers: Mapping[str, TowerCandidate],
    options: Mapping[str, Any],
    budget: Budget,
) -> dict[str, Any]:
    """Return the recipe of one cell, without a seed."""
    steps = budget.on(column).steps
    return {
        "name": f"{row.objective}-matrix",
        "data": {**column.data, "val": 0.0, "workers": 0},
        "modalities": {name: tower.tower() for name, tower in towers.items()},
        "objective": {"name": row.objective, **options},
        "optimizer": column.optimizer,
        "train": {"steps": steps, "accelerator": "cpu"},
        "checkpoint": {"every": steps, "keep": 1},
        "evaluate": {"evaluators": {TABLE: column.evaluator.model_dump()}},
        "log": {"loggers": {}, "every": steps, "gallery": 1},
    }


def _metrics(
    recipe: dict[str, Any], metric: str, seeds: int, source: Source, ext: Extensions
) -> dict[str, list[float]]:
    """Return the metric of every row of the table, one value for each seed."""
    by_row: dict[str, list[float]] = {}
    for seed in range(seeds):
        with tempfile.TemporaryDirectory() as folder:
            model = fit({**recipe, "seed": seed}, source=source, run_dir=Path(folder) / "run", extensions=ext)
            assert model.run is not None
            table = json.loads((model.run.evaluations / f"{TABLE}.json").read_text(encoding="utf-8"))
        for row, measured in table["rows"].items():
            if metric in measured["metrics"]:
                by_row.setdefault(row, []).append(measured["metrics"][metric]["mean"])
    return by_row
