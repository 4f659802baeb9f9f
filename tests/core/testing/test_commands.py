"""Checks of commands and of a plugin's module against faulty ones."""

from typing import Annotated

import pytest
import typer

from sensorium.errors import PluginError
from sensorium.registration.discovery import Plugin, load_extensions
from sensorium.registration.registry import Registry, Spec
from sensorium.testing import Failure, check_plugin, plugin_module
from sensorium.testing.checked_part import CheckedPart
from sensorium.testing.commands import prints_its_help, uses_its_arguments

Word = Annotated[str, typer.Argument(help="A word.")]


def says(word: Word) -> None:
    """Say a word."""
    typer.echo(word)


def does_nothing(word: Word) -> None:
    """Say a word."""


def ignores_its_argument(word: Word) -> None:
    """Say a word."""
    typer.echo("a word")


def has_no_docstring(word: Word) -> None:
    typer.echo(word)


def explains_no_option(word: str) -> None:
    """Say a word."""
    typer.echo(word)


def of(function):
    return CheckedPart(Spec("commands", "say", f"{__name__}:{function.__name__}", "made", "p", "d"), Registry())


@pytest.mark.parametrize(
    ("function", "check", "reason"),
    [
        (does_nothing, uses_its_arguments, "does nothing"),
        (ignores_its_argument, uses_its_arguments, "does not read word"),
        (has_no_docstring, prints_its_help, "no docstring"),
        (explains_no_option, prints_its_help, "'word' has no help text"),
    ],
)
def test_a_faulty_command_is_caught(function, check, reason):
    with pytest.raises(Failure, match=reason):
        check(of(function))


def test_a_sound_command_passes():
    prints_its_help(of(says))
    uses_its_arguments(of(says))


BODY = """
from sensorium import hookimpl

{top}

@hookimpl
def sensorium_register_objectives(register):
    {hook}
    register("made", "made_up.things:Made", summary="x")
"""


@pytest.mark.parametrize(
    ("top", "hook", "check", "reason"),
    [
        ("import numpy", "pass", plugin_module.registers_without_heavy_imports, "its module imports numpy"),
        ("", "import numpy", plugin_module.registers_without_heavy_imports, "its hooks import numpy"),
        ("print('hello')", "pass", plugin_module.registers_without_side_effects, "prints while it is loaded: 'hello'"),
        ("import random; random.seed(0)", "pass", plugin_module.registers_without_side_effects, "the random numbers"),
        ("", "import os; os.environ['X_Y'] = '1'", plugin_module.registers_without_side_effects, "environment"),
        ("import time; time.sleep(0.4)", "pass", plugin_module.registers_quickly, "take 0.4 seconds"),
    ],
)
def test_a_faulty_module_is_caught(tmp_path, monkeypatch, top, hook, check, reason):
    name = f"made_up_{abs(hash((top, hook)))}"
    (tmp_path / f"{name}.py").write_text(BODY.format(top=top, hook=hook))
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(Failure, match=reason):
        check(Plugin("made", name, "made", "1"))


def test_some_checks_are_run_by_name():
    found = list(check_plugin("recipes", load_extensions({}, []), only="recipe image-text names parts"))
    assert [row.status for row in found] == ["passed"]
    with pytest.raises(PluginError, match="no check whose name contains 'nonsense'"):
        list(check_plugin("recipes", load_extensions({}, []), only="nonsense"))
