"""Checks of recipes."""

from __future__ import annotations

from collections.abc import Callable

from sensorium.models.plan import make_plan
from sensorium.recipe.reading import read_recipe
from sensorium.registration.discovery import Extensions, Plugin
from sensorium.testing.checked_part import CheckedPart


def names_parts_that_fit(checked: CheckedPart) -> None:
    """It is valid, its parts are registered, take the options that it gives them, and fit each other."""
    recipe = read_recipe(checked.spec.name, checked.registry)
    plugins = [Plugin(name, "", "", "") for name in recipe.plugins]
    make_plan(recipe, Extensions(plugins, checked.registry))


CHECKS: tuple[Callable[[CheckedPart], None], ...] = (names_parts_that_fit,)
