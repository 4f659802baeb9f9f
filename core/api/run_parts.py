"""The parts of a run that no plugin has here: of missing plugins, of the session that trained it, and handed in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sensorium.errors import PluginError
from sensorium.models.given import given_again, require_given
from sensorium.recipe import read_recipe
from sensorium.registration.discovery import Extensions
from sensorium.registration.recorded import part_names, with_recorded
from sensorium.registration.registry import SESSION, WORDS, Absent, Spec
from sensorium.runs.run import Run

NEEDED = ("modality", "encoder", "objective")
"""Parts without which no model is made: views and evaluators are asked for where they are used."""


def extensions_of(run: Run, extensions: Extensions, objects: Mapping[str, Any]) -> Extensions:
    """Return the extensions by which a run is read: with its objects, and what to do about parts that are not there.

    Args:
        run: the run folder.
        extensions: plugins, and what this session registered.
        objects: what the caller hands in, by the names of `sensorium.models.given.PARTS`.

    Raises:
        RecipeError: for an object that the run has no place for.
    """
    for part in run.status().get("session", []):
        spec = Spec(part["kind"], part["name"], part["target"], part["summary"], SESSION, "", part.get("modality"))
        try:
            extensions.registry.find(spec.kind, spec.name, spec.modality)
        except PluginError:
            extensions = extensions.with_absent(Absent(_remedy(spec, part["file"]), specs=(spec,)))
    recipe = read_recipe(run.recipe_file, extensions.registry)
    extensions = with_recorded(extensions, run.status().get("plugins", []), part_names(recipe.plain()))
    extensions = given_again(recipe, extensions, objects)
    require_given(recipe, extensions.registry, NEEDED)
    return extensions


def _remedy(spec: Spec, file: str) -> str:
    """Return how a part of the session is registered again, without a full stop."""
    name = spec.origin.partition(":")[2]
    belongs = f", modality='{spec.modality}'" if spec.modality else ""
    return (
        f"it was registered in the session that trained the run, as the class {spec.origin.replace(':', '.')}"
        f"{f' of {file}' if file else ''}; define it and call "
        f"sensorium.register('{WORDS[spec.kind]}', '{spec.name}', {name}{belongs}), then open the run again"
    )
