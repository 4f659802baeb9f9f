"""Sentences for options of views that lie where they cannot."""

from __future__ import annotations

from sensorium.errors import RecipeError


def within(name: str, low: float, high: float, /, **options: float) -> None:
    """Raise RecipeError unless every option lies from `low` to `high`."""
    for option, value in options.items():
        if not low <= value <= high:
            bounds = f"at least {low:g}" if high == float("inf") else f"from {low:g} to {high:g}"
            raise RecipeError(f"The option '{option}' of the views '{name}' must be {bounds}, not {value:g}.")
