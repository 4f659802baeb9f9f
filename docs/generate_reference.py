"""Writes `reference/recipe.md`, `reference/cli.md` and `reference/api.md` from the code that they describe.

Run it after a change to the recipe's fields, a command or a public docstring: `python docs/generate_reference.py`.
"""

from __future__ import annotations

import inspect
import re
import types
from collections.abc import Callable, Iterator
from enum import StrEnum
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

import typer
from pydantic import BaseModel
from pydantic.fields import FieldInfo

import sensorium
from sensorium import errors
from sensorium.cli.main import DEFECT
from sensorium.recipe.schema import Part, Recipe
from sensorium.registration.discovery import load_extensions

REFERENCE = Path(__file__).parent / "reference"
NAMED = {"evaluators": "NAME", "modalities": "NAME"}
"""Keys of a recipe that hold a mapping of names of the user's own, and what stands for such a name."""

GROUPS = {
    "What a user calls": ("sensorium.api", "sensorium.models.model", "sensorium.recipe"),
    "What travels": ("sensorium.types",),
    "What a plugin writes": ("sensorium.contracts",),
    "What it builds on": (),
    "Errors": ("sensorium.errors",),
}
"""Headings of the page of Python names: the modules whose names stand there; whatever is left is built on."""


def pages() -> dict[Path, str]:
    """Return the text of every generated page by its path."""
    return {
        REFERENCE / "recipe.md": recipe_page(),
        REFERENCE / "cli.md": cli_page(),
        REFERENCE / "api.md": api_page(),
    }


# The recipe


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
recipe says only where it differs: mappings are merged key by key, a part with another `name` takes the base's place
with its own options alone, and so does whatever else is said, `null` included. A base may have a base.

The resolved recipe, with every default filled in, is printed at the start and stored as `recipe.yaml` in the run
folder. `sensorium recipes NAME` prints a shipped one.
"""
        + "".join(_section(Recipe, ""))
    ).rstrip() + "\n"


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
        yield f"| `{prefix}{name}` | {_type(field)} | {_default(field)} | {_cell(field.description or '')} |\n"
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
        bounds = " and ".join(map(_bound, given.metadata if isinstance(given, FieldInfo) else [given]))
        return f"{_words(annotation.__origin__)} {bounds}"
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "part" if annotation is Part else "section"
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


# The commands


def cli_page() -> str:
    """Return the page of every command."""
    head = """# Commands

