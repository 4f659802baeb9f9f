"""What plugins declare for the matrix: `sensorium_matrix` in a plugin's module, "kind/name" to a mapping.

"columns/NAME" is a `DatasetColumn`: bundled labeled records, and the encoders and views that may be tried on them.
"objectives/NAME", or "objectives/NAME:TARGET" for one task of several, holds options that an objective needs there;
most need none. With the objective's `name` among its options, as in a recipe, it is a further row called NAME. Neither
kind names the other: what fits what is read off the `Needs` of objectives.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field, PositiveInt, ValidationError

from sensorium.errors import PluginError
from sensorium.recipe.schema import Part, Section
from sensorium.registration.discovery import Extensions

COLUMNS, OBJECTIVES = "columns/", "objectives/"


class ModalityCandidates(Section):
    """One modality of a column, with what may be tried on it in order of preference."""

    modality: Part | None = Field(None, description="the modality and its options; default: named as the key")
    field: str | None = Field(None, description="the source's field; default: named as the key")
    views: list[Part] = Field(min_length=1, description="view generators; the first that fits an objective is taken")
    encoders: list[Part] = Field(min_length=1, description="encoders; the first that fits an objective is taken")


class DatasetColumn(Section):
    """Labeled records that come with ordinary packages, and how objectives are tried on them."""

    about: str = Field(description="the data in one sentence: what, how many, whose, under which license")
    data: dict[str, Any] = Field(description="the `data` section of the recipes")
    modalities: dict[str, ModalityCandidates] = Field(min_length=1, description="name to what may be tried on it")
    evaluator: Part = Field(description="what measures the features")
    metric: str = Field(description="the figure of it that cells show; larger is better")
    optimizer: dict[str, Any] = Field({}, description="the `optimizer` section of the recipes")
    steps: PositiveInt = Field(300, description="optimizer steps of each training, when the command names none")
    requires: list[str] = Field([], description="import names of optional packages that the data needs")


def declared_columns(extensions: Extensions) -> dict[str, DatasetColumn]:
    """Return the columns that the loaded plugins declare, by name.

    Raises:
        PluginError: for a declaration that is no column.
    """
    return {name: _column(name, given) for name, given in _declared(extensions, COLUMNS).items()}


def declared_options(extensions: Extensions) -> dict[str, Mapping[str, Any]]:
    """Return the options that objectives, or single rows, are to have in the matrix; most have none."""
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
        raise PluginError(f"sensorium_matrix declares no column at '{where}': {first['msg']}.") from error
