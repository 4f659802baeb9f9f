"""What a recipe, or an override, says over what it inherits: one rule for files, mappings and the command line."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, get_args, get_origin

from pydantic import BaseModel

from sensorium.errors import RecipeError, not_found
from sensorium.recipe.parts import Section, by_name
from sensorium.recipe.schema import Recipe
from sensorium.recipe.yaml_text import UNSAID, parse_yaml


def _mappings_of_entries(section: type[BaseModel], above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yield the keys whose value is a mapping with names that the user chooses."""
    for key, field in section.model_fields.items():
        if get_origin(field.annotation) is dict:
            yield (*above, key)
            continue
        for choice in (field.annotation, *get_args(field.annotation)):
            if isinstance(choice, type) and issubclass(choice, Section):
                yield from _mappings_of_entries(choice, (*above, key))


BARE = {"teacher": "weights"}
"""Key of a recipe -> what a bare text there stands for, where it is no name of a part."""
ENTRIES = frozenset(_mappings_of_entries(Recipe))
"""Where a recipe's entries (towers, evaluators) stand."""


def leaves(values: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """Iterate over the keys, `key.sub`, and values of nested mappings."""
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from leaves(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", value


def numbered(values: Any) -> Any:
    """Return values with every list of mappings, such as several objectives, as a mapping by number."""
    if isinstance(values, Mapping):
        return {key: numbered(value) for key, value in values.items()}
    return {number: numbered(one) for number, one in enumerate(values)} if _is_of_mappings(values) else values


def numbered_alike(one: Any, other: Any) -> tuple[Any, Any]:
    """Return two values in which lists of mappings are mappings by number where both have one of the same length."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        both = {key: numbered_alike(one[key], other[key]) for key in one if key in other}
        return (
            {key: both[key][0] if key in both else value for key, value in one.items()},
            {key: both[key][1] if key in both else value for key, value in other.items()},
        )
    if _is_of_mappings(one) and _is_of_mappings(other) and len(one) == len(other):
        return numbered_alike(dict(enumerate(one)), dict(enumerate(other)))
    return one, other


def _is_of_mappings(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(one, Mapping) for one in value)


def merged(base: Mapping[str, Any], own: Mapping[str, Any], above: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return a base with the keys of a recipe, or of an override, merged over it: the one rule for both.

    - A mapping is merged key by key, except for a part with another name, or that is shared: the options of the base's
      part are dropped.
    - An empty mapping, `{}`, takes all entries of the base's away.
    - null takes an entry away: a tower, an evaluator. Of any other key it is the value; where it can be none, the key
      is as if it were not given (see `validate`, and `check_options`).
    - A key with nothing behind it, as `health:` in YAML, says nothing: what the base has stays.
    - A mapping whose keys are numbers, over a list: of the elements of these numbers, from 0, by the same rule; null
      takes one away, and the number behind the last adds one.
    - Any other value (a number, a list, a bare name) replaces that of the base; a list of names stands for a mapping.

    Args:
        base: what is inherited.
        own: what is said.
        above: the path of both in the recipe.

    Raises:
        RecipeError: when null is to take an entry away that is not there, or a list has no element of a number.
    """
    new = dict(base)
    for key, value in own.items():
        path = (*above, str(key))
        if value is UNSAID:
            new.setdefault(key, {} if above in ENTRIES else None)
        elif value is None and above in ENTRIES:
            if key not in new:
                raise RecipeError(_nothing_to_take_away(path, new))
            del new[key]
        elif isinstance(value, Mapping) and isinstance(new.get(key), list) and _numbers(value):
            new[key] = _with_elements(new[key], value, path)
        elif isinstance(value, Mapping) and value:
            below = {BARE.get(key, "name"): new[key]} if isinstance(new.get(key), str) else _entries(path, new.get(key))
            own_name = str(key) if above in ENTRIES else None
            same = isinstance(below, Mapping) and value.get("name") in (None, below.get("name", own_name))
            same = same and "share" not in value
            new[key] = merged(below if same else {}, value, path)  # type: ignore[arg-type]
        else:
            new[key] = _entries(path, without_base(value))
    return new


def _numbers(value: Mapping[Any, Any]) -> bool:
    """Whether a mapping is one of elements of a list, by number."""
    return bool(value) and all(str(key).isdigit() for key in value)


def _with_elements(base: list[Any], own: Mapping[Any, Any], path: tuple[str, ...]) -> list[Any]:
    """Return a list with what is said of some of its elements, by number, merged over them."""
    elements = {str(number): one for number, one in enumerate(base)}
    for number in sorted(map(int, own)):
        if number > len(base):
            raise RecipeError(
                f"'{'.'.join((*path, str(number)))}' is no element of the list '{'.'.join(path)}', which has "
                f"{len(base)}: they are numbered from 0, and {len(base)} adds one."
            )
    said = {str(number): value for number, value in own.items()}
    taken = {number for number, value in said.items() if value is None}
    new = merged(elements, {number: value for number, value in said.items() if number not in taken}, path)
    return [one for number, one in new.items() if number not in taken]


def _entries(path: tuple[str, ...], value: Any) -> Any:
    """Return entries that are a list of names as a mapping; any other value of a recipe as it is."""
    return by_name(value) if path in ENTRIES else value


def without_base(value: Any) -> Any:
    """Return a value over which nothing is inherited: a key with nothing behind it is then null."""
    if isinstance(value, Mapping):
        return {key: without_base(one) for key, one in value.items()}
    if isinstance(value, list):
        return [without_base(one) for one in value]
    return None if value is UNSAID else value


def _nothing_to_take_away(path: Sequence[str], inherited: Mapping[str, Any]) -> str:
    problem = f"'{'.'.join(path)}' is null, which takes an inherited entry away, but none of that name is inherited"
    there = f"inherited are: {', '.join(inherited) or 'none'}; {{}} stands for one with its defaults"
    return not_found(problem, path[-1], inherited, there)


def overridden(raw: dict[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """Return a copy of a raw recipe with every `key.sub=value` applied, in order.

    What takes an element of a list away comes last, the last element first: numbers are those of the list before.

    Raises:
        RecipeError: as in `override`.
    """
    overrides = _removals_last(overrides)
    lengths: dict[str, Any] = {}
    for named in (_nested(text).get("train") for text in overrides):
        lengths |= named if isinstance(named, Mapping) else {}
    raw = without_replaced_length(raw, {"train": lengths})
    for i, text in enumerate(overrides):
        raw = override(raw, text)
        part, dot, key = _path(text).rpartition(".")
        if dot and key == "name":  # which dropped the options of the part; those that were said before it stay
            for before in overrides[:i]:
                if _path(before).startswith(f"{part}.") and _path(before) != _path(text):
                    raw = override(raw, before)
    return raw


def _removals_last(overrides: Sequence[str]) -> list[str]:
    """Return overrides with those that may take an element of a list away behind the others, the last element first.

    Of several that say the same element, the last one counts.
    """

    def takes_away(text: str) -> bool:
        return _path(text).rpartition(".")[2].isdigit() and text.partition("=")[2].strip() in ("null", "~")

    last = {_path(text): text for text in overrides}
    removed = sorted(
        (path for path, text in last.items() if takes_away(text)), key=lambda path: int(path.rpartition(".")[2])
    )
    return [text for text in overrides if not takes_away(text)] + [last[path] for path in reversed(removed)]


def without_replaced_length(base: dict[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """Return a base without the length of its training (`train.epochs` or `train.steps`) if a recipe gives the other.

    A recipe that gives both keeps both, which is an error of its own.
    """
    named = own.get("train")
    lengths = {key for key in ("epochs", "steps") if isinstance(named, Mapping) and named.get(key) is not None}
    if len(lengths) != 1 or not isinstance(base.get("train"), Mapping):
        return base
    return base | {"train": {key: v for key, v in base["train"].items() if key not in {"epochs", "steps"} - lengths}}


def said_by(overrides: Sequence[str]) -> dict[str, Any]:
    """Return the keys, `key.sub`, that overrides say anything of, with what the last of them says.

    Raises:
        RecipeError: when one has no `=`, or no value.
    """
    return {key: value for text in overrides for key, value in leaves(_nested(text))}


def override(raw: dict[str, Any], text: str) -> dict[str, Any]:
    """Return a copy of a raw recipe with one `key.sub=value` applied, by the rule of `merged`.

    Raises:
        RecipeError: when the text has no `=`, or its path goes through a value that is not a mapping.
    """
    own: Any = _nested(text)
    keys = _path(text).split(".")
    here: Any = raw
    for depth, key in enumerate(keys[:-1]):
        here = _entries(tuple(keys[: depth + 1]), here.get(key))
        through = f"The override '{text}' goes through '{'.'.join(keys[: depth + 1])}', which is"
        if isinstance(here, str) or here is None:  # a part by its bare name, or nothing so far
            break
        if isinstance(here, list) and here and not keys[depth + 1].isdigit():
            negative = keys[depth + 1].removeprefix("-").isdigit()  # counted from the end, as in Python
            number, rest = (len(here) - 1, keys[depth + 2 :]) if negative else (0, keys[depth + 1 :])
            one = ".".join([*keys[: depth + 1], str(number), *rest])
            raise RecipeError(f"{through} a list of {len(here)}: name an element by its number, as in {one}.")
        here = {str(number): one for number, one in enumerate(here)} if isinstance(here, list) else here
        if not isinstance(here, Mapping):
            raise RecipeError(f"{through} {here!r}.")
    return merged(raw, own)


def _nested(text: str) -> dict[str, Any]:
    """Return `key.sub=value` as nested mappings; the value is read as YAML."""
    keys, (_, equals, value) = _path(text).split("."), text.partition("=")
    if len(text) == 1:
        raise RecipeError("Overrides are a list of texts, such as ['train.steps=100'], not one text.")
    if not equals or not all(keys):
        raise RecipeError(f"The override '{text}' is not of the form key.sub=value.")
    if not value.strip():
        raise RecipeError(f"The override '{text}' has no value: write null for none, or {{}} for a part's defaults.")
    nested: Any = parse_yaml(value, f"the override '{text}'")
    for key in reversed(keys):
        nested = {key: nested}
    return nested


def _path(text: str) -> str:
    """Return the `key.sub` of an override."""
    return text.partition("=")[0].strip()
