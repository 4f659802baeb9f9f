"""Checks of commands."""

from __future__ import annotations

import dis
import inspect
from collections.abc import Callable
from types import CodeType
from typing import Any
from unittest import SkipTest

import typer
from typer.testing import CliRunner

from sensorium.testing.checked_part import CheckedPart, expect


def prints_its_help(checked: CheckedPart) -> None:
    """`--help` ends with exit code 0; the command, and every argument and option, has a help text."""
    command = checked.spec.load()
    app = typer.Typer(add_completion=False)
    if isinstance(command, typer.Typer):
        app.add_typer(command, name=checked.spec.name)
    else:
        expect(bool(inspect.getdoc(command)), "it has no docstring, which is its help text")
        app.command(checked.spec.name)(command)
        for parameter in typer.main.get_command(app).params:
            text = getattr(parameter, "help", None)
            expect(bool(text), f"'{parameter.name}' has no help text: Annotated[..., typer.Option(help=...)]")
    done = CliRunner().invoke(app, ["--help"])
    expect(done.exit_code == 0, f"--help ends with exit code {done.exit_code}: {done.exception!r}")


def uses_its_arguments(checked: CheckedPart) -> None:
    """The command does something, and reads every argument and option that it declares."""
    command = checked.spec.load()
    if isinstance(command, typer.Typer):
        raise SkipTest("it is a group of commands")
    check_that_it_acts(command, "the command")


def check_that_it_acts(function: Callable[..., Any], what: str, skip: tuple[str, ...] = ("self",)) -> None:
    """Fail for a function that calls nothing, or that does not read one of its parameters."""
    function = inspect.unwrap(function)
    code = function.__code__
    instructions = list(_instructions(code))
    expect(any("CALL" in one.opname for one in instructions), f"{what} does nothing: it calls no function")
    names = {argument for one in instructions for argument in _names_of(one.argval)}
    read = {name for one in instructions if one.opname.startswith("LOAD") for name in _names_of(one.argval)}
    count = code.co_argcount + code.co_kwonlyargcount
    unused = [name for name in code.co_varnames[:count] if name not in skip and name not in read & names]
    expect(not unused, f"{what} does not read {', '.join(unused)}")


def _names_of(value: Any) -> tuple[Any, ...]:
    """Return the names of an instruction, of which newer Pythons join two."""
    return value if isinstance(value, tuple) else (value,)


def _instructions(code: CodeType) -> Any:
    """Iterate over the instructions of a function and of those within it."""
    yield from dis.get_instructions(code)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _instructions(constant)


CHECKS: tuple[Callable[[CheckedPart], None], ...] = (prints_its_help, uses_its_arguments)