`sensorium COMMAND --help` prints the same. `--debug`, anywhere on the line, shows the traceback of an error.
`sensorium --version` prints the version. Plugins may [register](hooks.md) further commands.
"""
    return "".join([head, *(_command(*command) for command in commands()), _exit_codes()])


def commands() -> Iterator[tuple[str, Callable[..., Any]]]:
    """Yield every command, those of groups too: the words that call it and its function."""
    for spec in load_extensions({}, []).registry.specs("commands"):
        target = spec.load()
        if isinstance(target, typer.Typer):
            for info in target.registered_commands:
                yield f"{spec.name} {info.name or info.callback.__name__}", info.callback
        else:
            yield spec.name, target


def _command(words: str, function: Callable[..., Any]) -> str:
    given = inspect.signature(function, eval_str=True).parameters.values()
    arguments = [p for p in given if isinstance(_info(p), typer.models.ArgumentInfo)]
    options = [p for p in given if isinstance(_info(p), typer.models.OptionInfo)]
    usage = " ".join(["sensorium", words, *map(_usage, arguments), *["[OPTIONS]"] * bool(options)])
    rows = [(_metavar(p), _info(p).help) for p in arguments] + [(_option(p), _help(p)) for p in options]
    table = "".join(f"| `{_cell(name)}` | {_cell(about)} |\n" for name, about in rows)
    return (
        f"\n## `sensorium {words}`\n\n```text\n{usage}\n```\n\n{inspect.getdoc(function)}\n\n"
        f"| argument or option | meaning |\n| --- | --- |\n{table}"
    )


def _info(parameter: inspect.Parameter) -> Any:
    """Return what typer is told of a parameter."""
    return parameter.annotation.__metadata__[0]


def _kind(parameter: inspect.Parameter) -> Any:
    """Return the type of a parameter, None and lists taken off."""
    kind = parameter.annotation.__origin__
    while inner := [choice for choice in get_args(kind) if choice is not type(None)]:
        kind = inner[0]
    return kind


def _metavar(parameter: inspect.Parameter) -> str:
    return (_info(parameter).metavar or parameter.name.upper()).strip("[]")


def _usage(parameter: inspect.Parameter) -> str:
    many = "list" in str(parameter.annotation.__origin__)
    word = _metavar(parameter)
    if "..." in word:  # it is written out already
        return word
    word += "..." * many
    return word if parameter.default is parameter.empty else f"[{word}]"


def _option(parameter: inspect.Parameter) -> str:
    """Return an option as one writes it."""
    told = (_info(parameter).default, *(_info(parameter).param_decls or ()))  # typer takes the first name for a default
    name = next((word for word in told if str(word).startswith("--")), f"--{parameter.name.replace('_', '-')}")
    kind = _kind(parameter)
    if kind is bool:
        return name
    return f"{name} {'|'.join(kind) if issubclass(kind, StrEnum) else parameter.name.upper()}"


def _help(parameter: inspect.Parameter) -> str:
    told = "" if parameter.default in (None, False) else f" Default: {parameter.default}."
    return _info(parameter).help + told


def _exit_codes() -> str:
    found = {0: "it did what was asked", 1: "something else that the user can mend, or a failed check"}
    for name, cls in vars(errors).items():
        if isinstance(cls, type) and issubclass(cls, errors.SensoriumError) and cls is not errors.SensoriumError:
            about = inspect.cleandoc(cls.__doc__ or "").rstrip(".")
            found[cls.code] = f"`{name}`: {about[0].lower()}{about[1:]}"
    found[2] += "; or a command line that cannot be read"
    found[DEFECT] = "a defect of the program or of a plugin"
    found[130] = "stopped from the keyboard"
    rows = "".join(f"| {code} | {_cell(found[code])} |\n" for code in sorted(found))
    return (
        f"\n## Exit codes\n\nAn error is one sentence on standard error.\n\n| code | meaning |\n| ---: | --- |\n{rows}"
    )


# The Python names


def api_page() -> str:
    """Return the page of every public name."""
    head = """# Python names

`import sensorium` imports no torch; each name is loaded at first use. Names that are not on this page are not public.
Letters in shapes: B records in a batch, T tokens or time steps, C channels, H and W height and width, D features, N
rows of any kind.

