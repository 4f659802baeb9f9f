"""The options of a registered class: read from its constructor's signature and its docstring, checked against both.

The options are the keyword arguments of the constructor, and of its base's where it passes `**options` on. Their types
are its annotations, their help text is the `Args:` section of the class docstring; they are declared nowhere else.
"""

from __future__ import annotations

import inspect
import json
import re
import sys
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, is_dataclass
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import ConfigDict, TypeAdapter, ValidationError

from sensorium.errors import PluginError, RecipeError, did_you_mean

_WORDS = {int: "an integer", float: "a number", bool: "true or false", str: "a string", NoneType: "null"}


@dataclass(frozen=True)
class Option:
    """One option of a registered class.

    Args:
        name: its keyword.
        annotation: its type; `Any` without an annotation.
        required: whether a recipe must give it.
        default: its value when a recipe does not give it; "auto" where it depends on the data (`Objective.auto`).
        help: its text in the docstring.
    """

    name: str
    annotation: Any
    required: bool
    default: Any = None
    help: str = ""

    @property
    def type(self) -> str:
        """The type as Python writes it, without the modules that its names are from."""
        return re.sub(r"(?<!['\w.])(?:[A-Za-z_]\w*\.)+(?=[A-Za-z_])", "", inspect.formatannotation(self.annotation))

    @property
    def suboptions(self) -> list[Option]:
        """The options of the group that it is, whose value is a mapping; none for others."""
        group = _group(self.annotation)
        return [] if group is None else options_of(group)

    def public(self) -> dict[str, Any]:
        """Return what listings show."""
        shown = {"name": self.name, "type": self.type, "required": self.required, "help": self.help}
        if self.suboptions:
            shown["options"] = [option.public() for option in self.suboptions]
        return shown if self.required else shown | {"default": self.default}


def options_of(target: Callable[..., Any], skip: int | tuple[str, ...] = 0) -> list[Option]:
    """Return the options of a class, or of a function that makes an instance, in the order of its signature.

    Args:
        target: the class or function.
        skip: arguments that the caller fills in itself: this many leading arguments, or the arguments of these names.

    Raises:
        PluginError: when an annotation cannot be evaluated.
    """
    parameters = _parameters(target)
    filled = list(parameters)[:skip] if isinstance(skip, int) else skip
    helps, auto = _documented(target), getattr(target, "auto", {})
    return [
        Option(
            name=p.name,
            annotation=_annotation(maker, p),
            required=p.default is p.empty,
            default=None if p.default is p.empty else "auto" if p.name in auto else p.default,
            help=helps.get(p.name, ""),
        )
        for maker, p in parameters.values()
        if p.name not in filled
    ]


def check_options(
    target: Callable[..., Any],
    given: Mapping[str, Any],
    path: str,
    skip: int | tuple[str, ...] = 0,
    name: str | None = None,
    beside: Collection[str] = (),
) -> dict[str, Any]:
    """Validate options and return them with the types of the constructor (a list becomes a tuple where it is one).

    Validation is strict: "3" is no integer and 1 is not true, but an integer is a number. Options that are `auto`,
    resolved from the data later, are not returned, nor those that are null and cannot be: their default takes over.
    Of an option that is a mapping, null takes an entry away.

    Args:
        target: the class or function.
        given: option names and values, as a recipe has them.
        path: their key in the recipe, such as "objective".
        skip: arguments that are no options, as in `options_of`, such as the modality of an encoder.
        name: the target's name in recipes; default its own name.
        beside: keys that stand beside the options, which a misspelt one may mean.

    Raises:
        RecipeError: in one sentence, for an unknown option, a value of another type or a required option left out.
    """
    name = name or target.__name__
    options = {option.name: option for option in options_of(target, skip=skip)}
    listed = f"its options: {', '.join(options)}" if options else "it has none"
    listed += f"; keys beside them: {', '.join(beside)}" if beside else ""
    for key, value in given.items():
        if key not in options:
            suggestion = did_you_mean(key, [*options, *beside])
            after = f"{suggestion} {listed[0].upper()}{listed[1:]}" if suggestion else f"; {listed}"
            raise RecipeError(f"{path}.{key} = {value!r}: '{name}' has no option '{key}'{after}.")
    given = {key: value for key, value in given.items() if value is not None or _can_be_none(options[key])}
    for option in options.values():
        if option.required and option.name not in given:
            help = f" ({option.help.rstrip('.')})" if option.help else ""
            raise RecipeError(f"{path}.{option.name} is missing: '{name}' requires it, {option.type}{help}.")
    auto = getattr(target, "auto", {})
    return {
        key: _coerced(options[key], value, path)
        for key, value in given.items()
        if not (value == "auto" and key in auto)
    }


