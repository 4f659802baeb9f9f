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
    opened = Run.open(run)
    is_own = _is_own(opened, plan, records, source is not None)
    return model, RunEvaluation(plan, records, opened, unreadable=None if is_own else opened.folder / OTHER)


def _is_own(run: Run, plan: Plan, source: Source, is_given: bool) -> bool:
    """Return whether records are of the source that the run was trained on; one that was handed in has to be equal."""
    trained = yaml.safe_load(run.recipe_file.read_text(encoding="utf-8"))["data"]["source"]
    if plan.recipe.plain()["data"]["source"] != trained:
        return False
    cut = run.status().get("cut")
    if not is_given or cut is None:
        return True
    return whole_of(source)[0].columns().fingerprint() == cut.get("selected from", cut["records"])
