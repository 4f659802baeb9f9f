"""`sensorium plugin new` and `sensorium plugin check`: a plugin template, and the conformance checks."""

from __future__ import annotations

from pathlib import Path
from shlex import quote
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from sensorium.cli.json_output import print_json
from sensorium.cli.project import EXAMPLES, write_project

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Create a plugin from a template, or check one.")


@app.command()
def new(
    name: Annotated[str, typer.Argument(help="Name of plugin and distribution, such as my-objective.")],
    folder: Annotated[Path, typer.Argument(help="The folder to write, new or empty.", metavar="DIR")],
    kind: Annotated[
        str, typer.Option(help=f"What the plugin registers: {', '.join(EXAMPLES)}.", metavar="KIND")
    ] = "objective",
) -> None:
    """Create an installable plugin project, with a working example and a test that runs the conformance checks."""
    write_project(name, folder, kind)
    typer.echo(f"Wrote {folder}. Next: pip install -e {quote(f'{folder}[dev]')} && sensorium plugin check {name}")


@app.command()
def check(
    name: Annotated[str, typer.Argument(help="Name of an installed plugin or of its distribution.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    only: Annotated[str, typer.Option(help="Run the checks whose names contain this text.", metavar="TEXT")] = "",
) -> None:
    """Run the conformance checks on everything that a plugin registers; exit code 1 if one fails."""
    from sensorium.testing import check_plugin

    console, rows = Console(soft_wrap=True, highlight=False), []
    for row in check_plugin(name, only=only):
        rows.append(row)
        if not as_json:
            color = {"passed": "green", "failed": "red", "skipped": "yellow"}[row.status]
            reason = f": {escape(row.reason)}" if row.reason else ""
            console.print(f"[{color}]{row.status:7}[/] {row.seconds:6.2f} s  {escape(row.name)}{reason}")
    failed = sum(row.status == "failed" for row in rows)
    if as_json:
        print_json([vars(row) for row in rows])
    else:
        passed = sum(row.status == "passed" for row in rows)
        console.print(f"{passed} passed, {failed} failed, {len(rows) - passed - failed} skipped")
    if failed:
        raise typer.Exit(1)
