"""What is checked: a recipe's records and modalities, or a source alone, for whose fields modalities are found."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from sensorium.contracts import Modality, Source, Split
from sensorium.data.as_source import with_fields
from sensorium.data.decoding import raw_values
from sensorium.data.readers import TableReader
from sensorium.data.selected import selected
from sensorium.errors import BadSample, RecipeError, SensoriumError, not_found
from sensorium.models.makers import maker
from sensorium.models.plan import make_plan
from sensorium.recipe.data import Data, Reading
from sensorium.recipe.merging import overridden
from sensorium.recipe.parts import Part
from sensorium.recipe.reading import read_recipe, validated
from sensorium.registration.discovery import Extensions
from sensorium.registration.registry import Registry

RECIPE_FILES = (".yaml", ".yml", ".py")
SAMPLE = 32
"""Records whose values tell which modality reads a field."""
MOST = 0.5
"""Least fraction of the values of a field that a modality has to decode."""
FITTED = 1000
"""Records that the modalities of a source alone are fitted to: their lengths and categories are estimates."""
LONGEST_PATH = 4096
"""Characters of a text that may name a file."""
NONSENSE = "no value of any kind: \x01"
"""What only a modality decodes that takes any text."""


@dataclass
class Subject:
    """The records that are checked, and what reads them.

    Args:
        name: of the recipe or source, as reports say it.
        source: the records.
        fields: modality name -> the source's field with its raw values.
        modalities: modality name -> the modality.
        kinds: modality name -> its registered name.
        data: fractions of the parts, `max_bad` and workers.
        split: of the records.
        fitted_on: how many records modalities are fitted to; None fits them to the whole train part, as a training.
        notes: how the modalities were found out.
        modality_options: modality name -> its options, where some are given.
    """

    name: str
    source: Source
    fields: dict[str, str]
    modalities: dict[str, Modality]
    kinds: dict[str, str]
    data: Data
    split: Split
    fitted_on: int | None = None
    notes: list[str] = field(default_factory=list)
    modality_options: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def options(self) -> Sequence[str]:
        """The names of the source's options."""
        return list(inspect.signature(type(self.source)).parameters)


def find_subject(
    target: str | Path | Mapping[str, Any] | None, overrides: Sequence[str], extensions: Extensions, source: Any = None
) -> Subject:
    """Return what is to be checked.

    Args:
        target: a recipe (its shipped name, a file, a mapping), the name of a registered source, the path of a folder
            or table, or None for the records of `source`.
        overrides: `key.sub=value` texts.
        extensions: the plugins.
        source: records in place of those that the target names.

    Raises:
        SensoriumError: when there is no such recipe, source or file, or its options are wrong.
    """
    registry = extensions.registry
    recipes, sources = registry.names("recipes"), registry.names("sources")
    if target is None and source is None:
        raise RecipeError("Name what is to be checked: a recipe, a source, or the path of a folder or table.")
    is_recipe = isinstance(target, Mapping) or str(target) in recipes or Path(str(target)).suffix in RECIPE_FILES
    if target is not None and is_recipe:
        return _of_recipe(target, overrides, extensions, source)
    if target is None or str(target) in sources:
        return _of_source(str(target or ""), {}, overrides, registry, source)
    if (found := source_of_path(str(target))) is not None:
        return _of_source(*found, overrides, registry)
    if Path(str(target)).expanduser().is_file():
        raise RecipeError(
            f"'{target}' is neither a recipe nor a table ({', '.join(TableReader.EXTENSIONS)}): name the source that "
            f"reads it, as in `sensorium check SOURCE data.source.path={target}`; there are: {', '.join(sources)}."
        )
    names = [*sources, *recipes]
    problem = f"There is no file or folder '{target}', and no recipe or source of that name"
    raise RecipeError(not_found(problem, str(target), names, f"the sources are: {', '.join(sources)}"))


def source_of_path(target: str) -> tuple[str, dict[str, Any]] | None:
    """Return the name and the options of the source that reads a folder or a table; None for any other path."""
    path = Path(target).expanduser()
    if path.is_dir():
        return "folder", {"path": str(path)}
    if path.is_file() and TableReader.extension(path) in TableReader.EXTENSIONS:
        return "table", {"path": str(path)}
    return None


def named_source(target: str, registry: Registry) -> tuple[str, dict[str, Any]]:
    """Return the name and the options of the source that a word names: a registered one, or that of a path.

    Raises:
        RecipeError: when it names neither.
    """
    sources = registry.names("sources")
    if target in sources:
        return target, {}
    if (found := source_of_path(target)) is not None:
        return found
    if Path(target).expanduser().is_file():
        raise RecipeError(
            f"'{target}' is no table ({', '.join(TableReader.EXTENSIONS)}): name the source that reads it, and "
            f"data.source.path={target}; there are: {', '.join(sources)}."
        )
    problem = f"There is no file or folder '{target}', and no source of that name"
    raise RecipeError(not_found(problem, target, sources, f"the sources are: {', '.join(sources)}"))


