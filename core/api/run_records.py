"""A run's model beside the records of its source, or of another one: what embedding, search and mining begin with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sensorium.api.models import open_run
from sensorium.evaluation.run_evaluation import RunEvaluation
from sensorium.models.model import Model
from sensorium.registration.discovery import Extensions
from sensorium.runs.run import Run
from sensorium.training.fabric import join_ranks


def open_records(
    run: str | Path,
    overrides: Sequence[str],
    checkpoint: str,
    device: str,
    source: Any,
    extensions: Extensions | None,
    handed_in: Mapping[str, Any],
) -> tuple[Model, RunEvaluation]:
    """Return a run's model, and what embeds the records of its source, or of another one."""
    model, plan, source = open_run(run, overrides, checkpoint, source, extensions, {}, join_ranks(device), handed_in)
    return model, RunEvaluation(plan, source, Run.open(run))
