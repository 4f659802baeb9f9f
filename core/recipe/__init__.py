"""Recipes: the complete, validated description of one run.

Loaded at first use: listings pass through this package and must not wait for pydantic and YAML.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sensorium.recipe.parts import Part
    from sensorium.recipe.reading import read_recipe
    from sensorium.recipe.schema import Recipe, Tower

_HOME = {"read_recipe": "reading", "Part": "parts", "Recipe": "schema", "Tower": "schema"}
__all__ = ["Part", "Recipe", "Tower", "read_recipe"]


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'sensorium.recipe' has no attribute '{name}'")
    return getattr(import_module(f"sensorium.recipe.{_HOME[name]}"), name)