def _coerced(option: Option, value: Any, path: str) -> Any:
    if isinstance(value, Mapping) and (group := _group(option.annotation)) is not None:
        return group(**check_options(group, value, f"{path}.{option.name}"))
    try:
        return _validated(option, value)
    except ValidationError as error:
        if isinstance(value, Mapping) and None in value.values():
            return _coerced(option, {key: one for key, one in value.items() if one is not None}, path)
        help = f": {option.help.rstrip('.')}" if option.help else ""
        raise RecipeError(f"{path}.{option.name} = {value!r} is not {_phrase(option.annotation)}{help}.") from error


def _validated(option: Option, value: Any) -> Any:
    """Return a value with the type of its option, read strictly."""
    adapter = TypeAdapter(option.annotation, config=ConfigDict(arbitrary_types_allowed=True))
    try:
        text = json.dumps(value)
    except (TypeError, ValueError):  # an object that only a recipe written in Python can hold
        return adapter.validate_python(value, strict=True)
    return adapter.validate_json(text, strict=True)  # where an array is as good a tuple as a list


def _can_be_none(option: Option) -> bool:
    try:
        _validated(option, None)
    except ValidationError:
        return False
    return True


def _group(annotation: Any) -> type | None:
    """Return the dataclass whose fields are the suboptions of an option; None when it is not one."""
    parts = get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)
    return next((part for part in parts if isinstance(part, type) and is_dataclass(part)), None)


def _phrase(annotation: Any) -> str:
    """Return a type in words: "an integer or null"."""
    origin = get_origin(annotation)
    if origin in (Union, UnionType):
        return " or ".join(_phrase(part) for part in get_args(annotation))
    if origin is Literal:
        values = [repr(value) for value in get_args(annotation)]
        return values[0] if len(values) == 1 else f"{', '.join(values[:-1])} or {values[-1]}"
    return _WORDS.get(annotation) or f"of type {inspect.formatannotation(annotation)}"


def _parameters(target: Callable[..., Any]) -> dict[str, tuple[Callable[..., Any], inspect.Parameter]]:
    """Return the parameters of a constructor by name, each with the class that declares it.

    A constructor that takes `**options` passes them to its base: the parameters of the base's constructor follow.
    """
    found: dict[str, tuple[Callable[..., Any], inspect.Parameter]] = {}
    makers: list[Callable[..., Any]] = [target]
    if isinstance(target, type):
        makers += [base for base in inspect.getmro(target)[1:] if "__init__" in vars(base)]
    for maker in makers:
        parameters = inspect.signature(maker).parameters.values()
        for p in parameters:
            if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD):
                found.setdefault(p.name, (maker, p))
        if not any(p.kind is p.VAR_KEYWORD for p in parameters):
            break
    return found


def _annotation(target: Callable[..., Any], parameter: inspect.Parameter) -> Any:
    """Return a parameter's type; evaluated one by one: skipped ones may be imported for type checkers only."""
    if parameter.annotation is parameter.empty:
        return Any
    if not isinstance(parameter.annotation, str):
        return parameter.annotation
    function = target.__init__ if isinstance(target, type) else target  # type: ignore[misc]
    names = getattr(inspect.unwrap(function), "__globals__", vars(sys.modules[target.__module__]))
    try:
        return eval(parameter.annotation, dict(names))
    except NameError as error:
        raise PluginError(
            f"{target.__module__}.{target.__qualname__}: the type of option '{parameter.name}', "
            f"{parameter.annotation}, cannot be evaluated: {error}."
        ) from error


def _documented(target: Callable[..., Any]) -> dict[str, str]:
    """Return the `Args:` of the docstring; a subclass inherits the help texts of its bases."""
    helps: dict[str, str] = {}
    for one in inspect.getmro(target) if isinstance(target, type) else (target,):
        helps = args_of(inspect.cleandoc(one.__doc__ or "")) | helps
    return helps


def args_of(doc: str) -> dict[str, str]:
    """Parse the `Args:` section of a Google-style docstring."""
    helps: dict[str, str] = {}
    name = ""
    _, _, section = f"\n{doc}".partition("\nArgs:\n")
    margin = len(section) - len(section.lstrip(" "))
    for line in section.splitlines():
        indent = len(line) - len(line.lstrip(" "))
        if line.strip() and indent < margin:
            break
        if match := re.match(r"(\w+)\s*(?:\([^)]*\))?:\s*(.*)", line[margin:]) if indent == margin else None:
            name, helps[match[1]] = match[1], match[2]
        elif name and line.strip():
            helps[name] += f" {line.strip()}"
    return helps
