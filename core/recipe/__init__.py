"""Recipes: the complete, validated description of one run."""

from sensorium.recipe.reading import override, read_recipe
from sensorium.recipe.schema import Part, Recipe, Tower

__all__ = ["Part", "Recipe", "Tower", "override", "read_recipe"]
