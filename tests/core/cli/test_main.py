"""The program: commands are lazy, errors are sentences, exit codes say what kind."""

import subprocess
import sys

import pytest

from sensorium.cli.main import DEFECT, main
from sensorium.errors import PluginError

COMMANDS = """
    from sensorium import hookimpl
    @hookimpl
    def sensorium_register_commands(register):
        register("greet", "made_up.commands:greet", summary="Say hello.")
        register("many", "made_up.commands:app", summary="A group.")
"""
FUNCTIONS = """
    import typer
    from sensorium.errors import DataError

    app = typer.Typer()

    @app.command()
    def first(): print("first of many")

    @app.command()
    def second(): pass

    def greet(how: str, loud: bool = False):
        if how == "data":
            raise DataError("There are no records.")
        if how == "defect":
            raise ZeroDivisionError("by zero.\\nsecond line")
        if how == "interrupt":
            raise KeyboardInterrupt
        print("hello", how, "loud" if loud else "")
"""


@pytest.fixture
def run(site, capsys):
    """Install a plugin with commands, and return what runs the program: exit code, stdout and stderr."""
    site.install("made-up", "made", COMMANDS, commands=FUNCTIONS)

    def call(*arguments):
        with pytest.raises(SystemExit) as left:
            main(arguments)
        out, err = capsys.readouterr()
        return left.value.code, out, err

    return call


def test_help_lists_every_command_and_imports_none(run):
    code, out, _ = run("--help")
    assert code == 0
    for name in ("train", "evaluate", "embed", "recipes", "list", "plugins", "plugin", "greet", "many"):
        assert name in out
    assert "Say hello." in out
    assert "made_up.commands" not in sys.modules


def test_commands_of_plugins_run(run):
    assert run("greet", "you", "--loud")[:2] == (0, "hello you loud\n")
    assert run("many", "first")[:2] == (0, "first of many\n")
    code, out, _ = run("greet", "--help")
    assert (code, "--loud" in out) == (0, True)


def test_an_error_of_the_user_is_one_sentence_and_its_code(run):
    assert run("greet", "data") == (4, "", "Error: There are no records.\n")


def test_a_defect_is_one_sentence_that_offers_the_traceback(run):
    code, _, err = run("greet", "defect")
    assert code == PluginError.code == 3
    assert err == (
        "Error: an unexpected ZeroDivisionError in plugin 'made' (made-up 1.0), command 'greet' "
        "(made_up/commands.py:17): by zero. second line; run again with --debug for the traceback.\n"
    )


def test_a_defect_of_the_program_has_a_code_of_its_own(run, monkeypatch):
    def fail():
        raise ZeroDivisionError("by zero")

    monkeypatch.setattr("sensorium.cli.plugins.fabric_callbacks", fail)
    code, _, err = run("plugins")
    assert code == DEFECT == 70
    assert err.startswith("Error: an unexpected ZeroDivisionError: by zero; run again with --debug")


def test_a_place_that_the_system_refuses_is_a_sentence(run, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setattr("sensorium.cli.plugins.fabric_callbacks", lambda: (tmp_path / "file" / "x").write_text(""))
    code, _, err = run("plugins")
    assert code == 1
    assert err == f"Error: '{tmp_path}/file/x' cannot be used (Not a directory): name another place.\n"


@pytest.mark.parametrize("arguments", [("--debug", "greet", "data"), ("greet", "data", "--debug")])
def test_debug_shows_the_traceback_wherever_it_stands(run, arguments):
    code, _, err = run(*arguments)
    assert code == 4
    assert "Traceback" in err
    assert err.endswith("Error: There are no records.\n")


def test_debug_after_two_dashes_is_an_argument(run):
    assert run("greet", "--", "--debug")[1] == "hello --debug \n"


def test_an_interrupt_leaves_with_130(run):
    assert run("greet", "interrupt")[0] == 130


def test_a_misspelt_command_is_a_usage_error_with_the_nearest(run):
    code, _, err = run("plugns")
    assert code == 2
    assert "plugins" in err


def test_a_variable_that_names_no_plugin_is_a_sentence_too(run, monkeypatch):
    monkeypatch.setenv("SENSORIUM_DISABLE_PLUGINS", "clap")
    code, _, err = run("plugins")
    assert code == 3
    assert "Traceback" not in err


def test_the_program_has_no_commands_of_blocked_plugins(run, monkeypatch):
    monkeypatch.setenv("SENSORIUM_PLUGINS", "")
    assert run("greet", "you")[0] == 2
    monkeypatch.setenv("SENSORIUM_DISABLE_PLUGINS", "sensorium")
    assert run("plugins")[0] == 0


def test_the_module_runs_as_the_program_does():
    done = subprocess.run([sys.executable, "-m", "sensorium", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "0.1.0"