def _of_recipe(target: Any, overrides: Sequence[str], extensions: Extensions, source: Any) -> Subject:
    recipe = read_recipe(target, extensions.registry, overrides)
    plan = make_plan(recipe, extensions)
    kinds = {name: tower.modality.name if tower.modality else name for name, tower in recipe.modalities.items()}
    return Subject(
        f"recipe {recipe.name}",
        plan.open_source(source),
        plan.fields,
        plan.modalities,
        kinds,
        recipe.data,
        plan.split(),
        modality_options={name: one.modality.options for name, one in recipe.modalities.items() if one.modality},
    )


def _of_source(
    name: str, options: Mapping[str, Any], overrides: Sequence[str], registry: Registry, source: Any = None
) -> Subject:
    """Return a source with the modality of each of its fields: a named one, that of its name, or the one that fits."""
    raw = overridden({"data": {"source": {"name": name, **options}} if name else {}}, overrides)
    chosen = validated(Reading, raw, "the check of a source")
    if source is None:
        assert chosen.data.source is not None, "it has a name"
        opened: Source = maker(registry, "sources", chosen.data.source, "data.source")()
    else:
        opened = with_fields(source, tuple(chosen.modalities))
    opened = selected(opened, chosen.data.select)
    fields, modalities, kinds, notes, options_of = {}, {}, {}, [], {}
    for column in opened.fields:
        asked = chosen.modalities.get(column)
        part = asked.modality if asked is not None else None
        if part is None:
            part, note = _found_out(opened, column, registry)
            notes += [note] if note else []
        if part is not None:
            fields[column], kinds[column], options_of[column] = column, part.name, part.options
            modalities[column] = maker(registry, "modalities", part, f"modalities.{column}.modality")()
    for column in chosen.modalities:
        if column not in opened.fields:
            problem = f"The source has no field '{column}'"
            raise RecipeError(not_found(problem, column, opened.fields, f"its fields are: {', '.join(opened.fields)}"))
    if not fields:
        raise RecipeError(
            f"No modality reads any field of the source ({', '.join(opened.fields)}): name one, as in "
            f"modalities.{opened.fields[0]}.modality=text."
        )
    title = f"source {chosen.data.source.name}" if chosen.data.source else "records"
    split = maker(registry, "splits", chosen.data.split, "data.split")()
    return Subject(title, opened, fields, modalities, kinds, chosen.data, split, FITTED, notes, options_of)


def _found_out(source: Source, column: str, registry: Registry) -> tuple[Part | None, str]:
    """Return the modality that reads a field: that of its name, of its files' extensions, or that decodes most of it.

    The second of what is returned says so.
    """
    sample = np.arange(len(source))[:: -(-len(source) // SAMPLE)]
    trials = {name: _try(source, sample, column, name, registry) for name in registry.names("modalities")}
    if column in trials and trials[column].decoded:
        return Part(name=column), ""
    name = max(trials, key=lambda one: trials[one].rank)
    if not trials[name].names_files and trials[name].decoded < MOST:
        return None, f"field '{column}' is read by no modality: modalities.{column}.modality=NAME names one"
    return Part(name=name), f"field '{column}' is read as {name}: modalities.{column}.modality=NAME names another"


@dataclass(frozen=True)
class _Trial:
    """How a modality does on a sample of a field.

    Args:
        decoded: the fraction of the values that it decodes.
        names_files: whether most of the values are files of its extensions, damaged ones included.
        takes_any_text: whether it decodes any text, so that having decoded one tells nothing.
    """

    decoded: float = 0.0
    names_files: bool = False
    takes_any_text: bool = False

    @property
    def rank(self) -> tuple[bool, bool, float]:
        """What a better trial has more of: most values in a form that few texts have count more than all as text."""
        return self.names_files, self.decoded >= MOST and not self.takes_any_text, self.decoded


def _try(source: Source, positions: np.ndarray, column: str, name: str, registry: Registry) -> _Trial:
    if registry.find("modalities", name).missing_packages():
        return _Trial()
    modality: Modality = maker(registry, "modalities", Part(name=name), "modality")()
    raws = list(raw_values(source, positions, column, modality))
    endings = [Path(raw).suffix.lower() for raw in raws if isinstance(raw, str) and _may_be_path(raw)]
    names_files = modality.reads_files and 2 * sum(e in modality.extensions for e in endings) > len(raws)
    try:
        if raws and not modality.is_fitted:
            modality.fit(raws)
    except (SensoriumError, OSError):
        return _Trial(names_files=names_files)
    decoded = sum(_decodes(modality, raw) for raw in raws)
    return _Trial(round(decoded / max(len(raws), 1), 2), names_files, bool(raws) and _decodes(modality, NONSENSE))


def _may_be_path(text: str) -> bool:
    return len(text) <= LONGEST_PATH and len(text.splitlines()) == 1


def _decodes(modality: Modality, raw: Any) -> bool:
    try:
        modality.decode(raw)
    except (BadSample, SensoriumError, OSError):
        return False
    return True
