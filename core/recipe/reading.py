"""Reading a recipe: from a shipped name, a YAML or Python file or a mapping, with overrides.

Every error is one sentence.
"""

from __future__ import annotations

import runpy
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ValidationError

from sensorium.errors import RecipeError, did_you_mean, not_found
from sensorium.recipe.merging import (
    ENTRIES,
    leaves,
    merged,
    numbered_alike,
    overridden,
    without_base,
    without_replaced_length,
)
from sensorium.recipe.moved_keys import with_moved_keys
from sensorium.recipe.parts import ONE, SEVERAL
from sensorium.recipe.schema import Recipe
from sensorium.recipe.yaml_text import one_line, parse_yaml
from sensorium.registration.registry import Registry

S = TypeVar("S", bound=BaseModel)

BASE = "base"
"""The key that names a base recipe: its keys are the defaults of this one."""


def read_recipe(
    recipe: Recipe | Mapping[str, Any] | str | Path, registry: Registry, overrides: Sequence[str] = ()
) -> Recipe:
    """Return the validated recipe.

    Args:
        recipe: a shipped name, a path to a `.yaml` or `.py` file (which defines `recipe`, a mapping or a function
            that returns one), a mapping, or a Recipe. With a key `base`, the name or path of another recipe, it
            has only the keys that differ.
        registry: has the shipped recipes.
        overrides: `key.sub=value` texts, applied in order.

    Raises:
        RecipeError: one sentence with the path, the value and the nearest valid names.
    """
    raw, origin = unvalidated(recipe, registry, overrides)
    return validated(Recipe, raw, origin, overrides)


def unvalidated(
    recipe: Recipe | Mapping[str, Any] | str | Path, registry: Registry, overrides: Sequence[str] = ()
) -> tuple[dict[str, Any], str]:
    """Return a recipe as a mapping, on its base and with the overrides, and what errors call it; as `read_recipe`."""
    if isinstance(recipe, Recipe):
        raw, origin = recipe.plain(), "recipe"
    elif isinstance(recipe, Mapping):
        raw, origin = _on_its_base(dict(recipe), "recipe", registry), "recipe"
    else:
        raw, origin = raw_recipe(str(recipe), registry), str(recipe)
    return overridden(raw, overrides), origin


def changes(
    resolved: Recipe, given: Recipe | Mapping[str, Any] | str | Path, registry: Registry, overrides: Sequence[str]
) -> tuple[str, list[str]]:
    """Return the shipped recipe that a recipe is, or is based on, and the keys that differ.

    Args:
        resolved: the result of `read_recipe` for the other arguments.
        given: the recipe as the user named it.
        registry: has the shipped recipes.
        overrides: applied to it.

    Returns:
        The name of the shipped recipe (or, where there is none, the file's or the recipe's own), and the differences
        as `key.sub=value` (or, where there is none, the overrides).
    """
    base = _shipped_base(resolved, given, registry)
    if base is None:
        return (str(given) if isinstance(given, str | Path) else resolved.name), list(overrides)
    of_base, own = numbered_alike(read_recipe(base, registry).plain(), resolved.plain())
    theirs, ours = dict(leaves(of_base)), {path: value for path, value in leaves(own) if path != "name"}
    differ = (path for path, value in ours.items() if path not in theirs or theirs[path] != value)
    return base, [*_taken_away(theirs, ours), *(f"{path}={one_line(ours[path])}" for path in differ)]


