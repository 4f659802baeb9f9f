"""The diagnosis: the machine, the rates of a recipe on it, and what to change."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any

from sensorium.data.memory import Space
from sensorium.doctor.advice import Advice, advise
from sensorium.doctor.machine import Machine, inspect_machine
from sensorium.doctor.rates import Rates, measure
from sensorium.errors import RecipeError
from sensorium.models.plan import make_plan
from sensorium.recipe import Recipe, read_recipe
from sensorium.registration.discovery import Extensions

SCHEMA = 1
"""Version of what `Diagnosis.public` returns; it moves when a key is renamed or removed."""


@dataclass(frozen=True)
class Diagnosis:
    """What the doctor found.

    Args:
        machine: facts about the machine.
        rates: of the recipe on it; None without a recipe.
        advice: what to change, the most important first.
    """

    machine: Machine
    rates: Rates | None
    advice: list[Advice]

    def public(self) -> dict[str, Any]:
        """Return plain values for JSON: bytes, seconds, records per second; null for what is unknown or unlimited."""
        found: dict[str, Any] = {"schema": SCHEMA, **_plain(self)}
        if self.rates is not None:
            derived = ("loaded_per_second", "bottleneck", "epoch_seconds")
            found["rates"] |= {name: _plain(getattr(self.rates, name)) for name in derived}
        return found


def diagnose(
    recipe: Recipe | Mapping[str, Any] | str | Path | None,
    overrides: Sequence[str],
    extensions: Extensions,
    *,
    source: Any = None,
    folder: str | Path = ".",
    seconds: float = 3.0,
) -> Diagnosis:
    """Inspect this machine and, for a recipe, measure how fast it is.

    Args:
        recipe: what is to be trained, or None.
        overrides: `key.sub=value` texts.
        extensions: the plugins.
        source: records in place of those that `data.source` names: a `Source`, or anything that `fit` takes.
        folder: where runs are to be written.
        seconds: how long each rate is measured.

    Raises:
        RecipeError: when the process was started by a launcher of several, which all would measure at once.
        SensoriumError: whatever would stop the training before its first step.
    """
    machine = inspect_machine(extensions, folder)
    if recipe is None:
        return Diagnosis(machine, None, advise(machine))
    if machine.launcher.processes > 1:
        raise RecipeError(
            f"The rates of a recipe are measured on one process, but {machine.launcher.name} started "
            f"{machine.launcher.processes}: leave out the recipe, or the launcher."
        )
    plan = make_plan(read_recipe(recipe, extensions.registry, overrides), extensions)
    rates = measure(plan, plan.open_source(source), extensions, seconds)
    return Diagnosis(machine, rates, advise(machine, plan.recipe, rates))


def _plain(value: Any) -> Any:
    """Return dataclasses and named tuples as mappings, and infinity as None."""
    if is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Space):
        return {name: _plain(number) for name, number in value._asdict().items()}
    if isinstance(value, Mapping):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_plain(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
