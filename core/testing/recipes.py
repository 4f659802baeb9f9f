"""Checks of recipes."""

from __future__ import annotations

from collections.abc import Callable
from unittest import SkipTest

from sensorium.errors import MissingFile
from sensorium.models.plan import make_plan
from sensorium.recipe.reading import read_recipe
from sensorium.registration.discovery import Extensions, Plugin
from sensorium.testing.checked_part import CheckedPart


def names_parts_that_fit(checked: CheckedPart) -> None:
    """It is valid, its parts are registered, take the options that it gives them, and fit each other.

    Raises:
        SkipTest: when it names a file or folder that its user brings, such as weights.
    """
    recipe = read_recipe(checked.spec.name, checked.registry)
    plugins = [Plugin(name, "", "", "") for name in recipe.plugins]
    try:
        make_plan(recipe, Extensions(plugins, checked.registry))
    except MissingFile as missing:
        raise SkipTest(f"its user brings what it names: {missing}") from missing


CHECKS: tuple[Callable[[CheckedPart], None], ...] = (names_parts_that_fit,)
