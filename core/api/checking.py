"""Checking the records of a recipe or a source before a training."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sensorium.checking.report import DataReport
from sensorium.checking.subject import find_subject
from sensorium.checking.survey import survey
from sensorium.recipe import Recipe
from sensorium.registration.blame import naming_plugins
from sensorium.registration.discovery import Extensions, load_extensions


@naming_plugins
def check(
    target: Recipe | Mapping[str, Any] | str | Path | None = None,
    overrides: Sequence[str] = (),
    *,
    source: Any = None,
    progress: Callable[[int, int], None] | None = None,
    extensions: Extensions | None = None,
) -> DataReport:
    """Read every record of all parts, on all cores, and report what a training would meet; nothing is trained.

    Args:
        target: a recipe as `fit` takes it, the name of a registered source, or the path of a folder or table; None for
            the records of `source` alone.
        overrides: `key.sub=value` texts: of a recipe any keys, of a source `data.*` and `modalities.FIELD.modality`.
        source: records in place of those that the target names, as `fit` takes them.
        progress: called with the number of records examined so far, and of all.
        extensions: plugins, when not those that are installed.

    Returns:
        What was found; `report.require_few_unreadable()` raises an error where a training would stop.

    Raises:
        SensoriumError: for what would stop a training before its first step.
    """
    return survey(find_subject(target, overrides, extensions or load_extensions(), source), progress)
