"""The page of every recipe key."""

from __future__ import annotations

import inspect
import types
from collections.abc import Iterator
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, BeforeValidator, Discriminator, Tag
from pydantic.fields import FieldInfo

from docs.generate.markdown import cell
from sensorium.recipe.parts import OF_TERM, Part, Section, Term
from sensorium.recipe.schema import Recipe

NAMED = {"callbacks": "NAME", "evaluators": "NAME", "loggers": "NAME", "modalities": "NAME"}
"""Keys of a recipe that hold a mapping of names of the user's own, and what stands for such a name."""


def recipe_page() -> str:
    """Return the page of every recipe key."""
    return (
        """# Recipe keys

A recipe is YAML, a Python file that defines `recipe`, or a mapping given to `sensorium.fit`. Every key below can be
set on the command line as `key.sub=value`; the value is read as YAML. A key that does not exist, or a value of another
type, is an error that names the path and the nearest valid names.

A **part** is a registered thing with its options: `{name: simclr, temperature: 0.2}`, or just `simclr`. `sensorium
list KIND NAME` prints the options of one. `NAME` stands for a name that you choose.

With a key `base`, the name of a shipped recipe or the path of a file (from the folder of the file that names it), a
recipe says only where it differs. A base may have a base.

## What replaces, and what takes away

One rule holds for a recipe over its base, and for the command line over a recipe: `a.b=value` is `a: {b: value}`.

| what is said | what becomes of what is inherited |
| --- | --- |
| a mapping, `{k: 20}` | merged key by key |
| a part with another `name` | replaced: the options of the inherited part are dropped |
| a bare name, `folder` | replaced by that part with its defaults |
| an empty mapping, `{}` | all of its entries are taken away: `evaluate.evaluators={}` leaves no evaluator |
| `null` for a tower, an evaluator, a callback, a logger | taken away: `evaluate.evaluators.knn=null` |
| `null` for any other key | no value where the key can be without (`train.grad_clip=null`), else its default |
| nothing, as in `health:` | stays; an evaluator that is not inherited is there with its defaults |
| a mapping of numbers over a list, `{1: {weight: 0.5}}` | merged into these elements: `objective.1.weight=0.5` |
| `null` for an element of a list | taken away, last of all: `objective.1=null`; the number behind the last adds one |
| a number, a word, a list | replaced |

The resolved recipe, with every default filled in, is stored as `recipe.yaml` in the run folder; `sensorium train RECIPE
--print-recipe` prints it without training. `sensorium recipes NAME` prints a shipped one.
"""
        + "".join(_section(Recipe, ""))
        + _term_section()
    ).rstrip() + "\n"


def _term_section() -> str:
    """Return the section about the keys of one of several objectives."""
    fields = {key: Term.model_fields[key] for key in OF_TERM}
    rows = [
        f"| `objective.NUMBER.{key}` | {_type(field)} | {_default(field)} | {cell(field.description or '')} |\n"
        for key, field in fields.items()
    ]
    head = "| key | type | default | meaning |\n| --- | --- | --- | --- |\n"
    return f"\n## `objective.NUMBER`\n\n{inspect.cleandoc(Term.__doc__ or '')}\n\n{head}{''.join(rows)}"


def recipe_keys(model: type[BaseModel] = Recipe, prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """Yield the path and the field of every key of a recipe, sections before their keys."""
    for name, field in model.model_fields.items():
        path = f"{prefix}{name}"
        yield path, field
        below = _below(field.annotation)
        if below is not None:
            yield from recipe_keys(below, f"{path}.{NAMED[name]}." if name in NAMED else f"{path}.")


def _section(model: type[BaseModel], prefix: str) -> Iterator[str]:
    title, about = (f"`{prefix.rstrip('.')}`", inspect.cleandoc(model.__doc__ or "")) if prefix else ("Top level", "")
    yield f"\n## {title}\n\n{about}\n\n" if about else f"\n## {title}\n\n"
    yield "| key | type | default | meaning |\n| --- | --- | --- | --- |\n"
    for name, field in model.model_fields.items():
        yield f"| `{prefix}{name}` | {_type(field)} | {_default(field)} | {cell(field.description or '')} |\n"
    for name, field in model.model_fields.items():
        below = _below(field.annotation)
        if below is not None:
            yield from _section(below, f"{prefix}{name}.{NAMED[name]}." if name in NAMED else f"{prefix}{name}.")


def _below(annotation: Any) -> type[BaseModel] | None:
    """Return the section that an annotation leads to; a part is a value, since its keys are its own."""
    for choice in (annotation, *get_args(annotation)):
        if isinstance(choice, type) and issubclass(choice, BaseModel) and choice is not Part:
            return choice
    return None


def _type(field: FieldInfo) -> str:
    bounds = {"Gt": "> {0}", "Ge": ">= {0}", "Lt": "< {0}", "Le": "<= {0}"}
    found = [
        bounds[type(m).__name__].format(getattr(m, type(m).__name__.lower()))
        for m in field.metadata
        if type(m).__name__ in bounds
    ]
    return ", ".join([_words(field.annotation), *found])


def _words(annotation: Any) -> str:
    """Return a type in words: "integer, > 0 or `auto`"."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin in (Union, types.UnionType):
        return " or ".join(_words(choice) for choice in inner)
    if origin is Literal:
        return ", ".join(f"`{choice}`" for choice in inner)
    if origin is dict:
        return f"mapping of {_words(inner[1])}s"
    if origin in (list, tuple):
        return f"list of {_words(inner[0])}s"
    if hasattr(annotation, "__metadata__"):  # Annotated: PositiveInt and the like
        given = annotation.__metadata__[0]
        if isinstance(given, Tag | BeforeValidator | Discriminator):  # which tell how it is read
            return _words(annotation.__origin__)
        bounds = " and ".join(map(_bound, given.metadata if isinstance(given, FieldInfo) else [given]))
        return f"{_words(annotation.__origin__)} {bounds}"
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "part" if issubclass(annotation, Part) and not issubclass(annotation, Section) else "section"
    return {int: "integer", float: "number", bool: "true or false", str: "string", type(None): "null"}[annotation]


def _bound(limit: Any) -> str:
    """Return a limit in signs: "> 0", ">= 0", "< 1", "<= 1"."""
    name, sign = {"Gt": ("gt", ">"), "Ge": ("ge", ">="), "Lt": ("lt", "<"), "Le": ("le", "<=")}[type(limit).__name__]
    return f"{sign} {getattr(limit, name):g}"


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.default
    if isinstance(value, BaseModel):
        return "as below"
    if value is None or isinstance(value, bool):
        return f"`{str(value).lower()}`".replace("none", "null")
    return f"`{list(value) if isinstance(value, tuple) else value}`"