`sensorium.__version__` is the version; `sensorium.API_VERSION` is the version of the plugin contract, which moves
only when a plugin written for the last one would break.
"""
    placed = {home: title for title, homes in GROUPS.items() for home in homes}
    groups: dict[str, list[str]] = {title: [] for title in GROUPS}
    for home, name in [*public_names(), ("sensorium.models.model", "Model")]:
        groups[placed.get(home, "What it builds on")].append(_thing(home, name))
    return head + "".join(f"\n## {title}\n" + "".join(things) for title, things in groups.items())


def public_names() -> list[tuple[str, str]]:
    """Return the home and the name of everything public, but for the two version numbers."""
    return [(home, name) for name, home in sensorium._HOME.items()]


def _thing(home: str, name: str) -> str:
    module = import_module(home)
    if name == "hookimpl":
        return "\n### `hookimpl`\n\nMarks a function as the implementation of a hook; see [Hooks](hooks.md).\n"
    if name in sensorium._MODULES:
        return _module(module)
    thing = getattr(module, name)
    origin = "" if name in sensorium.__all__ else f"From `{home}`."
    members = "".join(_members(thing)) if inspect.isclass(thing) else ""
    listed = f"**Methods and attributes**\n\n{members}".rstrip() if members else ""
    blocks = [f"### `{name}`", origin, _signature(thing), _docstring(thing), listed]
    return "\n" + "\n\n".join(block for block in blocks if block) + "\n"


def _module(module: Any) -> str:
    name = module.__name__.rpartition(".")[2]
    own = (key for key, value in vars(module).items() if getattr(value, "__module__", "") == module.__name__)
    public = getattr(module, "__all__", None) or [key for key in own if not key.startswith("_")]
    lines = [f"\n### `{name}`\n\n{inspect.getdoc(module)}\n\n"]
    for key in public:
        if callable(thing := getattr(module, key)):
            lines.append(f"- `{name}.{key}{_arguments(thing)}`: {_first_sentence(thing)}\n")
    return "".join(lines)


def _signature(thing: Any) -> str:
    hidden = inspect.isclass(thing) and (inspect.isabstract(thing) or issubclass(thing, BaseModel | Exception))
    arguments = "()" if hidden else _arguments(thing)
    return "" if arguments == "()" else f"```python\n{thing.__name__}{arguments}\n```"


def _arguments(thing: Callable[..., Any]) -> str:
    try:
        parameters = [p for p in inspect.signature(thing).parameters.values() if p.name != "self"]
    except ValueError:
        return "()"
    return str(inspect.Signature([p.replace(annotation=p.empty) for p in parameters])).replace("<factory>", "...")


def _members(cls: type) -> Iterator[str]:
    """Yield a line for each public method and documented attribute of a class, in its own order."""
    told = _attributes(cls)
    for name, member in vars(cls).items():
        if name.startswith(("_", "model_")) and name != "__call__":
            continue
        function = member.__func__ if isinstance(member, classmethod | staticmethod) else member
        if isinstance(member, property):
            yield f"- `{name}`: {_first_sentence(member.fget)}\n"
        elif inspect.isfunction(function) and function.__doc__:
            yield f"- `{name}{_call(member)}`: {_first_sentence(function)}\n"
    for name, about in told.items():
        yield f"- `{name}`: {about}\n"


def _call(member: Any) -> str:
    arguments = _arguments(member.__func__ if isinstance(member, classmethod) else member)
    return arguments.replace("(cls, ", "(").replace("(cls)", "()") if isinstance(member, classmethod) else arguments


def _attributes(cls: type) -> dict[str, str]:
    """Return the class attributes that a string below them explains."""
    if "sensorium" not in cls.__module__:
        return {}
    pattern = r'^    (\w+): [^\n]+\n    """(.+?)"""'
    found = re.findall(pattern, inspect.getsource(cls), flags=re.MULTILINE | re.DOTALL)
    return {name: re.sub(r"\s+", " ", about) for name, about in found}


def _docstring(thing: Any) -> str:
    """Return a Google-style docstring as Markdown: its sections as headings, what they list as bullets."""
    lines = []
    for line in (inspect.getdoc(thing) or "").splitlines():
        if re.fullmatch(r"(Args|Returns|Raises):", line):
            lines += [f"**{line[:-1]}**", ""]
        elif match := re.match(r"    (\*{0,2}\w+): (.*)", line):
            lines.append(f"- `{match[1]}`: {match[2]}")
        elif line.startswith("        "):
            lines.append("  " + line.strip())
        else:
            lines.append(line.strip())
    return "\n".join(lines).strip()


def _first_sentence(thing: Any) -> str:
    return re.sub(r"\s+", " ", (inspect.getdoc(thing) or "").partition("\n\n")[0])


def _cell(text: str) -> str:
    return re.sub(r"\s+", " ", text).replace("|", "\\|")


if __name__ == "__main__":
    for path, text in pages().items():
        path.write_text(text, encoding="utf-8")
