"""What a training starts from: what its caller asks for, become parts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sensorium.api.run_parts import extensions_of
from sensorium.contracts import Source
from sensorium.errors import RecipeError
from sensorium.models.given import read_given, require_given
from sensorium.models.plan import Plan, make_plan
from sensorium.recipe import Recipe
from sensorium.recipe.reading import changes
from sensorium.registration.discovery import Extensions
from sensorium.runs.run import Run
from sensorium.training.resumption import Resumption, resumption


@dataclass(frozen=True)
class Asked:
    """What the caller of `fit` asks for.

    Args:
        recipe: as in `fit`.
        overrides: as in `fit`.
        source: as in `fit`.
        handed_in: parts by the names of `fit`, those that were given alone.
        extensions: plugins.
    """

    recipe: Recipe | Mapping[str, Any] | str | Path | None
    overrides: Sequence[str]
    source: Any
    handed_in: Mapping[str, Any]
    extensions: Extensions

    def over_that_of_a_run(self) -> tuple[Recipe | None, Sequence[str]]:
        """Return the recipe that is to stand over that of a run, and overrides of that of the run."""
        if self.recipe is None:
            return None, self.overrides
        return read_given(self.recipe, self.extensions, self.overrides, self.handed_in)[0], ()


@dataclass(frozen=True)
class Start:
    """The parts that a training starts with.

    Args:
        plan: the parts of its recipe.
        extensions: plugins, with the objects that were handed in.
        source: the records, if they were handed in.
        resumed: what it continues; None for one that begins.
        named: what its recipe is called, and what differs from that one, for the log.
    """

    plan: Plan
    extensions: Extensions
    source: Source | None
    resumed: Resumption | None
    named: tuple[str, Sequence[str]]


def start(asked: Asked, run: Run | None) -> Start:
    """Return the parts of a training; no record is read, and nothing written.

    Args:
        asked: what the caller asks for.
        run: the run to continue; None for a training that begins.

    Raises:
        RecipeError: when there is neither a recipe nor a run, or the recipe cannot be trained.
        RunError: when the run has no checkpoint that can be read.
    """
    if run is not None:
        extensions = extensions_of(run, asked.extensions, asked.handed_in)
        resumed = resumption(run, *asked.over_that_of_a_run(), extensions.registry)
        resolved = resumed.recipe
        named: tuple[str, Sequence[str]] = (resolved.name, asked.overrides)
    elif asked.recipe is not None or asked.handed_in:
        resumed = None
        resolved, extensions = read_given(asked.recipe, asked.extensions, asked.overrides, asked.handed_in)
        named = changes(resolved, asked.recipe or {}, extensions.registry, asked.overrides)
    else:
        raise RecipeError("Give a recipe to train, or a run to resume.")
    require_given(resolved, extensions.registry)
    plan = make_plan(resolved, extensions, for_training=True)
    if run is None:
        plan.check_weights()
    source = asked.source
    if source is not None or plan.source is None:  # what is handed in is looked at before a folder is made
        source = plan.open_source(source)
    resolved = plan.recipe
    if resolved.data.source is not None and source is not None:  # the run is not one on the recipe's records
        resolved = resolved.model_copy(update={"data": resolved.data.model_copy(update={"source": None})})
        plan = make_plan(resolved, extensions, for_training=True)
    return Start(plan, extensions, source, resumed, named)