def _taken_away(theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> list[str]:
    """Return the entries (towers, evaluators) of a base that a recipe is without, as `key.sub=null`."""

    def entries(paths: Mapping[str, Any]) -> dict[str, None]:
        keys = (tuple(path.split(".")) for path in paths)
        return {".".join(at[: len(m) + 1]): None for at in keys for m in ENTRIES if at[: len(m)] == m != at}

    kept = entries(ours)
    return [f"{path}=null" for path in entries(theirs) if path not in kept]


def _shipped_base(resolved: Recipe, given: Recipe | Mapping[str, Any] | str | Path, registry: Registry) -> str | None:
    """Return the first registered recipe along the key `base`, or the one of the same name."""
    while isinstance(given, str | Path) and Path(given).suffix in (".yaml", ".yml"):
        path = Path(given)
        given = parse_yaml(path.read_text(encoding="utf-8"), str(path)).get(BASE)
        if isinstance(given, str) and _is_path(given):
            given = path.parent / given
    named = given.get(BASE) if isinstance(given, Mapping) else given
    shipped = {spec.name for spec in registry.specs("recipes")}
    return next((name for name in (named, resolved.name) if isinstance(name, str) and name in shipped), None)


def to_yaml(recipe: Recipe) -> str:
    """Return a recipe, whole, as YAML."""
    return yaml.safe_dump(recipe.plain(), sort_keys=False, allow_unicode=True)


def recipe_text(name: str, registry: Registry) -> str:
    """Return a registered recipe's file as it stands, comments included."""
    module, _, file = registry.find("recipes", name).origin.partition(":")
    return (files(module) / file).read_text(encoding="utf-8")


def raw_recipe(name: str, registry: Registry, above: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return a recipe as a mapping, not yet validated: its own keys merged over those of its `base`.

    Args:
        name: a shipped name, or a path to a `.yaml` or `.py` file.
        registry: has the shipped recipes.
        above: the recipes whose base it is, for the detection of cycles.

    Raises:
        RecipeError: when there is no such recipe, when it is no mapping, or when it is its own base.
    """
    path = Path(name)
    if path.is_file() or _is_path(name):
        if not path.is_file():
            raise RecipeError(
                f"There is no recipe file '{name}': give a path to a .yaml or .py file, or a shipped name."
            )
        raw = _run_python(path) if path.suffix == ".py" else parse_yaml(path.read_text(encoding="utf-8"), name)
    else:
        raw = parse_yaml(recipe_text(name, registry), name)
    if not isinstance(raw, dict):
        raise RecipeError(f"{name} holds {type(raw).__name__}, not a mapping of recipe keys.")
    return _on_its_base(raw, name, registry, above)


def _is_path(name: str) -> bool:
    path = Path(name)
    return path.suffix in (".yaml", ".yml", ".py") or path.parent != Path(".")


def _on_its_base(raw: dict[str, Any], name: str, registry: Registry, above: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return a raw recipe merged over the recipe that its key `base` names, if any.

    A path is relative to the folder of the file that names it.
    """
    raw = dict(raw)
    base = raw.pop(BASE, None)
    if base is None:
        return without_base(raw)
    if not isinstance(base, str):
        raise RecipeError(f"{name}: '{BASE}' is {base!r}, but it should be a recipe's name or the path of its file.")
    if _is_path(base) and _is_path(name):
        base = str(Path(name).parent / base)
    line = (*above, name)
    if base in line:
        raise RecipeError(f"{name}: its bases form a cycle: {' -> '.join((*line, base))}.")
    return merged(without_replaced_length(raw_recipe(base, registry, line), raw), raw)


def _run_python(path: Path) -> Any:
    found = runpy.run_path(str(path)).get("recipe")
    if found is None:
        raise RecipeError(f"{path} defines no `recipe`: assign a mapping to it, or define a function of that name.")
    made = found() if callable(found) else found
    return made.plain() if isinstance(made, Recipe) else made


def validate(raw: Mapping[str, Any], origin: str) -> Recipe:
    """Return the recipe that a mapping describes; as `validated`."""
    return validated(Recipe, raw, origin)


def validated(section: type[S], raw: Mapping[str, Any], origin: str, overrides: Sequence[str] = ()) -> S:
    """Return the section of a recipe, or the whole one, that a mapping describes.

    Args:
        section: its model.
        raw: the mapping.
        origin: what errors call it.
        overrides: that were applied to it; those that set the wrong value are named in place of `origin`.

    Raises:
        RecipeError: one sentence about the first key that is wrong.
    """
    raw = with_moved_keys(raw)
    try:
        return section.model_validate(raw)
    except ValidationError as error:
        first = error.errors()[0]
        said = _overrides_of(_path_of(first), overrides) or origin
        raise RecipeError(f"{said}: {_sentence(first, raw, section)}") from error


def _overrides_of(loc: Sequence[str | int], overrides: Sequence[str]) -> str | None:
    """Return what errors call the last override that set what is at a location, or all that set some of it; or None."""
    path = [str(key) for key in loc]
    within: list[str] = []
    for text in reversed(overrides):
        keys = text.partition("=")[0].strip().split(".")
        sets_all = keys == path[: len(keys)]
        if sets_all or (path and path == keys[: len(path)]):
            within.insert(0, text)
        if sets_all:
            break
    named = " and ".join(f"'{text}'" for text in within)
    return f"the override{'s' if len(within) > 1 else ''} {named}" if within else None


def _path_of(error: Any) -> tuple[str | int, ...]:
    """Return the keys that lead to what an error is about."""
    return tuple(key for key in error["loc"] if key not in (ONE, SEVERAL))


def _sentence(error: Any, raw: Mapping[str, Any], section: type[BaseModel]) -> str:
    loc = _path_of(error)
    path = ".".join(str(key) for key in loc) or "recipe"
    value = error["input"]
    if error["type"] == "extra_forbidden":
        known = _keys_at(loc[:-1], section)
        problem = f"there is no key '{path}' (given {value!r})"
        return not_found(problem, str(loc[-1]), known, f"keys there: {', '.join(known)}")
    if error["type"] == "missing":
        return f"the key '{path}' is missing{_other_tower(loc, raw)}"
    message = error["msg"].removeprefix("Value error, ").removeprefix("Input ").rstrip(".")
    if error["type"] == "value_error":
        return f"'{path}': {message}." if loc else f"{message}."
    return (
        f"'{path}' is {value!r}, but it {message}."
        if message.startswith("should")
        else f"'{path}' is {value!r}: {message}."
    )


def _other_tower(loc: Sequence[str | int], raw: Mapping[str, Any]) -> str:
    """Return the end of a sentence about a missing key: of a tower that is there by mistake, the one that was meant."""
    if loc[0] != "modalities" or len(loc) < 2:
        return "."
    others = [name for name in raw["modalities"] if name != loc[1]]
    suggestion = did_you_mean(str(loc[1]), others)
    return f"{suggestion} There are the modalities {', '.join(others)}." if suggestion else "."


def _keys_at(loc: Sequence[str | int], section: type[BaseModel]) -> list[str]:
    """Return the valid keys of what is at a location in a section."""
    model: Any = section
    for key in loc:
        if isinstance(model, type) and issubclass(model, BaseModel) and key in model.model_fields:
            annotation = model.model_fields[str(key)].annotation
            choices = [
                a for a in (annotation, *get_args(annotation)) if isinstance(a, type) and issubclass(a, BaseModel)
            ]
            model = choices[0] if choices else annotation
    return list(model.model_fields) if isinstance(model, type) and issubclass(model, BaseModel) else []
