"""Declarations of plugins for the matrix: `sensorium_matrix` in a plugin's module, "kind/name" to a mapping.

"columns/NAME" is a `DatasetColumn`: bundled labeled records with candidate encoders and view generators.
"objectives/NAME", or "objectives/NAME:TARGET" for one task of several, has the options of an objective in the matrix;
most need none. With the objective's `name` among its options, as in a recipe, it is a further row called NAME. Neither
kind names the other: compatibility follows from the `Needs` of objectives.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field, PositiveInt, ValidationError

from sensorium.errors import PluginError
from sensorium.recipe.parts import Part, Section
from sensorium.registration.discovery import Extensions

COLUMNS, OBJECTIVES = "columns/", "objectives/"


class ModalityCandidates(Section):
    """Candidate view generators and encoders of one modality of a column, in order of preference."""

    modality: Part | None = Field(None, description="the modality and its options; default: named as the key")
    field: str | None = Field(None, description="the source's field; default: named as the key")
    views: list[Part] = Field(min_length=1, description="view generators; the first compatible one is used")
    encoders: list[Part] = Field(min_length=1, description="encoders; the first compatible one is used")


class DatasetColumn(Section):
    """A labeled dataset that comes with installed packages, and how objectives are trained and evaluated on it."""

    description: str = Field(description="the dataset in one sentence: contents, size, origin, license")
    data: dict[str, Any] = Field(description="the `data` section of the recipes")
    modalities: dict[str, ModalityCandidates] = Field(min_length=1, description="name to its candidates")
    evaluator: Part = Field(description="the evaluator of the features")
    metric: str = Field(description="its metric that cells show; larger is better")
    optimizer: dict[str, Any] = Field({}, description="the `optimizer` section of the recipes")
    steps: PositiveInt = Field(300, description="optimizer steps of each training, unless the command sets them")
    requires: list[str] = Field([], description="import names of optional packages that the data needs")


def declared_columns(extensions: Extensions) -> dict[str, DatasetColumn]:
    """Return the columns that the loaded plugins declare, by name.

    Raises:
        PluginError: for an invalid declaration.
    """
    return {name: _column(name, given) for name, given in _declared(extensions, COLUMNS).items()}


def declared_options(extensions: Extensions) -> dict[str, Mapping[str, Any]]:
    """Return the declared options of objectives, or of single rows; most have none."""
    return _declared(extensions, OBJECTIVES)


def _declared(extensions: Extensions, prefix: str) -> dict[str, Any]:
    declared = extensions.declared("sensorium_matrix")
    for key in declared:
        if not key.startswith((COLUMNS, OBJECTIVES)):
            raise PluginError(f"sensorium_matrix declares '{key}': its keys begin with '{COLUMNS}' or '{OBJECTIVES}'.")
    return {key.removeprefix(prefix): given for key, given in declared.items() if key.startswith(prefix)}


def _column(name: str, given: Any) -> DatasetColumn:
    try:
        return DatasetColumn.model_validate(given)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(key) for key in (f"columns/{name}", *first["loc"]))
        raise PluginError(f"sensorium_matrix declares an invalid column at '{where}': {first['msg']}.") from error
