"""The page of every command."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from enum import StrEnum
from typing import Any, get_args

import typer

from docs.generate.markdown import cell
from sensorium import errors
from sensorium.cli.main import DEFECT
from sensorium.registration.discovery import load_extensions


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
    table = "".join(f"| `{cell(name)}` | {cell(about)} |\n" for name, about in rows)
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
    names = [part for word in told for part in str(word).split(",") if part.startswith("--")]
    name = ", ".join(names) or f"--{parameter.name.replace('_', '-')}"
    kind = _kind(parameter)
    if kind is bool:
        return name
    return f"{name} {','.join(kind) if issubclass(kind, StrEnum) else parameter.name.upper()}"


def _help(parameter: inspect.Parameter) -> str:
    is_required = parameter.default in (parameter.empty, ...)
    told = "" if is_required or parameter.default in (None, False) else f" Default: {parameter.default}."
    told = " Required." if is_required and _option(parameter).startswith("--") else told
    return _info(parameter).help + told


def _exit_codes() -> str:
    found = {0: "it did what was asked", 1: "something else that the user can mend, or a failed check"}
    for name, cls in vars(errors).items():
        if isinstance(cls, type) and issubclass(cls, errors.SensoriumError) and cls is not errors.SensoriumError:
            about = inspect.cleandoc(cls.__doc__ or "").partition("\n\n")[0].rstrip(".")
            found[cls.code] = f"`{name}`: {about[0].lower()}{about[1:]}"
    found[3] += "; or a defect of a plugin, which the sentence names"
    found[2] += "; or a command line that cannot be read"
    found[5] += "; or what was asked of one: a filter, a query, a file to write"
    found[DEFECT] = "a defect of the program"
    found[130] = "stopped from the keyboard"
    rows = "".join(f"| {code} | {cell(found[code])} |\n" for code in sorted(found))
    return (
        f"\n## Exit codes\n\nAn error is one sentence on standard error.\n\n| code | meaning |\n| ---: | --- |\n{rows}"
    )
