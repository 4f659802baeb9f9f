"""The `sensorium` program: finds the command, runs it, and turns errors into sentences and exit codes."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from rich.markup import escape
from typer.core import TyperCommand, TyperGroup

import sensorium
from sensorium.cli.interrupt import handled
from sensorium.cli.json_output import leave_stdout, only_json
from sensorium.cli.output import print_error, reflow
from sensorium.deprecation import deprecations_in_log
from sensorium.errors import Interrupted, PluginError, SensoriumError, clipped
from sensorium.interruption import name_of, number_of
from sensorium.registration.blame import Blame, blame, said
from sensorium.registration.discovery import load_extensions
from sensorium.registration.registry import Spec
from sensorium.runs.atomic import ELSEWHERE

DEFECT = 70
"""The exit code of an exception that is no `SensoriumError`: a defect of the program; of a plugin, it is that of a
`PluginError`."""


class _Stopped(Exception):
    """KeyboardInterrupt on its way through click, which has an answer of its own to it."""


class LazyCommand(TyperCommand):
    """What `--help` lists: a command whose module has not been imported."""

    def __init__(self, spec: Spec) -> None:
        super().__init__(spec.name, help=spec.summary, short_help=spec.summary)
        self._spec = spec

    def load(self) -> Any:
        """Import the command: a function with typer annotations, or a `typer.Typer` of several."""
        if self._spec.distribution != "sensorium":
            leave_stdout()
        target = self._spec.load()
        app = target
        if not isinstance(target, typer.Typer):
            app = typer.Typer(add_completion=False)
            app.command(self._spec.name)(target)
        command = typer.main.get_command(app)
        for one in (command, *getattr(command, "commands", {}).values()):
            one.help = escape(reflow(one.help or ""))
            for parameter in one.params:
                if getattr(parameter, "help", None):
                    parameter.help = escape(parameter.help)
        return command


class Program(TyperGroup):
    """The group of all commands; only the one that is called is imported."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Find the command that the arguments name, and import it."""
        name, command, rest = super().resolve_command(ctx, args)
        return name, command.load() if isinstance(command, LazyCommand) else command, rest

    def invoke(self, ctx: Any) -> Any:
        """Run the command; Ctrl-C is left to `main`, where click would say "Aborted!"."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as error:
            raise _Stopped from error


def _root(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    version: Annotated[bool, typer.Option("--version", help="Print the version and stop.")] = False,
) -> None:
    """Self-supervised learning for any kind of data."""
    if version:
        typer.echo(sensorium.__version__)
        raise typer.Exit


def program() -> Any:
    """Return the program with every command that the loaded plugins registered."""
    app = typer.Typer(cls=Program, add_completion=False, no_args_is_help=True, rich_markup_mode="rich")
    app.callback(invoke_without_command=True)(_root)
    group = typer.main.get_command(app)
    for spec in load_extensions().registry.specs("commands"):
        group.add_command(LazyCommand(spec))  # type: ignore[attr-defined]
    return group


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the program and leave by `SystemExit`.

    An error of the user's is one sentence on stderr and its own exit code; any other exception is one sentence and
    exit code 70, or 3 with the plugin's name if it comes from one; Ctrl-C (130), SIGTERM (143), SIGUSR1 (138) and
    SIGHUP (129) are one sentence. `--debug`, anywhere on the line, shows the traceback too.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    end = given.index("--") if "--" in given else len(given)
    debug = "--debug" in given[:end]
    # PyTorch Geometric still calls it; nobody who runs the program can change that.
    warnings.filterwarnings("ignore", message="`torch.jit.script` is deprecated", category=FutureWarning)
    as_json = only_json() if "--json" in given[:end] else nullcontext()
    with handled() as interruption, deprecations_in_log(), as_json:
        try:
            program().main([word for word in given[:end] if word != "--debug"] + given[end:], prog_name="sensorium")
        except SensoriumError as error:
            found = _blame(error)
            origin = f" It comes from {found}." if found else ""
            _report(error, str(error) if isinstance(error, Interrupted) else f"Error: {error}{origin}", debug)
            sys.exit(error.code)
        except (KeyboardInterrupt, _Stopped) as error:
            _leave(error, number_of(error.__cause__ if isinstance(error, _Stopped) else error), debug)
        except Exception as error:
            if interruption.received is not None:  # inside an extension module, say, that makes it an error of its own
                _leave(error, interruption.received, debug)
            found, what = _blame(error), said(error)
            if not found and (refused := _refused(error)):
                _report(error, refused, debug)
                sys.exit(SensoriumError.code)
            origin = f" in {found}" if found else ""
            again = "" if debug else "; run again with --debug for the traceback"
            unexpected = f"Error: an unexpected {type(error).__name__}{origin}{': ' if what else ''}{what}{again}."
            _report(error, unexpected, debug)
            sys.exit(PluginError.code if found else DEFECT)


def _refused(error: Exception) -> str:
    """Return the sentence about a place of the user's that the system refused; empty for any other error."""
    if not isinstance(error, OSError) or error.errno not in ELSEWHERE or not isinstance(error.filename, str):
        return ""
    if Path(error.filename).is_relative_to(Path(sensorium.__file__).parent):
        return ""
    return f"Error: '{clipped(error.filename)}' cannot be used ({error.strerror}): name another place."


def _blame(error: Exception) -> Blame | None:
    """Return the plugin that an error comes from; None if the plugins cannot even be loaded."""
    with suppress(SensoriumError):
        return blame(error, load_extensions())
    return None


def _leave(error: BaseException, number: int, debug: bool) -> NoReturn:
    """Leave as a program does that a signal stopped."""
    _report(error, f"Stopped by {name_of(number)}.", debug)
    sys.exit(128 + number)


def _report(error: BaseException, sentence: str, debug: bool) -> None:
    if debug:
        import traceback

        traceback.print_exception(error)
    print_error(sentence)
