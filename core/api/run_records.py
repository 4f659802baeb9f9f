"""A run's model beside the records of its source, or of another one: what embedding, search and mining begin with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from sensorium.api.models import open_run
from sensorium.contracts import Source
from sensorium.data.selected import whole_of
from sensorium.evaluation.run_evaluation import RunEvaluation
from sensorium.models.model import Model
from sensorium.models.plan import Plan
from sensorium.registration.discovery import Extensions
from sensorium.runs.run import Run
from sensorium.training.fabric import join_ranks

OTHER = "unreadable-other.csv"
"""In the run folder: values that could not be read of records of other sources."""


def open_records(
    run: str | Path,
    overrides: Sequence[str],
    checkpoint: str,
    device: str,
    source: Any,
    extensions: Extensions | None,
    handed_in: Mapping[str, Any],
) -> tuple[Model, RunEvaluation]:
    """Return a run's model, and what embeds the records of its source, or of another one.

    Unreadable values of another source stand in a table of their own: the run's is that of its training.
    """
    place = join_ranks(device)
    model, plan, records = open_run(run, overrides, checkpoint, source, extensions, {}, place, handed_in)
    return model, evaluation_of(Run.open(run), plan, records, source is not None)


def evaluation_of(run: Run, plan: Plan, records: Source, is_given: bool) -> RunEvaluation:
    """Return what reads the records of a run's source, or of another one.

    Args:
        run: whose table of unreadable values is that of its own source.
        plan: of its recipe, changed or not.
        records: what was opened.
        is_given: whether they were handed in.
    """
    unreadable = None if _is_own(run, plan, records, is_given) else run.folder / OTHER
    return RunEvaluation(plan, records, run, unreadable=unreadable)


def _is_own(run: Run, plan: Plan, source: Source, is_given: bool) -> bool:
    """Return whether records are of the source that the run was trained on; one that was handed in has to be equal."""
    trained = yaml.safe_load(run.recipe_file.read_text(encoding="utf-8"))["data"]["source"]
    if plan.recipe.plain()["data"]["source"] != trained:
        return False
    cut = run.status().get("cut")
    if not is_given or cut is None:
        return True
    return whole_of(source)[0].columns().fingerprint() == cut.get("selected from", cut["records"])
