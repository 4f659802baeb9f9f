"""One command that begins a training, continues it after any kill, and leaves it alone once it is finished."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sensorium.api.measuring import evaluate
from sensorium.api.models import load
from sensorium.api.run_parts import extensions_of
from sensorium.api.starting import Asked
from sensorium.errors import RecipeError, RunError
from sensorium.evaluation.tables import ResultsTable
from sensorium.launcher import find_launcher
from sensorium.models.model import Model
from sensorium.models.plan import make_plan
from sensorium.parallel import collectives
from sensorium.parallel.rank_zero import on_every_rank
from sensorium.runs.checkpoint import Checkpoints
from sensorium.runs.run import Run
from sensorium.training.resumption import recipe_now

log = logging.getLogger("sensorium")
SHOWN = 60.0
"""Seconds after which every node sees what another has written; a network file system may show an old listing."""
LENGTH = ("train.epochs", "train.steps", "callbacks")
"""Keys that let a finished training go on."""


@dataclass(frozen=True)
class Found:
    """What a run folder holds.

    Args:
        run: the folder.
        step: of the latest checkpoint; None where there is none.
        is_finished: whether the training is finished.
        is_begun: whether a training has begun, and written more or less.
    """

    run: Run
    step: int | None
    is_finished: bool
    is_begun: bool

    @property
    def to_continue(self) -> Run | None:
        """The run, if it has a checkpoint."""
        return None if self.step is None else self.run

    def __str__(self) -> str:
        if self.step is not None:
            return f"{self.run.folder} holds a checkpoint of step {self.step}: the training goes on."
        if self.is_begun:
            return (
                f"{self.run.folder} holds a training that was stopped before its first checkpoint: it begins anew, "
                "and what it had written is replaced."
            )
        return f"{self.run.folder} holds no training yet: it begins."


def find_run(run_dir: str | Path | None) -> Found:
    """Return what there is to go on with; nothing is written.

    Args:
        run_dir: the run folder, which may not be there.

    Raises:
        RecipeError: when no folder is named.
        RunError: when the folder holds something else than a run.
    """
    if run_dir is None:
        raise RecipeError(
            "--resume auto goes by what the run folder holds: name one by --run-dir, the same for every start."
        )
    run = Run(Path(run_dir))
    steps = Checkpoints(run.checkpoints, 1).steps()
    if not run.is_begun and run.holdings():
        raise RunError(f"The folder {run_dir} is not empty, and holds no run: choose another with --run-dir.")
    return Found(run, steps[0] if steps else None, run.is_finished, run.is_begun)


def agree(found: Found) -> Found:
    """Return what rank 0 has found, on every rank, once every rank sees it; collective.

    Raises:
        RunError: when a rank does not see the checkpoint of rank 0.
    """
    chosen: Found = collectives.broadcast(found)
    on_every_rank(_see, chosen)
    return chosen


def _see(chosen: Found) -> None:
    """Wait until the checkpoint is seen that rank 0 has found."""
    until = time.monotonic() + SHOWN
    while chosen.step is not None and chosen.step not in Checkpoints(chosen.run.checkpoints, 1).steps():
        if time.monotonic() > until:
            raise RunError(
                f"Rank {collectives.rank()} does not see the checkpoint of step {chosen.step} in "
                f"{chosen.run.folder} that rank 0 has found: all nodes must share the run folder."
            )
        time.sleep(1.0)


def finished(run: Run, asked: Asked, measure: bool) -> Model | None:
    """Return the model of a finished run, of which the tables that are missing are measured first.

    Args:
        run: the run.
        asked: what the caller asks for.
        measure: whether tables are measured.

    Returns:
        The model; None when the recipe now has more steps, so that the training goes on.

    Raises:
        RecipeError: when anything was changed that a resumed training cannot change.
    """
    extensions = extensions_of(run, asked.extensions, asked.handed_in)
    resolved, changed = recipe_now(run, *asked.over_that_of_a_run(), extensions.registry)
    if any(key.startswith(LENGTH) for key in changed):
        return None
    if find_launcher().rank == 0:
        log.info("The training in %s is finished: no step is taken.", run.folder)
        run.sweep()
        if changed:
            run.keep_recipe(resolved)
    how: dict[str, Any] = {"device": resolved.train.accelerator, "extensions": asked.extensions, **asked.handed_in}
    tables = make_plan(resolved, extensions).tables if measure else []
    missing = [name for name in tables if not run.is_measured(name)]
    if missing:
        evaluate(run.folder, None if missing == tables else missing, source=asked.source, show=_show, **how)
    return load(run.folder, **how)


def _show(table: ResultsTable) -> None:
    log.info("\n%s", table.markdown(), extra={"table": table})
